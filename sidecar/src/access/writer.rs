//! From the request path to standard output, without waiting for it: lines gather in memory, and a thread of its own writes
//! them. Where nobody takes them away in time they are dropped and counted: the log is not the books.

use std::{
    io::Write,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus::IntCounter;

/// The counter of lines that were dropped.
pub const LOST: &str = "vectoll_access_log_dropped_total";
/// Bytes that may wait.
const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;
/// How long lines gather, so that a busy sidecar writes many at a time.
const GATHER: Duration = Duration::from_millis(50);

/// A handle on the thread that writes.
#[derive(Clone, Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    lost: IntCounter,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<QueuedLines>,
    changed: Condvar,
}

/// Lines that are not written yet.
#[derive(Debug, Default)]
struct QueuedLines {
    lines: Vec<u8>,
    /// A piece is being written.
    is_writing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, QueuedLines> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Starts the thread. `lost` counts what it could not take.
    pub fn start(mut out: impl Write + Send + 'static, lost: IntCounter) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (theirs, counted) = (shared.clone(), lost.clone());
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            loop {
                let some = theirs.changed.wait_while(theirs.lock(), |queue| queue.lines.is_empty());
                drop(some);
                std::thread::sleep(GATHER);
                let mut queue = theirs.lock();
                queue.is_writing = true;
                let lines = std::mem::take(&mut queue.lines);
                drop(queue);
                // Nobody reads any more, most likely. Some of the lines may be out: how many cannot be known.
                if out.write_all(&lines).and_then(|()| out.flush()).is_err() {
                    counted.inc_by(memchr::memchr_iter(b'\n', &lines).count() as u64);
                }
                theirs.lock().is_writing = false;
                theirs.changed.notify_all();
            }
        })?;
        Ok(Self { shared, lost })
    }

    /// Takes a line, with its line break.
    pub fn write(&self, line: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.lines.len() + line.len() > MAX_QUEUED_BYTES {
            self.lost.inc();
            return;
        }
        let first = queue.lines.is_empty();
        queue.lines.extend_from_slice(line);
        drop(queue);
        if first {
            self.shared.changed.notify_all();
        }
    }

    /// Waits until everything is out, but no longer than this.
    pub fn flush(&self, timeout: Duration) {
        let end = Instant::now() + timeout;
        let mut queue = self.shared.lock();
        while !queue.lines.is_empty() || queue.is_writing {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
