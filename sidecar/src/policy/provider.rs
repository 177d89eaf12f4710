//! From a provider's settings to a [`Provider`] that can be called.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;
use vectoll_config::is_ours;
use vectoll_config::v1::{
    self, Batch, Native,
    native::{Api, Auth, Aws, AwsKeys, Container, Entra, Google, HeaderKey, Ibm, Key, WebIdentity, Within},
};

use super::shared_state::{CredentialFiles, Identity, SharedState};
use vectoll_upstream::{
    builtin,
    credential::{
        Credential, Form, Secret, aws, entra, google, ibm, keyring::Fingerprint, open_ai as federated, sigv4,
    },
    provider::{
        HttpProvider, Provider,
        dialect::{
            Dialect,
            azure_open_ai::AzureOpenAi,
            bedrock::Bedrock,
            cohere::Cohere,
            compatible,
            databricks::Databricks,
            gemini::Gemini,
            hugging_face::{self, HuggingFace},
            jina::Jina,
            mistral::Mistral,
            nvidia::Nvidia,
            ollama::Ollama,
            open_ai::ITEMS,
            sage_maker::{self, SageMaker},
            vertex_ai::VertexAi,
            voyage::Voyage,
            watsonx::{self, Watsonx},
        },
        endpoint::Endpoint,
        remote::{HttpProviderSettings, Passthrough},
        trust::Trust,
    },
};

/// The session's name that AWS's trail shows where the pod's is not known.
const SESSION: &str = "vectoll-sidecar";

/// A fault in a setting: its path under the provider, and what is wrong.
#[derive(Debug)]
pub(super) enum ProviderError {
    /// The config is not whole: it is refused.
    Config(String, String),
    /// This provider cannot be called; the others can.
    Unusable(String, String),
}

type ProviderResult<T> = Result<T, ProviderError>;

fn unusable(path: impl Into<String>, reason: impl Into<String>) -> ProviderError {
    ProviderError::Unusable(path.into(), reason.into())
}

/// What a backend says beside its provider, as far as requests depend on it.
pub(super) struct BackendSettings<'a> {
    /// The model's name at the provider, where it does not depend on the call.
    pub(super) model: Option<&'a str>,
    pub(super) batch: Batch,
    pub(super) headers: &'a [v1::Header],
    /// The file with the CAs that are trusted.
    pub(super) ca_file: Option<&'a str>,
}

/// Makes a provider. Paths of faults are under the backend's.
pub(super) fn provider(
    settings: &v1::Provider,
    beside: &BackendSettings<'_>,
    files: &CredentialFiles,
    lasting: &SharedState,
) -> ProviderResult<Provider> {
    let BackendSettings { model, batch, headers, ca_file } = *beside;
    let more = more(headers)?;
    let trust = ca_file.map(|file| trust(file, files)).transpose()?;
    let to = |url: &str, field: &str| {
        Endpoint::new(url, &lasting.http, trust.as_ref()).map_err(|reason| unusable(format!("{field}.baseURL"), reason))
    };
    match settings {
        v1::Provider::Builtin(v1::Builtin { token_arrays: _ }) => {
            // Loaded here, so that a broken model is a refused config and no call pays for the loading.
            builtin::Model::get().map_err(|error| ProviderError::Config("builtin".to_owned(), error.clone()))?;
            Ok(Provider::Builtin)
        }
        v1::Provider::OpenAi(settings) => {
            open_ai(settings, to(&settings.base_url, "openAI")?, more, batch, (files, lasting))
        }
        v1::Provider::Native(settings) => {
            native(settings, to(&settings.base_url, "native")?, model, (batch, more), (files, lasting))
        }
    }
}

/// What proves the pod's own identity.
fn identity<'s>(lasting: &'s SharedState, path: &str) -> ProviderResult<&'s Identity> {
    const REASON: &str = "the identity of a gateway's own pod is no namespace's: give the backend a credential from a Secret, or call it \
                          through a sidecar, whose pod has an identity of its own";
    lasting.identity.as_ref().ok_or_else(|| unusable(path, REASON))
}

fn trust(file: &str, files: &CredentialFiles) -> ProviderResult<Trust> {
    const AT: &str = "caFile";
    Trust::only(content(file, AT, files)?).map_err(|error| unusable(AT, error.to_string()))
}

