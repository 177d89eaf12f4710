//! `kubectl vectoll`: what people look at and change by hand, with their own rights in the API server and no others.
//!
//! Each command reads what it needs ([`objects`], [`explain`], [`check`]), turns it into a view (pure), and prints that as a table, as JSON
//! or as YAML ([`output`]). What it says of a resource is the operator's own word: conditions and spend come from statuses, and what a key may
//! do comes out of the operator's own pure functions. It must not know: how the operator runs, or anything that only its service account may read.

mod access_log;
mod change;
mod check;
mod cli;
mod condition_summary;
mod connect;
mod dispatch;
mod duration;
mod explain;
mod failure;
mod key;
mod logs;
mod names;
mod objects;
mod output;
mod page;
mod since;
mod status;
mod table;
mod top;
mod why;

pub use self::cli::Plugin;
pub(crate) use self::names::all_names;
