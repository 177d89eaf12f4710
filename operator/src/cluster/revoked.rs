//! What ends although the rest cannot be written. Pure.
//!
//! Where a config cannot be written as it should be, what sidecars have stays in force, but for what has ended since: nothing that goes
//! wrong keeps a key alive.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use vectoll_config::{ObjectName, read_v1, v1};

use crate::judge::NamespaceConfig;

/// The config in these files without what has ended by `wanted`, and whether anything has. It only ever refuses more than before.
pub(super) fn without_ended(
    files: &BTreeMap<String, Vec<u8>>,
    wanted: &v1::Config,
) -> anyhow::Result<(NamespaceConfig, bool)> {
    let mut credentials = files.clone();
    let file = credentials.remove(v1::FILE).context("there is no config to fall back on")?;
    let text = String::from_utf8(file).context("the config to fall back on is no text")?;
    let before = read_v1(&text).context("failed to read the config to fall back on")?;
    let mut config = before.clone();
    let keys: HashMap<&ObjectName, &v1::Key> = wanted.keys.iter().map(|key| (&key.name, key)).collect();
    config.keys.retain_mut(|key| keys.get(&key.name).is_some_and(|wanted| end(key, wanted)));
    for team in &mut config.teams {
        team.suspended |= wanted.teams.iter().any(|wanted| wanted.name == team.name && wanted.suspended);
    }
    let has_ended = config != before;
    Ok((NamespaceConfig { config, credentials }, has_ended))
}

/// Ends what has ended of a key. False: all of it has.
fn end(key: &mut v1::Key, wanted: &v1::Key) -> bool {
    if key.uid != wanted.uid {
        return false;
    }
    key.suspended |= wanted.suspended;
    key.expires_at = earlier(key.expires_at, wanted.expires_at);
    key.credentials.retain_mut(|value| {
        let same = wanted.credentials.iter().find(|wanted| wanted.sha256 == value.sha256);
        value.expires_at = same.and_then(|same| earlier(value.expires_at, same.expires_at));
        same.is_some()
    });
    !key.credentials.is_empty()
}

fn earlier<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    one.into_iter().chain(other).min()
}
