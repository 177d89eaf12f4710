//! The chart's own store: its pod, its password, the users in it, and its death.

use anyhow::ensure;

use crate::cluster::{Cluster, DEADLINE, START, SYSTEM, pod};

pub fn users(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-store";
    cluster.kubectl(&["rollout", "status", "statefulset/vectoll-store", "-n", SYSTEM, "--timeout=2m"])?;
    cluster.namespace(ns)?;
    cluster.api_key(ns, "alice", ", limits: {requestsPerMinute: 1000}")?;
    cluster.wait(ns, "condition=LimitsExact", "apikey/alice")?;
    cluster.apply(&pod(ns, "app", "vectoll.dev/api-key: alice"))?;
    cluster.wait(ns, "condition=Ready", "pod/app")?;
    cluster.call(ns, "app", None, 10)?;
    let password = "go-template={{index .data \"store.password\" | base64decode}}";
    let password = cluster.kubectl(&["get", "secret", "vectoll-sidecar", "-n", ns, "-o", password])?;
    ensure!(password.len() == 64, "no password was handed out");
    let uid = cluster.kubectl(&["get", "team", "team", "-n", ns, "-o", "jsonpath={.metadata.uid}"])?;
    let user = format!("vectoll-ns-{SYSTEM}.vectoll-operator:{ns}");
    // Asked inside the store's pod: who may reach it from outside is for the cluster's network to say.
    let ask = |question: &[&str]| {
        let log_in = ["redis-cli", "--no-auth-warning", "-e", "--user", &user, "--pass", &password];
        cluster.kubectl(&[&["exec", "-n", SYSTEM, "vectoll-store-0", "--"][..], &log_in, question].concat())
    };
    let mine = format!("vectoll:{{{uid}}}:e2e");
    ask(&["hset", &mine, "field", "1"])?;
    for question in
        [&["hset", "vectoll:{another}:e2e", "field", "1"][..], &["flushall"], &["acl", "list"], &["keys", "*"]]
    {
        let said = ask(question).err().map(|error| format!("{error:#}")).unwrap_or_default();
        ensure!(said.contains("NOPERM"), "{question:?}: {said:?}");
    }

    // It dies and comes back: what was written is there, and so are the users.
    let id = "jsonpath={.status.containerStatuses[0].containerID}";
    let id = cluster.kubectl(&["get", "pod", "vectoll-store-0", "-n", SYSTEM, "-o", id])?;
    cluster.kill_container(id.trim_start_matches("containerd://"))?;
    cluster.until("the store and its users to be back", START, || {
        Ok(ask(&["hget", &mine, "field"]).ok().filter(|said| said.trim() == "1"))
    })?;
    cluster.call(ns, "app", None, 10)?;

    // An upgrade that changes nothing of it does not touch it.
    let unique = "jsonpath={.metadata.uid} {.status.containerStatuses[0].restartCount}";
    let unique = || cluster.kubectl(&["get", "pod", "vectoll-store-0", "-n", SYSTEM, "-o", unique]);
    let before = unique()?;
    cluster.release("upgrade", &["--set", "operator.logFilter=debug"])?;
    ensure!(unique()? == before, "the upgrade restarted the store");
    cluster
        .until("the user's password to be as it was", DEADLINE, || Ok(ask(&["hget", &mine, "field"]).ok()))
        .map(|_| ())
}
