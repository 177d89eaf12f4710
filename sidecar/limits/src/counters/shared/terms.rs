//! The times that all sidecars keep to.

use std::time::Duration;

/// Times of the lease protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeaseTerms {
    /// How long a lease lasts.
    pub(crate) life: Duration,
    /// How long the store grants nothing after it was started anew: longer than a lease and a beat together.
    pub(crate) pause: Duration,
    /// How long spend and corrections may wait for company.
    pub(crate) batch: Duration,
    /// The longest silence while something is held or was used lately.
    pub(crate) beat: Duration,
    /// The same while nothing is: shorter than the time after which a sidecar does not count any more.
    pub(crate) idle_beat: Duration,
    /// The shortest time between an exchange and one that nobody waits for.
    pub(crate) least_pause: Duration,
}

/// The terms that all sidecars keep to.
pub(crate) const TERMS: LeaseTerms = LeaseTerms {
    life: Duration::from_secs(2),
    pause: Duration::from_secs(4),
    batch: Duration::from_millis(250),
    beat: Duration::from_secs(1),
    idle_beat: Duration::from_secs(4),
    least_pause: Duration::from_millis(50),
};
