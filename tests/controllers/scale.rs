//! Many keys. `VECTOLL_SCALE_KEYS` and `VECTOLL_SCALE_NAMESPACES` say how many; `make bench-operator` has 50,000 in 500. With
//! `VECTOLL_SCALE_SPENDING=1` all of them spend while edits are measured ([`Stage`]).

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use nix::sys::signal::Signal;
use vectoll_crds::{ApiKey, Team};
use vectoll_tests::{
    cluster::{Light, Operator},
    pair::poll,
};

use crate::{setting::setting, spending::Stage};

pub async fn many() -> anyhow::Result<()> {
    let (keys, namespaces) = (setting("VECTOLL_SCALE_KEYS", 2_000), setting("VECTOLL_SCALE_NAMESPACES", 20));
    let light = Light::start().await?;
    let client = light.client().await?;
    let stage = if setting("VECTOLL_SCALE_SPENDING", 0) == 1 { Some(Stage::start().await?) } else { None };
    let arguments: Vec<&str> = stage.iter().flat_map(|stage| &stage.arguments).map(String::as_str).collect();
    let mut operator = Operator::start(&light, "one", &arguments).await?;
    let probes = Probes::begin(&operator);
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
    revoked_in_the_rush(&light, &client, &operator).await?;
    // Some twenty times what it takes where nothing else runs.
    let deadline = Duration::from_mins(5).max(Duration::from_millis(200) * u32::try_from(keys)?);
    poll::until("all keys to be ready", deadline, async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let metrics = operator.metrics().await?;
        let idle = metrics.value("vectoll_operator_queue_length", &[]) == Some(0.0);
        Ok((ready().await? >= all && idle).then_some(()))
    })
    .await?;
    eprintln!("figure: all were ready, their statuses written, after {:.0} s", began.elapsed().as_secs_f64());
    let seconds = usize::try_from(began.elapsed().as_secs())?;
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

    if let Some(stage) = &stage {
        stage.measure(&light, &client, &operator).await.with_context(|| operator.log())?;
    }

    let peak = operator.peak_mib()?;
    eprintln!("figure: the operator took {peak} MiB at most");
    ensure!(usize::try_from(peak)? < 150 + keys / 100, "{peak} MiB");

    hostile(&light, &client, setting("VECTOLL_SCALE_HOSTILE_KEYS", 300)).await?;
    let slowest = probes.end().await?;
    eprintln!("figure: the slowest of all probes took {:.3} s", slowest.as_secs_f64());
    // Five times what is promised.
    ensure!(slowest < Duration::from_secs(5), "a probe took {slowest:?}");

    let writes = light.requests()?.into_iter().filter(|one| one.writes() && one.agent.starts_with("vectoll-operator/"));
    let mut by_kind = std::collections::BTreeMap::<String, usize>::new();
    for one in writes.filter(|one| one.resource != "leases") {
        *by_kind.entry(format!("{} {}/{}", one.verb, one.resource, one.subresource)).or_default() += 1;
    }
    eprintln!("figure: writes by the operator: {by_kind:?}");
    let statuses = by_kind.get("patch apikeys/status").copied().unwrap_or_default();
    // A config is written once for many keys, and never more often than every quarter of a second.
    let configs = by_kind.get("patch secrets/").copied().unwrap_or_default();
    if stage.is_none() {
        ensure!(configs <= namespaces * (4 * seconds + 10), "{configs} configs were written in {seconds} s");
        // One to say that it works; a second one at most where it was seen before its Secret was.
        ensure!(statuses <= 2 * keys + 10, "{statuses} statuses were written for {keys} keys");
    }
    operator.end(Signal::SIGTERM).await?;
    Ok(())
}

/// A key that is deleted while thousands are being made does not wait for them.
async fn revoked_in_the_rush(light: &Light, client: &Client, operator: &Operator) -> anyhow::Result<()> {
    let ready = poll::until("the first keys", Duration::from_mins(2), async || {
        let metrics = operator.metrics().await?;
        let ready = metrics.sum("vectoll_operator_resources", &[("kind", "ApiKey"), ("ready", "true")]);
        Ok((ready >= 100.0).then_some(ready))
    })
    .await?;
    // The first to be ready may be in other namespaces.
    let name = poll::until("a key with a value in the first namespace", Duration::from_mins(2), async || {
        let all = Api::<ApiKey>::namespaced(client.clone(), "scale-0").list(&ListParams::default()).await?;
        let works = |key: &&ApiKey| key.status.as_ref().is_some_and(|status| status.key_hint.is_some());
        Ok(all.items.iter().find(works).map(ResourceExt::name_any))
    })
    .await?;
    let secrets = Api::<Secret>::namespaced(client.clone(), "scale-0");
    let has = async || -> anyhow::Result<bool> {
        let file = secrets.get("vectoll-sidecar").await?.data.unwrap_or_default().remove("config.v1.yaml");
        let config = vectoll_config::read_v1(std::str::from_utf8(&file.context("no config")?.0)?)?;
        Ok(config.keys.iter().any(|key| key.name.name() == name))
    };
    poll::until("the key in the config", Duration::from_secs(30), async || Ok(has().await?.then_some(()))).await?;
    let deleted = Instant::now();
    light.kubectl(&["delete", "apikey", &name, "-n", "scale-0", "--wait=false"], None)?;
    poll::until("the key to leave the config", Duration::from_secs(10), async || Ok((!has().await?).then_some(())))
        .await?;
    eprintln!(
        "figure: with {ready} keys ready and the others under way a deleted key left the config after {:.2} s",
        deleted.elapsed().as_secs_f64()
    );
    light.apply(&crate::world::api_key("scale-0", &name, ""))
}

