//! `BudgetExceeded` and `BudgetWarning`: how far a budget is spent, as the store tells it.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition as ApiCondition;
use vectoll_config::v1::Budget;
use vectoll_crds::Spend;

use crate::{
    condition::{Condition, ConditionType, Status},
    ledger::{Money, Spent},
    validate::Percent,
};

const REACHED: &str = "LimitReached";
const REFUSED: &str = "CallsRefused";
const WITHIN: &str = "WithinBudget";
const THRESHOLD_REACHED: &str = "ThresholdReached";
const BELOW: &str = "BelowThreshold";

/// A budget, and what is known of it.
pub(super) struct Balance<'a> {
    pub(super) budget: &'a Budget,
    pub(super) warn_at: Option<Percent>,
    /// What the store says; none: it was not heard of.
    pub(super) money: Option<&'a Money>,
    /// What stands in the status.
    pub(super) conditions: Option<&'a [ApiCondition]>,
    /// What stands there of the spend.
    pub(super) spent: Option<&'a Spend>,
}

impl Balance<'_> {
    /// Adds what holds of it to what was found. Returns when to look again though nothing is heard: its period ends.
    pub(super) fn add_conditions(&self, found: &mut Cow<'_, [Condition]>, now: Timestamp) -> Option<Timestamp> {
        let at = found.iter().position(|condition| condition.kind == ConditionType::Programmed).unwrap_or(found.len());
        found.to_mut().splice(at..at, self.holding(now));
        self.ends().filter(|ends| *ends > now)
    }

    /// What holds of it. While nothing is heard, what stands there goes on to hold until its period is over.
    fn holding(&self, now: Timestamp) -> Vec<Condition> {
        let is_over = self.ends().is_some_and(|ends| ends <= now);
        match self.known() {
            _ if is_over => self.anew(),
            Some(money) => self.conditions_of(&money.spent, money.ends),
            None => self.as_before(),
        }
    }

    /// The end of the period that is known of.
    fn ends(&self) -> Option<Timestamp> {
        let stands = || self.spent.and_then(|spend| spend.resets_at.as_ref()).map(|time| time.0);
        self.known().map_or_else(stands, |money| money.ends)
    }

    /// What was heard of this very budget: another period or zone has an account of its own. Its limit is the present one,
    /// whatever it was when the store was asked.
    fn known(&self) -> Option<&Money> {
        let Budget { limit: _, period, time_zone } = self.budget;
        self.money.filter(|money| {
            money.budget.as_ref().is_some_and(|asked| asked.period == *period && asked.time_zone == *time_zone)
        })
    }

    fn conditions_of(&self, of: &Spent, ends: Option<Timestamp>) -> Vec<Condition> {
        let Spent { spent, held: _, refused_at } = *of;
        let limit = self.budget.limit;
        let figures = format!("{spent} of {limit} USD are spent");
        let until = ends.map_or_else(|| "the limit is raised".to_owned(), |ends| ends.to_string());
        let period = ends.map_or_else(String::new, |ends| format!(" in the period that ends at {ends}"));
        let within = || format!("{figures}{period}");
        let exceeded = ConditionType::BudgetExceeded;
        let exceeded = if spent >= limit {
            Condition::holds(exceeded, REACHED, format!("{figures}: calls are refused until {until}"))
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

    fn as_before(&self) -> Vec<Condition> {
        let condition = |kind: ConditionType| {
            let before = self.conditions?.iter().find(|condition| condition.type_ == kind.name())?;
            let status = [Status::True, Status::False].into_iter().find(|status| status.name() == before.status)?;
            let reason = [REACHED, REFUSED, WITHIN, THRESHOLD_REACHED, BELOW]
                .into_iter()
                .find(|reason| *reason == before.reason)?;
            Some(Condition { kind, status, reason, message: before.message.clone().into() })
        };
        let warning = self.warn_at.and_then(|_| condition(ConditionType::BudgetWarning));
        condition(ConditionType::BudgetExceeded).into_iter().chain(warning).collect()
    }
}
