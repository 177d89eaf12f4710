//! One load on one proxy, and the rounds in which several take turns.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::endpoint::Endpoint;
use super::load::{Bounds, Load, Run, Target};
use super::payload::Payload;
use super::procfs;
use super::statistics::{Spread, microseconds, percentile};

/// How long and how often.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Plan {
    /// Time under load for each proxy, case and round.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub time: Duration,
    /// Rounds.
    pub rounds: usize,
    /// Connections under load, where the case has no number of its own.
    pub connections: usize,
    /// To see that it works: times are too short for figures, and what there are thousands of is few.
    pub is_trial: bool,
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl Plan {
    /// Connections are made, buffers grow, caches fill.
    pub fn warm_up(&self) -> Duration {
        (self.time / 8).clamp(Duration::from_millis(50), Duration::from_millis(300))
    }

    /// So many, or a few in a trial.
    pub fn many(&self, number: usize) -> usize {
        if self.is_trial { number.min(20) } else { number }
    }
}

/// Who takes turns with others.
#[derive(Debug, Clone)]
pub struct Subject {
    /// As the table says it.
    pub name: String,
    /// Where calls go.
    pub endpoint: Endpoint,
    /// Its process, children included, if it has one of its own that is measured.
    pub pid: Option<u32>,
    /// Its calls, where they are others than the case's.
    pub load: Option<Load>,
    /// By whom they are, in turn; nobody: by whoever the key is of.
    pub users: Vec<String>,
}

impl Subject {
    /// Someone with a process of its own.
    pub fn new(name: &str, endpoint: Endpoint, pid: Option<u32>) -> Self {
        Self { name: name.to_owned(), endpoint, pid, load: None, users: Vec::new() }
    }

    /// Under another load than the case's.
    #[must_use]
    pub fn under(self, load: Load) -> Self {
        Self { load: Some(load), ..self }
    }
}

/// What one did in one round; times in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// CPU time of a call.
    pub cpu: Option<f64>,
    /// Calls in a second.
    pub rate: f64,
    /// Latency, median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// Bytes resident at the end.
    pub resident: Option<u64>,
}

impl Figures {
    /// Of a run that took so much CPU time.
    pub fn of(run: &Run, cpu: Option<Duration>, resident: Option<u64>) -> anyhow::Result<Self> {
        let calls = f64::from(u32::try_from(run.latencies.len()).context("too many calls")?);
        let latency = |percent| percentile(&run.latencies, percent).context("no call was answered in time");
        Ok(Self {
            cpu: cpu.map(|cpu| microseconds(cpu) / calls),
            rate: calls / run.elapsed.as_secs_f64(),
            p50: latency(50)?,
            p90: latency(90)?,
            p99: latency(99)?,
            max: latency(100)?,
            resident,
        })
    }

    /// With latencies beyond this one.
    fn beyond(self, direct: f64) -> Self {
        let Self { p50, p90, p99, max, .. } = self;
        Self { p50: p50 - direct, p90: p90 - direct, p99: p99 - direct, max: max - direct, ..self }
    }
}

/// A case: who takes turns under which load.
#[derive(Debug, Clone)]
pub struct Case {
    /// As the table says it.
    pub title: String,
    /// What is sent.
    pub payload: Payload,
    /// How it is sent.
    pub load: Load,
    /// Those who take turns; the first is what the others are compared with.
    pub subjects: Vec<Subject>,
    /// The provider, whose own median is taken from all latencies: what is left is what a proxy adds.
    pub beyond: Option<Endpoint>,
}

impl Case {
    /// With one payload under a load.
    pub fn new(payload: Payload, load: Load, subjects: Vec<Subject>) -> Self {
        Self { title: payload.title(), payload, load, subjects, beyond: None }
    }

    /// Under another title.
    #[must_use]
    pub fn titled(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }
}

/// What one did in one case, over the rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The case.
    pub case: String,
    /// Who.
    pub who: String,
    /// How it was called.
    pub load: Load,
    /// CPU time by that of the first one of the case, round by round.
    pub cpu_ratio: Option<Spread>,
    /// The same of the median latency.
    pub p50_ratio: Option<Spread>,
    /// The same of the 99th percentile.
    pub p99_ratio: Option<Spread>,
    /// What this is made from.
    pub rounds: Vec<Figures>,
}

impl Row {
    /// From the rounds of one, and of the first of the case if that is another.
    pub fn new(case: &str, who: &str, load: Load, rounds: Vec<Figures>, first: Option<&[Figures]>) -> Self {
        let ratio = |field: fn(&Figures) -> Option<f64>| {
            let pairs = rounds.iter().zip(first?);
            Spread::of(pairs.filter_map(|(one, first)| Some(field(one)? / field(first)?)))
        };
        Self {
            case: case.to_owned(),
            who: who.to_owned(),
            load,
            cpu_ratio: ratio(|figures| figures.cpu),
            p50_ratio: ratio(|figures| Some(figures.p50)),
            p99_ratio: ratio(|figures| Some(figures.p99)),
            rounds,
        }
    }

    /// A figure over the rounds.
    pub fn spread(&self, field: fn(&Figures) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(field))
    }
}

