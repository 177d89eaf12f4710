//! The operators' `/metrics`, with the roles that the chart gives operator and readers.

use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use vectoll_tests::{cluster::Operator, pair::poll};

use crate::cluster::Cluster;
use crate::tool::{NAMESPACE, repository};

#[test]
fn metrics_are_for_who_may_get_them_and_probes_for_all() -> anyhow::Result<()> {
    let cluster = Cluster::start()?;
    for name in ["prometheus", "somebody"] {
        cluster.kubectl(&["create", "serviceaccount", name, "--namespace=default"])?.ok()?;
    }
    let chart = repository("charts/vectoll").display().to_string();
    let readers = "metrics.readers[0].name=prometheus,metrics.readers[0].namespace=default";
    cluster.helm(&["install", "vectoll", &chart, "--set", "watchNamespaces={default}", "--set", readers])?.ok()?;
    let token = |namespace: &str, name: &str| {
        anyhow::Ok(cluster.kubectl(&["create", "token", name, "--namespace", namespace])?.ok()?.trim().to_owned())
    };
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.kubeconfig_of(&token(NAMESPACE, "vectoll")?)?)?;
    let (reader, other) = (token("default", "prometheus")?, token("default", "somebody")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let arguments = ["--watch-namespaces=default", "--metrics-authentication"];
        let mut operator = Operator::launch(&kubeconfig, NAMESPACE, "one", &arguments)?;
        // Probes are answered without a token.
        operator.ready().await?;
        let url = operator.admin_url("/metrics");
        let client = reqwest::Client::builder().no_proxy().build()?;
        let ask = async |authorization: Option<&str>| {
            let mut request = client.get(&url);
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            let answer = request.send().await?;
            anyhow::Ok((answer.status().as_u16(), answer.text().await?))
        };
        let made_up = format!("Bearer {}", &reader[..reader.len() - 8]);
        for (authorization, status) in [
            (None, 401),
            (Some(made_up.clone()), 401),
            (Some("Bearer abc".to_owned()), 401),
            (Some(format!("Basic {reader}")), 401),
            (Some(format!("Bearer {other}")), 403),
            (Some(format!("Bearer {reader}")), 200),
        ] {
            let (found, body) = ask(authorization.as_deref()).await?;
            ensure!(found == status, "{found} in place of {status}: {body}");
            ensure!(body.contains("vectoll_operator_leader") == (status == 200), "{status}: {body}");
        }
        // Who is refused asks again at once, and is not asked about again: nothing here floods the API server.
        let before = std::time::Instant::now();
        for _ in 0..50 {
            ensure!(ask(Some(&format!("Bearer {other}"))).await?.0 == 403);
        }
        ensure!(before.elapsed() < Duration::from_secs(5), "50 refusals took {:?}", before.elapsed());
        poll::until("no complaint of a missing privilege", Duration::from_secs(5), async || {
            Ok((!operator.log().to_lowercase().contains("forbidden")).then_some(()))
        })
        .await
        .with_context(|| operator.log())?;
        ensure!(operator.end(Signal::SIGTERM).await?.success(), "{}", operator.log());
        ensure!(!operator.log().contains(&other), "a token stands in the log");
        Ok(())
    })
}
