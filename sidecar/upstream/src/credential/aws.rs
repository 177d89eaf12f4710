//! AWS: keys that sign, and where they come from.

pub mod keys;
pub mod pod_identity;
pub mod region;
pub mod web_identity;
pub(super) mod xml;

use std::sync::Arc;

pub use self::keys::Keys;
use super::{error::CredentialError, refreshing::Refreshing};

/// Where keys come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// They do not expire, or nobody here can renew them.
    Static(Arc<Keys>),
    /// They do.
    Fresh(Refreshing<Keys>),
}

impl Source {
    /// Keys from the content of a file: see [`keys::read`].
    pub fn in_file(content: &[u8]) -> Result<Self, &'static str> {
        keys::read(content).map(Arc::new).map(Self::Static)
    }

    /// Keys that are good now.
    pub(super) async fn get(&self) -> Result<Arc<Keys>, CredentialError> {
        match self {
            Self::Static(keys) => Ok(Arc::clone(keys)),
            Self::Fresh(fresh) => fresh.get().await,
        }
    }

    pub(super) fn prepare(&self) {
        match self {
            Self::Static(_) => {}
            Self::Fresh(fresh) => fresh.prepare(),
        }
    }

    pub(super) fn doubt(&self) {
        match self {
            Self::Static(_) => {}
            Self::Fresh(fresh) => fresh.doubt(),
        }
    }

    /// All keys that calls under way may have been signed with.
    pub(super) fn known(&self) -> Vec<Arc<Keys>> {
        match self {
            Self::Static(keys) => vec![Arc::clone(keys)],
            Self::Fresh(fresh) => fresh.known(),
        }
    }
}
