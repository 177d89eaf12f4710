//! A thousand namespaces with fifty keys each in one gateway, from the volume that a kubelet keeps.

mod changes;
mod running;

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context, ensure};

use self::{
    changes::{Changed, cpu_of_changes, while_changed},
    running::Running,
};
use super::super::{
    issuer::{ISSUER_FILE, Issuer},
    load::{Bounds, Load, Target},
    manifests::Resources,
    many::{FIRST, Namespaces},
    measure::{Figures, Row},
    payload::Payload,
    procfs::{self, mebibytes},
    remark::Remark,
    stage::Stage,
    statistics::Spread,
    tls::Certificate,
    volume::Volume,
};
use crate::pair::{Pair, Setup};

const NAMESPACES: usize = 1_000;
const KEYS_EACH: usize = 50;
/// Secrets that namespaces are spread over, by the chart's default.
const SECRETS: f64 = 64.0;
const LOAD: Load = Load::open(64, 500.0);
/// Seconds without calls, and as many with a change in each.
const QUIET_SECONDS: u32 = 5;
/// Until what the start, or a scrape, took is given back.
const RELEASE_WAIT: Duration = Duration::from_secs(2);

pub fn run(stage: &Stage) -> anyhow::Result<(Vec<Row>, Vec<Remark>)> {
    stage.responder.prepare(&[Payload::ONE_BASE64])?;
    let many = stage.plan.many(NAMESPACES);
    let namespaces = written(stage)?;
    let folder = tempfile::tempdir().context("failed to create a temporary folder")?;
    let mut entries: BTreeMap<String, Vec<u8>> =
        (0..many).map(|number| (Namespaces::name(number), namespaces.bundle(number, |config| config))).collect();
    let bytes: u64 = entries.values().map(|content| content.len() as u64).sum();
    // With it there is a second table of all keys, by name.
    entries.insert(ISSUER_FILE.to_owned(), Issuer::generate()?.file().into_bytes());
    let mut volume = Volume::create(folder.path(), &entries)?;
    drop(entries);

    let certificate = Certificate::generate()?;
    let mut started = Vec::new();
    for _ in 1..stage.plan.rounds {
        started.push(Running::start(stage, &folder, &certificate, many)?.took);
    }
    let gateway = Running::start(stage, &folder, &certificate, many)?;
    started.push(gateway.took);
    let mut remarks = sizes(many, namespaces.keys(), bytes)?;
    remarks.extend(of_start(&started, &gateway)?);

    let keys: Vec<String> = (0..many).map(|number| namespaces.key(number, number)).collect();
    let endpoint = gateway.endpoint(&certificate);
    let target = Target::of_keys(&endpoint, Payload::ONE_BASE64, &keys)?;
    let changed = Changed { namespaces: &namespaces, number: many / 2, endpoint: &endpoint, certificate: &certificate };
    let beside = under_load(stage, &gateway, &target, &mut volume, &changed)?;
    let seconds = if stage.plan.is_trial { 1 } else { QUIET_SECONDS };
    let cpu = cpu_of_changes(&mut volume, &changed, gateway.pid(), seconds)?;
    remarks.extend(of_changes(&beside, cpu, &gateway)?);
    let scrape = gateway.scrape()?;
    let highest = procfs::memory(gateway.pid())?.highest;
    thread::sleep(RELEASE_WAIT);
    remarks.extend([
        Remark::new("one scrape of /metrics", mebibytes(scrape.bytes), "MiB"),
        Remark::new("time of a scrape", scrape.took.as_secs_f64() * 1e3, "ms"),
        Remark::new("resident, highest during a scrape", mebibytes(highest), "MiB"),
        Remark::new("resident 2 s after a scrape", mebibytes(procfs::memory(gateway.pid())?.resident), "MiB"),
    ]);
    let (calls, counted) = (number(beside.calls)?, scrape.metrics.sum("vectoll_key_requests_total", &[]));
    let served = scrape.metrics.sum("vectoll_gateway_namespaces", &[]);
    #[expect(clippy::float_cmp, reason = "whole numbers")]
    let is_right = counted == calls && served == number(many)?;
    ensure!(is_right, "of {calls} calls {counted} are booked, and of {many} namespaces {served} served");

    let case = format!("{}, 500 calls/s, {} keys", Payload::ONE_BASE64.title(), many * namespaces.keys());
    let first = beside.quiet.clone();
    let rows = vec![
        Row::new(&case, "gateway", LOAD, beside.quiet, None),
        Row::new(&case, "gateway, changed each second", LOAD, beside.changed, Some(&first)),
        Row::new(&case, "no proxy, no TLS", LOAD, beside.direct, Some(&first)),
    ];
    Ok((rows, remarks))
}

