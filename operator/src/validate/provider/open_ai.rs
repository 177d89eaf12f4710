//! OpenAI, and whoever speaks its API.

use vectoll_config::v1;
use vectoll_crds::{OpenAi, OpenAiWorkloadIdentity, Preset};

use super::{check::Check, names::is_open_ai_id};

const OPEN_AI: &str = "https://api.openai.com/v1";
const EXCHANGE: &str = "https://auth.openai.com/oauth/token";

/// Where a service is, as its own documentation says.
fn root(preset: Preset) -> &'static str {
    match preset {
        Preset::Together => "https://api.together.ai/v1",
        Preset::Fireworks => "https://api.fireworks.ai/inference/v1",
        Preset::DeepInfra => "https://api.deepinfra.com/v1/openai",
        Preset::Nebius => "https://api.tokenfactory.nebius.com/v1",
        Preset::OpenRouter => "https://openrouter.ai/api/v1",
    }
}

pub(super) fn open_ai(settings: &OpenAi, check: &mut Check<'_>) -> Option<super::OpenAi> {
    let OpenAi { base_url, preset, api_key_secret_ref, workload_identity, organization, project } = settings;
    if base_url.is_some() && preset.is_some() {
        check.error("a preset has the service's address: set one of baseURL, preset");
    }
    if workload_identity.is_some() && preset.is_some() {
        check.error("a preset's service takes no tokens of OpenAI's: set one of preset, workloadIdentity");
    }
    if workload_identity.is_some() && api_key_secret_ref.is_some() {
        check.error(
            "OpenAI is called with a key or with a token for the pod's own: set one of apiKeySecretRef, workloadIdentity",
        );
    }
    let (field, wanted) = match (base_url, preset) {
        (Some(base_url), _) => ("baseURL", base_url.as_str()),
        (None, Some(preset)) => ("preset", root(*preset)),
        (None, None) => ("baseURL", OPEN_AI),
    };
    let base_url = check.url(field, wanted, OPEN_AI).map(|_| wanted.to_owned());
    for (field, value) in [("organization", organization), ("project", project)] {
        let plain = |value: &String| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
        check.must(field, value.as_ref().is_none_or(plain), "must be printable ASCII without spaces");
    }
    let identity = workload_identity.as_ref().map(|identity| identity_of(identity, check));
    Some(super::OpenAi {
        credential: check.credential(),
        identity,
        base_url: base_url?,
        organization: organization.clone(),
        project: project.clone(),
    })
}

/// What the pod's own token is exchanged for.
fn identity_of(identity: &OpenAiWorkloadIdentity, check: &mut Check<'_>) -> v1::OpenAiIdentity {
    let OpenAiWorkloadIdentity { identity_provider_id, service_account_id, token_url } = identity;
    for (field, text) in [("identityProviderID", identity_provider_id), ("serviceAccountID", service_account_id)] {
        let field = format!("workloadIdentity.{field}");
        check.must(&field, is_open_ai_id(text), "is not an ID of OpenAI's: letters, digits, -, _ and . only");
    }
    v1::OpenAiIdentity {
        identity_provider_id: identity_provider_id.clone(),
        service_account_id: service_account_id.clone(),
        token_url: token_url.as_ref().and_then(|url| check.url("workloadIdentity.tokenURL", url, EXCHANGE)),
    }
}
