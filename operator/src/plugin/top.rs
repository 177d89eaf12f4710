//! `top`: who has spent most.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use anyhow::bail;
use jiff::Timestamp;
use kube::Client;
use serde::Serialize;
use vectoll_config::{PicoUsd, Uid};
use vectoll_crds::{ApiKey, BackendStatus, ModelRoute, Team};

use super::{
    cli::{Spenders, Top},
    connect::{Place, connect_to},
    names::all_names,
    objects::{TrackedResource, list},
    output::print,
    status::{Entry, of_key, of_team, spent},
    table::Table,
};
use crate::report::{Amounts, Line, Month, Part, lines, read};

/// Who has spent most, the greatest first.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ranking {
    /// The statuses, or the ledger's month.
    source: String,
    entries: Vec<Ranked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ranked {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    #[serde(skip)]
    pico: i128,
    spent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<String>,
}

pub(super) async fn run(settings: &Top, out: &mut impl Write) -> anyhow::Result<()> {
    let Top { who, limit, scope, store, output } = settings;
    let (client, place) = connect_to(scope).await?;
    let (source, entries) = match store.read()? {
        Some(access) => {
            let month = Month::at(Timestamp::now());
            let part = match who {
                Spenders::Keys => Part::Key,
                Spenders::Teams => Part::Team,
                Spenders::Users => Part::User,
                Spenders::Models => Part::Model,
                Spenders::CostCenters => Part::CostCenter,
                Spenders::Labels => Part::Label,
                Spenders::Tags => Part::Tag,
                Spenders::Backends => bail!(
                    "the ledger tells models at backends: top models. Without a store the statuses tell what is owed"
                ),
            };
            let lines = lines(&read(&access, month).await?, part, &all_names(&client).await?);
            let lines = if part == Part::Tag { by_each_tag(lines) } else { lines };
            (format!("the ledger of {month}"), from_ledger(&lines, part, &place))
        }
        None => ("the statuses".to_owned(), from_statuses(&client, &place, *who).await?),
    };
    let ranking = Ranking { source, entries: ranked(entries, *limit) };
    print(&ranking, *output, |wide| table(&ranking, wide), out)
}

async fn from_statuses(client: &Client, place: &Place, who: Spenders) -> anyhow::Result<Vec<Ranked>> {
    Ok(match who {
        Spenders::Keys => list::<ApiKey>(client, place).await?.iter().flat_map(|key| of_entry(&of_key(key))).collect(),
        Spenders::Teams => {
            list::<Team>(client, place).await?.iter().flat_map(|team| of_entry(&of_team(team))).collect()
        }
        Spenders::Backends => list::<ModelRoute>(client, place).await?.iter().flat_map(of_route).collect(),
        Spenders::Users | Spenders::Models | Spenders::CostCenters | Spenders::Labels | Spenders::Tags => bail!(
            "statuses tell keys, Teams and backends apart, the ledger in the store all else: name it with --store-url"
        ),
    })
}

/// One for each budget.
fn of_entry(entry: &Entry) -> Vec<Ranked> {
    let Entry { namespace, name, team, spend, .. } = entry;
    let of = |of: &super::status::Spent| Ranked {
        name: format!("{namespace}/{name}"),
        team: team.clone(),
        pico: pico(&of.amount),
        spent: of.amount.clone(),
        period: of.period.clone(),
        limit: of.limit.clone(),
        remaining: of.remaining.clone(),
        requests: None,
        tokens: None,
    };
    spend.iter().map(of).collect()
}

fn of_route(route: &TrackedResource<ModelRoute>) -> Vec<Ranked> {
    let backends = route.status.iter().flat_map(|status| &status.backends);
    let of = |BackendStatus { name, spend }: &BackendStatus| {
        let backend = format!("{}/{name}", route.object.name);
        let spent = spent(Some(spend), None);
        spent.into_iter().map(move |of| Ranked {
            name: backend.clone(),
            team: None,
            pico: pico(&of.amount),
            spent: of.amount,
            period: of.period,
            limit: of.limit,
            remaining: of.remaining,
            requests: None,
            tokens: None,
        })
    };
    backends.flat_map(of).collect()
}

/// What stands for spend that is allocated to nothing.
const NONE: &str = "(none)";

fn pico(amount: &str) -> i128 {
    amount.parse::<PicoUsd>().map_or(0, |amount| amount.pico().into())
}

