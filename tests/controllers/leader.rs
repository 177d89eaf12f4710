//! Two replicas: one acts, the other takes over.

use std::time::{Duration, Instant};

use anyhow::ensure;
use kube::Api;
use nix::sys::signal::Signal;
use vectoll_crds::ApiKey;
use vectoll_tests::{
    cluster::{Light, Operator},
    pair::poll,
};

use crate::world::{api_key, team_and_key};

pub async fn takeover() -> anyhow::Result<()> {
    let light = Light::start().await?;
    let mut first = Operator::start(&light, "first", &[]).await?;
    let mut second = Operator::start(&light, "second", &[]).await?;
    let leads = async |operator: &Operator| -> anyhow::Result<bool> {
        Ok(operator.metrics().await?.value("vectoll_operator_leader", &[]) == Some(1.0))
    };
    poll::until("the first to lead", Duration::from_mins(1), async || Ok(leads(&first).await?.then_some(()))).await?;
    ensure!(!leads(&second).await?, "two lead");
    let api = Api::<ApiKey>::namespaced(light.client().await?, "default");
    let ready = async |name: &str, deadline: u64| {
        poll::until(name, Duration::from_secs(deadline), async || {
            let status = api.get(name).await?.status.unwrap_or_default();
            Ok(status.conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True").then_some(()))
        })
        .await
    };
    light.apply(&team_and_key("default", "before", ""))?;
    ready("before", 10).await?;

    // Killed: the other one takes over when the Lease has run out, and does what was left.
    let killed = Instant::now();
    first.end(Signal::SIGKILL).await?;
    light.apply(&api_key("default", "between", ""))?;
    ready("between", 75).await?;
    eprintln!("figure: after kill -9 the other replica acted within {:.1} s", killed.elapsed().as_secs_f64());
    ensure!(leads(&second).await?, "who acted?");

    // Stopped: the Lease is given back, so that the next one need not wait.
    let mut third = Operator::start(&light, "third", &[]).await?;
    let stopped = Instant::now();
    ensure!(second.end(Signal::SIGTERM).await?.success(), "{}", second.log());
    light.apply(&api_key("default", "after", ""))?;
    ready("after", 15).await?;
    eprintln!("figure: after SIGTERM the other replica acted within {:.1} s", stopped.elapsed().as_secs_f64());

    // Away for longer than a leader holds out: whoever gave up leads again when the API server is back.
    light.component("kill", "kube-apiserver")?;
    tokio::time::sleep(Duration::from_secs(13)).await;
    ensure!(!leads(&third).await?, "it leads although it cannot renew");
    light.component("start", "kube-apiserver")?;
    let back = Instant::now();
    poll::until("kubectl apply", Duration::from_mins(1), async || {
        Ok(light.apply(&api_key("default", "later", "")).ok())
    })
    .await?;
    ready("later", 60).await?;
    eprintln!(
        "figure: after an outage of 13 s the operator acted {:.1} s after the API server",
        back.elapsed().as_secs_f64()
    );
    third.end(Signal::SIGTERM).await?;

    // Nothing was lost and nothing done twice: a key is made by one create, and never again.
    let creates = light.requests()?.into_iter().filter(|one| one.verb == "create" && one.resource == "secrets").count();
    ensure!(creates == 5, "{creates} Secrets were created for 4 keys and the namespace's config");
    Ok(())
}
