//! What may go from the store: what nobody needs any more, and what no function has written. Pure.
//!
//! A login of a namespace holds a few commands that write hashes, because functions run with their caller's rights. So what lies
//! under a Team's prefix may be anybody's words. The names are those of [`vectoll_config::store`].

use std::collections::{BTreeMap, BTreeSet};

use vectoll_config::store::Series;

/// How long accounts stay that are gone, in milliseconds.
pub const GONE_RETENTION_MS: u64 = 35 * DAY_MS;
/// A day.
pub const DAY_MS: u64 = 86_400_000;
/// A hash of so many bytes or more is looked into, field by field.
pub const LOOKED_INTO_BYTES: u64 = 64 * 1024;
/// The longest field that a function writes, its quantity included.
const LONGEST_FIELD: usize = 2_050;
/// The longest value.
const LONGEST_VALUE: usize = 64;

/// Accounts that exist, as far as this operator sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// What tells this operator from others.
    pub scope: String,
    /// UIDs of Teams.
    pub teams: BTreeSet<String>,
    /// UIDs of keys.
    pub keys: BTreeSet<String>,
    /// Namespaces that have keys or pods.
    pub namespaces: BTreeSet<String>,
    /// How long months are kept, in milliseconds.
    pub retention_ms: u64,
    /// The store is full: what can go is to go soon.
    pub is_urgent: bool,
}

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

/// What a key of ours holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A Team's clock and counts.
    Meta,
    /// Sidecars that are there.
    Live,
    /// What a sidecar has told last.
    Mark,
    /// Where a sidecar holds money.
    Held,
    /// A window of requests and tokens.
    Window,
    /// Calls under way.
    Parallel,
    /// Money of a budget: account and period.
    Money(&'a str),
    /// All that was ever spent.
    Total,
    /// What was spent in a month, `2026-11`.
    Month(&'a str),
}

/// The tag and the rest of a key: `vectoll:{TAG}:REST`.
pub fn split(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("vectoll:{")?.split_once("}:")
}

impl<'a> Kind<'a> {
    /// Of what follows a Team's prefix. None: no function writes it.
    pub fn of(rest: &'a str) -> Option<Self> {
        let is_sidecar =
            |text: &str| (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let is_account = |text: &str| (1..=1_200).contains(&text.len());
        match rest {
            "meta" => return Some(Self::Meta),
            "live" => return Some(Self::Live),
            "total" => return Some(Self::Total),
            _ => {}
        }
        let (kind, of) = rest.split_once(':')?;
        match kind {
            "mark" if is_sidecar(of) => Some(Self::Mark),
            "held" if is_sidecar(of) => Some(Self::Held),
            "w" if is_account(of) => Some(Self::Window),
            "p" if is_account(of) => Some(Self::Parallel),
            "month" if month(of).is_some() => Some(Self::Month(of)),
            "m" if of.len() <= 1_400 && of.contains(':') => Some(Self::Money(of)),
            _ => None,
        }
    }

    /// The longest time to live that a function gives it, in milliseconds; none: it stays for ever.
    pub fn longest_life_ms(self) -> Option<u64> {
        match self {
            Self::Window => Some(121_000),
            Self::Parallel => Some(20_000),
            Self::Money(of) if of.contains(":Total/") => None,
            Self::Money(_) => Some(75 * DAY_MS),
            Self::Total => None,
            Self::Meta | Self::Live | Self::Mark | Self::Held | Self::Month(_) => Some(400 * DAY_MS),
        }
    }

    /// The key whose money it is.
    pub fn key(self) -> Option<&'a str> {
        let Self::Money(of) = self else { return None };
        of.strip_prefix("k:")?.split(':').next()
    }

    /// Whether a function may have written a field of it.
    pub fn has_field(self, field: &str, value: &str) -> bool {
        let (all, ends) = (field.len() <= LONGEST_FIELD, value.len() <= LONGEST_VALUE);
        let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        all && ends
            && match self {
                Self::Total | Self::Month(_) => is_number && Series::read_field(field).is_some(),
                Self::Window => is_number && field.get(1..).is_some_and(|slot| slot.parse::<u64>().is_ok()),
                Self::Money(_) => is_number && (matches!(field, "s" | "r" | "x" | "y") || field.starts_with("h:")),
                Self::Live => is_number && field.len() <= 64,
                Self::Held => value == "1",
                Self::Meta | Self::Mark => field.len() <= 16,
                Self::Parallel => field.len() <= 64,
            }
    }
}

/// What becomes of one key of a Team that this operator knows, from its name and the time it has to live in milliseconds (none: for
/// ever).
pub fn judge(
    rest: &str,
    lives_ms: Option<u64>,
    now_ms: u64,
    retention_ms: u64,
    gone: &BTreeSet<String>,
) -> Option<Reason> {
    let Some(kind) = Kind::of(rest) else { return Some(Reason::Foreign) };
    match (kind.longest_life_ms(), lives_ms) {
        // A minute, for clocks that differ.
        (Some(longest), Some(lives)) if lives > longest + 60_000 => return Some(Reason::Foreign),
        (Some(_), None) => return Some(Reason::Foreign),
        (Some(_), Some(_)) | (None, _) => {}
    }
    if kind.key().is_some_and(|key| gone.contains(key)) {
        return Some(Reason::Gone);
    }
    let Kind::Month(name) = kind else { return None };
    let is_over = month_end_ms(name).is_some_and(|end| end.saturating_add(retention_ms) < now_ms);
    is_over.then_some(Reason::Old)
}

fn month(text: &str) -> Option<(i16, i8)> {
    let (year, month) = text.split_once('-')?;
    let is_right = year.len() == 4 && month.len() == 2;
    let month: i8 = month.parse().ok().filter(|month| is_right && (1..=12).contains(month))?;
    Some((year.parse().ok()?, month))
}

fn month_end_ms(text: &str) -> Option<u64> {
    let (year, month) = month(text)?;
    let last = jiff::civil::Date::new(year, month, 1).ok()?.last_of_month();
    let end = last.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    u64::try_from(end.timestamp().as_millisecond()).ok()
}

/// What an operator remembers of the accounts it has seen: `live`, or `gone` and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry(pub BTreeMap<String, String>);

/// What a registry lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Fields to write.
    pub set: BTreeMap<String, String>,
    /// Accounts that are gone for so long that what is left of them may go.
    pub expired: BTreeSet<String>,
}

