//! Answering with the built-in model, which takes text only.

use std::sync::Arc;

use http::HeaderMap;

use super::texts::texts_of;
use crate::{
    accounting::{BackendQuota, Permit},
    answer::Answer,
    background::Background,
    call::Call,
    policy::Backend,
    refusal::Refusal,
};
use vectoll_api::answer::{join, made};
use vectoll_ledger::books::Certainty;
use vectoll_upstream::builtin::{DIMENSIONS, Model};

/// Text from which on the model works on a thread of its own.
const MUCH_TEXT: u64 = 16 * 1024;

/// The number of dimensions to answer with, if the built-in model can do what is asked.
fn dimensions_of(call: &Call) -> Result<usize, Refusal> {
    match call.request.dimensions.map(usize::try_from) {
        None => Ok(DIMENSIONS),
        Some(Ok(wanted)) if wanted <= DIMENSIONS => Ok(wanted),
        Some(_) => {
            let message = format!("`dimensions` must be at most {DIMENSIONS}: the built-in model has no more");
            Err(Refusal::malformed(Some("dimensions"), message))
        }
    }
}

/// Answers with the built-in model. What it cannot do is refused before the call counts as sent, and costs nothing.
pub(super) async fn answer(
    permit: Permit,
    backend: &Arc<Backend>,
    room: Option<BackendQuota>,
    (tasks, most): (&Background, usize),
) -> Result<(Answer, HeaderMap), Refusal> {
    let dimensions = dimensions_of(permit.call())?;
    // The tables of an encoding take a while to load.
    let much = permit.call().request.shape.bytes > MUCH_TEXT || permit.call().request.shape.is_tokens;
    let backend = backend.clone();
    let work = move || -> Result<(Answer, HeaderMap), Refusal> {
        let unusable =
            |error: &dyn std::fmt::Display| Refusal::bad_gateway(format!("The built-in model failed: {error}"));
        let model = Model::get().map_err(|error| unusable(error))?;
        let encoding = backend.encoding_of_arrays(&permit.call().model);
        let texts = texts_of(permit.call(), encoding, most)?;
        let in_flight = permit.sent(backend, 1, room)?;
        let call = in_flight.call().clone();
        // Who counts in tokens is charged for those.
        let tokens = if call.request.shape.is_tokens { call.request.shape.tokens } else { model.count(&texts) };
        let vectors = texts.iter().map(|text| model.vector(text, dimensions)).collect();
        let answer = join(made(vectors, call.request.encoding_format, &call.model, tokens));
        let settled = in_flight.settle(tokens, Certainty::Known);
        Ok((Answer::Whole(answer, settled), HeaderMap::new()))
    };
    if !much {
        return work();
    }
    tasks.compute(work).await.map_err(|error| Refusal::bad_gateway(format!("The built-in model failed: {error}")))?
}