/// What a route sets on every request. It is checked here as well: whatever wrote the config, no header of it says who calls.
fn more(headers: &[v1::Header]) -> ProviderResult<HeaderMap> {
    let mut more = HeaderMap::with_capacity(headers.len());
    for (i, v1::Header { name, value }) in headers.iter().enumerate() {
        let at = |field: &str| format!("headers[{i}].{field}");
        if is_ours(name) {
            return Err(unusable(at("name"), format!("{name} is not a route's to set")));
        }
        let wrong = |field: &str| unusable(at(field), "cannot be sent in a header: use printable ASCII");
        let name = HeaderName::try_from(name).map_err(|_| wrong("name"))?;
        more.insert(name, HeaderValue::try_from(value).map_err(|_| wrong("value"))?);
    }
    Ok(more)
}

fn content<'f>(file: &str, path: &str, files: &'f CredentialFiles) -> ProviderResult<&'f [u8]> {
    let missing = || ProviderError::Config(path.to_owned(), format!("the file {file} is not in the config folder"));
    files.get(file).map(Vec::as_slice).ok_or_else(missing)
}

fn remote(settings: HttpProviderSettings) -> ProviderResult<Provider> {
    let remote = HttpProvider::new(settings).ok_or_else(|| unusable("baseURL", "no path can be appended to it"))?;
    Ok(Provider::Remote(Box::new(remote)))
}

fn open_ai(
    settings: &v1::OpenAi,
    root: Endpoint,
    mut more: HeaderMap,
    batch: Batch,
    (files, lasting): (&CredentialFiles, &SharedState),
) -> ProviderResult<Provider> {
    const PATH: &str = "/embeddings";
    let v1::OpenAi { base_url, credential_file, workload_identity, organization, project } = settings;
    for (field, name, text) in
        [("organization", "openai-organization", organization), ("project", "openai-project", project)]
    {
        if let Some(text) = text {
            let wrong = || unusable(format!("openAI.{field}"), "cannot be sent in a header: use printable ASCII");
            more.insert(HeaderName::from_static(name), HeaderValue::try_from(text).map_err(|_| wrong())?);
        }
    }
    let credential = match (credential_file, workload_identity) {
        (None, None) => Arc::new(Credential::None),
        (Some(file), None) => Arc::new(key(&Form::Bearer, file, "openAI.credentialFile", files)?),
        (None, Some(identity)) => open_ai_identity(identity, lasting)?,
        (Some(_), Some(_)) => return Err(unusable("openAI.workloadIdentity", "there is a credential file as well")),
    };
    let dialect = compatible::by_root(base_url);
    remote(HttpProviderSettings {
        root,
        more,
        credential,
        dialect: Box::new(dialect),
        pass: Passthrough::At(PATH.to_owned()),
        batch,
    })
}

/// One that did not change keeps its token through a reload.
fn open_ai_identity(settings: &v1::OpenAiIdentity, lasting: &SharedState) -> ProviderResult<Arc<Credential>> {
    let made_of = format!("openAI {settings:?} {:?}", lasting.identity);
    lasting.keyring.get(Fingerprint::of([made_of.as_bytes()]), || {
        let v1::OpenAiIdentity { identity_provider_id, service_account_id, token_url } = settings;
        let token_url = token_url.as_deref().unwrap_or(federated::EXCHANGE);
        let token_file = identity(lasting, "openAI.workloadIdentity")?.tokens.join("openai");
        federated::OpenAi::new(token_url, identity_provider_id.clone(), service_account_id.clone(), token_file)
            .map(|identity| Credential::Token(identity.token(lasting.http.clone())))
            .map_err(|(field, reason)| unusable(format!("openAI.workloadIdentity.{field}"), reason))
    })
}

fn key(form: &Form, file: &str, path: &str, files: &CredentialFiles) -> ProviderResult<Credential> {
    Credential::header(form, content(file, path, files)?).map_err(|reason| unusable(path, reason))
}

