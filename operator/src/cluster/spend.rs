//! What was spent, as it stands in a status, and how often it is written there. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vectoll_config::{PicoUsd, Uid};
use vectoll_crds::{BudgetSpend, Spend};

use super::api_time::whole_second;
use crate::{
    ledger::{Money, Spent},
    spread::offset_of,
};

/// The shortest time between two writes of a status in which nothing changed but spend: ten seconds, and one because a time in the
/// API has lost its fraction.
const MIN_WRITE_INTERVAL: SignedDuration = SignedDuration::from_secs(11);

/// How often what was spent is written into statuses. Thousands of keys that spend all the time must not become thousands of writes a
/// second: what is up to the second stands in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpendWrites {
    /// How long a change may wait; none: spend is written into no status.
    pub(crate) interval: Option<SignedDuration>,
    /// The part of its budget, in percent, that is a change which does not wait so long.
    pub(crate) threshold_percent: u8,
}

impl Default for SpendWrites {
    fn default() -> Self {
        Self { interval: Some(SignedDuration::from_mins(1)), threshold_percent: 1 }
    }
}

/// What is to stand in a status, and whether and when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SpendStatus {
    /// As it is to stand there.
    pub(super) spend: Option<Spend>,
    /// When that may be written, if nothing else changes; none: it stands there.
    pub(super) due: Option<Timestamp>,
}

/// Of a resource whose status says `present` and of which the store says `money`, for each budget; nothing: it was not heard of. While
/// it was not, what stands there stays.
pub(super) fn spend_status(
    present: Option<&Spend>,
    money: &[Money],
    uid: &Uid,
    writes: SpendWrites,
    now: Timestamp,
) -> SpendStatus {
    let stays = SpendStatus { spend: present.cloned(), due: None };
    let Some(interval) = writes.interval else {
        // What stood there before would be wrong for ever.
        return SpendStatus { spend: None, due: present.map(|_| now) };
    };
    let Some(new) = figures(money, now) else { return stays };
    let is_nothing = |money: &Money| money.budget.is_none() && money.spent == Spent::default();
    match present {
        // Nothing was spent, and nothing could be exceeded: not worth a write for each of thousands of keys.
        None if money.iter().all(is_nothing) => stays,
        None => SpendStatus { spend: Some(new), due: Some(now) },
        Some(present) if (Spend { updated_at: present.updated_at.clone(), ..new.clone() }) == *present => stays,
        Some(present) => {
            let due = due(present, money, uid, interval, writes.threshold_percent, now);
            SpendStatus { spend: Some(new), due: Some(due) }
        }
    }
}

/// When a change is to be written. Each object has a moment of its own in every interval: so no more are written in one second than
/// in another, also when a period ends for all of them at once. A change that is worth it does not wait for that moment.
fn due(
    present: &Spend,
    money: &[Money],
    uid: &Uid,
    interval: SignedDuration,
    threshold_percent: u8,
    now: Timestamp,
) -> Timestamp {
    let written = present.updated_at.0;
    if written > now {
        // A clock was ahead: that must not silence it until then.
        return now;
    }
    let resets = present.resets_at.iter().chain(present.budgets.iter().filter_map(|budget| budget.resets_at.as_ref()));
    if let Some(reset) = resets.map(|time| time.0).filter(|at| *at <= now && *at > written).min() {
        return moment_after(reset, interval, uid);
    }
    // The moment at which it was written last is over, though a clock may say so only just.
    let due = moment_after(written.saturating_add(interval / 2).unwrap_or(now), interval, uid);
    if is_worth_it(present, money, threshold_percent, now) {
        due.min(written.saturating_add(MIN_WRITE_INTERVAL).unwrap_or(now))
    } else {
        due
    }
}

/// The next of an object's moments, which come once in an interval.
fn moment_after(time: Timestamp, interval: SignedDuration, uid: &Uid) -> Timestamp {
    let (seconds, offset) = (interval.as_secs().max(1), offset_of(uid.as_str(), interval).as_secs());
    let begun = (time.as_second() - offset).div_euclid(seconds) + 1;
    Timestamp::from_second(begun.saturating_mul(seconds).saturating_add(offset)).unwrap_or(time)
}

/// Whether so much of a budget was spent since the last write that nobody should have to wait for it. Without a budget there is
/// nothing that it could come close to.
fn is_worth_it(present: &Spend, money: &[Money], threshold_percent: u8, now: Timestamp) -> bool {
    money.iter().any(|money| {
        let Some(budget) = &money.budget else { return false };
        let period = budget.period.to_string();
        let listed = present.budgets.iter().find(|listed| listed.period == period).map(|listed| &listed.amount);
        let Ok(before) = listed.unwrap_or(&present.amount).parse::<PicoUsd>() else { return true };
        let moved = before.pico().abs_diff(money.spent.spent.pico());
        moved > 0 && u128::from(moved) * 100 >= u128::from(budget.limit_at(now).pico()) * u128::from(threshold_percent)
    })
}

