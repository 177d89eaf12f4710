//! A call is admitted.

use std::sync::Arc;

use super::reservation::Reservation;
use crate::{call::Call, policy::Route};

/// An admitted call that was not sent yet. Dropping it gives the reservation back.
#[derive(Debug)]
pub struct Permit {
    pub(super) call: Arc<Call>,
    pub(super) route: Arc<Route>,
    pub(super) reservation: Reservation,
}

impl Permit {
    /// The call.
    pub fn call(&self) -> &Arc<Call> {
        &self.call
    }

    /// The route it goes by.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }
}
