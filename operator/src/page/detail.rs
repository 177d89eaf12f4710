//! One row in full: figures, conditions, every budget, and the spec as its owner wrote it. Pure.

use serde::Serialize;
use serde_json::{Value, json};
use vectoll_config::{ObjectName, Uid, store::Series};

use super::{
    answer::columns,
    budget::BudgetLine,
    facts::{KeyValue, ResourceFacts, Stated},
    grants::Grants,
    rows::{key_budgets, models_by_id, route_budgets, team_budgets, team_of, totals},
    table::Table,
    view::View,
};
use crate::observed_state::Kind;

/// One row in full.
pub(super) struct Detail {
    pub(super) json: Value,
    /// Whose months may be asked for: the Team's account, and what of it.
    pub(super) counted: Option<(Uid, Series)>,
}

/// The fields of a detail that differ between tables.
#[derive(Default)]
struct DetailFields {
    /// Labels and words.
    more: Vec<(&'static str, String)>,
    conditions: Vec<Value>,
    budgets: Vec<Value>,
    /// Paths of fields and their values.
    declared: Vec<(String, String)>,
    notes: Vec<&'static str>,
    counted: Option<(Uid, Series)>,
}

/// None: there is no such row, or this reader may not see it.
pub(super) fn detail(view: &View, table: Table, id: &str, grants: &Grants) -> Option<Detail> {
    let row = view.row(table, id, grants)?;
    let fields = match table {
        Table::Teams => team(view, &named(id)?, grants)?,
        Table::Keys => key(view, &named(id)?)?,
        Table::Users => user(view, id)?,
        Table::Models => model(view, id)?,
        Table::Routes => route(view, &named(id)?)?,
    };
    let DetailFields { more, conditions, budgets, declared, notes, counted } = fields;
    let cells: Vec<Value> = row.cells.iter().map(|cell| cell.to_json(grants)).collect();
    let json = json!({
        "table": table.word(),
        "id": row.id,
        "namespace": row.namespace,
        "team": row.team,
        "columns": columns(table),
        "cells": cells,
        "more": more.into_iter().map(|(label, text)| json!([label, text])).collect::<Vec<_>>(),
        "conditions": conditions,
        "budgets": budgets,
        "declared": declared.into_iter().map(|(path, value)| json!([path, value])).collect::<Vec<_>>(),
        "notes": notes,
        "hasMonths": counted.is_some(),
        "at": view.facts.at.to_string(),
    });
    Some(Detail { json, counted })
}

fn named(id: &str) -> Option<ObjectName> {
    id.parse().ok()
}

fn find<'a, S>(resources: &'a [ResourceFacts<S>], name: &ObjectName) -> Option<&'a ResourceFacts<S>> {
    resources.iter().find(|of| of.object.name == *name)
}

/// How full the limits of a rate are is in no ledger.
const LIMITS_NOTE: &str = "Limits stand here as they are declared. How much of a rate is in use, and how many calls were refused by which \
                           limit, the sidecars count: vectoll_rejections_total on their /metrics.";

fn team(view: &View, name: &ObjectName, grants: &Grants) -> Option<DetailFields> {
    let View { facts, accounts, .. } = view;
    let team = find(&facts.teams, name)?;
    let account = accounts.team(name)?;
    let keys = facts.keys.iter().filter(|key| team_of(&key.object) == *name);
    let seen = keys.filter(|key| grants.may_list(Kind::ApiKey, key.object.name.namespace())).count();
    let below = facts.teams.iter().filter(|other| {
        let parent = other.object.spec.parent_ref.as_ref();
        let is_below = parent.is_some_and(|parent| {
            parent.name == name.name()
                && parent.namespace.as_deref().unwrap_or(other.object.name.namespace()) == name.namespace()
        });
        is_below && grants.may_list(Kind::Team, other.object.name.namespace())
    });
    let below: Vec<String> = below.map(|other| other.object.name.to_string()).collect();
    let mut more = created(team);
    more.push(("Keys that you may list", seen.to_string()));
    if !below.is_empty() {
        more.push(("Teams below it that you may list", below.join(", ")));
    }
    for (label, series) in [
        ("Calls that a provider may have charged, ever (unsettled)", Series::Unsettled),
        ("Calls by routes that are none of the Team's, ever", Series::ForeignRoutes),
    ] {
        if let Some(of) = totals(facts, Some(account), &series) {
            more.push((label, format!("{} calls, {} tokens, {} USD", of.requests, of.tokens, of.spent)));
        }
    }
    Some(DetailFields {
        more,
        conditions: conditions(&team.conditions),
        budgets: team_budgets(team, facts, accounts).iter().map(BudgetLine::to_json).collect(),
        declared: flattened(&team.object.spec),
        notes: vec![LIMITS_NOTE],
        counted: Some((account.clone(), Series::Team)),
    })
}

