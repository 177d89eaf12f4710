//! How sidecars reach the gateway: its URL is a setting, its CA is in the Secret of its certificate and may change.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::{sync::watch, time::timeout};

use super::gather::REQUEST_TIMEOUT;
use crate::{
    delivery::{DeliverySetting, GatewayAddress, GatewayPlace},
    webhook::certificate::CA_CRT,
};

/// How often the Secret is looked at,
const CHECK_PERIOD: Duration = Duration::from_secs(30);
/// and while it is not there yet.
const FIRST_CHECK_PERIOD: Duration = Duration::from_secs(1);

/// The Secret of the gateway's certificate.
#[derive(Clone, Debug)]
pub(super) struct CertificateSecret {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// The setting, and each that comes of another CA in the Secret. Without a Secret, or where the CA is a setting, it stays as it is.
pub(super) fn follow(
    client: Client,
    setting: DeliverySetting,
    secret: Option<CertificateSecret>,
) -> watch::Receiver<Arc<DeliverySetting>> {
    let (tell, told) = watch::channel(Arc::new(setting.clone()));
    if let (GatewayPlace::At(GatewayAddress { url, ca: None }), Some(secret)) = (setting.gateway, secret) {
        tokio::spawn(async move {
            let mut is_failing = false;
            loop {
                let read = ca(&client, &secret).await;
                let is_there = matches!(read, Ok(Some(_)));
                match read {
                    Ok(found) => {
                        is_failing = false;
                        let ca = found.flatten();
                        let gateway = GatewayPlace::At(GatewayAddress { url: url.clone(), ca });
                        let new = DeliverySetting { default: setting.default, gateway };
                        tell.send_if_modified(|known| {
                            let is_other = **known != new;
                            *known = Arc::new(new);
                            is_other
                        });
                    }
                    // What was known stays.
                    Err(error) if !is_failing => {
                        is_failing = true;
                        tracing::warn!(
                            secret = secret.name,
                            error = format!("{error:#}"),
                            "the CA of the gateway's certificate cannot be read: sidecars go by the last one"
                        );
                    }
                    Err(_) => {}
                }
                tokio::time::sleep(if is_there { CHECK_PERIOD } else { FIRST_CHECK_PERIOD }).await;
            }
        });
    }
    told
}

/// The CA; none in a Secret that names none, as of a certificate that well-known ones sign; nothing where there is no Secret.
#[allow(clippy::option_option, reason = "no Secret is not one without a CA")]
async fn ca(client: &Client, secret: &CertificateSecret) -> anyhow::Result<Option<Option<Vec<u8>>>> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &secret.namespace);
    let asked = timeout(REQUEST_TIMEOUT, secrets.get_opt(&secret.name)).await;
    let present = asked.map_err(|_| anyhow::anyhow!("no answer in {REQUEST_TIMEOUT:?}"))?;
    let present = present.context("failed to read the Secret")?;
    Ok(present.map(|secret| {
        let ca = secret.data.unwrap_or_default().remove(CA_CRT).map(|ca| ca.0);
        ca.filter(|ca| String::from_utf8_lossy(ca).contains("BEGIN CERTIFICATE"))
    }))
}
