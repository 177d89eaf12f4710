//! The gateway's certificate in the cluster: the replica that acts keeps it in a Secret, which the gateway mounts.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::watch;

use super::webhook_certificate::write;
use crate::webhook::certificate::renew_by_lasting_ca;

/// How often it is looked after.
const CHECK_PERIOD: Duration = Duration::from_secs(30);

/// What the gateway is called.
#[derive(Clone, Debug)]
pub(super) struct Gateway {
    pub(super) namespace: String,
    pub(super) secret: String,
    pub(super) names: Vec<String>,
}

/// Keeps the certificate good while this replica leads, for ever.
pub(super) async fn maintain(client: Client, gateway: Gateway, mut leads: watch::Receiver<bool>) {
    loop {
        let acts = *leads.borrow_and_update();
        if acts && let Err(error) = look_after(&client, &gateway).await {
            tracing::warn!(error = format!("{error:#}"), "the gateway's certificate could not be looked after");
        }
        tokio::select! {
            () = tokio::time::sleep(CHECK_PERIOD) => {}
            changed = leads.changed() => if changed.is_err() { return },
        }
    }
}

async fn look_after(client: &Client, gateway: &Gateway) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &gateway.namespace);
    let present = secrets.get_opt(&gateway.secret).await.context("failed to read the Secret")?;
    let current = present.as_ref().and_then(|secret| secret.data.as_ref());
    if let Some(data) = renew_by_lasting_ca(current, &gateway.names, Timestamp::now())? {
        write(&secrets, &gateway.secret, present, data).await?;
        tracing::info!(secret = gateway.secret, "the gateway has a new certificate");
    }
    Ok(())
}
