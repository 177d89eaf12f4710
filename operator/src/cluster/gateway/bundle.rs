//! What the gateway is told of one namespace. Pure.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use vectoll_config::{ObjectName, check_files_v1, check_v1, read_v1, v1, write_bundle, write_v1};

use crate::{
    cluster::{
        config::Files,
        fit::{CEILING, fit_to, size_of_files},
    },
    desired_state::{Credentials, DesiredState},
    observed_state::{Kind, ObservedState},
    store::NamespaceStore,
};

/// What an entry may take beside its files, and for each of them: the namespace's name, and the lines that the files begin with.
const MARGIN: usize = 128;
const MARGIN_OF_A_FILE: usize = 16;

/// What a namespace is to have in the gateway.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cluster) enum Share {
    /// Nothing: it has no keys, or ends.
    Nothing,
    /// This.
    Config(Arc<Bundle>),
    /// What it has, but for what has ended by this: what it should have cannot be made whole. This where it has nothing yet.
    Kept(Arc<Bundle>),
}

/// A namespace's entry. Its `Debug` shows no credential.
#[derive(PartialEq)]
pub(in crate::cluster) struct Bundle {
    /// What is in it.
    pub(super) config: v1::Config,
    /// The store's files.
    pub(super) store_files: BTreeMap<String, Vec<u8>>,
    /// Not all of its keys and routes are in it: they are too much for one Secret.
    pub(super) is_cut: bool,
    /// The files, as one value; empty: they could not be made.
    pub(super) content: Vec<u8>,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle")
            .field("namespace", &self.config.namespace)
            .field("bytes", &self.content.len())
            .finish_non_exhaustive()
    }
}

/// What a namespace is to have. `prepared` are the files that its sidecars read, or would if there were some; `is_short`: some Secret that it
/// needs cannot be read at present.
pub(in crate::cluster) fn share(
    namespace: &str,
    (observed, desired): (&ObservedState, &DesiredState),
    prepared: Option<&Files>,
    store: Option<NamespaceStore>,
    is_short: bool,
) -> Share {
    if observed.api_keys.is_empty() {
        return Share::Nothing;
    }
    match bundle(namespace, (observed, desired), prepared, store.clone()) {
        Ok(bundle) if is_short => Share::Kept(Arc::new(bundle)),
        Ok(bundle) => Share::Config(Arc::new(bundle)),
        Err(error) => {
            tracing::error!(namespace, error = format!("{error:#}"), "a config that the gateway could not read");
            let mut config = desired.config(observed, namespace, Credentials::Deliver, None).config;
            let (section, store_files) = store.map(|NamespaceStore { section, files }| (section, files)).unzip();
            config.store = section;
            Share::Kept(Arc::new(Bundle {
                config,
                store_files: store_files.unwrap_or_default(),
                is_cut: false,
                content: Vec::new(),
            }))
        }
    }
}

fn bundle(
    namespace: &str,
    (observed, desired): (&ObservedState, &DesiredState),
    prepared: Option<&Files>,
    store: Option<NamespaceStore>,
) -> anyhow::Result<Bundle> {
    let wanted = desired.config(observed, namespace, Credentials::Deliver, None);
    let mut config = match prepared {
        Some(files) => {
            let text = files.by_name.get(v1::FILE).context("there is no config in the files")?;
            read_v1(std::str::from_utf8(text).context("the config is no text")?)?
        }
        None => v1::Config { generation: 1, ..wanted.config },
    };
    // What is held back of the newest is in the files that are in force.
    let of = |name: &str| {
        let in_force = || prepared.and_then(|files| files.by_name.get(name));
        wanted.credentials.get(name).or_else(in_force).cloned()
    };
    let mut files = BTreeMap::new();
    for route in &mut config.routes {
        let found: Option<BTreeMap<String, Vec<u8>>> =
            route.files().map(|name| Some((name.to_owned(), of(name)?))).collect();
        match found {
            Some(found) => files.extend(found),
            // It keeps its names: its callers' inputs go nowhere else.
            None => route.backends.clear(),
        }
    }
    let (section, store_files) = store.map(|NamespaceStore { section, files }| (section, files)).unzip();
    config.store = section;
    let store_files: BTreeMap<String, Vec<u8>> = store_files.unwrap_or_default();
    files.extend(store_files.clone());
    check_v1(&config)?;
    check_files_v1(&config, |name| files.get(name).map(Vec::as_slice))?;
    let mut text = write_v1(&config)?;
    // Sidecars' files fit already; here are credentials that those may lack. New keys give way, and not what is set of the others.
    let room = CEILING.saturating_sub(MARGIN + MARGIN_OF_A_FILE * files.len());
    let is_cut = text.len() + size_of_files(&files) > room;
    if is_cut {
        let is_in = |key: &ObjectName| prepared.is_some_and(|files| files.has(key));
        let created = |kind: Kind, name: &ObjectName| match kind {
            Kind::ApiKey | Kind::Team => (false, observed.api_keys.get(name).and_then(|key| key.created), name.clone()),
            Kind::ModelRoute => match observed.routes.get(name) {
                Some(own) => (false, own.created, name.clone()),
                None => (true, observed.routes_elsewhere.get(name).and_then(|route| route.created), name.clone()),
            },
        };
        fit_to(room, &mut config, &mut files, is_in, created)?;
        text = write_v1(&config)?;
    }
    files.insert(v1::FILE.to_owned(), text.into_bytes());
    Ok(Bundle { content: write_bundle(&files), config, store_files, is_cut })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use jiff::Timestamp;

    use super::*;
    use crate::{cluster::config::tests::observed, desired_state::desired_state};

    #[test]
    fn what_is_too_much_for_a_secret_loses_new_keys_and_keeps_settings() {
        let mut observed = observed(6_000);
        let mut team = None;
        for max_users in [10, 5] {
            for object in observed.teams.values_mut() {
                let mut limited = (**object).clone();
                limited.spec.limits =
                    serde_json::from_value(serde_json::json!({"requestsPerMinute": max_users})).unwrap();
                *object = limited.into();
            }
            let desired = desired_state(&observed, Timestamp::UNIX_EPOCH);
            let Share::Config(bundle) = share("apps", (&observed, &desired), None, None, false) else { panic!("kept") };
            assert!(bundle.is_cut && bundle.content.len() + "apps".len() <= CEILING, "{}", bundle.content.len());
            assert!(bundle.config.keys.len() > 1_000 && bundle.config.keys.len() < 6_000);
            assert!(bundle.config.keys.iter().any(|key| key.name.name() == "key-05999"), "the oldest stay");
            assert_ne!(
                team.replace(bundle.config.teams.clone()),
                Some(bundle.config.teams.clone()),
                "the limit of today"
            );
        }
        let few = self::observed(10);
        let desired = desired_state(&few, Timestamp::UNIX_EPOCH);
        let Share::Config(bundle) = share("apps", (&few, &desired), None, None, false) else { panic!("kept") };
        assert!(!bundle.is_cut && bundle.config.keys.len() == 10);
    }
}
