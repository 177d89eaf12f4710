//! Who may call what, on either side: the manifests that a user writes, and the issuer and the provider that take it.

mod amazon;
mod google;
mod identity;

use serde_json::{Value, json};
use vectoll_tests::{
    clouds::{entra::Login, ibm::Iam, openai::Exchange},
    native::{
        Issuer,
        azure_open_ai::{self, AzureOpenAi},
        open_ai::OpenAi,
        watsonx::Watsonx,
    },
};

pub use self::identity::{AGENT, AGENT_TOKEN, AWS, AZURE, Fetched, GOOGLE, Identities, Identity, OPENAI, POD, TOKENS};
use self::identity::{CLIENT, IBM_KEY, PROJECT, TENANT, reference};

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
    open_ai(&mut them);
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

fn open_ai(them: &mut Identities) {
    let tokens = Issuer::named("openai-");
    let (provider, account) = ("idp_1", "user-1");
    them.issuers.push(Box::new(Exchange { provider, account, subject: OPENAI, tokens: tokens.clone() }));
    let host = "api.openai.com";
    them.providers.push((host, Box::new(OpenAi { tokens: tokens.clone() })));
    them.all.push(Identity {
        id: "openai-cluster",
        host,
        model: "text-embedding-3-small",
        settings: json!({"openAI": {"workloadIdentity": {"identityProviderID": provider, "serviceAccountID": account}}}),
        secret: Value::Null,
        length: 1536,
        fetched: Some(Fetched {
            what: "a token of OpenAI's for the service account user-1",
            issuer: "auth.openai.com",
            refusal: "401: invalid_grant: No mapping matches; you sent",
            tokens,
        }),
    });
}
