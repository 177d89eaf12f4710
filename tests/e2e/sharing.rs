//! Several owners: what one gives and takes back, and what one does wrong.

use anyhow::ensure;

use crate::cluster::{Cluster, DEADLINE, pod};

/// A route of another namespace serves while its owner allows it.
pub fn consent(cluster: &Cluster) -> anyhow::Result<()> {
    let (owner, user) = ("e2e-owner", "e2e-user");
    for namespace in [owner, user] {
        cluster.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"))?;
    }
    let route = |from: &str| {
        format!(
            "{{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {{name: shared, namespace: {owner}}}, spec: {{models: \
             [builtin], allowedNamespaces: {{from: {from}}}, backends: [{{name: one, builtin: {{}}}}]}}}}\n"
        )
    };
    cluster.apply(&route("All"))?;
    cluster.apply(&format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: Team, metadata: {{name: team, namespace: {user}}}, spec: {{routeNamespaces: \
         [{owner}]}}}}"
    ))?;
    cluster.api_key(user, "alice", "")?;
    cluster.apply(&pod(user, "app", "vectoll.dev/api-key: alice"))?;
    cluster.wait(user, "condition=Ready", "pod/app")?;
    cluster.call(user, "app", None, 10)?;
    cluster.apply(&route("Same"))?;
    cluster.until("the route to be out of reach", DEADLINE, || {
        let said = cluster.call(user, "app", None, 0).err().map(|error| format!("{error:#}")).unwrap_or_default();
        Ok(said.contains("404").then_some(()))
    })?;
    let reason = "jsonpath={.status.conditions[?(@.type=='Ready')].reason}";
    cluster.until("the Team to say it", DEADLINE, || {
        let said = cluster.kubectl(&["get", "team", "team", "-n", user, "-o", reason])?;
        Ok((said == "RefNotPermitted").then_some(()))
    })?;
    cluster.apply(&route("All"))?;
    cluster.call(user, "app", None, 10).map(|_| ())
}

/// A route that nobody can call says so, and takes neither the good one nor the next edit along.
pub fn bad_route(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-bad-route";
    cluster.namespace(ns)?;
    cluster.api_key(ns, "alice", "")?;
    cluster.apply(&pod(ns, "app", "vectoll.dev/api-key: alice"))?;
    cluster.wait(ns, "condition=Ready", "pod/app")?;
    cluster.call(ns, "app", None, 10)?;
    cluster.apply(&format!(
        "{{apiVersion: vectoll.dev/v1alpha1, kind: ModelRoute, metadata: {{name: bad, namespace: {ns}}}, spec: {{models: [bad], \
         backends: [{{name: one, openAI: {{baseURL: 'http://${{HOST}}/v1'}}}}]}}}}"
    ))?;
    let message = "jsonpath={.status.conditions[?(@.type=='Accepted')].message}";
    cluster.until("the bad route to say what is wrong", DEADLINE, || {
        let said = cluster.kubectl(&["get", "modelroute", "bad", "-n", ns, "-o", message])?;
        Ok(said.contains("spec.backends[0].openAI.baseURL").then_some(()))
    })?;
    cluster.call(ns, "app", None, 5)?;
    cluster.api_key(ns, "alice", ", suspended: true")?;
    cluster.until("the suspension", DEADLINE, || {
        let refused = cluster.call(ns, "app", None, 0).is_err_and(|error| format!("{error:#}").contains("401"));
        Ok(refused.then_some(()))
    })?;
    ensure!(cluster.kubectl(&["get", "pod", "app", "-n", ns])?.contains("2/2"), "the sidecar gave up");
    Ok(())
}
