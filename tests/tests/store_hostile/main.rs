//! What a namespace's login can do to a store that others share, and what the operator does about it: Redis is real.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a test")]

mod allocated;
mod bounds;
mod census;
mod figures;
mod functions;
mod ledger;
mod made_up;
mod stage;
mod swept;
mod words;
