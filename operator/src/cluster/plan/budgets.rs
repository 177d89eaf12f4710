//! `BudgetExceeded` and `BudgetWarning`: how far a budget is spent, as the store tells it.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as ApiCondition;
use vectoll_config::{
    stretch,
    v1::{Budget, Extra},
};
use vectoll_crds::Spend;

use crate::{
    condition::{Condition, ConditionType, Status},
    ledger::{Money, Spent},
    validate::{Percent, ValidBudget},
};

const REACHED: &str = "LimitReached";
const REFUSED: &str = "CallsRefused";
const WITHIN: &str = "WithinBudget";
const THRESHOLD_REACHED: &str = "ThresholdReached";
const BELOW: &str = "BelowThreshold";

/// The budgets of an account, and what is known of them.
pub(super) struct Balance<'a> {
    pub(super) budgets: &'a [ValidBudget],
    /// What the store says of each; nothing: it was not heard of.
    pub(super) money: &'a [Money],
    /// What stands in the status.
    pub(super) conditions: Option<&'a [ApiCondition]>,
    /// What stands there of the spend.
    pub(super) spent: Option<&'a Spend>,
    /// What becomes of calls that it has no room for.
    pub(super) consequence: &'static str,
}

/// One of them.
struct OneBalance<'a> {
    budget: &'a Budget,
    warn_at: Option<Percent>,
    money: Option<&'a Money>,
    /// The end of the period that is known of.
    ends: Option<Timestamp>,
    consequence: &'static str,
}

impl Balance<'_> {
    /// Adds what holds of them to what was found. Returns when to look again though nothing is heard: a period ends.
    pub(super) fn add_conditions(&self, found: &mut Cow<'_, [Condition]>, now: Timestamp) -> Option<Timestamp> {
        if self.budgets.is_empty() {
            return None;
        }
        let at = found.iter().position(|condition| condition.kind == ConditionType::Programmed).unwrap_or(found.len());
        found.to_mut().splice(at..at, self.holding(now));
        let extras = self.budgets.iter().filter_map(|valid| valid.budget.extra).map(|extra| extra.until);
        self.each().filter_map(|one| one.ends).chain(extras).filter(|ends| *ends > now).min()
    }

    fn each(&self) -> impl Iterator<Item = OneBalance<'_>> {
        self.budgets.iter().map(|ValidBudget { budget, warn_at }| {
            let money = self.known(budget);
            let ends = money.map_or_else(|| self.end_that_stands(budget), |money| money.ends);
            OneBalance { budget, warn_at: *warn_at, money, ends, consequence: self.consequence }
        })
    }

    /// What was heard of this very budget: another period or zone has an account of its own. Its limit is the present one,
    /// whatever it was when the store was asked.
    fn known(&self, budget: &Budget) -> Option<&Money> {
        let Budget { period, time_zone, reset_at, .. } = budget;
        self.money.iter().find(|money| {
            money.budget.as_ref().is_some_and(|asked| {
                asked.period == *period && asked.time_zone == *time_zone && asked.reset_at == *reset_at
            })
        })
    }

    /// The end of a budget's period, as it stands in the status: of several, each is listed.
    fn end_that_stands(&self, budget: &Budget) -> Option<Timestamp> {
        let spend = self.spent?;
        let period = budget.period.to_string();
        match spend.budgets.iter().find(|listed| listed.period == period) {
            Some(listed) => listed.resets_at.as_ref(),
            None => spend.resets_at.as_ref().filter(|_| spend.budgets.is_empty()),
        }
        .map(|time| time.0)
    }

    /// What holds of them together. While nothing is heard of one, what stands there goes on to hold until its period is over.
    fn holding(&self, now: Timestamp) -> Vec<Condition> {
        let each: Option<Vec<(&Budget, Vec<Condition>)>> =
            self.each().map(|one| Some((one.budget, one.conditions(now)?))).collect();
        let Some(each) = each else { return self.as_before() };
        [ConditionType::BudgetExceeded, ConditionType::BudgetWarning]
            .into_iter()
            .filter_map(|kind| together(kind, &each))
            .collect()
    }

    fn as_before(&self) -> Vec<Condition> {
        let condition = |kind: ConditionType| {
            let before = self.conditions?.iter().find(|condition| condition.type_ == kind.name())?;
            let status = [Status::True, Status::False].into_iter().find(|status| status.name() == before.status)?;
            let reason = [REACHED, REFUSED, WITHIN, THRESHOLD_REACHED, BELOW]
                .into_iter()
                .find(|reason| *reason == before.reason)?;
            Some(Condition { kind, status, reason, message: before.message.clone().into() })
        };
        let warns = self.budgets.iter().any(|valid| valid.warn_at.is_some());
        let warning = condition(ConditionType::BudgetWarning).filter(|_| warns);
        condition(ConditionType::BudgetExceeded).into_iter().chain(warning).collect()
    }
}

