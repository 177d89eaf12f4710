//! A second attempt beside one that takes long: the tail of the slowest calls is cut off for the price of a few calls made twice.
//!
//! Source: J. Dean and L. A. Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013 (hedged requests).

use std::time::Duration;

use futures_util::future::{Either, select};

use super::{
    failure::{Blame, Failure},
    sent::Sent,
    work::CallExecution,
};
use crate::background::Background;

/// How an attempt ends.
type Done = Result<Sent, Failure>;

/// Waits for an attempt and, where it has no answer after the delay, makes another one beside it. The first answer that can be used
/// is taken; the other attempt goes on in the background, because what it costs is to be known.
pub(super) async fn hedged(
    first: impl Future<Output = Done> + Send + 'static,
    delay: Duration,
    work: &mut CallExecution,
) -> Done {
    let mut first = Box::pin(first);
    let spare = async {
        tokio::time::sleep(delay).await;
        work.spare().await
    };
    // Dropped before it is sent, the spare gives everything back.
    let spare = tokio::select! {
        biased;
        done = &mut first => return done,
        spare = spare => spare,
    };
    let Some((chosen, permit)) = spare else { return first.await };
    let (before, beside) = (work.backend(), chosen.backend.clone());
    let second = Box::pin(work.begin(chosen, permit));
    let (done, is_seconds) = race(first, second, work.tasks()).await;
    work.hedged(before, beside, is_seconds, done.is_ok());
    done
}

/// The first answer of two attempts, or the failure that is told of both; and whether it is the second one's.
async fn race<A, B>(first: A, second: B, tasks: &Background) -> (Done, bool)
where
    A: Future<Output = Done> + Send + Unpin + 'static,
    B: Future<Output = Done> + Send + Unpin + 'static,
{
    match select(first, second).await {
        Either::Left((done, other)) => either(done, other, false, tasks).await,
        Either::Right((done, other)) => either(done, other, true, tasks).await,
    }
}

/// `done` has ended, and `other` has not. `is_seconds`: whether `done` is the second one's.
async fn either(
    done: Done,
    other: impl Future<Output = Done> + Send + 'static,
    is_seconds: bool,
    tasks: &Background,
) -> (Done, bool) {
    match done {
        Ok(sent) => {
            tasks.spawn(async {
                // Its answer is nobody's: what it costs is booked on the way, or here.
                if let Err(Failure { rest, .. }) = other.await {
                    rest.end();
                }
            });
            (Ok(sent), is_seconds)
        }
        Err(Failure { refusal, blame, result, rest }) => {
            rest.end();
            match other.await {
                Ok(sent) => (Ok(sent), !is_seconds),
                // What every backend would refuse is what the caller is to know.
                Err(later) if blame == Blame::Call => {
                    (Err(Failure { refusal, blame, result, rest: later.rest }), is_seconds)
                }
                Err(later) => (Err(later), !is_seconds),
            }
        }
    }
}
