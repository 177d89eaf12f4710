//! Operator and sidecar as two processes, called as applications do. The demo needs no more than this, and the tests stand on it.
//!
//! - [`pair`]: both programs, configured by the manifests that a user would apply;
//! - [`caller`]: an application that calls the sidecar;
//! - [`demo`]: what `make demo` shows.
//!
//! It must not know: the insides of operator or sidecar, and what tests need beyond two programs (providers, stores, clusters): whoever
//! builds the demo builds nothing of that.

pub mod caller;
pub mod demo;
pub mod pair;
