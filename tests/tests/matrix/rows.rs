//! The providers: how each is set up on either side, and what it can do.

mod amazon;
mod row;

use serde_json::{Value, json};
use vectoll_tests::native::{
    Api, Issuer,
    azure_open_ai::{self, AzureOpenAi},
    cohere::Cohere,
    databricks::Databricks,
    gemini::Gemini,
    hugging_face::HuggingFace,
    jina::Jina,
    mistral::Mistral,
    nvidia::Nvidia,
    ollama::Ollama,
    vector,
    vertex_ai::{self, VertexAi},
    voyage::Voyage,
    watsonx::Watsonx,
};
use vectoll_tests::provider::Item;

pub use amazon::sage_maker;
pub use row::{Cannot, Row, Vector};
use row::{key, reference};

const AZURE: &str = "azure-key-kept-by-nobody";
const ENTRA: &str = "entra-secret-kept-by-nobody";
const COHERE: &str = "cohere-key-kept-by-nobody";
const DATABRICKS: &str = "dapi-kept-by-nobody";
const GEMINI: &str = "gemini-key-kept-by-nobody";
const HUGGING_FACE: &str = "hf-key-kept-by-nobody";
const JINA: &str = "jina-key-kept-by-nobody";
const MISTRAL: &str = "mistral-key-kept-by-nobody";
const NVIDIA: &str = "nvapi-kept-by-nobody";
const VOYAGE: &str = "pa-voyage-kept-by-nobody";
pub const WATSONX: &str = "watsonx-key-kept-by-nobody";
/// What the sidecar is given in the place of a token of Google's: see `stage`.
pub const VERTEX: &str = "vertex-token-kept-by-nobody";

const INSTRUCTION: &str = "Represent this sentence for searching relevant passages: ";

/// All of them.
pub fn all() -> Vec<Row> {
    let mut rows = vec![azure(), azure_by_entra()];
    rows.extend(amazon::bedrock());
    rows.extend([cohere(), databricks(), gemini(), hugging_face(), jina(), mistral(), nvidia(), ollama()]);
    rows.extend([sage_maker(), amazon::sage_maker_open_ai(), vertex_ai(), voyage(), watsonx(Issuer::default())]);
    rows
}

pub fn azure() -> Row {
    Row {
        name: "Azure OpenAI, text-embedding-3-small",
        id: "azure",
        api: Box::new(AzureOpenAi {
            caller: azure_open_ai::Caller::Key(AZURE),
            deployment: "small-1",
            version: "2024-10-21",
        }),
        model: "text-embedding-3-small",
        settings: |url| json!({"azureOpenAI": {"endpoint": url, "deployment": "small-1", "apiKeySecretRef": reference("azure")}}),
        secret: key(AZURE),
        length: 1536,
        vector,
        has: Some(256),
        has_not: (1537, Cannot::ByProvider(400)),
        tells: false,
        reports: true,
        passes: true,
        credential: "`api-key`",
        secrets: vec![AZURE],
    }
}

pub fn azure_by_entra() -> Row {
    let caller = azure_open_ai::Caller::Entra {
        tenant: "7b795fb9-09d3-42f4-a494-38864f99ba3c",
        client: "9d5c7b6e-1f59-4b55-8a3f-0e4f8a2f7c11",
        secret: ENTRA,
        tokens: Issuer::default(),
    };
    Row {
        id: "entra",
        api: Box::new(AzureOpenAi { caller, deployment: "small-1", version: "2024-10-21" }),
        settings: |url| {
            json!({"azureOpenAI": {"endpoint": url, "deployment": "small-1", "entra": {
                "tenantID": "7b795fb9-09d3-42f4-a494-38864f99ba3c", "clientID": "9d5c7b6e-1f59-4b55-8a3f-0e4f8a2f7c11",
                "authority": url, "clientSecretRef": reference("entra"),
            }}})
        },
        secret: key(ENTRA),
        credential: "Entra ID token for a secret",
        secrets: vec![ENTRA],
        ..azure()
    }
}

/// A provider that is called with a key as a bearer token, and told what inputs are.
fn by_key(name: &'static str, id: &'static str, api: Box<dyn Api>, secret: &'static str) -> Row {
    Row {
        name,
        id,
        api,
        model: "",
        settings: |_| Value::Null,
        secret: key(secret),
        length: 1024,
        vector,
        has: Some(256),
        has_not: (300, Cannot::Refused),
        tells: true,
        reports: true,
        passes: false,
        credential: "Bearer",
        secrets: vec![secret],
    }
}

pub fn cohere() -> Row {
    Row {
        model: "embed-v4.0",
        settings: |url| json!({"cohere": {"baseURL": url, "apiKeySecretRef": reference("cohere")}}),
        length: 1536,
        ..by_key("Cohere, embed-v4.0", "cohere", Box::new(Cohere { key: COHERE }), COHERE)
    }
}

fn databricks() -> Row {
    let api = Databricks { key: DATABRICKS, endpoint: "databricks-bge-large-en", instruction: INSTRUCTION };
    Row {
        model: "databricks-bge-large-en",
        settings: |url| {
            json!({"databricks": {
                "workspaceURL": url, "apiKeySecretRef": reference("databricks"), "queryInstruction": INSTRUCTION,
            }})
        },
        has: None,
        has_not: (512, Cannot::Refused),
        ..by_key("Databricks, BGE large", "databricks", Box::new(api), DATABRICKS)
    }
}

