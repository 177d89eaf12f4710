//! The ledger of a calendar month, of all Teams, and what it is allocated to.

use std::collections::BTreeMap;

use redis::{RedisResult, aio::MultiplexedConnection, cmd};
use vectoll_config::{
    Uid,
    store::{ALL_TEAMS_PREFIX, Quantity, Series},
};

use super::{
    access::Access,
    sweep::split,
    sweeper::{keys, masters},
};

/// Fields of a hash and their values.
pub type HashFields = BTreeMap<String, String>;

/// A field and its value, whatever they are.
type Field = (Vec<u8>, Vec<u8>);

/// The largest hash that is read in one go, in fields: that keeps the store for some milliseconds.
const WHOLE_FIELDS: u64 = 20_000;
/// Fields that one command looks at otherwise.
const PIECE: usize = 1_000;
/// How often a hash is read anew to which something was added meanwhile.
const TRIES: usize = 5;

/// What is there of a month, `2026-11`, by Team. A hash that is written to while it is read in pieces may be of several moments.
pub async fn read_month(access: &Access, month: &str) -> RedisResult<BTreeMap<Uid, HashFields>> {
    read_all(access, &format!("month:{month}")).await
}

/// What that is allocated to, by Team: [`crate::allocation`].
pub async fn read_allocations(access: &Access, month: &str) -> RedisResult<BTreeMap<Uid, HashFields>> {
    read_all(access, &format!("allocations:{month}")).await
}

async fn read_all(access: &Access, what: &str) -> RedisResult<BTreeMap<Uid, HashFields>> {
    let mut found = BTreeMap::new();
    for mut master in masters(access).await? {
        for key in keys(&mut master, &format!("{ALL_TEAMS_PREFIX}*}}:{what}")).await? {
            // The pattern would take a Team whose UID holds such an ending.
            let Some((team, rest)) = split(&key) else { continue };
            if rest == what {
                found.insert(Uid::new(team), read(&mut master, &key).await?);
            }
        }
    }
    Ok(found)
}

async fn read(master: &mut MultiplexedConnection, key: &str) -> RedisResult<HashFields> {
    let count: u64 = cmd("HLEN").arg(key).query_async(master).await?;
    if count <= WHOLE_FIELDS {
        let fields: Vec<Field> = cmd("HGETALL").arg(key).query_async(master).await?;
        return Ok(as_text(fields));
    }
    // Every call counts there as well.
    let calls = Series::Team.field(Quantity::Requests);
    let mut fields = HashFields::new();
    for _ in 0..TRIES {
        let before: Option<String> = cmd("HGET").arg(key).arg(&calls).query_async(master).await?;
        fields = scan(master, key).await?;
        let after: Option<String> = cmd("HGET").arg(key).arg(&calls).query_async(master).await?;
        if before == after {
            break;
        }
    }
    Ok(fields)
}

async fn scan(master: &mut MultiplexedConnection, key: &str) -> RedisResult<HashFields> {
    let (mut fields, mut cursor) = (HashFields::new(), 0_u64);
    loop {
        let (next, piece): (u64, Vec<Field>) =
            cmd("HSCAN").arg(key).arg(cursor).arg("COUNT").arg(PIECE).query_async(master).await?;
        fields.extend(as_text(piece));
        if next == 0 {
            return Ok(fields);
        }
        cursor = next;
    }
}

/// Callers name users and models: anything may stand there.
fn as_text(fields: Vec<Field>) -> HashFields {
    let text =
        |bytes: Vec<u8>| String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().escape_ascii().to_string());
    fields.into_iter().map(|(name, value)| (text(name), text(value))).collect()
}
