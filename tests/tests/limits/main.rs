//! Limits hold to the token, budgets to the pico-USD, and refusals say when to come back.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "a test"
)]

mod budgets;
mod scopes;
mod tokens;
mod waiting;
mod windows;

/// 9 tokens in cl100k, 44 bytes: far fewer tokens than the bound that needs no tokenizer.
pub(crate) const NINE_TOKENS: &str = "The quick brown fox jumps over the lazy dog";

/// A call whose status and message these are was refused for this reason.
#[track_caller]
pub(crate) fn refused((status, message): (u16, String), begin: &str) {
    assert_eq!(status, 429, "{message}");
    assert!(message.starts_with(begin), "{message}");
}
