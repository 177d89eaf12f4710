//! How far a call has come.

use std::{sync::Arc, time::Duration};

use super::history::AttemptHistory;
use crate::call::Call;

/// How far a call has come.
#[derive(Debug, Default)]
pub(super) struct CallProgress {
    /// Time spent waiting for others: for the caller's body and for the backend.
    pub(super) waited: Duration,
    /// The team and the key that call.
    pub(super) key: Option<(Arc<str>, Arc<str>)>,
    /// The call, once it was admitted.
    pub(super) call: Option<Arc<Call>>,
    /// Where it went.
    pub(super) journey: AttemptHistory,
    /// The route whose calls the gateway carries out, if it is one: it decides and books, and what the answer says of that is its word.
    pub(super) passed_on: Option<Arc<str>>,
}
