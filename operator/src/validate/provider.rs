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
mod valid;
mod vertex_ai;
mod watsonx;

use vectoll_crds::{Backend, Builtin, Provider};

use self::check::Check;
pub(crate) use self::{
    credential::{Content, Credential},
    valid::{Auth, Called, Native, OpenAi, Presented, ValidProvider},
};
use super::FieldErrors;

/// Validates the provider of a backend at `path`. None only where a fault was added.
pub(super) fn provider(
    path: &str,
    backend: &Backend,
    errors: &mut FieldErrors,
) -> Option<(ValidProvider, Vec<Called>)> {
    let mut all = backend.providers();
    let (Some(provider), None) = (all.next(), all.next()) else {
        errors.add(path, format_args!("a backend has exactly one provider: set one of {}", Backend::PROVIDERS));
        return None;
    };
    let mut check = Check::new(path, provider, errors);
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
