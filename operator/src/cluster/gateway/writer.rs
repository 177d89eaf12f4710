//! Keeps the Secrets of the gateway while this replica leads.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams},
};
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};
use serde_json::json;
use tokio::time::timeout;

use super::{
    Shares,
    issuer_secret::IssuerSecret,
    secret,
    shards::{Changes, Entries, Plan, plan, shard_of},
};
use crate::cluster::{gather::REQUEST_TIMEOUT, lease::Tenure, names, watch::StateHandle};

/// What comes within this time is written together.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Looked at again though nothing has changed: who leads, and which namespaces are gone.
const CHECK_PERIOD: Duration = Duration::from_secs(5);
/// All Secrets are read again as often: somebody may have changed or deleted one.
const REREAD_PERIOD: Duration = Duration::from_mins(10);
/// After a failure.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// What is written, and where.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Settings {
    /// The operator's namespace.
    pub(in crate::cluster) namespace: String,
    /// How many Secrets there are.
    pub(in crate::cluster) shards: usize,
    /// What they are called, before their number.
    pub(in crate::cluster) prefix: String,
    /// Which pods read them.
    pub(in crate::cluster) pods: String,
}

impl Settings {
    fn name(&self, number: usize) -> String {
        format!("{}-{number}", self.prefix)
    }
}

/// Keeps the Secrets.
pub(in crate::cluster) struct Writer {
    settings: Settings,
    secrets: Api<Secret>,
    pods: Api<Pod>,
    wanted: Shares,
    shared: StateHandle,
    tenure: Tenure,
    writes: IntCounterVec,
    left_out_gauge: IntGauge,
    /// What is in each of them; none of a Secret: there is none. None at all: they have not been read.
    known: Option<Vec<Option<Entries>>>,
    read_at: Instant,
    issuer: IssuerSecret,
    /// Something was written since all of the gateway's pods were touched, or may have been: by whoever led before.
    untouched: bool,
    left_out: BTreeSet<String>,
}

