//! What the functions write of a Team: the kinds of hashes, and their fields. Pure.

use vectoll_config::{
    store::{Acknowledgement, Series},
    v1::Period,
};

use crate::allocation;

use super::{
    owner::Owner,
    time::{DAY_MS, month},
};

/// The longest field that a function writes, its quantity included.
const LONGEST_FIELD: usize = 2_050;
/// The longest sum that the functions can write: they split money into parts.
const LONGEST_NUMBER: usize = 25;
/// The longest value.
const LONGEST_VALUE: usize = 400;

/// How long somebody may have said nothing and still stand among those who live, in milliseconds: much longer than any clock is wrong.
const LIVE_ENTRY_MS: u64 = 3_600_000;

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
    /// Windows of requests and tokens, whose slots are so many seconds long.
    Window(u64),
    /// Calls under way.
    Parallel,
    /// Money of a budget: account and period.
    Money(&'a str),
    /// The periods of an account's budgets.
    Periods,
    /// All that was ever spent.
    Total,
    /// What was spent in a month, `2026-11`.
    Month(&'a str),
    /// What that is allocated to.
    Allocations(&'a str),
}

/// The tag and the rest of a key: `vectoll:{TAG}:REST`.
pub fn split(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("vectoll:{")?.split_once("}:")
}

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BalanceOwner<'a> {
    /// The Team's.
    Team,
    /// A key's, by UID.
    Key(&'a str),
    /// An end user's.
    User(&'a str),
    /// That of a namespace whose keys belong to another's Team.
    Namespace(&'a str),
    /// A backend's.
    Backend,
    /// A Team's for some models or a tag, or of a kind that another release knows.
    Other,
}

impl<'a> BalanceOwner<'a> {
    /// Of the account and period of [`Kind::Money`]. None: no such account has a budget, or there is no such period.
    pub fn of(money: &'a str) -> Option<Self> {
        let (account, period) = money.rsplit_once(':')?;
        match account.split_once(':') {
            _ if !is_period(period) || account.len() > 1_200 => None,
            None => match account {
                "t" => Some(Self::Team),
                "b" => Some(Self::Backend),
                _ => None,
            },
            Some(("k", key)) => (!key.is_empty() && !key.contains(':')).then_some(Self::Key(key)),
            Some(("tu", user)) => Some(Self::User(user)),
            Some(("tn", namespace)) => is_namespace(namespace).then_some(Self::Namespace(namespace)),
            // A key's budget for some models.
            Some(("km", of)) => of
                .split_once(':')
                .filter(|(key, model)| !key.is_empty() && !model.is_empty())
                .map(|(key, _)| Self::Key(key)),
            Some(("tm" | "tt", _)) => Some(Self::Other),
            Some(("ku", _)) => None,
            Some((other, _)) => other.bytes().all(|byte| byte.is_ascii_lowercase()).then_some(Self::Other),
        }
    }
}

/// Whether a text is a period of a budget, as the functions are told it.
fn is_period(text: &str) -> bool {
    let parts = text.split_once('/').and_then(|(kind, rest)| Some((kind, rest.rsplit_once('/')?)));
    let Some((kind, (zone, start))) = parts else { return false };
    let is_zone = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '+' | '-');
    kind.parse::<Period>().is_ok()
        && !zone.is_empty()
        && zone.chars().all(is_zone)
        && start.parse::<u64>().is_ok()
        && text.len() <= 128
}

/// Whether a text can be a namespace's name (RFC 1123 label).
fn is_namespace(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_part)
}

/// What a ledger tells apart up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// End users.
    Users,
    /// Keys.
    Keys,
    /// Models at backends.
    Models,
    /// Sets of tags.
    Tags,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Users, Self::Keys, Self::Models, Self::Tags];

    /// As the function that folds it is told.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Users => "u",
            Self::Keys => "k",
            Self::Models => "m",
            Self::Tags => "g",
        }
    }

    /// The family and the name of a field that counts calls, if it is of one and tells somebody apart.
    pub fn of(field: &str) -> Option<(Self, &str)> {
        let name = field.strip_suffix(":r")?;
        let family = Self::ALL
            .into_iter()
            .find(|family| name.strip_prefix(family.letter()).is_some_and(|rest| rest.starts_with(':')))?;
        (!matches!(name, "u:_other" | "k:_other" | "m:_other|_other|_other" | "g:[\"_other\"]"))
            .then_some((family, name))
    }
}

