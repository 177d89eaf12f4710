//! Resident memory: idle, under mixed load, and after it.

use std::{thread, time::Duration};

use anyhow::{Context, anyhow};

use super::super::{
    endpoint::Endpoint,
    load::{Bounds, Load, Target},
    manifests::Resources,
    measure::Subject,
    payload::Payload,
    procfs,
    remark::Remark,
    stage::Stage,
    statistics::Spread,
};

/// Connections for each payload: 64 in all.
const MIX: [(Payload, usize); 4] =
    [(Payload::ONE_BASE64, 40), (Payload::ONE_FLOAT, 12), (Payload::BATCH_BASE64, 8), (Payload::BATCH_FLOAT, 4)];
/// Until what was taken for calls is given back.
const RELEASE_WAIT: Duration = Duration::from_secs(10);

pub fn run(stage: &Stage) -> anyhow::Result<Vec<Remark>> {
    stage.responder.prepare(&Payload::COMMON)?;
    let nginx = stage.nginx(&stage.responder)?;
    let sidecar = stage.sidecar(&Resources::new(&stage.responder), &[])?;
    let mut remarks = Vec::new();
    for subject in [sidecar.subject("sidecar")?, nginx.subject()] {
        remarks.extend(of(stage, &subject)?);
    }
    Ok(remarks)
}

fn of(stage: &Stage, subject: &Subject) -> anyhow::Result<Vec<Remark>> {
    let pid = subject.pid.context("it has no process of its own")?;
    let wait = if stage.plan.is_trial { RELEASE_WAIT / 20 } else { RELEASE_WAIT };
    let name = &subject.name;
    let remark =
        |when: String, bytes: u64| anyhow::Ok(Remark::new(format!("{name}: {when}"), procfs::mebibytes(bytes), "MiB"));
    let mut remarks = Vec::new();
    thread::sleep(wait / 5);
    remarks.push(remark("idle".to_owned(), procfs::memory(pid)?.resident)?);
    let (mut calls, mut after) = (0, Vec::new());
    let deadline = stage.deadline(1 + usize::try_from(wait.as_secs())?);
    for round in 1..=stage.plan.rounds {
        deadline.check()?;
        calls += mixed(&subject.endpoint, stage.plan.time)?;
        remarks.push(remark(format!("round {round}, at the end of its load"), procfs::memory(pid)?.resident)?);
        thread::sleep(wait);
        let resident = procfs::memory(pid)?.resident;
        after.push(procfs::mebibytes(resident));
        remarks.push(remark(format!("round {round}, {wait:?} after its load"), resident)?);
    }
    remarks.push(remark(format!("highest, over {calls} calls"), procfs::memory(pid)?.highest)?);
    let after = Spread::of(after).context("no rounds")?;
    remarks.push(Remark::new(
        format!("{name}: after load, highest of the rounds less the lowest"),
        after.max - after.min,
        "MiB",
    ));
    Ok(remarks)
}

/// All payloads at once: how many calls.
fn mixed(endpoint: &Endpoint, time: Duration) -> anyhow::Result<usize> {
    thread::scope(|scope| {
        let loads = MIX.map(|(payload, connections)| {
            scope.spawn(move || Target::new(endpoint, payload)?.load(Load::closed(connections), Bounds::of(time)))
        });
        let mut calls = 0;
        for load in loads {
            calls += load.join().map_err(|_| anyhow!("a load's thread panicked"))??.latencies.len();
        }
        Ok(calls)
    })
}
