//! What may still be spent.
//!
//! A call is reserved in all of its scopes or in none, by [`counters::Counters`]: over memory for one sidecar on its own, over shares that
//! the [`store`] has leased for one of several. The store decides by a function; the same is a model in memory, which the simulation of the
//! shares and the function's own tests are held against.
//!
//! It knows nothing of HTTP and providers. What is served it sees through [`store::Served`] only; what was spent comes from the ledger's
//! journal.
//!
//! Where to begin: [`counters`] for the interface, `counters::local` for how one sidecar decides, `counters::shared` for how several do, and
//! [`store::protocol`] for what they say to each other.

pub mod counters;
pub mod store;
