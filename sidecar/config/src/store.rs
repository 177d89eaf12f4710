//! Names in the store: what the sidecars write and the operator reads and grants.
//!
//! All keys of a Team share a hash tag, so that a decision over several of them is one script in one hash slot of a cluster,
//! and a prefix, so that a user of the store can be held to its Teams.

use crate::Uid;

/// What every key of ours begins with.
const ROOT: &str = "vectoll:";

/// The users that the operator makes in the store begin with this; the namespace follows.
pub const USER_PREFIX: &str = "vectoll-ns-";

/// What all keys of a Team begin with. The braces are the hash tag (Redis Cluster specification, "Hash tags").
pub fn team_prefix(team: &Uid) -> String {
    format!("{ROOT}{{{team}}}:")
}

/// What all keys of a namespace begin with: what its sidecars say of themselves.
pub fn namespace_prefix(namespace: &str) -> String {
    format!("{ROOT}{{ns:{namespace}}}:")
}

/// The commands that a sidecar's user needs, in the words of `ACL SETUSER`. Each says what for.
pub const SIDECAR_COMMANDS: &[&str] = &[
    // Connecting.
    "+hello",
    "+auth",
    "+ping",
    "+select",
    "+client|setinfo",
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
