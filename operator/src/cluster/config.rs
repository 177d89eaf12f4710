//! The config Secret of a namespace: its files, made ready once for each content.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use vectoll_config::{KeyHash, ObjectName, check_files_v1, check_v1, v1, write_v1};

use super::{
    cluster_state::hash_of,
    fit::{self, CEILING, Credentials, ROOM, Surplus, TooLarge},
    generations::{Contents, GenerationChange, ResourceGenerations, parts},
};
use crate::{
    desired_state::NamespaceConfig,
    observed_state::{Kind, ResourceRef},
};

/// A generation further in the future than this was not made by an operator, whatever its clock.
const MAX_SKEW: SignedDuration = SignedDuration::from_hours(24);

/// The generation of a config that is made now: milliseconds since 1970, and more than the one before. So it is the operator's own and
/// grows although nothing is remembered: not even a Secret that was lost needs anybody's word about how far things were.
pub(super) fn next_generation(before: u64, now: Timestamp) -> u64 {
    let clock = u64::try_from(now.as_millisecond()).unwrap_or_default();
    clock.max(before.saturating_add(1)).max(1)
}

/// A generation as it stands on an object that others can write, if an operator can have made it.
pub(super) fn believable(generation: u64, now: Timestamp) -> Option<u64> {
    let latest =
        u64::try_from(now.saturating_add(MAX_SKEW).unwrap_or(Timestamp::MAX).as_millisecond()).unwrap_or_default();
    Some(generation).filter(|generation| *generation <= latest)
}

/// The files of a config Secret.
#[derive(Debug)]
pub(super) struct ConfigFiles {
    /// What they were made of.
    contents: Contents,
    /// The generation they carry.
    pub(super) generation: u64,
    /// Their content, by name.
    pub(super) by_name: BTreeMap<String, Vec<u8>>,
    /// Of all of them.
    pub(super) hash: KeyHash,
    /// Keys and routes that were left out, because nothing more fits in.
    pub(super) left_out: BTreeSet<ResourceRef>,
    /// Since when each resource stands there as it is.
    pub(super) parts: Arc<ResourceGenerations>,
}

impl ConfigFiles {
    /// Makes the files of a config, whose hashes are `contents`. `is_in` says which keys the sidecars have already, `age` which of the others, and
    /// which routes, go first where not all fit in; `last` is what they come after, if nothing was in force in between. An error: sidecars would
    /// refuse them, or the API server.
    pub(super) fn make<A: Ord>(
        made_of: NamespaceConfig,
        contents: Contents,
        generation: u64,
        last: Option<&Self>,
        now: Timestamp,
        is_in: impl Fn(&ObjectName) -> bool,
        age: impl Fn(Kind, &ObjectName) -> A,
    ) -> anyhow::Result<Self> {
        let NamespaceConfig { mut config, credentials: mut files } = made_of;
        config.generation = generation;
        check_v1(&config)?;
        if !files.is_empty() {
            check_files_v1(&config, |name| files.get(name).map(Vec::as_slice))?;
        }
        let mut text = write_v1(&config)?;
        let mut left_out = BTreeSet::new();
        if size(&text, &files) > ROOM {
            let Surplus { keys, routes, shortened } = fit::fit(&mut config, &mut files, is_in, age)?;
            if !shortened.is_empty() {
                let namespace = &config.namespace;
                tracing::warn!(
                    namespace,
                    keys = shortened.len(),
                    "the config Secret is full: values in their grace period end early"
                );
            }
            let named = |kind| move |name| ResourceRef { kind, name };
            left_out.extend(keys.into_iter().map(named(Kind::ApiKey)));
            left_out.extend(routes.into_iter().map(named(Kind::ModelRoute)));
            text = write_v1(&config)?;
            let size = size(&text, &files);
            if size > CEILING {
                return Err(TooLarge(size).into());
            }
        }
        files.insert(v1::FILE.to_owned(), text.into_bytes());
        let hash = hash_of(files.iter().map(|(name, content)| (name.as_str(), content.as_slice())));
        let last = last.map(|last| (&last.contents, &*last.parts));
        let parts = Arc::new(parts(&contents, &left_out, last, GenerationChange { generation, at: now }));
        Ok(Self { contents, generation, by_name: files, hash, left_out, parts })
    }

    /// The parts of a config that comes after these files and cannot be delivered.
    pub(super) fn parts_behind(
        last: Option<&Self>,
        config: &NamespaceConfig,
        now: Timestamp,
    ) -> Arc<ResourceGenerations> {
        let last = last.map(|last| (&last.contents, &*last.parts));
        let Ok(contents) = Contents::of(config) else { return Arc::default() };
        Arc::new(parts(&contents, &BTreeSet::new(), last, GenerationChange { generation: u64::MAX, at: now }))
    }

    /// Whether they were made of the same.
    pub(super) fn are_of(&self, contents: &Contents) -> bool {
        self.contents == *contents
    }

