//! What is found by walking over the holdings that are dirty is what a walk over all of them finds: two sessions live through the same,
//! and one of them walks over all. And what a walk costs: holdings that are looked at.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout, reason = "tests")]

mod cost;
mod same;
mod twins;
