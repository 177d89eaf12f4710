//! Names in the store: what the sidecars write and the operator reads and grants.
//!
//! All keys of a Team share a hash tag, so that a decision over several of them is one function in one hash slot of a cluster,
//! and a prefix, so that a user of the store can be held to its Teams.

mod functions;
mod series;

pub use functions::{Function, LIBRARY_ROOT, Library};
pub use series::{ModelAt, Quantity, Series};

use std::time::Duration;

use jiff::Timestamp;

use crate::{Uid, ZoneName, v1::Period};

/// What every key of ours begins with.
const ROOT: &str = "vectoll:";

/// What every user that an operator makes in the store begins with.
const USER_ROOT: &str = "vectoll-ns-";

/// What the accounts of backends begin with.
const BACKEND_ROOT: &str = "backend:";

/// What the users of one operator begin with; the namespace follows. Several operators may share a store: `scope` tells them
/// apart, and what their sidecars say of themselves ([`namespace_prefix`]). A colon ends it, which is in no scope, so that no scope's prefix is the beginning of another's.
pub fn user_prefix(scope: &str) -> String {
    format!("{USER_ROOT}{scope}:")
}

/// The user of a namespace's sidecars.
pub fn user_name(scope: &str, namespace: &str) -> String {
    format!("{}{namespace}", user_prefix(scope))
}

/// Whether operators can be told apart by it in the store: up to 200 letters, digits, dots, dashes and underscores.
pub fn is_scope(scope: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !scope.is_empty() && scope.len() <= 200 && scope.chars().all(is_part)
}

/// What the keys of all Teams begin with: of every scope.
pub const ALL_TEAMS_PREFIX: &str = "vectoll:{";

/// What all keys of a Team begin with. The braces are the hash tag (Redis Cluster specification, "Hash tags").
pub fn team_prefix(team: &Uid) -> String {
    format!("{ROOT}{{{team}}}:")
}

/// What a backend's limits are counted under, as a Team's are under its UID: by all sidecars of one operator, whichever namespace
/// they are in. No UID of a Team begins so. `backend` is `namespace/route/backend`.
pub fn backend_account(scope: Option<&str>, backend: &str) -> Uid {
    Uid::new(&format!("{BACKEND_ROOT}{}:{backend}", scope.unwrap_or_default()))
}

/// The backend of such an account, if it is one of this scope: `namespace/route/backend`.
pub fn backend_of<'a>(scope: &str, account: &'a str) -> Option<&'a str> {
    account.strip_prefix(BACKEND_ROOT)?.strip_prefix(scope)?.strip_prefix(':')
}

/// Whether that is what an account is kept under.
pub fn is_backend_account(account: &Uid) -> bool {
    account.as_str().starts_with(BACKEND_ROOT)
}

/// What all keys of a namespace begin with: what its sidecars say of themselves. The scope is its operator's: namespaces of one
/// name in two clusters may share a store. None: whoever wrote the config has none, as outside a cluster. Neither scope nor
/// namespace holds a colon, so no two share a prefix.
pub fn namespace_prefix(scope: Option<&str>, namespace: &str) -> String {
    format!("{ROOT}{{{}}}:", caller(scope, namespace))
}

/// A namespace as its sidecars tell functions who calls: what they are held to is counted by it. It is the tag of the namespace's
/// keys, which the login must have a right to.
pub fn caller(scope: Option<&str>, namespace: &str) -> String {
    match scope {
        Some(scope) => format!("ns:{scope}:{namespace}"),
        None => format!("ns:{namespace}"),
    }
}

/// The commands that a sidecar's user needs, in the words of `ACL SETUSER`. Each says what for. Servers refuse what they do not
/// know, so nothing younger than Redis 7.0 is among them: clients leave `CLIENT SETINFO` out.
pub const SIDECAR_COMMANDS: &[&str] = &[
    // Connecting.
    "+hello",
    "+auth",
    "+ping",
    "+select",
    "+client|setname",
    "+cluster|slots",
    "+cluster|shards",
    "+cluster|nodes",
    "+asking",
    // The functions that decide, and what they call: servers hold a function to what its caller may do itself. Nothing that
    // runs a caller's own code.
    "+fcall",
    "+time",
    "+info",
    "+hget",
    "+hset",
    "+hmget",
    "+hgetall",
    "+hlen",
    "+hdel",
    "+pexpire",
    "+pexpireat",
    "+persist",
];

/// The hash in which the sidecars of a namespace say what they serve by: a field for each sidecar, an [`Acknowledgement`].
pub fn live_key(scope: Option<&str>, namespace: &str) -> String {
    format!("{}live", namespace_prefix(scope, namespace))
}

/// What a sidecar says of itself, every few seconds and after each change. Written `GENERATION TIME POD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The generation of the config that it serves by.
    pub generation: u64,
    /// When it said so, by the store's clock, in milliseconds since 1970.
    pub at_ms: u64,
    /// Its pod's name; empty outside a cluster.
    pub pod: String,
}

/// How often a sidecar says so at least.
pub const HEARTBEAT_PERIOD: Duration = Duration::from_secs(2);

impl Acknowledgement {
    /// Reads what a sidecar wrote.
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let (generation, at_ms) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { generation, at_ms, pod: words.next().unwrap_or_default().to_owned() })
    }
}

/// The hash of a Team's spend in all, which only grows: the fields of each [`Series`].
pub fn total_key(team: &Uid) -> String {
    format!("{}total", team_prefix(team))
}

/// The same for a calendar month in UTC, `2026-11`. Kept for 400 days.
pub fn month_key(team: &Uid, month: &str) -> String {
    format!("{}month:{month}", team_prefix(team))
}

/// The hash of a budget's money in one period, in pico-USD: `s` was spent, `r` is held by sidecars for calls to come, under way, or
/// just settled; `h:SIDECAR` is each one's part of `r`. Where a call found too little left, `x` is the limit that it was refused at
/// and `y` what it needed; both go when there is room for it again. The account is `t` or `k:UID` (or `tu:USER`); the period as of
/// [`period_name`].
pub fn money_key(team: &Uid, account: &str, period: &str) -> String {
    format!("{}m:{account}:{period}", team_prefix(team))
}

/// A period in the names of keys: its kind and start, zone, and first moment in seconds since 1970; 0 for what has always been.
pub fn period_name(period: Period, zone: &ZoneName, start: Timestamp) -> String {
    format!("{period}/{zone}/{}", start.as_second().max(0))
}
