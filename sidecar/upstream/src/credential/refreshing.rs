//! What expires, kept fresh: fetched by one at a time, renewed before it ends, and served meanwhile.
//!
//! Nothing runs on its own: the value is renewed on behalf of a caller who asks for it near its end. One that nobody has
//! asked for is fetched at the next question.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::watch, time::Instant};

use super::error::{CredentialError, FetchError, chain};
use vectoll_clock::Clock;

/// Renewed when less than this, or than a tenth of its life, is left.
const AHEAD: Duration = Duration::from_mins(1);
const AHEAD_PART: u32 = 10;
/// No fetch takes longer, of however many requests it consists. Who waits for it waits no longer either.
pub const FETCH_LIMIT: Duration = Duration::from_secs(30);
/// How long a call waits for another value where the provider refused the one that there is. It may have refused it for
/// another reason than its age, so it is not given up for an issuer that does not answer.
const REFRESH_WAIT: Duration = Duration::from_secs(5);
/// After a failure the next attempt waits, twice as long each time.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Something that was given for a time.
#[derive(Clone, Debug)]
pub struct Issued<T> {
    /// What was given.
    pub value: T,
    /// How long it is good, from before it was asked for.
    pub life: Duration,
}

impl<T> Issued<T> {
    /// Something that ends at a time in RFC 3339, and was asked for at another one.
    pub fn until(value: T, ends: &str, asked: Timestamp) -> Result<Self, FetchError> {
        let ends: Timestamp = ends.parse().map_err(|_| FetchError::Answer("does not say when it expires"))?;
        // What has ended already has no life.
        Ok(Self { value, life: Duration::try_from(ends.duration_since(asked)).unwrap_or_default() })
    }
}

/// A value that is there when it is wanted. A handle: clones share it.
pub struct Refreshing<T>(Arc<Cell<T>>);

impl<T> Clone for Refreshing<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Cell<T> {
    what: Arc<str>,
    fetch: Fetch<T>,
    state: Mutex<State<T>>,
}

type Fetched<T> = Result<Issued<T>, FetchError>;
type Fetch<T> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Fetched<T>> + Send>> + Send + Sync>;
type Outcome<T> = Option<Result<Arc<T>, FetchError>>;

struct State<T> {
    cached: Option<CachedCredential<T>>,
    /// What was served before it: answers to calls that were made with it may still come in.
    before: Option<Arc<T>>,
    fetching: Option<watch::Receiver<Outcome<T>>>,
    failed: Option<Failed>,
}

struct CachedCredential<T> {
    value: Arc<T>,
    life: Duration,
    requested_at: SuspendAwareInstant,
    /// The provider would not have it.
    doubted: bool,
}

/// An instant by two clocks. Tokio's can be paused in tests; the other one runs on while the machine is suspended, when
/// tokens go on to age.
#[derive(Clone, Copy)]
struct SuspendAwareInstant {
    runtime: Instant,
    machine: Clock,
}

struct Failed {
    times: u32,
    again: Instant,
    why: FetchError,
}

impl SuspendAwareInstant {
    fn now() -> Self {
        Self { runtime: Instant::now(), machine: Clock::start() }
    }

    fn elapsed(&self) -> Duration {
        self.runtime.elapsed().max(self.machine.now().elapsed)
    }
}

impl<T> CachedCredential<T> {
    fn left(&self) -> Duration {
        self.life.saturating_sub(self.requested_at.elapsed())
    }

    fn wants_renewal(&self) -> bool {
        // Of a very short life the first half is left in peace: else each caller would have it renewed.
        let ahead = AHEAD.max(self.life / AHEAD_PART).min(self.life / 2);
        self.doubted || self.left() < ahead
    }
}

