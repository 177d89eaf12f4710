//! Who may call what, on either side: the manifests that a user writes, and the issuer and the provider that take it.

mod amazon;
mod google;

use serde_json::{Value, json};
use vectoll_tests::{
    clouds::{Desk, entra::Login, ibm::Iam},
    native::{
        AccessKey, Api, Issuer, TemporaryKeys,
        azure_open_ai::{self, AzureOpenAi},
        watsonx::Watsonx,
    },
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
pub const AGENT: &str = "cluster.for-the-agent.kept-by-nobody";

const TENANT: &str = "7b795fb9-09d3-42f4-a494-38864f99ba3c";
const CLIENT: &str = "9d5c7b6e-1f59-4b55-8a3f-0e4f8a2f7c11";
const PROJECT: &str = "12ac4cf1-252f-424b-b52d-5cdd9814987f";
const IBM_KEY: &str = "ibm-key-kept-by-nobody";
const BEDROCK_KEY: &str = "bedrock-api-key-kept-by-nobody";
const BEDROCK: AccessKey<'static> = AccessKey {
    id: "AKIAKEPTBYNOBODY0001",
    secret: "bedrock+secret/kept-by-nobody",
    session: None,
    region: "us-east-1",
    service: "bedrock",
};
const SAGE_MAKER: AccessKey<'static> = AccessKey {
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

fn reference(id: &str) -> Value {
    json!({"name": id, "key": "key"})
}

pub fn identities() -> anyhow::Result<Identities> {
    let mut them = Identities {
        all: Vec::new(),
        providers: Vec::new(),
        issuers: Vec::new(),
        federated: Issuer::named("federated-"),
        keys: Vec::new(),
    };
    google::add(&mut them)?;
    amazon::add(&mut them);
    azure(&mut them);
    ibm(&mut them);
    Ok(them)
}

fn azure(them: &mut Identities) {
    let tokens = Issuer::named("entra-");
    them.issuers.push(Box::new(Login { tenant: TENANT, client: CLIENT, assertion: AZURE, tokens: tokens.clone() }));
    let (host, caller) = ("my-resource.openai.azure.com", azure_open_ai::Caller::Issued(tokens.clone()));
    them.providers.push((host, Box::new(AzureOpenAi { caller, deployment: "small-1", version: "2024-10-21" })));
    them.all.push(Identity {
        id: "azure-cluster",
        host,
        model: "text-embedding-3-small",
        settings: json!({"azureOpenAI": {
            "endpoint": "https://my-resource.openai.azure.com", "deployment": "small-1",
            "entra": {"tenantID": TENANT, "clientID": CLIENT},
        }}),
        secret: Value::Null,
        length: 1536,
        fetched: Some(Fetched {
            what: "an Entra ID token for the application 9d5c7b6e-1f59-4b55-8a3f-0e4f8a2f7c11",
            issuer: "login.microsoftonline.com",
            refusal: "401: invalid_client: AADSTS700213: No matching federated identity record found; you sent",
            tokens,
        }),
    });
}

fn ibm(them: &mut Identities) {
    let iam = Issuer::named("ibm-");
    them.issuers.push(Box::new(Iam { key: IBM_KEY, tokens: iam.clone() }));
    let host = "us-south.ml.cloud.ibm.com";
    let api = Watsonx { key: IBM_KEY, project: PROJECT, version: "2024-05-31", iam: iam.clone() };
    them.providers.push((host, Box::new(api)));
    them.all.push(Identity {
        id: "watsonx-key",
        host,
        model: "ibm/slate-125m-english-rtrvr-v2",
        settings: json!({"watsonx": {
            "baseURL": "https://us-south.ml.cloud.ibm.com", "projectID": PROJECT,
            "apiKeySecretRef": reference("watsonx-key"),
        }}),
        secret: json!({"key": IBM_KEY}),
        length: 768,
        fetched: Some(Fetched {
            what: "a token of iam.cloud.ibm.com",
            issuer: "iam.cloud.ibm.com",
            refusal: "401: BXNIM0415E: Provided API key could not be found: you sent",
            tokens: iam,
        }),
    });
}
