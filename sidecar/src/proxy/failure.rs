//! Why a backend did not serve a call, whose doing that is, and what is left of the call.

use std::time::Duration;

use http::StatusCode;

use crate::{
    accounting::{InFlight, Permit},
    refusal::Refusal,
};
use vectoll_upstream::health::FailureKind;

/// An attempt that gave no vectors.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the caller is told, unless another backend serves the call.
    pub(super) refusal: Refusal,
    /// Whose doing it is.
    pub(super) blame: Blame,
    /// The label `result` of `vectoll_backend_attempts_total`.
    pub(super) result: &'static str,
    /// What is left of the call.
    pub(super) rest: ChargeState,
}

/// Whose doing a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The call's: every backend would refuse it.
    Call,
    /// The sidecar's own.
    Sidecar,
    /// The backend's: another one may serve the call.
    Backend(FailureKind),
    /// Nobody's: this backend does not have, or may not serve, the model that the caller named. Another one may.
    Name,
}

/// What is left of a call that failed. Boxed: results of attempts are handed on often, and few are failures.
#[derive(Debug)]
pub(super) enum ChargeState {
    /// Nothing: it may have been charged and was booked, or was given back.
    Nothing,
    /// It never left.
    Unsent(Box<InFlight>),
    /// The provider has refused it, and charges nothing.
    Refused(Box<InFlight>),
}

impl Failure {
    /// The backend's doing.
    pub(super) fn down(refusal: Refusal, result: &'static str) -> Self {
        Self { refusal, blame: Blame::Backend(FailureKind::Down), result, rest: ChargeState::Nothing }
    }

    /// The backend did not answer in its time.
    pub(super) fn late(backend: &str, timeout: Duration) -> Self {
        let message = format!("Backend {backend} did not answer within {} s", timeout.as_secs());
        Self::down(Refusal::upstream_timeout(message).charged(), "timeout")
    }

    /// Its time was over before anything was sent: a credential or a connection did not come.
    pub(super) fn late_to_leave(backend: &str, timeout: Duration) -> Self {
        let message = format!(
            "Backend {backend} could not be called within {} s: its credential or a connection did not come in time",
            timeout.as_secs()
        );
        Self::down(Refusal::upstream_timeout(message), "timeout")
    }

    /// The sidecar's own doing: nothing was sent.
    pub(super) fn of_sidecar(refusal: Refusal) -> Self {
        Self { refusal, blame: Blame::Sidecar, result: "failed", rest: ChargeState::Nothing }
    }

    /// The call's own doing: nothing was sent.
    pub(super) fn of_call(refusal: Refusal) -> Self {
        Self { refusal, blame: Blame::Call, result: "refused", rest: ChargeState::Nothing }
    }

    /// The built-in model's: what it cannot do is the call's doing.
    pub(super) fn of_builtin(refusal: Refusal) -> Self {
        match refusal.status {
            StatusCode::BAD_GATEWAY => Self::down(refusal, "failed"),
            StatusCode::SERVICE_UNAVAILABLE => Self::of_sidecar(refusal),
            _ => Self::of_call(refusal),
        }
    }
}

impl ChargeState {
    /// The call, where it can go on to another backend on the same reservation.
    pub(super) fn withdraw(self) -> Option<Permit> {
        match self {
            Self::Nothing => None,
            Self::Unsent(in_flight) => in_flight.withdraw(),
            Self::Refused(mut in_flight) => {
                in_flight.asked_for_nothing();
                in_flight.withdraw()
            }
        }
    }

    /// Nothing of the provider's limits is taken any more, while it is decided what becomes of the call.
    pub(super) fn leave_room(&mut self) {
        match self {
            Self::Nothing => {}
            Self::Unsent(in_flight) => in_flight.leave_room(),
            Self::Refused(in_flight) => in_flight.asked_for_nothing(),
        }
    }

    /// There is no other attempt.
    pub(super) fn end(self) {
        match self {
            Self::Nothing => {}
            Self::Unsent(in_flight) => in_flight.never_sent(),
            Self::Refused(in_flight) => in_flight.refused(),
        }
    }
}
