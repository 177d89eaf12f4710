//! `page`: forwards to the operator that acts, and opens its page in a browser with a token of the user's.
//!
//! kubectl forwards: it is there for whoever calls a plugin of it, and knows every way to an API server.

mod forward;
mod handover;
mod token;

use std::io::Write;

use anyhow::{Context, bail};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::process::Command;

use self::{forward::Forward, handover::Handover};
use super::{
    check::{Installation, operators},
    cli::{ClusterOptions, Page},
    connect::{Connection, config, connect},
};

/// Serves until the user ends it, or kubectl ends.
pub(super) async fn run(settings: &Page, out: &mut impl Write) -> anyhow::Result<()> {
    let Page { kubeconfig, context, operator_namespace, service_account, port, no_open } = settings;
    let cluster = ClusterOptions { kubeconfig: kubeconfig.clone(), context: context.clone(), namespace: None };
    let Connection { client, namespace } = connect(&cluster).await?;
    let found: Vec<Installation> =
        operators(&client, operator_namespace.as_deref()).await?.iter().filter_map(Installation::of).collect();
    let of = only(&found)?;
    let page = of.page.with_context(|| {
        format!(
            "the operator {}/{} serves no page: set the chart's page.enabled, or --page-listen of `run`",
            of.namespace, of.name
        )
    })?;
    let token = match service_account {
        Some(account) => token::of_service_account(&client, account, &namespace).await?,
        None => token::of_user(&config(&cluster).await?.auth_info).await?,
    };
    let leases: Api<Lease> = Api::namespaced(client, &of.namespace);
    // Who may not read it is led to any replica: the page says what that one does not know.
    let lease = leases.get_opt(&of.lease).await.ok().flatten();
    let target = target(of, lease.as_ref());
    let mut forward = Forward::start(&cluster, &of.namespace, &target, *port, page).await?;
    let handover = Handover::start(format!("http://{}/page/", forward.address), token).await?;
    writeln!(out, "The page of {}/{}, for one browser and once:\n\n    {}\n", of.namespace, of.name, handover.url)?;
    writeln!(
        out,
        "It goes when this ends: Ctrl-C. Later, in a browser that has been there: http://{}/page/",
        forward.address
    )?;
    out.flush()?;
    if !no_open {
        browse(&handover.url);
    }
    tokio::select! {
        ended = forward.ended() => ended,
        asked = tokio::signal::ctrl_c() => asked.context("failed to listen for SIGINT"),
    }
}

fn only(found: &[Installation]) -> anyhow::Result<&Installation> {
    match found {
        [] => bail!(
            "no Deployment of the operator is there: install the chart, or name the namespace with --operator-namespace"
        ),
        [one] => Ok(one),
        several => {
            let names: Vec<String> = several.iter().map(|of| format!("{}/{}", of.namespace, of.name)).collect();
            bail!("there are several operators, {}: name one's namespace with --operator-namespace", names.join(", "))
        }
    }
}

/// What is forwarded to: the pod of the replica that acts, which knows most.
fn target(of: &Installation, lease: Option<&Lease>) -> String {
    let holder = lease.and_then(|lease| lease.spec.as_ref()?.holder_identity.clone());
    // Without a setting of its own a replica calls itself by its pod's name.
    match holder.filter(|holder| holder.starts_with(&format!("{}-", of.name))) {
        Some(pod) => format!("pod/{pod}"),
        None => format!("deployment/{}", of.name),
    }
}

/// Opens a browser, if this machine has one. What is printed is enough without.
fn browse(url: &str) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = std::process::Stdio::null;
    drop(Command::new(program).arg(url).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    fn operator(namespace: &str, argument: &str) -> Installation {
        let deployment = json!({"metadata": {"name": "vectoll", "namespace": namespace}, "spec": {"selector": {}, "template":
            {"spec": {"containers": [{"name": "operator", "args": ["run", argument]}]}}}});
        Installation::of(&serde_json::from_value(deployment).unwrap()).unwrap()
    }

    #[test]
    fn the_replica_that_acts_is_the_one_that_is_shown() {
        let of = operator("system", "--page-listen=0.0.0.0:8082");
        assert_eq!(of.page, Some(8082));
        assert_eq!(operator("system", "--page-listen=[::]:8083").page, Some(8083));
        assert_eq!(operator("system", "--lease=other").page, None);
        let held = |by: &str| serde_json::from_value::<Lease>(json!({"spec": {"holderIdentity": by}})).unwrap();
        assert_eq!(target(&of, Some(&held("vectoll-7d9-abc"))), "pod/vectoll-7d9-abc");
        for lease in [None, Some(held("")), Some(held("somebody"))] {
            assert_eq!(target(&of, lease.as_ref()), "deployment/vectoll");
        }
    }

    #[test]
    fn of_several_operators_one_has_to_be_named() {
        let two = [operator("a", ""), operator("b", "")];
        assert_eq!(only(&two[..1]).unwrap().namespace, "a");
        let error = only(&two).unwrap_err().to_string();
        assert!(error.contains("a/vectoll, b/vectoll") && error.contains("--operator-namespace"), "{error}");
        assert!(only(&[]).unwrap_err().to_string().contains("install the chart"));
    }
}
