//! What the store is told of the policy in force.

use std::sync::Arc;

use arc_swap::ArcSwap;
use vectoll_config::Uid;

use super::Policy;
use vectoll_limits::store::Served;

/// The policy in force, as those see it who speak to the store.
#[derive(Debug)]
pub struct InForce(pub Arc<ArcSwap<Policy>>);

impl Served for InForce {
    fn generation(&self) -> u64 {
        self.0.load().generation
    }

    fn namespace(&self) -> Arc<str> {
        self.0.load().namespace.clone()
    }

    fn has_team(&self, team: &Uid) -> bool {
        self.0.load().teams.contains_key(team)
    }

    fn max_users(&self, team: &Uid) -> u32 {
        self.0.load().teams.get(team).map_or(0, |team| team.max_users)
    }

    fn is_limited(&self, backend: &Uid) -> bool {
        self.0.load().limited.contains(backend)
    }
}
