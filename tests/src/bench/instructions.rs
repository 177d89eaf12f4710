//! How many instructions a call costs in the sidecar, counted by callgrind: the same on a busy machine and on a quiet one.
//!
//! What the kernel does is not counted, nor what other processes do. Optional features of the processor change the figures by little:
//! callgrind's own processor has those of the machine that it runs on.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::{
    load::{Bounds, Target},
    manifests::{KEY, manifests},
    payload::Payload,
    responder::Responder,
};
use crate::pair::{Pair, Setup, binaries::Binaries};

/// Calls before those that are counted: connections are made, buffers grow, caches fill.
const WARM_UP: u64 = 100;
/// A bound for valgrind, which is some forty times as slow.
const MAX_TIME: Duration = Duration::from_mins(5);

/// What one payload costs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Instructions {
    /// Which.
    pub payload: Payload,
    /// Instructions a call.
    pub per_call: u64,
}

/// Counts the instructions of `calls` calls of each payload, with everything on, over one connection.
pub async fn count(programs: &Binaries, calls: u64) -> anyhow::Result<Vec<Instructions>> {
    let responder = Responder::start()?.address();
    let folder = tempfile::tempdir().context("failed to create a temporary folder")?;
    let counted = folder.path().join("counted");
    let wrapper = folder.path().join("vectoll-sidecar");
    let valgrind = format!(
        "#!/bin/sh\nexec valgrind --tool=callgrind --instr-atstart=no --callgrind-out-file='{}' '{}' \"$@\"\n",
        counted.display(),
        programs.sidecar.display()
    );
    fs::write(&wrapper, valgrind).and_then(|()| fs::set_permissions(&wrapper, Permissions::from_mode(0o755)))?;
    let setup = Setup::of(Binaries { operator: programs.operator.clone(), sidecar: wrapper });
    let pair = Pair::start_with(setup, &[("bench.yaml", manifests(responder))]).await?;
    let pid = pair.sidecar_pid().context("the sidecar does not run")?;
    let mut all = Vec::new();
    for payload in Payload::ALL {
        let target = Target::new(pair.proxy_address(), KEY, payload)?;
        let load = async |requests| {
            let target = target.clone();
            // One connection, so that there is nothing to wait for.
            let run = move || target.load(1, Bounds { time: MAX_TIME, requests });
            tokio::task::spawn_blocking(run).await.context("the load generator ended in a panic")?
        };
        load(WARM_UP).await?;
        control(&["--instr=on"], pid)?;
        let sent = load(calls).await?.latencies.len() as u64;
        control(&["--instr=off"], pid)?;
        ensure!(sent == calls, "{sent} of {calls} calls were answered in {MAX_TIME:?}");
        control(&["--dump"], pid)?;
        all.push(Instructions { payload, per_call: dumped(folder.path(), all.len() + 1)? / calls });
    }
    Ok(all)
}

fn control(what: &[&str], pid: u32) -> anyhow::Result<()> {
    let output = Command::new("callgrind_control").args(what).arg(pid.to_string()).output();
    let output = output.context("failed to run callgrind_control: install the package valgrind")?;
    ensure!(output.status.success(), "callgrind_control {what:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The instructions since the dump before, over all threads.
fn dumped(folder: &Path, number: usize) -> anyhow::Result<u64> {
    let prefix = format!("counted.{number}");
    let (mut sum, mut found) = (0, false);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_of_it = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        if is_of_it.is_some_and(|rest| rest.is_empty() || rest.starts_with('-')) {
            let text = fs::read_to_string(entry.path())?;
            let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
            sum += total.with_context(|| format!("{prefix} has no totals"))?.trim().parse::<u64>()?;
            found = true;
        }
    }
    ensure!(found, "callgrind wrote no {prefix}");
    Ok(sum)
}
