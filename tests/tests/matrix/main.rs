//! Every provider × every form of input × both encodings × `dimensions` × input types, through operator and sidecar.
//!
//! `VECTOLL_UPDATE=1 cargo test -p vectoll-tests --test matrix` writes the table of providers in `sidecar/docs/providers.md` anew.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a test"
)]

mod batches;
mod credentials;
mod every;
mod failures;
mod money;
mod rows;
mod seen;
mod stage;
