//! How the store is reached.

use std::fmt;

use vectoll_config::{KeyHash, StoreUrl, v1::OnStoreFailure};

/// A store, who logs in, and what holds while it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Where it is.
    pub url: StoreUrl,
    /// The user; none: the default user.
    pub username: Option<String>,
    /// The user's password; none: none is sent.
    pub password: Option<Password>,
    /// The CA of its certificate, in PEM; none: well-known CAs.
    pub ca: Option<Vec<u8>>,
    /// What becomes of limited calls while it cannot be reached.
    pub on_failure: OnStoreFailure,
}

/// A password. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// A password as somebody has given it.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// The password itself: for the one who logs in, and for files.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its SHA-256, as the store keeps it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}
