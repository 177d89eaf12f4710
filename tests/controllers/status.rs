//! Statuses: whose conditions are whose, what is said of keys that are meant to be refused, and lists that several people apply.

use std::time::Duration;

use anyhow::{Context, ensure};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::world::{World, api_key, team_and_key, until};

fn object(world: &World, resource: &str, namespace: &str, name: &str) -> anyhow::Result<Value> {
    let text = world.light.kubectl(&["get", resource, name, "-n", namespace, "-o", "json"], None)?;
    Ok(serde_json::from_str(&text)?)
}

/// Types of the conditions, in order.
fn types(object: &Value) -> Vec<String> {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().filter_map(|condition| condition["type"].as_str().map(str::to_owned)).collect()
}

/// Server-side apply as somebody.
fn apply_as(world: &World, manager: &str, subresource: Option<&str>, object: &Value) -> anyhow::Result<()> {
    let manager = format!("--field-manager={manager}");
    let subresource = subresource.map(|subresource| format!("--subresource={subresource}"));
    let mut arguments = vec!["apply", "--server-side", "-f", "-", &manager];
    arguments.extend(subresource.as_deref());
    world.light.kubectl(&arguments, Some(&object.to_string())).map(|_| ())
}

/// How often the operator wrote the status of a key.
fn writes(world: &World, key: &str) -> anyhow::Result<usize> {
    let requests = world.light.requests()?;
    let ours = requests.iter().filter(|one| one.writes() && one.agent.starts_with("vectoll-operator/"));
    Ok(ours.filter(|one| one.subresource == "status" && one.name == key).count())
}

/// A condition that somebody else keeps on a status stays, in peace, and goes when they take it back.
pub async fn foreign(world: &World) -> anyhow::Result<()> {
    let ns = "status-foreign";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let theirs = |conditions: Value| {
        json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ApiKey", "metadata": {"name": "alice", "namespace": ns},
            "status": {"conditions": conditions}})
    };
    let audited = json!([{"type": "policy.example/Audited", "status": "True", "reason": "Seen", "message": "by hand",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let before = writes(world, "status-foreign/alice")?;
    apply_as(world, "auditor", Some("status"), &theirs(audited.clone()))?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let is_there = |object: &Value| types(object).iter().any(|kind| kind == "policy.example/Audited");
    let key = object(world, "apikey", ns, "alice")?;
    ensure!(is_there(&key), "it was taken away: {:?}", types(&key));
    let after = writes(world, "status-foreign/alice")?;
    ensure!(after == before, "{} writes for a condition of somebody else", after - before);
    // A change of ours leaves it where it is.
    world.light.apply(&api_key(ns, "alice", ", suspended: true"))?;
    let key = world.until_key(ns, "alice", "Suspended", "True/Suspended").await?;
    let conditions = key.status.context("no status")?.conditions;
    let kept = conditions.iter().find(|one| one.type_ == "policy.example/Audited").context("it went with a change")?;
    ensure!(kept.message == "by hand" && kept.observed_generation.is_none(), "{kept:?}");
    // It is still theirs: when they say it no more it goes, and ours stay.
    apply_as(world, "auditor", Some("status"), &theirs(json!([])))?;
    let key = object(world, "apikey", ns, "alice")?;
    ensure!(!is_there(&key) && types(&key).contains(&"Ready".to_owned()), "{:?}", types(&key));
    Ok(())
}

/// Two people apply one backend each, and one sets a limit for a model beside the other's: neither takes away the other's.
pub fn merged(world: &World) -> anyhow::Result<()> {
    let ns = "status-merged";
    world.namespace(ns)?;
    let route = |backend: &str, weight: u32| {
        json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "ModelRoute", "metadata": {"name": "both", "namespace": ns},
            "spec": {"models": ["both"], "backends": [{"name": backend, "weight": weight, "builtin": {}}]}})
    };
    let team = |model: &str, rate: u32| {
        json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": "Team", "metadata": {"name": "both", "namespace": ns},
            "spec": {"modelLimits": [{"model": model, "limits": {"requestsPerMinute": rate}}]}})
    };
    for (manager, backend, weight) in [("anna", "one", 1), ("ben", "two", 1), ("anna", "one", 7)] {
        apply_as(world, manager, None, &route(backend, weight))?;
        apply_as(world, manager, None, &team(backend, weight))?;
    }
    let names = |list: &Value, field: &str| -> Vec<String> {
        let entries = list.as_array().cloned().unwrap_or_default();
        let mut names: Vec<String> =
            entries.iter().filter_map(|entry| entry[field].as_str().map(str::to_owned)).collect();
        names.sort();
        names
    };
    let route = object(world, "modelroute", ns, "both")?;
    ensure!(names(&route["spec"]["backends"], "name") == ["one", "two"], "{}", route["spec"]);
    ensure!(route["spec"]["backends"][0]["weight"] == 7, "{}", route["spec"]);
    let team = object(world, "team", ns, "both")?;
    ensure!(names(&team["spec"]["modelLimits"], "model") == ["one", "two"], "{}", team["spec"]);
    Ok(())
}

