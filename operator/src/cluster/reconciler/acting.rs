//! What was planned is carried out: as much at once as may be, and what failed again after a pause.

use std::time::{Duration, Instant};

use tokio::task::{Id, JoinError};

use super::{
    Reconciler,
    backoff::Backoff,
    reconciling::urgency_of,
    task::{Task, outcome},
};
use crate::cluster::{
    gather::REQUEST_TIMEOUT,
    plan::Target,
    queue::MAX_MASS,
    schedule::{RESYNC_PERIOD, Urgency},
};

/// The longest pause of what may end something: it must not wait long once the cause of its failures is gone.
const LAST_URGENT_PAUSE: Duration = Duration::from_secs(2);
/// Pauses after failures of the same action: they double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_mins(1);
/// The shortest time between two writes of one config, or two touches of one pod: what comes meanwhile goes together.
const MIN_WRITE_INTERVAL: Duration = Duration::from_millis(250);
/// When to look again whether the Lease has been renewed, of which the time has run out.
const LEASE_CHECK_PERIOD: Duration = Duration::from_secs(1);

impl Reconciler {
    /// Starts what may be done now. Returns when to look again.
    pub(super) fn start(&mut self) -> Instant {
        let now = Instant::now();
        let mut next = now + RESYNC_PERIOD;
        // Leadership may have been lost while something else took its time.
        if !self.tenure.holds() {
            return now + LEASE_CHECK_PERIOD;
        }
        while self.slots.has_room() {
            let (busy, resting) = (&self.busy, &self.resting);
            let may =
                |target: &Target| !busy.contains(target) && resting.get(target).is_none_or(|rest| rest.until <= now);
            let (action, is_mass) = if let Some(action) = self.queue.take_first(may) {
                self.rate.overdraw(now);
                (action, false)
            } else {
                // The last places are not for the mass.
                if self.queue.mass() == 0 || !self.slots.has_room_for_mass() {
                    break;
                }
                if let Err(wait) = self.rate.ready(now) {
                    next = next.min(now + wait);
                    break;
                }
                let Some(action) = self.queue.take_rest(may) else { break };
                self.rate.overdraw(now);
                (action, true)
            };
            self.slots.take(is_mass);
            let (target, word) = (action.target(), action.word());
            self.busy.insert(target.clone());
            let (hands, tenure) = (self.hands.clone(), self.tenure.clone());
            let task = self.running.spawn(async move {
                if !tenure.holds() {
                    return Err(anyhow::anyhow!("the Lease has run out"));
                }
                let done = tokio::time::timeout(REQUEST_TIMEOUT, hands.act(action)).await;
                done.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in {REQUEST_TIMEOUT:?}")))
            });
            self.tasks.insert(task.id(), Task { target, word, is_mass });
        }
        let later: usize = self.later.values().sum();
        self.metrics
            .waiting(self.queue.len() + self.running.len() + later + self.reconciles.len() + self.schedule.waiting());
        let ends = self.resting.iter().filter(|(target, rest)| rest.until > now && self.queue.has(target));
        ends.map(|(_, rest)| rest.until).fold(next, Instant::min)
    }

    pub(super) fn done(&mut self, done: Result<(Id, anyhow::Result<()>), JoinError>) {
        let (task, result) = outcome(done);
        let Some(Task { target, word, is_mass }) = self.tasks.remove(&task) else { return };
        self.slots.free(is_mass);
        let now = Instant::now();
        self.busy.remove(&target);
        if self.deferred.remove(&target) {
            self.schedule.request(target.namespace(), urgency_of(&target), now);
        }
        self.metrics.acted(word, result.is_ok());
        self.finished.insert(target.clone(), now);
        if self.finished.len() > MAX_MASS {
            self.finished.retain(|_, at| now.duration_since(*at) < REQUEST_TIMEOUT);
            self.resting.retain(|target, rest| rest.until > now || rest.failures > 0 && self.queue.has(target));
        }
        match result {
            Ok(()) => {
                if matches!(target, Target::Config(_) | Target::Pod(_)) {
                    let rest = Backoff { until: now + MIN_WRITE_INTERVAL, failures: 0, error: String::new() };
                    self.resting.insert(target.clone(), rest);
                } else {
                    self.resting.remove(&target);
                }
                // What depends on it is planned next. A status and a touched pod are as they were planned.
                if !matches!(target, Target::Status(_) | Target::Pod(_)) {
                    self.schedule.request(target.namespace(), Urgency::High, now);
                }
            }
            Err(error) => {
                let failures = self.resting.get(&target).map_or(0, |rest| rest.failures) + 1;
                let is_urgent = matches!(target, Target::Config(_) | Target::Secret(_));
                let longest = if is_urgent { LAST_URGENT_PAUSE } else { LAST_PAUSE };
                let pause = (FIRST_PAUSE * 2u32.saturating_pow(failures.min(16) - 1)).min(longest);
                let error = format!("{error:#}");
                tracing::warn!(action = word, target = ?target, error, again_in = ?pause, "an action failed");
                self.schedule.request(target.namespace(), Urgency::High, now);
                self.resting.insert(target, Backoff { until: now + pause, failures, error });
            }
        }
    }
}
