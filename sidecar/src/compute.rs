//! Threads for work that keeps a processor busy: parsing, tokenizing, signing, translating, rendering. The event loop does none of it where
//! it is much, and nothing else waits for these threads: files, names and the store have the runtime's own.
//!
//! There are as many as there are processors (of the container's limit, where it has one), and one more, which large work never gets: what is
//! soon done waits for no tokenizing of megabytes. Each is started when it is first needed.
//!
//! Work waits for its turn with whoever asked for it: what is dropped meanwhile is never begun, and what it would need is free at once. So
//! there is no queue that could grow, and the memory of those who wait is what [`crate::memory`] has given them.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use prometheus::{IntCounter, IntGauge, Registry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Work on more bytes is large. Of tokenizing, the slowest of all, that is about a tenth of a second.
pub const LARGE_WORK_BYTES: u64 = 1024 * 1024;

/// The most threads for large work. A sidecar that needs more is no sidecar any more.
const MAX_PROCESSORS: usize = 8;

/// How much these threads give way to the event loop where both want one processor: their share is about a tenth then, and all that is left over.
/// It is reckoned within the container only.
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// The threads. A handle: clones share them. They end when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Compute(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    jobs: Sender<Job>,
    taken: Arc<Mutex<Receiver<Job>>>,
    /// A permit is a thread.
    threads: Arc<Semaphore>,
    /// The part of them that large work may have.
    for_large: Arc<Semaphore>,
    most: usize,
    started: Mutex<usize>,
    metrics: ComputeMetrics,
}

/// What Prometheus sees of them. A handle: clones write to the same series.
#[derive(Clone, Debug)]
pub struct ComputeMetrics {
    waiting: IntGauge,
    work: IntCounter,
    bytes: IntCounter,
    panics: IntCounter,
}

/// What was to be done was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// A mistake in this program. The log says more.
    #[error("it ended in a panic")]
    Panicked,
    /// The machine has no thread left for it.
    #[error("no thread can be started")]
    NoThread,
}

impl ComputeMetrics {
    /// Metrics that nobody sees yet.
    pub fn new() -> prometheus::Result<Self> {
        Ok(Self {
            waiting: IntGauge::new("vectoll_compute_waiting", "Work of calls that waits for a thread to be done on.")?,
            work: IntCounter::new("vectoll_compute_work_total", "Work that was done beside the event loop.")?,
            bytes: IntCounter::new(
                "vectoll_compute_work_bytes_total",
                "Bytes of bodies and answers that were worked on beside the event loop, each as often as it was.",
            )?,
            panics: IntCounter::new(
                "vectoll_compute_panics_total",
                "Work that ended in a panic: its call failed, and the log says where.",
            )?,
        })
    }

    /// Registers all of them.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let Self { waiting, work, bytes, panics } = self;
        registry.register(Box::new(waiting.clone()))?;
        registry.register(Box::new(work.clone()))?;
        registry.register(Box::new(bytes.clone()))?;
        registry.register(Box::new(panics.clone()))
    }
}

impl Compute {
    /// Threads for as many processors as this process may use.
    pub fn new(metrics: ComputeMetrics) -> Self {
        // By the affinity and the quota of the control group.
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self::of_processors(processors.min(MAX_PROCESSORS), metrics)
    }

    fn of_processors(processors: usize, metrics: ComputeMetrics) -> Self {
        let (jobs, taken) = channel();
        let most = processors + 1;
        Self(Arc::new(Pool {
            jobs,
            taken: Arc::new(Mutex::new(taken)),
            threads: Arc::new(Semaphore::new(most)),
            for_large: Arc::new(Semaphore::new(processors)),
            most,
            started: Mutex::new(0),
            metrics,
        }))
    }

