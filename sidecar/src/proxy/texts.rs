//! The texts of a call, for models that take nothing else.

use std::{
    borrow::Cow,
    time::{Duration, Instant},
};

use vectoll_config::v1::{Encoding, TokenBound};

use crate::{call::Call, compute::Compute, memory::MemoryPermit, policy::Route, refusal::Refusal, tokenizer};
use vectoll_api::request::{Input, Shape};
use vectoll_upstream::tokens;

/// How long a call waits for the memory that measuring it takes.
const MEASURING_TIMEOUT: Duration = Duration::from_mins(1);

/// A body of token arrays that is measured at once: some thousand tokens.
const FEW_ARRAYS: u64 = 16 * 1024;

/// What a caller of a route is told that takes text only.
const UNKNOWN_ENCODING: &str = "this model takes text, and nobody knows which encoding these tokens are of: send strings (LangChain's \
                                OpenAIEmbeddings does with check_embedding_ctx_length=False), or have the route's owner set \
                                `tokens.arrayEncoding` on the ModelRoute's backend";

/// Measures the text that a call's token arrays are of, where one of its backends is to be sent that: a few tokens can be many
/// times as many elsewhere. What no backend could be sent stays unmeasured: it is refused with its reason before it is sent.
pub(super) async fn measure(mut call: Call, route: &Route, most: usize, compute: &Compute) -> Result<Call, Refusal> {
    if !call.request.shape.is_tokens {
        return Ok(call);
    }
    let text_only = route.reachable().filter(|backend| backend.takes_text_only());
    let encodings: Vec<Encoding> = text_only.filter_map(|backend| backend.encoding_of_arrays(&call.model)).collect();
    if encodings.is_empty() {
        return Ok(call);
    }
    for encoding in &encodings {
        tokenizer::load(&TokenBound::Encoding(*encoding), compute).await;
    }
    let mut held = MemoryPermit::default();
    let end = Instant::now() + MEASURING_TIMEOUT;
    // A token of one digit and a comma is a number of four bytes.
    call.claim
        .hold_until(&mut held, call.request.body.len().saturating_mul(2), end.into())
        .await
        .map_err(|_| Refusal::no_room())?;
    let measured = compute.run_above(FEW_ARRAYS, call.request.body.len() as u64, move || {
        let of = |encoding: &Encoding| length_of_text(&call, *encoding, most);
        // Where backends differ, the longest.
        let bytes = encodings.iter().filter_map(of).max();
        let items = call.request.shape.items;
        call.text_of_arrays = bytes.map(|bytes| Shape { items, ..Shape::of_text(bytes) });
        // Free when the work is done, also if the caller leaves meanwhile.
        drop(held);
        call
    });
    measured.await.map_err(|error| Refusal::uncounted(&error))
}

/// The bytes of text that token arrays are of. None: some tokens are none, or it is longer than any body may be.
fn length_of_text(call: &Call, encoding: Encoding, most: usize) -> Option<u64> {
    let arrays = call.request.token_arrays()?;
    let raw = arrays.iter().try_fold(0usize, |sum, tokens| sum.checked_add(tokens::length_of(tokens, encoding)?))?;
    if raw > most {
        return None;
    }
    arrays.iter().map(|tokens| tokens::length_of_text(tokens, encoding)).sum()
}

/// The inputs as texts, for a model that knows no others.
///
/// `most` is the largest body in bytes. Texts of token arrays are held to it as well: a token of a few digits may be 128 spaces.
pub(super) fn texts_of(call: &Call, encoding: Option<Encoding>, most: usize) -> Result<Vec<String>, Refusal> {
    match call.request.input()? {
        Input::Texts(texts) => Ok(texts.into_iter().map(Cow::into_owned).collect()),
        Input::Tokens(_) => {
            let encoding = encoding.ok_or_else(|| Refusal::input(UNKNOWN_ENCODING))?;
            let arrays = call.request.token_arrays().unwrap_or_default();
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
