//! Many of a thing, beside one of it.

use super::super::load::Load;
use super::super::manifests::Resources;
use super::super::measure::{Case, Row, Subject};
use super::super::payload::Payload;
use super::super::stage::Stage;
use super::calls::carry_out;

const KEYS: usize = 10_000;
const ROUTES: usize = 1_000;
const CONNECTIONS: [usize; 3] = [1, 64, 1_000];

/// One key, and ten thousand.
pub fn keys(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    let many = stage.plan.many(KEYS);
    let of = |keys| Resources { keys, ..Resources::new(&stage.responder) };
    beside_one(stage, &[("1 key".to_owned(), of(1)), (format!("{many} keys"), of(many))])
}

/// Two routes, and a thousand more.
pub fn routes(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    let many = stage.plan.many(ROUTES);
    let of = |further_routes| Resources { further_routes, ..Resources::new(&stage.responder) };
    beside_one(stage, &[("2 routes".to_owned(), of(0)), (format!("{} routes", many + 2), of(many))])
}

fn beside_one(stage: &Stage, variants: &[(String, Resources)]) -> anyhow::Result<Vec<Row>> {
    stage.responder.prepare(&[Payload::ONE_BASE64])?;
    let (mut sidecars, mut subjects) = (Vec::new(), Vec::new());
    for (name, resources) in variants {
        let sidecar = stage.sidecar(resources, &[])?;
        subjects.push(sidecar.subject(&format!("sidecar, {name}"))?);
        sidecars.push(sidecar);
    }
    let load = Load::closed(stage.plan.connections);
    carry_out(stage, &[Case::new(Payload::ONE_BASE64, load, subjects)])
}

/// One connection, 64, and a thousand.
pub fn connections(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    stage.responder.prepare(&[Payload::ONE_BASE64])?;
    let nginx = stage.nginx(&stage.responder)?;
    let sidecar = stage.sidecar(&Resources::new(&stage.responder), &[])?;
    let mut all = vec![nginx.subject(), sidecar.subject("sidecar")?];
    all.extend(stage.neighbour.clone());
    let cases: Vec<Case> = all
        .iter()
        .map(|one| {
            let under = |connections: usize| {
                let plural = if connections == 1 { "" } else { "s" };
                let name = format!("{}, {connections} connection{plural}", one.name);
                Subject { name, ..one.clone() }.under(Load::closed(connections))
            };
            let [first, ..] = CONNECTIONS;
            let subjects = CONNECTIONS.map(|connections| under(stage.plan.many(connections))).to_vec();
            Case::new(Payload::ONE_BASE64, Load::closed(first), subjects)
        })
        .collect();
    carry_out(stage, &cases)
}
