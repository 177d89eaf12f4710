//! A call that travels together with others, and what becomes of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use http::HeaderMap;
use tokio::sync::oneshot;

use super::super::failure::Failure;
use crate::{
    accounting::{Permit, Settled},
    memory::MemoryPermit,
};

/// An admitted call that waits for others, or for the request that it travels in.
#[derive(Debug)]
pub(in crate::proxy) struct Member {
    pub(in crate::proxy) permit: Permit,
    pub(in crate::proxy) passenger: Passenger,
}

/// What there is of such a call beside its permit.
#[derive(Debug)]
pub(in crate::proxy) struct Passenger {
    pub(in crate::proxy) text: Arc<str>,
    /// The memory for its text and its vector.
    pub(in crate::proxy) held: MemoryPermit,
    /// Set when its caller has gone.
    pub(in crate::proxy) left: Arc<AtomicBool>,
    /// When its time is over; none: never.
    pub(in crate::proxy) end: Option<Instant>,
    /// Who waits for it.
    pub(in crate::proxy) reply: Reply,
}

impl Passenger {
    /// Whether it is not sent any more.
    pub(super) fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) || self.end.is_some_and(|end| Instant::now() >= end)
    }
}

impl Member {
    /// It goes its own way.
    pub(super) fn goes_alone(self) {
        let Self { permit, passenger } = self;
        passenger.reply.send(Outcome::Alone(permit));
    }
}

/// What became of a call that travelled.
#[derive(Debug)]
pub(in crate::proxy) enum Outcome {
    /// It has its vector, and is settled.
    Answered(Box<Answered>),
    /// The request has failed.
    Failed(Failure),
    /// It was not sent, or refused at no cost: it goes its own way, on the same reservation.
    Alone(Permit),
}

/// A call's own part of the answer.
#[derive(Debug)]
pub(in crate::proxy) struct Answered {
    pub(in crate::proxy) vector: Vec<f32>,
    /// Its share.
    pub(in crate::proxy) tokens: u64,
    pub(in crate::proxy) settled: Settled,
    /// All of the provider's.
    pub(in crate::proxy) headers: HeaderMap,
    /// The memory for it.
    pub(in crate::proxy) held: MemoryPermit,
}

/// Where a call's outcome goes.
#[derive(Debug)]
pub(in crate::proxy) struct Reply(pub(in crate::proxy) oneshot::Sender<Outcome>);

impl Reply {
    /// Hands it over. Where nobody waits any more, the call has its end here.
    pub(super) fn send(self, outcome: Outcome) {
        match self.0.send(outcome) {
            // A permit that is dropped gives its reservation back.
            Ok(()) | Err(Outcome::Answered(_) | Outcome::Alone(_)) => {}
            Err(Outcome::Failed(Failure { rest, .. })) => rest.end(),
        }
    }
}
