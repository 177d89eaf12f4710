//! What may go from the store: what nobody needs any more, and what no function has written. Pure.
//!
//! A login of a namespace holds a few commands that write hashes, because functions run with their caller's rights. So what lies
//! under a Team's prefix may be anybody's words. The names are those of [`vectoll_config::store`].

mod census;
mod kind;
mod owner;
mod registry;
mod time;

use self::time::month_end_ms;
pub use self::{
    census::{Census, CountedTeam},
    kind::{BalanceOwner, Family, Kind, split},
    owner::Owner,
    registry::{Changes, Registry, RegistryEntry},
    time::{DAY_MS, GONE_RETENTION_MS, is_recent},
};

/// Why something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its Team or key was deleted long ago.
    Gone,
    /// It is of a month that is over for long.
    Old,
    /// No function writes such a thing.
    Foreign,
}

impl Reason {
    /// As metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Old => "old",
            Self::Foreign => "foreign",
        }
    }
}

/// What becomes of one key of a Team that this operator knows, or of a backend, from its name and the time it has to live in
/// milliseconds (none: for ever).
pub fn removal_reason(
    owner: Owner<'_>,
    rest: &str,
    lives_ms: Option<u64>,
    now_ms: u64,
    retention_ms: u64,
) -> Option<Reason> {
    let Some(kind) = Kind::of(owner, rest) else { return Some(Reason::Foreign) };
    match (kind.longest_life_ms(), lives_ms) {
        // A minute, for clocks that differ.
        (Some(longest), Some(lives)) if lives > longest + 60_000 => return Some(Reason::Foreign),
        (Some(_), None) => return Some(Reason::Foreign),
        (Some(_), Some(_)) | (None, _) => {}
    }
    let (Kind::Month(name) | Kind::Allocations(name)) = kind else { return None };
    let is_over = month_end_ms(name).is_some_and(|end| end.saturating_add(retention_ms) < now_ms);
    is_over.then_some(Reason::Old)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn becomes(rest: &str, lives_ms: Option<u64>) -> Option<Reason> {
        removal_reason(Owner::Team("t"), rest, lives_ms, NOW, 400 * DAY_MS)
    }

    #[test]
    fn what_functions_write_stays() {
        for (rest, lives) in [
            ("meta", Some(400 * DAY_MS)),
            ("live", Some(1)),
            ("mark:0af3-1", Some(400 * DAY_MS)),
            ("held:0af3", Some(5)),
            ("w:tu:ada: any", Some(121_000)),
            ("wh:t", Some(60 * 121_000)),
            ("wd:tu:ada", Some(1_440 * 121_000)),
            ("p:t", Some(20_000)),
            ("m:t:Yearly/UTC/1", Some(400 * DAY_MS)),
            ("m:tm:model:Total/UTC/0", None),
            ("m:t:Total/UTC/0", None),
            ("m:tu:ada:Daily/UTC/1", Some(36 * DAY_MS)),
            ("total", None),
            ("month:2026-12", Some(300 * DAY_MS)),
            ("allocations:2026-12", Some(400 * DAY_MS)),
        ] {
            assert_eq!(becomes(rest, lives), None, "{rest}");
        }
    }

    #[test]
    fn what_no_function_writes_goes() {
        for (rest, lives) in [
            ("junk", None),
            ("junk:1", Some(5)),
            ("", None),
            ("meta", None),
            ("w:t", None),
            ("w:t", Some(DAY_MS)),
            ("wh:t", Some(DAY_MS)),
            ("wd:t", None),
            ("wx:t", Some(5)),
            ("mark:a b", Some(5)),
            ("month:2026-13", Some(5)),
            ("allocations:2026-13", Some(5)),
            ("m:tu:ada:Daily/UTC/1", None),
            // Accounts that have no budgets, and periods that are none.
            ("m:ku:1:ada:Total/UTC/0", None),
            ("m:km:1:Total/UTC/0", None),
            ("m:k::Total/UTC/0", None),
            ("m:t:Total", None),
            ("m:t:total/UTC/x", Some(5)),
        ] {
            assert_eq!(becomes(rest, lives), Some(Reason::Foreign), "{rest}");
        }
        let long = format!("w:{}", "a".repeat(2_000));
        assert_eq!(becomes(&long, Some(5)), Some(Reason::Foreign));
    }

    #[test]
    fn old_months_go() {
        assert_eq!(becomes("month:2025-11", Some(5)), Some(Reason::Old));
        assert_eq!(becomes("allocations:2025-11", Some(5)), Some(Reason::Old));
        assert_eq!(becomes("month:2026-01", Some(5)), None);
    }

    #[test]
    fn a_backend_has_windows_claims_and_money_of_its_own_and_no_ledger() {
        let owner = Owner::of("one", "backend:one:apps/route/first");
        assert_eq!(owner, Owner::Backend("apps/route/first"));
        let becomes = |rest, lives_ms| removal_reason(owner, rest, lives_ms, NOW, 400 * DAY_MS);
        for (rest, lives) in [
            ("meta", 5),
            ("live", 5),
            ("mark:one", 5),
            ("w:b", 121_000),
            ("p:b", 20_000),
            ("held:one", 5),
            ("a:b", 5),
            ("m:b:Daily/UTC/1793487600", 5),
        ] {
            assert_eq!(becomes(rest, Some(lives)), None, "{rest}");
        }
        for (rest, lives) in [
            ("w:t", Some(5)),
            ("p:k:1", Some(5)),
            ("total", None),
            ("month:2026-12", Some(5)),
            ("m:t:Total/UTC/0", None),
            ("m:k:1:Total/UTC/0", None),
            ("a:t", Some(5)),
            ("w:b", None),
        ] {
            assert_eq!(becomes(rest, lives), Some(Reason::Foreign), "{rest}");
        }
        // Another operator's is not this one's to judge.
        assert_eq!(Owner::of("one", "backend:two:apps/route/first"), Owner::Team("backend:two:apps/route/first"));
        assert_eq!(Owner::of("one", "ns:one:apps"), Owner::Namespace("apps"));
        assert_eq!(Owner::of("one", "ns:one-more:apps"), Owner::Team("ns:one-more:apps"));
    }

    #[test]
    fn a_backend_is_there_for_as_long_as_its_route_cannot_be_read_or_listed() {
        let census = Census {
            routes: [("apps/route".to_owned(), Some(["first".to_owned()].into())), ("apps/torn".to_owned(), None)]
                .into(),
            unheard: ["shut".to_owned()].into(),
            ..Census::default()
        };
        for (backend, is_there) in [
            ("apps/route/first", true),
            ("apps/route/second", false),
            ("apps/torn/any", true),
            ("apps/none/first", false),
            ("shut/route/first", true),
            ("junk", false),
        ] {
            assert_eq!(census.may_have_backend(backend), is_there, "{backend}");
        }
    }

    #[test]
    fn a_team_that_is_told_to_have_few_users_by_mistake_loses_none() {
        let team = |most_users| CountedTeam { namespace: "apps".to_owned(), most_users };
        let teams = [("few", 10), ("many", 300_000), ("all", u64::MAX)].map(|(uid, most)| (uid.to_owned(), team(most)));
        let census = Census { teams: teams.into(), ..Census::default() };
        let most = |team| census.most_of(team, Family::Users);
        assert_eq!([most("few"), most("many"), most("all"), most("gone")], [100_000, 300_000, 1_000_000, 1_000_000]);
    }

    #[test]
    fn a_moment_in_the_future_says_nothing() {
        assert!(is_recent(NOW - GONE_RETENTION_MS + 1, NOW) && is_recent(NOW + DAY_MS, NOW));
        assert!(
            !is_recent(NOW - GONE_RETENTION_MS, NOW) && !is_recent(NOW + DAY_MS + 1, NOW) && !is_recent(u64::MAX, NOW)
        );
    }
}