fn native(
    settings: &Native,
    root: Endpoint,
    model: Option<&str>,
    (batch, more): (Batch, HeaderMap),
    (files, lasting): (&CredentialFiles, &SharedState),
) -> ProviderResult<Provider> {
    let Native { base_url: _, api, auth } = settings;
    // One that did not change keeps its token through a reload.
    let content = settings.credential_file().and_then(|file| files.get(file)).map_or(&[][..], Vec::as_slice);
    let made_of = format!("{auth:?} {service} {:?}", lasting.identity, service = service(api));
    let fingerprint = Fingerprint::of([made_of.as_bytes(), content]);
    let credential = lasting.keyring.get(fingerprint, || credential(auth, api, files, lasting))?;
    let dialect = dialect(api, model, batch)?;
    // The one whose body is OpenAI's: callers' bodies go through as they come.
    let pass = if let Api::AzureOpenAi(azure) = api {
        let named = azure.deployment.as_deref().or(model);
        named.and_then(|name| dialect.pass_path(name)).map_or(Passthrough::ByModel, Passthrough::At)
    } else {
        Passthrough::Nowhere
    };
    remote(HttpProviderSettings { root, more, credential, dialect, pass, batch })
}

fn dialect(api: &Api, model: Option<&str>, batch: Batch) -> ProviderResult<Box<dyn Dialect>> {
    let items = |usual: usize| batch.max_items.and_then(|most| usize::try_from(most).ok()).unwrap_or(usual);
    Ok(match api {
        Api::AzureOpenAi(azure) => Box::new(AzureOpenAi::new(azure.deployment.clone(), &*azure.api_version)),
        Api::Bedrock(v1::native::Bedrock { foundation_model }) => {
            let model = model.ok_or_else(|| unusable("native.api.bedrock", "the backend names no model"))?;
            Box::new(
                Bedrock::new(model, foundation_model.as_deref())
                    .map_err(|error| unusable("native.api.bedrock", error.to_string()))?,
            )
        }
        Api::Cohere(_) => Box::new(Cohere::new()),
        Api::Databricks(databricks) => Box::new(Databricks::new(databricks.query_instruction.clone())),
        Api::Gemini(_) => Box::new(Gemini::new()),
        Api::HuggingFace(_) => Box::new(HuggingFace::new(items(hugging_face::ITEMS))),
        Api::Jina(_) => Box::new(Jina::new()),
        Api::Mistral(_) => Box::new(Mistral::new()),
        Api::Nvidia(_) => Box::new(Nvidia::new(items(ITEMS))),
        Api::Ollama(_) => Box::new(Ollama::new()),
        Api::SageMaker(v1::native::SageMaker { endpoint, container }) => {
            let container = match container {
                Container::TextEmbeddingsInference => sage_maker::Container::TextEmbeddingsInference,
                Container::OpenAi => sage_maker::Container::OpenAi,
            };
            Box::new(SageMaker::new(endpoint, container, items(hugging_face::ITEMS)))
        }
        Api::VertexAi(vertex) => Box::new(VertexAi::new(&vertex.project, &vertex.location)),
        Api::Voyage(_) => Box::new(Voyage::new()),
        Api::Watsonx(v1::native::Watsonx { version, within }) => {
            let container = match within {
                Within::Project(id) => watsonx::Container::Project(id.clone()),
                Within::Space(id) => watsonx::Container::Space(id.clone()),
            };
            Box::new(Watsonx::new(container, &**version))
        }
    })
}

/// The name of AWS's service in signatures; irrelevant elsewhere.
fn service(api: &Api) -> &'static str {
    if matches!(api, Api::SageMaker(_)) { "sagemaker" } else { "bedrock" }
}