/// What was seen under load.
#[derive(Default)]
struct UnderLoad {
    quiet: Vec<Figures>,
    changed: Vec<Figures>,
    direct: Vec<Figures>,
    delays: Vec<Duration>,
    calls: usize,
}

fn under_load(
    stage: &Stage,
    gateway: &Running,
    target: &Target,
    volume: &mut Volume,
    changed: &Changed<'_>,
) -> anyhow::Result<UnderLoad> {
    let (plan, pids) = (stage.plan, [gateway.pid()]);
    let around = Target::new(&stage.direct().endpoint, Payload::ONE_BASE64)?;
    let mut seen = UnderLoad::default();
    let deadline = stage.deadline(3);
    for _ in 0..plan.rounds {
        deadline.check()?;
        seen.calls += target.load(LOAD, Bounds::of(plan.warm_up()))?.latencies.len();
        let alone = plan.run_of(target, LOAD, &pids)?;
        let (delays, meanwhile) = while_changed(volume, changed, || plan.run_of(target, LOAD, &pids))?;
        seen.delays.extend(delays);
        seen.calls += alone.calls + meanwhile.calls;
        seen.quiet.push(alone.figures);
        seen.changed.push(meanwhile.figures);
        seen.direct.push(plan.run(&around, LOAD, None)?);
    }
    Ok(seen)
}

fn number(of: usize) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(of)?))
}

fn sizes(many: usize, keys: usize, bytes: u64) -> anyhow::Result<Vec<Remark>> {
    Ok(vec![
        Remark::new("namespaces", number(many)?, "namespaces"),
        Remark::new("keys", number(many * keys)?, "keys"),
        Remark::new("config of all namespaces", mebibytes(bytes), "MiB"),
        Remark::new("of each of 64 Secrets, mean", mebibytes(bytes) * 1024.0 / SECRETS, "KiB"),
    ])
}

fn of_start(started: &[Duration], gateway: &Running) -> anyhow::Result<Vec<Remark>> {
    let start = Spread::of(started.iter().map(|took| took.as_secs_f64() * 1e3)).context("no start")?;
    thread::sleep(RELEASE_WAIT);
    Ok(vec![
        Remark::new("from start to ready, median", start.median, "ms"),
        Remark::new("from start to ready, longest", start.max, "ms"),
        Remark::new("resident, highest until it was ready", mebibytes(gateway.memory.highest), "MiB"),
        Remark::new("resident 2 s after", mebibytes(procfs::memory(gateway.pid())?.resident), "MiB"),
    ])
}

fn of_changes(seen: &UnderLoad, [idle, change]: [f64; 2], gateway: &Running) -> anyhow::Result<Vec<Remark>> {
    let delay = Spread::of(seen.delays.iter().map(|delay| delay.as_secs_f64() * 1e3)).context("no change")?;
    let memory = procfs::memory(gateway.pid())?;
    Ok(vec![
        Remark::new("changes of one namespace", number(seen.delays.len())?, "changes"),
        Remark::new("from a change to its effect, median", delay.median, "ms"),
        Remark::new("from a change to its effect, longest", delay.max, "ms"),
        Remark::new("CPU time of a change, without calls", change, "ms"),
        Remark::new("CPU time of a second without calls and changes", idle, "ms"),
        Remark::new("resident after all changes", mebibytes(memory.resident), "MiB"),
        Remark::new("resident, highest while it was changed", mebibytes(memory.highest), "MiB"),
    ])
}

/// What the operator writes for the first namespace.
fn written(stage: &Stage) -> anyhow::Result<Namespaces> {
    let resources = Resources { keys: KEYS_EACH, further_routes: 1, ..Resources::new(&stage.responder) };
    let in_first = |text: &str| text.replace("namespace: default", &format!("namespace: {FIRST}"));
    let files: Vec<(String, String)> =
        resources.files().into_iter().map(|(name, text)| (name, in_first(&text))).collect();
    let files: Vec<(&str, String)> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    let setup = Setup { operator_arguments: vec!["--gateway".to_owned()], ..Setup::of(stage.programs().clone()) };
    let operator = stage.wait(Pair::operator_only(setup, &files))?;
    let folder = operator.config_dir().join(FIRST).join("..data");
    let values = resources.key_values();
    let whole = async || Ok(Some(Namespaces::like(&folder, values.clone())?));
    stage.wait(operator.wait_for("the config of all keys", Duration::from_secs(30), whole))
}
