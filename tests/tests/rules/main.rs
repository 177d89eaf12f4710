//! The chart's rules and dashboards: what they ask for is there, alerts fire when they should, and the pages say what to do. Debian's
//! Prometheus judges.

#![allow(clippy::indexing_slicing, clippy::print_stdout, reason = "a test")]

mod checks;
mod files;
mod live;
mod prometheus;
mod stage;
