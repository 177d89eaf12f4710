//! Threads for building exchanges. They read files, so they may wait; and they are nobody else's, so that no exchange waits behind
//! a checkpoint or the reading of a config, which have the runtime's threads.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use tokio::sync::oneshot;

/// As many exchanges are built at the same time; the others wait for their turn.
const THREADS: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads. They end when this is dropped and nothing is left to be done.
#[derive(Clone, Debug)]
pub struct ExchangeThreads(Sender<Job>);

/// What was to be done was not done: it has panicked, or no thread is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was not built")]
pub(super) struct NotDone;

impl ExchangeThreads {
    /// Starts them.
    pub fn start() -> io::Result<Self> {
        let (jobs, taken) = channel::<Job>();
        let taken = Arc::new(Mutex::new(taken));
        for _ in 0..THREADS {
            let taken = taken.clone();
            thread::Builder::new().name("store-exchange".to_owned()).spawn(move || work(&taken))?;
        }
        Ok(Self(jobs))
    }

    /// Does something on one of them.
    pub(super) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Result<T, NotDone> {
        let (tell, done) = oneshot::channel();
        let job = move || {
            // Whoever asked may have left.
            let _ = tell.send(job());
        };
        self.0.send(Box::new(job)).map_err(|_| NotDone)?;
        done.await.map_err(|_| NotDone)
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // A panic is told by the job's own end of its channel; the thread goes on.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::time::Duration;

    use super::*;

    #[test]
    fn an_exchange_is_built_while_all_of_the_runtimes_threads_are_busy() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let (end, busy) = channel::<()>();
            let counting = tokio::task::spawn_blocking(move || busy.recv());
            let threads = ExchangeThreads::start().unwrap();
            let built = tokio::time::timeout(Duration::from_secs(5), threads.run(|| 7)).await;
            assert_eq!(built.unwrap(), Ok(7));
            end.send(()).unwrap();
            counting.await.unwrap().unwrap();
        });
    }

    #[tokio::test]
    async fn a_panic_ends_one_exchange_and_no_thread() {
        let threads = ExchangeThreads::start().unwrap();
        for _ in 0..2 * THREADS {
            assert_eq!(threads.run(|| -> u8 { panic!("as if it were a mistake") }).await, Err(NotDone));
        }
        assert_eq!(threads.run(|| 7).await, Ok(7));
    }
}
