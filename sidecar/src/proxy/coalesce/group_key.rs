//! Which calls may travel together.

use std::sync::Arc;

use vectoll_config::{Uid, v1::InputType};

use crate::{
    call::Call,
    policy::{Backend, Route},
};
use vectoll_upstream::provider::Provider;

/// A longer text travels alone: it is no small call, and others would wait for its answer.
const MAX_TEXT_BYTES: u64 = 16 * 1024;

/// What calls have in common that travel together: all that a request says beside its texts, and the Team.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::proxy) struct GroupKey {
    /// Where the backend stands in memory. Whoever has the key has the backend: no other one comes to stand there.
    backend: usize,
    team: Uid,
    model: Arc<str>,
    dimensions: Option<u64>,
    input_type: InputType,
    /// The body's own word for that: some providers are sent it as it is.
    word_for_input_type: Option<String>,
    /// The body's end user, whom some providers are told.
    user: Option<String>,
}

impl GroupKey {
    /// The group of a call at a backend; none: it travels alone.
    pub(in crate::proxy) fn of(call: &Call, route: &Route, backend: &Arc<Backend>) -> Option<Self> {
        route.manner.coalesce?;
        let Provider::Remote(remote) = &backend.provider else { return None };
        let request = &call.request;
        let shape = request.shape;
        let is_small = shape.items == 1 && !shape.is_tokens && (1..=MAX_TEXT_BYTES).contains(&shape.bytes);
        // What the provider alone understands may change the vectors by what the other texts are.
        let is_plain = request.others().next().is_none() && request.unknown_input_type().is_none();
        let takes_several = || remote.capabilities(backend.model_of(&call.model)).items > 1;
        (is_small && is_plain && takes_several()).then(|| Self {
            backend: Arc::as_ptr(backend).addr(),
            team: call.caller.key().team.uid.clone(),
            model: call.model.clone(),
            dimensions: request.dimensions,
            input_type: request.input_type.unwrap_or(route.manner.input_type),
            word_for_input_type: request.provider_specific.input_type.clone(),
            user: request.provider_specific.user.clone(),
        })
    }
}
