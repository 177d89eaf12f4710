//! The pair starts, restarts and ends as its users rely on.

use std::time::Duration;

use vectoll_tests::clients::stage::Stage;
use vectoll_tests::pair::Pair;

fn runs(pid: u32) -> bool {
    std::fs::exists(format!("/proc/{pid}")).is_ok_and(|exists| exists)
}

#[tokio::test]
async fn a_restarted_sidecar_keeps_its_address_and_is_ready() -> anyhow::Result<()> {
    let mut pair = Pair::start(&[("stage.yaml", Stage::manifests("http://127.0.0.1:9/v1"))]).await?;
    let (address, first, log) = (pair.proxy_address(), pair.sidecar_pid(), pair.sidecar_log());
    pair.restart_sidecar().await?;
    assert_eq!(pair.proxy_address(), address);
    assert_ne!(pair.sidecar_pid(), first);
    assert_eq!(pair.admin_status("/readyz").await?, 200);
    assert!(
        pair.sidecar_log().starts_with(&log) && pair.sidecar_log().len() > log.len(),
        "the first one's log is lost"
    );
    Ok(())
}

#[tokio::test]
async fn both_processes_end_with_the_pair() -> anyhow::Result<()> {
    let pair = Pair::start(&[("stage.yaml", Stage::manifests("http://127.0.0.1:9/v1"))]).await?;
    let pids = [Some(pair.operator_pid()), pair.sidecar_pid()];
    assert!(pids.iter().all(|pid| pid.is_some_and(runs)));
    drop(pair);
    assert!(!pids.iter().any(|pid| pid.is_some_and(runs)));
    Ok(())
}

#[tokio::test]
async fn a_killed_sidecar_is_gone_and_can_be_started_again() -> anyhow::Result<()> {
    let mut pair = Pair::start(&[("stage.yaml", Stage::manifests("http://127.0.0.1:9/v1"))]).await?;
    let status = pair.kill_sidecar().await?;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert!(pair.metrics().await.is_err());
    let late = pair.wait_for("nothing", Duration::from_millis(50), async || Ok(None::<()>)).await;
    let told = late.err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(told.contains("--- operator") && told.contains("in vain for nothing"), "{told}");
    pair.start_sidecar().await?;
    pair.metrics().await?;
    assert!(pair.terminate_sidecar().await?.success());
    Ok(())
}
