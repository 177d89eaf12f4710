//! What sidecars say that they serve by.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::answers::LiveSidecar;

/// What sidecars say that they serve by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Acknowledgements {
    /// There is no store to say it in.
    #[default]
    Nowhere,
    /// The store was not asked yet.
    NotYet,
    /// The store has not answered for a while.
    Silent,
    /// As of a moment, the sidecars that live, by namespace.
    Heard {
        /// By the operator's clock.
        at: Timestamp,
        /// Namespaces in which none lives may be left out.
        live: BTreeMap<String, Vec<LiveSidecar>>,
    },
}
