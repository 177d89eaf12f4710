//! A credential in a Secret.

use vectoll_crds::{CaSecretRef, Holds};

/// A reference to a credential that can be followed.
#[derive(Clone, Debug)]
pub(crate) struct Credential {
    /// The field that refers: `spec.backends[0].openAI.apiKeySecretRef`.
    pub(crate) path: String,
    /// The Secret's name, in the route's namespace.
    pub(crate) secret: String,
    /// What the Secret is to hold.
    pub(crate) content: Content,
}

/// What a Secret is to hold.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// A key of one line in an entry.
    Key { entry: String },
    /// A service account's key, or what stands for one, in Google's JSON.
    GoogleJson { entry: String },
    /// An access key of AWS.
    AwsAccessKey,
    /// Certificates of CAs, in PEM, in an entry.
    Certificates { entry: String },
}

impl Credential {
    pub(super) fn at(path: String, of: &vectoll_crds::Credential<'_>) -> Self {
        let vectoll_crds::Credential { field: _, secret, holds } = *of;
        let content = match holds {
            Holds::Key(entry) => Content::Key { entry: entry.to_owned() },
            Holds::GoogleJson(entry) => Content::GoogleJson { entry: entry.to_owned() },
            Holds::AwsAccessKey => Content::AwsAccessKey,
        };
        Self { path, secret: secret.to_owned(), content }
    }

    /// The CAs of a backend's provider.
    pub(in crate::validate) fn of_cas(path: String, CaSecretRef { name, key }: &CaSecretRef) -> Self {
        Self { path, secret: name.clone(), content: Content::Certificates { entry: key.clone() } }
    }
}