impl Writer {
    pub(in crate::cluster) fn new(
        client: &Client,
        settings: Settings,
        (wanted, shared, tenure): (Shares, StateHandle, Tenure),
        registry: &Registry,
    ) -> prometheus::Result<Self> {
        let help = "Writes of the gateway's config Secrets, by result.";
        let writes = IntCounterVec::new(Opts::new("vectoll_operator_gateway_writes_total", help), &["result"])?;
        let help = "Namespaces whose config does not fit into its Secret of the gateway.";
        let left_out_gauge = IntGauge::new("vectoll_operator_gateway_namespaces_left_out", help)?;
        registry.register(Box::new(writes.clone()))?;
        registry.register(Box::new(left_out_gauge.clone()))?;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &settings.namespace);
        let issuer = IssuerSecret::new(format!("{}-issuer", settings.prefix));
        Ok(Self {
            secrets,
            pods: Api::namespaced(client.clone(), &settings.namespace),
            settings,
            wanted,
            shared,
            tenure,
            writes,
            left_out_gauge,
            known: None,
            read_at: Instant::now(),
            issuer,
            untouched: true,
            left_out: BTreeSet::new(),
        })
    }

    /// For ever.
    pub(in crate::cluster) async fn run(mut self) {
        loop {
            let wanted = self.wanted.clone();
            if timeout(CHECK_PERIOD, wanted.changed()).await.is_ok() {
                tokio::time::sleep(DEBOUNCE).await;
            }
            if !self.tenure.holds() {
                self.known = None;
                self.issuer.forget();
                self.untouched = true;
                continue;
            }
            if let Err(error) = self.keep().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the gateway's configs could not be written; it is tried again"
                );
                self.writes.with_label_values(&["error"]).inc();
                self.known = None;
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }

    async fn keep(&mut self) -> anyhow::Result<()> {
        self.keep_issuer().await;
        if self.known.is_none() || self.read_at.elapsed() > REREAD_PERIOD {
            self.read().await?;
        }
        let wanted = self.wanted.get();
        let (listed, unheard) = {
            let cluster = self.shared.cluster();
            let listed = cluster.watches.are_synced().then(|| cluster.all_namespaces());
            (listed, cluster.watches.unheard(Instant::now()))
        };
        // Of what cannot be listed nothing is known.
        let is_gone = |namespace: &str| {
            listed.as_ref().is_some_and(|listed| !listed.contains(namespace)) && !unheard.contains(namespace)
        };
        let none = Entries::new();
        let present: Vec<&Entries> = self.known.iter().flatten().map(|known| known.as_ref().unwrap_or(&none)).collect();
        let Plan { changes, left_out } = plan(&present, &wanted, is_gone);
        self.report(left_out);
        let mut written = 0;
        let mut failed = None;
        for (number, changes) in changes {
            ensure!(self.tenure.holds(), "another replica leads");
            match self.write(number, changes).await {
                Ok(()) => {
                    self.untouched = true;
                    self.writes.with_label_values(&["success"]).inc();
                    written += 1;
                }
                // What has ended in the others ends all the same. It may have been written, though nobody has said so.
                Err(error) => {
                    self.untouched = true;
                    failed.get_or_insert(error);
                }
            }
        }
        if written > 0 {
            tracing::info!(secrets = written, "the gateway's configs were written");
        }
        if self.untouched {
            match self.touch().await {
                Ok(()) => self.untouched = false,
                Err(error) => tracing::warn!(
                    error = format!("{error:#}"),
                    "the gateway's pods could not all be touched: it is tried again, and the kubelet looks within a minute"
                ),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Who issues the tokens of pods: on its own, so that nothing of the namespaces waits for it, and it for no room of theirs.
    async fn keep_issuer(&mut self) {
        let Some(wanted) = self.wanted.issuer() else { return };
        match self.issuer.keep(&self.secrets, &wanted).await {
            Ok(is_written) => self.untouched |= is_written,
            Err(error) => {
                self.writes.with_label_values(&["error"]).inc();
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the gateway could not be told who issues the tokens of pods; it is tried again"
                );
            }
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        let mut known = Vec::with_capacity(self.settings.shards);
        for number in 0..self.settings.shards {
            known.push(secret::read(&self.secrets, &self.settings.name(number)).await?);
        }
        self.known = Some(known);
        self.issuer.forget();
        self.read_at = Instant::now();
        Ok(())
    }

    async fn write(&mut self, number: usize, changes: Changes) -> anyhow::Result<()> {
        let name = self.settings.name(number);
        let Some(known) = self.known.as_mut().and_then(|known| known.get_mut(number)) else { return Ok(()) };
        secret::write(&self.secrets, &name, known, changes).await
    }

    /// Has the kubelets of the gateway's pods look at once. An error: not all of them know.
    async fn touch(&self) -> anyhow::Result<()> {
        let listed = timeout(REQUEST_TIMEOUT, self.pods.list(&ListParams::default().labels(&self.settings.pods))).await;
        let listed = listed.map_err(|_| anyhow::anyhow!("no answer in {REQUEST_TIMEOUT:?}"))?;
        let now = Timestamp::now().as_millisecond().to_string();
        let patch = Patch::Merge(json!({"metadata": {"annotations": {names::POD_GENERATION: now}}}));
        let parameters = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
        let mut failed = None;
        for pod in listed.context("failed to list the gateway's pods")? {
            let Some(name) = pod.metadata.name else { continue };
            let patched = timeout(REQUEST_TIMEOUT, self.pods.patch(&name, &parameters, &patch)).await;
            match patched {
                Ok(Ok(_)) => {}
                // It is gone by now.
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => {}
                Ok(Err(error)) => {
                    failed.get_or_insert(anyhow::Error::from(error).context(format!("failed to touch the pod {name}")));
                }
                Err(_) => {
                    failed.get_or_insert(anyhow::anyhow!("no answer in {REQUEST_TIMEOUT:?} about the pod {name}"));
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn report(&mut self, left_out: BTreeSet<String>) {
        for namespace in left_out.difference(&self.left_out) {
            let number = shard_of(namespace, self.settings.shards);
            let entries = self.known.iter().flatten().nth(number).and_then(Option::as_ref);
            let largest = entries.into_iter().flatten().max_by_key(|(_, content)| content.len());
            tracing::error!(
                namespace,
                secret = self.settings.name(number),
                largest = largest.map(|(namespace, _)| namespace.as_str()),
                largest_bytes = largest.map(|(_, content)| content.len()),
                "the gateway's Secret for this namespace is full: new keys and routes do not reach the gateway, what has ended has. Set more \
                 gateway.shards, or spread the keys of the namespace that takes most of it over several"
            );
        }
        for namespace in self.left_out.difference(&left_out) {
            tracing::info!(namespace, "the namespace's config fits into the gateway's Secret again");
        }
        if left_out != self.left_out {
            // Their keys say so.
            let mut cluster = self.shared.cluster();
            cluster.dependent.extend(left_out.symmetric_difference(&self.left_out).cloned());
            cluster.left_out_of_gateway.clone_from(&left_out);
            drop(cluster);
            self.shared.notify();
        }
        self.left_out_gauge.set(i64::try_from(left_out.len()).unwrap_or(i64::MAX));
        self.left_out = left_out;
    }
}

#[cfg(test)]
mod tests;
