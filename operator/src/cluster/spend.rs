//! What was spent, as it stands in a status, and how often it is written there. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use vectoll_crds::Spend;

use super::status::whole_second;
use crate::books::{Money, Spent};

/// The shortest time between two writes of a status in which nothing changed but spend: ten seconds, and one because a time in the
/// API has lost its fraction.
const REST: SignedDuration = SignedDuration::from_secs(11);

/// What is to stand in a status, and whether and when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToldSpend {
    /// As it is to stand there.
    pub(super) spend: Option<Spend>,
    /// When that may be written, if nothing else changes; none: it stands there.
    pub(super) due: Option<Timestamp>,
}

/// Of a resource whose status says `present` and of which the store says `money`, if it was heard of. While it was not, what stands
/// there stays.
pub(super) fn told(present: Option<&Spend>, money: Option<&Money>, now: Timestamp) -> ToldSpend {
    let stays = ToldSpend { spend: present.cloned(), due: None };
    let Some(money) = money else { return stays };
    let new = figures(money, now);
    match present {
        // Nothing was spent, and nothing could be exceeded: not worth a write for each of thousands of keys.
        None if money.budget.is_none() && money.spent == Spent::default() => stays,
        None => ToldSpend { spend: Some(new), due: Some(now) },
        Some(present) if (Spend { updated_at: present.updated_at.clone(), ..new.clone() }) == *present => stays,
        Some(present) => {
            let due = present.updated_at.0.saturating_add(REST).unwrap_or(now);
            // A clock that was ahead must not silence it for long.
            ToldSpend { spend: Some(new), due: Some(due.min(now.saturating_add(REST).unwrap_or(now))) }
        }
    }
}

fn figures(money: &Money, now: Timestamp) -> Spend {
    let Money { budget, ends, spent: Spent { spent, held: _, refused_at: _ } } = money;
    Spend {
        amount: spent.to_string(),
        limit: budget.as_ref().map(|budget| budget.limit.to_string()),
        remaining: budget.as_ref().map(|budget| budget.limit.minus(*spent).to_string()),
        resets_at: ends.map(|ends| Time(whole_second(ends))),
        updated_at: Time(whole_second(now)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::{
        PicoUsd, ZoneName,
        v1::{Budget, Period},
    };

    use super::*;

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn money(spent: &str, limit: Option<&str>) -> Money {
        let time_zone = ZoneName::try_from("UTC".to_owned()).unwrap();
        let budget = limit.map(|limit| Budget {
            limit: limit.parse().unwrap(),
            period: Period::Daily,
            time_zone: time_zone.clone(),
        });
        let spent = Spent { spent: spent.parse().unwrap(), held: PicoUsd::new(7), refused_at: None };
        Money { budget, ends: Some(at("2026-11-25T00:00:00Z")), spent }
    }

    #[test]
    fn amounts_are_decimal_strings_and_what_is_left_is_never_below_nothing() {
        let told = told(None, Some(&money("1.23", Some("25.00"))), at("2026-11-24T10:00:00.7Z"));
        let spend = told.spend.unwrap();
        assert_eq!((&*spend.amount, spend.limit.as_deref()), ("1.23", Some("25.00")));
        assert_eq!(spend.remaining.as_deref(), Some("23.77"));
        assert_eq!(spend.resets_at.unwrap().0, at("2026-11-25T00:00:00Z"));
        assert_eq!(spend.updated_at.0, at("2026-11-24T10:00:00Z"));
        let over = figures(&money("25.000000000001", Some("25.00")), at("2026-11-24T10:00:00Z"));
        assert_eq!(over.remaining.as_deref(), Some("0.00"));
        let without = figures(&money("0.5", None), at("2026-11-24T10:00:00Z"));
        assert_eq!((without.limit, without.remaining), (None, None));
    }

    #[test]
    fn what_changes_is_written_every_ten_seconds_and_no_sooner() {
        let first = told(None, Some(&money("1", Some("2"))), at("2026-11-24T10:00:00.9Z")).spend.unwrap();
        let now = at("2026-11-24T10:00:05Z");
        let more = told(Some(&first), Some(&money("1.1", Some("2"))), now);
        assert_eq!(more.due, Some(at("2026-11-24T10:00:11Z")), "ten seconds after it was really written");
        assert_eq!(told(Some(&first), Some(&money("1", Some("2"))), at("2027-01-01T00:00:00Z")).due, None, "no change");
        let ahead = Spend { updated_at: Time(at("2030-01-01T00:00:00Z")), ..first };
        assert_eq!(told(Some(&ahead), Some(&money("1.1", Some("2"))), now).due, Some(at("2026-11-24T10:00:16Z")));
    }

    #[test]
    fn what_the_store_does_not_tell_stays_and_nothing_of_nothing_is_not_told() {
        let now = at("2026-11-24T10:00:00Z");
        let first = told(None, Some(&money("1", Some("2"))), now).spend;
        assert_eq!(told(first.as_ref(), None, at("2026-12-24T10:00:00Z")), ToldSpend { spend: first, due: None });
        let nothing = Money { spent: Spent::default(), ..money("0", None) };
        assert_eq!(told(None, Some(&nothing), now), ToldSpend { spend: None, due: None });
    }
}
