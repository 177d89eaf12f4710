//! Resolution: references are followed, consent is asked, and of two that claim the same thing the older one gets it.

mod claims;
mod credential;
mod keys;
mod lineages;
mod model_lists;
mod prices;
mod reachable;
mod routes;
mod shortened;
mod teams;
mod values;

pub(crate) use claims::Claims;
pub(crate) use credential::{content_of, credential_file};
pub(crate) use keys::{ResolvedKey, resolve_keys};
pub(crate) use lineages::Lineages;
pub(crate) use prices::{model_of, price_of};
pub(crate) use reachable::{searched, seen};
pub(crate) use routes::{ResolvedRoute, resolve_routes};
pub(crate) use teams::resolve_teams;
