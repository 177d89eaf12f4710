//! The same call by a sidecar that asks the provider, and by one that passes it on to a gateway, which asks the provider.

use std::time::Duration;

use anyhow::{Context, ensure};
use tempfile::TempDir;

use super::super::{
    endpoint::Endpoint,
    gateway::Gateway,
    issuer::{ISSUER_FILE, Issuer},
    load::{Bounds, Load, Pace, Target},
    manifests::Resources,
    measure::{Figures, Row},
    payload::Payload,
    remark::Remark,
    stage::{Sidecar, Stage},
    statistics::Spread,
};
use crate::pair::Pair;

/// What applications send that have no key in hand.
const PLACEHOLDER: &str = "vectoll-pod-key";
const ONE: Load = Load::closed(1);
const MANY: Load = Load::closed(64);
/// What one core carries at ease, over as many connections.
const STEADY: Load = Load::open(64, 500.0);
/// What is sent, how, and whether also with a key's value, which asks for no signature to be checked.
const CASES: [(Payload, Load, bool); 5] = [
    (Payload::ONE_BASE64, ONE, false),
    (Payload::ONE_BASE64, MANY, true),
    (Payload::ONE_BASE64, STEADY, false),
    (Payload::BATCH_BASE64, ONE, false),
    (Payload::BATCH_BASE64, MANY, false),
];

/// A way to the provider, and the processes on it: the sidecar, and the gateway where there is one.
struct Way {
    name: &'static str,
    endpoint: Endpoint,
    pids: Vec<u32>,
    rounds: Vec<Figures>,
    shares: Vec<Vec<f64>>,
}

impl Way {
    fn new(name: &'static str, endpoint: Endpoint, pids: Vec<u32>) -> Self {
        Self { name, endpoint, pids, rounds: Vec::new(), shares: Vec::new() }
    }

    /// One round: how many calls there were, those before it included.
    fn round(&mut self, stage: &Stage, payload: Payload, load: Load) -> anyhow::Result<usize> {
        let target = Target::new(&self.endpoint, payload)?;
        let before = target.load(load, Bounds::of(stage.plan.warm_up()))?.latencies.len();
        let measured = stage.plan.run_of(&target, load, &self.pids)?;
        self.rounds.push(measured.figures);
        self.shares.push(measured.shares);
        Ok(before + measured.calls)
    }

    /// The CPU time of a call in one of the processes.
    fn share(&self, number: usize) -> Option<f64> {
        let of_rounds = self.shares.iter().filter_map(|shares| shares.get(number).copied());
        Spread::of(of_rounds).map(|spread| spread.median)
    }
}

pub fn run(stage: &Stage) -> anyhow::Result<(Vec<Row>, Vec<Remark>)> {
    stage.responder.prepare(&[Payload::ONE_BASE64, Payload::BATCH_BASE64])?;
    let resources = Resources::new(&stage.responder);
    let alone = stage.sidecar(&resources, &[])?;
    let gateway = stage.gateway(&resources, &[])?;
    let tokens = tempfile::tempdir().context("failed to create a temporary folder")?;
    let passing = passing(stage, &resources, &gateway, &tokens)?;

    let deadline = stage.deadline(CASES.iter().map(|(_, _, by_value)| 2 + usize::from(*by_value)).sum());
    let (mut rows, mut remarks, mut passed_on) = (Vec::new(), Vec::new(), 0);
    for (payload, load, by_value) in CASES {
        let both = vec![passing.pid()?, gateway.pid()?];
        let by_token = passing.endpoint().with_key(PLACEHOLDER);
        let mut direct = Way::new("sidecar → provider", alone.endpoint(), vec![alone.pid()?]);
        let mut hop = Way::new("sidecar → gateway → provider, pod's token", by_token, both.clone());
        let mut valued = by_value.then(|| Way::new("the same, ApiKey's value", passing.endpoint(), both));
        for _ in 0..stage.plan.rounds {
            deadline.check()?;
            direct.round(stage, payload, load)?;
            passed_on += hop.round(stage, payload, load)?;
            if let Some(valued) = &mut valued {
                passed_on += valued.round(stage, payload, load)?;
            }
        }
        let case = payload.title();
        let title = titled(&case, load);
        remarks.extend(added(&title, &direct, &hop)?);
        if let Some(valued) = &valued {
            let what = format!("{title}: CPU of a call in the gateway, by an ApiKey's value");
            remarks.push(Remark::new(what, valued.share(1).context("no rounds")?, "µs"));
        }
        let first = direct.rounds.clone();
        rows.push(Row::new(&case, direct.name, load, direct.rounds, None));
        for way in [Some(hop), valued].into_iter().flatten() {
            rows.push(Row::new(&case, way.name, load, way.rounds, Some(&first)));
        }
    }
    only_the_gateway_counted(stage, &passing, &gateway, passed_on)?;
    Ok((rows, remarks))
}

