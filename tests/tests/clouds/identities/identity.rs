//! One way to be known, and what is secret of it.

use serde_json::{Value, json};
use vectoll_tests::{
    clouds::Desk,
    native::{AccessKey, Api, Issuer, TemporaryKeys},
};

/// Where the kubelet mounts the tokens that the operator's injection asks for.
pub const TOKENS: &str = "/var/run/secrets/vectoll.dev/identity";
/// Where EKS mounts the token for its agent.
pub const AGENT_TOKEN: &str = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount";
/// The pod's name.
pub const POD: &str = "shop-7d9f";

/// The tokens in the files, by their names.
pub const AWS: &str = "cluster.for-aws.kept-by-nobody";
pub const AZURE: &str = "cluster.for-azure.kept-by-nobody";
pub const GOOGLE: &str = "cluster.for-google.kept-by-nobody";
pub const OPENAI: &str = "cluster.for-openai.kept-by-nobody";
pub const AGENT: &str = "cluster.for-the-agent.kept-by-nobody";

pub(super) const TENANT: &str = "7b795fb9-09d3-42f4-a494-38864f99ba3c";
pub(super) const CLIENT: &str = "9d5c7b6e-1f59-4b55-8a3f-0e4f8a2f7c11";
pub(super) const PROJECT: &str = "12ac4cf1-252f-424b-b52d-5cdd9814987f";
pub(super) const IBM_KEY: &str = "ibm-key-kept-by-nobody";
pub(super) const BEDROCK_KEY: &str = "bedrock-api-key-kept-by-nobody";
pub(super) const BEDROCK: AccessKey<'static> = AccessKey {
    id: "AKIAKEPTBYNOBODY0001",
    secret: "bedrock+secret/kept-by-nobody",
    session: None,
    region: "us-east-1",
    service: "bedrock",
};
pub(super) const SAGE_MAKER: AccessKey<'static> = AccessKey {
    id: "AKIAKEPTBYNOBODY0002",
    secret: "sagemaker/secret+kept-by-nobody",
    session: None,
    region: "eu-west-1",
    service: "sagemaker",
};

/// What is fetched, and of whom.
pub struct Fetched {
    /// What it is called where it cannot be had.
    pub what: &'static str,
    /// The issuer, and what it answers when it refuses.
    pub issuer: &'static str,
    pub refusal: &'static str,
    pub tokens: Issuer,
}

/// One way to be known.
pub struct Identity {
    /// The route's name, the model's public name and that of the Secret.
    pub id: &'static str,
    /// The provider's own name.
    pub host: &'static str,
    /// The provider's model.
    pub model: &'static str,
    /// The backend's settings.
    pub settings: Value,
    /// The Secret's entries; null: none.
    pub secret: Value,
    /// Numbers in a vector.
    pub length: usize,
    /// What is fetched; none: the credential lasts.
    pub fetched: Option<Fetched>,
}

/// All of them, with what plays them.
pub struct Identities {
    pub all: Vec<Identity>,
    pub providers: Vec<(&'static str, Box<dyn Api>)>,
    pub issuers: Vec<Box<dyn Desk>>,
    /// The token that is exchanged for an account's, which no provider sees.
    pub federated: Issuer,
    /// Temporary keys, whose parts are secrets of their own.
    pub keys: Vec<TemporaryKeys>,
}

impl Identities {
    /// All that nobody may see.
    pub fn secrets(&self) -> Vec<String> {
        let fetched = self.all.iter().filter_map(|identity| identity.fetched.as_ref());
        let lasting = [
            AWS,
            AZURE,
            GOOGLE,
            OPENAI,
            AGENT,
            IBM_KEY,
            BEDROCK_KEY,
            BEDROCK.id,
            BEDROCK.secret,
            SAGE_MAKER.id,
            SAGE_MAKER.secret,
        ];
        fetched
            .flat_map(|fetched| fetched.tokens.issued())
            .chain(self.federated.issued())
            .chain(self.keys.iter().flat_map(TemporaryKeys::secrets))
            .chain(lasting.map(str::to_owned))
            .collect()
    }
}

pub(super) fn reference(id: &str) -> Value {
    json!({"name": id, "key": "key"})
}