/// A moment by which a scenario has to be done.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// An error once it has passed.
    pub fn check(self) -> anyhow::Result<()> {
        ensure!(Instant::now() < self.0, "the scenario takes longer than it may: give it fewer --seconds or --rounds");
        Ok(())
    }
}

impl Plan {
    /// Carries a case out.
    pub fn carry_out(&self, case: &Case, deadline: Deadline) -> anyhow::Result<Vec<Row>> {
        let mut rounds: Vec<Vec<Figures>> = case.subjects.iter().map(|_| Vec::new()).collect();
        for _ in 0..self.rounds {
            let direct = case.beyond.as_ref().map(|provider| self.direct(provider, case)).transpose()?;
            for (subject, done) in case.subjects.iter().zip(&mut rounds) {
                deadline.check()?;
                let figures =
                    self.figures(subject, case).with_context(|| format!("{}: {}", case.title, subject.name))?;
                done.push(direct.map_or(figures, |direct| figures.beyond(direct)));
            }
        }
        let first = rounds.first().cloned();
        let rows = case.subjects.iter().zip(rounds).enumerate().map(|(number, (subject, rounds))| {
            let first = first.as_deref().filter(|_| number > 0);
            Row::new(&case.title, &subject.name, subject.load.unwrap_or(case.load), rounds, first)
        });
        Ok(rows.collect())
    }

    fn direct(&self, provider: &Endpoint, case: &Case) -> anyhow::Result<f64> {
        let run = Target::new(provider, case.payload)?.load(case.load, Bounds::of(self.time / 2))?;
        percentile(&run.latencies, 50).context("the responder answered nothing")
    }

    fn figures(&self, subject: &Subject, case: &Case) -> anyhow::Result<Figures> {
        let load = subject.load.unwrap_or(case.load);
        let target = Target::of_users(&subject.endpoint, case.payload, &subject.users)?;
        target.load(load, Bounds::of(self.warm_up()))?;
        self.run(&target, load, subject.pid)
    }

    /// One run, with the CPU time that a process took for it.
    pub fn run(&self, target: &Target, load: Load, pid: Option<u32>) -> anyhow::Result<Figures> {
        Ok(self.run_of(target, load, pid.as_slice())?.figures)
    }

    /// One run of calls that several processes have a part in.
    pub fn run_of(&self, target: &Target, load: Load, pids: &[u32]) -> anyhow::Result<Measured> {
        let cpu_times = || pids.iter().map(|pid| procfs::cpu_time(*pid)).collect::<anyhow::Result<Vec<_>>>();
        let before = cpu_times()?;
        let run = target.load(load, Bounds::of(self.time))?;
        let took: Vec<Duration> =
            cpu_times()?.into_iter().zip(before).map(|(after, before)| after.saturating_sub(before)).collect();
        let resident = pids.iter().map(|pid| Ok(procfs::memory(*pid)?.resident)).collect::<anyhow::Result<Vec<_>>>()?;
        let is_measured = !pids.is_empty();
        let cpu = is_measured.then(|| took.iter().sum());
        let figures = Figures::of(&run, cpu, is_measured.then(|| resident.iter().sum()))?;
        let calls = run.latencies.len();
        let of_call = f64::from(u32::try_from(calls).context("too many calls")?);
        let shares = took.into_iter().map(|took| microseconds(took) / of_call).collect();
        Ok(Measured { figures, shares, calls })
    }
}

/// A run of calls that several processes have a part in.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What was seen of it, with the CPU time and the memory of all of them together.
    pub figures: Figures,
    /// The CPU time of a call in each of them, in microseconds.
    pub shares: Vec<f64>,
    /// How many calls there were.
    pub calls: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(cpu: f64, p50: f64) -> Figures {
        Figures { cpu: Some(cpu), rate: 1.0, p50, p90: p50, p99: p50, max: p50, resident: None }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let first = [figures(100.0, 1.0), figures(200.0, 2.0), figures(400.0, 4.0)];
        let rounds = vec![figures(110.0, 3.0), figures(300.0, 6.0), figures(480.0, 12.0)];
        let row = Row::new("case", "one", Load::closed(1), rounds, Some(&first));
        let ratio = row.cpu_ratio.unwrap();
        assert!((ratio.median - 1.2).abs() < 1e-9 && (ratio.max - 1.5).abs() < 1e-9, "{ratio:?}");
        assert!((row.p50_ratio.unwrap().median - 3.0).abs() < 1e-9);
        assert!(Row::new("case", "first", Load::closed(1), first.to_vec(), None).cpu_ratio.is_none());
    }

    #[test]
    fn what_the_provider_takes_itself_is_not_the_proxys() {
        let added = figures(1.0, 50.0).beyond(20.0);
        assert!((added.p50 - 30.0).abs() < 1e-9 && (added.p99 - 30.0).abs() < 1e-9);
    }

    #[test]
    fn a_scenario_ends_at_its_deadline() {
        assert!(Deadline::after(Duration::ZERO).check().is_err());
        assert!(Deadline::after(Duration::from_mins(1)).check().is_ok());
    }
}
