//! The operator's Deployment, its Lease, and the webhook. Pure.

use jiff::Timestamp;
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration, apps::v1::Deployment, coordination::v1::Lease,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::finding::Finding;
use crate::{plugin::duration::until, webhook::certificate::not_after};

/// An operator, as its Deployment describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::plugin) struct Installation {
    pub(in crate::plugin) namespace: String,
    pub(in crate::plugin) name: String,
    pub(in crate::plugin) lease: String,
    pub(super) webhook: String,
    pub(super) tls_secret: String,
    /// The `ConfigMap` with what is injected.
    pub(super) injection: Option<String>,
    /// The port of the page; none: it serves none.
    pub(in crate::plugin) page: Option<u16>,
}

impl Installation {
    pub(in crate::plugin) fn of(deployment: &Deployment) -> Option<Self> {
        let (namespace, name) = (deployment.metadata.namespace.clone()?, deployment.metadata.name.clone()?);
        let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
        let arguments: Vec<&String> =
            pod.containers.iter().flat_map(|container| container.args.iter().flatten()).collect();
        let flag = |flag: &str, default: &str| {
            let value = arguments.iter().find_map(|argument| argument.strip_prefix(flag)?.strip_prefix('='));
            value.unwrap_or(default).to_owned()
        };
        let page = flag("--page-listen", "").rsplit(':').next().and_then(|port| port.parse().ok());
        let volumes = pod.volumes.iter().flatten();
        let injection = volumes
            .filter(|volume| volume.name == "injection")
            .find_map(|volume| Some(volume.config_map.as_ref()?.name.clone()));
        // The defaults are those of the operator's own command line.
        Some(Self {
            namespace,
            name,
            lease: flag("--lease", "vectoll-operator"),
            webhook: flag("--webhook-configuration", "vectoll"),
            tls_secret: flag("--webhook-tls-secret", "vectoll-webhook-tls"),
            injection,
            page,
        })
    }
}

pub(super) fn deployments(found: &[Deployment]) -> Vec<Finding> {
    if found.is_empty() {
        let hint = "install the chart, or name the namespace with --operator-namespace; an operator that was installed otherwise is not found";
        return vec![Finding::bad("no Deployment of the operator is there", hint)];
    }
    found.iter().flat_map(deployment).collect()
}

fn deployment(found: &Deployment) -> Vec<Finding> {
    let name = format!(
        "Deployment {}/{}",
        found.metadata.namespace.as_deref().unwrap_or_default(),
        found.metadata.name.as_deref().unwrap_or_default()
    );
    let wanted = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let available = found.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default();
    let hint = "events and logs of its pods say why";
    let mut all = vec![match available {
        0 => Finding::bad(format!("{name}: no replica is available, {wanted} are wanted"), hint),
        _ if available < wanted => {
            Finding::notable(format!("{name}: {available} of {wanted} replicas are available"), hint)
        }
        _ => Finding::good(format!("{name}: {available} of {wanted} replicas are available")),
    }];
    let labels = found.metadata.labels.as_ref();
    let version = labels.and_then(|labels| labels.get("app.kubernetes.io/version"));
    let ours = env!("CARGO_PKG_VERSION");
    if let Some(version) = version {
        all.push(if version == ours {
            Finding::good(format!("the operator is of version {version}, as this program"))
        } else {
            Finding::notable(
                format!("the operator is of version {version}, this program of {ours}"),
                "what this program says of limits and prices may differ: use that of the operator's release",
            )
        });
    }
    all
}

/// Who acts.
pub(super) fn leader(of: &Installation, lease: Option<&Lease>, now: Timestamp) -> Finding {
    let name = format!("Lease {}/{}", of.namespace, of.lease);
    let hint = "no replica acts: keys are neither made nor delivered. The log of the operator's pods says why";
    let Some(spec) = lease.and_then(|lease| lease.spec.as_ref()) else {
        return Finding::bad(format!("{name} is not there"), hint);
    };
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty());
    let renewed = spec.renew_time.as_ref().map(|time| time.0);
    let (Some(holder), Some(renewed)) = (holder, renewed) else {
        return Finding::bad(format!("{name} is held by nobody"), hint);
    };
    let lasts = i64::from(spec.lease_duration_seconds.unwrap_or(15));
    // A clock may differ a little.
    let age = now.duration_since(renewed).as_secs();
    if age > lasts + 5 {
        return Finding::bad(format!("{name} was renewed last {age} s ago, by {holder}"), hint);
    }
    Finding::good(format!("{name} is held by {holder}"))
}

/// Days before its end at which a certificate is worth a word. The operator renews its own long before.
const SOON_DAYS: i64 = 7;

