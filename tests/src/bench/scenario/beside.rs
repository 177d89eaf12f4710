//! Small calls beside large ones, scrapes, and a journal that rotates.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path, sync::mpsc, thread, time::Duration};

use anyhow::{Context, anyhow, ensure};

use super::super::{
    LOAD_CORE, THIRD_CORE,
    large::Served,
    listening::{free_address, until_listening},
    load::{Bounds, Load, Target},
    machine::Machine,
    manifests::Resources,
    measure::{Figures, Row},
    payload::Payload,
    remark::Remark,
    scrape::scrape,
    stage::Stage,
    statistics::Spread,
    subprocess::Subprocess,
};
use crate::pair::{poll, process::Process};

const LOAD: Load = Load::open(32, 1_000.0);
/// Those who call; their names are long, so that the journal grows.
const USERS: usize = 2_000;
const SCRAPE_INTERVAL: Duration = Duration::from_millis(250);
/// For the large calls to be under way.
const BEGIN: Duration = Duration::from_mins(5);

/// What happened beside the small calls.
#[derive(Default)]
struct Beside {
    bodies: Served,
    answers: Served,
    scrapes: usize,
    segments: usize,
}

pub fn run(stage: &Stage) -> anyhow::Result<(Vec<Row>, Vec<Remark>)> {
    stage.responder.prepare(&[Payload::ONE_BASE64])?;
    let core = large_core();
    let large = free_address()?;
    let mut provider = Subprocess::LargeProvider { listen: large }.spawn(core)?;
    until_listening(&mut provider, large)?;
    let sidecar = stage.sidecar(&Resources { large: Some(large), ..Resources::new(&stage.responder) }, &[])?;
    let proxy = sidecar.pair.proxy_address();
    let admin = sidecar.pair.admin_url().trim_start_matches("http://").parse().context("no admin address")?;
    let journal = sidecar.pair.state_dir().join("journal");

    let users: Vec<String> = (0..USERS).map(|number| format!("{number:06}-{}", "user".repeat(24))).collect();
    let through = Target::of_users(&sidecar.endpoint(), Payload::ONE_BASE64, &users)?;
    let around = Target::of_users(&stage.direct().endpoint, Payload::ONE_BASE64, &users)?;
    let pid = Some(sidecar.pid()?);
    let measure = |target: &Target, pid| -> anyhow::Result<Figures> {
        target.load(LOAD, Bounds::of(stage.plan.warm_up()))?;
        stage.plan.run(target, LOAD, pid)
    };
    let [mut alone, mut beside, mut direct_alone, mut direct_beside] = [const { Vec::new() }; 4];
    let mut happened = Beside::default();
    let deadline = stage.deadline(8);
    for _ in 0..stage.plan.rounds {
        deadline.check()?;
        alone.push(measure(&through, pid)?);
        direct_alone.push(measure(&around, None)?);

        let bodies = Subprocess::LargeBodies { to: proxy }.spawn(core)?;
        let answers = Subprocess::LargeAnswers { to: proxy }.spawn(core)?;
        stage.wait(under_way([&bodies, &answers]))?;
        let meanwhile = while_scraped(admin, &journal, || {
            beside.push(measure(&through, pid)?);
            direct_beside.push(measure(&around, None)?);
            Ok(())
        });
        for (sum, process) in [(&mut happened.bodies, &bodies), (&mut happened.answers, &answers)] {
            let served = Served::by(process.log());
            sum.answered += served.answered;
            sum.failed += served.failed;
        }
        let (scrapes, segments) = meanwhile?;
        happened.scrapes += scrapes;
        happened.segments += segments;
    }
    let case = "1,000 small calls/s";
    let [one, two] = [alone.clone(), direct_alone.clone()];
    let remarks = remarks(&happened, [(&alone, &beside), (&direct_alone, &direct_beside)])?;
    let rows = vec![
        Row::new(case, "sidecar, alone", LOAD, alone, None),
        Row::new(case, "sidecar, beside large calls", LOAD, beside, Some(&one)),
        Row::new(case, "no proxy, alone", LOAD, direct_alone, None),
        Row::new(case, "no proxy, beside large calls", LOAD, direct_beside, Some(&two)),
    ];
    Ok((rows, remarks))
}