/// The word of an account that exists.
pub const LIVE: &str = "live";

impl Registry {
    /// Compares it with what there is. Accounts that it does not know are not this operator's to judge.
    pub fn compare(&self, census: &Census, now_ms: u64) -> Changes {
        let mut changes = Changes::default();
        let there: BTreeSet<&String> = census.teams.iter().chain(&census.keys).collect();
        for account in &there {
            if self.0.get(*account).map(String::as_str) != Some(LIVE) {
                changes.set.insert((*account).clone(), LIVE.to_owned());
            }
        }
        for (account, word) in self.0.iter().filter(|(account, _)| !there.contains(account)) {
            let since = word.strip_prefix("gone ").and_then(|since| since.parse::<u64>().ok());
            match since.filter(|since| *since <= now_ms) {
                None => drop(changes.set.insert(account.clone(), format!("gone {now_ms}"))),
                Some(since) if now_ms - since >= GONE_RETENTION_MS => drop(changes.expired.insert(account.clone())),
                Some(_) => {}
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn becomes(rest: &str, lives_ms: Option<u64>) -> Option<Reason> {
        judge(rest, lives_ms, NOW, 400 * DAY_MS, &["k-gone".to_owned()].into())
    }

    #[test]
    fn what_functions_write_stays() {
        for (rest, lives) in [
            ("meta", Some(400 * DAY_MS)),
            ("live", Some(1)),
            ("mark:0af3-1", Some(400 * DAY_MS)),
            ("held:0af3", Some(5)),
            ("w:tu:ada: any", Some(121_000)),
            ("p:t", Some(20_000)),
            ("m:t:Total/UTC/0", None),
            ("m:tu:ada:Daily/UTC/1", Some(36 * DAY_MS)),
            ("total", None),
            ("month:2026-12", Some(300 * DAY_MS)),
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
            ("mark:a b", Some(5)),
            ("month:2026-13", Some(5)),
            ("m:tu:ada:Daily/UTC/1", None),
        ] {
            assert_eq!(becomes(rest, lives), Some(Reason::Foreign), "{rest}");
        }
        let long = format!("w:{}", "a".repeat(2_000));
        assert_eq!(becomes(&long, Some(5)), Some(Reason::Foreign));
    }

    #[test]
    fn old_months_and_money_of_keys_that_are_gone_go() {
        assert_eq!(becomes("month:2025-11", Some(5)), Some(Reason::Old));
        assert_eq!(becomes("month:2026-01", Some(5)), None);
        assert_eq!(becomes("m:k:k-gone:Total/UTC/0", None), Some(Reason::Gone));
        assert_eq!(becomes("m:k:k-here:Total/UTC/0", None), None);
    }

    #[test]
    fn fields_that_no_function_writes_are_told_apart() {
        assert!(Kind::Total.has_field("u:ada:r", "12") && Kind::Total.has_field("m:a|b|c:p", "7"));
        assert!(!Kind::Total.has_field("junk", "12") && !Kind::Total.has_field("u:ada:r", "many"));
        assert!(!Kind::Total.has_field(&format!("u:{}:r", "a".repeat(3_000)), "1"));
        assert!(!Kind::Total.has_field("t:r", &"1".repeat(100)));
        assert!(Kind::Window.has_field("r1800000000", "4") && !Kind::Window.has_field("r", "4"));
    }

    #[test]
    fn accounts_expire_only_when_this_operator_knew_them_and_saw_them_gone_for_long() {
        let census = |teams: &[&str]| Census {
            teams: teams.iter().map(|team| (*team).to_owned()).collect(),
            ..Census::default()
        };
        let mut registry = Registry::default();
        let mut step = |census: &Census, now: u64| {
            let Changes { set, expired } = registry.compare(census, now);
            registry.0.extend(set);
            expired.into_iter().collect::<Vec<_>>()
        };
        assert!(step(&census(&["a", "b"]), NOW).is_empty());
        assert!(step(&census(&["a"]), NOW + 1).is_empty());
        assert!(step(&census(&["a"]), NOW + GONE_RETENTION_MS).is_empty());
        assert_eq!(step(&census(&["a"]), NOW + 1 + GONE_RETENTION_MS), ["b"]);
        // It is back: all begins anew.
        assert!(step(&census(&["a", "b"]), NOW + 2 + GONE_RETENTION_MS).is_empty());
        assert!(step(&census(&["a"]), NOW + 3 + GONE_RETENTION_MS).is_empty());
    }
}