    /// Does work on so many bytes on one of the threads. Dropped before it has a thread, it is not done; from then on it is done to its end.
    ///
    /// Boxed: few calls are large, and the future of a call is as large as its largest way.
    pub fn run<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
        &self,
        bytes: u64,
        work: W,
    ) -> Pin<Box<impl Future<Output = Result<T, NotDone>> + Send + use<'_, T, W>>> {
        Box::pin(async move {
            let permit = self.thread_permit(bytes).await?;
            let (sender, receiver) = oneshot::channel();
            let (pool, metrics) = (&self.0, self.0.metrics.clone());
            pool.start_if_needed()?;
            let job = move || do_it((work, bytes), permit, sender, &metrics);
            pool.jobs.send(Box::new(job)).map_err(|_| NotDone::NoThread)?;
            receiver.await.unwrap_or(Err(NotDone::Panicked))
        })
    }

    /// Does it here and now where it is on at most `few` bytes: to hand it to another thread and back costs more than that takes.
    pub async fn run_above<T: Send + 'static>(
        &self,
        few: u64,
        bytes: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NotDone> {
        if bytes <= few { Ok(work()) } else { self.run(bytes, work).await }
    }

    async fn thread_permit(&self, bytes: u64) -> Result<ThreadPermit, NotDone> {
        let Pool { threads, for_large, metrics, .. } = &*self.0;
        let waiting = GaugeGuard::new(&metrics.waiting);
        // In the order of their coming. The part of the large ones first, so that none holds a thread's permit and waits.
        let of_large = if bytes > LARGE_WORK_BYTES { Some(acquire(for_large).await?) } else { None };
        let thread = acquire(threads).await?;
        drop(waiting);
        Ok(ThreadPermit { _thread: thread, _of_large: of_large })
    }
}

/// Neither semaphore is ever closed.
async fn acquire(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, NotDone> {
    semaphore.clone().acquire_owned().await.map_err(|_| NotDone::NoThread)
}

/// The right to a thread. It is given back when the work is done, whoever still waits for it.
struct ThreadPermit {
    _thread: OwnedSemaphorePermit,
    _of_large: Option<OwnedSemaphorePermit>,
}

/// Counts work as waiting for a thread, until it is dropped.
struct GaugeGuard<'a>(&'a IntGauge);

impl<'a> GaugeGuard<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for GaugeGuard<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Pool {
    /// Starts a thread where there are fewer than permits that are out: each permit finds a thread.
    fn start_if_needed(&self) -> Result<(), NotDone> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let permits = self.most.saturating_sub(self.threads.available_permits());
        if *started >= permits {
            return Ok(());
        }
        let taken = self.taken.clone();
        match thread::Builder::new().name("compute".to_owned()).spawn(move || serve(&taken)) {
            Ok(_) => *started += 1,
            // Those that there are will come to it.
            Err(error) if *started > 0 => {
                tracing::warn!(%error, threads = *started, "no further thread can be started");
            }
            Err(error) => {
                tracing::error!(%error, "no thread can be started: large calls are refused");
                return Err(NotDone::NoThread);
            }
        }
        Ok(())
    }
}

fn serve(jobs: &Mutex<Receiver<Job>>) {
    // Linux has it for each thread by itself. Without it all is slower and nothing wrong.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "a thread does not give way to the event loop");
    }
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job();
    }
}

fn do_it<T, W: FnOnce() -> T>(
    (work, bytes): (W, u64),
    permit: ThreadPermit,
    sender: oneshot::Sender<Result<T, NotDone>>,
    metrics: &ComputeMetrics,
) {
    // Whoever asked has left since it got its permit.
    if sender.is_closed() {
        return;
    }
    metrics.work.inc();
    metrics.bytes.inc_by(bytes);
    let done = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        metrics.panics.inc();
        // What the work was on is in no message of ours, and of the callers' inputs nothing may be in the log.
        tracing::error!(
            work = std::any::type_name::<W>(),
            at = place(&*panic),
            "a mistake in this program: work of a call ended in a panic"
        );
        NotDone::Panicked
    });
    // Before the result is sent: whoever gets it may ask for the next at once.
    drop(permit);
    let _ = sender.send(done);
}

/// What a panic says of itself, as far as it was written here and cannot have anything of a call in it.
fn place(panic: &(dyn Any + Send)) -> &'static str {
    panic.downcast_ref::<&'static str>().copied().unwrap_or("a message that may quote the call")
}

#[cfg(test)]
mod tests;
