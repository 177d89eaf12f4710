//! A request that lacks nothing but the signature. All that grows with its inputs was done when it was made.

use http::{HeaderName, HeaderValue};

use crate::credential::Payload;

/// A request in a provider's own shape, without credentials.
#[derive(Clone, Debug)]
pub struct OutgoingRequest {
    /// As in [`super::dialect::Wire`].
    pub(super) path: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Payload,
}