/// Whether the API server can call the webhook.
pub(super) fn webhook(of: &Installation, found: Option<&MutatingWebhookConfiguration>, now: Timestamp) -> Finding {
    let name = format!("MutatingWebhookConfiguration {}", of.webhook);
    let hint = "pods that ask for a sidecar are refused. The operator, or cert-manager, writes the bundle: their logs say why not";
    let Some(found) = found else {
        return Finding::bad(format!("{name} is not there"), "no pod gets a sidecar: helm upgrade brings it back");
    };
    let bundles: Vec<&[u8]> = found
        .webhooks
        .iter()
        .flatten()
        .map(|webhook| webhook.client_config.ca_bundle.as_ref().map_or(&[][..], |bundle| &bundle.0))
        .collect();
    if bundles.is_empty() || bundles.iter().any(|bundle| bundle.is_empty()) {
        return Finding::bad(format!("{name} has no CA bundle"), hint);
    }
    // One that lasts is enough.
    let ends: Option<Vec<Timestamp>> = bundles.iter().map(|bundle| latest_end(bundle)).collect();
    match ends.and_then(|ends| ends.into_iter().min()) {
        None => Finding::bad(format!("the CA bundle of {name} cannot be read"), hint),
        Some(end) => ending(&format!("the CA of {name}"), end, hint, now),
    }
}

/// When a certificate ends.
pub(super) fn ending(what: &str, end: Timestamp, hint: &str, now: Timestamp) -> Finding {
    let left = end.duration_since(now).as_secs();
    if left <= 0 {
        Finding::bad(format!("{what} ended at {end}"), hint)
    } else if left < SOON_DAYS * 86_400 {
        Finding::notable(format!("{what} ends in {}", until(end, now)), hint)
    } else {
        Finding::good(format!("{what} ends in {}", until(end, now)))
    }
}

/// The end of the certificate in PEM that lasts longest.
fn latest_end(pem: &[u8]) -> Option<Timestamp> {
    CertificateDer::pem_slice_iter(pem).filter_map(|certificate| not_after(&certificate.ok()?)).max()
}

/// The end of the first certificate in PEM: the server's own.
pub(super) fn leaf_end(pem: &[u8]) -> Option<Timestamp> {
    not_after(&CertificateDer::pem_slice_iter(pem).next()?.ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use serde_json::json;

    use super::*;
    use crate::plugin::check::finding::Mark;

    fn made() -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "vectoll", "namespace": "vectoll-system", "labels": {"app.kubernetes.io/version": "0.0.9"}},
            "spec": {"replicas": 2, "selector": {}, "template": {"spec": {
                "containers": [{"name": "operator", "args": ["run", "--lease=mine", "--webhook-configuration=hook"]}],
                "volumes": [{"name": "injection", "configMap": {"name": "vectoll-injection"}}]}}},
            "status": {"availableReplicas": 1},
        }))
        .unwrap()
    }

    #[test]
    fn an_installation_is_what_its_deployment_says() {
        let of = Installation::of(&made()).unwrap();
        assert_eq!((&*of.lease, &*of.webhook, &*of.tls_secret), ("mine", "hook", "vectoll-webhook-tls"));
        assert_eq!(of.injection.as_deref(), Some("vectoll-injection"));
        let found = deployments(&[made()]);
        assert_eq!((found[0].mark, found[1].mark), (Mark::Notable, Mark::Notable));
        assert!(found[0].message.contains("1 of 2") && found[1].message.contains("0.0.9"), "{found:?}");
        assert_eq!(deployments(&[])[0].mark, Mark::Bad);
    }

    #[test]
    fn a_lease_that_is_not_renewed_has_no_holder() {
        let of = Installation::of(&made()).unwrap();
        let lease = |holder: &str| -> Lease {
            serde_json::from_value(
                json!({"metadata": {}, "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15,
                                          "renewTime": "2026-11-24T10:00:00.000000Z"}}),
            )
            .unwrap()
        };
        let at =
            |seconds| "2026-11-24T10:00:00Z".parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds);
        assert_eq!(leader(&of, Some(&lease("one")), at(10)).mark, Mark::Good);
        assert_eq!(leader(&of, Some(&lease("one")), at(21)).mark, Mark::Bad);
        assert_eq!(leader(&of, Some(&lease("")), at(10)).mark, Mark::Bad);
        assert_eq!(leader(&of, None, at(10)).mark, Mark::Bad);
    }

    #[test]
    fn a_webhook_needs_a_bundle_that_lasts() {
        let of = Installation::of(&made()).unwrap();
        let ca = rcgen::generate_simple_self_signed(vec!["ca".to_owned()]).unwrap().cert.pem();
        let with = |bundle: &str| -> MutatingWebhookConfiguration {
            let bundle = k8s_openapi::ByteString(bundle.as_bytes().to_vec());
            serde_json::from_value(
                json!({"metadata": {}, "webhooks": [{"name": "a", "admissionReviewVersions": [], "sideEffects": "None",
                                          "clientConfig": {"caBundle": bundle}}]}),
            )
            .unwrap()
        };
        let now = "2026-11-24T10:00:00Z".parse().unwrap();
        assert_eq!(webhook(&of, Some(&with(&ca)), now).mark, Mark::Good);
        let much_later = "9000-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(webhook(&of, Some(&with(&ca)), much_later).mark, Mark::Bad);
        for (bundle, said) in [("", "has no CA bundle"), ("hello", "cannot be read")] {
            assert!(webhook(&of, Some(&with(bundle)), now).message.contains(said));
        }
        assert!(webhook(&of, None, now).message.contains("is not there"));
        assert_eq!(ending("it", now + jiff::SignedDuration::from_hours(24), "", now).mark, Mark::Notable);
    }
}
