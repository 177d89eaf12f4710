//! So much is looked at at a time, and so long after the last: no call waits for it.

use std::time::Duration;

/// Keys or fields that one command looks at.
pub(super) const PIECE: usize = 200;
/// What lies between two pieces.
pub(super) const PAUSE_BETWEEN_PIECES: Duration = Duration::from_millis(10);
