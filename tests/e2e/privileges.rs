//! What the operator's own token can do, and what not, although its roles would let it.

use anyhow::ensure;

use crate::cluster::{Cluster, SYSTEM, pod};

pub fn denied(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-privileges";
    cluster.namespace(ns)?;
    cluster.api_key(ns, "alice", "")?;
    cluster.apply(&pod(ns, "app", "vectoll.dev/api-key: alice"))?;
    cluster.wait(ns, "condition=Ready", "pod/app")?;
    cluster.kubectl(&["create", "secret", "generic", "foreign", "-n", ns, "--from-literal=a=b"])?;
    let name = "jsonpath={.items[0].spec.template.spec.serviceAccountName}";
    let account = cluster.kubectl(&["get", "deployment", "-n", SYSTEM, "-o", name])?;
    let operator = format!("--as=system:serviceaccount:{SYSTEM}:{account}");
    let image = r#"{"spec": {"containers": [{"name": "app", "image": "evil"}]}}"#;
    let label = r#"{"metadata": {"labels": {"evil": "yes"}}}"#;
    let data = r#"{"stringData": {"a": "evil"}}"#;
    let kind = r#"{"metadata": {"annotations": {"a": "b"}}}"#;
    for arguments in [
        vec!["patch", "pod", "app", "-n", ns, "-p", image],
        vec!["patch", "pod", "app", "-n", ns, "-p", label],
        vec!["patch", "secret", "foreign", "-n", ns, "-p", data],
        vec!["patch", "secret", "foreign", "-n", ns, "-p", kind],
        vec!["delete", "secret", "foreign", "-n", ns],
        vec!["create", "secret", "generic", "evil", "-n", ns, "--from-literal=a=b"],
    ] {
        let said = cluster.kubectl(&[&arguments[..], &[&operator]].concat());
        let said = said.err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(said.contains("ValidatingAdmissionPolicy"), "{arguments:?}: {said:?}");
    }
    // Its own annotation it may write.
    let touch = "vectoll.dev/config-generation=1000000";
    cluster.kubectl(&["annotate", "pod", "app", "-n", ns, "--overwrite", touch, &operator])?;
    // And what it has no business with its roles do not give it.
    for what in [
        "create pods",
        "delete pods",
        "create deployments.apps",
        "get nodes",
        "create clusterrolebindings",
        "update apikeys.vectoll.dev",
        "create pods/exec",
    ] {
        let (verb, resource) = what.split_once(' ').unwrap_or_default();
        // It ends badly where the answer is no, so both are asked for by their words.
        let answer = format!("kubectl auth can-i {verb} {resource} -n {ns} {operator} || true");
        let answer = cluster.inside(&["bash", "-c", &answer], None)?;
        ensure!(answer.trim() == "no", "may the operator {what}? {answer}");
    }
    Ok(())
}
