//! A second attempt beside one that takes long: the tail of the slowest calls is cut off for the price of a few calls made twice.
//!
//! Source: J. Dean and L. A. Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013 (hedged requests).

use std::time::Duration;

use futures_util::future::{Either, select};

use super::{
    Sent,
    attempts::Work,
    failure::{Blame, Failure},
};
use crate::background::Background;

/// How an attempt ends.
type Done = Result<Sent, Failure>;

/// Waits for an attempt and, where it has no answer after the delay, makes another one beside it. The first answer that can be used
/// is taken; the other attempt goes on in the background, because what it costs is to be known.
pub(super) async fn hedged(
    first: impl Future<Output = Done> + Send + 'static,
    delay: Duration,
    work: &mut Work,
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
    let Some((choice, permit)) = spare else { return first.await };
    let (before, beside) = (work.backend(), choice.0.backend.clone());
    let second = Box::pin(work.begin(choice, permit));
    let (done, has_won) = race(first, second, work.tasks()).await;
    work.hedged(before, beside, has_won);
    done
}

/// The first answer of two attempts, and whether it is the second one's; or the failure of both.
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

/// `done` has ended, and `other` has not. `has_won`: whether `done` is the second one's.
async fn either(
    done: Done,
    other: impl Future<Output = Done> + Send + 'static,
    has_won: bool,
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
            (Ok(sent), has_won)
        }
        Err(Failure { refusal, blame, result, rest }) => {
            rest.end();
            match other.await {
                Ok(sent) => (Ok(sent), !has_won),
                // What every backend would refuse is what the caller is to know.
                Err(later) if blame == Blame::Call => {
                    (Err(Failure { refusal, blame, result, rest: later.rest }), false)
                }
                Err(later) => (Err(later), false),
            }
        }
    }
}
