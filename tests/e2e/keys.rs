//! What becomes of a key reaches the pods that run, and soon.

use std::time::Instant;

use anyhow::ensure;

use crate::cluster::{Cluster, DEADLINE, pod};

fn is_refused(answer: anyhow::Result<String>) -> bool {
    answer.is_err_and(|error| format!("{error:#}").contains("401"))
}

pub fn apply_and_delete(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-keys";
    cluster.namespace(ns)?;
    cluster.api_key(ns, "alice", "")?;
    cluster.apply(&pod(ns, "app", "vectoll.dev/api-key: bob"))?;
    cluster.wait(ns, "condition=Ready", "pod/app")?;
    ensure!(is_refused(cluster.call(ns, "app", None, 1)), "a key that is not there works");
    let began = Instant::now();
    cluster.api_key(ns, "bob", "")?;
    cluster.call(ns, "app", None, 10)?;
    eprintln!(
        "figure: from kubectl apply of an ApiKey to its first 200 in a running pod: {:.2} s",
        began.elapsed().as_secs_f64()
    );
    let value = cluster.value(ns, "bob")?;
    cluster.call(ns, "app", Some(&value), 1)?;
    let began = Instant::now();
    cluster.kubectl(&["delete", "apikey", "bob", "-n", ns])?;
    cluster.until("the deleted key to be refused", DEADLINE, || {
        Ok(is_refused(cluster.call(ns, "app", Some(&value), 0)).then_some(()))
    })?;
    eprintln!("figure: from kubectl delete of an ApiKey to 401: {:.2} s", began.elapsed().as_secs_f64());
    ensure!(is_refused(cluster.call(ns, "app", None, 1)), "the pod's own key is gone and it still works");
    Ok(())
}

pub fn rotation(cluster: &Cluster) -> anyhow::Result<()> {
    let ns = "e2e-rotation";
    cluster.namespace(ns)?;
    cluster.api_key(ns, "alice", ", rotation: {gracePeriod: 4s}")?;
    cluster.apply(&pod(ns, "app", "vectoll.dev/api-key: alice"))?;
    cluster.wait(ns, "condition=Ready", "pod/app")?;
    cluster.call(ns, "app", None, 10)?;
    let mut values = vec![cluster.value(ns, "alice")?];
    for wish in ["one", "two"] {
        cluster.kubectl(&[
            "annotate",
            "apikey",
            "alice",
            "-n",
            ns,
            "--overwrite",
            &format!("vectoll.dev/rotate={wish}"),
        ])?;
        let before = values.last().cloned().unwrap_or_default();
        let value = cluster.until("a new value", DEADLINE, || {
            let value = cluster.value(ns, "alice")?;
            Ok((value != before).then_some(value))
        })?;
        // The placeholder goes on, the new value works, the one before does for its grace period, and then no more.
        cluster.call(ns, "app", None, 5)?;
        cluster.call(ns, "app", Some(&value), 10)?;
        cluster.until("the value before to end", DEADLINE * 2, || {
            Ok(is_refused(cluster.call(ns, "app", Some(&before), 0)).then_some(()))
        })?;
        values.push(value);
    }
    cluster.call(ns, "app", None, 5)?;
    cluster.api_key(ns, "alice", ", suspended: true")?;
    cluster.until("the suspension", DEADLINE, || Ok(is_refused(cluster.call(ns, "app", None, 0)).then_some(())))?;
    cluster.api_key(ns, "alice", "")?;
    cluster.call(ns, "app", None, 10)?;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    cluster.api_key(ns, "alice", &format!(", expiresAt: '{soon:.0}'"))?;
    cluster.until("the expiry", DEADLINE, || Ok(is_refused(cluster.call(ns, "app", None, 0)).then_some(())))
}
