//! Config Secrets: what is in them, who is told, and that nothing is written without need.

use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};

use crate::world::{World, entry, team_and_key, until};

fn route(namespace: &str, name: &str, model: &str, more: &str) -> String {
    format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {{name: {name}, namespace: {namespace}}}, spec: \
         {{models: [{model}]{more}}}}}\n"
    )
}

const BUILTIN: &str = ", backends: [{name: one, builtin: {}}]";

pub async fn consent(world: &World) -> anyhow::Result<()> {
    let (owner, user) = ("consent-owner", "consent-user");
    world.namespace(owner)?;
    world.namespace(user)?;
    let team = |more: &str| {
        format!(
            "{{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {{name: team, namespace: {owner}}}, spec: {{{more}}}}}\n"
        )
    };
    world.light.apply(&team(""))?;
    world.light.apply(&format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {{name: alice, namespace: {user}}}, spec: {{teamRef: \
         {{name: team, namespace: {owner}}}}}}}"
    ))?;
    world.light.apply(&route(owner, "shared", "shared-model", BUILTIN))?;
    world.until_key(user, "alice", "ResolvedRefs", "False/RefNotPermitted").await?;
    world.light.apply(&team("allowedNamespaces: {from: Selector, selector: {matchLabels: {tier: gold}}}"))?;
    world.light.kubectl(&["label", "namespace", user, "tier=gold"], None)?;
    world.until_key(user, "alice", "Ready", "True/Ready").await?;
    world.until_config(user, "has the key", |config, _| (!config.keys.is_empty()).then_some(())).await?;
    let (config, _) = world.config(user).await?.context("no config")?;
    ensure!(config.routes.is_empty(), "a route crossed without consent: {:?}", config.routes);
    world.light.apply(&route(
        owner,
        "shared",
        "shared-model",
        &format!("{BUILTIN}, allowedNamespaces: {{from: All}}"),
    ))?;
    world.until_config(user, "has the shared route", |config, _| (config.routes.len() == 1).then_some(())).await?;
    world.light.kubectl(&["label", "namespace", user, "tier-"], None)?;
    world.until_key(user, "alice", "ResolvedRefs", "False/RefNotPermitted").await?;
    world
        .until_config(user, "is empty again", |config, _| {
            (config.keys.is_empty() && config.routes.is_empty()).then_some(())
        })
        .await
}

/// A Team below one of another namespace, which is below one of a third: all of them are in the config of the keys' namespace, for as long
/// as each allows the one below it, and without them there are no keys.
pub async fn tree(world: &World) -> anyhow::Result<()> {
    let (top, middle, user) = ("tree-top", "tree-middle", "tree-user");
    for namespace in [top, middle, user] {
        world.namespace(namespace)?;
    }
    let team = |namespace: &str, name: &str, spec: &str| {
        format!(
            "{{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {{name: {name}, namespace: {namespace}}}, spec: {{{spec}}}}}\n"
        )
    };
    let by_label = "allowedNamespaces: {from: Selector, selector: {matchLabels: {tier: gold}}}";
    let below = |name: &str, of: &str| format!("parentRef: {{name: {name}, namespace: {of}}}");
    world.light.apply(&team(user, "search", &below("division", middle)))?;
    world.light.apply(&format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {{name: alice, namespace: {user}}}, spec: {{teamRef: {{name: \
         search}}}}}}"
    ))?;
    world.until_other("team", user, "search", "ResolvedRefs", "False/RefNotPermitted").await?;
    world.until_key(user, "alice", "ResolvedRefs", "False/TeamNotAccepted").await?;
    let division = format!("{}, allowedNamespaces: {{from: All}}", below("org", top));
    world.light.apply(&team(middle, "division", &division))?;
    world.until_other("team", middle, "division", "ResolvedRefs", "False/RefNotPermitted").await?;
    world.until_other("team", user, "search", "ResolvedRefs", "False/ParentNotAccepted").await?;
    world.light.apply(&team(top, "org", &format!("{by_label}, limits: {{requestsPerMinute: 5}}")))?;
    world.light.kubectl(&["label", "namespace", middle, "tier=gold"], None)?;
    world.until_key(user, "alice", "Ready", "True/Ready").await?;
    world.until_other("team", user, "search", "Ready", "True/Ready").await?;
    let parents = |config: &vectoll_config::v1::Config| {
        let all =
            config.teams.iter().map(|team| (team.name.to_string(), team.parent.as_ref().map(ToString::to_string)));
        all.collect::<Vec<_>>()
    };
    let line = [
        (format!("{middle}/division"), Some(format!("{top}/org"))),
        (format!("{top}/org"), None),
        (format!("{user}/search"), Some(format!("{middle}/division"))),
    ];
    world.until_config(user, "has all three", |config, _| (parents(config) == line).then_some(())).await?;
    // An edit at the top reaches the bottom.
    world.light.apply(&team(top, "org", &format!("{by_label}, limits: {{requestsPerMinute: 6}}")))?;
    world
        .until_config(user, "has the edit", |config, _| {
            config.teams.iter().any(|team| team.limits.requests_per_minute == Some(6)).then_some(())
        })
        .await?;
    // Consent is taken back by a label, two namespaces away.
    world.light.kubectl(&["label", "namespace", middle, "tier-"], None)?;
    world.until_other("team", middle, "division", "ResolvedRefs", "False/RefNotPermitted").await?;
    world.until_key(user, "alice", "ResolvedRefs", "False/TeamNotAccepted").await?;
    world
        .until_config(user, "is empty", |config, _| (config.keys.is_empty() && config.teams.is_empty()).then_some(()))
        .await
}

