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
    known: Known,
}

/// What is in the Secret.
#[derive(Debug)]
enum Known {
    /// Nobody has looked, or somebody may have changed it.
    Nothing,
    /// This; none: there is no Secret.
    Read(Option<Entries>),
}

impl IssuerSecret {
    pub(super) fn new(name: String) -> Self {
        Self { name, known: Known::Nothing }
    }

    /// Somebody may have changed it.
    pub(super) fn forget(&mut self) {
        self.known = Known::Nothing;
    }

    /// Has this in it. True: it was written.
    pub(super) async fn keep(&mut self, secrets: &Api<Secret>, issuer: &[u8]) -> anyhow::Result<bool> {
        let mut known = match std::mem::replace(&mut self.known, Known::Nothing) {
            Known::Read(known) => known,
            Known::Nothing => secret::read(secrets, &self.name).await?,
        };
        let present = known.as_ref().and_then(|entries| entries.get(ISSUER_FILE));
        let is_other = present.is_none_or(|present| present != issuer);
        if is_other {
            let changes = Changes::from([(ISSUER_FILE.to_owned(), Some(issuer.to_vec()))]);
            // Where it fails nobody knows what is there.
            secret::write(secrets, &self.name, &mut known, changes).await?;
        }
        self.known = Known::Read(known);
        Ok(is_other)
    }
}
