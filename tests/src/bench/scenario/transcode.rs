//! Answers in the other encoding than the caller's.

use super::super::load::Load;
use super::super::manifests::Resources;
use super::super::measure::{Case, Row};
use super::super::payload::{Format, Payload};
use super::super::remark::Remark;
use super::super::stage::Stage;
use super::calls::carry_out;

/// What is asked for, and how the provider writes it.
const PAYLOADS: [Payload; 2] =
    [Payload::BATCH_BASE64.answered_in(Format::Float), Payload::BATCH_FLOAT.answered_in(Format::Base64)];

pub fn run(stage: &Stage) -> anyhow::Result<(Vec<Row>, Vec<Remark>)> {
    stage.responder.prepare(&PAYLOADS)?;
    let sidecar = stage.sidecar(&Resources::new(&stage.responder), &[])?;
    let subject = sidecar.subject("sidecar")?;
    let rows = carry_out(stage, &PAYLOADS.map(|payload| Case::new(payload, Load::closed(1), vec![subject.clone()])))?;
    let mut remarks = Vec::new();
    for (payload, row) in PAYLOADS.iter().zip(&rows) {
        if let Some(cpu) = row.spread(|figures| figures.cpu) {
            let bytes = f64::from(u32::try_from(payload.answer_length()?)?);
            // Bytes in a microsecond are megabytes in a second.
            remarks.push(Remark::new(
                format!("{}, of the provider's bytes", payload.title()),
                bytes / cpu.median,
                "MB/s",
            ));
        }
    }
    Ok((rows, remarks))
}
