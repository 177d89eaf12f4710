//! Many keys. `VECTOLL_SCALE_KEYS` and `VECTOLL_SCALE_NAMESPACES` say how many; `make bench` has 10,000 in 100.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use nix::sys::signal::Signal;
use vectoll_crds::{ApiKey, Team};
use vectoll_tests::{
    cluster::{Light, Operator},
    pair::poll,
};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub async fn many() -> anyhow::Result<()> {
    let (keys, namespaces) = (setting("VECTOLL_SCALE_KEYS", 2_000), setting("VECTOLL_SCALE_NAMESPACES", 20));
    let light = Light::start().await?;
    let client = light.client().await?;
    let mut operator = Operator::start(&light, "one", &[]).await?;
    let parameters = PostParams::default();
    for n in 0..namespaces {
        let namespace: Namespace =
            serde_json::from_value(serde_json::json!({"metadata": {"name": format!("scale-{n}")}}))?;
        Api::all(client.clone()).create(&parameters, &namespace).await?;
        let team: Team =
            serde_yaml::from_str("{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {name: team}, spec: {}}")?;
        Api::namespaced(client.clone(), &format!("scale-{n}")).create(&parameters, &team).await?;
    }
    let key = |n: usize| -> anyhow::Result<ApiKey> {
        Ok(serde_yaml::from_str(&format!(
            "{{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {{name: key-{n}}}, spec: {{teamRef: {{name: team}}, \
             user: user-{n}, limits: {{requestsPerMinute: 60, tokensPerMinute: 10000}}, budget: {{limit: '10.00', period: Monthly}}}}}}"
        ))?)
    };
    let began = Instant::now();
    let made = stream::iter(0..keys).map(|n| {
        let api = Api::<ApiKey>::namespaced(client.clone(), &format!("scale-{}", n % namespaces));
        async move { api.create(&PostParams::default(), &key(n)?).await.map(|_| ()).map_err(anyhow::Error::from) }
    });
    let made: Vec<anyhow::Result<()>> = made.buffer_unordered(16).collect().await;
    made.into_iter().collect::<anyhow::Result<()>>()?;
    eprintln!(
        "figure: {keys} keys in {namespaces} namespaces were applied within {:.0} s",
        began.elapsed().as_secs_f64()
    );
    let ready = async || -> anyhow::Result<f64> {
        let metrics = operator.metrics().await?;
        Ok(metrics.sum("vectoll_operator_resources", &[("kind", "ApiKey"), ("ready", "true")]))
    };
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    let all = keys as f64;
    poll::until("all keys to be ready", Duration::from_mins(10), async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let metrics = operator.metrics().await?;
        let idle = metrics.value("vectoll_operator_queue_length", &[]) == Some(0.0);
        Ok((ready().await? >= all && idle).then_some(()))
    })
    .await?;
    eprintln!("figure: all were ready, their statuses written, after {:.0} s", began.elapsed().as_secs_f64());
    // Not only by its own word.
    let told = Api::<ApiKey>::all(client.clone()).list(&ListParams::default()).await?;
    let is_ready = |key: &&ApiKey| {
        let conditions = key.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
    };
    let written = told.items.iter().filter(is_ready).count();
    ensure!(written == keys, "{written} of {keys} statuses say Ready");

    // One key's edit among all of them.
    let secrets = Api::<Secret>::namespaced(client.clone(), "scale-0");
    let config = async || -> anyhow::Result<vectoll_config::v1::Config> {
        let secret = secrets.get("vectoll-sidecar").await?;
        let file = secret.data.unwrap_or_default().remove("config.v1.yaml").context("no config")?;
        Ok(vectoll_config::read_v1(std::str::from_utf8(&file.0)?)?)
    };
    let edited = Instant::now();
    light.kubectl(
        &["patch", "apikey", "key-0", "-n", "scale-0", "--type=merge", "-p", r#"{"spec":{"suspended":true}}"#],
        None,
    )?;
    poll::until("the edit", Duration::from_secs(10), async || {
        let key = config().await?.keys.into_iter().find(|key| key.name.name() == "key-0");
        Ok(key.filter(|key| key.suspended).map(|_| ()))
    })
    .await?;
    eprintln!("figure: one key's edit was in its config Secret after {:.2} s", edited.elapsed().as_secs_f64());

    let resident = operator.metrics().await?.value("process_resident_memory_bytes", &[]).context("no figure")?;
    eprintln!("figure: the operator takes {:.0} MiB", resident / 1024.0 / 1024.0);
    ensure!(resident < 200.0 * 1024.0 * 1024.0, "{resident} bytes");

    let writes = light.requests()?.into_iter().filter(|one| one.writes() && one.agent.starts_with("vectoll-operator/"));
    let mut by_kind = std::collections::BTreeMap::<String, usize>::new();
    for one in writes.filter(|one| one.resource != "leases") {
        *by_kind.entry(format!("{} {}/{}", one.verb, one.resource, one.subresource)).or_default() += 1;
    }
    eprintln!("figure: writes by the operator: {by_kind:?}");
    let statuses = by_kind.get("patch apikeys/status").copied().unwrap_or_default();
    // One to say that it works; a second one at most where it was seen before its Secret was.
    ensure!(statuses <= 2 * keys + 10, "{statuses} statuses were written for {keys} keys");
    operator.end(Signal::SIGTERM).await?;
    Ok(())
}