/// A sidecar that passes calls on, with the token of its pod.
fn passing(stage: &Stage, resources: &Resources, gateway: &Gateway, tokens: &TempDir) -> anyhow::Result<Sidecar> {
    let issuer = Issuer::generate()?;
    issuer.write_token("default", tokens.path())?;
    std::fs::write(gateway.pair.config_dir().join(ISSUER_FILE), issuer.file()).context("failed to write the issuer")?;
    let known = async || Ok(gateway.pair.sidecar_log().contains("signs the tokens of pods were read").then_some(()));
    stage.wait(gateway.pair.wait_for("the issuer", Duration::from_secs(30), known))?;
    let folder = tokens.path().display().to_string();
    let arguments = ["--pod-api-key", "default/bench", "--identity-dir", &folder];
    let resources = Resources { by_gateway: true, ..resources.clone() };
    stage.sidecar_with(&resources, &arguments, gateway.told_to_sidecars())
}

fn titled(case: &str, load: Load) -> String {
    let plural = if load.connections == 1 { "" } else { "s" };
    let rate = match load.pace {
        Pace::Closed => String::new(),
        Pace::Open(rate) => format!(", {rate} calls/s"),
    };
    format!("{case}, {} connection{plural}{rate}", load.connections)
}

/// What the hop adds, and who has the work.
fn added(title: &str, direct: &Way, hop: &Way) -> anyhow::Result<[Remark; 5]> {
    let median = |field: fn(&Figures) -> f64| {
        let differences = direct.rounds.iter().zip(&hop.rounds).map(|(direct, hop)| field(hop) - field(direct));
        Spread::of(differences).map(|spread| spread.median).context("no rounds")
    };
    let share = |way: &Way, number| way.share(number).context("no rounds");
    let remark = |what: &str, value| Remark::new(format!("{title}: {what}"), value, "µs");
    Ok([
        remark("CPU of a call in a sidecar without the gateway", share(direct, 0)?),
        remark("CPU of a call in a sidecar that passes it on", share(hop, 0)?),
        remark("CPU of a call in the gateway", share(hop, 1)?),
        remark("added p50", median(|figures| figures.p50)?),
        remark("added p99", median(|figures| figures.p99)?),
    ])
}

/// What was measured are calls that were passed on, each once.
fn only_the_gateway_counted(stage: &Stage, passing: &Sidecar, gateway: &Gateway, calls: usize) -> anyhow::Result<()> {
    let counted = |pair: &Pair| {
        anyhow::Ok(stage.wait(pair.at_rest())?.sum("vectoll_key_requests_total", &[("key", "default/bench")]))
    };
    let (here, there) = (counted(&passing.pair)?, counted(&gateway.pair)?);
    let calls = f64::from(u32::try_from(calls)?);
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    let is_right = here == 0.0 && there == calls;
    ensure!(is_right, "of {calls} calls that were passed on the sidecar booked {here}, and the gateway {there}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(shares: &[[f64; 2]], p50: [f64; 3]) -> Way {
        let rounds =
            p50.map(|p50| Figures { cpu: None, rate: 1.0, p50, p90: p50, p99: 2.0 * p50, max: 1.0, resident: None });
        let endpoint = Endpoint::new("127.0.0.1:1".parse().unwrap(), "k");
        let shares = shares.iter().map(|shares| shares.to_vec()).collect();
        Way { rounds: rounds.to_vec(), shares, ..Way::new("way", endpoint, Vec::new()) }
    }

    #[test]
    fn what_the_hop_adds_is_the_difference_of_rounds() {
        let direct = way(&[[40.0, 0.0], [42.0, 0.0], [41.0, 0.0]], [100.0, 200.0, 300.0]);
        let hop = way(&[[20.0, 50.0], [30.0, 70.0], [10.0, 60.0]], [150.0, 240.0, 420.0]);
        let found: Vec<f64> = added("case", &direct, &hop).unwrap().iter().map(|remark| remark.value).collect();
        for (found, expected) in found.iter().zip([41.0, 20.0, 60.0, 50.0, 100.0]) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    #[test]
    fn titles_say_how_calls_are_sent() {
        assert_eq!(titled("1 input", ONE), "1 input, 1 connection");
        assert_eq!(titled("1 input", STEADY), "1 input, 64 connections, 500 calls/s");
    }
}
