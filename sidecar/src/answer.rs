//! A provider's answer on its way to the caller.
//!
//! Up to [`HELD`] bytes it is held until it has been checked and settled, so that an unusable one becomes an error and
//! the headers can tell the cost. A larger one streams through; its last piece is kept back until the whole was seen to
//! be right, and what goes wrong after the headers were sent aborts the connection.

mod body;
mod check;
mod flow;
mod made;
mod outline;
mod persist;
mod relay;
mod text;
mod transcode;
mod usage;
mod vector;

use bytes::Bytes;
use http::{HeaderName, header};

use crate::accounting::Settled;

pub use body::Body;
pub(crate) use check::checked;
pub use flow::{Broken, Flow};
pub(crate) use made::{join, made};
pub use persist::Persist;
pub use relay::{Observation, Relay, Verdict};
pub(crate) use transcode::{Transcoder, Wanted, numbers};
pub use vector::Wrong;
pub(crate) use vector::has_dimensions;

/// The largest answer that is held back as a whole: as much as is held without being counted.
pub const HELD: usize = crate::memory::LITTLE;

/// The most that comes before an answer's first vector has ended. Until then its form is not known, and nothing of it is passed on.
pub(crate) const MAX_BEFORE_FIRST_VECTOR: usize = 4 * HELD;

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
    Streaming(Relay, crate::counters::Standing),
}