/// What is put on requests. Paths of faults are those of the contract.
fn credential(auth: &Auth, api: &Api, files: &CredentialFiles, lasting: &SharedState) -> ProviderResult<Credential> {
    const AT: &str = "native.auth";
    let at = |(field, reason): (&str, &str)| unusable(format!("{AT}.{field}"), reason);
    Ok(match auth {
        Auth::None(_) => Credential::None,
        Auth::Bearer(Key { file }) => key(&Form::Bearer, file, AT, files)?,
        Auth::Header(HeaderKey { name, file }) => {
            let name = HeaderName::try_from(name).map_err(|_| unusable(AT, format!("{name} is no header's name")))?;
            key(&Form::Alone(name), file, AT, files)?
        }
        Auth::Aws(Aws { region, keys }) => {
            let scope = sigv4::Scope { region: region.clone(), service: service(api).to_owned() };
            Credential::SigV4 { scope, keys: aws_keys(keys, region, files, lasting)? }
        }
        Auth::Google(Google::File(file)) => Credential::Token(google_file(content(file, AT, files)?, lasting)?),
        Auth::Google(Google::MetadataServer(_)) => {
            identity(lasting, AT)?;
            let token = google::metadata::token(google::metadata::SERVER, lasting.http.clone());
            Credential::Token(token.map_err(at)?)
        }
        Auth::Entra(Entra { tenant_id, client_id, authority, secret_file }) => {
            let proof = match secret_file {
                None => entra::Proof::Federated(identity(lasting, AT)?.tokens.join("azure")),
                Some(file) => {
                    let secret = Secret::in_file(content(file, AT, files)?);
                    entra::Proof::Secret(secret.map_err(|reason| unusable(AT, reason))?)
                }
            };
            let authority = authority.as_deref().unwrap_or(entra::AUTHORITY);
            let entra = entra::Entra::new(authority, tenant_id, client_id.clone(), entra::SCOPE.to_owned(), proof);
            Credential::Token(entra.map_err(at)?.token(lasting.http.clone()))
        }
        Auth::Ibm(Ibm { file, iam_url }) => {
            let iam = iam_url.as_deref().unwrap_or(ibm::IAM);
            let ibm = ibm::Ibm::new(iam, content(file, AT, files)?).map_err(at)?;
            Credential::Token(ibm.token(lasting.http.clone()))
        }
    })
}

fn aws_keys(
    keys: &AwsKeys,
    region: &str,
    files: &CredentialFiles,
    lasting: &SharedState,
) -> ProviderResult<aws::Source> {
    const AT: &str = "native.auth.aws.keys";
    let at = |(field, reason): (&str, &str)| unusable(format!("{AT}.{field}"), reason);
    Ok(match keys {
        AwsKeys::File(file) => {
            aws::Source::in_file(content(file, AT, files)?).map_err(|reason| unusable(AT, reason))?
        }
        AwsKeys::WebIdentity(WebIdentity { role_arn, sts_url }) => {
            let sts = match sts_url {
                Some(url) => Url::parse(url).map_err(|_| unusable(format!("{AT}.stsURL"), "is not a URL"))?,
                None => {
                    aws::web_identity::regional(region).map_err(|reason| unusable("native.auth.aws.region", reason))?
                }
            };
            let identity = identity(lasting, AT)?;
            let session = if identity.pod.is_empty() { SESSION } else { &identity.pod };
            let session: String = session.chars().take(64).collect();
            let token = identity.tokens.join("aws");
            let role = aws::web_identity::WebIdentity::new(role_arn.clone(), session, token, sts).map_err(at)?;
            role.keys(lasting.http.clone())
        }
        AwsKeys::PodIdentity(_) => {
            let (uri, token) = identity(lasting, AT)?.agent.clone().ok_or_else(|| {
                unusable(AT, "EKS Pod Identity has not set AWS_CONTAINER_CREDENTIALS_FULL_URI in this container")
            })?;
            aws::pod_identity::PodIdentity::new(&uri, token).map_err(at)?.keys(lasting.http.clone())
        }
    })
}

fn google_file(content: &[u8], lasting: &SharedState) -> ProviderResult<vectoll_upstream::credential::Token> {
    const AT: &str = "native.auth.google.file";
    let http = lasting.http.clone();
    let wrong = |reason: &str| unusable(AT, reason);
    match google::kind(content) {
        Some(google::Kind::ServiceAccount) => {
            Ok(google::service_account::ServiceAccount::read(content, None).map_err(wrong)?.token(http))
        }
        Some(google::Kind::External) => {
            let external = google::external::External::read(
                content,
                &identity(lasting, AT)?.tokens,
                google::external::Instead::default(),
            );
            Ok(external.map_err(wrong)?.token(http))
        }
        None => Err(wrong("it is neither a service account's key nor an external_account configuration")),
    }
}
