//! The providers.
//!
//! A [`provider::HttpProvider`] is where a backend is, who calls it ([`credential`]) and how it is spoken to ([`provider::dialect`], one file a
//! provider); [`builtin`] is the model inside this program. [`health`] says which backend is left alone, and [`tokens`] what an input
//! counts.
//!
//! It knows nothing of callers, keys, accounts and limits. That a call was journalled is proved to it by a type
//! ([`provider::Journalled`]), and nothing is sent without.
//!
//! Where to begin: [`provider::HttpProvider::pass`] and [`provider::HttpProvider::ask`]; to add a provider, [`provider::dialect::Dialect`].

pub mod builtin;
pub mod credential;
pub mod descriptors;
pub mod health;
pub mod provider;
pub mod tokens;
