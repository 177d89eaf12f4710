//! From the world to what should be: pure, and the whole of the operator's judgement.

use std::collections::BTreeMap;

use vectoll_config::ObjectName;

pub use crate::{
    build::NamespaceConfig,
    condition::{Condition, ConditionType, Status},
};
use crate::{
    build::build,
    resolve::{resolve_keys, resolve_routes, resolve_teams},
    world::{ResourceRef, World},
};

/// What should be.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The config of the namespace asked for.
    pub config: NamespaceConfig,
    /// Every resource's conditions.
    pub conditions: BTreeMap<ResourceRef, Vec<Condition>>,
    /// Keys that have no value yet, and the Secret that each is to be written to.
    pub to_mint: Vec<(ObjectName, ObjectName)>,
}

/// Validates, resolves and builds.
pub fn reconcile(world: &World, namespace: &str) -> Outcome {
    let mut conditions = BTreeMap::new();
    let teams = resolve_teams(world, &mut conditions);
    let keys = resolve_keys(world, &teams, &mut conditions);
    let routes = resolve_routes(world, &mut conditions);
    let config = build(namespace, world, &teams, &keys.working, &routes);
    Outcome { config, conditions, to_mint: keys.to_mint }
}
