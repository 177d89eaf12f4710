//! Servers that people run themselves: Text Embeddings Inference, NVIDIA NIM, Ollama.

use vectoll_config::v1::native::{self, Api, Empty};
use vectoll_crds::{Ollama, SelfHosted};

use super::{Auth, Native, Presented, check::Check};

/// A kind of server.
pub(super) struct Server {
    example: &'static str,
    api: Api,
}

pub(super) static HUGGING_FACE: Server =
    Server { example: "http://tei.models.svc:8080", api: Api::HuggingFace(Empty {}) };
pub(super) static NVIDIA: Server = Server { example: "https://integrate.api.nvidia.com", api: Api::Nvidia(Empty {}) };

const OLLAMA: &str = "http://ollama.models.svc:11434";

pub(super) fn self_hosted(server: &Server, settings: &SelfHosted, check: &mut Check<'_>) -> Option<Native> {
    let SelfHosted { base_url, api_key_secret_ref: _ } = settings;
    let Server { example, api } = server;
    let base_url = check.root("baseURL", base_url, example, "/v1");
    let auth = check
        .credential()
        .map_or(Auth::Without(native::Auth::None(Empty {})), |credential| Auth::With(credential, Presented::Bearer));
    Some(Native { base_url: base_url?, api: api.clone(), auth })
}

pub(super) fn ollama(settings: &Ollama, check: &mut Check<'_>) -> Option<Native> {
    let Ollama { base_url } = settings;
    let base_url = check.root("baseURL", base_url, OLLAMA, "/api")?;
    if base_url.ends_with("/v1") {
        check.fault_at("baseURL", format_args!("/v1 is OpenAI's API: leave it out, as in {OLLAMA}, or use openAI"));
        return None;
    }
    Some(Native { base_url, api: Api::Ollama(Empty {}), auth: Auth::Without(native::Auth::None(Empty {})) })
}
