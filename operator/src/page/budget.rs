//! Spend against budgets, from the store or, where that was not read, from a status. Of a budget of which neither speaks only what its
//! owner declared is known. Integers only. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use vectoll_config::{PicoUsd, v1::Budget};
use vectoll_crds::Spend;

use crate::ledger::{Money, Spent};

/// What it is called that a resource without a budget is counted in.
pub(super) const MONTH: &str = "calendar month (UTC)";

/// What was spent in the present period of one budget; or, without a budget, in the calendar month in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BudgetLine {
    pub(super) period: String,
    /// None: nobody has said it yet.
    pub(super) spent: Option<PicoUsd>,
    /// None: there is no budget.
    pub(super) limit: Option<PicoUsd>,
    pub(super) resets: Option<Timestamp>,
    /// What only the store knows.
    pub(super) live: Option<Live>,
    /// When it was written into the status that it is from; none: it is from the store.
    pub(super) written: Option<Timestamp>,
}

/// What a status does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Live {
    /// Held by sidecars for calls under way and to come.
    pub(super) held: PicoUsd,
    /// The limit at which a call was refused that would still be.
    pub(super) refused_at: Option<PicoUsd>,
    /// Whether calls beyond it are served, and told.
    pub(super) audit: bool,
}

impl BudgetLine {
    /// How much of the budget is spent, in percent, rounded down. Of a budget of nothing all is.
    pub(super) fn percent(&self) -> Option<u64> {
        let (spent, limit) = (self.spent?.pico(), self.limit?.pico());
        if limit == 0 {
            return Some(100);
        }
        let percent = u128::from(spent) * 100 / u128::from(limit);
        Some(u64::try_from(percent).unwrap_or(u64::MAX))
    }

    /// Whether the store says that calls are refused for it: one was that would still be, or nothing is left.
    pub(super) fn refuses(&self) -> bool {
        let is_spent = || self.spent.zip(self.limit).is_some_and(|(spent, limit)| spent >= limit);
        self.live.is_some_and(|live| !live.audit && (live.refused_at.is_some() || is_spent()))
    }

    pub(super) fn to_json(&self) -> Value {
        let Self { period, spent, limit, resets, live, written } = self;
        json!({
            "period": period,
            "spent": spent.map(|spent| spent.to_string()),
            "limit": limit.map(|limit| limit.to_string()),
            "remaining": limit.zip(*spent).map(|(limit, spent)| limit.minus(spent).to_string()),
            "percent": self.percent(),
            "resets": resets.map(|at| at.to_string()),
            "held": live.map(|live| live.held.to_string()),
            "refusedAt": live.and_then(|live| live.refused_at).map(|limit| limit.to_string()),
            "audit": live.is_some_and(|live| live.audit),
            "written": written.map(|at| at.to_string()),
        })
    }
}

/// One line for each budget: of what the store said, or else of what stands in the status, or else as it is `declared`.
pub(super) fn lines(money: &[Money], status: Option<&Spend>, declared: &[Budget], now: Timestamp) -> Vec<BudgetLine> {
    let mut lines = if money.is_empty() {
        status.map(|status| of_status(status, declared, now)).unwrap_or_default()
    } else {
        of_store(money, now)
    };
    if !declared.is_empty() {
        // The calendar month is for whoever has no budget.
        lines.retain(|line| line.limit.is_some());
    }
    for budget in declared {
        let period = budget.period.to_string();
        if !lines.iter().any(|line| line.period == period) {
            let limit = Some(budget.limit_at(now));
            lines.push(BudgetLine { period, spent: None, limit, resets: None, live: None, written: None });
        }
    }
    lines
}

/// The line that is nearest to its end: the one that is shown where there is room for one.
pub(super) fn fullest(lines: &[BudgetLine]) -> Option<&BudgetLine> {
    // Of several that are equally full the first: `max_by_key` would take the last.
    lines.iter().rev().max_by_key(|line| line.percent())
}

