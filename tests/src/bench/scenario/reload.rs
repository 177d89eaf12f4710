//! Edits of the config under load.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use serde_json::Value;

use super::super::{
    load::{Bounds, Load, Run, Target},
    manifests::Resources,
    measure::{Figures, Row, Subject},
    payload::Payload,
    procfs,
    remark::Remark,
    stage::{Sidecar, Stage},
    statistics::Spread,
};

const KEYS: usize = 10_000;
const LOAD: Load = Load::open(16, 500.0);
/// Between two edits.
const EDIT_INTERVAL: Duration = Duration::from_millis(250);
/// What no call may be delayed by.
const BOUND: Duration = Duration::from_millis(5);
/// A number that the config has once, and what an edit makes of it.
const BEFORE: u64 = 99_999_999;
const AFTER: u64 = 99_999_998;

/// Runs of one kind.
#[derive(Default)]
struct Runs {
    figures: Vec<Figures>,
    calls: usize,
    beyond_bound: usize,
}

impl Runs {
    fn take(&mut self, run: &Run, cpu: Option<Duration>) -> anyhow::Result<()> {
        self.figures.push(Figures::of(run, cpu, None)?);
        self.calls += run.latencies.len();
        self.beyond_bound += run.latencies.iter().filter(|latency| **latency > BOUND).count();
        Ok(())
    }

    fn remarks(&self, name: &str) -> anyhow::Result<[Remark; 2]> {
        let longest = Spread::of(self.figures.iter().map(|figures| figures.max)).context("no rounds")?;
        let beyond = f64::from(u32::try_from(self.beyond_bound)?);
        Ok([
            Remark::new(format!("{name}: longest call of {}", self.calls), longest.max / 1e3, "ms"),
            Remark::new(format!("{name}: calls over {} ms", BOUND.as_millis()), beyond, "calls"),
        ])
    }
}

pub fn run(stage: &Stage) -> anyhow::Result<(Vec<Row>, Vec<Remark>)> {
    stage.responder.prepare(&[Payload::ONE_BASE64])?;
    let many = stage.plan.many(KEYS);
    let (mut rows, mut remarks) = (Vec::new(), Vec::new());
    for (name, keys) in [("1 key".to_owned(), 1), (format!("{many} keys"), many)] {
        let resources = Resources { keys, requests_per_minute: BEFORE, ..Resources::new(&stage.responder) };
        let mut sidecar = stage.sidecar(&resources, &[])?;
        // Its own work is not what is measured, and it would put its config back.
        stage.wait(sidecar.pair.stop_operator())?;
        let versions = Versions::of(sidecar.pair.config_dir())?;
        let subject = sidecar.subject("sidecar")?;
        let (mut quiet, mut edited, mut direct) = (Runs::default(), Runs::default(), Runs::default());
        let mut edits = Vec::new();
        let deadline = stage.deadline(3);
        for _ in 0..stage.plan.rounds {
            deadline.check()?;
            measure(stage, &subject, &mut quiet)?;
            edits.extend(while_edited(&versions, || measure(stage, &subject, &mut edited))?);
            measure(stage, &stage.direct(), &mut direct)?;
        }
        let case = format!("{}, 500 calls/s, {name}", Payload::ONE_BASE64.title());
        let first = quiet.figures.clone();
        for (who, runs) in [("sidecar", &quiet), ("sidecar, edited", &edited), ("no proxy", &direct)] {
            let first = (who != "sidecar").then_some(first.as_slice());
            rows.push(Row::new(&case, who, LOAD, runs.figures.clone(), first));
            remarks.extend(runs.remarks(&format!("{name}, {who}"))?);
        }
        remarks.extend(in_force(stage, &sidecar, &name, &edits)?);
    }
    Ok((rows, remarks))
}

fn measure(stage: &Stage, subject: &Subject, runs: &mut Runs) -> anyhow::Result<()> {
    let target = Target::new(&subject.endpoint, Payload::ONE_BASE64)?;
    target.load(LOAD, Bounds::of(stage.plan.warm_up()))?;
    let before = subject.pid.map(procfs::cpu_time).transpose()?;
    let run = target.load(LOAD, Bounds::of(stage.plan.time))?;
    let after = subject.pid.map(procfs::cpu_time).transpose()?;
    runs.take(&run, after.zip(before).map(|(after, before)| after.saturating_sub(before)))
}

