//! OpenAI's embeddings API as a server sees it: reading and measuring a [`request`], and the [`answer`] in both encodings.
//!
//! It knows nothing of keys, accounts and providers, and it waits for nothing: bytes go in, and what they say comes out, or what is
//! [`request::Malformed`] about them.
//!
//! Where to begin: [`request::Request::read`] and [`answer::Transcoder`].
//!
//! Source: the OpenAI API reference, "Create embeddings".

pub mod answer;
pub mod request;
