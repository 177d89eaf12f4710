//! Calls that wait for room in a limit, where their key lets them, instead of being refused.
//!
//! Each scope that has no room has a queue: who came first goes first, and nobody overtakes those who wait there. Only the head of a
//! queue asks for room, when there is to be some; the others wait for their turn. A call whose wait cannot succeed is refused at once,
//! and one whose caller leaves has left its queue.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus::{Histogram, HistogramOpts, IntGauge};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use vectoll_limits::counters::{Account, Retry, Scope};

use crate::call::Call;

/// The most calls that wait in a sidecar. Each holds what it has read.
const MAX_WAITING_CALLS: usize = 1_024;
/// The head of a queue tries again after this time at the latest: what others give back makes room sooner than was said.
const RETRY_PERIOD: Duration = Duration::from_millis(250);
/// And so soon where room depends on calls under way alone.
const RETRY_PERIOD_WHEN_FREE: Duration = Duration::from_millis(10);

/// The queues of all scopes.
#[derive(Debug)]
pub struct WaitQueues {
    queues: Mutex<HashMap<Account, Weak<WaitQueue>>>,
    /// How many calls wait, in all of them.
    waiting: Arc<AtomicUsize>,
    metrics: WaitMetrics,
}

/// The calls that wait for room in one scope. It is there for as long as somebody is in it.
#[derive(Debug)]
struct WaitQueue {
    /// Whose turn it is. Fair: in the order in which they came.
    turn: Arc<Semaphore>,
    /// When the head tries again, as far as it knows.
    room_at: Mutex<Option<Instant>>,
}

/// The head of a queue.
#[derive(Debug)]
pub(super) struct QueueHead {
    account: Account,
    queue: Arc<WaitQueue>,
    _turn: OwnedSemaphorePermit,
    _counted: WaitingGuard,
}

/// Counts a call as one that waits, until it is dropped.
#[derive(Debug)]
struct WaitingGuard(Arc<AtomicUsize>, IntGauge);

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        self.1.dec();
    }
}

/// Why a call does not wait: its time is not enough, or too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoWait;

impl WaitQueues {
    /// None yet.
    pub fn new(metrics: WaitMetrics) -> Self {
        Self { queues: Mutex::default(), waiting: Arc::default(), metrics }
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<Account, Weak<WaitQueue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where of these accounts somebody waits already, but for the queue whose head the call is.
    pub(super) fn busy<'a>(
        &self,
        accounts: impl IntoIterator<Item = (usize, &'a Account)>,
        own: Option<&QueueHead>,
    ) -> Option<usize> {
        // Nearly always nobody waits.
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let queues = self.queues();
        let is_busy = |account: &Account| {
            own.is_none_or(|own| own.account != *account)
                && queues.get(account).is_some_and(|queue| queue.strong_count() > 0)
        };
        accounts.into_iter().find(|(_, account)| is_busy(account)).map(|(at, _)| at)
    }

    /// Joins a queue, and waits until it is the call's turn there; not beyond `until`.
    pub(super) async fn join(&self, account: &Account, until: Instant) -> Result<QueueHead, NoWait> {
        if self.waiting.load(Ordering::Relaxed) >= MAX_WAITING_CALLS || Instant::now() >= until {
            return Err(NoWait);
        }
        let guard = self.count();
        let queue = self.queue(account);
        let head_retries_at = *queue.room_at.lock().unwrap_or_else(PoisonError::into_inner);
        if head_retries_at.is_some_and(|at| at > until) {
            // Who is before it waits longer than it can.
            return Err(NoWait);
        }
        let turn = tokio::time::timeout_at(until, queue.turn.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| NoWait)?.map_err(|_| NoWait)?;
        Ok(QueueHead { account: account.clone(), queue, _turn: turn, _counted: guard })
    }

    fn count(&self) -> WaitingGuard {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.metrics.waiting.inc();
        WaitingGuard(self.waiting.clone(), self.metrics.waiting.clone())
    }

    fn queue(&self, account: &Account) -> Arc<WaitQueue> {
        let mut queues = self.queues();
        if let Some(queue) = queues.get(account).and_then(Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::new(WaitQueue { turn: Arc::new(Semaphore::new(1)), room_at: Mutex::default() });
        queues.insert(account.clone(), Arc::downgrade(&queue));
        queue
    }

    /// Notes how long a call has waited.
    pub(super) fn waited(&self, time: Duration) {
        self.metrics.seconds.observe(time.as_secs_f64());
    }
}

impl QueueHead {
    /// Whether it is the head of this account's queue.
    pub(super) fn is_of(&self, account: &Account) -> bool {
        self.account == *account
    }

    /// Waits until there may be room.
    pub(super) async fn wait(&self, retry: Retry, until: Instant) -> Result<(), NoWait> {
        let now = Instant::now();
        let (room_at, period) = match retry {
            Retry::WhenFree => (now, RETRY_PERIOD_WHEN_FREE),
            Retry::After(wait) => (now + wait, RETRY_PERIOD.min(wait + Duration::from_millis(1))),
            Retry::Never => return Err(NoWait),
        };
        if room_at > until || now >= until {
            return Err(NoWait);
        }
        *self.queue.room_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(room_at);
        tokio::time::sleep_until((now + period).min(until)).await;
        Ok(())
    }
}

/// One call's wait: since when, and the queue whose head it is.
pub(super) struct CallWait<'a> {
    queues: &'a WaitQueues,
    call: &'a Call,
    begun: Option<Instant>,
    head: Option<QueueHead>,
}

impl<'a> CallWait<'a> {
    /// It does not wait yet.
    pub(super) fn new(queues: &'a WaitQueues, call: &'a Call) -> Self {
        Self { queues, call, begun: None, head: None }
    }

