//! Providers as the contract says them, and what of a Secret they need.

use url::Url;
use vectoll_config::v1::{self, native};

use super::credential::Credential;

/// The provider of a backend.
#[derive(Clone, Debug)]
pub(crate) enum ValidProvider {
    /// OpenAI's API.
    OpenAi(OpenAi),
    /// The model inside the sidecar.
    Builtin,
    /// A provider with an API of its own.
    Native(Native),
}

/// A provider that speaks OpenAI's API.
#[derive(Clone, Debug)]
pub(crate) struct OpenAi {
    pub(crate) base_url: String,
    pub(crate) organization: Option<String>,
    pub(crate) project: Option<String>,
    pub(crate) credential: Option<Credential>,
    /// What the pod's own token is exchanged for, in place of a credential.
    pub(crate) identity: Option<v1::OpenAiIdentity>,
}

/// A provider with an API of its own.
#[derive(Clone, Debug)]
pub(crate) struct Native {
    pub(crate) base_url: String,
    pub(crate) api: native::Api,
    pub(crate) auth: Auth,
}

/// How a sidecar says who it is.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    /// Without anything of a Secret's.
    Without(native::Auth),
    /// With what is in a Secret.
    With(Credential, Presented),
}

/// How what is in a Secret is presented.
#[derive(Clone, Debug)]
pub(crate) enum Presented {
    /// As `Authorization: Bearer`.
    Bearer,
    /// Alone in a header.
    Header(&'static str),
    /// As keys of AWS that sign calls to a region.
    Aws { region: String },
    /// To Google, for a token.
    Google,
    /// To Entra ID, for a token: the application without its secret.
    Entra(native::Entra),
    /// To IBM Cloud, for a token.
    Ibm { iam_url: Option<String> },
}

impl Presented {
    /// As the contract has it, with the file that the credential is in.
    pub(crate) fn with_file(&self, file: String) -> native::Auth {
        match self.clone() {
            Self::Bearer => native::Auth::Bearer(native::Key { file }),
            Self::Header(name) => native::Auth::Header(native::HeaderKey { name: name.to_owned(), file }),
            Self::Aws { region } => native::Auth::Aws(native::Aws { region, keys: native::AwsKeys::File(file) }),
            Self::Google => native::Auth::Google(native::Google::File(file)),
            Self::Entra(application) => native::Auth::Entra(native::Entra { secret_file: Some(file), ..application }),
            Self::Ibm { iam_url } => native::Auth::Ibm(native::Ibm { file, iam_url }),
        }
    }
}

impl ValidProvider {
    /// What it has to be given from a Secret.
    pub(crate) fn credential(&self) -> Option<&Credential> {
        match self {
            Self::OpenAi(OpenAi { credential, .. }) => credential.as_ref(),
            Self::Native(Native { auth: Auth::With(credential, _), .. }) => Some(credential),
            Self::Native(Native { auth: Auth::Without(_), .. }) | Self::Builtin { .. } => None,
        }
    }
}

/// A URL that the sidecar will call, and the field that says so.
#[derive(Clone, Debug)]
pub(crate) struct Called {
    pub(crate) path: String,
    pub(crate) url: Url,
}
