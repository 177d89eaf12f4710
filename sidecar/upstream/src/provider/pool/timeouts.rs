//! How long connections may take, and are kept.

use std::time::Duration;

/// How long a connection may take to come about.
pub(in crate::provider) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next call.
pub(in crate::provider) const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
