//! What Argo CD and Flux make of our resources, by the files that the chart ships for them.
//!
//! Argo CD's Lua runs in redis-server, without the libraries that Argo CD does not give it. Flux's CEL runs in the API server, whose engine is
//! Flux's own: a policy that refuses every dry run says what it has found.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use vectoll_tests::store::{PASSWORD, Store};

use crate::cluster::{Cluster, eventually};
use crate::tool::{read, repository};

/// What both say of an object, as `Healthy: message` and `Current`.
pub type Said = (String, String);

pub struct Health<'a> {
    cluster: &'a Cluster,
    store: &'a Store,
    scripts: BTreeMap<String, String>,
}

const KINDS: [(&str, &str); 3] = [("ApiKey", "apikeys"), ("Team", "teams"), ("ModelRoute", "modelroutes")];

impl<'a> Health<'a> {
    /// Reads the files and sets both engines up.
    pub fn new(cluster: &'a Cluster, store: &'a Store) -> anyhow::Result<Self> {
        let argo: Value = serde_yaml::from_str(&read(repository("charts/vectoll/gitops/argocd-cm.yaml"))?)?;
        let flux: Value = serde_yaml::from_str(&read(repository("charts/vectoll/gitops/flux-kustomization.yaml"))?)?;
        let (mut scripts, mut policies) = (BTreeMap::new(), BTreeSet::new());
        for (kind, resource) in KINDS {
            let key = format!("resource.customizations.health.vectoll.dev_{kind}");
            let script = argo["data"][&key].as_str().with_context(|| format!("no {key}"))?;
            scripts.insert(kind.to_owned(), script.to_owned());
            let exprs = flux["spec"]["healthCheckExprs"].as_array().context("no healthCheckExprs")?;
            let wanted = |one: &&Value| one["kind"] == kind && one["apiVersion"] == "vectoll.dev/v1alpha1";
            let of_kind = exprs.iter().find(wanted).with_context(|| format!("no healthCheckExprs of {kind}"))?;
            let message = expression(of_kind)?;
            cluster.apply(&policy(resource, &message))?;
            policies.insert(message);
        }
        // The table below is held for one kind.
        let first = scripts.values().next().context("no scripts")?;
        let same = policies.len() == 1 && scripts.values().all(|script| script == first);
        ensure!(same, "the kinds have different scripts or expressions");
        ensure!(argo["data"].as_object().is_some_and(|data| data.len() == KINDS.len()), "a key of no kind of ours");
        Ok(Self { cluster, store, scripts })
    }

    /// Of an object as it stands in the cluster, with these conditions in place of its own.
    pub async fn of(&self, object: &Value) -> anyhow::Result<Said> {
        Ok((self.argo(object).await?, self.flux(object)?))
    }

    async fn argo(&self, object: &Value) -> anyhow::Result<String> {
        let kind = object["kind"].as_str().context("no kind")?;
        // Argo CD opens the base library, `table` and a part of `os`.
        let code = format!(
            "local obj = cjson.decode(ARGV[1])\nlocal encode = cjson.encode\nlocal string, math, coroutine, bit, struct, cjson, \
             cmsgpack, redis, KEYS, ARGV\nlocal function health()\n{}\nend\nreturn encode(health())",
            self.scripts[kind]
        );
        let mut connection = self.store.log_in("default", PASSWORD).await?;
        let said: String =
            redis::cmd("EVAL").arg(code).arg(0).arg(object.to_string()).query_async(&mut connection).await?;
        let said: Value = serde_json::from_str(&said)?;
        let text = |field: &str| said[field].as_str().with_context(|| format!("{field} is no text: {said}"));
        let (status, message) = (text("status")?, text("message")?);
        let known = ["Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"];
        ensure!(known.contains(&status), "Argo CD knows no {status}");
        Ok(if message.is_empty() { status.to_owned() } else { format!("{status}: {message}") })
    }

    /// In Flux's order; where an expression cannot be evaluated it waits.
    fn flux(&self, object: &Value) -> anyhow::Result<String> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (kind, name, namespace) = (text("/kind"), text("/metadata/name"), text("/metadata/namespace"));
        let patch = json!({"status": object["status"]}).to_string();
        let arguments = ["patch", kind, name, "--namespace", namespace, "--subresource=status", "--type=merge"];
        let mut found = None;
        // A policy comes into force within moments.
        eventually(&format!("CEL of {kind} {name}"), || {
            let said = self.cluster.kubectl(&[&arguments[..], &["--dry-run=server", "--patch", &patch]].concat())?;
            let health = said.err.split("health=").nth(1).and_then(|rest| rest.split_whitespace().next());
            let failed = said.err.contains("failed expression").then_some("Unknown");
            found = health.or(failed).map(str::to_owned);
            Ok(found.is_some())
        })?;
        found.context("nothing was found")
    }
}

/// What Flux's expressions make of a status, in Flux's order. `map` gives the object's fields the names that they have there.
fn expression(exprs: &Value) -> anyhow::Result<String> {
    let of = |name: &str| exprs[name].as_str().with_context(|| format!("no {name} in {exprs}"));
    let (in_progress, failed, current) = (of("inProgress")?, of("failed")?, of("current")?);
    let found =
        format!("({in_progress}) ? 'InProgress' : ({failed}) ? 'Failed' : ({current}) ? 'Current' : 'InProgress'");
    Ok(format!("'health=' + [object.metadata].map(metadata, [object.status].map(status, {found})[0])[0]"))
}

