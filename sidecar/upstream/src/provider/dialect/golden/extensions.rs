//! Fields beyond OpenAI's: where each stands in what its provider is sent, and what becomes of those that it does not know.

use serde_json::{Value, json};

use super::{bedrock, documents, queries, read, sent, vertex_ai, watsonx};
use crate::provider::dialect::{
    AnswerDefect, Dialect, Part,
    cohere::Cohere,
    databricks::Databricks,
    extension::{Extensions, Rejected},
    gemini::Gemini,
    hugging_face::HuggingFace,
    jina::Jina,
    mistral::Mistral,
    nvidia::Nvidia,
    ollama::Ollama,
    open_ai::OpenAi,
    sage_maker::{Container, SageMaker},
    voyage::Voyage,
};

/// What a model is told of a field.
fn told(dialect: &dyn Dialect, model: &str, field: &str, value: &Value) -> Result<Value, Rejected> {
    let json = value.to_string();
    let extensions = Extensions::read(dialect.extensions(model), [(field, json.as_str())])?;
    Ok(sent(dialect, &Part { extensions: &extensions, ..documents(model, 1) }).1)
}

#[test]
fn fields_stand_where_the_providers_reference_has_them() {
    let sage_maker = SageMaker::new("bge", Container::TextEmbeddingsInference, 32);
    let v4 = bedrock::bedrock(bedrock::COHERE_V4);
    let table: &[(&dyn Dialect, &str, &str, Value, &str)] = &[
        (&Cohere::new(), "embed-v4.0", "truncate", json!("END"), "/truncate"),
        (&Cohere::new(), "embed-v4.0", "max_tokens", json!(7), "/max_tokens"),
        (&Cohere::new(), "embed-v4.0", "priority", json!(0), "/priority"),
        (&Cohere::new(), "embed-v4.0", "input_type", json!("classification"), "/input_type"),
        (&Cohere::new(), "embed-v4.0", "embedding_types", json!(["float"]), "/embedding_types"),
        (&bedrock::bedrock(bedrock::COHERE_V3), "", "truncate", json!("START"), "/truncate"),
        (&bedrock::bedrock(bedrock::COHERE_V3), "", "input_type", json!("clustering"), "/input_type"),
        (&v4, "", "truncate", json!("RIGHT"), "/truncate"),
        (&v4, "", "max_tokens", json!(9), "/max_tokens"),
        (&bedrock::bedrock(bedrock::TITAN_V2), "", "normalize", json!(false), "/normalize"),
        (
            &bedrock::bedrock(bedrock::NOVA),
            "",
            "truncationMode",
            json!("END"),
            "/singleEmbeddingParams/text/truncationMode",
        ),
        (
            &bedrock::bedrock(bedrock::NOVA),
            "",
            "embeddingPurpose",
            json!("CLUSTERING"),
            "/singleEmbeddingParams/embeddingPurpose",
        ),
        (&Databricks::new(None), "bge", "instruction", json!("Represent this"), "/instruction"),
        (&Gemini::new(), "gemini-embedding-001", "task_type", json!("CLUSTERING"), "/requests/0/taskType"),
        (&Gemini::new(), "gemini-embedding-001", "taskType", json!("OF_LATER"), "/requests/0/taskType"),
        (&Gemini::new(), "gemini-embedding-001", "title", json!("Menu"), "/requests/0/title"),
        (&vertex_ai::vertex_ai(), "text-embedding-005", "task_type", json!("CLUSTERING"), "/instances/0/task_type"),
        (&vertex_ai::vertex_ai(), "text-embedding-005", "title", json!("Menu"), "/instances/0/title"),
        (&vertex_ai::vertex_ai(), "text-embedding-005", "autoTruncate", json!(true), "/parameters/autoTruncate"),
        (
            &vertex_ai::vertex_ai(),
            "gemini-embedding-2",
            "auto_truncate",
            json!(true),
            "/embedContentConfig/autoTruncate",
        ),
        (&HuggingFace::new(32), "bge-m3", "truncate", json!(true), "/truncate"),
        (&HuggingFace::new(32), "bge-m3", "truncation_direction", json!("Left"), "/truncation_direction"),
        (&HuggingFace::new(32), "bge-m3", "prompt_name", json!("query"), "/prompt_name"),
        (&HuggingFace::new(32), "bge-m3", "normalize", json!(false), "/normalize"),
        (&sage_maker, "bge", "normalize", json!(false), "/normalize"),
        (&Jina::new(), "jina-embeddings-v3", "task", json!("text-matching"), "/task"),
        (&Jina::new(), "jina-embeddings-v3", "late_chunking", json!(true), "/late_chunking"),
        (&Jina::new(), "jina-embeddings-v2-base-en", "normalized", json!(false), "/normalized"),
        (&Jina::new(), "jina-embeddings-v2-base-en", "truncate", json!(true), "/truncate"),
        (&Nvidia::new(64), "nvidia/nv-embedqa-e5-v5", "truncate", json!("START"), "/truncate"),
        (&Ollama::new(), "all-minilm", "truncate", json!(true), "/truncate"),
        (&Voyage::new(), "voyage-3.5", "truncation", json!(true), "/truncation"),
        (&Voyage::new(), "voyage-3.5", "output_dtype", json!("float"), "/output_dtype"),
        (
            &watsonx::watsonx(),
            "ibm/slate-125m-english-rtrvr-v2",
            "truncate_input_tokens",
            json!(512),
            "/parameters/truncate_input_tokens",
        ),
    ];
    for (dialect, model, field, value, place) in table {
        let body = told(*dialect, model, field, value).unwrap();
        assert_eq!(body.pointer(place), Some(value), "{} {field}: {body}", dialect.name());
        // Beside what is sent without it.
        let (_, plain) = sent(*dialect, &documents(model, 1));
        assert!(plain.pointer(place) != Some(value) || field.starts_with("output") || field.starts_with("embedding_t"));
    }
}

