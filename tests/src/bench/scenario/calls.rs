//! Payloads in a closed loop.

use super::super::endpoint::Endpoint;
use super::super::load::Load;
use super::super::manifests::{KEY, Resources};
use super::super::measure::{Case, Row, Subject};
use super::super::payload::{Format, Payload};
use super::super::stage::Stage;

/// One input and a hundred, in both encodings.
pub fn common(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    stage.responder.prepare(&Payload::COMMON)?;
    let (nginx, relay) = (stage.nginx(&stage.responder)?, stage.relay()?);
    let sidecar = stage.sidecar(&Resources::new(&stage.responder), &[])?;
    let mut subjects = vec![nginx.subject(), relay.subject(), sidecar.subject("sidecar")?];
    subjects.extend(stage.neighbour.clone());
    let load = Load::closed(stage.plan.connections);
    let cases = Payload::COMMON.map(|payload| Case::new(payload, load, subjects.clone()));
    carry_out(stage, &cases)
}

/// What is added to a call over one connection.
pub fn one_connection(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    stage.responder.prepare(&Payload::COMMON)?;
    let (nginx, relay) = (stage.nginx(&stage.responder)?, stage.relay()?);
    let sidecar = stage.sidecar(&Resources::new(&stage.responder), &[])?;
    let mut subjects = vec![nginx.subject(), relay.subject(), sidecar.subject("sidecar")?];
    subjects.extend(stage.neighbour.clone());
    let provider = Endpoint::new(stage.responder.address(), KEY);
    let cases = Payload::COMMON.map(|payload| Case {
        title: format!("{}, added", payload.title()),
        beyond: Some(provider.clone()),
        ..Case::new(payload, Load::closed(1), subjects.clone())
    });
    carry_out(stage, &cases)
}

/// Every number of inputs, with either length of vectors, in both encodings.
pub fn shapes(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    let nginx = stage.nginx(&stage.responder)?;
    let sidecar = stage.sidecar(&Resources::new(&stage.responder), &[])?;
    let subjects: Vec<Subject> = vec![nginx.subject(), sidecar.subject("sidecar")?];
    let mut rows = Vec::new();
    let mut shapes = Payload::shapes();
    if stage.plan.is_trial {
        // The largest take longer to write than all else takes.
        shapes.retain(|payload| payload.inputs <= 100 || payload.format == Format::Base64);
    }
    let deadline = stage.deadline(shapes.len() * subjects.len());
    for payload in shapes {
        // One at a time: together they are half a gigabyte.
        stage.responder.prepare(&[payload])?;
        let connections = if payload.inputs > 100 { stage.plan.connections.min(2) } else { stage.plan.connections };
        let case = Case::new(payload, Load::closed(connections), subjects.clone());
        rows.extend(stage.plan.carry_out(&case, deadline)?);
    }
    Ok(rows)
}

/// Case after case, within a time for all.
pub(super) fn carry_out(stage: &Stage, cases: &[Case]) -> anyhow::Result<Vec<Row>> {
    let deadline = stage.deadline(cases.iter().map(|case| case.subjects.len()).sum());
    let mut rows = Vec::new();
    for case in cases {
        rows.extend(stage.plan.carry_out(case, deadline)?);
    }
    Ok(rows)
}
