//! Changes of one namespace of many, and when they are seen to be in force.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};

use super::super::super::{
    connection::Connection,
    endpoint::Endpoint,
    many::Namespaces,
    procfs,
    tls::{Certificate, HTTP1},
    volume::Volume,
};

/// Between two changes.
const CHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is asked whether a change is in force.
const PROBE_INTERVAL: Duration = Duration::from_millis(2);
const MAX_DELAY: Duration = Duration::from_mins(1);
/// A model's name, and what a change makes of it: the list of models is longer then.
const BEFORE: &str = "further-0";
const AFTER: &str = "further-0-renamed";

/// The namespace that is changed, and where that is seen.
pub struct Changed<'a> {
    /// All of them.
    pub namespaces: &'a Namespaces,
    /// Which.
    pub number: usize,
    /// Who is asked.
    pub endpoint: &'a Endpoint,
    /// By which it is known.
    pub certificate: &'a Certificate,
}

impl Changed<'_> {
    /// Changes it, or takes that back: when it was.
    fn put_in_force(&self, volume: &mut Volume, is_renamed: bool) -> anyhow::Result<Instant> {
        let name = if is_renamed { AFTER } else { BEFORE };
        let content = self.namespaces.bundle(self.number, |config| config.replace(BEFORE, name));
        volume.change(&Namespaces::name(self.number), &content)
    }

    /// Changes it again and again, until it is told to stop: how long each change took.
    fn again_and_again(&self, volume: &mut Volume, stop: &mpsc::Receiver<()>) -> anyhow::Result<Vec<Duration>> {
        let key = self.namespaces.key(self.number, 0);
        let request = self.endpoint.clone().with_key(&key).models_request();
        let tls = self.certificate.client(HTTP1)?;
        let mut connection = Connection::open(self.endpoint.address(), Some(&tls))?;
        let mut models = || {
            let reply = connection.exchange(&request)?;
            ensure!(reply.status == 200, "the list of models is answered {}", reply.status);
            Ok(reply.length)
        };
        let mut delays = Vec::new();
        let mut length = models()?;
        for change in 1.. {
            let begun = Instant::now();
            let swapped = self.put_in_force(volume, change % 2 == 1)?;
            length = until_another(length, swapped, &mut models)?;
            delays.push(swapped.elapsed());
            let rest = CHANGE_INTERVAL.saturating_sub(begun.elapsed());
            // An even number of changes, so that it is as it was before.
            if change % 2 == 0 && stop.recv_timeout(rest) != Err(mpsc::RecvTimeoutError::Timeout) {
                break;
            }
            if change % 2 == 1 {
                thread::sleep(rest);
            }
        }
        Ok(delays)
    }
}

fn until_another(before: u64, since: Instant, mut look: impl FnMut() -> anyhow::Result<u64>) -> anyhow::Result<u64> {
    loop {
        let now = look()?;
        if now != before {
            return Ok(now);
        }
        ensure!(since.elapsed() < MAX_DELAY, "a change has no effect");
        thread::sleep(PROBE_INTERVAL);
    }
}

/// Does the work while one namespace is changed again and again: how long each change took, and what came of the work.
pub fn while_changed<T>(
    volume: &mut Volume,
    changed: &Changed<'_>,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(Vec<Duration>, T)> {
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let changing = scope.spawn(move || changed.again_and_again(volume, &stopped));
        let done = work();
        drop(stop);
        let delays = changing.join().map_err(|_| anyhow!("the changing thread panicked"))??;
        done.map(|done| (delays, done))
    })
}

/// Milliseconds of CPU time: of a second in which nothing happens, and of a change beyond that.
pub fn cpu_of_changes(volume: &mut Volume, changed: &Changed<'_>, pid: u32, seconds: u32) -> anyhow::Result<[f64; 2]> {
    let during = |work: &mut dyn FnMut() -> anyhow::Result<()>| {
        let before = procfs::cpu_time(pid)?;
        for _ in 0..seconds {
            let begun = Instant::now();
            work()?;
            thread::sleep(CHANGE_INTERVAL.saturating_sub(begun.elapsed()));
        }
        let took = procfs::cpu_time(pid)?.saturating_sub(before);
        anyhow::Ok(took.as_secs_f64() * 1e3 / f64::from(seconds))
    };
    let idle = during(&mut || Ok(()))?;
    let mut is_renamed = false;
    let with_changes = during(&mut || {
        is_renamed = !is_renamed;
        changed.put_in_force(volume, is_renamed).map(drop)
    })?;
    Ok([idle, with_changes - idle])
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_effect_is_another_answer() {
        let mut answers = [5, 5, 7].into_iter();
        let look = || answers.next().context("no more");
        assert_eq!(until_another(5, Instant::now(), look).unwrap(), 7);
        assert_eq!(answers.next(), None);
    }
}