#[test]
fn what_is_done_anyway_may_be_said() {
    for (dialect, model, field, value) in [
        (&Jina::new() as &dyn Dialect, "jina-embeddings-v3", "embedding_type", json!("float")),
        (&Nvidia::new(64), "a", "modality", json!("text")),
        (&Nvidia::new(64), "a", "embedding_type", json!("float")),
        (&Mistral::new(), "mistral-embed", "output_dtype", json!("float")),
        (&bedrock::bedrock(bedrock::TITAN_V2), "", "embeddingTypes", json!(["float"])),
    ] {
        let (_, plain) = sent(dialect, &documents(model, 1));
        assert_eq!(told(dialect, model, field, &value).unwrap(), plain, "{field}");
    }
}

#[test]
fn what_a_model_has_no_place_for_is_refused() {
    for (dialect, model, field) in [
        (&Voyage::new() as &dyn Dialect, "voyage-3.5", "late_chunking"),
        (&Jina::new(), "jina-embeddings-v2-base-en", "task"),
        (&Jina::new(), "jina-embeddings-v3", "title"),
        (&Gemini::new(), "gemini-embedding-2", "task_type"),
        (&Gemini::new(), "gemini-embedding-2", "title"),
        (&vertex_ai::vertex_ai(), "gemini-embedding-2", "title"),
        (&bedrock::bedrock(bedrock::TITAN_V1), "", "normalize"),
        (&bedrock::bedrock(bedrock::COHERE_V3), "", "max_tokens"),
        (&SageMaker::new("bge", Container::OpenAi, 32), "bge", "truncate"),
        (&Ollama::new(), "all-minilm", "options"),
        (&Voyage::new(), "voyage-3.5", "input_type"),
    ] {
        let rejected = told(dialect, model, field, &json!(true)).unwrap_err();
        assert!(
            matches!(&rejected, Rejected::NoPlace { field: named } if named == field),
            "{} {field}: {rejected:?}",
            dialect.name()
        );
    }
}

#[test]
fn a_title_is_for_documents() {
    let extensions =
        Extensions::read(Gemini::new().extensions("gemini-embedding-001"), [("title", "\"Menu\"")]).unwrap();
    let part = Part { extensions: &extensions, ..queries("gemini-embedding-001", 1, 256) };
    let unsupported = Gemini::new().request(&part).unwrap_err();
    assert_eq!(unsupported.param, "title");
    assert_eq!(
        unsupported.message,
        "`title` is for texts that are documents (RETRIEVAL_DOCUMENT), and these are RETRIEVAL_QUERY"
    );
}

#[test]
fn who_wants_a_text_cut_gets_the_vector_of_what_is_left() {
    let vertex = vertex_ai::vertex_ai();
    let body = r#"{"predictions":[{"embeddings":{"values":[0.5],"statistics":{"truncated":true,"token_count":3}}}]}"#;
    let part = documents("text-embedding-005", 1);
    assert_eq!(read(&vertex, &part, body).unwrap_err().defect, AnswerDefect::Truncated);
    let extensions = Extensions::read(vertex.extensions(part.model), [("autoTruncate", "true")]).unwrap();
    assert_eq!(read(&vertex, &Part { extensions: &extensions, ..part }, body).unwrap().vectors, [[0.5]]);
    let nova = bedrock::bedrock(bedrock::NOVA);
    let body = r#"{"embeddings":[{"embeddingType":"TEXT","embedding":[0.5],"truncatedCharLength":9}]}"#;
    let part = documents("", 1);
    assert_eq!(read(&nova, &part, body).unwrap_err().defect, AnswerDefect::Truncated);
    let extensions = Extensions::read(nova.extensions(""), [("truncationMode", "\"END\"")]).unwrap();
    assert_eq!(read(&nova, &Part { extensions: &extensions, ..part }, body).unwrap().vectors, [[0.5]]);
}

#[test]
fn each_part_has_all_fields_where_bodies_are_understood() {
    let extensions = Extensions::as_they_are([("truncate", "\"END\""), ("priority", "[1,{\"a\":2}]")]);
    let part = Part { extensions: &extensions, ..documents("m", 1) };
    let (_, body) = sent(&OpenAi::compatible("openai", "/embeddings", 2), &part);
    assert_eq!(
        body,
        json!({"model": "m", "input": ["The food was delicious."], "truncate": "END", "priority": [1, {"a": 2}]})
    );
    let (_, body) = sent(&super::azure_open_ai::azure(), &part);
    assert_eq!((&body["truncate"], &body["priority"]), (&json!("END"), &json!([1, {"a": 2}])));
}