pub async fn bad_route(world: &World) -> anyhow::Result<()> {
    let ns = "config-bad-route";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    world.light.apply(&route(ns, "good", "good-model", BUILTIN))?;
    let bad = ", backends: [{name: one, openAI: {baseURL: 'https://api.example.com:99999/v1'}}]";
    world.light.apply(&route(ns, "bad", "bad-model", bad))?;
    let message = world.until_other("modelroute", ns, "bad", "Accepted", "False/Invalid").await?;
    ensure!(message.contains("spec.backends[0].openAI.baseURL"), "{message}");
    world.until_other("modelroute", ns, "good", "Ready", "True/Ready").await?;
    world.light.apply(&route(ns, "same", "good-model", BUILTIN))?;
    world.until_other("modelroute", ns, "same", "Accepted", "False/Conflicted").await?;
    world
        .until_config(ns, "has the good route with a backend and the bad one without", |config, _| {
            let backends = |name: &str| {
                config.routes.iter().find(|route| route.name.name() == name).map(|route| route.backends.len())
            };
            (backends("good") == Some(1) && backends("bad") == Some(0)).then_some(())
        })
        .await
}

pub fn pod(namespace: &str, name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}, labels: {{vectoll.dev/contract: v1}}}}, \
         spec: {{containers: [{{name: app, image: none}}]}}}}\n"
    )
}

/// A Secret of someone else that has the config's name is not written over, and the keys say what is in the way.
pub async fn blocked(world: &World) -> anyhow::Result<()> {
    let ns = "config-blocked";
    world.namespace(ns)?;
    world.light.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: vectoll-sidecar, namespace: {ns}}}, stringData: {{mine: kept}}}}"
    ))?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    world.until_key(ns, "alice", "Ready", "False/ConfigBlocked").await?;
    let secret = world.secret(ns, "vectoll-sidecar").await?.context("it is gone")?;
    ensure!(entry(&secret, "mine").as_deref() == Some("kept"), "it was written over: {:?}", secret.data);
    world.light.kubectl(&["delete", "secret", "vectoll-sidecar", "-n", ns], None)?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    world.until_config(ns, "is there", |config, _| (config.keys.len() == 1).then_some(())).await
}

