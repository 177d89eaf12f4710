//! Inputs that have more tokens than the model takes: the call is refused before anything is sent, with the input's number, or they are
//! cut at a token, where the route or the call says so. Both where the model's tokenizer and its bound are known; elsewhere the provider
//! says so itself.
//!
//! A text of `n` bytes is at most `n` tokens: few texts are made tokens of here.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use vectoll_config::v1::{Encoding, TokenBound, Truncate};

use crate::{
    call::{Call, TokenCounts},
    compute::Compute,
    memory::MemoryPermit,
    policy::Route,
    refusal::Refusal,
    tokenizer,
};
use vectoll_api::request::{Input, Truncation};
use vectoll_upstream::tokens;

/// How many inputs were cut, and which: their places, the first of them.
const TRUNCATED: HeaderName = HeaderName::from_static("x-vectoll-truncated");
const TRUNCATED_INPUTS: HeaderName = HeaderName::from_static("x-vectoll-truncated-inputs");
/// So many places are told: a header has its bounds, too.
const MAX_PLACES: usize = 100;

/// How long a call waits for the memory that counting and cutting take.
const MEMORY_TIMEOUT: Duration = Duration::from_mins(1);
/// Text up to which tokens are counted in the request's own thread.
const LITTLE_TEXT: u64 = 16 * 1024;
/// The most of one text that is made tokens of at a time, in bytes, and what a byte of it takes: a number for each of its tokens.
const MAX_ENCODED_BYTES: usize = 1024 * 1024;
const BYTES_OF_TOKEN: usize = 4;

/// The inputs of a call that were cut, by their places.
#[derive(Debug, Default)]
pub(super) struct Truncated(Vec<usize>);

impl Truncated {
    /// Says so, if there are any.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        headers.insert(TRUNCATED, HeaderValue::from(self.0.len()));
        let places: Vec<String> = self.0.iter().take(MAX_PLACES).map(usize::to_string).collect();
        if let Ok(value) = HeaderValue::from_str(&places.join(",")) {
            headers.insert(TRUNCATED_INPUTS, value);
        }
    }
}

/// What a route's backends take of one input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InputBound {
    encoding: Encoding,
    /// What all of them take.
    least: u64,
    /// What one of them takes; none: one of them may take any number.
    most: Option<u64>,
}

impl InputBound {
    /// None: of no backend it is known.
    fn of(route: &Route, model: &str) -> Option<Self> {
        let bounds = || route.reachable().map(|backend| backend.input_bound(model));
        let (encoding, first) = bounds().flatten().next()?;
        let least = bounds().flatten().map(|(_, most)| most).min().unwrap_or(first);
        let most = bounds().try_fold(0, |most, bound| bound.map(|(_, more)| more.max(most)));
        Some(Self { encoding, least, most })
    }
}

/// What is done about inputs that are too long, and the tokenizer that tells which are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Action {
    encoding: Encoding,
    /// The most tokens that an input may have.
    most: u64,
    /// What is cut off those that have more; none: the call is refused.
    part: Option<Truncate>,
}

/// What is to be done about a call that may have an input that is too long; none: it has none, or nobody knows.
pub(super) fn action(call: &Call, route: &Route) -> Result<Option<Action>, Refusal> {
    let bound = InputBound::of(route, &call.model);
    let part = match (call.request.truncation, route.manner.truncate) {
        (Some(Truncation::Of(part)), _) | (None, Some(part)) => Some(part),
        (Some(Truncation::Never), _) | (None, None) => None,
    };
    let Some(bound) = bound else {
        let is_asked = matches!(call.request.truncation, Some(Truncation::Of(_)));
        // Who asks for it is not to take the provider's refusal, or what the provider cuts, for what was asked for.
        if is_asked && route.reachable().any(|backend| !backend.takes_any_length()) {
            return Err(Refusal::no_truncation(&call.model));
        }
        return Ok(None);
    };
    let most = if part.is_some() { Some(bound.least) } else { bound.most };
    // A token array of so many tokens is just that, and a text of so many bytes is no more.
    let most = most.filter(|most| call.request.shape.longest > *most);
    Ok(most.map(|most| Action { encoding: bound.encoding, most, part }))
}