fn key(view: &View, name: &ObjectName) -> Option<DetailFields> {
    let View { facts, accounts, .. } = view;
    let key = find(&facts.keys, name)?;
    let mut more = created(key);
    if let Some(KeyValue { secret, hint, next_rotation }) = facts.values.get(name) {
        more.extend(secret.clone().map(|secret| ("Secret that holds the key", secret)));
        more.extend(hint.clone().map(|hint| ("Last characters of the key", hint)));
        more.extend(next_rotation.map(|at| ("Next renewal", at.to_string())));
    }
    if let Some(number) = facts.sidecars.get(name.namespace()) {
        more.push(("Sidecars in the namespace", number.to_string()));
    }
    let team = accounts.team(&team_of(&key.object));
    let counted = team.zip(accounts.key(name)).map(|(team, key)| (team.clone(), Series::Key(key.clone())));
    Some(DetailFields {
        more,
        conditions: conditions(&key.conditions),
        budgets: key_budgets(key, facts, accounts).iter().map(BudgetLine::to_json).collect(),
        declared: flattened(&key.object.spec),
        notes: vec![LIMITS_NOTE],
        counted,
    })
}

fn route(view: &View, name: &ObjectName) -> Option<DetailFields> {
    let route = find(&view.facts.routes, name)?;
    let of_backend = |(backend, lines): (&str, Vec<BudgetLine>)| -> Vec<Value> {
        let with_name = |line: &BudgetLine| {
            let mut json = line.to_json();
            if let Some(fields) = json.as_object_mut() {
                fields.insert("of".to_owned(), Value::from(format!("backend {backend}")));
            }
            json
        };
        lines.iter().map(with_name).collect()
    };
    Some(DetailFields {
        more: created(route),
        conditions: conditions(&route.conditions),
        budgets: route_budgets(route, &view.facts).into_iter().flat_map(of_backend).collect(),
        declared: flattened(&route.object.spec),
        notes: vec!["What a route's models were used for stands with the Teams that used them: the table of models."],
        counted: None,
    })
}

/// `TEAM|USER`.
fn user(view: &View, id: &str) -> Option<DetailFields> {
    let (team, user) = id.split_once('|')?;
    let team = named(team)?;
    let found = find(&view.facts.teams, &team)?;
    let account = view.accounts.team(&team)?;
    let declared = flattened(&found.object.spec);
    let is_of_users = |(path, _): &(String, String)| {
        ["userLimits", "userBudget", "maxUsers"].iter().any(|field| path.starts_with(field))
    };
    Some(DetailFields {
        declared: declared.into_iter().filter(is_of_users).collect(),
        notes: vec![
            "Below is what the Team grants each of its users. What a user has left of a budget, the sidecars tell: their /metrics.",
            "Of a Team's users 1,000 are told apart here; _other is the rest of them, and _none are calls that name no user.",
        ],
        counted: (user != "_other").then(|| (account.clone(), Series::User(user.to_owned()))),
        ..DetailFields::default()
    })
}

fn model(view: &View, id: &str) -> Option<DetailFields> {
    let team = named(id.split('|').next()?)?;
    let account = view.accounts.team(&team)?;
    let breakdown = view.facts.ledger.breakdowns.get(account)?;
    let (_, at, _) = models_by_id(&team, breakdown).find(|(of, _, _)| of == id)?;
    Some(DetailFields {
        notes: vec![
            "A provider and a backend that are not named belong to a route of a namespace whose routes you may not list.",
        ],
        counted: (at.backend != "_other").then(|| (account.clone(), Series::Model(at.clone()))),
        ..DetailFields::default()
    })
}

fn created<S>(of: &ResourceFacts<S>) -> Vec<(&'static str, String)> {
    of.object.created.map(|at| ("Created", at.to_string())).into_iter().collect()
}

fn conditions(stated: &[Stated]) -> Vec<Value> {
    let each = stated.iter().map(|Stated { kind, status, reason, message, since }| {
        json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "since": since.map(|at| at.to_string()),
        })
    });
    each.collect()
}

/// Every field that is set, by its path. A field that comes later is shown without a change here.
fn flattened(spec: &impl Serialize) -> Vec<(String, String)> {
    let mut all = Vec::new();
    flatten("", &serde_json::to_value(spec).unwrap_or_default(), &mut all);
    all
}

fn flatten(path: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => into.push((path.to_owned(), value.to_string())),
        Value::String(text) => into.push((path.to_owned(), text.clone())),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            let words: Vec<String> =
                items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect();
            if !words.is_empty() {
                into.push((path.to_owned(), words.join(", ")));
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                flatten(&format!("{path}[{at}]"), item, into);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(&below, field, into);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_spec_is_shown_by_its_path() {
        let spec = json!({
            "limits": {"tokensPerMinute": 1000, "parallelRequests": null},
            "modelLimits": [{"limits": {"requestsPerMinute": 3}, "model": "a"}],
            "models": ["a", "b*"],
            "suspended": false,
            "tags": [],
            "userLimits": {},
        });
        let found = flattened(&spec);
        let expected = [
            ("limits.tokensPerMinute", "1000"),
            ("modelLimits[0].limits.requestsPerMinute", "3"),
            ("modelLimits[0].model", "a"),
            ("models", "a, b*"),
            ("suspended", "false"),
        ];
        assert_eq!(found, expected.map(|(path, value)| (path.to_owned(), value.to_owned())));
    }
}