/// A core of their own, where there is one.
fn large_core() -> usize {
    if Machine::this().cores > THIRD_CORE { THIRD_CORE } else { LOAD_CORE }
}

/// Waits until each has had an answer.
async fn under_way(processes: [&Process; 2]) -> anyhow::Result<()> {
    poll::until("the first large calls to be answered", BEGIN, async || {
        for process in processes {
            let Served { answered, .. } = Served::by(process.log());
            ensure!(answered > 0, "none was: {}", process.log().end());
        }
        Ok(Some(()))
    })
    .await
}

/// Does the work while something reads `/metrics` again and again: how often, and how many segments the journal began meanwhile.
fn while_scraped(
    admin: SocketAddr,
    journal: &Path,
    work: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<(usize, usize)> {
    let (stop, stopped) = mpsc::channel::<()>();
    let before = segments(journal)?;
    thread::scope(|scope| {
        let scraping = scope.spawn(move || {
            let (mut scrapes, mut begun) = (0, BTreeSet::new());
            loop {
                scrape(admin)?;
                scrapes += 1;
                begun.extend(segments(journal)?);
                if stopped.recv_timeout(SCRAPE_INTERVAL) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return anyhow::Ok((scrapes, begun.difference(&before).count()));
                }
            }
        });
        let done = work();
        drop(stop);
        let scraped = scraping.join().map_err(|_| anyhow!("the scraping thread panicked"))??;
        done.map(|()| scraped)
    })
}

/// The journal's segments of this moment.
fn segments(journal: &Path) -> anyhow::Result<BTreeSet<String>> {
    let entries = fs::read_dir(journal).with_context(|| format!("failed to list {}", journal.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let names: Vec<String> = names.collect::<std::io::Result<_>>()?;
    let is_segment = |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "vtj");
    Ok(names.into_iter().filter(is_segment).collect())
}

/// Figures alone and beside: of the sidecar, and of the load generator by itself.
type AloneAndBeside<'a> = (&'a [Figures], &'a [Figures]);

fn remarks(happened: &Beside, [through, around]: [AloneAndBeside<'_>; 2]) -> anyhow::Result<Vec<Remark>> {
    let added = |(alone, beside): AloneAndBeside<'_>| {
        let differences = alone.iter().zip(beside).map(|(alone, beside)| (beside.p99 - alone.p99) / 1e3);
        Spread::of(differences).map(|spread| spread.median).context("no rounds")
    };
    let Beside { bodies, answers, scrapes, segments } = happened;
    let count = |what: &str, number: usize, unit| {
        anyhow::Ok(Remark::new(format!("beside: {what}"), f64::from(u32::try_from(number)?), unit))
    };
    Ok(vec![
        Remark::new("p99 beside large calls less p99 alone, sidecar", added(through)?, "ms"),
        Remark::new("the same without a proxy: the load generator's own", added(around)?, "ms"),
        count("bodies of 16 MiB answered", bodies.answered, "calls")?,
        count("bodies of 16 MiB refused or broken", bodies.failed, "calls")?,
        count("answers of 137 MB translated", answers.answered, "calls")?,
        count("answers of 137 MB refused or broken", answers.failed, "calls")?,
        count("scrapes", *scrapes, "times")?,
        count("segments that the journal began", *segments, "segments")?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(p99: f64) -> Figures {
        Figures { cpu: None, rate: 1.0, p50: 1.0, p90: 1.0, p99, max: p99, resident: None }
    }

    #[test]
    fn what_is_added_is_the_difference_of_rounds() {
        let (alone, beside) = ([figures(1_000.0), figures(2_000.0)], [figures(3_000.0), figures(6_000.0)]);
        let quiet = [figures(10.0), figures(10.0)];
        let all = remarks(&Beside::default(), [(&alone, &beside), (&quiet, &quiet)]).unwrap();
        assert!((all[0].value - 3.0).abs() < 1e-9 && all[1].value.abs() < 1e-9, "{all:?}");
    }

    #[test]
    fn only_segments_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["1.vtj", "2.vtj", "lock"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(segments(folder.path()).unwrap().len(), 2);
    }
}
