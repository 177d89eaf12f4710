//! What ends although the rest cannot be written. Pure.
//!
//! Where a config cannot be written as it should be, what sidecars have stays in force, but for what has ended since: nothing that goes
//! wrong keeps a key alive. What its owners have set anew of a Team and of keys holds as well, where that can be written: whoever makes
//! its own config unwritable must not keep the limits and budgets, or another's routes, that it had.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::Context;
use vectoll_config::{ObjectName, read_v1, v1};

use crate::desired_state::NamespaceConfig;

/// How much of what is wanted is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// What has ended.
    Ended,
    /// That, what is set of Teams and keys, and which routes there are no more.
    Settings,
}

/// The config in these files without what has ended by `wanted`, and whether anything has. It only ever refuses more than before.
/// `passed_on` are the routes whose backends are not for those who read these files any more.
pub(super) fn without_ended(
    files: &BTreeMap<String, Vec<u8>>,
    wanted: &v1::Config,
    passed_on: &BTreeSet<ObjectName>,
    extent: Extent,
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
    if extent == Extent::Settings {
        take_settings(&mut config, &keys, wanted);
        withdraw_routes(&mut config, &mut credentials, (wanted, passed_on));
    }
    let has_ended = config != before;
    Ok((NamespaceConfig { config, credentials }, has_ended))
}

/// Takes over what is set of Teams and keys. What is valid of a key, and until when, stays as it is.
fn take_settings(config: &mut v1::Config, keys: &HashMap<&ObjectName, &v1::Key>, wanted: &v1::Config) {
    for team in &mut config.teams {
        if let Some(wanted) = wanted.teams.iter().find(|wanted| wanted.name == team.name) {
            *team = wanted.clone();
        }
    }
    for key in &mut config.keys {
        let Some(wanted) = keys.get(&key.name).filter(|wanted| wanted.team == key.team) else { continue };
        let (credentials, expires_at, suspended) =
            (std::mem::take(&mut key.credentials), key.expires_at, key.suspended);
        *key = v1::Key { credentials, expires_at, suspended, ..(*wanted).clone() };
    }
}

/// Takes routes out that are not there any more, and the backends of those whose calls a gateway carries out from now on; and the
/// credentials that no other one has. Where backends are missing for another reason, as a Secret that cannot be read for a moment, what
/// was goes on.
fn withdraw_routes(
    config: &mut v1::Config,
    credentials: &mut BTreeMap<String, Vec<u8>>,
    (wanted, passed_on): (&v1::Config, &BTreeSet<ObjectName>),
) {
    let names: HashSet<&ObjectName> = wanted.routes.iter().map(|route| &route.name).collect();
    let called: HashSet<&ObjectName> = names.iter().copied().filter(|name| !passed_on.contains(*name)).collect();
    let before = std::mem::take(&mut config.routes);
    let called_before = |route: &&v1::Route| called.contains(&route.name);
    let files: HashSet<&str> = before.iter().filter(called_before).flat_map(v1::Route::files).collect();
    let gone = before.iter().filter(|route| !called_before(route)).flat_map(v1::Route::files);
    for file in gone.filter(|file| !files.contains(file)) {
        credentials.remove(file);
    }
    config.routes = before.iter().filter(|route| names.contains(&route.name)).cloned().collect();
    for route in config.routes.iter_mut().filter(|route| !called.contains(&route.name)) {
        route.backends.clear();
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::{Value, json};

    use super::*;

    fn config(backends: &Value) -> v1::Config {
        let route = |name: &str, backends: &Value| json!({"name": name, "models": [name], "backends": backends});
        let other = json!([backend("credential.other")]);
        serde_json::from_value(json!({"version": "v1", "generation": 1, "namespace": "apps", "teams": [], "keys": [],
            "routes": [route("apps/moved", backends), route("apps/other", &other)], "complete": true}))
        .unwrap()
    }

    fn backend(file: &str) -> Value {
        json!({"name": "b", "weight": 1, "timeoutSeconds": 1, "tokens": {"factor": {"maxPerByte": 1, "maxPerInput": 0}},
            "provider": {"native": {"baseURL": "https://api.cohere.com", "api": {"cohere": {}}, "auth": {"bearer": {"file": file}}}}})
    }

    #[test]
    fn a_credential_that_is_the_gateways_from_now_on_leaves_though_the_rest_cannot_be_written() {
        let before = config(&json!([backend("credential.moved")]));
        let mut files = BTreeMap::from([
            ("credential.moved".to_owned(), b"moved".to_vec()),
            ("credential.other".to_owned(), b"other".to_vec()),
        ]);
        files.insert(v1::FILE.to_owned(), vectoll_config::write_v1(&before).unwrap().into_bytes());
        let moved = BTreeSet::from([ObjectName::new("apps", "moved")]);
        let (remains, has_ended) = without_ended(&files, &config(&json!([])), &moved, Extent::Settings).unwrap();
        assert!(has_ended);
        assert_eq!(remains.credentials.keys().collect::<Vec<_>>(), ["credential.other"]);
        let backends: Vec<usize> = remains.config.routes.iter().map(|route| route.backends.len()).collect();
        assert_eq!(backends, [0, 1], "it keeps its names");
        // For the gateway, which carries it out, and while its Secret cannot be read.
        let (remains, has_ended) =
            without_ended(&files, &config(&json!([])), &BTreeSet::new(), Extent::Settings).unwrap();
        assert!(!has_ended, "what cannot be read for a moment has not ended");
        assert_eq!(remains.config, before);
        assert_eq!(remains.credentials.len(), 2);
    }
}
