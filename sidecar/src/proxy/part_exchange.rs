//! One request in a provider's own shape, and its answer read whole: for a part of a call, and for several calls that travel together.

use std::{borrow::Cow, pin::pin, sync::Arc, time::Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;

use super::{
    exchange::refining,
    failure::Failure,
    refused::{Charge, MAX_ERROR_BYTES, error_in_success, sending_failed, status_failed},
};
use crate::{
    compute::Compute,
    memory::{Claim, MemoryPermit, NoRoom},
    policy::Backend,
    refusal::Refusal,
};
use vectoll_api::answer::join;
use vectoll_upstream::provider::{
    HttpProvider, Journalled, Provider, SentFlag,
    content::Content,
    dialect::{AnswerDefect, ParsedAnswer, Part, PassthroughFields, Unusable, error_meaning::ErrorAnswer},
    outgoing::OutgoingRequest,
};

/// The largest answer to one request: so much for each input, and so much besides. 3,072 numbers are some 70 KiB as digits.
const MAX_INPUT_ANSWER_BYTES: usize = 128 * 1024;
const MAX_ENVELOPE_BYTES: usize = 1024 * 1024;
/// From so many bytes on an answer is read on a thread of its own: reading takes about a hundredth of a microsecond a byte.
const MUCH: usize = 64 * 1024;

/// What a failed request cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charged {
    /// Nothing left the sidecar.
    Unsent,
    /// Nothing, for certain.
    Nothing,
    /// So many tokens: the provider says so, and nothing else of use.
    Reported(u64),
    /// Nobody knows.
    Maybe,
}

/// A request that was answered.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) answer: ParsedAnswer,
    pub(super) headers: HeaderMap,
    /// What its vectors take.
    pub(super) held: MemoryPermit,
}

/// One that gave no vectors.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    pub(super) charged: Charged,
}

impl Failed {
    /// It cost nothing, for certain.
    pub(super) fn free(failure: Failure) -> Self {
        Self { failure, charged: Charged::Nothing }
    }

    fn paid(failure: Failure) -> Self {
        Self { failure, charged: Charged::Maybe }
    }

    fn of((failure, charge): (Failure, Charge)) -> Self {
        match charge {
            Charge::Nothing => Self::free(failure),
            Charge::Unsettled => Self::paid(failure),
        }
    }
}

/// An answer that is not there as a whole.
enum CollectError {
    /// It broke off, or is too large.
    Cut,
    /// There was no memory for it in time.
    NoRoom,
}

/// An answer that is there as a whole.
struct Collected {
    headers: HeaderMap,
    body: Vec<Bytes>,
    held: MemoryPermit,
}

/// What a request needs beside its texts.
pub(super) struct PartExchange<'a> {
    pub(super) backend: &'a Arc<Backend>,
    pub(super) remote: &'a HttpProvider,
    /// The caller's headers.
    pub(super) from_caller: &'a HeaderMap,
    /// Threads for long answers.
    pub(super) compute: &'a Compute,
    /// What the answer takes memory by.
    pub(super) claim: &'a Claim,
    /// When it has to be done.
    pub(super) deadline: Instant,
}

