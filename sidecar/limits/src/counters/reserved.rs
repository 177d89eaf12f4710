//! What becomes of a wish.

use super::{Denial, QuotaReservation, shared::Pending};

/// What becomes of a wish.
#[derive(Debug)]
pub enum Reserved {
    /// It is decided.
    Now(Result<QuotaReservation, Denial>),
    /// The store is asked.
    Later(Pending),
}