pub async fn pods(world: &World) -> anyhow::Result<()> {
    let ns = "config-pods";
    world.namespace(ns)?;
    let api = Api::<Pod>::namespaced(world.client.clone(), ns);
    world.light.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: provider, namespace: {ns}}}, stringData: {{key: sk-provider}}}}"
    ))?;
    let open_ai =
        ", backends: [{name: one, openAI: {baseURL: 'https://api.example.com/v1', apiKeySecretRef: {name: provider}}}]";
    world.light.apply(&route(ns, "remote", "remote-model", open_ai))?;
    world.light.apply(&team_and_key(ns, "alice", ", limits: {requestsPerMinute: 5}"))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    world
        .until_config(ns, "has no credential while no sidecar runs", |config, files| {
            (config.routes.len() == 1 && files.is_empty()).then_some(())
        })
        .await?;

    until("the default ServiceAccount", async || Ok(world.light.apply(&pod(ns, "one")).ok())).await?;
    world
        .until_config(ns, "has the credential", |_, files| {
            files.values().any(|value| value == "sk-provider").then_some(())
        })
        .await?;
    let touched = async |name: &str| -> anyhow::Result<Option<u64>> {
        let pod = api.get(name).await?;
        Ok(pod.annotations().get("vectoll.dev/config-generation").and_then(|value| value.parse().ok()))
    };
    // A credential that changes reaches files and pod.
    world.light.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: provider, namespace: {ns}}}, stringData: {{key: sk-changed}}}}"
    ))?;
    let generation = world
        .until_config(ns, "has the new credential", |config, files| {
            files.values().any(|value| value == "sk-changed").then_some(config.generation)
        })
        .await?;
    until("the pod to be touched", async || Ok(touched("one").await?.filter(|touched| *touched >= generation))).await?;
    // A second sidecar holds the full limit, too, and it is said.
    world.light.apply(&pod(ns, "two"))?;
    world.until_key(ns, "alice", "LimitsExact", "False/PerSidecar").await?;
    // A lost config never begins again before what the pods have seen.
    world.light.kubectl(&["delete", "secret", "vectoll-sidecar", "-n", ns], None)?;
    world.until_config(ns, "is there again", |config, _| (config.generation >= generation).then_some(())).await?;
    world.light.kubectl(&["delete", "pod", "--all", "-n", ns, "--force", "--grace-period=0"], None)?;
    world.until_config(ns, "has no credential any more", |_, files| files.is_empty().then_some(())).await?;
    world.light.kubectl(&["delete", "apikey", "alice", "-n", ns], None)?;
    until("the config to go", async || Ok(world.secret(ns, "vectoll-sidecar").await?.is_none().then_some(()))).await
}

pub async fn damaged(world: &World) -> anyhow::Result<()> {
    let ns = "config-damaged";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    let patch = r#"{"stringData": {"config.v1.yaml": "version: v1"}}"#;
    world.until_config(ns, "is there", |config, _| (config.keys.len() == 1).then_some(())).await?;
    world.light.kubectl(&["patch", "secret", "vectoll-sidecar", "-n", ns, "--type=merge", "-p", patch], None)?;
    world.until_config(ns, "is whole again", |config, _| (config.keys.len() == 1).then_some(())).await?;
    // What another manager has put into it goes, too, and then there is peace.
    let patch = r#"{"stringData": {"mine": "kept?"}}"#;
    let patch =
        ["patch", "secret", "vectoll-sidecar", "-n", ns, "--type=merge", "--field-manager=someone", "-p", patch];
    world.light.kubectl(&patch, None)?;
    let generation =
        world.until_config(ns, "is as it was", |config, files| files.is_empty().then_some(config.generation)).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (config, files) = world.config(ns).await?.context("no config")?;
    ensure!(files.is_empty() && config.generation == generation, "{} after {generation}", config.generation);
    Ok(())
}

