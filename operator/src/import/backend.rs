//! From a deployment's `litellm_params` to a backend: which provider it is, and what that is told.

use serde_json::{Map, Value, json};

use super::{
    fields::Fields,
    notes::Notes,
    secrets::{Secrets, plain},
};

/// A backend's provider.
#[derive(Debug)]
pub(super) struct Provider {
    /// What a backend is called after.
    pub(super) name: &'static str,
    /// The field of the backend.
    field: &'static str,
    settings: Map<String, Value>,
    /// The model's name there, where it is not the provider's settings that say it.
    pub(super) model: Option<String>,
}

impl Provider {
    fn new(name: &'static str, field: &'static str, settings: &Value, model: &str) -> Self {
        // All of them are made by `json!({…})`.
        let settings = settings.as_object().cloned().unwrap_or_default();
        let settings = settings.into_iter().filter(|(_, value)| !value.is_null()).collect();
        Self { name, field, settings, model: Some(model.to_owned()) }
    }

    /// Puts it into a backend.
    pub(super) fn write(self, backend: &mut Map<String, Value>) {
        if let Some(model) = self.model {
            backend.insert("model".to_owned(), model.into());
        }
        backend.insert(self.field.to_owned(), Value::Object(self.settings));
    }
}

/// The provider's name in a model's, as LiteLLM writes it (`provider/model`), and the rest. Without one it is OpenAI's. What stands
/// before a slash is never taken for a part of a model of OpenAI's, whose names have none: keys and inputs would go to the wrong place.
pub(super) fn split(model: &str) -> (&str, &str) {
    model.split_once('/').unwrap_or(("openai", model))
}

/// The provider of a deployment. None: there is no such one here, and it is told.
pub(super) fn provider(
    (vendor, model): (&str, &str),
    params: &mut Fields,
    owner: &str,
    secrets: &mut Secrets,
    notes: &mut Notes,
) -> Option<Provider> {
    let base = plain(params, "api_base", notes).or_else(|| plain(params, "base_url", notes));
    let place = params.path().to_owned();
    let mut key = |params: &mut Fields, notes: &mut Notes| secrets.key(params, "api_key", owner, notes);
    Some(match vendor {
        "openai" | "custom_openai" => {
            let key = key(params, notes);
            let organization = params.text("organization", notes);
            let settings = json!({"baseURL": base, "apiKeySecretRef": key, "organization": organization});
            Provider::new("openai", "openAI", &settings, model)
        }
        "hosted_vllm" | "openai_like" | "lm_studio" | "llamafile" | "xinference" | "infinity" | "litellm_proxy" => {
            let base = address(base, vendor, &place, notes);
            let key = key(params, notes);
            Provider::new("openai", "openAI", &json!({"baseURL": base, "apiKeySecretRef": key}), model)
        }
        "together_ai" => preset("together", "Together", key(params, notes).as_ref(), model),
        "fireworks_ai" => preset("fireworks", "Fireworks", key(params, notes).as_ref(), model),
        "deepinfra" => preset("deepinfra", "DeepInfra", key(params, notes).as_ref(), model),
        "nebius" => preset("nebius", "Nebius", key(params, notes).as_ref(), model),
        "openrouter" => preset("openrouter", "OpenRouter", key(params, notes).as_ref(), model),
        "azure" => azure(model, base, params, owner, secrets, notes),
        "bedrock" => bedrock(model, params, owner, secrets, notes),
        "vertex_ai" => vertex(model, params, owner, secrets, notes),
        "gemini" | "cohere" | "cohere_chat" | "voyage" | "jina_ai" | "mistral" => {
            let field = match vendor {
                "gemini" => "gemini",
                "voyage" => "voyage",
                "jina_ai" => "jina",
                "mistral" => "mistral",
                _ => "cohere",
            };
            let Some(key) = key(params, notes) else {
                notes.add(&place, format!("{field} is called with a key: set apiKeySecretRef, and make the Secret"));
                return Some(Provider::new(field, field, &json!({"apiKeySecretRef": {"name": field}}), model));
            };
            Provider::new(field, field, &json!({"baseURL": root(base), "apiKeySecretRef": key}), model)
        }
        "huggingface" | "text-embedding-inference" => {
            let base = address(base, vendor, &place, notes);
            let key = key(params, notes);
            let settings = json!({"baseURL": root(Some(base)), "apiKeySecretRef": key});
            Provider::new("hugging-face", "huggingFace", &settings, model)
        }
        "nvidia_nim" => {
            let base = base.unwrap_or_else(|| "https://integrate.api.nvidia.com".to_owned());
            let key = key(params, notes);
            Provider::new("nvidia", "nvidia", &json!({"baseURL": root(Some(base)), "apiKeySecretRef": key}), model)
        }
        "ollama" => {
            let base = address(base, vendor, &place, notes);
            Provider::new("ollama", "ollama", &json!({"baseURL": root(Some(base))}), model)
        }
        "databricks" => {
            let workspace = root(Some(address(base, vendor, &place, notes)));
            let key = key(params, notes).unwrap_or_else(|| json!({"name": "databricks"}));
            Provider::new(
                "databricks",
                "databricks",
                &json!({"workspaceURL": workspace, "apiKeySecretRef": key}),
                model,
            )
        }
        "watsonx" => {
            let base = root(Some(address(base, vendor, &place, notes)));
            let key = key(params, notes).unwrap_or_else(|| json!({"name": "watsonx"}));
            let (project, space) = (plain(params, "project_id", notes), plain(params, "space_id", notes));
            let settings = json!({"baseURL": base, "projectID": project, "spaceID": space, "apiKeySecretRef": key});
            Provider::new("watsonx", "watsonx", &settings, model)
        }
        other => {
            notes.add(
                &place,
                format!("there is no provider {other} here, so this deployment is left out: if its server speaks OpenAI's API, add a \
                         backend with openAI.baseURL"),
            );
            return None;
        }
    })
}

