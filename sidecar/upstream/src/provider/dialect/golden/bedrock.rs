use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::{counts, defect, documents, queries, refused, refuses_what_is_no_answer, sent, tells};
use crate::provider::dialect::{
    AnswerDefect, Dialect, Unusable,
    bedrock::Bedrock,
    error_meaning::{Cause, ErrorAnswer},
};

pub(super) const TITAN_V1: &str = "amazon.titan-embed-text-v1";
pub(super) const TITAN_V2: &str = "amazon.titan-embed-text-v2:0";
pub(super) const COHERE_V3: &str = "cohere.embed-multilingual-v3";
pub(super) const COHERE_V4: &str = "us.cohere.embed-v4:0";
pub(super) const NOVA: &str = "amazon.nova-2-multimodal-embeddings-v1:0";

pub(super) fn bedrock(model: &str) -> Bedrock {
    Bedrock::new(model, None).unwrap()
}

pub(super) fn titan(vectors: &[&str]) -> String {
    let vector = vectors.first().unwrap();
    format!(r#"{{"embedding":{vector},"inputTextTokenCount":6,"embeddingsByType":{{"float":{vector}}}}}"#)
}

pub(super) fn cohere(vectors: &[&str]) -> String {
    let float = vectors.join(",");
    format!(
        r#"{{"embeddings":{{"float":[{float}]}},"id":"8d77a1","response_type":"embeddings_by_type","texts":["a"]}}"#
    )
}

/// The form without types.
fn floats(vectors: &[&str]) -> String {
    format!(r#"{{"embeddings":[{}],"id":"8d77a1","response_type":"embeddings_floats"}}"#, vectors.join(","))
}

pub(super) fn nova(vectors: &[&str]) -> String {
    let vectors: Vec<String> =
        vectors.iter().map(|vector| format!(r#"{{"embeddingType":"TEXT","embedding":{vector}}}"#)).collect();
    format!(r#"{{"embeddings":[{}]}}"#, vectors.join(","))
}

#[test]
fn the_models_id_says_how_it_is_spoken_to() {
    for (model, path, items) in [
        (TITAN_V1, "/model/amazon.titan-embed-text-v1/invoke", 1),
        (TITAN_V2, "/model/amazon.titan-embed-text-v2%3A0/invoke", 1),
        ("us-gov.amazon.titan-embed-text-v2:0", "/model/us-gov.amazon.titan-embed-text-v2%3A0/invoke", 1),
        (COHERE_V3, "/model/cohere.embed-multilingual-v3/invoke", 96),
        ("cohere.embed-english-v3:0:512", "/model/cohere.embed-english-v3%3A0%3A512/invoke", 96),
        (COHERE_V4, "/model/us.cohere.embed-v4%3A0/invoke", 96),
        ("global.cohere.embed-v4:0", "/model/global.cohere.embed-v4%3A0/invoke", 96),
        (NOVA, "/model/amazon.nova-2-multimodal-embeddings-v1%3A0/invoke", 1),
    ] {
        let bedrock = bedrock(model);
        assert_eq!(bedrock.capabilities("whatever").items, items, "{model}");
        // A part may name the model otherwise: the ID counts.
        assert_eq!(sent(&bedrock, &documents("whatever", 1)).0, path);
    }
}

#[test]
fn an_arn_is_one_segment_and_the_foundation_model_says_how_it_is_spoken_to() {
    for (arn, foundation_model, path, items) in [
        (
            "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/a1b2c3d4e5f6",
            COHERE_V3,
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A111122223333%3Aapplication-inference-profile%2Fa1b2c3d4e5f6/invoke",
            96,
        ),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0",
            TITAN_V2,
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2Famazon.titan-embed-text-v2%3A0/invoke",
            1,
        ),
    ] {
        let bedrock = Bedrock::new(arn, Some(foundation_model)).unwrap();
        assert_eq!(
            (bedrock.capabilities("whatever").items, sent(&bedrock, &documents("whatever", 1)).0.as_str()),
            (items, path)
        );
    }
}

#[test]
fn a_wrong_model_is_the_routes_fault_and_a_wrong_input_the_callers() {
    let cause = |message: &str| {
        let headers = [(HeaderName::from_static("x-amzn-errortype"), HeaderValue::from_static("ValidationException"))];
        let body = json!({"message": message}).to_string();
        let headers: HeaderMap = headers.into_iter().collect();
        let answer = ErrorAnswer::new(StatusCode::BAD_REQUEST, &headers, body.as_bytes());
        bedrock(TITAN_V2).meaning(answer).cause
    };
    for message in [
        "The provided model identifier is invalid.",
        "Invocation of model ID amazon.titan-embed-text-v2:0 with on-demand throughput isn\u{2019}t supported. Retry your request with \
         the ID or ARN of an inference profile that contains this model.",
    ] {
        assert_eq!(cause(message), Cause::Model, "{message}");
    }
    assert_eq!(cause("Malformed input request: expected minLength: 1, actual: 0"), Cause::Caller);
}

#[test]
fn what_does_not_tell_the_model_is_refused_with_what_does() {
    for model in [
        "",
        "amazon.titan-embed-text-v3:0",
        "amazon.titan-embed-text-v10:0",
        "amazon.titan-embed-image-v1",
        "anthropic.claude-3-haiku",
        "us.eu.cohere.embed-v4:0",
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v1",
        "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc",
    ] {
        assert_eq!(
            Bedrock::new(model, None).unwrap_err().to_string(),
            format!(
                "{model} is not an embedding model of Bedrock that is known: amazon.titan-embed-text-v1, \
                 amazon.titan-embed-text-v2, amazon.nova-2-multimodal-embeddings-v1, cohere.embed-english-v3, \
                 cohere.embed-multilingual-v3, cohere.embed-v4, with a cross-region prefix or without"
            )
        );
    }
}

#[test]
fn each_family_gets_its_own_body() {
    let text = "The food was delicious.";
    for (model, part, body) in [
        (TITAN_V1, documents("", 1), json!({"inputText": text})),
        (TITAN_V1, queries("", 1, 1536), json!({"inputText": text})),
        (TITAN_V2, documents("", 1), json!({"inputText": text, "normalize": true})),
        (TITAN_V2, queries("", 1, 256), json!({"inputText": text, "dimensions": 256, "normalize": true})),
        (
            COHERE_V3,
            documents("", 1),
            json!({"texts": [text], "input_type": "search_document", "embedding_types": ["float"], "truncate": "NONE"}),
        ),
        (
            COHERE_V3,
            queries("", 1, 1024),
            json!({"texts": [text], "input_type": "search_query", "embedding_types": ["float"], "truncate": "NONE"}),
        ),
        (
            COHERE_V4,
            queries("", 1, 512),
            json!({"texts": [text], "input_type": "search_query", "embedding_types": ["float"],
                "output_dimension": 512, "truncate": "NONE"}),
        ),
        (
            NOVA,
            documents("", 1),
            json!({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {"embeddingPurpose": "GENERIC_INDEX",
                "text": {"truncationMode": "NONE", "value": text}}}),
        ),
        (
            NOVA,
            queries("", 1, 384),
            json!({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {"embeddingPurpose": "TEXT_RETRIEVAL",
                "embeddingDimension": 384, "text": {"truncationMode": "NONE", "value": text}}}),
        ),
    ] {
        assert_eq!(sent(&bedrock(model), &part).1, body, "{model}");
    }
}

#[test]
fn dimensions_are_only_those_that_a_model_has() {
    for (model, possible) in [
        (TITAN_V1, "1536"),
        (TITAN_V2, "256, 512, 1024"),
        (COHERE_V3, "1024"),
        (COHERE_V4, "256, 512, 1024, 1536"),
        (NOVA, "256, 384, 1024, 3072"),
    ] {
        assert_eq!(
            refused(&bedrock(model), &queries("whatever", 1, 300)),
            format!("{model} has vectors of {possible} numbers, not 300")
        );
    }
}

#[test]
fn tokens_stand_in_the_body_or_else_in_a_header() {
    let part = documents("", 1);
    tells(&bedrock(TITAN_V2), &part, &titan(&["[0.5,-1]"]), &[&[0.5, -1.0]], Some(6));
    counts(&bedrock(TITAN_V1), &part, &|said| format!(r#"{{"embedding":[1],"inputTextTokenCount":{said}}}"#));
    let headers: HeaderMap =
        [("x-amzn-bedrock-input-token-count".parse().unwrap(), HeaderValue::from_static("9"))].into_iter().collect();
    for (model, body, tokens) in [
        (TITAN_V1, titan(&["[1]"]), 6),
        (TITAN_V1, r#"{"embedding":[1]}"#.to_owned(), 9),
        (COHERE_V3, cohere(&["[1]"]), 9),
        (COHERE_V4, floats(&["[1]"]), 9),
        (NOVA, nova(&["[1]"]), 9),
        (NOVA, nova(&["[1]"]).replace("\"embeddings\"", "\"inputTokenCount\":5,\"embeddings\""), 5),
    ] {
        let told = bedrock(model).answer(&part, &headers, body.as_bytes()).unwrap();
        assert_eq!((told.vectors, told.tokens), (vec![vec![1.0]], Some(tokens)), "{model}");
        // Whatever else is in it, it costs what it says.
        let none = body.replace("[1]", "[null]");
        let unusable = bedrock(model).answer(&part, &headers, none.as_bytes()).unwrap_err();
        assert_eq!(unusable, Unusable { defect: AnswerDefect::Vector, tokens: Some(tokens) }, "{model}");
        let unusable = bedrock(model).answer(&part, &headers, b"<html>").unwrap_err();
        assert_eq!(unusable, Unusable { defect: AnswerDefect::Shape, tokens: Some(9) }, "{model}");
    }
}

#[test]
fn what_was_cut_is_no_answer() {
    let body = r#"{"embeddings":[{"embeddingType":"TEXT","embedding":[1],"truncatedCharLength":8192}]}"#;
    assert_eq!(defect(&bedrock(NOVA), &documents("", 1), body), AnswerDefect::Truncated);
}

#[test]
fn what_is_no_answer_is_refused() {
    refuses_what_is_no_answer(&bedrock(TITAN_V1), "", 1, &titan);
    refuses_what_is_no_answer(&bedrock(TITAN_V2), "", 1, &titan);
    refuses_what_is_no_answer(&bedrock(COHERE_V3), "", 96, &cohere);
    refuses_what_is_no_answer(&bedrock(COHERE_V4), "", 96, &floats);
    refuses_what_is_no_answer(&bedrock(NOVA), "", 1, &nova);
    for many in [nova(&[]), nova(&["[1]", "[2]"])] {
        assert_eq!(defect(&bedrock(NOVA), &documents("", 1), &many), AnswerDefect::Number);
    }
}
