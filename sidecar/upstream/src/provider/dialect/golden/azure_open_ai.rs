use serde_json::json;

use super::{documents, open_ai, queries, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{Capabilities, Dialect, azure_open_ai::AzureOpenAi};

const MODEL: &str = "text-embedding-3-large";

pub(super) fn azure() -> AzureOpenAi {
    AzureOpenAi::new(Some("my deployment".to_owned()), "2024-10-21")
}

#[test]
fn the_deployment_stands_in_the_path_and_no_model_in_the_body() {
    let azure = azure();
    assert_eq!(azure.capabilities(MODEL), Capabilities { items: 2048, tokens: Some(300_000) });
    let (path, body) = sent(&azure, &queries(MODEL, 1, 256));
    assert_eq!(path, "/openai/deployments/my%20deployment/embeddings?api-version=2024-10-21");
    assert_eq!(body, json!({"input": ["The food was delicious."], "dimensions": 256, "encoding_format": "base64"}));
    let (path, body) = sent(&AzureOpenAi::new(None, "2024-10-21"), &documents(MODEL, 1));
    assert_eq!(path, "/openai/deployments/text-embedding-3-large/embeddings?api-version=2024-10-21");
    assert_eq!(body, json!({"input": ["The food was delicious."], "encoding_format": "base64"}));
}

#[test]
fn answers_are_openais() {
    let part = documents(MODEL, 1);
    tells(&azure(), &part, &open_ai::answer(&["\"AAAAPwAAgL8=\""]), &[&[0.5, -1.0]], Some(8));
    refuses_what_is_no_answer(&azure(), MODEL, 2048, &open_ai::answer);
}