fn from_ledger(lines: &[Line], part: Part, place: &Place) -> Vec<Ranked> {
    let is_there = |line: &&Line| {
        let name = line.key_name.as_ref().or(line.team_name.as_ref());
        match place {
            Place::All => true,
            Place::Namespace(namespace) => {
                name.and_then(|name| name.split_once('/')).is_some_and(|(of, _)| of == namespace)
            }
        }
    };
    let named = |line: &Line| {
        let team = line.team_name.clone().unwrap_or_else(|| line.team.to_string());
        let name = match part {
            Part::Team => team.clone(),
            Part::Key => line.key_name.clone().or_else(|| line.key.as_ref().map(ToString::to_string))?,
            Part::User => line.user.clone()?,
            Part::Model => line.model.as_ref().map(|model| format!("{} at {}", model.model, model.backend))?,
            Part::CostCenter => line.cost_center.clone().unwrap_or_else(|| NONE.to_owned()),
            Part::Tag => line.tags.first().cloned().unwrap_or_else(|| NONE.to_owned()),
            Part::Label if line.labels.is_empty() => NONE.to_owned(),
            Part::Label => {
                line.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
            }
        };
        Some((name, team))
    };
    let of = |line: &Line| {
        let (name, team) = named(line)?;
        Some(Ranked {
            name,
            team: (part != Part::Team).then_some(team),
            pico: line.amounts.pico,
            spent: line.amounts.usd(),
            period: None,
            limit: None,
            remaining: None,
            requests: Some(line.amounts.requests.to_string()),
            tokens: Some(line.amounts.tokens.to_string()),
        })
    };
    lines.iter().filter(is_there).filter(|line| line.included == Amounts::default()).filter_map(of).collect()
}

/// From lines by sets of tags to lines by each tag. A set counts at all of its tags, so these sum to more than there is.
fn by_each_tag(lines: Vec<Line>) -> Vec<Line> {
    let (tagged, mut others): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(|line| !line.tags.is_empty());
    let mut sums: BTreeMap<(Uid, String), Line> = BTreeMap::new();
    for line in tagged {
        for tag in &line.tags {
            let sum = sums.entry((line.team.clone(), tag.clone())).or_insert_with(|| Line {
                tags: BTreeSet::from([tag.clone()]),
                amounts: Amounts::default(),
                ..line.clone()
            });
            sum.amounts = sum.amounts.plus(line.amounts);
        }
    }
    others.extend(sums.into_values());
    others
}

/// The greatest first; of the same spend by name.
fn ranked(mut entries: Vec<Ranked>, limit: usize) -> Vec<Ranked> {
    entries.sort_by(|a, b| b.pico.cmp(&a.pico).then_with(|| a.name.cmp(&b.name)));
    entries.truncate(limit);
    entries
}

fn table(ranking: &Ranking, wide: bool) -> String {
    if ranking.entries.is_empty() {
        return format!("no spend in {}\n", ranking.source);
    }
    let of_ledger = ranking.entries.iter().any(|entry| entry.requests.is_some());
    let mut head = vec!["NAME", "SPENT"];
    head.extend(if of_ledger { ["REQUESTS", "TOKENS"].as_slice() } else { &["BUDGET", "LEFT", "PERIOD"] });
    let has_team = ranking.entries.iter().any(|entry| entry.team.is_some());
    if has_team && (wide || of_ledger) {
        head.push("TEAM");
    }
    let mut table = Table::new(&head);
    for Ranked { name, team, pico: _, spent, period, limit, remaining, requests, tokens } in &ranking.entries {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let mut cells = vec![name.clone(), spent.clone()];
        if of_ledger {
            cells.extend([or_none(requests), or_none(tokens)]);
        } else {
            cells.extend([or_none(limit), or_none(remaining), or_none(period)]);
        }
        if has_team && (wide || of_ledger) {
            cells.push(or_none(team));
        }
        table.row(cells);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, pico: i128) -> Ranked {
        let spent = PicoUsd::new(u64::try_from(pico).unwrap_or_default()).to_string();
        let (team, period, limit, remaining) = (Some("web/search".to_owned()), Some("Monthly".to_owned()), None, None);
        Ranked { name: name.to_owned(), team, pico, spent, period, limit, remaining, requests: None, tokens: None }
    }

    #[test]
    fn the_greatest_come_first_by_amount_and_not_by_its_digits() {
        let entries = vec![of("web/a", 9_000_000_000_000), of("web/b", 25_000_000_000_000), of("web/c", 180_000)];
        let ranking = Ranking { source: "the statuses".to_owned(), entries: ranked(entries, 2) };
        assert_eq!(
            table(&ranking, false),
            "NAME    SPENT   BUDGET   LEFT   PERIOD\nweb/b   25.00   -        -      Monthly\nweb/a   9.00    -        -      Monthly\n"
        );
        let none = Ranking { entries: Vec::new(), ..ranking };
        assert_eq!(table(&none, false), "no spend in the statuses\n");
    }
}
