//! Resolution: references are followed, consent is asked, and of two that claim the same thing the older one gets it.

mod claims;
mod credential;
mod keys;
mod routes;
mod teams;
mod values;

pub(crate) use claims::Claims;
pub(crate) use credential::{content_of, credential_file};
pub(crate) use keys::{ResolvedKey, resolve_keys};
pub(crate) use routes::{ResolvedRoute, model_of, price_of, resolve_routes};
pub(crate) use teams::resolve_teams;