    /// The scope in which others wait, if there is one. A query goes past documents that wait where a part is left to queries.
    pub(super) fn others_are_first<'s>(&self, scopes: &'s [Scope<'s>]) -> Option<&'s Scope<'s>> {
        let of_documents = |of: &Account| {
            scopes.iter().any(|scope| matches!(&scope.account, Account::Documents(whole) if **whole == *of))
        };
        let waits =
            |scope: &Scope<'_>| scope.limits.reserved_for_queries_percent.is_none() || of_documents(&scope.account);
        let all = scopes.iter().enumerate().filter(|(_, scope)| waits(scope));
        let at = self.queues.busy(all.map(|(at, scope)| (at, &scope.account)), self.head.as_ref())?;
        scopes.get(at)
    }

    /// Joins a queue until it is its turn. Its place in another one is given up: two that wait for each other would both wait in vain.
    pub(super) async fn join(&mut self, account: &Account) -> Result<(), NoWait> {
        let until = self.until()?;
        self.begun.get_or_insert_with(Instant::now);
        self.head = None;
        self.head = Some(self.queues.join(account, until).await?);
        Ok(())
    }

    /// Waits until there may be room in a scope that has none, in its turn.
    pub(super) async fn wait_for(&mut self, account: &Account, retry: Retry) -> Result<(), NoWait> {
        let until = self.until()?;
        if retry == Retry::Never || matches!(retry, Retry::After(wait) if Instant::now() + wait > until) {
            return Err(NoWait);
        }
        match &self.head {
            Some(head) if head.is_of(account) => head.wait(retry, until).await,
            // Where it is the head at once, there is as little room as there was.
            Some(_) | None => self.join(account).await,
        }
    }

    fn until(&self) -> Result<Instant, NoWait> {
        self.call.waits_until.ok_or(NoWait)
    }
}

impl Drop for CallWait<'_> {
    fn drop(&mut self) {
        if let Some(begun) = self.begun {
            let time = begun.elapsed();
            self.queues.waited(time);
            self.call.outcome.waited(time);
        }
    }
}

