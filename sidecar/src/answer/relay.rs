//! A large answer as the body of our own: piece by piece, the last one only when the whole was right.
//!
//! A task of its own takes the pieces from the provider and hands them over one at a time. It does not depend on the
//! caller: one that leaves, or stops reading for good, does not keep the provider's connection, the reservation, or the
//! knowledge of what was charged.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use vectoll_config::v1::Cooldown;

use super::flow::{Broken, Flow};
use crate::{background::Background, memory::MemoryPermit};
use vectoll_clock::Clock;
use vectoll_upstream::{
    health::{Attempt, FailureKind},
    provider::http::Body,
};

/// How long the rest of an answer is read at least whose caller is gone, to learn what it cost: one that reads slowly may leave when the
/// backend's time is up.
const READ_ON: Duration = Duration::from_secs(10);

/// A piece; none: that was the whole, and it was right.
type Message = Result<Option<Bytes>, Broken>;

/// A body that streams a provider's answer.
#[derive(Debug)]
pub struct Relay {
    pieces: mpsc::Receiver<Message>,
    remaining: Option<u64>,
    ended: bool,
}

/// Where the time of the answer is noted.
#[derive(Debug)]
pub struct Observation {
    /// When the call was sent.
    pub since: Instant,
    /// The histogram, in seconds.
    pub upstream: prometheus::Histogram,
    /// Where its end is told.
    pub verdict: Verdict,
}

/// What the end of an answer says of its backend.
#[derive(Debug)]
pub struct Verdict {
    /// The attempt that it ends.
    pub attempt: Attempt,
    /// When the backend is left alone.
    pub cooldown: Cooldown,
    /// The time.
    pub clock: Clock,
}

impl Verdict {
    /// `waited`: for the caller.
    fn record(self, end: Result<(), Broken>, waited: Duration) {
        let Self { mut attempt, cooldown, clock } = self;
        attempt.waited(waited);
        let result = match end {
            Ok(()) => return attempt.served("served", clock.now().elapsed),
            Err(Broken::TooSlow) => "timeout",
            Err(Broken::Cut | Broken::Unusable(_) | Broken::Wrong(_)) => "failed",
        };
        attempt.failed(FailureKind::Down, result, cooldown, clock.now().elapsed);
    }
}

impl Relay {
    /// Streams the pieces that were read already and then the rest.
    /// `held` is the memory for what is on its way.
    pub fn new((read, held): (Vec<Bytes>, MemoryPermit), flow: Flow, tasks: &Background, done: Observation) -> Self {
        let so_far: u64 = read.iter().map(|piece| piece.len() as u64).sum();
        let remaining = flow.remaining().map(|rest| rest + so_far);
        let (to, pieces) = mpsc::channel(1);
        tasks.spawn(async move {
            pump(read.into(), flow, to, done).await;
            drop(held);
        });
        Self { pieces, remaining, ended: false }
    }

    /// Hands over what another server answers, piece by piece: a gateway has checked it. Whoever leaves ends that answer as well, and who has
    /// not taken it by the deadline is cut off. `done` is told of the end.
    pub(crate) fn passed_on(
        body: Body,
        deadline: tokio::time::Instant,
        tasks: &Background,
        held: MemoryPermit,
        done: impl FnOnce(Result<(), Broken>) + Send + 'static,
    ) -> Self {
        let remaining = body.size_hint().exact();
        let (to, pieces) = mpsc::channel(1);
        let deadline = deadline.max(tokio::time::Instant::now() + READ_ON);
        tasks.spawn(async move {
            done(hand_on(body, to, deadline).await);
            drop(held);
        });
        Self { pieces, remaining, ended: false }
    }

    /// Hands over what was made here. Who has not taken it by the deadline is cut off: it takes the memory that is `held` from others.
    pub(crate) fn made(
        pieces: Vec<Bytes>,
        deadline: tokio::time::Instant,
        tasks: &Background,
        held: MemoryPermit,
    ) -> Self {
        let remaining = Some(pieces.iter().map(|piece| piece.len() as u64).sum());
        let (to, handed) = mpsc::channel(1);
        let deadline = deadline.max(tokio::time::Instant::now() + READ_ON);
        tasks.spawn(async move {
            for message in pieces.into_iter().map(Some).chain([None]) {
                if !matches!(tokio::time::timeout_at(deadline, to.send(Ok(message))).await, Ok(Ok(()))) {
                    break;
                }
            }
            drop(held);
        });
        Self { pieces: handed, remaining, ended: false }
    }
}

