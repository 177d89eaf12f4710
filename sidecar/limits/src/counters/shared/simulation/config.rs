//! Who is limited to what, and the edits of it.

use fastrand::Rng;
use vectoll_config::{
    ModelPattern, PicoUsd, Uid, ZoneName,
    v1::{Budget, Limits, Period},
};

use super::super::names::at_ms;
use crate::counters::{Account, account_name};

/// Every token costs this much.
pub(super) const PRICE: u64 = 1_000_000;
/// Keys, users, namespaces and models of the one Team. A call is of one of each.
pub(super) const KEYS: usize = 2;
pub(super) const USERS: usize = 3;
const NAMESPACES: usize = 2;
pub(super) const MODELS: usize = 2;
/// The Team, keys, users, namespaces, users of each key, and models.
pub(super) const ACCOUNTS: usize = PAYERS + KEYS * USERS + MODELS;
/// The first of them may have budgets.
const PAYERS: usize = 1 + KEYS + USERS + NAMESPACES;

pub(super) fn team() -> Uid {
    Uid::new("team")
}

/// All accounts. A place in here is what an account is called in the simulation.
pub(super) fn accounts() -> Vec<Account> {
    let key = |key: usize| Uid::new(&format!("key-{key}"));
    let user = |user: usize| format!("user-{user}").into();
    let mut all = vec![Account::Team(team())];
    all.extend((0..KEYS).map(|k| Account::Key(key(k))));
    all.extend((0..USERS).map(|u| Account::TeamUser(team(), user(u))));
    all.extend((0..NAMESPACES).map(|n| Account::TeamNamespace(team(), format!("namespace-{n}").into())));
    all.extend((0..KEYS * USERS).map(|n| Account::KeyUser(key(n / USERS), user(n % USERS))));
    let model = |m: usize| ModelPattern::try_from(format!("model-{m}")).unwrap();
    all.extend((0..MODELS).map(|m| Account::TeamModel(team(), model(m))));
    all
}

/// The accounts that a call counts in. A key is of one namespace.
pub(super) fn accounts_of(key: usize, user: usize, model: usize) -> [usize; 6] {
    let (users, namespaces) = (1 + KEYS, 1 + KEYS + USERS);
    let namespace = namespaces + key % NAMESPACES;
    [1 + key, 0, users + user, namespace, PAYERS + key * USERS + user, PAYERS + KEYS * USERS + model]
}

pub(super) fn account_named(name: &str) -> usize {
    accounts().iter().position(|account| *account_name(account) == *name).unwrap()
}

/// What is asked for all accounts, at one time.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) limits: Vec<Limits>,
    pub(super) budgets: Vec<Vec<Budget>>,
    /// When it was in force no more anywhere, by the store's clock: no sidecar serves by it, and no call that came under it waits.
    pub(super) left: Option<u64>,
}

/// Those that end within a schedule, and those that do not.
const PERIODS: [Period; 4] = [Period::Hourly, Period::Daily, Period::Monthly, Period::Total];

fn budget(rng: &mut Rng, period: Period) -> Budget {
    let limit = PicoUsd::new(rng.u64(2_000..60_000) * PRICE);
    Budget::new(limit, period, ZoneName::try_from("UTC".to_owned()).unwrap())
}

/// One budget in most schedules, and several in others.
fn budgets(rng: &mut Rng) -> Vec<Budget> {
    let mut periods = PERIODS;
    rng.shuffle(&mut periods);
    let count = if rng.bool() { 1 } else { rng.usize(1..=3) };
    periods.into_iter().take(count).map(|period| budget(rng, period)).collect()
}

impl Config {
    pub(super) fn any(rng: &mut Rng) -> Self {
        // In some schedules no window is limited: nothing else makes a call wait that the claims at hand let through.
        let windows = rng.u8(0..4) > 0;
        let limits = |rng: &mut Rng, at: usize| {
            let of_team = at == 0;
            Limits {
                requests_per_minute: (windows && rng.bool()).then(|| rng.u64(20..400)),
                tokens_per_minute: (windows && (of_team || rng.bool())).then(|| rng.u64(500..20_000)),
                requests_per_hour: (windows && rng.u8(0..4) == 0).then(|| rng.u64(50..800)),
                tokens_per_hour: (windows && rng.u8(0..4) == 0).then(|| rng.u64(1_000..40_000)),
                requests_per_day: None,
                tokens_per_day: (windows && rng.u8(0..4) == 0).then(|| rng.u64(1_000..60_000)),
                parallel_requests: ((of_team && !windows) || rng.bool()).then(|| rng.u64(2..12)),
                ..Limits::NONE
            }
        };
        // All accounts are limited in some schedules, and the Team alone in others.
        let crowded = rng.bool();
        let mut config = Self { limits: Vec::new(), budgets: Vec::new(), left: None };
        for at in 0..ACCOUNTS {
            let limited = at == 0 || (crowded && rng.u8(0..3) > 0);
            config.limits.push(if limited { limits(rng, at) } else { Limits::default() });
            // Only these have budgets.
            let pays = limited && at < PAYERS && rng.bool();
            config.budgets.push(if pays { budgets(rng) } else { Vec::new() });
        }
        config
    }

    /// Edits one number of one account.
    pub(super) fn edit(&mut self, rng: &mut Rng, now: u64) {
        let at = if rng.bool() { 0 } else { rng.usize(0..ACCOUNTS) };
        let other = |rng: &mut Rng, limit: Option<u64>, usual: std::ops::Range<u64>| match (limit, rng.u8(0..5)) {
            (None, _) => Some(rng.u64(usual)),
            (Some(_), 0) => None,
            (Some(limit), 1 | 2) => Some(limit.saturating_mul(rng.u64(2..5))),
            (Some(limit), _) => Some((limit / rng.u64(2..5)).max(1)),
        };
        let limits = &mut self.limits[at];
        match rng.u8(0..7) {
            0 => limits.requests_per_minute = other(rng, limits.requests_per_minute, 20..400),
            1 => limits.tokens_per_minute = other(rng, limits.tokens_per_minute, 500..20_000),
            2 => limits.parallel_requests = other(rng, limits.parallel_requests, 2..12),
            3 => limits.tokens_per_hour = other(rng, limits.tokens_per_hour, 1_000..40_000),
            4 => limits.tokens_per_day = other(rng, limits.tokens_per_day, 1_000..60_000),
            // A reset, which may lie some time back or ahead.
            5 if at < PAYERS => {
                let moment = (now + rng.u64(0..20_000)).saturating_sub(10_000);
                for budget in &mut self.budgets[at] {
                    budget.reset_at = Some(at_ms(moment));
                }
            }
            _ if at < PAYERS => {
                let period = PERIODS[rng.usize(0..PERIODS.len())];
                let budgets = &mut self.budgets[at];
                let place = budgets.iter().position(|budget| budget.period == period);
                let limit = place.map(|place| budgets[place].limit.pico() / PRICE);
                match (place, other(rng, limit, 2_000..60_000)) {
                    (Some(place), Some(limit)) => budgets[place].limit = PicoUsd::new(limit * PRICE),
                    (Some(place), None) => drop(budgets.remove(place)),
                    (None, Some(limit)) => {
                        budgets.push(Budget { limit: PicoUsd::new(limit * PRICE), ..budget(rng, period) });
                    }
                    (None, None) => {}
                }
            }
            _ => {}
        }
    }
}
