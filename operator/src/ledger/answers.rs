//! Which fields of the store stand for what. Pure. The names are those of [`vectoll_config::store`].

use std::collections::{BTreeMap, HashMap};

use jiff::{Timestamp, tz::TimeZone};
use vectoll_config::{
    PicoUsd, Stretch, Uid,
    store::{Acknowledgement, Quantity, Series, is_backend_account, money_key, month_key, period_name, total_key},
    stretch,
    v1::Budget,
};

use super::query::TeamQuery;

/// A sidecar that was not heard of for so long does not live, in milliseconds: what the sidecars hold of each other, too.
const LIVE_MS: u64 = 10_000;
/// The time is the store's own, which it writes itself: a later one was written by somebody who wants to live for ever. A failover
/// may put the clock back by a little.
const MAX_SKEW_MS: u64 = 5_000;
/// The longest name of a pod (RFC 1123 subdomain).
const MAX_POD_NAME: usize = 253;
/// The most sidecars of one namespace that are told apart: whoever has its login can write more.
const MAX_LIVE: usize = 10_000;
/// Series that one command asks for.
const SERIES: usize = 256;

/// A sidecar that lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LiveSidecar {
    /// The generation of the config that it serves by.
    pub generation: u64,
    /// Its pod; empty outside a cluster.
    pub pod: String,
}

/// The sidecars of a namespace that were heard of lately, from the fields of its hash and the store's own time.
pub(super) fn live(fields: &HashMap<String, String>, now_ms: u64) -> Vec<LiveSidecar> {
    let live = |text: &String| {
        let Acknowledgement { generation, at_ms, pod } = Acknowledgement::read(text)?;
        let is_recent = now_ms.saturating_sub(at_ms) <= LIVE_MS && at_ms <= now_ms.saturating_add(MAX_SKEW_MS);
        (is_recent && pod.len() <= MAX_POD_NAME).then_some(LiveSidecar { generation, pod })
    };
    let mut live: Vec<LiveSidecar> = fields.values().filter_map(live).collect();
    // A hash has no order: sorted, so that the same reads the same.
    live.sort();
    live.truncate(MAX_LIVE);
    live
}

/// Who spends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// The Team.
    Team,
    /// A key of it.
    Key(Uid),
}

/// What was counted for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
    /// Money.
    pub spent: PicoUsd,
}

impl Totals {
    /// The sum; stops at the largest amounts instead of wrapping.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
            spent: self.spent.plus(other.spent),
        }
    }
}

/// What was spent in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Money {
    /// The budget whose period it is; none: it is the calendar month in UTC.
    pub budget: Option<Budget>,
    /// The end of the period; none: it has none.
    pub ends: Option<Timestamp>,
    /// How much.
    pub spent: Spent,
}

/// Money, spent and promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Spent.
    pub spent: PicoUsd,
    /// Held by sidecars for calls to come, under way, or just settled.
    pub held: PicoUsd,
    /// The limit at which a call was refused that would still be.
    pub refused_at: Option<PicoUsd>,
}

/// What was read of a Team.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TeamLedger {
    /// All there ever was.
    pub totals: BTreeMap<Series, Totals>,
    /// What was spent in the present periods of an account's budgets.
    pub money: BTreeMap<Account, Vec<Money>>,
    /// What its keys spent in the calendar month in UTC, by routes of its own: where there are Teams above it.
    pub month: Option<PicoUsd>,
}

/// One command: some fields of a hash.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fields {
    pub(super) key: String,
    pub(super) names: Vec<String>,
    stands_for: StandsFor,
}

#[derive(Clone, Debug, PartialEq)]
enum StandsFor {
    /// Three fields for each: requests, tokens, money.
    Totals(Vec<Series>),
    /// The money of each, and for the Team what went by routes that are none of its own: its owner does not spend that.
    Month(Vec<Account>, Option<Timestamp>),
    /// The same of a Team for those above it.
    TreeMonth,
    /// What is spent, what is held, and the limit of a refusal.
    Budget(Account, Budget, Option<Timestamp>),
}

impl Account {
    /// Its calls. The account of its money has the same name.
    fn series(&self) -> Series {
        match self {
            Self::Team => Series::Team,
            Self::Key(key) => Series::Key(key.clone()),
        }
    }

    /// What its spend of a month comes from, in the order in which it is taken in.
    fn month_series(&self) -> Vec<Series> {
        match self {
            Self::Team => vec![Series::Team, Series::ForeignRoutes],
            Self::Key(key) => vec![Series::Key(key.clone())],
        }
    }
}