/// What holds of the budgets of a route's backends: one condition that says of which. Returns when to look again though nothing is heard.
pub(super) fn of_backends(
    balances: Vec<(&str, Balance<'_>)>,
    found: &mut Cow<'_, [Condition]>,
    now: Timestamp,
) -> Option<Timestamp> {
    let mut due: Option<Timestamp> = None;
    let mut all: Vec<(&str, Condition)> = Vec::new();
    for (backend, balance) in balances {
        let mut of_it: Cow<'_, [Condition]> = Cow::Owned(Vec::new());
        due = due.into_iter().chain(balance.add_conditions(&mut of_it, now)).min();
        all.extend(of_it.iter().map(|condition| (backend, condition.clone())));
    }
    let is_exceeded = |condition: &Condition| condition.status == Status::True;
    let holds = all.iter().any(|(_, condition)| is_exceeded(condition));
    let mut telling = all.iter().filter(|(_, condition)| is_exceeded(condition) == holds).peekable();
    let Some((_, first)) = telling.peek() else { return due };
    let (status, reason) = (first.status, first.reason);
    // What stands there of all of them is not to be said once more of each.
    let message = |(backend, condition): &(&str, Condition)| {
        let prefix = format!("backend {backend}: ");
        if condition.message.starts_with("backend ") {
            condition.message.to_string()
        } else {
            prefix + &condition.message
        }
    };
    let mut messages: Vec<String> = telling.map(message).collect();
    messages.dedup();
    let condition =
        Condition { kind: ConditionType::BudgetExceeded, status, reason, message: messages.join("; ").into() };
    let at = found.iter().position(|condition| condition.kind == ConditionType::Programmed).unwrap_or(found.len());
    found.to_mut().insert(at, condition);
    due
}

/// One condition of all budgets that have it: it holds where it holds of one, and says of which.
fn together(kind: ConditionType, each: &[(&Budget, Vec<Condition>)]) -> Option<Condition> {
    let of_kind = |(budget, conditions): &(&Budget, Vec<Condition>)| {
        let condition = conditions.iter().find(|condition| condition.kind == kind)?.clone();
        Some((budget.period, condition))
    };
    let all: Vec<_> = each.iter().filter_map(of_kind).collect();
    if let [(_, only)] = all.as_slice()
        && each.len() == 1
    {
        return Some(only.clone());
    }
    let holds = all.iter().any(|(_, condition)| condition.status == Status::True);
    let status = if holds { Status::True } else { Status::False };
    let mut telling = all.iter().filter(|(_, condition)| condition.status == status).peekable();
    let reason = telling.peek()?.1.reason;
    let messages: Vec<String> = telling.map(|(period, condition)| format!("{period}: {}", condition.message)).collect();
    Some(Condition { kind, status, reason, message: messages.join("; ").into() })
}

impl OneBalance<'_> {
    /// What holds of it; none: nothing was heard of it.
    fn conditions(&self, now: Timestamp) -> Option<Vec<Condition>> {
        match self.money {
            _ if self.ends.is_some_and(|ends| ends <= now) => Some(self.anew()),
            Some(money) => Some(self.conditions_of(&money.spent, money.ends, now)),
            None => None,
        }
    }

    fn conditions_of(&self, of: &Spent, ends: Option<Timestamp>, now: Timestamp) -> Vec<Condition> {
        let Spent { spent, held: _, refused_at } = *of;
        let limit = self.budget.limit_at(now);
        let extra = self.budget.extra.filter(|extra| now < extra.until);
        let extra = extra.map(|Extra { amount, until }| format!(" ({amount} of them on top until {until})"));
        let reset = self.budget.reset_at.filter(|reset| stretch(self.budget, now).start == *reset);
        let reset = reset.map(|reset| format!(" since it was reset at {reset}"));
        let figures =
            format!("{spent} of {limit} USD{} are spent{}", extra.unwrap_or_default(), reset.unwrap_or_default());
        let until = ends.map_or_else(|| "the limit is raised".to_owned(), |ends| ends.to_string());
        let period = ends.map_or_else(String::new, |ends| format!(" in the period that ends at {ends}"));
        let within = || format!("{figures}{period}");
        let exceeded = ConditionType::BudgetExceeded;
        let exceeded = if spent >= limit {
            let what = if self.budget.audit { "calls go on, for it is on trial," } else { self.consequence };
            Condition::holds(exceeded, REACHED, format!("{figures}: {what} until {until}"))
        } else if refused_at.is_some_and(|at| at >= limit) {
            let message = format!(
                "{figures}, and the rest, part of which may be held for calls under way, was too little for a call: calls \
                 that need more are refused until {until}"
            );
            Condition::holds(exceeded, REFUSED, message)
        } else {
            Condition::fails(exceeded, WITHIN, within())
        };
        let warning = self.warn_at.map(|percent| {
            if percent.is_reached(spent, limit) {
                let message = format!("{figures}{period}: that is {percent} or more");
                Condition::holds(ConditionType::BudgetWarning, THRESHOLD_REACHED, message)
            } else {
                Condition::fails(ConditionType::BudgetWarning, BELOW, within())
            }
        });
        [exceeded].into_iter().chain(warning).collect()
    }

    /// A period of which nothing was heard yet: nothing can be spent of it that anybody would have to be told of.
    fn anew(&self) -> Vec<Condition> {
        let begun = "a new period has begun";
        let exceeded = Condition::fails(ConditionType::BudgetExceeded, WITHIN, begun);
        let warning = self.warn_at.map(|_| Condition::fails(ConditionType::BudgetWarning, BELOW, begun));
        [exceeded].into_iter().chain(warning).collect()
    }
}
