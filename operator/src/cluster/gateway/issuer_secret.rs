//! The Secret that tells the gateway who issues the tokens of pods. It is one of its own: no namespace's entry takes its room, and no
//! write of it holds up what ends for a namespace.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use vectoll_config::ISSUER_FILE;

use super::{
    secret,
    shards::{Changes, Entries},
};

/// The Secret, and what is known to be in it.
#[derive(Debug)]
pub(super) struct IssuerSecret {
    name: String,
    cached: CachedContent,
}

/// What was read of the Secret, or written to it, last.
#[derive(Debug)]
enum CachedContent {
    /// Nobody has looked, or somebody may have changed it.
    Unknown,
    /// This; none: there is no Secret.
    Read(Option<Entries>),
}

impl IssuerSecret {
    pub(super) fn new(name: String) -> Self {
        Self { name, cached: CachedContent::Unknown }
    }

    /// Somebody may have changed it.
    pub(super) fn forget(&mut self) {
        self.cached = CachedContent::Unknown;
    }

    /// Has this in it. True: it was written.
    pub(super) async fn keep(&mut self, secrets: &Api<Secret>, issuer: &[u8]) -> anyhow::Result<bool> {
        let mut entries = match std::mem::replace(&mut self.cached, CachedContent::Unknown) {
            CachedContent::Read(entries) => entries,
            CachedContent::Unknown => secret::read(secrets, &self.name).await?,
        };
        let present = entries.as_ref().and_then(|entries| entries.get(ISSUER_FILE));
        let is_other = present.is_none_or(|present| present != issuer);
        if is_other {
            let changes = Changes::from([(ISSUER_FILE.to_owned(), Some(issuer.to_vec()))]);
            // Where it fails nobody knows what is there.
            secret::write(secrets, &self.name, &mut entries, changes).await?;
        }
        self.cached = CachedContent::Read(entries);
        Ok(is_other)
    }
}
