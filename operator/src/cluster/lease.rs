//! Who acts: one replica at a time, by a Lease (coordination.k8s.io/v1), after the rules of Kubernetes's own components.
//!
//! Clocks of different machines are not compared: a replica takes over when it has not seen the Lease change for as long as
//! the Lease lasts, by its own clock.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, api::PostParams};
use tokio::sync::watch;

use super::stop::cancelled;

/// How long a Lease lasts.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long stops acting: before another may begin.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often a holder renews, and how often the others look.
const RENEW_PERIOD: Duration = Duration::from_secs(2);
/// How often a replica that is not fit to hold the Lease looks whether it is.
const UNFIT_PAUSE: Duration = Duration::from_millis(200);
/// The longest that one request to the API server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Until when this replica may act, by the Lease's own time: whoever was stopped for a while, and never saw its time run out, finds it
/// run out. A handle.
#[derive(Clone, Debug, Default)]
pub(super) struct Tenure(Arc<Mutex<Option<Instant>>>);

impl Tenure {
    /// As of whoever leads for an hour.
    #[cfg(test)]
    pub(super) fn endless() -> Self {
        let tenure = Self::default();
        tenure.set(Some(Instant::now() + Duration::from_hours(1)));
        tenure
    }

    /// Whether it may act now.
    pub(super) fn holds(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn until(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A Lease as one replica sees it.
pub(super) struct LeaderElector {
    api: Api<Lease>,
    name: String,
    identity: String,
    /// The Lease as it was last seen, and when it was first seen so.
    seen: Option<(Lease, Instant)>,
    renewed: Option<Instant>,
    tenure: Tenure,
}

/// What is to be done about a Lease.
#[derive(Debug, PartialEq, Eq)]
enum LeaseAction {
    Create,
    Take,
    Renew,
    Wait,
}

fn decide(lease: Option<&Lease>, unchanged: Duration, identity: &str) -> LeaseAction {
    let Some(lease) = lease else { return LeaseAction::Create };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.unwrap_or_default();
    let lasts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    if holder == identity {
        LeaseAction::Renew
    } else if holder.is_empty() || unchanged >= lasts.unwrap_or(LEASE_DURATION) {
        LeaseAction::Take
    } else {
        LeaseAction::Wait
    }
}

/// How long an attempt may take that begins now: a holder's never goes on beyond the time to give up.
fn attempt_timeout(renewed: Option<Instant>, now: Instant) -> Duration {
    renewed.map_or(REQUEST_TIMEOUT, |renewed| {
        REQUEST_TIMEOUT.min(RENEW_DEADLINE.saturating_sub(now.duration_since(renewed)))
    })
}

impl LeaderElector {
    pub(super) fn new(api: Api<Lease>, name: &str, identity: &str, tenure: Tenure) -> Self {
        Self { api, name: name.to_owned(), identity: identity.to_owned(), seen: None, renewed: None, tenure }
    }

    /// Holds the Lease whenever it can and says so, until it is told to stop; then gives it back. Whoever is not `fit`, because it has not
    /// listed everything or can watch nothing, is no candidate, and gives back what it holds: another replica may be better off.
    pub(super) async fn run(
        mut self,
        leads: watch::Sender<bool>,
        mut stop: watch::Receiver<bool>,
        fit: impl Fn() -> bool + Send,
    ) {
        loop {
            if !fit() {
                self.tenure.set(None);
                if leads.send_if_modified(|leads| std::mem::replace(leads, false)) {
                    tracing::warn!(
                        identity = self.identity,
                        "the Lease is given back: this replica cannot watch what it acts on"
                    );
                }
                if self.renewed.take().is_some() {
                    let _ = tokio::time::timeout(REQUEST_TIMEOUT, self.give_back()).await;
                }
                tokio::select! {
                    () = tokio::time::sleep(UNFIT_PAUSE) => continue,
                    () = cancelled(&mut stop) => break,
                }
            }
            // Never longer than until the time to give up: whoever hangs on the API server must stop acting in time.
            let began = Instant::now();
            let attempt = tokio::time::timeout(attempt_timeout(self.renewed, began), self.attempt()).await;
            match attempt {
                Ok(Ok(is_held)) => self.renewed = is_held.then_some(began),
                Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "the Lease cannot be had"),
                Err(_) => tracing::warn!(lease = self.name, "the API server did not answer about the Lease"),
            }
            // Whoever has given up is a candidate like any other, with all the time that one has.
            self.renewed = self.renewed.filter(|renewed| renewed.elapsed() < RENEW_DEADLINE);
            self.tenure.set(self.renewed.map(|renewed| renewed + RENEW_DEADLINE));
            let leads_now = self.renewed.is_some();
            if leads.send_if_modified(|leads| std::mem::replace(leads, leads_now) != leads_now) {
                tracing::info!(identity = self.identity, leads = leads_now, "leadership");
            }
            // A holder that cannot renew must stop in time, not at its next look.
            let pause = match self.renewed {
                Some(renewed) => {
                    RENEW_PERIOD.min(RENEW_DEADLINE.saturating_sub(renewed.elapsed())).max(Duration::from_millis(100))
                }
                None => RENEW_PERIOD,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = cancelled(&mut stop) => break,
            }
        }
        self.tenure.set(None);
        leads.send_replace(false);
        if self.renewed.is_some() {
            let given_back = tokio::time::timeout(REQUEST_TIMEOUT, self.give_back()).await;
            tracing::info!(given_back = matches!(given_back, Ok(Ok(()))), "the Lease");
        }
    }

    /// One look, and the move that follows from it. True: the Lease is held.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let present = self.api.get_opt(&self.name).await?;
        self.observe(present);
        let (lease, unchanged) = match &self.seen {
            Some((lease, since)) => (Some(lease), since.elapsed()),
            None => (None, Duration::ZERO),
        };
        let written = match decide(lease, unchanged, &self.identity) {
            LeaseAction::Wait => return Ok(false),
            LeaseAction::Create => self.api.create(&PostParams::default(), &self.mine(None)).await,
            LeaseAction::Take | LeaseAction::Renew => {
                self.api.replace(&self.name, &PostParams::default(), &self.mine(lease)).await
            }
        };
        match written {
            Ok(written) => {
                self.observe(Some(written));
                Ok(true)
            }
            // Another one was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn observe(&mut self, present: Option<Lease>) {
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        self.seen = match (present, self.seen.take()) {
            (Some(present), Some((known, since))) if version(&present) == version(&known) => Some((known, since)),
            (Some(present), _) => Some((present, Instant::now())),
            (None, _) => None,
        };
    }

    /// The Lease as ours. Its resource version goes along: whoever changed it meanwhile wins.
    fn mine(&self, present: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = present.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let is_mine = before.holder_identity.as_deref() == Some(&*self.identity);
        Lease {
            metadata: present.map_or_else(
                || ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                |lease| lease.metadata.clone(),
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
                acquire_time: if is_mine { before.acquire_time } else { Some(now.clone()) },
                renew_time: Some(now),
                lease_transitions: Some(before.lease_transitions.unwrap_or_default() + i32::from(!is_mine)),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn give_back(&mut self) -> kube::Result<()> {
        let Some((lease, _)) = self.seen.take() else { return Ok(()) };
        let mut free = self.mine(Some(&lease));
        if let Some(spec) = &mut free.spec {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        self.api.replace(&self.name, &PostParams::default(), &free).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn lease(holder: &str) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_has_run_out_and_not_before() {
        let seconds = Duration::from_secs;
        assert_eq!(decide(None, seconds(0), "a"), LeaseAction::Create);
        assert_eq!(decide(Some(&lease("a")), seconds(99), "a"), LeaseAction::Renew);
        assert_eq!(decide(Some(&lease("b")), seconds(14), "a"), LeaseAction::Wait);
        assert_eq!(decide(Some(&lease("b")), seconds(15), "a"), LeaseAction::Take);
        assert_eq!(decide(Some(&lease("")), seconds(0), "a"), LeaseAction::Take);
    }

    #[test]
    fn a_holder_has_until_it_gives_up_and_a_candidate_its_whole_timeout() {
        let now = Instant::now();
        assert_eq!(attempt_timeout(None, now), REQUEST_TIMEOUT);
        assert_eq!(attempt_timeout(Some(now), now), REQUEST_TIMEOUT);
        assert_eq!(
            attempt_timeout(Some(now), now + RENEW_DEADLINE.checked_sub(Duration::from_secs(1)).unwrap()),
            Duration::from_secs(1)
        );
    }

    #[test]
    fn whoever_was_stopped_for_longer_than_the_lease_lasts_may_not_act() {
        let tenure = Tenure::default();
        assert!(!tenure.holds());
        tenure.set(Some(Instant::now() + Duration::from_mins(1)));
        assert!(tenure.holds());
        // Nobody has said that it is over: the time alone has passed.
        tenure.set(Some(Instant::now()));
        assert!(!tenure.holds());
    }

    #[test]
    fn a_holder_stops_before_another_may_begin() {
        assert!(RENEW_DEADLINE + RENEW_PERIOD < LEASE_DURATION);
        assert!(REQUEST_TIMEOUT + RENEW_PERIOD < RENEW_DEADLINE);
    }
}