fn is_sidecar(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

impl<'a> Kind<'a> {
    /// Of what follows the prefix of a Team or backend. None: no function writes it.
    pub fn of(owner: Owner<'_>, rest: &'a str) -> Option<Self> {
        let kind = Self::of_a_team(rest)?;
        match owner {
            Owner::Team(_) => {
                let is_backends =
                    matches!(kind, Self::Money(of) if BalanceOwner::of(of) == Some(BalanceOwner::Backend));
                (!is_backends).then_some(kind)
            }
            Owner::Namespace(_) => matches!(kind, Self::Live).then_some(kind),
            Owner::Backend(_) => match kind {
                Self::Meta | Self::Live | Self::Mark | Self::Held => Some(kind),
                Self::Window(_) | Self::Parallel | Self::Periods => rest.ends_with(":b").then_some(kind),
                Self::Money(of) => (BalanceOwner::of(of) == Some(BalanceOwner::Backend)).then_some(kind),
                Self::Total | Self::Month(_) | Self::Allocations(_) => None,
            },
        }
    }

    fn of_a_team(rest: &'a str) -> Option<Self> {
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
            "w" if is_account(of) => Some(Self::Window(1)),
            "wh" if is_account(of) => Some(Self::Window(60)),
            "wd" if is_account(of) => Some(Self::Window(1_440)),
            "p" if is_account(of) => Some(Self::Parallel),
            "month" if month(of).is_some() => Some(Self::Month(of)),
            "allocations" if month(of).is_some() => Some(Self::Allocations(of)),
            "m" if BalanceOwner::of(of).is_some() => Some(Self::Money(of)),
            "a" if is_account(of) => Some(Self::Periods),
            _ => None,
        }
    }

    /// The longest time to live that a function gives it, in milliseconds; none: it stays for ever.
    pub fn longest_life_ms(self) -> Option<u64> {
        match self {
            Self::Window(slot) => Some(121_000 * slot),
            Self::Parallel => Some(20_000),
            Self::Money(of) if of.contains(":Total/") => None,
            // A year, and what is kept after its end.
            Self::Money(_) => Some((367 + 35) * DAY_MS),
            Self::Total => None,
            Self::Meta
            | Self::Live
            | Self::Mark
            | Self::Held
            | Self::Periods
            | Self::Month(_)
            | Self::Allocations(_) => Some(400 * DAY_MS),
        }
    }

    /// Whether an entry of who lives is of no use to anybody: functions look at who was heard from in the last seconds. Whoever
    /// has a login could otherwise fill the list with sidecars that there never were, and keep the others out.
    pub fn is_outdated(self, owner: Owner<'_>, value: &str, now_ms: u64) -> bool {
        let seen = match (self, owner) {
            (Self::Live, Owner::Namespace(_)) => Acknowledgement::read(value).map(|acknowledged| acknowledged.at_ms),
            (Self::Live, _) => value.split(' ').next().and_then(|seen| seen.parse().ok()),
            _ => return false,
        };
        seen.is_none_or(|seen| seen.saturating_add(LIVE_ENTRY_MS) < now_ms || seen > now_ms.saturating_add(DAY_MS))
    }

    /// Whether a function may have written a field of it.
    pub fn has_field(self, owner: Owner<'_>, field: &str, value: &str) -> bool {
        let is_short = field.len() <= LONGEST_FIELD && value.len() <= LONGEST_VALUE;
        let is_number =
            |text: &str| (1..=LONGEST_NUMBER).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        is_short
            && match (self, owner) {
                (Self::Live, Owner::Namespace(_)) => is_sidecar(field) && Acknowledgement::read(value).is_some(),
                (Self::Total | Self::Month(_), _) => is_number(value) && Series::read_field(field).is_some(),
                (Self::Allocations(_), _) => allocation::read(field, value).is_some(),
                (Self::Window(_), _) => {
                    let slot = field.strip_prefix('r').or_else(|| field.strip_prefix('t'));
                    is_number(value) && slot.is_some_and(is_number)
                }
                (Self::Money(_), _) => {
                    let is_ours = matches!(field, "s" | "r" | "x" | "y" | "d");
                    let is_amount = is_number(value) && (is_ours || field.strip_prefix("h:").is_some_and(is_sidecar));
                    is_amount || (field == "c" && is_period(value))
                }
                (Self::Periods, _) => is_period(field) && (value.is_empty() || is_number(value)),
                (Self::Live, _) => {
                    let seen = value.split_once(' ').map_or(value, |(seen, _)| seen);
                    is_sidecar(field) && is_number(seen)
                }
                (Self::Held, _) => value == "1" && field.contains("}:m:"),
                (Self::Parallel, _) => {
                    let is_claim =
                        value.split_once(':').is_some_and(|(count, ends)| is_number(count) && is_number(ends));
                    is_sidecar(field) && is_claim
                }
                // By name alone: what a value should have been is not known, and a sidecar's own numbers are never taken from it.
                (Self::Mark, _) => matches!(field, "epoch" | "seq" | "applied" | "spent"),
                (Self::Meta, _) => {
                    matches!(
                        field,
                        "seen"
                            | "run"
                            | "hold"
                            | "n"
                            | "nat"
                            | "users"
                            | "keys"
                            | "models"
                            | "tags"
                            | "day"
                            | "sidecars"
                            | "purses"
                    ) || field.strip_prefix("of:").is_some_and(|of| of.starts_with("ns:") && of.len() <= 300)
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEAM: Owner<'_> = Owner::Team("t");

    #[test]
    fn fields_that_no_function_writes_are_told_apart() {
        let total = |field: &str, value: &str| Kind::Total.has_field(TEAM, field, value);
        assert!(total("u:ada:r", "12") && total("m:a|b|c:p", "7") && total("g:[\"nightly\"]:t", "7"));
        assert!(!total("junk", "12") && !total("u:ada:r", "many") && !total("t:r", &"1".repeat(100)));
        assert!(!total(&format!("u:{}:r", "a".repeat(3_000)), "1"));
        let has = |rest, field, value| Kind::of(TEAM, rest).is_some_and(|kind| kind.has_field(TEAM, field, value));
        for (rest, field, value) in [
            ("w:t", "r1800000000", "4"),
            ("p:t", "one", "3:1800000000000"),
            ("live", "one", "1800000000000 ns:one:apps"),
            ("live", "one", "1800000000000"),
            ("held:one", "vectoll:{t}:m:t:Total/UTC/0", "1"),
            ("mark:one", "spent", "7"),
            ("meta", "of:ns:one:apps", "20000 1 2"),
            ("m:t:Total/UTC/0", "h:one", "5"),
            ("m:t:Total/UTC/0", "d", "20000"),
            ("m:t:Total/UTC/0", "c", "Daily/UTC/1793487600"),
            ("a:t", "Daily/Europe/Berlin/1793487600", "1793574000000"),
            ("a:k:1", "Total/UTC/0", ""),
            ("allocations:2026-11", "K1 {\"costCenter\":\"4711\"}", "1 2 3 1800000000"),
        ] {
            assert!(has(rest, field, value), "{rest} {field}");
        }
        for (rest, field, value) in [
            ("w:t", "r", "4"),
            ("w:t", "x1800000000", "4"),
            ("p:t", "one", "3"),
            ("live", "a b", "1800000000000"),
            ("live", "one", "soon"),
            ("held:one", "junk", "1"),
            ("mark:one", "junk", "7"),
            ("meta", "junk", "7"),
            ("m:t:Total/UTC/0", "junk", "5"),
            ("m:t:Total/UTC/0", "h:a b", "5"),
            ("m:t:Total/UTC/0", "s", "many"),
            ("m:t:Total/UTC/0", "c", "junk"),
            ("a:t", "junk", "1"),
            ("a:t", "Total/UTC/0", "never"),
            ("allocations:2026-11", "K1 {\"costCenter\":\"4711\"}", "1 2 3"),
            ("allocations:2026-11", "K1", "1 2 3 4"),
        ] {
            assert!(!has(rest, field, value), "{rest} {field}");
        }
        let namespace = Owner::Namespace("apps");
        assert!(
            Kind::Live.has_field(namespace, "one", "7 1800000000000 pod")
                && !Kind::Live.has_field(namespace, "one", "junk")
        );
    }

    #[test]
    fn backends_have_budgets_and_no_ledger() {
        let backend = Owner::of("one", "backend:one:apps/route/a");
        assert!(matches!(backend, Owner::Backend(_)));
        for rest in ["meta", "live", "mark:one", "held:one", "w:b", "wd:b", "p:b", "a:b", "m:b:Monthly/UTC/1793487600"]
        {
            assert!(Kind::of(backend, rest).is_some(), "{rest}");
        }
        for rest in ["w:t", "a:t", "m:t:Monthly/UTC/1793487600", "m:k:1:Total/UTC/0", "total", "month:2026-11"] {
            assert!(Kind::of(backend, rest).is_none(), "{rest}");
        }
        assert!(Kind::of(TEAM, "m:b:Total/UTC/0").is_none());
    }

    #[test]
    fn who_was_not_heard_of_for_an_hour_is_no_sidecar() {
        let (now, namespace) = (1_800_000_000_000, Owner::Namespace("apps"));
        let is_outdated = |owner, value: &str| Kind::Live.is_outdated(owner, value, now);
        for (seconds, outdated) in [(-3_700, true), (-3_500, false), (0, false), (80_000, false), (90_000, true)] {
            let at = now.saturating_add_signed(seconds * 1_000);
            assert_eq!(is_outdated(TEAM, &at.to_string()), outdated);
            assert_eq!(is_outdated(TEAM, &format!("{at} ns:one:apps")), outdated);
            assert_eq!(is_outdated(namespace, &format!("7 {at} pod")), outdated);
        }
        assert!(is_outdated(TEAM, "1") && !Kind::Meta.is_outdated(TEAM, "1", now));
    }

    #[test]
    fn money_belongs_to_a_team_a_key_or_a_user() {
        for (money, payer) in [
            ("t:Total/UTC/0", Some(BalanceOwner::Team)),
            ("k:0-1:Monthly/Europe/Berlin/1793487600", Some(BalanceOwner::Key("0-1"))),
            ("tu:ada: a/b:Daily/Etc/GMT+1/5", Some(BalanceOwner::User("ada: a/b"))),
            ("tn:shop:Total/UTC/0", Some(BalanceOwner::Namespace("shop"))),
            ("tn:Shop:Total/UTC/0", None),
            ("xy:any:Total/UTC/0", Some(BalanceOwner::Other)),
            ("ku:0-1:ada:Total/UTC/0", None),
            ("b:Total/UTC/0", Some(BalanceOwner::Backend)),
            ("x:Total/UTC/0", None),
            ("t:Yearly-04-06/Europe/London/1793487600", Some(BalanceOwner::Team)),
            ("t:Days-14-3/UTC/0", Some(BalanceOwner::Team)),
            ("t:Days-14-14/UTC/0", None),
            ("t:Never/UTC/0", None),
            ("km:0-1:small:v2:Daily/UTC/5", Some(BalanceOwner::Key("0-1"))),
            ("km:0-1:Daily/UTC/5", None),
            ("tm:small:Daily/UTC/5", Some(BalanceOwner::Other)),
            ("t", None),
        ] {
            assert_eq!(BalanceOwner::of(money), payer, "{money}");
        }
    }

    #[test]
    fn who_is_told_apart_is_counted_by_calls() {
        assert_eq!(Family::of("u:ada:r"), Some((Family::Users, "u:ada")));
        assert_eq!(Family::of("m:a|b|c:r"), Some((Family::Models, "m:a|b|c")));
        assert_eq!(Family::of("g:[\"a\"]:r"), Some((Family::Tags, "g:[\"a\"]")));
        for field in [
            "u:ada:t",
            "t:r",
            "unsettled:r",
            "u:_other:r",
            "k:_other:r",
            "m:_other|_other|_other:r",
            "g:[\"_other\"]:r",
        ] {
            assert_eq!(Family::of(field), None, "{field}");
        }
    }
}
