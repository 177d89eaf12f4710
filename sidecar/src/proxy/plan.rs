//! What a call is sent in: as it came, or in parts. Made before anything is sent or taken of a provider's limits.

use std::{sync::Arc, time::Instant};

use super::{
    failure::Failure,
    parts,
    planned::Plan,
    sending::Sending,
    split::{split, split_arrays},
    texts::texts_of,
};
use crate::{
    call::Call,
    memory::{Held, NoRoom},
    policy::{Backend, Route},
    refusal::Refusal,
};
use vectoll_api::request::OtherField;
use vectoll_upstream::provider::Provider;

/// Text from which on a call is split on a thread of its own.
const MUCH_TEXT: u64 = 16 * 1024;

/// The parts that a call is sent in; none: it goes through as it came. Waits for memory, within the backend's time and the call's,
/// before that of the attempt begins.
pub(super) async fn plan(
    (call, route): (&Arc<Call>, &Route),
    backend: &Arc<Backend>,
    sending: &Sending,
    end: Option<Instant>,
) -> Result<Option<Plan>, Failure> {
    let Provider::Remote(remote) = &backend.provider else { return Ok(None) };
    let caps = remote.caps(backend.model_of(&call.model));
    let fits = call.request.shape.items <= caps.items as u64
        && caps.tokens.is_none_or(|most| backend.most_tokens(call) <= most);
    // Fields of its own would be lost in parts, and one input is one part: such calls go through as they are, too.
    let passes = remote.passes();
    if passes && (fits || !call.request.other_fields.is_empty() || call.request.shape.items == 1) {
        return Ok(None);
    }
    // In the provider's own shape there is no place for what the caller means: it is refused, lest the vectors be others than asked for.
    if !passes {
        let is_meant =
            |field: &&OtherField| !remote.dialect().goes_without_saying(&field.name, call.request.value_of(field));
        if let Some(field) = call.request.other_fields.iter().find(is_meant) {
            return Err(Failure::of_call(Refusal::field_not_translated(&field.name, remote.dialect().name())));
        }
    }
    if let Some(unknown) = call.request.unknown_input_type()
        && !passes
    {
        return Err(Failure::of_call(Refusal::input_type(unknown)));
    }
    let mut held = Held::default();
    let patience = Instant::now() + backend.timeout;
    let deadline = end.map_or(patience, |end| end.min(patience));
    // Others take their time: that is no fault of the backend's.
    let no_room = |NoRoom| Failure::of_sidecar(Refusal::no_room());
    call.claim
        .hold_until(&mut held, parts::expected(call, backend.sent(call).bytes), deadline.into())
        .await
        .map_err(no_room)?;
    let (work, bound, most) = (call.clone(), backend.tokens, sending.most);
    let encoding = backend.encoding_of_arrays(&call.model);
    let split = move || {
        if passes
            && work.request.shape.is_tokens
            && let Some(arrays) = work.request.token_arrays()
        {
            return Ok(split_arrays(&arrays, caps, &bound));
        }
        texts_of(&work, encoding, most).map(|texts| split(texts, caps, &bound))
    };
    let split = if call.request.shape.bytes > MUCH_TEXT || call.request.shape.is_tokens {
        sending.tasks.compute(split).await.map_err(|error| {
            let message = format!("The call could not be split: {error}");
            Failure::of_sidecar(Refusal::unavailable("splitting_failed", message))
        })?
    } else {
        split()
    };
    let split = split.map_err(Failure::of_call)?;
    if passes && split.parts.len() == 1 {
        return Ok(None);
    }
    let first = split.parts.first().cloned().unwrap_or_default();
    let first = parts::request(remote, &parts::part_of(backend, (call, route), &split, first))?;
    Ok(Some(Plan { split, first, held }))
}
