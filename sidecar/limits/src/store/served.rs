//! What the sidecar serves by, in so far as the store has to do with it.

use std::{fmt, sync::Arc};

use vectoll_config::Uid;

/// The config in force. It may be another one at each question.
pub trait Served: fmt::Debug + Send + Sync {
    /// Its generation; 0: none was loaded yet.
    fn generation(&self) -> u64;

    /// The namespace whose pods are served.
    fn namespace(&self) -> Arc<str>;

    /// Whether calls are counted here for this Team, or for one below it. It may have Teams all of whose calls the gateway carries out.
    fn counts_team(&self, team: &Uid) -> bool;

    /// How many of a Team's users are told apart; 0: it does not have the Team.
    fn max_users(&self, team: &Uid) -> u32;

    /// Whether it has a backend with limits whose account this is.
    fn is_limited(&self, backend: &Uid) -> bool;
}