/// What Prometheus sees of them.
#[derive(Clone, Debug)]
pub struct WaitMetrics {
    waiting: IntGauge,
    seconds: Histogram,
}

impl WaitMetrics {
    /// New ones, not registered yet.
    pub fn new() -> prometheus::Result<Self> {
        let help = "How long calls waited for room in a limit, of those that waited (maxWaitSeconds).";
        let buckets = vec![0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
        Ok(Self {
            waiting: IntGauge::new("vectoll_waiting_calls", "Calls that wait for room in a limit (maxWaitSeconds).")?,
            seconds: Histogram::with_opts(HistogramOpts::new("vectoll_limit_wait_seconds", help).buckets(buckets))?,
        })
    }

    /// Has them rendered.
    pub fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.waiting.clone()))?;
        registry.register(Box::new(self.seconds.clone()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use vectoll_config::Uid;

    use super::*;

    fn account(name: &str) -> Account {
        Account::Key(Uid::new(name))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn who_came_first_goes_first_and_who_leaves_is_not_waited_for() {
        let queues = Arc::new(WaitQueues::new(WaitMetrics::new().unwrap()));
        let head = queues.join(&account("a"), soon()).await.unwrap();
        let order: Arc<Mutex<Vec<u32>>> = Arc::default();
        let mut waiting = Vec::new();
        for n in 0..4 {
            let (of_task, order) = (queues.clone(), order.clone());
            waiting.push(tokio::spawn(async move {
                let head = of_task.join(&account("a"), soon()).await.unwrap();
                order.lock().unwrap().push(n);
                drop(head);
            }));
            while queues.waiting.load(Ordering::Relaxed) < n as usize + 2 {
                tokio::task::yield_now().await;
            }
        }
        waiting.swap_remove(1).abort();
        drop(head);
        for task in waiting {
            let _ = task.await;
        }
        assert_eq!(*order.lock().unwrap(), [0, 2, 3]);
        assert_eq!(queues.waiting.load(Ordering::Relaxed), 0);
        assert_eq!(queues.busy([account("a")].iter().enumerate(), None), None, "nobody waits any more");
    }

    #[tokio::test]
    async fn a_line_is_busy_for_all_but_its_head_and_other_lines_are_not() {
        let queues = WaitQueues::new(WaitMetrics::new().unwrap());
        let head = queues.join(&account("a"), soon()).await.unwrap();
        let accounts = [account("b"), account("a")];
        assert_eq!(queues.busy(accounts.iter().enumerate(), None), Some(1));
        assert_eq!(queues.busy(accounts.iter().enumerate(), Some(&head)), None);
        assert!(queues.join(&account("b"), soon()).await.is_ok());
        let late = Instant::now() + Duration::from_millis(20);
        assert_eq!(queues.join(&account("a"), late).await.err(), Some(NoWait), "its time is over before its turn");
    }

    #[tokio::test]
    async fn what_cannot_succeed_is_refused_at_once() {
        let queues = WaitQueues::new(WaitMetrics::new().unwrap());
        let head = queues.join(&account("a"), soon()).await.unwrap();
        let begun = Instant::now();
        assert_eq!(head.wait(Retry::Never, soon()).await, Err(NoWait));
        assert_eq!(head.wait(Retry::After(Duration::from_mins(1)), soon()).await, Err(NoWait));
        assert_eq!(head.wait(Retry::After(Duration::from_secs(4)), soon()).await, Ok(()));
        // The head waits for four seconds: who has two waits in vain.
        let two = Instant::now() + Duration::from_secs(2);
        assert_eq!(queues.join(&account("a"), two).await.err(), Some(NoWait));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let many: Vec<WaitingGuard> = (1..MAX_WAITING_CALLS).map(|_| queues.count()).collect();
        assert_eq!(queues.join(&account("b"), soon()).await.err(), Some(NoWait), "too many wait");
        drop(many);
        assert!(queues.join(&account("b"), soon()).await.is_ok());
    }
}
