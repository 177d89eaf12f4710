//! The webhook's certificate in the cluster: the replica that acts keeps it in a Secret, all of them serve what is there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context;
use futures_util::{StreamExt, pin_mut};
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use prometheus::{IntGauge, Registry};
use rustls::sign::CertifiedKey;
use serde_json::json;
use tokio::sync::watch;

use super::names;
use crate::webhook::certificate::{self, CA_CRT, Renewal, TLS_CRT, TLS_KEY};

/// How often certificate and CA bundle are looked after: an upgrade of the chart may have written over the bundle.
const CHECK_PERIOD: Duration = Duration::from_secs(10);

/// The certificate that the webhook shows, as soon as there is one.
pub(super) type Shown = watch::Receiver<Option<Arc<CertifiedKey>>>;

/// What the webhook is called.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) configuration: String,
    pub(super) secret: String,
}

/// When the certificate ends that is shown. A handle.
#[derive(Clone, Debug)]
pub(super) struct Expiry(IntGauge);

impl Expiry {
    /// Registers it.
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = IntGauge::new(
            "vectoll_operator_webhook_certificate_expiry_timestamp_seconds",
            "When the webhook's certificate ends; 0: there is none yet.",
        )?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(Self(gauge))
    }

    fn record(&self, certificate: &CertifiedKey) {
        let end = certificate.cert.first().and_then(|leaf| certificate::not_after(leaf));
        self.0.set(end.map_or(0, Timestamp::as_second));
    }
}

/// Hands on the certificate of the Secret whenever it changes, for ever. What cannot be read leaves the last one in use.
pub(super) async fn follow(
    client: Client,
    webhook: Webhook,
    shown: watch::Sender<Option<Arc<CertifiedKey>>>,
    expiry: Expiry,
) {
    let api: Api<Secret> = Api::namespaced(client, &webhook.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", webhook.secret));
    let events = kube::runtime::watcher(api, config).default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let secret = match event {
            Ok(Event::Apply(secret) | Event::InitApply(secret)) => secret,
            Ok(Event::Init | Event::InitDone | Event::Delete(_)) => continue,
            Err(error) => {
                tracing::warn!(%error, "watching the webhook's certificate failed; it is tried again");
                continue;
            }
        };
        match certificate::read(&secret.data.unwrap_or_default()) {
            Ok(certificate) => {
                tracing::info!(secret = webhook.secret, "the webhook's certificate was read");
                expiry.record(&certificate);
                shown.send_replace(Some(certificate));
            }
            Err(error) => tracing::error!(secret = webhook.secret, %error, "the webhook's certificate cannot be used"),
        }
    }
}

/// Keeps certificate and CA bundle good while this replica leads, for ever.
pub(super) async fn maintain(client: Client, webhook: Webhook, mut leads: watch::Receiver<bool>) {
    loop {
        let acts = *leads.borrow_and_update();
        if acts && let Err(error) = look_after(&client, &webhook).await {
            tracing::warn!(error = format!("{error:#}"), "the webhook's certificate could not be looked after");
        }
        tokio::select! {
            () = tokio::time::sleep(CHECK_PERIOD) => {}
            changed = leads.changed() => if changed.is_err() { return },
        }
    }
}

async fn look_after(client: &Client, webhook: &Webhook) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &webhook.namespace);
    let present = secrets.get_opt(&webhook.secret).await.context("failed to read the Secret")?;
    let names = certificate::dns_names(&webhook.service, &webhook.namespace);
    let current = present.as_ref().and_then(|secret| secret.data.as_ref());
    match certificate::renew(current, &names, Timestamp::now())? {
        Renewal::Keep { ca_bundle } => announce(client, webhook, ca_bundle).await,
        Renewal::Replace { tls_crt, tls_key, ca_crt } => {
            // First the CA, then what it signed: at no time is something served that is not trusted.
            announce(client, webhook, ca_crt.clone()).await?;
            let data = [(TLS_CRT, tls_crt), (TLS_KEY, tls_key), (CA_CRT, ca_crt)];
            let data = data.into_iter().map(|(name, pem)| (name.to_owned(), ByteString(pem))).collect();
            write(&secrets, &webhook.secret, present, data).await?;
            tracing::info!(secret = webhook.secret, "the webhook has a new certificate");
            Ok(())
        }
    }
}

/// Writes certificate, key and CAs, in PEM, by their entries, over the Secret that there is, or makes it.
pub(super) async fn write(
    secrets: &Api<Secret>,
    name: &str,
    present: Option<Secret>,
    data: BTreeMap<String, ByteString>,
) -> anyhow::Result<()> {
    let parameters = PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
    let written = if let Some(mut secret) = present {
        secret.data = Some(data);
        secrets.replace(name, &parameters, &secret).await
    } else {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let type_ = Some("kubernetes.io/tls".to_owned());
        secrets.create(&parameters, &Secret { metadata, type_, data: Some(data), ..Secret::default() }).await
    };
    written.context("failed to write the Secret")?;
    Ok(())
}

/// Tells the API server which CAs to trust, if it does not know.
async fn announce(client: &Client, webhook: &Webhook, bundle: Vec<u8>) -> anyhow::Result<()> {
    let api: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let name = &webhook.configuration;
    let present = api.get(name).await.with_context(|| format!("failed to read the webhook configuration {name}"))?;
    let hooks = present.webhooks.unwrap_or_default();
    if hooks.iter().all(|hook| hook.client_config.ca_bundle.as_ref().is_some_and(|known| known.0 == bundle)) {
        return Ok(());
    }
    let bundle = ByteString(bundle);
    let hooks: Vec<_> =
        hooks.iter().map(|hook| json!({"name": hook.name, "clientConfig": {"caBundle": bundle}})).collect();
    // A strategic merge goes by the webhooks' names and leaves all else as it is.
    let patch = Patch::Strategic(json!({
        "metadata": {"resourceVersion": present.metadata.resource_version},
        "webhooks": hooks,
    }));
    let parameters = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(name, &parameters, &patch).await.with_context(|| format!("failed to write the CA to {name}"))?;
    tracing::info!(configuration = name, "the API server knows the webhook's CA");
    Ok(())
}
