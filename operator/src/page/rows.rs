//! From facts to rows: of Teams, keys, users, models and routes. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use vectoll_config::{
    KeyHash, ObjectName, Uid, namespace_of,
    store::{ModelAt, Series},
};
use vectoll_crds::{ApiKeySpec, Backend, ModelRouteSpec, TeamSpec};

use super::{
    budget::{BudgetLine, fullest, lines},
    cell::Cell,
    facts::{Facts, ResourceFacts},
    state::state_with,
    table::{Row, Table},
};
use crate::{
    ledger::{Account, Breakdown, Totals},
    observed_state::{Kind, Object},
    resolve::Claims,
    validate::declared_budgets as declared,
};

/// Who has which account: what spend is kept under.
pub(super) struct Accounts {
    /// By the Team's name.
    teams: BTreeMap<ObjectName, Uid>,
    /// By the key's name.
    keys: BTreeMap<ObjectName, Uid>,
}

impl Accounts {
    pub(super) fn of(facts: &Facts) -> Self {
        Self { teams: accounts(&facts.teams), keys: accounts(&facts.keys) }
    }

    pub(super) fn team(&self, team: &ObjectName) -> Option<&Uid> {
        self.teams.get(team)
    }

    pub(super) fn key(&self, key: &ObjectName) -> Option<&Uid> {
        self.keys.get(key)
    }
}

fn accounts<S>(resources: &[ResourceFacts<S>]) -> BTreeMap<ObjectName, Uid> {
    let claims = Claims::of(|| resources.iter().map(|of| &*of.object));
    resources.iter().map(|of| (of.object.name.clone(), claims.account(&of.object).clone())).collect()
}

/// The Team that a key names.
pub(super) fn team_of(key: &Object<ApiKeySpec>) -> ObjectName {
    let team = &key.spec.team_ref;
    ObjectName::new(team.namespace.as_deref().unwrap_or(key.name.namespace()), &team.name)
}

/// The rows of a table, in the order of their names.
pub(super) fn rows(table: Table, facts: &Facts, accounts: &Accounts) -> Vec<Row> {
    let mut rows: Vec<Row> = match table {
        Table::Teams => facts.teams.iter().map(|team| team_row(team, facts, accounts)).collect(),
        Table::Keys => facts.keys.iter().map(|key| key_row(key, facts, accounts)).collect(),
        Table::Users => breakdowns(facts, accounts).flat_map(user_rows).collect(),
        Table::Models => breakdowns(facts, accounts).flat_map(model_rows).collect(),
        Table::Routes => facts.routes.iter().map(|route| route_row(route, facts)).collect(),
    };
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
}

/// What a Team has spent against its budgets.
pub(super) fn team_budgets(team: &ResourceFacts<TeamSpec>, facts: &Facts, accounts: &Accounts) -> Vec<BudgetLine> {
    let account = accounts.team(&team.object.name).filter(|_| facts.source.has_budgets());
    let money = account.map_or(&[][..], |account| facts.ledger.money(account, &Account::Team));
    let spec = &team.object.spec;
    lines(money, team.spend.as_ref(), &declared(spec.budget.as_ref(), &spec.budgets), facts.at)
}

/// What a key has spent against its budgets.
pub(super) fn key_budgets(key: &ResourceFacts<ApiKeySpec>, facts: &Facts, accounts: &Accounts) -> Vec<BudgetLine> {
    let of = || Some((accounts.team(&team_of(&key.object))?, accounts.key(&key.object.name)?));
    let money = of()
        .filter(|_| facts.source.has_budgets())
        .map_or(&[][..], |(team, account)| facts.ledger.money(team, &Account::Key(account.clone())));
    let spec = &key.object.spec;
    lines(money, key.spend.as_ref(), &declared(spec.budget.as_ref(), &spec.budgets), facts.at)
}