/// What is refused because its owner wants it so is as it should be, and says what it is.
pub async fn refused(world: &World) -> anyhow::Result<()> {
    let ns = "status-refused";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    world.until_key(ns, "alice", "Ready", "True/Ready").await?;
    world.light.apply(&api_key(ns, "alice", ", suspended: true, expiresAt: \"2026-01-01T00:00:00Z\""))?;
    let key = world.until_key(ns, "alice", "Suspended", "True/Suspended").await?;
    let said = |kind: &str| {
        let conditions = key.status.iter().flat_map(|status| &status.conditions);
        conditions.clone().find(|one| one.type_ == kind).map(|one| format!("{}/{}", one.status, one.reason))
    };
    ensure!(said("Expired").as_deref() == Some("True/Expired"), "{:?}", said("Expired"));
    ensure!(said("Ready").as_deref() == Some("True/Ready"), "{:?}", said("Ready"));
    world.until_config(ns, "refuses the key", |config, _| config.keys.first()?.suspended.then_some(())).await?;
    let team = |suspended: bool| {
        format!(
            "{{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {{name: team, namespace: {ns}}}, spec: {{suspended: \
             {suspended}}}}}"
        )
    };
    world.light.apply(&team(true))?;
    world.until_other("team", ns, "team", "Suspended", "True/Suspended").await?;
    world.until_other("team", ns, "team", "Ready", "True/Ready").await?;
    // As Flux and Helm wait for it.
    let wait = ["wait", "--for=condition=Ready", "team/team", "apikey/alice", "-n", ns, "--timeout=10s"];
    world.light.kubectl(&wait, None)?;
    world.light.apply(&team(false))?;
    world.light.apply(&api_key(ns, "alice", ", expiresAt: \"2126-01-01T00:00:00Z\""))?;
    world.until_key(ns, "alice", "Expired", "False/NotExpired").await?;
    until("an event for each turn", async || {
        let (of_key, of_team) = (world.events(ns, "alice")?, world.events(ns, "team")?);
        let has = |events: &[String], wanted: &[&str]| wanted.iter().all(|one| events.iter().any(|event| event == one));
        let are_there = has(&of_key, &["Suspended", "Resumed", "Expired", "NotExpired"])
            && has(&of_team, &["Suspended", "Resumed"]);
        Ok(are_there.then_some(()))
    })
    .await
}

/// An event tells as much as the API server takes.
pub async fn told(world: &World) -> anyhow::Result<()> {
    let ns = "status-told";
    world.namespace(ns)?;
    let names: Vec<String> = (0..30).map(|n| format!("n{n}-{}", "x".repeat(50))).collect();
    world.light.apply(&format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {{name: team, namespace: {ns}}}, spec: {{routeNamespaces: [{}]}}}}",
        names.join(", ")
    ))?;
    world.until_other("team", ns, "team", "Ready", "False/RefNotPermitted").await?;
    let path = "jsonpath={.items[?(@.reason==\"RefNotPermitted\")].note}";
    let note = until("the event", async || {
        let note = world.light.kubectl(&["get", "events.events.k8s.io", "-n", ns, "-o", path], None)?;
        Ok((!note.is_empty()).then_some(note))
    })
    .await?;
    ensure!(note.len() == 1024, "{} bytes: {note}", note.len());
    Ok(())
}

/// Restored under new UIDs, a Team and its key go on with the accounts that they had; nobody gets another's.
pub async fn restored(world: &World) -> anyhow::Result<()> {
    let ns = "status-restored";
    world.namespace(ns)?;
    world.light.apply(&team_and_key(ns, "alice", ""))?;
    let old = world.until_key(ns, "alice", "Ready", "True/Ready").await?.uid().context("no UID")?;
    let old_team = object(world, "team", ns, "team")?["metadata"]["uid"].as_str().context("no UID")?.to_owned();
    world.light.kubectl(&["delete", "apikey/alice", "team/team", "-n", ns], None)?;
    let restored = |kind: &str, name: &str, account: &str, spec: Value| {
        json!({"apiVersion": "vectoll.dev/v1alpha1", "kind": kind, "spec": spec,
            "metadata": {"name": name, "namespace": ns, "annotations": {"vectoll.dev/account": account}}})
        .to_string()
    };
    let of_team = json!({"teamRef": {"name": "team"}});
    world.light.apply(&restored("Team", "team", &old_team, json!({})))?;
    world.light.apply(&restored("ApiKey", "alice", &old, of_team.clone()))?;
    world
        .until_config(ns, "goes on with the accounts", |config, _| {
            let (team, key) = (config.teams.first()?, config.keys.first()?);
            (team.uid.as_str() == old_team && key.uid.as_str() == old).then_some(())
        })
        .await?;
    let new = world.until_key(ns, "alice", "Ready", "True/Ready").await?.uid().context("no UID")?;
    ensure!(new != old, "the same object");
    // Somebody else's, whether it is carried on or a resource's own, is refused; and what is no UID.
    world.light.apply(&restored("ApiKey", "carried", &old, of_team.clone()))?;
    world.until_key(ns, "carried", "Accepted", "False/Invalid").await?;
    world.light.apply(&restored("ApiKey", "own", &new, of_team.clone()))?;
    let refused = world.until_key(ns, "own", "Accepted", "False/Invalid").await?;
    let conditions = refused.status.context("no status")?.conditions;
    let message = &conditions.first().context("no condition")?.message;
    ensure!(message.contains("metadata.annotations[vectoll.dev/account]: the account"), "{message}");
    world.light.apply(&restored("Team", "thief", &old_team, json!({})))?;
    world.until_other("team", ns, "thief", "Accepted", "False/Invalid").await?;
    world.light.apply(&restored("ApiKey", "typo", "alice", of_team))?;
    world.until_key(ns, "typo", "Accepted", "False/Invalid").await?;
    // Without the annotation it is a resource like any other.
    world.light.kubectl(&["annotate", "apikey", "own", "-n", ns, "vectoll.dev/account-"], None)?;
    world.until_key(ns, "own", "Ready", "True/Ready").await?;
    Ok(())
}

