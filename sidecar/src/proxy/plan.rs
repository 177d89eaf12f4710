//! What a call is sent in: as it came, or in parts. Made before anything is sent or taken of a provider's limits.

use std::{sync::Arc, time::Instant};

use super::{
    failure::Failure,
    parts,
    planned::{Plan, SplitCall},
    sending::{Left, Sending},
    split::{split, split_arrays},
    texts::texts_of,
};
use crate::{
    call::Call,
    memory::{MemoryPermit, NoRoom},
    policy::{Backend, Route},
    refusal::Refusal,
};
use vectoll_config::v1::InputType;
use vectoll_upstream::provider::{
    HttpProvider, Provider,
    dialect::{
        Capabilities,
        extension::{Extensions, Rejected},
        taken::is_of_each_input,
    },
    outgoing::OutgoingRequest,
};

/// A body that is split at once: its texts are copied, perhaps counted, and written again, which takes a millisecond or two.
const FEW_BYTES: u64 = 16 * 1024;

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
    let extensions = if passes { None } else { Some(translated(call, remote, model)?) };
    let mut held = MemoryPermit::default();
    let backend_deadline = Instant::now() + backend.timeout;
    let deadline = end.map_or(backend_deadline, |end| end.min(backend_deadline));
    // Others take their time: that is no fault of the backend's.
    let no_room = |NoRoom| Failure::of_sidecar(Refusal::no_room());
    call.claim
        .hold_until(&mut held, parts::expected(call, backend.sent(call).bytes), deadline.into())
        .await
        .map_err(no_room)?;
    if capabilities.tokens.is_some_and(|most| backend.most_tokens(call) > most) {
        // They are counted then.
        backend.load_tokenizer(call, &sending.compute).await;
    }
    let splitting = Splitting {
        call: call.clone(),
        backend: backend.clone(),
        capabilities,
        input_type: route.manner.input_type,
        extensions,
        most: sending.most,
        left: sending.left.clone(),
    };
    let bytes = call.request.body.len() as u64;
    let split = sending.compute.run_above(FEW_BYTES, bytes, move || splitting.split()).await.map_err(|error| {
        let message = format!("The call could not be split: {error}");
        Failure::of_sidecar(Refusal::unavailable("splitting_failed", message))
    })?;
    Ok(split?.map(|(call, first)| Plan { call: Arc::new(call), first, held }))
}

/// A call that is about to be split: all that it takes, for a thread of its own.
struct Splitting {
    call: Arc<Call>,
    backend: Arc<Backend>,
    capabilities: Capabilities,
    input_type: InputType,
    /// None: callers' bodies are understood.
    extensions: Option<Extensions>,
    /// The largest body, in bytes.
    most: usize,
    left: Left,
}

impl Splitting {
    /// The parts of the call, and the request for the first. None: it goes through as it came.
    fn split(self) -> Result<Option<(SplitCall, OutgoingRequest)>, Failure> {
        let Self { call, backend, capabilities, input_type, extensions, most, left } = self;
        left.check().map_err(Failure::of_sidecar)?;
        let Provider::Remote(remote) = &backend.provider else { return Ok(None) };
        let passes = extensions.is_none();
        let extensions = extensions.unwrap_or_else(|| Extensions::as_they_are(call.request.others()));
        let beside = if passes { "" } else { extensions.beside().unwrap_or_default() };
        let arrays = if passes && call.request.shape.is_tokens { call.request.token_arrays() } else { None };
        let split = if let Some(arrays) = arrays {
            split_arrays(&arrays, capabilities, &backend.tokens)
        } else {
            let texts = texts_of(&call, backend.encoding_of_arrays(&call.model), most).map_err(Failure::of_call)?;
            split(texts, beside, capabilities, &backend.tokens)
        };
        if passes && split.parts.len() == 1 {
            return Ok(None);
        }
        if extensions.couple_inputs() && split.parts.len() > 1 {
            return Err(Failure::of_call(Refusal::coupled(capabilities.items)));
        }
        let first = split.parts.first().cloned().unwrap_or_default();
        let split_call = SplitCall { split, extensions };
        let first = parts::request(remote, &parts::part_of(&backend, (&call, input_type), &split_call, first))?;
        Ok(Some((split_call, first)))
    }
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