/// What is owed for each backend of a route that has budgets.
pub(super) fn route_budgets<'a>(
    route: &'a ResourceFacts<ModelRouteSpec>,
    facts: &'a Facts,
) -> Vec<(&'a str, Vec<BudgetLine>)> {
    let name = &route.object.name;
    let stated = facts.owed.get(name).map_or(&[][..], Vec::as_slice);
    let with_budgets = route.object.spec.backends.iter().filter(|backend| !backend.budgets.is_empty());
    let of_backend = |backend: &'a Backend| {
        let status = stated.iter().find(|(listed, _)| *listed == backend.name).map(|(_, spend)| spend);
        let money = facts.ledger.owed(&format!("{name}/{}", backend.name));
        (backend.name.as_str(), lines(money, status, &declared(None, &backend.budgets), facts.at))
    };
    with_budgets.map(of_backend).collect()
}

/// All that was ever counted of one part of a Team's calls, as far as that was read.
pub(super) fn totals(facts: &Facts, team: Option<&Uid>, series: &Series) -> Option<Totals> {
    facts.ledger.teams.get(team?)?.totals.get(series).copied()
}

fn team_row(team: &ResourceFacts<TeamSpec>, facts: &Facts, accounts: &Accounts) -> Row {
    let Object { name, spec, .. } = &*team.object;
    let account = accounts.team(name);
    let budgets = team_budgets(team, facts, accounts);
    let all = totals(facts, account, &Series::Team);
    let unsettled = totals(facts, account, &Series::Unsettled).map(|totals| totals.spent);
    let parent = spec.parent_ref.as_ref().map(|parent| {
        ObjectName::new(parent.namespace.as_deref().unwrap_or(name.namespace()), &parent.name).to_string()
    });
    let head = [
        Cell::Text(name.namespace().to_owned()),
        Cell::Text(name.name().to_owned()),
        Cell::text(spec.display_name.as_deref()),
        Cell::text(parent.as_deref()),
        Cell::State(state_with(&team.conditions, &budgets)),
    ];
    let cells = head.into_iter().chain(budget_cells(&budgets)).chain(total_cells(all)).chain([Cell::money(unsettled)]);
    Row::new(name.to_string(), name.namespace(), Some(name.to_string()), cells.collect())
}

fn key_row(key: &ResourceFacts<ApiKeySpec>, facts: &Facts, accounts: &Accounts) -> Row {
    let Object { name, spec, .. } = &*key.object;
    let team = team_of(&key.object);
    let budgets = key_budgets(key, facts, accounts);
    let of_key = accounts.key(name).map(|account| Series::Key(account.clone()));
    let all = of_key.and_then(|series| totals(facts, accounts.team(&team), &series));
    // The last moment that there is means never.
    let expires = spec.expires_at.map(|at| at.0).filter(|at| *at < Timestamp::MAX);
    let head = [
        Cell::Text(name.namespace().to_owned()),
        Cell::Text(name.name().to_owned()),
        Cell::Text(team.to_string()),
        Cell::text(spec.user.as_deref()),
        Cell::State(state_with(&key.conditions, &budgets)),
    ];
    let cells = head.into_iter().chain(budget_cells(&budgets)).chain(total_cells(all)).chain([Cell::time(expires)]);
    Row::new(name.to_string(), name.namespace(), Some(team.to_string()), cells.collect())
}

fn route_row(route: &ResourceFacts<ModelRouteSpec>, facts: &Facts) -> Row {
    let Object { name, spec, .. } = &*route.object;
    let backends: Vec<String> = spec
        .backends
        .iter()
        .map(|backend| match backend.providers().next() {
            Some(provider) => format!("{} ({})", backend.name, provider.field()),
            None => backend.name.clone(),
        })
        .collect();
    let owed: Vec<(&str, BudgetLine)> = route_budgets(route, facts)
        .into_iter()
        .flat_map(|(backend, lines)| lines.into_iter().map(move |line| (backend, line)))
        .collect();
    let of_backends: Vec<BudgetLine> = owed.iter().map(|(_, line)| line.clone()).collect();
    let owing =
        fullest(&of_backends).and_then(|line| owed.iter().find(|(_, of)| of == line)).map(|(backend, _)| *backend);
    let head = [
        Cell::Text(name.namespace().to_owned()),
        Cell::Text(name.name().to_owned()),
        Cell::Text(spec.models.join(", ")),
        Cell::Text(backends.join(", ")),
        Cell::State(state_with(&route.conditions, &of_backends)),
        Cell::text(owing),
    ];
    let cells = head.into_iter().chain(budget_cells(&of_backends)).collect();
    Row::new(name.to_string(), name.namespace(), None, cells)
}