    /// Whether a key is in them.
    pub(super) fn has(&self, key: &ObjectName) -> bool {
        let of = ResourceRef { kind: Kind::ApiKey, name: key.clone() };
        self.contents.has(&of) && !self.left_out.contains(&of)
    }

    /// Routes that were left out.
    pub(super) fn routes_left_out(&self) -> BTreeSet<ObjectName> {
        let routes = self.left_out.iter().filter(|of| of.kind == Kind::ModelRoute);
        routes.map(|of| of.name.clone()).collect()
    }
}

/// What files take of a Secret.
fn size(config: &str, others: &Credentials) -> usize {
    config.len() + fit::size_of_files(others)
}

/// The keys in a config's files, as they stand in a Secret; none, if it cannot be read.
pub(super) fn keys_in(files: &Credentials) -> BTreeSet<ObjectName> {
    let file = files.get(v1::FILE).and_then(|file| std::str::from_utf8(file).ok());
    let config = file.and_then(|text| vectoll_config::read_v1(text).ok());
    config.into_iter().flat_map(|config| config.keys).map(|key| key.name).collect()
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use jiff::Timestamp;
    use vectoll_crds::{ApiKeySpec, TeamSpec};

    use super::*;
    use crate::{
        desired_state::{Credentials, desired_state},
        key_secret::{self, ValueCreation},
        observed_state::{Object, ObservedState, SecretContent},
    };

    /// A namespace with so many keys; the higher the number, the older.
    pub(in crate::cluster) fn observed(keys: usize) -> ObservedState {
        let mut observed = ObservedState::default();
        let spec: TeamSpec = serde_yaml::from_str("{}").unwrap();
        let name = ObjectName::new("apps", "team");
        let object = Object::new(name.clone(), vectoll_config::Uid::new("t"), spec);
        observed.teams.insert(name, object.into());
        for i in 0..keys {
            let name = ObjectName::new("apps", &format!("key-{i:05}"));
            let uid = vectoll_config::Uid::new(&format!("{i:036}"));
            let spec: ApiKeySpec = serde_yaml::from_str("{teamRef: {name: team}}").unwrap();
            let created = Timestamp::from_second(i64::try_from(keys - i).unwrap()).ok();
            let object = Object { created, ..Object::new(name.clone(), uid.clone(), spec) };
            observed.api_keys.insert(name.clone(), object.into());
            let creation = ValueCreation {
                api_key: name.clone(),
                uid,
                secret: name.clone(),
                cause: key_secret::Cause::New,
                previous: Vec::new(),
                request: None,
            };
            let secret = creation.secret(&format!("sk-a-key-of-its-own-{i}"), Timestamp::UNIX_EPOCH);
            observed.secrets.insert(name, SecretContent::of(secret).generated().into());
        }
        observed
    }

    #[test]
    fn the_youngest_keys_stay_out_where_not_all_fit_in() {
        let observed = observed(6_000);
        let config =
            desired_state(&observed, Timestamp::UNIX_EPOCH).config(&observed, "apps", Credentials::Deliver, None);
        let age = |_: Kind, name: &ObjectName| observed.api_keys.get(name).and_then(|object| object.created);
        let contents = Contents::of(&config).unwrap();
        let files = ConfigFiles::make(config, contents, 1, None, Timestamp::UNIX_EPOCH, |_| false, age).unwrap();
        let size: usize = files.by_name.values().map(Vec::len).sum();
        assert!(size <= ROOM && size > ROOM - 1_000, "{size}");
        assert!(!files.left_out.is_empty());
        let oldest_out = &files.left_out.iter().next_back().unwrap().name;
        let kept = 6_000 - files.left_out.len();
        assert_eq!(oldest_out.name(), format!("key-{:05}", 5_999 - kept), "the old ones are in, without a gap");
        vectoll_config::read_v1(std::str::from_utf8(files.by_name.get(v1::FILE).unwrap()).unwrap()).unwrap();
    }

    #[test]
    fn generations_grow_and_nobody_elses_number_is_believed() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        let clock = u64::try_from(now.as_millisecond()).unwrap();
        assert_eq!(next_generation(0, now), clock);
        assert_eq!(next_generation(clock + 5, now), clock + 6, "another replica's clock is ahead");
        assert_eq!(next_generation(u64::MAX, now), u64::MAX);
        assert_eq!(next_generation(0, Timestamp::MIN), 1);
        assert_eq!(believable(clock + 5, now), Some(clock + 5));
        for lie in [u64::MAX, u64::MAX - 2, clock * 2] {
            assert_eq!(believable(lie, now), None);
        }
    }

    #[test]
    fn the_hash_knows_content_and_generation() {
        let observed = observed(2);
        let config =
            || desired_state(&observed, Timestamp::UNIX_EPOCH).config(&observed, "apps", Credentials::Deliver, None);
        let make = |generation| {
            ConfigFiles::make(
                config(),
                Contents::of(&config()).unwrap(),
                generation,
                None,
                Timestamp::UNIX_EPOCH,
                |_| false,
                |_, _| (),
            )
            .unwrap()
            .hash
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
    }
}
