//! Where a call has been.

use std::sync::Arc;

use crate::policy::Backend;

/// Where a call has been.
#[derive(Debug, Default)]
pub(super) struct AttemptHistory {
    /// The backend of the last attempt.
    pub(super) backend: Option<Arc<Backend>>,
    /// Attempts after the first.
    pub(super) retries: u32,
    /// Those of them that went to another backend than the one before.
    pub(super) fallbacks: u32,
}
