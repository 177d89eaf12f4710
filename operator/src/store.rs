//! The store that all sidecars share, a Valkey or Redis, as the operator sees it: who may log in, with what password, and what
//! each may touch.
//!
//! [`Access`] is how the store is reached, as the command line says it. [`Logins`] turns it into what a namespace's sidecars are
//! told: in a folder of manifests the same, in a cluster a user of the namespace's own with a password that is derived, not stored
//! ([`Master`], [`Rotation`]). [`UsersByName`] are those users; [`plan`] says what a server lacks (both pure), and the [`AclReconciler`] does it
//! while its replica leads, loads the functions that sidecars call, and watches how full the store is. The [`Sweeper`] removes what nobody needs any more, and has
//! spend allocated to cost centres ([`allocate`]).

mod access;
mod acl_reconciler;
mod allocations;
mod connection;
mod deferred_revocations;
mod logins;
mod months;
mod password;
mod servers;
pub mod sweep;
mod sweeper;
mod users;

pub use self::{
    access::{Access, Password},
    acl_reconciler::{AclReconciler, Gauge, OnStoreState, StoreState},
    allocations::allocate,
    connection::Connection,
    deferred_revocations::{DeferredRevocations, REVOCATION_DELAY},
    logins::{Logins, NamespaceStore},
    months::{HashFields, read_allocations, read_month},
    password::{Master, MasterError, Rotation, Valid},
    servers::{Memory, Persistence, Server, ServerError, connect},
    sweeper::{OnSwept, Suspects, Sweeper, Swept, sweep},
    users::{Step, User, UsersByName, plan},
};