impl PartExchange<'_> {
    /// Makes a request, sends it, and reads its answer. `journalled` is what is sent, and `refine` tells the journal what it can cost at
    /// most if it takes its time.
    pub(super) async fn carry_out(
        &self,
        (journalled, refine): (&impl Journalled, impl Future<Output = ()>),
        part: &Part<'_>,
        request: impl Future<Output = Result<OutgoingRequest, Failure>>,
        held: MemoryPermit,
    ) -> Result<Done, Failed> {
        let departure = SentFlag::default();
        let work = self.exchange((journalled, refine), part, (request, &departure), held);
        let work = tokio::time::timeout_at(self.deadline.into(), work);
        let work = async {
            let Collected { headers, body, held } = work.await.map_err(|_| None)?.map_err(Some)?;
            // What has come is read, however long that takes: it is paid.
            self.understand(part, headers, body, held).await.map_err(Some)
        };
        let (label, timeout) = (&self.backend.label, self.backend.timeout);
        let late = || {
            if departure.has_left() {
                Failed::paid(Failure::late(label, timeout))
            } else {
                Failed { failure: Failure::late_to_leave(label, timeout), charged: Charged::Unsent }
            }
        };
        work.await.map_err(|failed: Option<Failed>| failed.unwrap_or_else(late))
    }

    async fn exchange(
        &self,
        (journalled, refine): (&impl Journalled, impl Future<Output = ()>),
        part: &Part<'_>,
        (request, departure): (impl Future<Output = Result<OutgoingRequest, Failure>>, &SentFlag),
        mut held: MemoryPermit,
    ) -> Result<Collected, Failed> {
        let Self { backend, remote, from_caller, .. } = self;
        let texts = part.texts;
        let request = request.await.map_err(Failed::free)?;
        let asking = pin!(remote.ask(journalled, request, from_caller, departure));
        let response = refining(refine, asking).await.map_err(|error| {
            let charged = if error.is_unsent() { Charged::Unsent } else { Charged::Maybe };
            Failed { failure: sending_failed(&error, backend), charged }
        })?;
        let (parts, body) = response.into_parts();
        let most = if parts.status.is_success() {
            MAX_INPUT_ANSWER_BYTES * texts.len() + MAX_ENVELOPE_BYTES
        } else {
            MAX_ERROR_BYTES
        };
        let body = self.collect(body, most, &mut held).await;
        if !parts.status.is_success() {
            let body = body.map(join).unwrap_or_default();
            let answer = ErrorAnswer::new(parts.status, &parts.headers, &body);
            return Err(Failed::of(status_failed(remote, backend, answer)));
        }
        let body = body.map_err(|broken| match broken {
            CollectError::Cut => self.unusable(&"was cut off"),
            CollectError::NoRoom => Failed::paid(Failure::of_sidecar(Refusal::no_room_for_answer())),
        })?;
        Ok(Collected { headers: parts.headers, body, held })
    }

    /// The vectors in a whole answer.
    async fn understand(
        &self,
        part: &Part<'_>,
        headers: HeaderMap,
        body: Vec<Bytes>,
        held: MemoryPermit,
    ) -> Result<Done, Failed> {
        let Self { backend, remote, .. } = self;
        let (read, mut held) = self.read(part, &headers, body.clone(), held).await;
        let answer = read.map_err(|wrong| match wrong {
            Ok(Unusable { defect: AnswerDefect::Shape, tokens: None }) if is_error(&body) => {
                Failed::of(error_in_success(remote, backend, &headers, &join(body.clone())))
            }
            Ok(Unusable { defect, tokens }) => {
                Failed { charged: tokens.map_or(Charged::Maybe, Charged::Reported), ..self.unusable(&defect) }
            }
            Err(Failure { refusal, blame, result, rest }) => {
                Failed::paid(Failure { refusal: refusal.charged(), blame, result, rest })
            }
        })?;
        held.shrink(answer.vectors.iter().map(|vector| size_of_val(&**vector)).sum());
        Ok(Done { answer, headers, held })
    }

    fn unusable(&self, what: &dyn std::fmt::Display) -> Failed {
        let message = format!("Backend {}: the provider's answer {what}", self.backend.label);
        Failed::paid(Failure::down(Refusal::bad_gateway(message).charged(), "failed"))
    }

    /// The pieces of a whole answer, of so many bytes at most, while there is memory for it and for the vectors in it.
    async fn collect(
        &self,
        mut body: Content,
        most: usize,
        held: &mut MemoryPermit,
    ) -> Result<Vec<Bytes>, CollectError> {
        let (mut pieces, mut length) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| CollectError::Cut)?.into_data() else { continue };
            length += data.len();
            if length > most {
                return Err(CollectError::Cut);
            }
            // A number of a dozen digits takes four bytes more when it is read. Before the deadline of the request itself: that is
            // no fault of the backend's.
            let held_until = self.claim.hold_until(held, length + length / 3, self.deadline.into());
            held_until.await.map_err(|NoRoom| CollectError::NoRoom)?;
            pieces.push(data);
        }
        Ok(pieces)
    }

    async fn read(
        &self,
        part: &Part<'_>,
        headers: &HeaderMap,
        body: Vec<Bytes>,
        held: MemoryPermit,
    ) -> (Result<ParsedAnswer, Result<Unusable, Failure>>, MemoryPermit) {
        let bytes = length(&body);
        if bytes < MUCH {
            return (self.remote.dialect().answer(part, headers, &join(body)).map_err(Ok), held);
        }
        let (backend, headers, items) = (self.backend.clone(), headers.clone(), part.texts.len());
        let (model, dimensions, input_type) = (part.model.to_owned(), part.dimensions, part.input_type);
        let extensions = part.extensions.clone();
        let read = self.compute.run(bytes as u64, move || {
            // Reading an answer needs the number of the texts only.
            let texts = vec![Cow::Borrowed(""); items];
            let (passthrough, extensions) = (PassthroughFields::default(), &extensions);
            let part = Part { model: &model, texts: &texts, dimensions, input_type, passthrough, extensions };
            let Provider::Remote(remote) = &backend.provider else { return (None, held) };
            // What is held is free when the work is done, also if nobody waits for it any more.
            (Some(remote.dialect().answer(&part, &headers, &join(body))), held)
        });
        match read.await {
            Ok((Some(read), held)) => (read.map_err(Ok), held),
            Ok((None, held)) => (Err(Ok(AnswerDefect::Shape.into())), held),
            Err(error) => (Err(Err(not_done(&error))), MemoryPermit::default()),
        }
    }
}

/// What was to be done was not.
pub(super) fn not_done(error: &dyn std::fmt::Display) -> Failure {
    Failure::of_sidecar(Refusal::unavailable("computing_failed", format!("The call could not be worked on: {error}")))
}

fn length(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).sum()
}

/// Whether an answer reports an error in place of vectors. None of that kind is long.
fn is_error(body: &[Bytes]) -> bool {
    #[derive(serde::Deserialize)]
    struct Answer {
        error: serde_json::Value,
    }
    let error = |body: Bytes| serde_json::from_slice::<Answer>(&body).is_ok_and(|answer| !answer.error.is_null());
    length(body) < MUCH && error(join(body.to_vec()))
}