/// What stands in the status: the first budget's, and each one's where there are several.
fn figures(money: &[Money], now: Timestamp) -> Option<Spend> {
    let Money { budget, ends, spent: Spent { spent, held: _, refused_at: _ } } = money.first()?;
    let several = if money.len() > 1 { money } else { &[] };
    Some(Spend {
        amount: spent.to_string(),
        limit: budget.as_ref().map(|budget| budget.limit_at(now).to_string()),
        remaining: budget.as_ref().map(|budget| budget.limit_at(now).minus(*spent).to_string()),
        resets_at: ends.map(|ends| Time(whole_second(ends))),
        budgets: several.iter().filter_map(|money| of_budget(money, now)).collect(),
        updated_at: Time(whole_second(now)),
    })
}

fn of_budget(money: &Money, now: Timestamp) -> Option<BudgetSpend> {
    let Money { budget, ends, spent: Spent { spent, held: _, refused_at: _ } } = money;
    let budget = budget.as_ref()?;
    Some(BudgetSpend {
        period: budget.period.to_string(),
        amount: spent.to_string(),
        limit: budget.limit_at(now).to_string(),
        remaining: budget.limit_at(now).minus(*spent).to_string(),
        resets_at: ends.map(|ends| Time(whole_second(ends))),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use vectoll_config::{
        ZoneName,
        v1::{Budget, Period},
    };

    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn money(spent: &str, limit: Option<&str>) -> Money {
        let time_zone = ZoneName::try_from("UTC".to_owned()).unwrap();
        let budget = limit.map(|limit| Budget::new(limit.parse().unwrap(), Period::Daily, time_zone.clone()));
        let spent = Spent { spent: spent.parse().unwrap(), held: PicoUsd::new(7), refused_at: None };
        Money { budget, ends: Some(at("2026-11-25T00:00:00Z")), spent }
    }

    fn of(uid: &str, present: Option<&Spend>, money: Option<&Money>, now: Timestamp) -> SpendStatus {
        spend_status(present, money.map_or(&[], std::slice::from_ref), &Uid::new(uid), SpendWrites::default(), now)
    }

    #[test]
    fn amounts_are_decimal_strings_and_what_is_left_is_never_below_nothing() {
        let told = of("a", None, Some(&money("1.23", Some("25.00"))), at("2026-11-24T10:00:00.7Z"));
        let spend = told.spend.unwrap();
        assert_eq!((&*spend.amount, spend.limit.as_deref()), ("1.23", Some("25.00")));
        assert_eq!(spend.remaining.as_deref(), Some("23.77"));
        assert_eq!(spend.resets_at.unwrap().0, at("2026-11-25T00:00:00Z"));
        assert_eq!(spend.updated_at.0, at("2026-11-24T10:00:00Z"));
        let figures = |money: Money| figures(&[money], at("2026-11-24T10:00:00Z")).unwrap();
        let over = figures(money("25.000000000001", Some("25.00")));
        assert_eq!(over.remaining.as_deref(), Some("0.00"));
        let without = figures(money("0.5", None));
        assert_eq!((without.limit, without.remaining), (None, None));
    }

    #[test]
    fn each_of_several_budgets_stands_there_and_any_of_them_is_worth_a_write() {
        let yearly = |spent: &str| {
            let money = money(spent, Some("1000"));
            let budget = money.budget.clone().map(|budget| Budget { period: Period::Yearly, ..budget });
            Money { budget, ends: Some(at("2027-01-01T00:00:00Z")), ..money }
        };
        let both = |daily: &str, yearly_spent: &str| [money(daily, Some("100")), yearly(yearly_spent)];
        let of = |present: Option<&Spend>, money: &[Money], now| {
            spend_status(present, money, &Uid::new("a"), SpendWrites::default(), now)
        };
        let first = of(None, &both("1", "500"), at("2026-11-24T10:00:00Z")).spend.unwrap();
        assert_eq!((&*first.amount, first.limit.as_deref()), ("1.00", Some("100.00")));
        let listed: Vec<_> = first.budgets.iter().map(|one| (&*one.period, &*one.amount, &*one.remaining)).collect();
        assert_eq!(listed, [("Daily", "1.00", "99.00"), ("Yearly", "500.00", "500.00")]);
        let now = at("2026-11-24T10:00:12Z");
        let due = |money: &[Money]| of(Some(&first), money, now).due.unwrap();
        assert_eq!(due(&both("1", "510")), at("2026-11-24T10:00:11Z"), "a hundredth of the year's");
        assert!(due(&both("1.9", "509")) > now);
        let alone = of(Some(&first), &[money("1", Some("100"))], now).spend.unwrap();
        assert!(alone.budgets.is_empty(), "of one there is no list");
    }

    #[test]
    fn a_hundredth_of_the_budget_is_written_within_seconds_and_less_at_the_objects_own_moment() {
        let first = of("a", None, Some(&money("1", Some("100"))), at("2026-11-24T10:00:00.9Z")).spend.unwrap();
        let now = at("2026-11-24T10:00:05Z");
        let due = |spent: &str, limit| of("a", Some(&first), Some(&money(spent, limit)), now).due;
        assert_eq!(due("2", Some("100")), Some(at("2026-11-24T10:00:11Z")), "ten seconds after it was really written");
        let little = due("1.999999", Some("100")).unwrap();
        assert!((at("2026-11-24T10:00:30Z")..=at("2026-11-24T10:01:30Z")).contains(&little), "{little}");
        assert_eq!(due("50", None), Some(little), "nothing that it could come close to");
        assert_eq!(of("a", Some(&first), Some(&money("1", Some("100"))), at("2027-01-01T00:00:00Z")).due, None);
        // A clock that was ahead does not silence it.
        let ahead = Spend { updated_at: Time(at("2030-01-01T00:00:00Z")), ..first.clone() };
        assert_eq!(of("a", Some(&ahead), Some(&money("1.1", Some("100"))), now).due, Some(now));
        // The threshold is a setting.
        let writes = SpendWrites { threshold_percent: 10, ..SpendWrites::default() };
        let due =
            |spent| spend_status(Some(&first), &[money(spent, Some("100"))], &Uid::new("a"), writes, now).due.unwrap();
        assert!(due("10.9") > at("2026-11-24T10:00:29Z") && due("11") == at("2026-11-24T10:00:11Z"));
    }

    #[test]
    fn what_the_store_does_not_tell_stays_and_nothing_of_nothing_is_not_told() {
        let now = at("2026-11-24T10:00:00Z");
        let first = of("a", None, Some(&money("1", Some("2"))), now).spend;
        assert_eq!(of("a", first.as_ref(), None, at("2026-12-24T10:00:00Z")), SpendStatus { spend: first, due: None });
        let nothing = Money { spent: Spent::default(), ..money("0", None) };
        assert_eq!(of("a", None, Some(&nothing), now), SpendStatus { spend: None, due: None });
    }

    #[test]
    fn switched_off_it_is_written_nowhere_and_what_stood_there_goes() {
        let now = at("2026-11-24T10:00:00Z");
        let first = of("a", None, Some(&money("1", Some("2"))), now).spend;
        let off = SpendWrites { interval: None, ..SpendWrites::default() };
        let told = |present| spend_status(present, &[money("2", Some("2"))], &Uid::new("a"), off, now);
        assert_eq!(told(None), SpendStatus { spend: None, due: None });
        assert_eq!(told(first.as_ref()), SpendStatus { spend: None, due: Some(now) });
    }

    /// Keys that all spend all the time, for an hour over the end of their period, as the loop would write them.
    #[test]
    fn writes_are_one_a_key_and_minute_and_evenly_spread() {
        const KEYS: usize = 300;
        let began = at("2026-11-24T23:30:00Z");
        let mut stands: Vec<Option<Spend>> = vec![None; KEYS];
        // By ten seconds; what was new at the beginning does not count.
        let mut writes = [0_usize; 360];
        for second in (0..3600).step_by(2) {
            let now = began + SignedDuration::from_secs(second);
            let end = at("2026-11-25T00:00:00Z");
            let (since, ends) = if now < end { (began, end) } else { (end, at("2026-11-26T00:00:00Z")) };
            let elapsed = u64::try_from(now.duration_since(since).as_secs()).unwrap();
            for (n, stands) in stands.iter_mut().enumerate() {
                // A third of them have no budget; the others spend a tenth of theirs in an hour.
                let limit = (n % 3 > 0).then_some("3600");
                let spent =
                    Spent { spent: PicoUsd::new(elapsed * 100_000_000_000), held: PicoUsd::ZERO, refused_at: None };
                let money = Money { ends: Some(ends), spent, ..money("0", limit) };
                let told = of(&format!("uid-{n}"), stands.as_ref(), Some(&money), now);
                if told.due.is_some_and(|due| due <= now) {
                    *stands = told.spend;
                    if second > 90 {
                        writes[usize::try_from(second / 10).unwrap()] += 1;
                    }
                }
            }
        }
        let all: usize = writes.iter().sum();
        // 58.5 minutes, and five hundredths of a budget's tenth each.
        assert!((KEYS * 57..KEYS * 68).contains(&all), "{all}");
        let most = writes.iter().max().unwrap();
        assert!(*most < 2 * KEYS / 6, "{most} in ten seconds: {writes:?}");
    }
}
