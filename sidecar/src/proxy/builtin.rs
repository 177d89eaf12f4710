//! Answering with the built-in model, which takes text only.

use std::{borrow::Cow, sync::Arc};

use http::HeaderMap;
use vectoll_config::v1::Encoding;

use crate::{
    accounting::Permit,
    answer::Answer,
    background::Background,
    call::{Call, Input},
    health::Room,
    ledger::Certainty,
    policy::Backend,
    provider::builtin::{DIMENSIONS, Model},
    refusal::Refusal,
    tokens,
};

/// Text from which on the model works on a thread of its own.
const MUCH_TEXT: u64 = 16 * 1024;

/// The number of dimensions to answer with, if the built-in model can do what is asked.
fn dimensions_of(call: &Call) -> Result<usize, Refusal> {
    match call.dimensions.map(usize::try_from) {
        None => Ok(DIMENSIONS),
        Some(Ok(wanted)) if wanted <= DIMENSIONS => Ok(wanted),
        Some(_) => {
            let message = format!("`dimensions` must be at most {DIMENSIONS}: the built-in model has no more");
            Err(Refusal::malformed(Some("dimensions"), message))
        }
    }
}

/// The inputs as texts, for a model that knows no others.
///
/// `most` is the largest body in bytes. Texts of token arrays are held to it as well: a token of a few digits may be 128 spaces.
fn texts_of(call: &Call, encoding: Option<Encoding>, most: usize) -> Result<Vec<String>, Refusal> {
    match call.input()? {
        Input::Texts(texts) => Ok(texts.into_iter().map(Cow::into_owned).collect()),
        Input::Tokens(_) => {
            let encoding = encoding.or_else(|| tokens::encoding_of(&call.model)).ok_or_else(|| {
                let message = "this model takes text, and nobody knows which encoding these tokens are of: send strings, or \
                               set `tokens.encoding` on the ModelRoute's backend";
                Refusal::input(message)
            })?;
            let arrays = call.token_arrays().unwrap_or_default();
            let none = |at| Refusal::input(format!("input {at} has tokens that are none in {encoding:?}"));
            let mut length = 0;
            for (at, tokens) in arrays.iter().enumerate() {
                length += tokens::length_of(tokens, encoding).ok_or_else(|| none(at))?;
            }
            if length > most {
                return Err(Refusal::much_text(most));
            }
            let text = |(at, tokens): (usize, &Vec<u32>)| tokens::text_of(tokens, encoding).ok_or_else(|| none(at));
            arrays.iter().enumerate().map(text).collect()
        }
    }
}

/// Answers with the built-in model. What it cannot do is refused before the call counts as sent, and costs nothing.
pub(super) async fn answer(
    permit: Permit,
    backend: &Arc<Backend>,
    room: Option<Room>,
    tasks: &Background,
    (encoding, most): (Option<Encoding>, usize),
) -> Result<(Answer, HeaderMap), Refusal> {
    let dimensions = dimensions_of(permit.call())?;
    // The tables of an encoding take a while to load.
    let much = permit.call().shape.bytes > MUCH_TEXT || permit.call().shape.is_tokens;
    let backend = backend.clone();
    let work = move || -> Result<(Answer, HeaderMap), Refusal> {
        let unusable =
            |error: &dyn std::fmt::Display| Refusal::bad_gateway(format!("The built-in model failed: {error}"));
        let model = Model::get().map_err(|error| unusable(error))?;
        let texts = texts_of(permit.call(), encoding, most)?;
        let in_flight = permit.sent(backend, room)?;
        let call = in_flight.call().clone();
        // Who counts in tokens is charged for those.
        let tokens = if call.shape.is_tokens { call.shape.tokens } else { model.count(&texts) };
        let answer = model
            .answer(&texts, dimensions, call.encoding_format, &call.model, tokens)
            .map_err(|error| unusable(&error))?;
        let settled = in_flight.settle(tokens, Certainty::Known);
        Ok((Answer::Whole(answer.into(), settled), HeaderMap::new()))
    };
    if !much {
        return work();
    }
    tasks.compute(work).await.map_err(|error| Refusal::bad_gateway(format!("The built-in model failed: {error}")))?
}
