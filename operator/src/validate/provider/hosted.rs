//! Cohere, Gemini, Jina, Mistral and Voyage: an address of the provider's own, and a key.

use vectoll_config::v1::native::{Api, Empty};
use vectoll_crds::Hosted;

use super::{Auth, Native, Presented, check::Check};

/// A provider of this kind.
pub(super) struct Service {
    /// Where it is.
    root: &'static str,
    /// What its API's paths begin with.
    own: &'static str,
    api: Api,
    key: Presented,
}

pub(super) static COHERE: Service =
    Service { root: "https://api.cohere.com", own: "/v2", api: Api::Cohere(Empty {}), key: Presented::Bearer };
pub(super) static GEMINI: Service = Service {
    root: "https://generativelanguage.googleapis.com",
    own: "/v1beta",
    api: Api::Gemini(Empty {}),
    key: Presented::Header("x-goog-api-key"),
};
pub(super) static JINA: Service =
    Service { root: "https://api.jina.ai", own: "/v1", api: Api::Jina(Empty {}), key: Presented::Bearer };
pub(super) static MISTRAL: Service =
    Service { root: "https://api.mistral.ai", own: "/v1", api: Api::Mistral(Empty {}), key: Presented::Bearer };
pub(super) static VOYAGE: Service =
    Service { root: "https://api.voyageai.com", own: "/v1", api: Api::Voyage(Empty {}), key: Presented::Bearer };

pub(super) fn hosted(service: &Service, settings: &Hosted, check: &mut Check<'_>) -> Option<Native> {
    let Hosted { base_url, api_key_secret_ref: _ } = settings;
    let Service { root, own, api, key } = service;
    let base_url = check.root("baseURL", base_url.as_deref().unwrap_or(root), root, own);
    let credential = check.credential();
    Some(Native { base_url: base_url?, api: api.clone(), auth: Auth::With(credential?, key.clone()) })
}
