//! Amazon's: Bedrock and `SageMaker`.

use serde_json::json;
use vectoll_tests::native::{
    AccessKey,
    bedrock::{Bedrock, Caller, Model},
    sage_maker::{Container, SageMaker},
    vector,
};

use super::row::{Cannot, Row, key, reference};

const TEMPORARY: AccessKey<'static> = AccessKey {
    id: "AKIAKEPTBYNOBODY0001",
    secret: "bedrock+secret/kept-by-nobody",
    session: Some("session/token+kept-by-nobody=="),
    region: "eu-central-1",
    service: "bedrock",
};
const LASTING: AccessKey<'static> = AccessKey {
    id: "AKIAKEPTBYNOBODY0002",
    secret: "sagemaker/secret+kept-by-nobody",
    session: None,
    region: "us-east-1",
    service: "sagemaker",
};
const BEDROCK: &str = "bedrock-api-key-kept-by-nobody";

pub(super) fn bedrock() -> Vec<Row> {
    let of = |name, id, model: Model, length, has, has_not, tells, settings| Row {
        name,
        id,
        api: Box::new(Bedrock { model, caller: Caller::Signed(TEMPORARY) }),
        model: model.id(),
        settings,
        secret: json!({
            "AWS_ACCESS_KEY_ID": TEMPORARY.id,
            "AWS_SECRET_ACCESS_KEY": TEMPORARY.secret,
            "AWS_SESSION_TOKEN": TEMPORARY.session,
        }),
        length,
        vector,
        has,
        has_not: (has_not, Cannot::Refused),
        tells,
        reports: true,
        passes: false,
        credential: "Signature Version 4, temporary key",
        secrets: vec![TEMPORARY.id, TEMPORARY.secret, "session/token+kept-by-nobody"],
    };
    let by_key = Row {
        api: Box::new(Bedrock { model: Model::TitanV2, caller: Caller::ApiKey(BEDROCK) }),
        secret: key(BEDROCK),
        credential: "Bearer",
        secrets: vec![BEDROCK],
        ..of(
            "Bedrock, Titan v2",
            "titan-key",
            Model::TitanV2,
            1024,
            Some(512),
            300,
            false,
            |url| json!({"bedrock": {"region": "us-east-1", "endpoint": url, "apiKeySecretRef": reference("titan-key")}}),
        )
    };
    macro_rules! signed {
        ($id:literal) => {
            |url| json!({"bedrock": {"region": "eu-central-1", "endpoint": url, "accessKeySecretRef": {"name": $id}}})
        };
    }
    vec![
        of("Bedrock, Titan v1", "titan-1", Model::TitanV1, 1536, Some(1536), 256, false, signed!("titan-1")),
        of("Bedrock, Titan v2", "titan-2", Model::TitanV2, 1024, Some(256), 300, false, signed!("titan-2")),
        by_key,
        of("Bedrock, Titan v2 by an ARN", "titan-arn", Model::TitanV2ByProfile, 1024, Some(256), 300, false, |url| {
            json!({"bedrock": {
                "region": "eu-central-1", "endpoint": url, "foundationModel": "amazon.titan-embed-text-v2:0",
                "accessKeySecretRef": {"name": "titan-arn"},
            }})
        }),
        of("Bedrock, Cohere v3", "cohere-3", Model::CohereV3, 1024, Some(1024), 256, true, signed!("cohere-3")),
        of("Bedrock, Cohere v4", "cohere-4", Model::CohereV4, 1536, Some(256), 300, true, signed!("cohere-4")),
        of("Bedrock, Nova", "nova", Model::Nova, 3072, Some(384), 300, true, signed!("nova")),
    ]
}

pub fn sage_maker() -> Row {
    Row {
        name: "SageMaker, Text Embeddings Inference",
        id: "sagemaker",
        api: Box::new(SageMaker {
            key: LASTING,
            endpoint: "embeddings-1",
            container: Container::TextEmbeddingsInference,
        }),
        model: "tei",
        settings: |url| {
            json!({"sageMaker": {
                "region": "us-east-1", "endpointName": "embeddings-1", "container": "TextEmbeddingsInference",
                "baseURL": url, "accessKeySecretRef": {"name": "sagemaker"},
            }})
        },
        secret: json!({"AWS_ACCESS_KEY_ID": LASTING.id, "AWS_SECRET_ACCESS_KEY": LASTING.secret}),
        length: 384,
        vector,
        has: Some(256),
        has_not: (512, Cannot::ByProvider(413)),
        tells: false,
        reports: false,
        passes: false,
        credential: "Signature Version 4",
        secrets: vec![LASTING.id, LASTING.secret],
    }
}

pub(super) fn sage_maker_open_ai() -> Row {
    Row {
        name: "SageMaker, OpenAI's API",
        id: "sagemaker-2",
        api: Box::new(SageMaker { key: LASTING, endpoint: "embeddings-2", container: Container::OpenAi }),
        model: "bge-small",
        settings: |url| {
            json!({"sageMaker": {
                "region": "us-east-1", "endpointName": "embeddings-2", "container": "OpenAI", "baseURL": url,
                "accessKeySecretRef": {"name": "sagemaker-2"},
            }})
        },
        has_not: (512, Cannot::ByProvider(400)),
        reports: true,
        ..sage_maker()
    }
}
