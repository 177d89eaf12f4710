//! Statuses: what was reconciled, and what became of it, told where people look.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as ApiCondition;
use vectoll_config::{ObjectName, PicoUsd, v1::Budget};
use vectoll_crds::{ModelRouteSpec, ModelRouteStatus, Spend};

use super::{
    Action, PersistentFailures, Target,
    budgets::{Balance, of_backends},
    configs::Undelivered,
    programmed::Programmed,
    transitions::{PENDING, turns},
};
use crate::{
    cluster::{
        cluster_state::ClusterState,
        spend::{self, SpendStatus},
        status::{self, Change},
    },
    desired_state::{Condition, ConditionType, DesiredState, Status},
    ledger::{Account, Acknowledgements, Money, Spent},
    observed_state::{Kind, Object, ResourceRef},
    resolve::ResolvedKey,
    validate::ValidBudget,
};

/// When to look again at what is on its way: acknowledgements are read as often.
const RETRY_DELAY: SignedDuration = SignedDuration::from_secs(2);

/// What is to be told.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Statuses to write: as many as one plan takes on.
    pub(super) actions: Vec<Action>,
    /// How many are left for later.
    pub(super) later: usize,
    /// How many resources of a kind are ready, and how many are not.
    pub(super) ready: BTreeMap<Kind, [usize; 2]>,
    /// When to look again though nothing changes.
    pub(super) due: Option<Timestamp>,
}

