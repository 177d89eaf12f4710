//! Names in the store: what the sidecars write and the operator reads and grants.
//!
//! All keys of a Team share a hash tag, so that a decision over several of them is one script in one hash slot of a cluster,
//! and a prefix, so that a user of the store can be held to its Teams.

use crate::Uid;

/// What every key of ours begins with.
const ROOT: &str = "vectoll:";

/// What every user that an operator makes in the store begins with.
const USER_ROOT: &str = "vectoll-ns-";

/// What the users of one operator begin with; the namespace follows. Several operators may share a store: `scope` tells them
/// apart. A colon ends it, which is in no scope, so that no scope's prefix is the beginning of another's.
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

/// What all keys of a Team begin with. The braces are the hash tag (Redis Cluster specification, "Hash tags").
pub fn team_prefix(team: &Uid) -> String {
    format!("{ROOT}{{{team}}}:")
}

/// What all keys of a namespace begin with: what its sidecars say of themselves.
pub fn namespace_prefix(namespace: &str) -> String {
    format!("{ROOT}{{ns:{namespace}}}:")
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
    // The script that decides, and what it calls.
    "+eval",
    "+evalsha",
    "+script|load",
    "+time",
    "+info",
    "+get",
    "+set",
    "+hget",
    "+hset",
    "+hmget",
    "+hgetall",
    "+hdel",
    "+hlen",
    "+hincrby",
    "+pexpire",
    "+pexpireat",
    "+persist",
];
