//! What it costs a call that a collector is told of it.

use std::time::Duration;

use anyhow::ensure;

use super::super::{
    load::Load,
    manifests::Resources,
    measure::{Case, Row},
    payload::Payload,
    remark::Remark,
    sink::Sink,
    stage::{Sidecar, Stage},
};
use crate::pair::metrics::Metrics;

/// Portions of calls that are traced; none: nobody is told of anything. The first of them is the default.
const VARIANTS: [(&str, Option<&str>); 4] =
    [("off", None), ("all calls", Some("1")), ("a tenth", Some("0.1")), ("measures alone", Some("0"))];
/// As fast as they are answered, and at a rate that a collector keeps up with.
const STEADY: Load = Load::open(64, 500.0);
/// Two for each call: of being called, and of asking.
const SPANS: f64 = 2.0;
/// Spans gather for five seconds.
const EXPORT: Duration = Duration::from_secs(30);

pub fn run(stage: &Stage) -> anyhow::Result<(Vec<Row>, Vec<Remark>)> {
    stage.responder.prepare(&[Payload::ONE_BASE64])?;
    let sink = Sink::start()?;
    let resources = Resources::new(&stage.responder);
    let endpoint = format!("--otlp-endpoint={}", sink.endpoint());
    let (mut sidecars, mut subjects) = (Vec::new(), Vec::new());
    for (name, sampling) in VARIANTS {
        let sampled = sampling.map(|portion| format!("--otlp-sampling={portion}"));
        let arguments: Vec<&str> = sampled.iter().flat_map(|sampled| [endpoint.as_str(), sampled]).collect();
        let sidecar = stage.sidecar(&resources, &arguments)?;
        subjects.push(sidecar.subject(&format!("sidecar, traces: {name}"))?);
        sidecars.push(sidecar);
    }
    let loads = [Load::closed(stage.plan.connections), STEADY];
    let deadline = stage.deadline(loads.len() * subjects.len());
    let (mut rows, mut remarks) = (Vec::new(), Vec::new());
    for (load, title) in loads.into_iter().zip(["as fast as answered", "500 calls/s"]) {
        let before = all_metrics(stage, &sidecars)?;
        let case = Case::new(Payload::ONE_BASE64, load, subjects.clone());
        rows.extend(stage.plan.carry_out(&case, deadline)?);
        let after = all_metrics(stage, &sidecars)?;
        for (((name, sampling), before), after) in VARIANTS.iter().zip(&before).zip(&after) {
            let portion: f64 = sampling.map_or(Ok(0.0), str::parse)?;
            if portion > 0.0 {
                let dropped = 100.0 * dropped(before, after, portion);
                remarks.push(Remark::new(format!("{title}, {name}: spans dropped"), dropped, "%"));
            }
        }
    }
    for ((name, sampling), sidecar) in VARIANTS.iter().zip(&sidecars) {
        let portion: f64 = sampling.map_or(Ok(0.0), str::parse)?;
        if portion > 0.0 {
            collected(stage, sidecar, name)?;
        }
    }
    ensure!(sink.traces() > 0, "the collector was sent no spans");
    Ok((rows, remarks))
}

fn all_metrics(stage: &Stage, sidecars: &[Sidecar]) -> anyhow::Result<Vec<Metrics>> {
    sidecars.iter().map(|sidecar| stage.wait(sidecar.pair.at_rest())).collect()
}

/// The portion of spans that there was no room for.
fn dropped(before: &Metrics, after: &Metrics, sampled: f64) -> f64 {
    let grown = |family: &str| after.sum(family, &[]) - before.sum(family, &[]);
    let spans = grown("vectoll_key_requests_total") * sampled * SPANS;
    if spans > 0.0 { grown("vectoll_otlp_spans_dropped_total") / spans } else { 0.0 }
}

/// The collector has taken what it was sent.
fn collected(stage: &Stage, sidecar: &Sidecar, name: &str) -> anyhow::Result<()> {
    let exports = |metrics: &Metrics, result| {
        metrics.sum("vectoll_otlp_exports_total", &[("signal", "traces"), ("result", result)])
    };
    let taken = async || Ok((exports(&sidecar.pair.metrics().await?, "success") > 0.0).then_some(()));
    stage.wait(sidecar.pair.wait_for("the first spans to be taken", EXPORT, taken))?;
    let failed = exports(&stage.wait(sidecar.pair.metrics())?, "error");
    ensure!(failed < 1.0, "{name}: {failed} requests to the collector have failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_told_of_those_that_were_made() {
        let metrics = |calls: u32, dropped: u32| {
            Metrics::parse(&format!(
                "vectoll_key_requests_total{{key=\"a\"}} {calls}\nvectoll_otlp_spans_dropped_total {dropped}\n"
            ))
            .unwrap()
        };
        assert!((dropped(&metrics(100, 5), &metrics(1_100, 55), 0.1) - 0.25).abs() < 1e-9);
        assert!(dropped(&metrics(1, 0), &metrics(1, 0), 1.0).abs() < 1e-9);
    }
}