pub(super) fn reports(
    cluster: &ClusterState,
    desired: &DesiredState,
    programmed: &Programmed<'_>,
    undelivered: &BTreeMap<ResourceRef, Undelivered>,
    troubles: &PersistentFailures,
    bulk: usize,
    now: Timestamp,
) -> Reports {
    let mut actions = Vec::new();
    let mut later = 0;
    let mut due: Option<Timestamp> = None;
    let mut look_again = |at: Timestamp| due = Some(due.map_or(at, |due| due.min(at)));
    // Otherwise each sidecar holds a budget of its own, and nobody knows the sum.
    let counts_together = cluster.books.acknowledgements != Acknowledgements::Nowhere;
    let mut ready: BTreeMap<Kind, [usize; 2]> =
        [Kind::ApiKey, Kind::Team, Kind::ModelRoute].into_iter().map(|kind| (kind, [0; 2])).collect();
    let stuck: BTreeMap<&ObjectName, String> = desired
        .to_create
        .iter()
        .filter_map(|creation| {
            let error = troubles.get(&Target::Secret(creation.secret.clone()))?;
            Some((&creation.api_key, format!("the Secret {} cannot be written: {error}", creation.secret)))
        })
        .collect();
    for (of, found) in &desired.conditions {
        let name = &of.name;
        let mut found = Cow::Borrowed(&**found);
        let (uid, version, before, status) = match of.kind {
            Kind::ApiKey => {
                let Some(seen) = cluster.api_keys.get(name) else { continue };
                let conditions = seen.value.status.as_deref().map(|status| &*status.conditions);
                if programmed.add_conditions(of, conditions, seen.value.generation, &mut found) {
                    look_again(now.saturating_add(RETRY_DELAY).unwrap_or(now));
                }
                if let Some(error) = stuck.get(name) {
                    not_written(found.to_mut(), error);
                }
                if let Some(why) = undelivered.get(of) {
                    not_programmed(found.to_mut(), why);
                }
                let (of, present) = (&seen.value.object, seen.value.status.as_deref());
                let key = desired.key(name);
                let money = key.map_or(&[][..], |resolved| money_of(cluster, desired, resolved));
                let reported = present.and_then(|status| status.spend.as_ref());
                let budgets = key.filter(|_| counts_together).map_or(&[][..], |resolved| &resolved.key.budgets);
                let balance = Balance { budgets, money, conditions, spent: reported, consequence: REFUSED };
                balance.add_conditions(&mut found, now).into_iter().for_each(&mut look_again);
                let spend = spend::spend_status(reported, money, &of.uid, cluster.spend_writes, now);
                let status = status::api_key(present, seen.value.generation, &found, key, &spend, now);
                (of.uid.clone(), seen.version, present.map(|status| &status.conditions), status)
            }
            Kind::Team => {
                let Some(seen) = cluster.teams.get(name) else { continue };
                let conditions = seen.value.status.as_deref().map(|status| &*status.conditions);
                if programmed.add_conditions(of, conditions, seen.value.generation, &mut found) {
                    look_again(now.saturating_add(RETRY_DELAY).unwrap_or(now));
                }
                let (of, present) = (&seen.value.object, seen.value.status.as_deref());
                let team = desired.team(name);
                let account = team.map_or(&of.uid, |team| &team.account);
                let money = of_tree(cluster, name, cluster.books.money(account, &Account::Team));
                let money = &*money;
                let reported = present.and_then(|status| status.spend.as_ref());
                let budgets = team.filter(|_| counts_together).map_or(&[][..], |team| &team.budgets);
                let balance = Balance { budgets, money, conditions, spent: reported, consequence: REFUSED };
                balance.add_conditions(&mut found, now).into_iter().for_each(&mut look_again);
                let spend = spend::spend_status(reported, money, &of.uid, cluster.spend_writes, now);
                let status = status::team(present, seen.value.generation, &found, &spend, now);
                (of.uid.clone(), seen.version, present.map(|status| &status.conditions), status)
            }
            Kind::ModelRoute => {
                let Some(seen) = cluster.routes.get(name) else { continue };
                let conditions = seen.value.status.as_deref().map(|status| &*status.conditions);
                if programmed.add_conditions(of, conditions, seen.value.generation, &mut found) {
                    look_again(now.saturating_add(RETRY_DELAY).unwrap_or(now));
                }
                if let Some(why) = undelivered.get(of) {
                    not_programmed(found.to_mut(), why);
                }
                let (of, present) = (&seen.value.object, seen.value.status.as_deref());
                let generation = seen.value.generation;
                let (status, again) = of_route((cluster, desired), of, (present, generation), &mut found, now);
                again.into_iter().for_each(&mut look_again);
                (of.uid.clone(), seen.version, present.map(|status| &status.conditions), status)
            }
        };
        let [is_ready, is_not] = ready.entry(of.kind).or_default();
        *(if found.iter().any(is_ready_now) { is_ready } else { is_not }) += 1;
        // A key that is about to get its value is told of when it has it.
        let is_new = before.is_none() && found.iter().any(|condition| condition.reason == PENDING);
        let status = match status {
            Change::Nothing => None,
            Change::Later(at) => {
                look_again(at);
                None
            }
            Change::Write(status) => Some(status),
        };
        if let Some(status) = status.filter(|_| !is_new) {
            let turns = turns(before.map(Vec::as_slice), &status);
            if actions.len() < bulk {
                actions.push(Action::Report { of: of.clone(), uid, version, status, turns });
            } else {
                later += 1;
            }
        }
    }
    Reports { actions, later, ready, due }
}

/// The status of a ModelRoute, with what is owed to its providers; and when to look again though nothing changes.
fn of_route(
    (cluster, desired): (&ClusterState, &DesiredState),
    of: &Object<ModelRouteSpec>,
    (present, generation): (Option<&ModelRouteStatus>, Option<i64>),
    found: &mut Cow<'_, [Condition]>,
    now: Timestamp,
) -> (Change, Option<Timestamp>) {
    let all = desired.owed_by(&of.name);
    let all: Vec<BackendSpend<'_>> =
        all.map(|(backend, budgets)| backend_spend(cluster, &of.name, present, backend, budgets)).collect();
    // Otherwise each sidecar holds a budget of its own, and nobody knows the sum.
    let counts_together = cluster.books.acknowledgements != Acknowledgements::Nowhere;
    let conditions = present.map(|status| &*status.conditions);
    let balances = all.iter().filter(|_| counts_together).map(|of| (of.backend, of.balance(conditions)));
    let again = of_backends(balances.collect(), found, now);
    let spend = |backend: &BackendSpend<'_>| {
        spend::spend_status(backend.reported, backend.money, &of.uid, cluster.spend_writes, now)
    };
    let spends: Vec<(&str, SpendStatus)> = all.iter().map(|of| (of.backend, spend(of))).collect();
    (status::route(present, generation, found, &spends, now), again)
}

