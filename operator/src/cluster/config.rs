//! The config Secret of a namespace: its files, and what fits into it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use vectoll_config::{KeyHash, ObjectName, check_v1, v1, write_v1};

use super::{
    delivered::{Parts, Since, parts},
    observed::hash_of,
};
use crate::judge::NamespaceConfig;

/// What a Secret may hold, in bytes.
pub(super) const CEILING: usize = 1024 * 1024;
/// From here on a namespace takes no further keys: the rest is for what the keys that are there may yet need.
pub(super) const ROOM: usize = CEILING / 10 * 9;

/// The files of a config Secret, made ready once for each content.
#[derive(Debug)]
pub(super) struct Files {
    /// What they were made of, the generation left out.
    made_of: NamespaceConfig,
    /// The generation they carry.
    pub(super) generation: u64,
    /// Their content, by name.
    pub(super) by_name: BTreeMap<String, Vec<u8>>,
    /// Of all of them.
    pub(super) hash: KeyHash,
    /// Keys that were left out, because nothing more fits in.
    pub(super) left_out: BTreeSet<ObjectName>,
    /// Since when each resource stands there as it is.
    pub(super) parts: Arc<Parts>,
}

impl Files {
    /// Makes the files. `age` says which keys go first where not all fit in; `last` is what they come after, if nothing was in
    /// force in between. An error: sidecars would refuse them.
    pub(super) fn make<A: Ord>(
        made_of: NamespaceConfig,
        generation: u64,
        last: Option<&Self>,
        now: Timestamp,
        age: impl Fn(&ObjectName) -> A,
    ) -> anyhow::Result<Self> {
        let mut config = made_of.config.clone();
        config.generation = generation;
        check_v1(&config)?;
        let beside: usize = made_of.credentials.iter().map(|(name, value)| name.len() + value.len()).sum();
        let mut text = write_v1(&config)?;
        let mut left_out = BTreeSet::new();
        if text.len() + beside > ROOM {
            left_out = surplus(&config, beside, age)?;
            config.keys.retain(|key| !left_out.contains(&key.name));
            text = write_v1(&config)?;
        }
        let mut files = made_of.credentials.clone();
        files.insert(v1::FILE.to_owned(), text.into_bytes());
        let hash = hash_of(files.iter().map(|(name, content)| (name.as_str(), content.as_slice())));
        let last = last.map(|last| (&last.made_of, &*last.parts));
        let parts = Arc::new(parts(&made_of, &left_out, last, Since { generation, at: now }));
        Ok(Self { made_of, generation, by_name: files, hash, left_out, parts })
    }

    /// The parts of a config that comes after these files and cannot be delivered.
    pub(super) fn parts_behind(last: Option<&Self>, config: &NamespaceConfig, now: Timestamp) -> Arc<Parts> {
        let last = last.map(|last| (&last.made_of, &*last.parts));
        Arc::new(parts(config, &BTreeSet::new(), last, Since { generation: u64::MAX, at: now }))
    }

    /// Whether they were made of the same.
    pub(super) fn are_of(&self, config: &NamespaceConfig) -> bool {
        self.made_of == *config
    }
}

/// The youngest keys, as many as do not fit in.
fn surplus<A: Ord>(
    config: &v1::Config,
    beside: usize,
    age: impl Fn(&ObjectName) -> A,
) -> anyhow::Result<BTreeSet<ObjectName>> {
    let bare = v1::Config { keys: Vec::new(), ..config.clone() };
    let without_keys = write_v1(&bare)?.len() + beside;
    let mut room = ROOM.saturating_sub(without_keys);
    let mut keys: Vec<&v1::Key> = config.keys.iter().collect();
    keys.sort_by_key(|key| age(&key.name));
    let mut left_out = BTreeSet::new();
    for key in keys {
        let times = |n| write_v1(&v1::Config { keys: vec![key.clone(); n], ..bare.clone() }).map(|text| text.len());
        let size = times(2)?.saturating_sub(times(1)?);
        if size <= room && left_out.is_empty() {
            room -= size;
        } else {
            left_out.insert(key.name.clone());
        }
    }
    Ok(left_out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use jiff::Timestamp;
    use vectoll_crds::{ApiKeySpec, TeamSpec};

    use super::*;
    use crate::{
        judge::{Credentials, judge},
        key_secret::{self, Mint},
        world::{Object, SecretContent, World},
    };

    fn world(keys: usize) -> World {
        let mut world = World::default();
        let spec: TeamSpec = serde_yaml::from_str("{}").unwrap();
        let name = ObjectName::new("apps", "team");
        let object = Object {
            name: name.clone(),
            uid: vectoll_config::Uid::new("t"),
            created: None,
            rotate: None,
            account: None,
            spec,
        };
        world.teams.insert(name, object.into());
        for i in 0..keys {
            let name = ObjectName::new("apps", &format!("key-{i:05}"));
            let uid = vectoll_config::Uid::new(&format!("{i:036}"));
            let spec: ApiKeySpec = serde_yaml::from_str("{teamRef: {name: team}}").unwrap();
            // The higher the number, the older.
            let created = Timestamp::from_second(i64::try_from(keys - i).unwrap()).ok();
            let object = Object { name: name.clone(), uid: uid.clone(), created, rotate: None, account: None, spec };
            world.api_keys.insert(name.clone(), object.into());
            let mint = Mint {
                api_key: name.clone(),
                uid,
                secret: name.clone(),
                cause: key_secret::Cause::New,
                previous: Vec::new(),
                request: None,
            };
            let secret = mint.secret(&format!("sk-a-key-of-its-own-{i}"), Timestamp::UNIX_EPOCH);
            world.secrets.insert(name, SecretContent::of(secret).minted().into());
        }
        world
    }

    #[test]
    fn the_youngest_keys_stay_out_where_not_all_fit_in() {
        let world = world(6_000);
        let config = judge(&world, Timestamp::UNIX_EPOCH).config(&world, "apps", Credentials::Deliver, None);
        let files = Files::make(config, 1, None, Timestamp::UNIX_EPOCH, |name| {
            world.api_keys.get(name).and_then(|object| object.created)
        })
        .unwrap();
        let size: usize = files.by_name.values().map(Vec::len).sum();
        assert!(size <= ROOM && size > ROOM - 1_000, "{size}");
        assert!(!files.left_out.is_empty());
        let oldest_out = files.left_out.iter().next_back().unwrap();
        let kept = 6_000 - files.left_out.len();
        assert_eq!(oldest_out.name(), format!("key-{:05}", 5_999 - kept), "the old ones are in, without a gap");
        vectoll_config::read_v1(std::str::from_utf8(files.by_name.get(v1::FILE).unwrap()).unwrap()).unwrap();
    }

    #[test]
    fn the_hash_knows_content_and_generation() {
        let world = world(2);
        let config = || judge(&world, Timestamp::UNIX_EPOCH).config(&world, "apps", Credentials::Deliver, None);
        let make = |generation| Files::make(config(), generation, None, Timestamp::UNIX_EPOCH, |_| ()).unwrap().hash;
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }
}
