//! A provider's answer as it arrives, with its accounts settled at the end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Body as _;
use tokio::time::{Instant, Sleep};

use crate::{
    accounting::{InFlight, Settled, exact_at},
    call_id::CallId,
};
use vectoll_api::{
    answer::{Outline, VectorError},
    request::EncodingFormat,
};
use vectoll_ledger::books::Certainty;
use vectoll_upstream::provider::content::Content;

/// Why an answer did not come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The connection failed or ended early.
    #[error("the provider's answer was cut off")]
    Cut,
    /// The backend's timeout ran out.
    #[error("the provider's answer took too long")]
    TooSlow,
    /// The bytes are not an answer.
    #[error("the provider's answer cannot be used: {0}")]
    Unusable(&'static str),
    /// It is one, and its vectors are not right.
    #[error("{0}")]
    Wrong(VectorError),
}

/// The body of an answer, and the call it belongs to. Dropped before its end it leaves the call unsettled.
pub struct Flow {
    upstream: Content,
    deadline: Pin<Box<Sleep>>,
    outline: Outline,
    passed: u64,
    in_flight: Option<InFlight>,
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flow").field("passed", &self.passed).finish_non_exhaustive()
    }
}

impl Flow {
    /// The answer to a call, to be whole by the deadline.
    pub fn new(upstream: Content, in_flight: InFlight, deadline: Pin<Box<Sleep>>) -> Self {
        Self { upstream, deadline, outline: Outline::default(), passed: 0, in_flight: Some(in_flight) }
    }

    /// When the answer is to be whole.
    pub fn deadline(&self) -> Instant {
        self.deadline.deadline()
    }

    /// Gives it so much time from now, where that is more than it has.
    pub fn extend(&mut self, by: std::time::Duration) {
        let end = self.deadline().max(Instant::now() + by);
        self.deadline.as_mut().reset(end);
    }

    /// The call, while it is not settled.
    pub fn call_id(&self) -> Option<CallId> {
        self.in_flight.as_ref().map(|in_flight| in_flight.call().id)
    }

    /// The bytes that are still to come, where the provider announced their number.
    pub fn remaining(&self) -> Option<u64> {
        self.upstream.size_hint().exact()
    }

    /// The form of the vectors, as soon as one of them is seen.
    pub fn format(&self) -> Option<EncodingFormat> {
        self.outline.format()
    }

    /// Whether it is whole and reports an error in place of vectors.
    pub fn is_error(&self) -> bool {
        self.outline.is_error()
    }

    /// Before it is dropped: see [`InFlight::load_tokenizer`].
    pub async fn load_tokenizer(&self) {
        if let Some(in_flight) = &self.in_flight {
            in_flight.load_tokenizer().await;
        }
    }

    /// The call, unsettled, and the tokens that the answer reports.
    pub fn give_up(self) -> (Option<InFlight>, Option<u64>) {
        (self.in_flight, self.outline.tokens())
    }

    /// What is left of the limits while the answer runs.
    pub fn rate_limits(&self) -> vectoll_limits::counters::RateLimitStatus {
        self.in_flight.as_ref().map(InFlight::rate_limits).unwrap_or_default()
    }

    /// The next piece; none at the end.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            // A little that came may be much that is inflated: no wait is between its pieces.
            if self.upstream.is_inflated() && self.deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Broken::TooSlow));
            }
            match Pin::new(&mut self.upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    self.passed += piece.len() as u64;
                    self.outline.pass(&piece);
                    // Nothing of it is handed on.
                    if self.outline.is_no_object() {
                        return Poll::Ready(Err(Broken::Unusable("it is not a JSON object")));
                    }
                    return Poll::Ready(Ok(Some(piece)));
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Broken::Cut)),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => {
                    ready!(self.deadline.as_mut().poll(cx));
                    return Poll::Ready(Err(Broken::TooSlow));
                }
            }
        }
    }

    /// The next piece; none at the end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Broken> {
        std::future::poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// After the last piece: checks the whole and settles the call to what the provider reports; where it reports
    /// nothing, to the tokenizer's count, or to the bound.
    pub async fn settle(&mut self) -> Result<Settled, Broken> {
        if let Some(fault) = self.outline.fault() {
            return Err(Broken::Unusable(fault));
        }
        let Some(in_flight) = self.in_flight.take() else { return Err(Broken::Unusable("it was settled before")) };
        let (tokens, certainty) = match self.outline.tokens() {
            Some(tokens) => (tokens, Certainty::Known),
            None => counted(&in_flight).await,
        };
        let items = in_flight.call().request.shape.items;
        let settled = in_flight.settle(tokens, certainty);
        // Settled first: what is not right with the vectors does not change what they cost.
        if self.outline.vectors() == items { Ok(settled) } else { Err(Broken::Wrong(VectorError::Number)) }
    }
}

/// What a call used whose provider does not say.
async fn counted(in_flight: &InFlight) -> (u64, Certainty) {
    let (call, backend) = (in_flight.call(), in_flight.backend());
    match exact_at(in_flight.accounting(), call, backend).await {
        Some(tokens) => (tokens, Certainty::Known),
        None => (backend.most_tokens(call), Certainty::Estimated),
    }
}
