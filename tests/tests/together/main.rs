//! Several sidecars, one store: limits and budgets hold for all of them together, and spend is neither lost nor doubled.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test"
)]

mod edited;
mod full_journal;
mod limits;
mod local;
mod scene;
mod several;
mod spend;
mod tree;