fn preset(name: &'static str, preset: &str, key: Option<&Value>, model: &str) -> Provider {
    Provider::new(name, "openAI", &json!({"preset": preset, "apiKeySecretRef": key}), model)
}

/// An address that nobody but the config can know.
fn address(base: Option<String>, vendor: &str, place: &str, notes: &mut Notes) -> String {
    base.unwrap_or_else(|| {
        notes.add(
            place,
            format!("it has no api_base, which LiteLLM takes from {vendor}'s environment variable: set the address"),
        );
        format!("https://REPLACE-BY-THE-ADDRESS-OF-{}", vendor.replace('_', "-"))
    })
}

/// Scheme and host. Paths are added here as the provider has them.
fn root(base: Option<String>) -> Option<String> {
    base.map(|base| {
        let host = base.find("://").map_or(0, |at| at + 3);
        let end = base.get(host..).and_then(|rest| rest.find('/')).map_or(base.len(), |at| host + at);
        base.get(..end).unwrap_or(&base).to_owned()
    })
}

fn azure(
    deployment: &str,
    base: Option<String>,
    params: &mut Fields,
    owner: &str,
    secrets: &mut Secrets,
    notes: &mut Notes,
) -> Provider {
    let place = params.path().to_owned();
    let endpoint = root(Some(address(base, "azure", &place, notes)));
    let version = plain(params, "api_version", notes);
    let entra = match (plain(params, "tenant_id", notes), plain(params, "client_id", notes)) {
        (Some(tenant), Some(client)) => {
            let secret = secrets.key(params, "client_secret", owner, notes);
            let all =
                [("tenantID", Some(tenant.into())), ("clientID", Some(client.into())), ("clientSecretRef", secret)];
            Some(all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Map<_, Value>>())
        }
        _ => None,
    };
    let mut key = secrets.key(params, "api_key", owner, notes);
    if entra.is_some() {
        key = None;
    } else if key.is_none() {
        notes.add(&place, "it has no api_key: set apiKeySecretRef, and make the Secret, or entra");
        key = Some(json!({"name": "azure"}));
    }
    let settings = json!({
        "endpoint": endpoint, "deployment": deployment, "apiVersion": version, "apiKeySecretRef": key, "entra": entra,
    });
    // The deployment's name says nothing of the model: `model_info.base_model` does.
    Provider { model: None, ..Provider::new("azure", "azureOpenAI", &settings, deployment) }
}

fn bedrock(model: &str, params: &mut Fields, owner: &str, secrets: &mut Secrets, notes: &mut Notes) -> Provider {
    let place = params.path().to_owned();
    let region = plain(params, "aws_region_name", notes).or_else(|| plain(params, "region_name", notes));
    let region = region.unwrap_or_else(|| {
        notes.add(&place, "it has no aws_region_name: set the region");
        "us-east-1".to_owned()
    });
    let endpoint = plain(params, "aws_bedrock_runtime_endpoint", notes);
    let mut settings = json!({"region": region, "endpoint": endpoint});
    let access = secrets.of(params, "aws_access_key_id", "AWS_ACCESS_KEY_ID", owner, notes);
    let role = plain(params, "aws_role_name", notes);
    let (field, credential) = match (access, role) {
        (Some(secret), _) => {
            // Both stand in one Secret: the second one is put beside the first.
            secrets.beside(params, "aws_secret_access_key", (&secret, "AWS_SECRET_ACCESS_KEY"), notes);
            ("accessKeySecretRef", json!({"name": secret}))
        }
        (None, Some(role)) => {
            notes.add(&place, "the role is taken on by the pod's own token here: it must trust the cluster's issuer");
            ("webIdentity", json!({"roleARN": role}))
        }
        (None, None) => {
            notes.add(
                &place,
                "it has no credentials, so EKS Pod Identity is set: elsewhere set accessKeySecretRef or webIdentity",
            );
            ("podIdentity", json!({}))
        }
    };
    if let Some(settings) = settings.as_object_mut() {
        settings.insert(field.to_owned(), credential);
    }
    params.ignore(&["aws_session_name"]);
    Provider::new("bedrock", "bedrock", &settings, model)
}

fn vertex(model: &str, params: &mut Fields, owner: &str, secrets: &mut Secrets, notes: &mut Notes) -> Provider {
    let place = params.path().to_owned();
    let mut wanted = |name: &str| {
        plain(params, name, notes).unwrap_or_else(|| {
            notes.add(&place, format!("it has no {name}, which LiteLLM takes from the environment: set it"));
            "REPLACE".to_owned()
        })
    };
    let (project, location) = (wanted("vertex_project"), wanted("vertex_location"));
    let mut settings = json!({"project": project, "location": location});
    let (field, credential) = match secrets.key(params, "vertex_credentials", owner, notes) {
        Some(secret) => ("serviceAccountSecretRef", secret),
        None => ("metadataServer", json!({})),
    };
    if let Some(settings) = settings.as_object_mut() {
        settings.insert(field.to_owned(), credential);
    }
    Provider::new("vertex-ai", "vertexAI", &settings, model)
}