/// Does the work while the config is edited again and again: when it was.
fn while_edited(versions: &Versions, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Vec<Timestamp>> {
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let editing = scope.spawn(move || {
            let mut edits = Vec::new();
            for number in 0.. {
                versions.put_in_force(number % 2 == 0)?;
                edits.push(Timestamp::now());
                // Until the work is done.
                if stopped.recv_timeout(EDIT_INTERVAL) != Err(mpsc::RecvTimeoutError::Timeout) {
                    break;
                }
            }
            anyhow::Ok(edits)
        });
        let done = work();
        drop(stop);
        let edits = editing.join().map_err(|_| anyhow!("the editing thread panicked"))??;
        done.map(|()| edits)
    })
}

/// Two versions of the config folder's content, as the kubelet keeps them: folders, and a link to one.
struct Versions {
    folder: PathBuf,
}

impl Versions {
    fn of(folder: &Path) -> anyhow::Result<Self> {
        let present = folder.join("..data");
        for (name, number) in [("..edit-0", BEFORE), ("..edit-1", AFTER)] {
            let version = folder.join(name);
            fs::create_dir(&version).with_context(|| format!("failed to make {}", version.display()))?;
            for entry in fs::read_dir(&present).context("the operator has written no config")? {
                let entry = entry?;
                let text = fs::read_to_string(entry.path()).context("failed to read a file of the config")?;
                fs::write(version.join(entry.file_name()), text.replace(&BEFORE.to_string(), &number.to_string()))?;
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    fn put_in_force(&self, is_edited: bool) -> anyhow::Result<()> {
        let (link, version) = (self.folder.join("..next"), if is_edited { "..edit-1" } else { "..edit-0" });
        symlink(version, &link).context("failed to make a link")?;
        fs::rename(&link, self.folder.join("..data")).context("failed to put the config in force")
    }
}

/// How often the config was applied, and how long after its edit.
fn in_force(stage: &Stage, sidecar: &Sidecar, name: &str, edits: &[Timestamp]) -> anyhow::Result<Vec<Remark>> {
    let log = sidecar.pair.sidecar_log();
    let applied: Vec<Timestamp> = log.lines().filter_map(applied_at).collect();
    let times = edits.iter().filter_map(|edit| {
        let next = applied.iter().find(|applied| *applied >= edit)?;
        Some(next.duration_since(*edit).as_secs_f64() * 1e3)
    });
    let time = Spread::of(times).context("no edit was applied")?;
    let metrics = stage.wait(sidecar.pair.metrics())?;
    let reloads = metrics.sum("vectoll_config_reloads_total", &[("result", "applied")]);
    Ok(vec![
        Remark::new(format!("{name}: configs applied"), reloads, "times"),
        Remark::new(format!("{name}: from the edit to the config in force, median"), time.median, "ms"),
        Remark::new(format!("{name}: from the edit to the config in force, longest"), time.max, "ms"),
    ])
}

/// When a config was applied, if this line of the log says that one was.
fn applied_at(line: &str) -> Option<Timestamp> {
    // Most lines are the access log's.
    if !line.contains("config applied") {
        return None;
    }
    serde_json::from_str::<Value>(line).ok()?.get("timestamp")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_put_in_force_whole() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("..v1")).unwrap();
        fs::write(at("..v1/config.v1.yaml"), format!("limit: {BEFORE}\n")).unwrap();
        symlink("..v1", at("..data")).unwrap();
        let versions = Versions::of(folder.path()).unwrap();
        let edits = while_edited(&versions, || Ok(())).unwrap();
        assert_eq!(edits.len(), 1);
        assert_eq!(fs::read_to_string(at("..data/config.v1.yaml")).unwrap(), format!("limit: {AFTER}\n"));
        versions.put_in_force(false).unwrap();
        assert_eq!(fs::read_to_string(at("..data/config.v1.yaml")).unwrap(), format!("limit: {BEFORE}\n"));
    }

    #[test]
    fn the_log_says_when_a_config_was_applied() {
        let line = r#"{"timestamp":"2026-01-01T00:00:00.5Z","level":"INFO","fields":{"message":"config applied"}}"#;
        assert_eq!(applied_at(line), "2026-01-01T00:00:00.5Z".parse().ok());
        assert_eq!(applied_at("{\"log\":\"access\"}"), None);
    }
}
