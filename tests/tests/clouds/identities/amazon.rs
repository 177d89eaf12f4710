//! Bedrock: by a role, by the pod's identity, by keys that last. `SageMaker` by such keys.

use serde_json::{Value, json};
use vectoll_tests::{
    clouds::{
        Desk,
        aws::{PodIdentityAgent, Sts},
    },
    native::{
        Issuer, TemporaryKeys,
        bedrock::{self, Bedrock, Model},
        sage_maker::{Container, SageMaker},
    },
};

use super::identity::{AGENT, AWS, BEDROCK, BEDROCK_KEY, Fetched, Identities, Identity, POD, SAGE_MAKER, reference};

const ROLE: &str = "arn:aws:iam::123456789012:role/embeddings";

pub fn add(them: &mut Identities) {
    let (of_role, of_pod) = (TemporaryKeys(Issuer::named("role-")), TemporaryKeys(Issuer::named("pod-")));
    them.keys.extend([of_role.clone(), of_pod.clone()]);
    them.issuers.extend([
        Box::new(Sts {
            host: "sts.eu-central-1.amazonaws.com",
            role: ROLE,
            session: POD,
            web_token: AWS,
            keys: of_role.clone(),
        }) as Box<dyn Desk>,
        Box::new(PodIdentityAgent { pod_token: AGENT, keys: of_pod.clone() }),
    ]);
    let of_role_fetched = Fetched {
        what: "keys for the role arn:aws:iam::123456789012:role/embeddings",
        issuer: "sts.eu-central-1.amazonaws.com",
        refusal: "403: AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity; you sent",
        tokens: of_role.0.clone(),
    };
    let of_pod_fetched = Fetched {
        what: "keys for the pod's identity",
        issuer: "169.254.170.23",
        refusal: "403: AccessDeniedException: you sent [redacted]",
        tokens: of_pod.0.clone(),
    };
    for (id, host, region, known_by, secret, caller, fetched) in [
        (
            "bedrock-role",
            "bedrock-runtime.eu-central-1.amazonaws.com",
            "eu-central-1",
            json!({"webIdentity": {"roleARN": ROLE}}),
            Value::Null,
            bedrock::Caller::Issued { keys: of_role, region: "eu-central-1" },
            Some(of_role_fetched),
        ),
        (
            "bedrock-pod",
            "bedrock-runtime.us-west-2.amazonaws.com",
            "us-west-2",
            json!({"podIdentity": {}}),
            Value::Null,
            bedrock::Caller::Issued { keys: of_pod, region: "us-west-2" },
            Some(of_pod_fetched),
        ),
        (
            "bedrock-keys",
            "bedrock-runtime.us-east-1.amazonaws.com",
            "us-east-1",
            json!({"accessKeySecretRef": {"name": "bedrock-keys"}}),
            json!({"AWS_ACCESS_KEY_ID": BEDROCK.id, "AWS_SECRET_ACCESS_KEY": BEDROCK.secret}),
            bedrock::Caller::Signed(BEDROCK),
            None,
        ),
        (
            "bedrock-api-key",
            "bedrock-runtime.us-east-2.amazonaws.com",
            "us-east-2",
            json!({"apiKeySecretRef": reference("bedrock-api-key")}),
            json!({"key": BEDROCK_KEY}),
            bedrock::Caller::ApiKey(BEDROCK_KEY),
            None,
        ),
    ] {
        them.providers.push((host, Box::new(Bedrock { model: Model::TitanV2, caller })));
        let mut bedrock = json!({"region": region});
        if let (Some(bedrock), Value::Object(known_by)) = (bedrock.as_object_mut(), known_by) {
            bedrock.extend(known_by);
        }
        let (model, settings) = (Model::TitanV2.id(), json!({"bedrock": bedrock}));
        them.all.push(Identity { id, host, model, settings, secret, length: 1024, fetched });
    }
    let (host, container) = ("runtime.sagemaker.eu-west-1.amazonaws.com", Container::TextEmbeddingsInference);
    them.providers.push((host, Box::new(SageMaker { key: SAGE_MAKER, endpoint: "embeddings-1", container })));
    them.all.push(Identity {
        id: "sagemaker-keys",
        host,
        model: "tei",
        settings: json!({"sageMaker": {
            "region": "eu-west-1", "endpointName": "embeddings-1", "container": "TextEmbeddingsInference",
            "accessKeySecretRef": {"name": "sagemaker-keys"},
        }}),
        secret: json!({"AWS_ACCESS_KEY_ID": SAGE_MAKER.id, "AWS_SECRET_ACCESS_KEY": SAGE_MAKER.secret}),
        length: 384,
        fetched: None,
    });
}
