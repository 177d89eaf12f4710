//! Books what keys have spent to what they say they spend for ([`crate::allocation`]), each time that the sweeper is told what there is.

use std::collections::BTreeMap;

use jiff::{Timestamp, Zoned, tz::TimeZone};
use redis::{Pipeline, RedisResult};
use tokio::sync::watch;
use vectoll_config::{
    PicoUsd, Uid,
    store::{Quantity, Series, month_key},
};

use super::{
    access::Access,
    connection::Connection,
    sweep::{Census, DAY_MS},
};
use crate::{
    allocation::{Allocated, Allocation, Allocations, MAX_ALLOCATIONS, allocations_key, book, field, read},
    ledger::Totals,
};

/// Keys of a Team that one command asks for.
const KEYS: usize = 256;
/// A field of a hash and its value, whatever they are.
type Field = (Vec<u8>, Vec<u8>);

/// Fields that one command looks at.
const PIECE: usize = 1_000;
/// Fields that one command writes.
const FIELDS: usize = 256;
/// How long it stays: as long as the month itself.
const LIFE_MS: u64 = 400 * DAY_MS;
/// Months back that are looked at each time: spend of the one before may still be on its way.
const EACH_TIME: u8 = 1;
/// Months back of which the ledger still takes in spend. Of those beyond [`EACH_TIME`] one is looked at a time.
const MAX_MONTHS: u8 = 14;

/// Books for as long as its replica leads.
pub(super) async fn run(mut requests: watch::Receiver<Option<(Access, Census)>>) {
    let (mut failing, mut older) = (false, EACH_TIME);
    while requests.changed().await.is_ok() {
        let Some((access, census)) = requests.borrow_and_update().clone() else { continue };
        older = if older >= MAX_MONTHS { EACH_TIME + 1 } else { older + 1 };
        let now = Timestamp::now();
        let months: Vec<String> = (0..=EACH_TIME).chain([older]).filter_map(|back| month(now, back)).collect();
        let resigned = async { requests.clone().wait_for(Option::is_none).await.is_ok() };
        let booked = tokio::select! {
            booked = allocate(&access, &census.allocations, &months, now) => booked,
            _ = resigned => continue,
        };
        let error = booked.err();
        if let Some(error) = error.as_ref().filter(|_| !failing) {
            tracing::warn!(store = %access.url, %error, "spend cannot be allocated to cost centres; it is tried again");
        }
        failing = error.is_some();
    }
}

/// So many months before this one.
fn month(now: Timestamp, back: u8) -> Option<String> {
    let first: Zoned = now.to_zoned(TimeZone::UTC).first_of_month().ok()?;
    Some(first.checked_sub(jiff::Span::new().months(back)).ok()?.strftime("%Y-%m").to_string())
}

/// Allocates what was spent in these months. A Team that cannot be read keeps no other waiting.
pub async fn allocate(
    access: &Access,
    allocations: &Allocations,
    months: &[String],
    now: Timestamp,
) -> RedisResult<()> {
    if allocations.is_empty() {
        return Ok(());
    }
    let connection = Connection::open(access).await?;
    let at = u64::try_from(now.as_second()).unwrap_or_default();
    let mut result = Ok(());
    for (team, keys) in allocations {
        for month in months {
            match allocate_team(&connection, (team, keys), month, at).await {
                Ok(()) => {}
                // An answer of the server's to this one command: the next one may have another.
                Err(error) if error.code().is_some() => result = Err(error),
                Err(error) => return Err(error),
            }
        }
    }
    result
}