/// What becomes of calls for which a budget has no room.
const REFUSED: &str = "calls are refused";
const ELSEWHERE: &str = "calls go to other backends, or are refused where there is none,";

/// What is spent at a backend with budgets: by the store, and as the status reports it.
struct BackendSpend<'a> {
    backend: &'a str,
    budgets: Vec<ValidBudget>,
    money: &'a [Money],
    reported: Option<&'a Spend>,
}

fn backend_spend<'a>(
    cluster: &'a ClusterState,
    route: &ObjectName,
    present: Option<&'a ModelRouteStatus>,
    backend: &'a str,
    budgets: &[Budget],
) -> BackendSpend<'a> {
    let reported = present.and_then(|status| status.backends.iter().find(|listed| listed.name == backend));
    BackendSpend {
        backend,
        budgets: budgets.iter().map(|budget| ValidBudget { budget: budget.clone(), warn_at: None }).collect(),
        money: cluster.books.owed(&format!("{route}/{backend}")),
        reported: reported.map(|listed| &listed.spend),
    }
}

impl BackendSpend<'_> {
    fn balance<'b>(&'b self, conditions: Option<&'b [ApiCondition]>) -> Balance<'b> {
        let Self { backend: _, budgets, money, reported } = self;
        Balance { budgets, money, conditions, spent: *reported, consequence: ELSEWHERE }
    }
}

/// What a Team has spent, with what those below it have: its budgets count that anyway; without a budget, the month's sums.
fn of_tree<'a>(cluster: &ClusterState, team: &ObjectName, own: &'a [Money]) -> Cow<'a, [Money]> {
    let below = cluster.accounts_below.get(team).into_iter().flatten();
    let months = below.filter_map(|account| cluster.books.teams.get(account)?.month);
    let sum = months.fold(PicoUsd::ZERO, PicoUsd::plus);
    match own {
        [month] if month.budget.is_none() && sum > PicoUsd::ZERO => {
            let spent = Spent { spent: month.spent.spent.plus(sum), ..month.spent };
            Cow::Owned(vec![Money { spent, ..month.clone() }])
        }
        _ => Cow::Borrowed(own),
    }
}

/// What the store says of a key, whose account is kept within its Team's.
fn money_of<'a>(cluster: &'a ClusterState, desired: &DesiredState, resolved: &ResolvedKey) -> &'a [Money] {
    let Some(team) = desired.team(&resolved.key.team) else { return &[] };
    cluster.books.money(&team.account, &Account::Key(resolved.key.account.clone()))
}

fn is_ready_now(condition: &Condition) -> bool {
    condition.kind == ConditionType::Ready && condition.status == Status::True
}

/// A key whose Secret should have been made by now.
fn not_written(found: &mut [Condition], error: &str) {
    for condition in found.iter_mut().filter(|condition| condition.reason == PENDING) {
        condition.reason = "WriteFailed";
        condition.message = error.to_owned().into();
    }
}

/// A key or route that does not reach the sidecars. What stands in its way before that is the reason that counts.
fn not_programmed(found: &mut [Condition], why: &Undelivered) {
    for condition in found {
        if condition.kind == ConditionType::Programmed || why.stops && is_ready_now(condition) {
            condition.status = Status::False;
            condition.reason = why.reason;
            condition.message = why.message.clone().into();
        }
    }
}
