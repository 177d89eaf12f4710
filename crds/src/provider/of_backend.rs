//! The provider of a backend, whichever field it stands in.

use super::{
    AzureOpenAi, Bedrock, Builtin, Databricks, Hosted, Ollama, OpenAi, SageMaker, SelfHosted, VertexAi, Watsonx,
};
use crate::Backend;

/// A provider, as a backend sets it.
#[derive(Clone, Copy, Debug)]
pub enum Provider<'a> {
    /// `openAI`.
    OpenAi(&'a OpenAi),
    /// `builtin`.
    Builtin(&'a Builtin),
    /// `azureOpenAI`.
    AzureOpenAi(&'a AzureOpenAi),
    /// `bedrock`.
    Bedrock(&'a Bedrock),
    /// `cohere`.
    Cohere(&'a Hosted),
    /// `databricks`.
    Databricks(&'a Databricks),
    /// `gemini`.
    Gemini(&'a Hosted),
    /// `huggingFace`.
    HuggingFace(&'a SelfHosted),
    /// `jina`.
    Jina(&'a Hosted),
    /// `mistral`.
    Mistral(&'a Hosted),
    /// `nvidia`.
    Nvidia(&'a SelfHosted),
    /// `ollama`.
    Ollama(&'a Ollama),
    /// `sageMaker`.
    SageMaker(&'a SageMaker),
    /// `vertexAI`.
    VertexAi(&'a VertexAi),
    /// `voyage`.
    Voyage(&'a Hosted),
    /// `watsonx`.
    Watsonx(&'a Watsonx),
}

impl Backend {
    /// The names of the fields of which a backend sets exactly one.
    pub const PROVIDERS: &'static str = "openAI, builtin, azureOpenAI, bedrock, cohere, databricks, gemini, huggingFace, jina, \
                                         mistral, nvidia, ollama, sageMaker, vertexAI, voyage, watsonx";

    /// The providers that are set. Exactly one is allowed; a folder of manifests may hold anything.
    pub fn providers(&self) -> impl Iterator<Item = Provider<'_>> {
        [
            self.open_ai.as_ref().map(Provider::OpenAi),
            self.builtin.as_ref().map(Provider::Builtin),
            self.azure_open_ai.as_ref().map(Provider::AzureOpenAi),
            self.bedrock.as_ref().map(Provider::Bedrock),
            self.cohere.as_ref().map(Provider::Cohere),
            self.databricks.as_ref().map(Provider::Databricks),
            self.gemini.as_ref().map(Provider::Gemini),
            self.hugging_face.as_ref().map(Provider::HuggingFace),
            self.jina.as_ref().map(Provider::Jina),
            self.mistral.as_ref().map(Provider::Mistral),
            self.nvidia.as_ref().map(Provider::Nvidia),
            self.ollama.as_ref().map(Provider::Ollama),
            self.sage_maker.as_ref().map(Provider::SageMaker),
            self.vertex_ai.as_ref().map(Provider::VertexAi),
            self.voyage.as_ref().map(Provider::Voyage),
            self.watsonx.as_ref().map(Provider::Watsonx),
        ]
        .into_iter()
        .flatten()
    }
}

impl Provider<'_> {
    /// The name of the field that it stands in.
    pub fn field(&self) -> &'static str {
        match self {
            Self::OpenAi(_) => "openAI",
            Self::Builtin(_) => "builtin",
            Self::AzureOpenAi(_) => "azureOpenAI",
            Self::Bedrock(_) => "bedrock",
            Self::Cohere(_) => "cohere",
            Self::Databricks(_) => "databricks",
            Self::Gemini(_) => "gemini",
            Self::HuggingFace(_) => "huggingFace",
            Self::Jina(_) => "jina",
            Self::Mistral(_) => "mistral",
            Self::Nvidia(_) => "nvidia",
            Self::Ollama(_) => "ollama",
            Self::SageMaker(_) => "sageMaker",
            Self::VertexAi(_) => "vertexAI",
            Self::Voyage(_) => "voyage",
            Self::Watsonx(_) => "watsonx",
        }
    }
}
