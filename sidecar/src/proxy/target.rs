//! Where a call goes.

use std::sync::Arc;

use super::planned::Plan;
use crate::{
    accounting::{BackendQuota, Permit},
    policy::Backend,
};
use vectoll_upstream::health::Attempt;

/// An admitted call and the backend that takes it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) permit: Permit,
    pub(super) backend: Arc<Backend>,
    pub(super) attempt: Attempt,
    /// What it is sent in; none: as it came.
    pub(super) plan: Option<Plan>,
    /// Its part of the provider's limits.
    pub(super) quota: Option<BackendQuota>,
}