/// Carries another server's answer to the caller.
async fn hand_on(mut body: Body, to: mpsc::Sender<Message>, deadline: tokio::time::Instant) -> Result<(), Broken> {
    loop {
        let frame = tokio::select! {
            () = to.closed() => return Ok(()),
            frame = tokio::time::timeout_at(deadline, body.frame()) => frame,
        };
        let message = match frame {
            Err(_) => Err(Broken::TooSlow),
            Ok(Some(Err(_))) => Err(Broken::Cut),
            Ok(None) => Ok(None),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) if !piece.is_empty() => Ok(Some(piece)),
                // Trailers say nothing to us.
                Ok(_) | Err(_) => continue,
            },
        };
        let end = match &message {
            Ok(Some(_)) => None,
            Ok(None) => Some(Ok(())),
            Err(broken) => Some(Err(*broken)),
        };
        if !matches!(tokio::time::timeout_at(deadline, to.send(message)).await, Ok(Ok(()))) {
            return Ok(());
        }
        if let Some(end) = end {
            return end;
        }
    }
}

/// Carries an answer from the provider to the caller, and settles it at its end.
async fn pump(mut waiting: VecDeque<Bytes>, mut flow: Flow, to: mpsc::Sender<Message>, done: Observation) {
    let mut caller = Some(to);
    // A caller that reads slowly does not make its backend slow.
    let mut waited = Duration::ZERO;
    let end = loop {
        // The last piece waits for the one after it, or for the end.
        while caller.is_some()
            && waiting.len() > 1
            && let Some(piece) = waiting.pop_front()
        {
            let begun = Instant::now();
            if !hand_over(caller.as_ref(), Ok(Some(piece)), &flow).await {
                // Gone, or not reading. What the provider charges is still to be learnt.
                caller = None;
                flow.extend(READ_ON);
            }
            waited += begun.elapsed();
        }
        if caller.is_none() {
            waiting.clear();
        }
        match flow.piece().await {
            Ok(Some(piece)) if piece.is_empty() => {}
            Ok(Some(piece)) => waiting.push_back(piece),
            Ok(None) => break flow.settle().await.map(|_| ()),
            Err(broken) => break Err(broken),
        }
    };
    let Observation { since, upstream, verdict } = done;
    upstream.observe(since.elapsed().saturating_sub(waited).as_secs_f64());
    // Who stops reading, reads slowly, or leaves, is no fault of the backend's.
    let is_read = caller.is_some() && waited * 2 < since.elapsed();
    if is_read || end.is_ok() {
        verdict.record(end, waited);
    }
    match end {
        Ok(()) => {
            for piece in waiting {
                if !hand_over(caller.as_ref(), Ok(Some(piece)), &flow).await {
                    return;
                }
            }
            hand_over(caller.as_ref(), Ok(None), &flow).await;
        }
        Err(broken) => {
            flow.load_tokenizer().await;
            let call_id = flow.call_id().map(|id| id.to_string()).unwrap_or_default();
            tracing::warn!(call_id, error = %broken, "a large answer broke off: its caller's connection is aborted");
            hand_over(caller.as_ref(), Err(broken), &flow).await;
        }
    }
}

/// Whether the caller has taken it before the answer's time was up.
async fn hand_over(caller: Option<&mpsc::Sender<Message>>, message: Message, flow: &Flow) -> bool {
    let Some(caller) = caller else { return false };
    matches!(tokio::time::timeout_at(flow.deadline(), caller.send(message)).await, Ok(Ok(())))
}

impl http_body::Body for Relay {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // Without a last word the task was ended: the answer is not whole.
        let message = ready!(self.pieces.poll_recv(cx)).unwrap_or(Err(Broken::Cut));
        Poll::Ready(match message {
            Ok(Some(piece)) => {
                if let Some(remaining) = &mut self.remaining {
                    *remaining = remaining.saturating_sub(piece.len() as u64);
                }
                Some(Ok(Frame::data(piece)))
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(broken) => {
                self.ended = true;
                Some(Err(broken))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
