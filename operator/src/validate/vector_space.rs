//! Vectors of different models cannot be compared: whoever mixed them would find the wrong neighbours and see no error.

use vectoll_config::v1::native::Api;

use super::{
    FieldErrors,
    backend::ValidBackend,
    provider::{Native, ValidProvider},
};

/// What is known of the vectors that a backend makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Space<'a> {
    /// Those of the built-in model.
    Builtin,
    /// Those of a model, or of a space that has a name.
    Named(&'a str),
    /// Those of the model that the caller names.
    AsCalled,
    /// Nothing: the name of a deployment may stand for any model.
    Unknown,
}

fn space(backend: &ValidBackend) -> Space<'_> {
    let ValidBackend { space, model, .. } = backend;
    let behind_arn = match &backend.provider {
        ValidProvider::Native(Native { api: Api::Bedrock(settings), .. }) => settings.foundation_model.as_deref(),
        ValidProvider::Native(_) | ValidProvider::OpenAi(_) | ValidProvider::Builtin => None,
    };
    match (&backend.provider, space.as_deref().or(behind_arn).or(model.as_deref())) {
        (ValidProvider::Builtin, _) => Space::Builtin,
        (_, Some(name)) => Space::Named(name),
        (ValidProvider::Native(native), None) => match native.api {
            Api::AzureOpenAi(_) | Api::SageMaker(_) => Space::Unknown,
            Api::Bedrock(_)
            | Api::Cohere(_)
            | Api::Databricks(_)
            | Api::Gemini(_)
            | Api::HuggingFace(_)
            | Api::Jina(_)
            | Api::Mistral(_)
            | Api::Nvidia(_)
            | Api::Ollama(_)
            | Api::VertexAi(_)
            | Api::Voyage(_)
            | Api::Watsonx(_) => Space::AsCalled,
        },
        (ValidProvider::OpenAi(_), None) => Space::AsCalled,
    }
}

/// All backends make vectors of one space.
pub(super) fn one_space(backends: &[Option<ValidBackend>], errors: &mut FieldErrors) {
    let spaces: Vec<(usize, Space<'_>)> =
        backends.iter().enumerate().filter_map(|(i, backend)| Some((i, space(backend.as_ref()?)))).collect();
    if backends.len() > 1 {
        for (i, _) in spaces.iter().filter(|(_, space)| *space == Space::Unknown) {
            errors.add(
                format!("spec.backends[{i}].space"),
                "is not set, and the name of a deployment or an endpoint does not say which model makes its vectors: beside \
                 other backends set space (or model) to the model's name, or set mixedSpaces: true if no two answers are ever \
                 compared",
            );
        }
    }
    let mut known = spaces.iter().filter(|(_, space)| *space != Space::Unknown);
    let Some((_, first)) = known.next() else { return };
    if let Some((i, _)) = known.find(|(_, other)| other != first) {
        errors.add(
            format!("spec.backends[{i}].model"),
            "is another model than the first backend's, and vectors of different models cannot be compared: give all \
             backends the same model (or the same space, if it is one model under several names), or set mixedSpaces: true \
             if no two answers are ever compared",
        );
    }
}
