//! Providers: from what a person wrote to what the contract says, but for the file of the credential. One provider, or one shape
//! that several share, a file.

mod aws;
mod azure_open_ai;
mod bedrock;
mod check;
mod credential;
mod databricks;
mod hosted;
mod names;
mod open_ai;
mod sage_maker;
mod self_hosted;
mod vertex_ai;
mod watsonx;

use url::Url;
use vectoll_config::v1::native;
use vectoll_crds::{Backend, Builtin, Provider};

use self::check::Check;
pub(crate) use self::credential::{Content, Credential};
use super::Faults;

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

/// Validates the provider of a backend at `path`. None only where a fault was added.
pub(super) fn provider(path: &str, backend: &Backend, faults: &mut Faults) -> Option<(ValidProvider, Vec<Called>)> {
    let mut all = backend.providers();
    let (Some(provider), None) = (all.next(), all.next()) else {
        faults.add(path, format_args!("a backend has exactly one provider: set one of {}", Backend::PROVIDERS));
        return None;
    };
    let mut check = Check::new(path, provider, faults);
    let valid = match provider {
        Provider::Builtin(Builtin {}) => Some(ValidProvider::Builtin),
        Provider::OpenAi(settings) => open_ai::open_ai(settings, &mut check).map(ValidProvider::OpenAi),
        Provider::AzureOpenAi(settings) => {
            azure_open_ai::azure_open_ai(settings, &mut check).map(ValidProvider::Native)
        }
        Provider::Bedrock(settings) => {
            bedrock::bedrock(settings, backend.model.as_deref(), &mut check).map(ValidProvider::Native)
        }
        Provider::SageMaker(settings) => sage_maker::sage_maker(settings, &mut check).map(ValidProvider::Native),
        Provider::Databricks(settings) => databricks::databricks(settings, &mut check).map(ValidProvider::Native),
        Provider::VertexAi(settings) => vertex_ai::vertex_ai(settings, &mut check).map(ValidProvider::Native),
        Provider::Watsonx(settings) => watsonx::watsonx(settings, &mut check).map(ValidProvider::Native),
        Provider::Cohere(settings) => hosted::hosted(&hosted::COHERE, settings, &mut check).map(ValidProvider::Native),
        Provider::Gemini(settings) => hosted::hosted(&hosted::GEMINI, settings, &mut check).map(ValidProvider::Native),
        Provider::Jina(settings) => hosted::hosted(&hosted::JINA, settings, &mut check).map(ValidProvider::Native),
        Provider::Mistral(settings) => {
            hosted::hosted(&hosted::MISTRAL, settings, &mut check).map(ValidProvider::Native)
        }
        Provider::Voyage(settings) => hosted::hosted(&hosted::VOYAGE, settings, &mut check).map(ValidProvider::Native),
        Provider::HuggingFace(settings) => {
            self_hosted::self_hosted(&self_hosted::HUGGING_FACE, settings, &mut check).map(ValidProvider::Native)
        }
        Provider::Nvidia(settings) => {
            self_hosted::self_hosted(&self_hosted::NVIDIA, settings, &mut check).map(ValidProvider::Native)
        }
        Provider::Ollama(settings) => self_hosted::ollama(settings, &mut check).map(ValidProvider::Native),
    };
    valid.map(|valid| (valid, check.called))
}