/// Asks for the probes all the time, and notes the slowest answer.
struct Probes {
    stop: tokio::sync::oneshot::Sender<()>,
    asking: tokio::task::JoinHandle<anyhow::Result<Duration>>,
}

impl Probes {
    fn begin(operator: &Operator) -> Self {
        let urls = ["/livez", "/readyz"].map(|path| operator.admin_url(path));
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let asking = tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            let client = reqwest::Client::new();
            loop {
                for url in &urls {
                    let began = Instant::now();
                    client.get(url).send().await?.error_for_status()?;
                    slowest = slowest.max(began.elapsed());
                }
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(50)) => {}
                    _ = &mut stopped => return Ok(slowest),
                }
            }
        });
        Self { stop, asking }
    }

    async fn end(self) -> anyhow::Result<Duration> {
        let _ = self.stop.send(());
        self.asking.await?
    }
}

/// One namespace with large routes and far more keys than fit into a config, which are edited all the time: what an edit in another one
/// takes beside it.
async fn hostile(light: &Light, client: &Client, keys: usize) -> anyhow::Result<()> {
    for namespace in ["hostile", "innocent"] {
        light.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"))?;
        light.apply(&crate::world::team_and_key(namespace, "alice", ""))?;
    }
    let backend = |n: usize| {
        let url = format!("https://host-{n}.example.com/{}", "x".repeat(1_000));
        serde_json::json!({"name": format!("b-{n}"), "openAI": {"baseURL": url}, "price": {"inputPerMillionTokens": "0.01"}})
    };
    let routes = Api::<vectoll_crds::ModelRoute>::namespaced(client.clone(), "hostile");
    for n in 0..16 {
        let route = serde_json::from_value(serde_json::json!({
            "apiVersion": "vectoll.dev/v1alpha1", "kind": "ModelRoute", "metadata": {"name": format!("route-{n}")},
            "spec": {"models": [format!("model-{n}")], "mixedSpaces": true, "backends": (0..16).map(backend).collect::<Vec<_>>()},
        }))?;
        routes.create(&PostParams::default(), &route).await?;
    }
    let api = Api::<ApiKey>::namespaced(client.clone(), "hostile");
    let key = |n: usize| -> anyhow::Result<ApiKey> {
        let models: Vec<String> = (0..24).map(|m| format!("model-{m}-{}", "y".repeat(100))).collect();
        let spec = serde_json::json!({"teamRef": {"name": "team"}, "models": models});
        let key = serde_json::json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ApiKey",
            "metadata": {"name": format!("key-{n}")}, "spec": spec});
        Ok(serde_json::from_value(key)?)
    };
    let made = stream::iter(0..keys).map(|n| {
        let api = api.clone();
        async move { api.create(&PostParams::default(), &key(n)?).await.map(|_| ()).map_err(anyhow::Error::from) }
    });
    let made: Vec<anyhow::Result<()>> = made.buffer_unordered(16).collect().await;
    made.into_iter().collect::<anyhow::Result<()>>()?;
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let editing = tokio::spawn(async move {
        for n in 0u64.. {
            let patch = serde_json::json!({"spec": {"user": format!("user-{n}")}});
            let name = format!("key-{}", n % u64::try_from(keys)?.max(1));
            api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                _ = &mut stopped => break,
            }
        }
        anyhow::Ok(())
    });
    let secrets = Api::<Secret>::namespaced(client.clone(), "innocent");
    let mut slowest = Duration::ZERO;
    for n in 0..10 {
        let suspended = n % 2 == 0;
        let patch = format!(r#"{{"spec":{{"suspended":{suspended}}}}}"#);
        let edited = Instant::now();
        light.kubectl(&["patch", "apikey", "alice", "-n", "innocent", "--type=merge", "-p", &patch], None)?;
        poll::until("the innocent edit", Duration::from_secs(10), async || {
            let Some(secret) = secrets.get_opt("vectoll-sidecar").await? else { return Ok(None) };
            let Some(file) = secret.data.unwrap_or_default().remove("config.v1.yaml") else { return Ok(None) };
            let config = vectoll_config::read_v1(std::str::from_utf8(&file.0)?)?;
            Ok(config.keys.first().filter(|key| key.suspended == suspended).map(|_| ()))
        })
        .await?;
        slowest = slowest.max(edited.elapsed());
    }
    let _ = stop.send(());
    editing.await??;
    eprintln!(
        "figure: beside a namespace of {keys} large keys and 256 large backends that is edited 50 times a second, an edit in another one \
         was in its config Secret after {:.2} s at most",
        slowest.as_secs_f64()
    );
    Ok(())
}
