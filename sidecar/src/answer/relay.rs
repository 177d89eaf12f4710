//! A large answer as the body of our own: piece by piece, the last one only when the whole was right.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::flow::{Broken, Flow};
use crate::background::Background;

/// A body that streams a provider's answer. A caller that leaves does not end it: it reads on to the `usage`.
#[derive(Debug)]
pub struct Relay {
    /// Pieces that were read and not passed on yet. The last one waits for the one after it, or for the end.
    waiting: VecDeque<Bytes>,
    state: State,
    remaining: Option<u64>,
    tasks: Background,
    /// Called with the seconds it took, when the answer is whole.
    done: Option<Observation>,
}

/// Where the time of the answer is noted.
#[derive(Debug)]
pub struct Observation {
    /// When the call was sent.
    pub since: Instant,
    /// The histogram, in seconds.
    pub upstream: prometheus::Histogram,
}

#[derive(Debug)]
enum State {
    Flowing(Box<Flow>),
    Settled,
    Broken,
}

impl Relay {
    /// Streams the pieces that were read already and then the rest.
    pub fn new(read: Vec<Bytes>, flow: Flow, tasks: Background, done: Observation) -> Self {
        let so_far: u64 = read.iter().map(|piece| piece.len() as u64).sum();
        let remaining = flow.remaining().map(|rest| rest + so_far);
        Self { waiting: read.into(), state: State::Flowing(Box::new(flow)), remaining, tasks, done: Some(done) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            let flow = match &mut self.state {
                State::Flowing(flow) => flow,
                State::Settled => return Poll::Ready(self.waiting.pop_front().map(Ok)),
                State::Broken => return Poll::Ready(None),
            };
            if self.waiting.len() > 1 {
                return Poll::Ready(self.waiting.pop_front().map(Ok));
            }
            let end = match std::task::ready!(flow.poll_piece(cx)) {
                Ok(Some(piece)) => {
                    if !piece.is_empty() {
                        self.waiting.push_back(piece);
                    }
                    continue;
                }
                Ok(None) => flow.settle().map(|_| ()),
                Err(broken) => Err(broken),
            };
            if let Some(Observation { since, upstream }) = self.done.take() {
                upstream.observe(since.elapsed().as_secs_f64());
            }
            match end {
                Ok(()) => self.state = State::Settled,
                Err(broken) => {
                    // Dropping the flow books the call as unsettled.
                    self.state = State::Broken;
                    tracing::warn!(error = %broken, "a large answer broke off: the caller's connection is aborted");
                    return Poll::Ready(Some(Err(broken)));
                }
            }
        }
    }
}

impl http_body::Body for Relay {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let polled = self.poll(cx);
        if let Poll::Ready(Some(Ok(piece))) = &polled
            && let Some(remaining) = &mut self.remaining
        {
            *remaining = remaining.saturating_sub(piece.len() as u64);
        }
        polled.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        !matches!(self.state, State::Flowing(_)) && self.waiting.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let State::Flowing(mut flow) = std::mem::replace(&mut self.state, State::Broken) {
            // The caller has left; the provider charges all the same. The flow's own deadline bounds this.
            self.tasks.spawn(async move {
                loop {
                    match flow.piece().await {
                        Ok(Some(_)) => {}
                        Ok(None) => {
                            let _ = flow.settle();
                            break;
                        }
                        Err(_) => break,
                    }
                }
            });
        }
    }
}
