//! A provider's answer on its way to the caller.
//!
//! Up to [`HELD`] bytes it is held until it has been checked and settled, so that an unusable one becomes an error and
//! the headers can tell the cost. A larger one streams through; its last piece is kept back until the whole was seen to
//! be right, and what goes wrong after the headers were sent aborts the connection.

mod body;
mod detach;
mod flow;
mod relay;

use bytes::Bytes;
use http::{HeaderName, header};

use crate::accounting::Settled;

pub use body::Body;
pub use detach::DetachOnDrop;
pub use flow::{Broken, Flow};
pub use relay::{Observation, Relay, Verdict};

/// The largest answer that is held back as a whole: as much as is held without being counted.
pub const HELD: usize = crate::memory::SMALL_CLAIM_BYTES;

/// Headers of a provider that callers get to see.
pub const PASSED: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("openai-processing-ms"),
    HeaderName::from_static("openai-version"),
];

/// An answer for the caller.
#[derive(Debug)]
pub enum Answer {
    /// Checked and settled.
    Whole(Bytes, Settled),
    /// Checked and settled as well, and large: handed over piece by piece.
    Pieces(Relay, Settled),
    /// Still coming.
    Streaming(Relay, vectoll_limits::counters::RateLimitStatus),
}
