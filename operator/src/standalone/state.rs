//! What the API server would keep: generated keys as Secret manifests, and the UIDs of objects.
//!
//! Both belong to an object for as long as it is there. When it is gone for good its Secret goes with it, as an owner
//! reference would have it; an editor that takes a file away and puts it back at once loses nothing.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde::Deserialize;
use vectoll_config::{ObjectName, Uid};

use crate::{
    key_secret::{self, ValueCreation},
    observed_state::{DEFAULT_NAMESPACE, Kind, ObservedState, ResourceRef, SecretContent},
    random,
};

/// How long an object must be gone before what belongs to it goes as well.
const REMOVAL_DELAY: Duration = Duration::from_secs(5);
const IDENTITIES: &str = "identities.yaml";
const SECRETS: &str = "secrets";
/// Where keys go whose ApiKey is gone.
const REMOVED: &str = "removed";

/// The state folder.
pub(super) struct State {
    folder: PathBuf,
    identities: BTreeMap<String, Uid>,
    missing_since: BTreeMap<String, Instant>,
    secrets: BTreeMap<ObjectName, KeptSecret>,
}

struct KeptSecret {
    owner: ObjectName,
    content: SecretContent,
    path: PathBuf,
}

impl State {
    /// Opens the folder, which is made if need be.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let secrets = folder.join(SECRETS);
        fs::create_dir_all(&secrets).with_context(|| format!("failed to make the folder {}", secrets.display()))?;
        let path = folder.join(IDENTITIES);
        let identities = match fs::read_to_string(&path) {
            Ok(text) => serde_yaml::from_str(&text)
                .with_context(|| format!("{} is damaged: move it away to begin with new accounts", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
        };
        let mut state =
            Self { folder: folder.to_owned(), identities, missing_since: BTreeMap::new(), secrets: BTreeMap::new() };
        state.load_all()?;
        Ok(state)
    }

    /// Reads the Secrets as they are now: one that someone took away is recreated.
    fn load_all(&mut self) -> anyhow::Result<()> {
        self.secrets.clear();
        let folder = self.folder.join(SECRETS);
        for entry in fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|ext| ext == "yaml") {
                self.load(&path)?;
            }
        }
        Ok(())
    }

    fn load(&mut self, path: &Path) -> anyhow::Result<()> {
        let text = fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        let secret = Secret::deserialize(serde_yaml::Deserializer::from_str(&text))
            .with_context(|| format!("{} is not a Secret: move it away", path.display()))?;
        let ObjectMeta { name, namespace, annotations, .. } = &secret.metadata;
        let (Some(name), Some(namespace)) = (name, namespace) else {
            return Err(anyhow!("{} has no name or no namespace: move it away", path.display()));
        };
        let owner = annotations.as_ref().and_then(|all| all.get(key_secret::OWNER)).map_or(name, |owner| owner);
        let owner = ObjectName::new(namespace, owner);
        let name = ObjectName::new(namespace, name);
        let content = SecretContent::of(secret).generated();
        self.secrets.insert(name, KeptSecret { owner, content, path: path.to_owned() });
        Ok(())
    }

    /// Adds the generated Secrets to the observed state, where no manifest has them, and the UIDs that are known.
    pub(super) fn read_into(&self, observed: &mut ObservedState) {
        for (name, generated) in &self.secrets {
            observed.secrets.entry(name.clone()).or_insert_with(|| Arc::new(generated.content.clone()));
        }
        for (key, uid) in uids(observed) {
            if uid.to_string().is_empty()
                && let Some(identity) = self.identities.get(&key)
            {
                *uid = identity.clone();
            }
        }
    }

    /// The same, and gives UIDs to objects that are new. `read_all` says that it is whole: only then is anything
    /// taken to be gone.
    pub(super) fn complete(
        &mut self,
        observed: &mut ObservedState,
        read_all: bool,
        now: Instant,
    ) -> anyhow::Result<()> {
        self.load_all()?;
        let present: Vec<String> = uids(observed).map(|(key, _)| key).collect();
        let mut changed = false;
        for key in &present {
            self.missing_since.remove(key);
            if !self.identities.contains_key(key) {
                let uid = random::uid(getrandom::fill).map_err(|error| anyhow!("no randomness to be had: {error}"))?;
                self.identities.insert(key.clone(), Uid::new(&uid));
                changed = true;
            }
        }
        // From something to nothing is more likely a folder that was not mounted than a wish.
        if read_all && !present.is_empty() {
            let absent: Vec<String> = self.identities.keys().filter(|key| !present.contains(key)).cloned().collect();
            for key in absent {
                let since = *self.missing_since.entry(key.clone()).or_insert(now);
                if now.duration_since(since) >= REMOVAL_DELAY {
                    self.missing_since.remove(&key);
                    self.identities.remove(&key);
                    self.forget_secret(&key)?;
                    changed = true;
                }
            }
        } else {
            self.missing_since.clear();
        }
        if changed {
            let text = serde_yaml::to_string(&self.identities)?;
            write_private(&self.folder.join(IDENTITIES), text.as_bytes())?;
        }
        self.read_into(observed);
        Ok(())
    }

    fn forget_secret(&mut self, object: &str) -> anyhow::Result<()> {
        let gone: Vec<ObjectName> = self
            .secrets
            .iter()
            .filter(|(_, generated)| identity(Kind::ApiKey, &generated.owner) == object)
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(KeptSecret { path, owner, .. }) = self.secrets.remove(&name) {
                // Put aside and not destroyed: without an API server nobody was asked whether this was meant.
                let removed = self.folder.join(SECRETS).join(REMOVED);
                let aside = removed.join(format!(
                    "{}.{}.{}.yaml",
                    name.namespace(),
                    name.name(),
                    Timestamp::now().as_millisecond()
                ));
                fs::create_dir_all(&removed)
                    .and_then(|()| fs::rename(&path, &aside))
                    .with_context(|| format!("failed to put {} aside", path.display()))?;
                tracing::info!(api_key = %owner, put_aside = %aside.display(), "key removed with its ApiKey");
            }
        }
        Ok(())
    }

    /// The value that was generated for an ApiKey.
    pub(super) fn value_of(&self, api_key: &ObjectName) -> Option<&str> {
        let generated = self.secrets.values().find(|generated| generated.owner == *api_key)?;
        std::str::from_utf8(generated.content.entry(key_secret::ENTRY)?).ok()
    }

    /// The `ApiKey`s that have a generated value.
    pub(super) fn api_keys(&self) -> impl Iterator<Item = &ObjectName> {
        self.secrets.values().map(|generated| &generated.owner)
    }

    /// The command that shows the value of an ApiKey.
    pub(super) fn command_for(&self, api_key: &ObjectName) -> String {
        let namespace = match api_key.namespace() {
            DEFAULT_NAMESPACE => String::new(),
            other => format!(" --namespace {other}"),
        };
        format!("vectoll-operator key {}{namespace} --state-dir {}", api_key.name(), self.folder.display())
    }

    /// Makes a value and its Secret. Returns the file.
    pub(super) fn create_value(&mut self, creation: &ValueCreation, now: Timestamp) -> anyhow::Result<PathBuf> {
        let value = random::key(getrandom::fill).map_err(|error| anyhow!("no randomness to be had: {error}"))?;
        let object = creation.secret(&value, now);
        let secret = &creation.secret;
        let path = self.folder.join(SECRETS).join(format!("{}.{}.yaml", secret.namespace(), secret.name()));
        write_private(&path, serde_yaml::to_string(&object)?.as_bytes())?;
        let content = SecretContent::of(object).generated();
        let generated = KeptSecret { owner: creation.api_key.clone(), content, path: path.clone() };
        self.secrets.insert(secret.clone(), generated);
        Ok(path)
    }
}

/// Gives the name of an object as its UID where it has none: for a look, not for accounts.
pub(super) fn identify_by_name(observed: &mut ObservedState) {
    for (key, uid) in uids(observed) {
        if uid.to_string().is_empty() {
            *uid = Uid::new(&key);
        }
    }
}

fn identity(kind: Kind, name: &ObjectName) -> String {
    ResourceRef { kind, name: name.clone() }.to_string()
}

/// The UID of every object that has an account, by kind and name.
fn uids(observed: &mut ObservedState) -> impl Iterator<Item = (String, &mut Uid)> {
    let keys = observed
        .api_keys
        .iter_mut()
        .map(|(name, object)| (identity(Kind::ApiKey, name), &mut Arc::make_mut(object).uid));
    let teams =
        observed.teams.iter_mut().map(|(name, object)| (identity(Kind::Team, name), &mut Arc::make_mut(object).uid));
    keys.chain(teams)
}

/// Writes a file that only its owner may read, whole or not at all.
fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("failed to write {}", path.display()))
}
