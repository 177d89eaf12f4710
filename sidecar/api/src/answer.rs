//! The answer to a request for embeddings: both encodings and their translation, what makes it right, and what it says it cost.
//!
//! Source: the OpenAI API reference, "Create embeddings", "The embedding object".

mod check;
mod made;
mod outline;
mod text;
mod transcode;
mod usage;
mod vector;

pub use self::{
    check::checked,
    made::{join, made},
    outline::Outline,
    transcode::{Transcoder, Wanted, numbers},
    vector::{Wrong, has_dimensions},
};
