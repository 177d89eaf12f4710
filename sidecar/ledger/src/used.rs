//! What a call turned out to use.

use vectoll_config::PicoUsd;

/// The name that those beyond a bound share: users beyond a team's `maxUsers`, and users and models beyond what is told
/// apart in the books.
pub const OTHER: &str = "_other";

/// What a call turned out to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Tokens.
    pub tokens: u64,
    /// Money.
    pub money: PicoUsd,
}
