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
    memory::{MemoryPermit, NoRoom},
    policy::{Backend, Route},
    refusal::Refusal,
};
use vectoll_upstream::provider::{
    HttpProvider, Provider,
    dialect::{
        extension::{Extensions, Rejected},
        taken::is_of_each_input,
    },
};

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
    let model = backend.model_of(&call.model);
    let capabilities = remote.capabilities(model);
    let fits = call.request.shape.items <= capabilities.items as u64
        && capabilities.tokens.is_none_or(|most| backend.most_tokens(call) <= most);
    // Of fields that nobody knows a part might say another thing than the whole, and one input is one part: such calls go through as they
    // are, too.
    let passes = remote.passes();
    let is_divisible = || call.request.others().all(|(name, json)| is_of_each_input(name, json));
    if passes && (fits || call.request.shape.items == 1 || !is_divisible()) {
        return Ok(None);
    }
    let extensions =
        if passes { Extensions::as_they_are(call.request.others()) } else { translated(call, remote, model)? };
    let mut held = MemoryPermit::default();
    let backend_deadline = Instant::now() + backend.timeout;
    let deadline = end.map_or(backend_deadline, |end| end.min(backend_deadline));
    // Others take their time: that is no fault of the backend's.
    let no_room = |NoRoom| Failure::of_sidecar(Refusal::no_room());
    call.claim
        .hold_until(&mut held, parts::expected(call, backend.sent(call).bytes), deadline.into())
        .await
        .map_err(no_room)?;
    let (work, bound, most) = (call.clone(), backend.tokens, sending.most);
    let encoding = backend.encoding_of_arrays(&call.model);
    let beside = if passes { "" } else { extensions.beside().unwrap_or_default() }.to_owned();
    let split = move || {
        if passes
            && work.request.shape.is_tokens
            && let Some(arrays) = work.request.token_arrays()
        {
            return Ok(split_arrays(&arrays, capabilities, &bound));
        }
        texts_of(&work, encoding, most).map(|texts| split(texts, &beside, capabilities, &bound))
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
    if extensions.couple_inputs() && split.parts.len() > 1 {
        return Err(Failure::of_call(Refusal::coupled(capabilities.items)));
    }
    let first = split.parts.first().cloned().unwrap_or_default();
    let first = parts::request(remote, &parts::part_of(backend, (call, route), (&split, &extensions), first))?;
    Ok(Some(Plan { split, extensions, first, held }))
}

/// What a call says beyond OpenAI's fields, as its provider takes it. What has no place there is refused, lest the vectors be others than
/// asked for.
fn translated(call: &Call, remote: &HttpProvider, model: &str) -> Result<Extensions, Failure> {
    let taken = remote.dialect().extensions(model);
    let unknown = call.request.unknown_input_type();
    let word = unknown.map(|word| serde_json::Value::from(word).to_string());
    let fields = call.request.others().chain(word.as_deref().map(|word| ("input_type", word)));
    Extensions::read(taken, fields).map_err(|rejected| {
        let provider = remote.dialect().name();
        Failure::of_call(match (rejected, unknown) {
            (Rejected::NoPlace { field }, Some(unknown)) if field == "input_type" => Refusal::input_type(unknown),
            (rejected, _) => Refusal::extension(rejected, provider),
        })
    })
}