/// What whoever may write pods and Secrets of a namespace can write keeps no deleted key alive there.
pub async fn lies(world: &World) -> anyhow::Result<()> {
    let ns = "config-lies";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    world.light.apply(&crate::world::api_key(ns, "bob", ""))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    world.until_key(ns, "bob", "Ready", "True/Ready").await?;
    world.until_config(ns, "has both", |config, _| (config.keys.len() == 2).then_some(())).await?;
    let finished = |generation: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: liar, namespace: {ns}, labels: {{vectoll.dev/contract: v1}}, annotations: \
             {{vectoll.dev/config-generation: '{generation}'}}}}, spec: {{containers: [{{name: app, image: none}}]}}}}\n"
        )
    };
    until("the default ServiceAccount", async || Ok(world.light.apply(&finished("18446744073709551615")).ok())).await?;
    let noted = "vectoll.dev/generation=18446744073709551613";
    world.light.kubectl(&["annotate", "secret", "vectoll-sidecar", "-n", ns, "--overwrite", noted], None)?;
    let values =
        world.light.kubectl(&["get", "secret", "alice", "-n", ns, "-o", "jsonpath={.metadata.annotations}"], None)?;
    ensure!(!values.contains("previous"), "{values}");
    // The value that pods send in place of a key, and more values than a key can have had.
    let end = "2999-01-01T00:00:00Z";
    let placeholder = format!("vectoll.dev/previous={}={end}", vectoll_config::KeyHash::of(b"vectoll-pod-key"));
    world.light.kubectl(&["annotate", "secret", "alice", "-n", ns, "--overwrite", &placeholder], None)?;
    world.light.kubectl(&["delete", "apikey", "bob", "-n", ns, "--wait=false"], None)?;
    world.until_config(ns, "has alice alone", |config, _| (config.keys.len() == 1).then_some(())).await?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;

    // Nor does a config that somebody has frozen.
    let frozen = ["patch", "secret", "vectoll-sidecar", "-n", ns, "--type=merge", "-p", r#"{"immutable": true}"#];
    world.light.kubectl(&frozen, None)?;
    world.light.kubectl(
        &["patch", "apikey", "alice", "-n", ns, "--type=merge", "-p", r#"{"spec":{"suspended":true}}"#],
        None,
    )?;
    world.until_config(ns, "has the edit", |config, _| config.keys.first()?.suspended.then_some(())).await?;
    until("a config that can be changed", async || {
        let secret = world.secret(ns, "vectoll-sidecar").await?;
        Ok(secret.filter(|secret| secret.immutable != Some(true)).map(|_| ()))
    })
    .await?;
    // Nor does a key's Secret: its rotation goes on.
    let before = world.value(ns, "alice").await?;
    let frozen = ["patch", "secret", "alice", "-n", ns, "--type=merge", "-p", r#"{"immutable": true}"#];
    world.light.kubectl(&frozen, None)?;
    world.light.kubectl(&["annotate", "apikey", "alice", "-n", ns, "vectoll.dev/rotate=1"], None)?;
    until("another value", async || {
        let secret = world.secret(ns, "alice").await?;
        let value = secret.as_ref().and_then(|secret| entry(secret, "key"));
        Ok(value.filter(|value| *value != before).map(|_| ()))
    })
    .await
}

/// A Secret that somebody has put under the name of a key to come is not the key's.
pub async fn planted(world: &World) -> anyhow::Result<()> {
    let ns = "config-planted";
    world.namespace(ns)?;
    let value = "sk-vt-a-value-that-somebody-chose";
    world.light.apply(&format!(
        "{{apiVersion: v1, kind: Secret, type: vectoll.dev/api-key, metadata: {{name: alice, namespace: {ns}, annotations: \
         {{vectoll.dev/api-key: alice}}}}, stringData: {{key: {value}}}}}"
    ))?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    world.until_key(ns, "alice", "ResolvedRefs", "False/SecretNotOwned").await?;
    let config = world.config(ns).await?;
    ensure!(config.is_none_or(|(config, _)| config.keys.is_empty()), "the planted value works");
    // Its owner may take it over, as after a restore from a backup.
    world.light.kubectl(&["annotate", "apikey", "alice", "-n", ns, "vectoll.dev/adopt-secret=true"], None)?;
    let key = world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    ensure!(world.value(ns, "alice").await? == value, "the value is another one");
    let secret = world.secret(ns, "alice").await?.context("no Secret")?;
    let owners = secret.metadata.owner_references.unwrap_or_default();
    ensure!(owners.len() == 1 && Some(&owners[0].uid) == key.metadata.uid.as_ref(), "{owners:?}");
    until("the event", async || Ok(world.events(ns, "alice")?.contains(&"SecretAdopted".to_owned()).then_some(())))
        .await
}

/// After everything above, an operator that has nothing to do does nothing.
pub async fn quiet(world: &World) -> anyhow::Result<()> {
    let writes = || -> anyhow::Result<Vec<String>> {
        let requests = world.light.requests()?;
        // The Lease is renewed all the time: that is what it is for.
        let ours = requests
            .into_iter()
            .filter(|one| one.writes() && one.agent.starts_with("vectoll-operator/") && one.resource != "leases");
        Ok(ours.map(|one| format!("{} {}/{} {}", one.verb, one.resource, one.subresource, one.name)).collect())
    };
    // Later changes of the scenarios before may still be on their way.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = writes()?.len();
    ensure!(before > 0, "the audit log shows nothing of the operator");
    // A change that changes nothing.
    world.light.kubectl(&["annotate", "apikey", "alice", "-n", "keys-made", "unrelated=1"], None)?;
    world.light.kubectl(&["label", "namespace", "keys-made", "unrelated=1"], None)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = writes()?;
    let needless = after.get(before..).unwrap_or_default();
    ensure!(needless.is_empty(), "{needless:?}");
    Ok(())
}
