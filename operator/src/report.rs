//! The month's bill, from the ledger in the store.
//!
//! The ledger counts each Team's calls by the calendar month in UTC ([`vectoll_config::store::month_key`]): in all, by key, by user, and by
//! model at a backend. [`ledger`] is what was read of a Team, [`bill`] turns that into lines that sum to it exactly (both pure), [`csv`] and
//! [`focus`] write them, [`names`] asks the API server what Teams and keys are called.

mod bill;
mod csv;
mod focus;
mod ledger;
mod month;
mod names;
mod part;
mod run;

pub(crate) use self::{
    bill::{Amounts, Line, lines},
    names::Names,
    run::{read, run},
};
pub use self::{month::Month, part::Part};
