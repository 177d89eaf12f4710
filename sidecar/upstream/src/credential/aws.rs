//! AWS: keys that sign, and where they come from.

pub mod keys;
pub mod pod_identity;
pub mod region;
pub mod web_identity;
pub(super) mod xml;

use std::sync::Arc;

use super::{CredentialError, Refreshing, Secret};

/// What signs requests. An access key ID is no secret to AWS; here it is, for it is nobody's business but the owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The access key ID.
    pub access_key_id: Secret,
    /// The secret access key.
    pub secret_access_key: Secret,
    /// The session token, with keys that expire.
    pub session_token: Option<Secret>,
}

impl Keys {
    /// All that no message may repeat.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let Self { access_key_id, secret_access_key, session_token } = self;
        [access_key_id, secret_access_key].into_iter().chain(session_token).map(Secret::reveal)
    }
}

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