/// The call as the model takes it.
pub(super) async fn fit(
    call: Call,
    Action { encoding, most, part }: Action,
    compute: &Compute,
) -> Result<(Call, Truncated), Refusal> {
    tokenizer::load(&TokenBound::Encoding(encoding), compute).await;
    // Its texts, one of them as tokens, and the body that is made anew.
    let mut held = MemoryPermit::default();
    let length = call.request.body.len();
    let needed = length.saturating_mul(2).saturating_add(length.min(MAX_ENCODED_BYTES) * BYTES_OF_TOKEN);
    let end = Instant::now() + MEMORY_TIMEOUT;
    call.claim.hold_until(&mut held, needed, end.into()).await.map_err(|_| Refusal::no_room())?;
    let is_little = call.request.shape.bytes <= LITTLE_TEXT && !call.request.shape.is_tokens;
    let work = move || {
        let done = match part {
            None => within(&call, encoding, most).map(|()| (call, Truncated::default())),
            Some(part) => cut(call, encoding, most, part),
        };
        // Free when the work is done, also if the caller leaves meanwhile.
        drop(held);
        done
    };
    if is_little {
        work()
    } else {
        compute.run(length as u64, work).await.map_err(|error| Refusal::uncounted(&error))?
    }
}

/// Refuses a call of which an input has more tokens.
fn within(call: &Call, encoding: Encoding, most: u64) -> Result<(), Refusal> {
    match call.request.input()? {
        Input::Tokens(_) => {
            let arrays = call.request.token_arrays().unwrap_or_default();
            let too_long =
                arrays.iter().map(|tokens| tokens.len() as u64).enumerate().find(|(_, tokens)| *tokens > most);
            too_long.map_or(Ok(()), |(at, tokens)| Err(Refusal::too_long(at, tokens, true, most)))
        }
        Input::Texts(texts) => {
            let bound = TokenBound::Encoding(encoding);
            for (at, text) in texts.iter().enumerate().filter(|(_, text)| text.len() as u64 > most) {
                let least = tokens::least_of_text(text.len());
                if least > most {
                    return Err(Refusal::too_long(at, least, false, most));
                }
                match tokens::count_text(text, &bound) {
                    Some(tokens) if tokens > most => return Err(Refusal::too_long(at, tokens, true, most)),
                    Some(_) | None => {}
                }
            }
            Ok(())
        }
    }
}

/// The call with what is left of its inputs.
fn cut(mut call: Call, encoding: Encoding, most: u64, part: Truncate) -> Result<(Call, Truncated), Refusal> {
    let mut places = Vec::new();
    let request = match call.request.input()? {
        Input::Tokens(_) => {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let mut arrays = call.request.token_arrays().unwrap_or_default();
            for (at, tokens) in arrays.iter_mut().enumerate().filter(|(_, tokens)| tokens.len() > most) {
                places.push(at);
                match part {
                    Truncate::End => tokens.truncate(most),
                    Truncate::Start => drop(tokens.drain(..tokens.len() - most)),
                }
            }
            Some(call.request.of_token_arrays(&arrays)?)
        }
        Input::Texts(mut texts) => {
            for (at, text) in texts.iter_mut().enumerate() {
                if let Some(left) = tokens::cut(text, encoding, most, part).map(str::to_owned) {
                    places.push(at);
                    *text = left.into();
                }
            }
            if places.is_empty() { None } else { Some(call.request.of_texts(&texts)?) }
        }
    };
    let Some(request) = request else { return Ok((call, Truncated::default())) };
    call.request = request;
    // What was counted of it before is not true of it any more.
    call.token_counts = TokenCounts::default();
    call.entry.truncated(places.len());
    Ok((call, Truncated(places)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_as_far_as_a_header_goes() {
        let told = |places: Vec<usize>| {
            let mut headers = HeaderMap::new();
            Truncated(places).write(&mut headers);
            let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            (text(&TRUNCATED), text(&TRUNCATED_INPUTS))
        };
        assert_eq!(told(vec![]), (None, None));
        assert_eq!(told(vec![0, 7]), (Some("2".to_owned()), Some("0,7".to_owned())));
        let (number, places) = told((0..2048).collect());
        assert_eq!(number.as_deref(), Some("2048"));
        assert_eq!(places.map(|places| places.split(',').count()), Some(MAX_PLACES));
    }
}
