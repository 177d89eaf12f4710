//! An exchange with a provider: the time that it may take, and what comes of it.

use std::{pin::Pin, time::Duration};

use http::Response;
use tokio::time::Sleep;
use vectoll_upstream::provider::content::Content;

/// An answer within this time needs no refinement of what the call may cost: counting costs more than it is worth.
const REFINEMENT_DELAY: Duration = Duration::from_secs(1);

/// The end of a backend's time for a call: one timer from sending to the answer's last byte.
pub(super) type Deadline = Pin<Box<Sleep>>;

/// What a provider answers, its body still to come.
pub(super) type Upstream = Response<Content>;

/// The work. If it takes its time, `refine` tells the journal meanwhile what the call can cost at most.
///
/// It is pinned where it begins, as with [`in_time`]: each function that took it as it is would have room for it twice.
pub(super) async fn refining<T>(refine: impl Future<Output = ()>, mut work: Pin<&mut impl Future<Output = T>>) -> T {
    if let Ok(done) = tokio::time::timeout(REFINEMENT_DELAY, work.as_mut()).await {
        return done;
    }
    // Beside the work, and not before it goes on: a tokenizer may have to be loaded.
    tokio::select! {
        biased;
        done = work.as_mut() => return done,
        () = Box::pin(refine) => {}
    }
    work.await
}

/// What the work gives; none if the deadline comes first.
pub(super) async fn in_time<T>(deadline: &mut Deadline, work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = deadline => None,
    }
}
