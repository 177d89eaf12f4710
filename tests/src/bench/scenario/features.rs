//! All that can be off off, and each thing on by itself.

use super::super::load::Load;
use super::super::manifests::{Limits, Resources};
use super::super::measure::{Case, Row};
use super::super::payload::Payload;
use super::super::stage::Stage;
use super::calls::carry_out;

const LOG_OFF: &str = "--access-log=off";
const USERS_OFF: &str = "--user-metrics=off";

/// A sidecar by what it does.
const VARIANTS: [(&str, Limits, &[&str]); 7] = [
    ("all off", Limits::NONE, &[LOG_OFF, USERS_OFF]),
    ("limits on", Limits { rates: true, ..Limits::NONE }, &[LOG_OFF, USERS_OFF]),
    ("users' limits on", Limits { users: true, ..Limits::NONE }, &[LOG_OFF, USERS_OFF]),
    ("budgets on", Limits { budgets: true, ..Limits::NONE }, &[LOG_OFF, USERS_OFF]),
    ("access log on", Limits::NONE, &[USERS_OFF]),
    ("users' metrics on", Limits::NONE, &[LOG_OFF]),
    ("all on", Limits::ALL, &[]),
];

pub fn run(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    let payloads = [Payload::ONE_BASE64, Payload::BATCH_BASE64];
    stage.responder.prepare(&payloads)?;
    let nginx = stage.nginx(&stage.responder)?;
    let (mut sidecars, mut subjects) = (Vec::new(), Vec::new());
    for (name, limits, arguments) in VARIANTS {
        let resources = Resources { limits, ..Resources::new(&stage.responder) };
        let sidecar = stage.sidecar(&resources, arguments)?;
        subjects.push(sidecar.subject(&format!("sidecar, {name}"))?);
        sidecars.push(sidecar);
    }
    subjects.push(nginx.subject());
    let load = Load::closed(stage.plan.connections);
    carry_out(stage, &payloads.map(|payload| Case::new(payload, load, subjects.clone())))
}
