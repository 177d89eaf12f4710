//! OpenAI, and whoever speaks its API.

use vectoll_crds::{OpenAi, Preset};

use super::check::Check;

const OPEN_AI: &str = "https://api.openai.com/v1";

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
    let OpenAi { base_url, preset, api_key_secret_ref: _, organization, project } = settings;
    if base_url.is_some() && preset.is_some() {
        check.error("a preset has the service's address: set one of baseURL, preset");
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
    Some(super::OpenAi {
        credential: check.credential(),
        base_url: base_url?,
        organization: organization.clone(),
        project: project.clone(),
    })
}
