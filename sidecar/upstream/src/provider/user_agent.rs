//! What providers are told of who calls.

/// Name of this program, for providers.
pub const USER_AGENT: &str = concat!("vectoll/", env!("CARGO_PKG_VERSION"));
