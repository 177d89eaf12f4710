//! Accounts in memory, and in a store.

use anyhow::Context;
use tempfile::TempDir;

use super::super::load::Load;
use super::super::manifests::Resources;
use super::super::measure::{Case, Row};
use super::super::payload::Payload;
use super::super::stage::Stage;
use super::calls::carry_out;
use crate::store::{PASSWORD, Store};

/// A store, and the file with its password.
pub struct Accounts {
    store: Store,
    folder: TempDir,
}

impl Accounts {
    pub fn start(stage: &Stage) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("failed to create a temporary folder")?;
        std::fs::write(folder.path().join("password"), PASSWORD).context("failed to write the store's password")?;
        Ok(Self { store: stage.wait(Store::start())?, folder })
    }

    /// What an operator is told of it.
    pub fn arguments(&self) -> Vec<String> {
        let password = self.folder.path().join("password");
        vec![format!("--store-url={}", self.store.url()), format!("--store-password-file={}", password.display())]
    }
}

pub fn run(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    let payloads = [Payload::ONE_BASE64, Payload::BATCH_BASE64];
    stage.responder.prepare(&payloads)?;
    let accounts = Accounts::start(stage)?;
    let resources = Resources::new(&stage.responder);
    let alone = stage.sidecar(&resources, &[])?;
    let together = stage.sidecar_with(&resources, &[], accounts.arguments())?;
    let subjects = vec![alone.subject("sidecar, memory")?, together.subject("sidecar, redis-server")?];
    let load = Load::closed(stage.plan.connections);
    carry_out(stage, &payloads.map(|payload| Case::new(payload, load, subjects.clone())))
}