fn of_store(money: &[Money], now: Timestamp) -> Vec<BudgetLine> {
    let line = |money: &Money| {
        let Money { budget, ends, spent: Spent { spent, held, refused_at } } = money;
        // What was read is of a period that is over: nothing is known of the one that has begun.
        if ends.is_some_and(|ends| ends <= now) {
            return None;
        }
        Some(BudgetLine {
            period: budget.as_ref().map_or_else(|| MONTH.to_owned(), |budget| budget.period.to_string()),
            spent: Some(*spent),
            limit: budget.as_ref().map(|budget| budget.limit_at(now)),
            resets: *ends,
            live: Some(Live {
                held: *held,
                refused_at: *refused_at,
                audit: budget.as_ref().is_some_and(|budget| budget.audit),
            }),
            written: None,
        })
    };
    money.iter().filter_map(line).collect()
}

fn of_status(status: &Spend, declared: &[Budget], now: Timestamp) -> Vec<BudgetLine> {
    let Spend { amount, limit, remaining: _, resets_at, budgets, updated_at } = status;
    // Whoever may write statuses may have written anything: what is no amount is left out.
    let line = |period: String, amount: &str, limit: Option<&str>, resets: Option<Timestamp>| {
        let limit = match limit {
            Some(limit) => Some(limit.parse().ok()?),
            None => None,
        };
        let is_over = resets.is_some_and(|at| at <= now);
        let written = Some(updated_at.0);
        let spent = Some(amount.parse().ok()?);
        (!is_over).then_some(BudgetLine { period, spent, limit, resets, live: None, written })
    };
    if budgets.is_empty() {
        let period = match (limit, declared) {
            (None, _) => MONTH.to_owned(),
            (Some(_), [budget, ..]) => budget.period.to_string(),
            (Some(_), []) => String::new(),
        };
        let resets = resets_at.as_ref().map(|at| at.0);
        return line(period, amount, limit.as_deref(), resets).into_iter().collect();
    }
    let each = budgets.iter().filter_map(|budget| {
        let resets = budget.resets_at.as_ref().map(|at| at.0);
        line(budget.period.clone(), &budget.amount, Some(&budget.limit), resets)
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use vectoll_config::{ZoneName, v1::Period};
    use vectoll_crds::BudgetSpend;

    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn budget(limit: &str, period: Period) -> Budget {
        Budget::new(limit.parse().unwrap(), period, ZoneName::try_from("UTC".to_owned()).unwrap())
    }

    fn money(spent: &str, limit: &str, period: Period) -> Money {
        let budget = budget(limit, period);
        let spent = Spent { spent: spent.parse().unwrap(), held: PicoUsd::new(7), refused_at: Some(PicoUsd::new(9)) };
        Money { budget: Some(budget), ends: Some(at("2026-12-01T00:00:00Z")), spent }
    }

    fn status(amount: &str, limit: Option<&str>) -> Spend {
        Spend {
            amount: amount.to_owned(),
            limit: limit.map(str::to_owned),
            remaining: None,
            resets_at: Some(Time(at("2026-12-01T00:00:00Z"))),
            budgets: Vec::new(),
            updated_at: Time(at("2026-11-30T10:00:00Z")),
        }
    }

    #[test]
    fn the_store_goes_before_the_status_and_the_fullest_budget_is_shown() {
        let now = at("2026-11-30T10:00:30Z");
        let both =
            [money("1", "100", Period::Daily), money("40", "50.00", Period::Monthly), money("4", "5", Period::Yearly)];
        let lines = lines(&both, Some(&status("3", Some("4"))), &[], now);
        assert_eq!(lines.iter().map(BudgetLine::percent).collect::<Vec<_>>(), [Some(1), Some(80), Some(80)]);
        let fullest = fullest(&lines).unwrap();
        let spent = fullest.spent.unwrap().to_string();
        assert_eq!((&*fullest.period, &*spent), ("Monthly", "40.00"), "the first of two");
        let json = fullest.to_json();
        assert_eq!((&json["remaining"], &json["refusedAt"]), (&json!("10.00"), &json!("0.000000000009")));
    }

    #[test]
    fn percent_is_rounded_down_and_goes_beyond_a_hundred() {
        let percent = |spent: u64, limit: u64| {
            let line = BudgetLine {
                period: String::new(),
                spent: Some(PicoUsd::new(spent)),
                limit: Some(PicoUsd::new(limit)),
                resets: None,
                live: None,
                written: None,
            };
            line.percent().unwrap()
        };
        assert_eq!((percent(999, 1000), percent(1000, 1000), percent(1539, 1000)), (99, 100, 153));
        assert_eq!((percent(0, 0), percent(u64::MAX, 1)), (100, u64::MAX), "neither divides by zero nor wraps");
    }

    #[test]
    fn without_the_store_the_status_speaks_until_its_period_is_over() {
        let declared = [budget("4", Period::Monthly)];
        let of = |status: &Spend, now: &str| of_status(status, &declared, at(now));
        let found = of(&status("3", Some("4")), "2026-11-30T10:00:30Z");
        assert_eq!((&*found[0].period, found[0].percent()), ("Monthly", Some(75)));
        assert_eq!(found[0].written, Some(at("2026-11-30T10:00:00Z")));
        assert_eq!(of(&status("3", Some("4")), "2026-12-01T00:00:00Z"), [], "nothing is known of the new period");
        assert_eq!(of(&status("three", Some("4")), "2026-11-30T10:00:30Z"), [], "no amount");
        assert_eq!(of(&status("3", None), "2026-11-30T10:00:30Z")[0].period, MONTH);
        let one = BudgetSpend {
            period: "Yearly-04-06".to_owned(),
            amount: "1".to_owned(),
            limit: "2".to_owned(),
            remaining: "1".to_owned(),
            resets_at: None,
        };
        let several = Spend { budgets: vec![one], ..status("3", Some("4")) };
        assert_eq!(of(&several, "2027-01-01T00:00:00Z")[0].period, "Yearly-04-06");
    }
    #[test]
    fn a_budget_of_which_nobody_has_spoken_yet_is_shown_as_it_is_declared() {
        let now = at("2026-11-30T10:00:30Z");
        let monthly = budget("4", Period::Monthly);
        let alone = lines(&[], None, std::slice::from_ref(&monthly), now);
        assert_eq!((alone[0].spent, alone[0].limit), (None, Some("4".parse().unwrap())));
        assert_eq!((&*alone[0].period, alone[0].percent()), ("Monthly", None), "not known is not nothing");
        let json = alone[0].to_json();
        assert_eq!((&json["spent"], &json["remaining"], &json["limit"]), (&Value::Null, &Value::Null, &json!("4.00")));
        // A month without a budget is no answer to what a budget has left.
        let added = lines(&[], Some(&status("3", None)), std::slice::from_ref(&monthly), now);
        assert_eq!(added, alone);
        // One is known, of the other only what it is; and the one of which more is known is shown first.
        let both = [budget("1", Period::Daily), monthly];
        let half = lines(&[money("1", "4", Period::Monthly)], None, &both, now);
        assert_eq!(
            half.iter().map(|line| (&*line.period, line.percent())).collect::<Vec<_>>(),
            [("Monthly", Some(25)), ("Daily", None)]
        );
        assert_eq!(&*fullest(&half).unwrap().period, "Monthly");
        // What the store said is of a day that is over.
        let over = Money { ends: Some(now), ..money("1", "1", Period::Daily) };
        let begun = lines(&[over], None, &both[..1], now);
        assert_eq!((begun.len(), begun[0].spent, begun[0].limit), (1, None, Some("1".parse().unwrap())));
        let extra = Some(vectoll_config::v1::Extra { amount: "2".parse().unwrap(), until: at("2026-12-01T00:00:00Z") });
        let more = Budget { extra, ..budget("4", Period::Monthly) };
        assert_eq!(lines(&[], None, &[more], now)[0].limit, Some("6".parse().unwrap()));
    }
}
