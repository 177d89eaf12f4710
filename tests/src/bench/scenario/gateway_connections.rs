//! A gateway with thousands of idle connections, and one without.

use std::{thread, time::Duration};

use anyhow::ensure;

use super::super::{
    gateway::Gateway,
    idle::{IdleConnections, Protocol},
    load::{Bounds, Load, Target},
    manifests::Resources,
    measure::{Case, Row, Subject},
    payload::Payload,
    procfs,
    remark::Remark,
    stage::Stage,
};
use super::calls::carry_out;

const IDLE: usize = 5_000;
/// Beside the idle ones, so that none of these is given up for one of those under load.
const OTHERS: usize = 500;
const LOADS: [Load; 3] = [Load::closed(1), Load::closed(64), Load::open(64, 500.0)];
/// Until what handshakes took is given back.
const RELEASE_WAIT: Duration = Duration::from_secs(2);

/// A gateway, and what is connected to it.
struct Busy {
    name: String,
    gateway: Gateway,
    idle: Option<IdleConnections>,
}

pub fn run(stage: &Stage) -> anyhow::Result<(Vec<Row>, Vec<Remark>)> {
    stage.responder.prepare(&[Payload::ONE_BASE64])?;
    let many = stage.plan.many(IDLE);
    let mut remarks = Vec::new();
    let mut all = vec![Busy { name: "gateway, no idle connections".to_owned(), gateway: start(stage)?, idle: None }];
    for (protocol, word) in [(Protocol::Http1, "HTTP/1.1"), (Protocol::Http2, "HTTP/2")] {
        let gateway = start(stage)?;
        // What the first calls leave behind is no connection's.
        Target::new(&gateway.endpoint(), Payload::ONE_BASE64)?
            .load(Load::closed(8), Bounds::of(stage.plan.warm_up()))?;
        let before = resident(stage, &gateway)?;
        let idle = IdleConnections::open(&gateway.endpoint(), protocol, many)?;
        let after = resident(stage, &gateway)?;
        let of_each = procfs::mebibytes(after.saturating_sub(before)) * 1024.0 / f64::from(u32::try_from(many)?);
        remarks.push(Remark::new(format!("memory of an idle connection, {word} over TLS"), of_each, "KiB"));
        let whole = procfs::mebibytes(after);
        remarks.push(Remark::new(format!("resident with {many} idle connections, {word}"), whole, "MiB"));
        all.push(Busy { name: format!("gateway, {many} idle, {word}"), gateway, idle: Some(idle) });
    }
    let subjects: Vec<Subject> = all
        .iter()
        .map(|one| Ok(Subject::new(&one.name, one.gateway.endpoint(), Some(one.gateway.pid()?))))
        .collect::<anyhow::Result<_>>()?;
    let cases = LOADS.map(|load| Case::new(Payload::ONE_BASE64, load, subjects.clone()));
    let rows = carry_out(stage, &cases)?;
    for Busy { name, idle, .. } in all {
        if let Some(idle) = idle {
            let open = idle.close()?;
            ensure!(open == many, "{name}: {open} of {many} were still open at the end");
        }
    }
    Ok((rows, remarks))
}

fn start(stage: &Stage) -> anyhow::Result<Gateway> {
    let max = format!("--max-connections={}", IDLE + OTHERS);
    stage.gateway(&Resources::new(&stage.responder), &[max])
}

fn resident(stage: &Stage, gateway: &Gateway) -> anyhow::Result<u64> {
    thread::sleep(if stage.plan.is_trial { RELEASE_WAIT / 20 } else { RELEASE_WAIT });
    Ok(procfs::memory(gateway.pid()?)?.resident)
}
