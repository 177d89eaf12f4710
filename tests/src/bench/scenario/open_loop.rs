//! Calls that arrive at a fixed rate.

use super::super::load::Load;
use super::super::manifests::Resources;
use super::super::measure::{Case, Row};
use super::super::payload::Payload;
use super::super::stage::Stage;
use super::calls::carry_out;

/// Calls in a second: far below what one core carries, and nearer to it.
const RATES: [(&str, f64); 2] = [("500", 500.0), ("2,000", 2_000.0)];
const CONNECTIONS: usize = 64;

pub fn run(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    stage.responder.prepare(&[Payload::ONE_BASE64])?;
    let (nginx, relay) = (stage.nginx(&stage.responder)?, stage.relay()?);
    let sidecar = stage.sidecar(&Resources::new(&stage.responder), &[])?;
    let mut subjects = vec![nginx.subject(), relay.subject(), sidecar.subject("sidecar")?, stage.direct()];
    subjects.extend(stage.neighbour.clone());
    let cases = RATES.map(|(name, rate)| {
        let title = format!("{}, {name} calls/s", Payload::ONE_BASE64.title());
        Case::new(Payload::ONE_BASE64, Load::open(CONNECTIONS, rate), subjects.clone()).titled(title)
    });
    carry_out(stage, &cases)
}
