//! The answer to a request for embeddings: both encodings and their translation, what makes it right, and what it says it cost.
//!
//! Source: the OpenAI API reference, "Create embeddings", "The embedding object".

mod binary;
mod check;
mod list;
mod made;
mod outline;
mod skeleton;
mod text;
mod transcode;
mod usage;
mod vector;

pub use self::{
    check::checked,
    made::{join, made},
    outline::Outline,
    transcode::{ExpectedVectors, Transcoder, numbers},
    vector::{VectorError, has_dimensions},
};

/// The most bytes that come before an answer's first vector has ended. Until then its form is not known, and nothing of it is passed on.
pub const MAX_BEFORE_FIRST_VECTOR: usize = 1024 * 1024;