async fn allocate_team(
    connection: &Connection,
    (team, keys): (&Uid, &BTreeMap<Uid, Allocation>),
    month: &str,
    at: u64,
) -> RedisResult<()> {
    let spent = spent(connection, team, keys, month).await?;
    if spent.is_empty() {
        return Ok(());
    }
    let hash = allocations_key(team, month);
    let so_far = so_far(connection, &hash, keys).await?;
    let none = BTreeMap::new();
    let new = spent.iter().filter_map(|(key, spent)| {
        let (to, allocated) = book(*spent, so_far.get(*key).unwrap_or(&none), keys.get(*key)?, at)?;
        Some((field(key, &to), allocated.to_string()))
    });
    let new: Vec<(String, String)> = new.collect();
    if new.is_empty() {
        return Ok(());
    }
    // What has no end is swept away: whoever may not give it one is told so before anything is written.
    let mut pipeline = Pipeline::new();
    pipeline.cmd("PEXPIRE").arg(&hash).arg(LIFE_MS).ignore();
    connection.ask::<()>(&pipeline).await?;
    for fields in new.chunks(FIELDS) {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HSET").arg(&hash).arg(fields).ignore();
        pipeline.cmd("PEXPIRE").arg(&hash).arg(LIFE_MS).ignore();
        connection.ask::<()>(&pipeline).await?;
    }
    Ok(())
}

/// What is allocated of the spend of these keys. Whoever has a login of the Team's may have written more: it is read in pieces, each of which
/// keeps the store no longer than a call does, and no more of it is kept than this program writes.
async fn so_far(
    connection: &Connection,
    hash: &str,
    keys: &BTreeMap<Uid, Allocation>,
) -> RedisResult<BTreeMap<Uid, BTreeMap<Allocation, Allocated>>> {
    let mut found: BTreeMap<Uid, BTreeMap<Allocation, Allocated>> = BTreeMap::new();
    let mut cursor = 0_u64;
    loop {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HSCAN").arg(hash).arg(cursor).arg("COUNT").arg(PIECE);
        let ((next, piece),): ((u64, Vec<Field>),) = connection.ask(&pipeline).await?;
        for (name, value) in &piece {
            let texts = std::str::from_utf8(name).ok().zip(std::str::from_utf8(value).ok());
            let Some((key, to, allocated)) = texts.and_then(|(name, value)| read(name, value)) else { continue };
            let of_key = keys.contains_key(&key).then(|| found.entry(key).or_default());
            if let Some(all) = of_key.filter(|all| all.len() <= MAX_ALLOCATIONS || all.contains_key(&to)) {
                all.insert(to, allocated);
            }
        }
        cursor = next;
        if cursor == 0 {
            return Ok(found);
        }
    }
}

/// What the keys have spent in a month, those that have.
async fn spent<'a>(
    connection: &Connection,
    team: &Uid,
    keys: &'a BTreeMap<Uid, Allocation>,
    month: &str,
) -> RedisResult<BTreeMap<&'a Uid, Totals>> {
    let (hash, all) = (month_key(team, month), keys.keys().collect::<Vec<_>>());
    let mut found = BTreeMap::new();
    for keys in all.chunks(KEYS) {
        let names = keys.iter().flat_map(|key| Quantity::ALL.map(|of| Series::Key((*key).clone()).field(of)));
        let names: Vec<String> = names.collect();
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HMGET").arg(&hash).arg(&names);
        // What is no text fails nobody else's reading.
        let (values,): (Vec<Option<Vec<u8>>>,) = connection.ask(&pipeline).await?;
        let number = |value: &Option<Vec<u8>>| std::str::from_utf8(value.as_deref()?).ok()?.parse::<u64>().ok();
        for (key, values) in keys.iter().zip(values.chunks(3)) {
            let [requests, tokens, pico] = values else { continue };
            // Of what is no number nothing is known.
            if let (Some(requests), Some(tokens), Some(pico)) = (number(requests), number(tokens), number(pico)) {
                found.insert(*key, Totals { requests, tokens, spent: PicoUsd::new(pico) });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn months_go_back_over_the_new_year() {
        let now = "2027-01-31T23:59:59Z".parse().unwrap();
        let months: Vec<String> = [0, 1, 2, 14].into_iter().filter_map(|back| month(now, back)).collect();
        assert_eq!(months, ["2027-01", "2026-12", "2026-11", "2025-11"]);
    }
}