/// Lists of models that match nothing, and routes that nobody reaches, say so over namespaces, quietly, and stay ready.
pub async fn matched(world: &World) -> anyhow::Result<()> {
    let (owner, user) = ("status-matched", "status-matched-user");
    for namespace in [owner, user] {
        world.namespace(namespace)?;
    }
    let team = |models: &str| {
        format!(
            "{{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {{name: team, namespace: {owner}}}, spec: \
             {{allowedNamespaces: {{from: All}}, models: {models}}}}}\n"
        )
    };
    let key = |models: &str| {
        format!(
            "{{apiVersion: vectoll.dev/v1alpha1, kind: ApiKey, metadata: {{name: alice, namespace: {user}}}, spec: \
             {{teamRef: {{name: team, namespace: {owner}}}, models: {models}}}}}\n"
        )
    };
    let route = |namespace: &str, model: &str, allowed: &str| {
        format!(
            "{{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {{name: {model}, namespace: {namespace}}}, spec: {{models: \
             [{model}], allowedNamespaces: {{from: {allowed}}}, backends: [{{name: a, builtin: {{}}}}]}}}}\n"
        )
    };
    world.light.apply(&team("[small, of-the-user, smal]"))?;
    world.light.apply(&key("[small, of-the-user, other]"))?;
    world.until_other("team", owner, "team", "ModelsMatched", "False/NoMatch").await?;
    world.light.apply(&route(owner, "small", "Same"))?;
    world.until_other("modelroute", owner, "small", "Reachable", "False/NotAllowed").await?;
    world.light.apply(&route(owner, "small", "All"))?;
    world.until_other("modelroute", owner, "small", "Reachable", "True/Reachable").await?;
    // The Team's owner is told of what its user's own routes serve, too.
    world.light.apply(&route(user, "of-the-user", "Same"))?;
    world.until_other("modelroute", user, "of-the-user", "Reachable", "True/Reachable").await?;
    let said = async |kind: &str, namespace: &str, name: &str, words: &str| {
        until(words, async || {
            let found = object(world, kind, namespace, name)?;
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let of = |kind: &str| conditions.iter().find(|one| one["type"] == kind).cloned().unwrap_or_default();
            let message = of("ModelsMatched")["message"].as_str().unwrap_or_default().to_owned();
            Ok((message.starts_with(words) && of("Ready")["status"] == "True").then_some(()))
        })
        .await
    };
    said("team", owner, "team", "spec.models: smal is of no ModelRoute that keys of this Team").await?;
    said("apikey", user, "alice", "spec.models: other is of no ModelRoute that this key").await?;
    // A list of another namespace's Team takes a model away, and the route says so where it is.
    world.light.apply(&team("[small]"))?;
    world.until_other("modelroute", user, "of-the-user", "Reachable", "False/NotListed").await?;
    said("apikey", user, "alice", "spec.models: other is of no ModelRoute that this key can reach; of-the-user is not")
        .await?;
    world.until_other("team", owner, "team", "ModelsMatched", "True/ModelsMatched").await?;
    world.light.apply(&key("[small]"))?;
    world.until_key(user, "alice", "ModelsMatched", "True/ModelsMatched").await?;
    // Said once, and in no event.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = writes(world, &format!("{user}/alice"))?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(writes(world, &format!("{user}/alice"))? == before, "it is written again and again");
    for (namespace, name) in [(owner, "team"), (owner, "small"), (user, "alice"), (user, "of-the-user")] {
        let events = world.events(namespace, name)?;
        ensure!(!events.iter().any(|reason| ["NoMatch", "NotListed", "NotAllowed"].contains(&&**reason)), "{events:?}");
    }
    Ok(())
}
