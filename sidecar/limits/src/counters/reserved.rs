//! What becomes of a wish.

use super::{Denial, Held, shared::Pending};

/// What becomes of a wish.
#[derive(Debug)]
pub enum Reserved {
    /// It is decided.
    Now(Result<Held, Denial>),
    /// The store is asked.
    Later(Pending),
}
