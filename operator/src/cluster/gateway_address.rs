//! How sidecars reach the gateway: its URL is a setting, its CA is in a Secret and may change.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::{sync::watch, time::timeout};

use super::gather::REQUEST_TIMEOUT;
use crate::{
    delivery::{DeliverySetting, GatewayAddress, GatewayCa, GatewayPlace},
    webhook::certificate::CA_CRT,
};

/// How often the Secret is looked at,
const CHECK_PERIOD: Duration = Duration::from_secs(30);
/// and while it is not there yet.
const FIRST_CHECK_PERIOD: Duration = Duration::from_secs(1);
/// How long a CA is trusted beside the one that came after it: until all of the gateway's pods have the new certificate.
const OVERLAP: Duration = Duration::from_hours(1);

/// The Secret with the CA of the gateway's certificate.
#[derive(Clone, Debug)]
pub(super) struct CaSecret {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// The setting, and each that comes of another CA in the Secret. Without a Secret to look at, or where the CA is a setting, it stays as it is.
pub(super) fn follow(
    client: Client,
    setting: DeliverySetting,
    secret: Option<CaSecret>,
) -> watch::Receiver<Arc<DeliverySetting>> {
    let (GatewayPlace::At(GatewayAddress { url, ca: GatewayCa::WellKnown }), Some(secret)) = (&setting.gateway, secret)
    else {
        return watch::channel(Arc::new(setting)).1;
    };
    let url = url.clone();
    let with = move |ca| {
        let gateway = GatewayPlace::At(GatewayAddress { url: url.clone(), ca });
        Arc::new(DeliverySetting { gateway, ..setting.clone() })
    };
    let (sender, receiver) = watch::channel(with(GatewayCa::Unknown));
    tokio::spawn(async move {
        let mut trusted_cas = TrustedCas::default();
        let mut is_failing = false;
        loop {
            let read = read(&client, &secret).await;
            let is_there = matches!(read, Ok(Some(_)));
            match read {
                Ok(found) => {
                    is_failing = false;
                    trusted_cas.take(found, Instant::now());
                    sender.send_if_modified(|setting| {
                        let new = with(trusted_cas.trusted());
                        let is_other = *setting != new;
                        *setting = new;
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
    receiver
}

/// What the Secret says; nothing where there is none.
async fn read(client: &Client, secret: &CaSecret) -> anyhow::Result<Option<GatewayCa>> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &secret.namespace);
    let asked = timeout(REQUEST_TIMEOUT, secrets.get_opt(&secret.name)).await;
    let present = asked.map_err(|_| anyhow::anyhow!("no answer in {REQUEST_TIMEOUT:?}"))?;
    Ok(present.context("failed to read the Secret")?.map(ca_of))
}

/// The CA in a Secret. One that names none is of a certificate that well-known ones sign.
fn ca_of(secret: Secret) -> GatewayCa {
    let ca = secret.data.unwrap_or_default().remove(CA_CRT).map(|ca| ca.0);
    let ca = ca.filter(|ca| String::from_utf8_lossy(ca).contains("BEGIN CERTIFICATE"));
    ca.map_or(GatewayCa::WellKnown, GatewayCa::These)
}

/// The CAs to trust, by what was read of the Secret so far.
#[derive(Debug, Default)]
struct TrustedCas {
    last: Option<GatewayCa>,
    /// The CAs before that one, and until when they are trusted as well.
    before: Option<(Vec<u8>, Instant)>,
}

impl TrustedCas {
    /// Takes in what was read. A Secret that is gone, as while it is made anew, says nothing.
    fn take(&mut self, found: Option<GatewayCa>, now: Instant) {
        self.before.take_if(|(_, until)| *until <= now);
        let Some(found) = found.filter(|found| self.last.as_ref() != Some(found)) else { return };
        let before = self.last.replace(found);
        if let (Some(GatewayCa::These(before)), Some(GatewayCa::These(_))) = (before, &self.last) {
            self.before = Some((before, now + OVERLAP));
        }
    }

    fn trusted(&self) -> GatewayCa {
        match (&self.last, &self.before) {
            (None, _) => GatewayCa::Unknown,
            (Some(GatewayCa::These(last)), Some((before, _))) => {
                GatewayCa::These([last.as_slice(), b"\n", before].concat())
            }
            (Some(last), _) => last.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ca(name: &str) -> GatewayCa {
        GatewayCa::These(name.as_bytes().to_vec())
    }

    #[test]
    fn a_ca_that_cannot_be_seen_stays_and_one_that_changes_is_trusted_beside_the_new_one() {
        let now = Instant::now();
        let mut trusted_cas = TrustedCas::default();
        trusted_cas.take(None, now);
        assert_eq!(trusted_cas.trusted(), GatewayCa::Unknown, "what namespaces have goes on");
        trusted_cas.take(Some(ca("old")), now);
        trusted_cas.take(None, now);
        assert_eq!(trusted_cas.trusted(), ca("old"), "the Secret is made anew");
        trusted_cas.take(Some(ca("new")), now);
        trusted_cas.take(Some(ca("new")), now + OVERLAP / 2);
        assert_eq!(trusted_cas.trusted(), ca("new\nold"));
        trusted_cas.take(None, now + OVERLAP);
        assert_eq!(trusted_cas.trusted(), ca("new"));
        // To a certificate of a public CA.
        trusted_cas.take(Some(GatewayCa::WellKnown), now + OVERLAP);
        assert_eq!(trusted_cas.trusted(), GatewayCa::WellKnown);
    }
}
