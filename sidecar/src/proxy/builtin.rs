//! Answering with the built-in model, which takes text only.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use vectoll_config::v1::TokenBound;

use super::{sending::Sending, texts::texts_of};
use crate::{
    accounting::{BackendQuota, Permit},
    answer::Answer,
    call::Call,
    policy::Backend,
    refusal::Refusal,
    tokenizer,
};
use vectoll_api::answer::{join, made};
use vectoll_ledger::books::Certainty;
use vectoll_upstream::builtin::{DIMENSIONS, Embedded, Model};

/// A body for which the model works at once: so much text takes it a few milliseconds at most.
const FEW_BYTES: u64 = 16 * 1024;

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

/// Answers with the built-in model. What it cannot do is refused, and costs nothing.
pub(super) async fn answer(
    permit: Permit,
    backend: &Arc<Backend>,
    quota: Option<BackendQuota>,
    Sending { compute, most, left, .. }: &Sending,
) -> Result<(Answer, HeaderMap), Refusal> {
    let dimensions = dimensions_of(permit.call())?;
    // First what the journal must take: without that there is no work.
    let in_flight = permit.sent(backend.clone(), 1, quota)?;
    let (call, backend) = (in_flight.call().clone(), backend.clone());
    if call.request.shape.is_tokens
        && let Some(encoding) = backend.encoding_of_arrays(&call.model)
    {
        tokenizer::load(&TokenBound::Encoding(encoding), compute).await;
    }
    let bytes = call.request.body.len() as u64;
    let (left, most) = (left.clone(), *most);
    let work = move || {
        left.check()?;
        make(&call, &backend, dimensions, most)
    };
    let made = compute.run_above(FEW_BYTES, bytes, work).await;
    let made = made.unwrap_or_else(|error| Err(unusable(&error)));
    match made {
        Ok(Made { answer, tokens }) => {
            let settled = in_flight.settle(tokens, Certainty::Known);
            Ok((Answer::Whole(answer, settled), HeaderMap::new()))
        }
        Err(refusal) => {
            // Nobody charges for what was not made.
            in_flight.never_sent();
            Err(refusal)
        }
    }
}

fn unusable(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::bad_gateway(format!("The built-in model failed: {error}"))
}

/// What the model has made.
struct Made {
    answer: Bytes,
    tokens: u64,
}

fn make(call: &Call, backend: &Backend, dimensions: usize, most: usize) -> Result<Made, Refusal> {
    let model = Model::get().map_err(|error| unusable(error))?;
    let texts = texts_of(call, backend.encoding_of_arrays(&call.model), most)?;
    let Embedded { vectors, tokens } = model.embed(&texts, dimensions);
    // Who counts in tokens is charged for those.
    let tokens = if call.request.shape.is_tokens { call.request.shape.tokens } else { tokens };
    let answer = join(made(vectors, call.request.encoding_format, &call.model, tokens));
    Ok(Made { answer, tokens })
}
