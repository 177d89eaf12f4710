//! Every credential that is fetched, from the issuer at its own name to the provider at its own, through operator and sidecar with
//! the config that the operator writes; and where the sidecar does not go.
//!
//! Each test runs in namespaces of its own: see `vectoll_tests::clouds`.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test"
)]

mod guard;
mod identities;
mod refused;
mod served;
mod stage;
