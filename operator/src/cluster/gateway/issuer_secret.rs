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
    /// None: nobody knows. None of a Secret: there is none.
    known: Option<Option<Entries>>,
}

impl IssuerSecret {
    pub(super) fn new(name: String) -> Self {
        Self { name, known: None }
    }

    /// Somebody may have changed it.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Has this in it. True: it was written.
    pub(super) async fn keep(&mut self, secrets: &Api<Secret>, issuer: &[u8]) -> anyhow::Result<bool> {
        let mut known = match self.known.take() {
            Some(known) => known,
            None => secret::read(secrets, &self.name).await?,
        };
        let present = known.as_ref().and_then(|entries| entries.get(ISSUER_FILE));
        let is_other = present.is_none_or(|present| present != issuer);
        if is_other {
            let changes = Changes::from([(ISSUER_FILE.to_owned(), Some(issuer.to_vec()))]);
            // Where it fails nobody knows what is there.
            secret::write(secrets, &self.name, &mut known, changes).await?;
        }
        self.known = Some(known);
        Ok(is_other)
    }
}