/// The columns `spent` to `resets`.
fn budget_cells(budgets: &[BudgetLine]) -> [Cell; 5] {
    let line = fullest(budgets);
    [
        Cell::money(line.and_then(|line| line.spent)),
        Cell::money(line.and_then(|line| line.limit)),
        line.and_then(BudgetLine::percent).map_or(Cell::Nothing, Cell::Percent),
        Cell::text(line.map(|line| line.period.as_str()).filter(|period| !period.is_empty())),
        Cell::time(line.and_then(|line| line.resets)),
    ]
}

/// The columns `requests` to `total`.
fn total_cells(totals: Option<Totals>) -> [Cell; 3] {
    let Some(Totals { requests, tokens, spent }) = totals else {
        return [Cell::Nothing, Cell::Nothing, Cell::Nothing];
    };
    [Cell::Count(requests), Cell::Count(tokens), Cell::Money(spent)]
}

/// Teams whose users and models are known.
fn breakdowns<'a>(facts: &'a Facts, accounts: &'a Accounts) -> impl Iterator<Item = (&'a ObjectName, &'a Breakdown)> {
    facts.teams.iter().filter_map(move |team| {
        let name = &team.object.name;
        Some((name, &**facts.ledger.breakdowns.get(accounts.team(name)?)?))
    })
}

/// The users of a Team by the ids of their rows.
fn user_id(team: &ObjectName, user: &str) -> String {
    format!("{team}|{user}")
}

/// The models of a Team with the ids of their rows: the Team, a number that tells apart what has one model's name, and that name. What a
/// route of another namespace is called must not be read from an id, nor from the order of several.
pub(super) fn models_by_id<'a>(
    team: &ObjectName,
    breakdown: &'a Breakdown,
) -> impl Iterator<Item = (String, &'a ModelAt, Totals)> + use<'a> {
    let mut models: Vec<(&ModelAt, Totals)> = breakdown.models.iter().map(|(at, totals)| (at, *totals)).collect();
    models.sort_by_cached_key(|(at, _)| {
        let hash = KeyHash::of(format!("{team} {} {}", at.provider, at.backend).as_bytes());
        (at.model.clone(), hash)
    });
    let mut before: Option<(&str, usize)> = None;
    let mut all = Vec::new();
    for (at, totals) in models {
        let number = match before {
            Some((model, number)) if model == at.model => number + 1,
            Some(_) | None => 0,
        };
        before = Some((at.model.as_str(), number));
        all.push((format!("{team}|{number}|{}", at.model), at, totals));
    }
    all.into_iter()
}

/// Text about the route of a model's row. One of another namespace is that namespace's: its name and its provider are for those who may list
/// it there.
fn of_route(team: &ObjectName, at: &ModelAt, text: &str) -> Cell {
    let namespace = namespace_of(&at.backend);
    if namespace.is_empty() || namespace == team.namespace() {
        Cell::Text(text.to_owned())
    } else {
        Cell::Foreign { kind: Kind::ModelRoute, namespace: namespace.to_owned(), text: text.to_owned() }
    }
}

fn user_rows((team, breakdown): (&ObjectName, &Breakdown)) -> Vec<Row> {
    let row = |(user, of): (&String, &Totals)| {
        let head = [Cell::Text(team.namespace().to_owned()), Cell::Text(team.to_string()), Cell::Text(user.clone())];
        let cells = head.into_iter().chain(total_cells(Some(*of))).collect();
        Row::new(user_id(team, user), team.namespace(), Some(team.to_string()), cells)
    };
    breakdown.users.iter().map(row).collect()
}

fn model_rows((team, breakdown): (&ObjectName, &Breakdown)) -> Vec<Row> {
    let row = |(id, at, of): (String, &ModelAt, Totals)| {
        let head = [
            Cell::Text(team.namespace().to_owned()),
            Cell::Text(team.to_string()),
            Cell::Text(at.model.clone()),
            of_route(team, at, &at.provider),
            of_route(team, at, &at.backend),
        ];
        let cells = head.into_iter().chain(total_cells(Some(of))).collect();
        Row::new(id, team.namespace(), Some(team.to_string()), cells)
    };
    models_by_id(team, breakdown).map(row).collect()
}

#[cfg(test)]
mod tests;