/// A policy that refuses a dry run by what an expression makes of the object.
fn policy(resource: &str, message: &str) -> String {
    let name = format!("flux-{resource}");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["vectoll.dev"], "apiVersions": ["*"], "resources": [format!("{resource}/status")],
                "operations": ["UPDATE"],
            }]},
            "matchConditions": [{"name": "dry-run", "expression": "request.dryRun"}],
            "validations": [{"expression": "false", "messageExpression": message}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    format!("{policy}\n---\n{binding}")
}

/// Statuses that would take long to bring about, or are gone in a moment: type, status and reason of each condition, in the operator's order.
const WRITTEN: &[(&[&str], &str, &str)] = &[
    // On its way.
    (
        &[
            "Accepted True Accepted",
            "ResolvedRefs False SecretPending",
            "Programmed Unknown Pending",
            "Ready False SecretPending",
        ],
        "Progressing: SecretPending: why",
        "InProgress",
    ),
    (
        &[
            "Accepted True Accepted",
            "ResolvedRefs True ResolvedRefs",
            "Programmed False Pending",
            "Ready False Pending",
        ],
        "Progressing: Pending: why",
        "InProgress",
    ),
    (
        &["Accepted True Accepted", "ResolvedRefs True ResolvedRefs", "Programmed Unknown Pending", "Ready True Ready"],
        "Healthy",
        "Current",
    ),
    // It will not get better by itself.
    (
        &[
            "Accepted True Accepted",
            "ResolvedRefs True ResolvedRefs",
            "Programmed False ConfigFull",
            "Ready False ConfigFull",
        ],
        "Degraded: ConfigFull: why",
        "Failed",
    ),
    (
        &[
            "Accepted True Accepted",
            "ResolvedRefs True ResolvedRefs",
            "Programmed False WriteFailed",
            "Ready False WriteFailed",
        ],
        "Degraded: WriteFailed: why",
        "Failed",
    ),
    (
        &[
            "Accepted False Unreadable",
            "ResolvedRefs False TeamNotFound",
            "Programmed False Unreadable",
            "Ready False Unreadable",
        ],
        "Degraded: Unreadable: why",
        "Failed",
    ),
    // Another resource may bring it.
    (
        &[
            "Accepted True Accepted",
            "ResolvedRefs False RefNotPermitted",
            "Programmed Unknown Pending",
            "Ready False RefNotPermitted",
        ],
        "Degraded: RefNotPermitted: why",
        "InProgress",
    ),
    // As it is meant to be, and worth a word.
    (
        &[
            "Accepted True Accepted",
            "ResolvedRefs True ResolvedRefs",
            "BudgetExceeded True LimitReached",
            "Ready True Ready",
        ],
        "Healthy: LimitReached: why",
        "Current",
    ),
    (
        &[
            "Accepted True Accepted",
            "LimitsExact False StoreUnreachable",
            "BudgetWarning True ThresholdReached",
            "Ready True Ready",
        ],
        "Healthy",
        "Current",
    ),
    // Somebody else's conditions say nothing, and are of no generation.
    (&["policy.example/Ready False Broken", "Ready True Ready"], "Healthy", "Current"),
    (&["policy.example/Ready True Fine"], "Progressing: the operator has not judged this version yet", "InProgress"),
    (&[], "Progressing: the operator has not judged this version yet", "InProgress"),
];

/// Holds the table, by an object that is there.
pub async fn written(health: &Health<'_>, object: &Value) -> anyhow::Result<()> {
    let generation = object["metadata"]["generation"].as_i64().context("no generation")?;
    for (conditions, argo, flux) in WRITTEN {
        let found = health.of(&with(object, conditions, generation)).await?;
        ensure!(found == ((*argo).to_owned(), (*flux).to_owned()), "{conditions:?} is {found:?}");
    }
    // Of the version before: whatever it said.
    for conditions in [&["Ready True Ready"], &["Ready False Invalid"]] {
        let (argo, flux) = health.of(&with(object, conditions, generation - 1)).await?;
        ensure!(argo.starts_with("Progressing") && flux == "InProgress", "{conditions:?} of before: {argo} {flux}");
    }
    // Nothing was written at all.
    let mut bare = object.clone();
    bare["status"] = Value::Null;
    let flux = health.flux(&bare)?;
    bare.as_object_mut().context("a map")?.remove("status");
    let argo = health.argo(&bare).await?;
    ensure!(argo.starts_with("Progressing") && flux == "Unknown", "without a status: {argo} {flux}");
    Ok(())
}

fn with(object: &Value, conditions: &[&str], generation: i64) -> Value {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|one| {
            let mut words = one.split(' ');
            let mut word = || words.next().unwrap_or_default();
            let mut condition = json!({
                "type": word(), "status": word(), "reason": word(), "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let ours = !one.contains('/');
            if ours {
                condition["observedGeneration"] = json!(generation);
            }
            // As the operator has it: where all is well there is nothing to say.
            if condition["status"] == "False" || condition["type"] != "Ready" {
                condition["message"] = json!("why");
            }
            condition
        })
        .collect();
    let mut object = object.clone();
    object["status"] = json!({"observedGeneration": generation, "conditions": conditions});
    object
}