/// Shorter than 3,072 numbers the provider's vectors are not unit vectors: the sidecar makes them so.
fn unit(item: &Item, length: usize) -> Vec<f32> {
    let whole = vector(item, length);
    if length == 3072 {
        return whole;
    }
    let norm = whole.iter().map(|number| f64::from(*number) * f64::from(*number)).sum::<f64>().sqrt();
    whole.into_iter().map(|number| (f64::from(number) / norm) as f32).collect()
}

fn gemini() -> Row {
    Row {
        model: "gemini-embedding-001",
        settings: |url| json!({"gemini": {"baseURL": url, "apiKeySecretRef": reference("gemini")}}),
        length: 3072,
        vector: unit,
        has_not: (64, Cannot::ByProvider(400)),
        reports: false,
        credential: "`x-goog-api-key`",
        ..by_key("Gemini, gemini-embedding-001", "gemini", Box::new(Gemini { key: GEMINI }), GEMINI)
    }
}

fn hugging_face() -> Row {
    Row {
        model: "tei",
        settings: |url| json!({"huggingFace": {"baseURL": url, "apiKeySecretRef": reference("tei")}}),
        length: 384,
        has_not: (512, Cannot::ByProvider(413)),
        tells: false,
        ..by_key("Text Embeddings Inference", "tei", Box::new(HuggingFace { key: HUGGING_FACE }), HUGGING_FACE)
    }
}

fn jina() -> Row {
    Row {
        model: "jina-embeddings-v3",
        settings: |url| json!({"jina": {"baseURL": url, "apiKeySecretRef": reference("jina")}}),
        has_not: (1025, Cannot::ByProvider(422)),
        ..by_key("Jina, jina-embeddings-v3", "jina", Box::new(Jina { key: JINA }), JINA)
    }
}

pub fn mistral() -> Row {
    Row {
        model: "codestral-embed",
        settings: |url| json!({"mistral": {"baseURL": url, "apiKeySecretRef": reference("mistral")}}),
        length: 1536,
        has_not: (3073, Cannot::Refused),
        tells: false,
        ..by_key("Mistral, codestral-embed", "mistral", Box::new(Mistral { key: MISTRAL }), MISTRAL)
    }
}

fn nvidia() -> Row {
    Row {
        model: "nvidia/llama-3.2-nv-embedqa-1b-v2",
        settings: |url| json!({"nvidia": {"baseURL": url, "apiKeySecretRef": reference("nvidia")}}),
        length: 2048,
        has: Some(384),
        has_not: (300, Cannot::ByProvider(400)),
        ..by_key("NVIDIA NIM, llama-3.2-nv-embedqa", "nvidia", Box::new(Nvidia { key: NVIDIA }), NVIDIA)
    }
}

fn ollama() -> Row {
    Row {
        model: "nomic-embed-text",
        settings: |url| json!({"ollama": {"baseURL": url}}),
        secret: Value::Null,
        length: 768,
        has_not: (1000, Cannot::InSilence),
        tells: false,
        credential: "none",
        secrets: Vec::new(),
        ..by_key("Ollama, nomic-embed-text", "ollama", Box::new(Ollama), "")
    }
}

pub fn vertex_ai() -> Row {
    let api = VertexAi { caller: vertex_ai::Caller::Token(VERTEX), project: "project-1", location: "europe-west4" };
    Row {
        model: "text-embedding-005",
        settings: |url| {
            json!({"vertexAI": {
                "project": "project-1", "location": "europe-west4", "baseURL": url, "metadataServer": {},
            }})
        },
        secret: Value::Null,
        length: 768,
        has_not: (769, Cannot::ByProvider(400)),
        credential: "OAuth token",
        ..by_key("Vertex AI, text-embedding-005", "vertex", Box::new(api), VERTEX)
    }
}

fn voyage() -> Row {
    Row {
        model: "voyage-3.5",
        settings: |url| json!({"voyage": {"baseURL": url, "apiKeySecretRef": reference("voyage")}}),
        ..by_key("Voyage, voyage-3.5", "voyage", Box::new(Voyage { key: VOYAGE }), VOYAGE)
    }
}

pub fn watsonx(iam: Issuer) -> Row {
    let api = Watsonx { key: WATSONX, project: "12ac4cf1-252f-424b-b52d-5cdd9814987f", version: "2024-05-31", iam };
    Row {
        model: "ibm/slate-125m-english-rtrvr-v2",
        settings: |url| {
            json!({"watsonx": {
                "baseURL": url, "iamURL": url, "projectID": "12ac4cf1-252f-424b-b52d-5cdd9814987f",
                "apiKeySecretRef": reference("watsonx"),
            }})
        },
        length: 768,
        has: None,
        has_not: (256, Cannot::Refused),
        tells: false,
        credential: "IAM token for an API key",
        ..by_key("watsonx, slate-125m", "watsonx", Box::new(api), WATSONX)
    }
}
