//! Times as they come back from the API.

use jiff::Timestamp;

/// Times in the API have no fractions: one that had would come back changed.
pub(super) fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
