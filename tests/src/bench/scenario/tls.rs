//! A provider behind https.

use super::super::load::Load;
use super::super::manifests::Resources;
use super::super::measure::{Case, Row};
use super::super::payload::Payload;
use super::super::responder::Responder;
use super::super::stage::Stage;
use super::super::tls::Certificate;
use super::calls::carry_out;

pub fn run(stage: &Stage) -> anyhow::Result<Vec<Row>> {
    let provider = Responder::start(None, Some(Certificate::generate()?), &Payload::COMMON)?;
    let nginx = stage.nginx(&provider)?;
    let sidecar = stage.sidecar(&Resources::new(&provider), &[])?;
    let subjects = vec![nginx.subject(), sidecar.subject("sidecar")?];
    let load = Load::closed(stage.plan.connections);
    let cases = Payload::COMMON
        .map(|payload| Case::new(payload, load, subjects.clone()).titled(format!("{}, https", payload.title())));
    carry_out(stage, &cases)
}