impl<T: Send + Sync + 'static> Refreshing<T> {
    /// A value that is not there yet. `what` names it in errors ("a token of …"), `fetch` gets it.
    pub fn new<F, Fut>(what: impl Into<Arc<str>>, fetch: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Fetched<T>> + Send + 'static,
    {
        let state = State { cached: None, before: None, fetching: None, failed: None };
        let fetch: Fetch<T> = Box::new(move || Box::pin(fetch()));
        Self(Arc::new(Cell { what: what.into(), fetch, state: Mutex::new(state) }))
    }

    /// The value. Waits only if there is none that is still good, or for a while if the provider refused it.
    pub async fn get(&self) -> Result<Arc<T>, CredentialError> {
        let (mut outcome, doubted) = {
            let mut state = self.0.state();
            // A fetch that ended without a word has panicked.
            let under_way = state.fetching.clone().filter(|fetching| fetching.has_changed().is_ok());
            let resting = state.failed.as_ref().filter(|failed| Instant::now() < failed.again);
            match (state.cached.as_ref().filter(|cached| !cached.left().is_zero()), under_way, resting) {
                (Some(cached), under_way, resting) => {
                    let (value, doubted) = (Arc::clone(&cached.value), cached.doubted);
                    let under_way = if cached.wants_renewal() && under_way.is_none() && resting.is_none() {
                        let started = self.start();
                        state.fetching = Some(started.clone());
                        Some(started)
                    } else {
                        under_way
                    };
                    match under_way.filter(|_| doubted) {
                        Some(under_way) => (under_way, Some(value)),
                        None => return Ok(value),
                    }
                }
                (None, Some(under_way), _) => (under_way, None),
                (None, None, Some(failed)) => return Err(self.0.error(failed.why.clone())),
                (None, None, None) => {
                    let started = self.start();
                    state.fetching = Some(started.clone());
                    (started, None)
                }
            }
        };
        if let Some(doubted) = doubted {
            let fetched = tokio::time::timeout(REFRESH_WAIT, outcome.wait_for(Option::is_some)).await;
            let fetched = fetched.ok().and_then(Result::ok).and_then(|outcome| outcome.clone());
            return Ok(fetched.and_then(Result::ok).unwrap_or(doubted));
        }
        let broke_off = || self.0.error(FetchError::BrokeOff);
        let outcome = outcome.wait_for(Option::is_some).await.map_err(|_| broke_off())?.clone();
        outcome.ok_or_else(broke_off)?.map_err(|why| self.0.error(why))
    }

    /// Has the value fetched, if it is not there and nobody has asked for it yet.
    pub fn prepare(&self) {
        let mut state = self.0.state();
        if state.cached.is_none() && state.fetching.is_none() && state.failed.is_none() {
            state.fetching = Some(self.start());
        }
    }

    /// What has been given out, as far as calls with it may still be under way.
    pub fn known(&self) -> Vec<Arc<T>> {
        let state = self.0.state();
        state.cached.as_ref().map(|cached| &cached.value).into_iter().chain(&state.before).cloned().collect()
    }

    /// The provider refused the value: it is renewed at the next question, though it has not ended. Once only in so long a
    /// time as a fetch may take: what is refused when it is new is not refused for its age.
    pub fn doubt(&self) {
        let mut state = self.0.state();
        if let Some(cached) = state.cached.as_mut().filter(|cached| cached.requested_at.elapsed() > FETCH_LIMIT) {
            cached.doubted = true;
        }
    }

    /// Starts a fetch that nobody's leaving stops.
    fn start(&self) -> watch::Receiver<Outcome<T>> {
        let (sender, receiver) = watch::channel(None);
        let cell = Arc::clone(&self.0);
        tokio::spawn(async move {
            let requested_at = SuspendAwareInstant::now();
            let fetched = tokio::time::timeout(FETCH_LIMIT, (cell.fetch)()).await.unwrap_or(Err(FetchError::TooSlow));
            let outcome = cell.keep(requested_at, fetched);
            sender.send_replace(Some(outcome));
        });
        receiver
    }
}

impl<T> Cell<T> {
    fn keep(&self, requested_at: SuspendAwareInstant, fetched: Fetched<T>) -> Result<Arc<T>, FetchError> {
        let mut state = self.state();
        state.fetching = None;
        match fetched {
            Ok(Issued { value, life }) if !life.is_zero() => {
                let value = Arc::new(value);
                let cached = CachedCredential { value: Arc::clone(&value), life, requested_at, doubted: false };
                state.before = state.cached.replace(cached).map(|cached| cached.value);
                if let Some(Failed { times, .. }) = state.failed.take() {
                    tracing::info!(what = %self.what, times, "a credential was renewed after failures");
                }
                Ok(value)
            }
            fetched => {
                let why = fetched.err().unwrap_or(FetchError::Answer("is of something that has expired already"));
                let times = state.failed.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
                let again = Instant::now() + backoff(times, fastrand::f64());
                let left = state.cached.as_ref().map(CachedCredential::left).unwrap_or_default();
                let seconds_left = left.as_secs();
                tracing::warn!(what = %self.what, times, seconds_left, error = %chain(&why), "failed to renew a credential");
                state.failed = Some(Failed { times, again, why: why.clone() });
                Err(why)
            }
        }
    }

    fn error(&self, why: FetchError) -> CredentialError {
        CredentialError::Fetch { what: Arc::clone(&self.what), source: why }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that could panic is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> std::fmt::Debug for Refreshing<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fresh").field("what", &self.0.what).finish_non_exhaustive()
    }
}

/// How long to wait after so many failures in a row. `chance`, from 0 to 1, spreads many sidecars over the second half.
fn backoff(times: u32, chance: f64) -> Duration {
    let (first, most) = BACKOFF;
    let longest = first.saturating_mul(1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX)).min(most);
    longest.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests;