/// What to ask for of a Team at a moment.
pub(super) fn fields(team: &Uid, of: &TeamQuery, now: Timestamp) -> Vec<Fields> {
    let TeamQuery { budgets, keys, in_tree } = of;
    if is_backend_account(team) {
        // A backend has nothing but budgets.
        return budgets.iter().map(|budget| of_budget(team, (Account::Team, "b"), budget, now)).collect();
    }
    let accounts: Vec<(Account, &[Budget])> = [(Account::Team, &**budgets)]
        .into_iter()
        .chain(keys.iter().map(|(key, budgets)| (Account::Key(key.clone()), &**budgets)))
        .collect();
    let mut all = Vec::new();
    let series: Vec<Series> = [Series::Unsettled, Series::ForeignRoutes]
        .into_iter()
        .chain(accounts.iter().map(|(account, _)| account.series()))
        .collect();
    for series in series.chunks(SERIES) {
        let names = series.iter().flat_map(|series| Quantity::ALL.map(|of| series.field(of)));
        let names = names.collect();
        all.push(Fields { key: total_key(team), names, stands_for: StandsFor::Totals(series.to_vec()) });
    }
    let (month, ends) = month_of(now);
    let unbounded: Vec<Account> =
        accounts.iter().filter(|(_, budgets)| budgets.is_empty()).map(|(account, _)| account.clone()).collect();
    for accounts in unbounded.chunks(SERIES) {
        let series = accounts.iter().flat_map(Account::month_series);
        let names = series.map(|series| series.field(Quantity::Money)).collect();
        all.push(Fields { key: month_key(team, &month), names, stands_for: StandsFor::Month(accounts.to_vec(), ends) });
    }
    let each =
        accounts.iter().flat_map(|(account, budgets)| budgets.iter().map(move |budget| (account.clone(), budget)));
    for (account, budget) in each {
        let name = account.series().to_string();
        all.push(of_budget(team, (account, &name), budget, now));
    }
    if *in_tree {
        let names = Account::Team.month_series().iter().map(|series| series.field(Quantity::Money)).collect();
        all.push(Fields { key: month_key(team, &month), names, stands_for: StandsFor::TreeMonth });
    }
    all
}

fn of_budget(team: &Uid, (account, name): (Account, &str), budget: &Budget, now: Timestamp) -> Fields {
    let Stretch { start, end } = stretch(budget, now);
    let period = period_name(budget.period, &budget.time_zone, start);
    let names = ["s", "r", "x"].map(str::to_owned).to_vec();
    Fields { key: money_key(team, name, &period), names, stands_for: StandsFor::Budget(account, budget.clone(), end) }
}

/// The calendar month in UTC, and when it ends.
fn month_of(now: Timestamp) -> (String, Option<Timestamp>) {
    let now = now.to_zoned(TimeZone::UTC);
    let next = now.date().last_of_month().tomorrow().ok().and_then(|first| first.to_zoned(TimeZone::UTC).ok());
    (now.strftime("%Y-%m").to_string(), next.map(|first| first.timestamp()))
}

impl TeamLedger {
    /// In place of what was known of the same budget.
    fn put(&mut self, account: &Account, money: Money) {
        let all = self.money.entry(account.clone()).or_default();
        match all.iter_mut().find(|known| known.budget == money.budget) {
            Some(known) => *known = money,
            None => all.push(money),
        }
    }

    /// Takes in the values of the fields. Of what is no number nothing is known: it is left out, never taken for nothing.
    pub(super) fn take(&mut self, fields: &Fields, values: &[Option<String>]) {
        let Fields { key: _, names: _, stands_for } = fields;
        let mut values = values.iter().map(|value| value.as_deref().map_or(Some(0), |text| text.parse::<u64>().ok()));
        let mut next = || values.next().flatten();
        match stands_for {
            StandsFor::Totals(series) => {
                for series in series {
                    if let (Some(requests), Some(tokens), Some(pico)) = (next(), next(), next()) {
                        self.totals.insert(series.clone(), Totals { requests, tokens, spent: PicoUsd::new(pico) });
                    }
                }
            }
            StandsFor::Month(accounts, ends) => {
                for account in accounts {
                    let spent = match account {
                        // What was written by hand may be more than the whole.
                        Account::Team => next().zip(next()).map(|(all, foreign)| all.saturating_sub(foreign)),
                        Account::Key(_) => next(),
                    };
                    if let Some(pico) = spent {
                        let spent = Spent { spent: PicoUsd::new(pico), ..Spent::default() };
                        self.put(account, Money { budget: None, ends: *ends, spent });
                    }
                }
            }
            StandsFor::TreeMonth => {
                let spent = next().zip(next()).map(|(all, foreign)| PicoUsd::new(all.saturating_sub(foreign)));
                self.month = spent.or(self.month);
            }
            StandsFor::Budget(account, budget, ends) => {
                if let (Some(spent), Some(held), Some(refused)) = (next(), next(), next()) {
                    let [spent, held, refused] = [spent, held, refused].map(PicoUsd::new);
                    // No call is refused at a limit of nothing: it never fits.
                    let refused_at = Some(refused).filter(|limit| *limit > PicoUsd::ZERO);
                    let spent = Spent { spent, held, refused_at };
                    self.put(account, Money { budget: Some(budget.clone()), ends: *ends, spent });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
