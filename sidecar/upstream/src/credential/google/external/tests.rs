use std::time::Duration;

use super::*;
use crate::credential::{
    Credential,
    issuer::fake::{Fake, clients},
    tests::signed_header,
};

const AUDIENCE: &str = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster";
const ACCOUNT: &str = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/e@p.iam.gserviceaccount.com:generateAccessToken";

fn file(source: &serde_json::Value, impersonation: bool) -> serde_json::Value {
    let mut file = json!({
        "universe_domain": "googleapis.com", "type": "external_account", "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token", "credential_source": source,
    });
    if impersonation {
        file["service_account_impersonation_url"] = ACCOUNT.into();
        file["service_account_impersonation"] = json!({"token_lifetime_seconds": 2800});
    }
    file
}

/// The token that came of it, and the bodies of the questions.
async fn exchanged(token: &str, format: Option<serde_json::Value>, impersonation: bool) -> (String, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, token).unwrap();
    let fake = Fake::new([
        (200, r#"{"access_token":"federated","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3600}"#),
        (200, r#"{"accessToken":"account","expireTime":"2999-01-01T00:00:00Z"}"#),
    ])
    .await;
    let source = json!({"file": path, "format": format});
    let instead = Instead {
        token_url: Some(fake.url("/v1/token")),
        impersonation_url: Some(fake.url("/v1/x:generateAccessToken")),
    };
    let external = External::read(file(&source, impersonation).to_string().as_bytes(), dir.path(), instead).unwrap();
    let credential = Credential::Token(external.clone().token(clients()));
    let header = signed_header(&credential, header::AUTHORIZATION).await;
    let debug = format!("{external:?} {credential:?}");
    assert!(!["eyJh.b.c", "federated", "account\""].iter().any(|secret| debug.contains(secret)), "{debug}");
    let seen = fake.seen();
    assert_eq!(seen[0].line, "POST /v1/token HTTP/1.1");
    assert_eq!(seen[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    if impersonation {
        assert_eq!(seen[1].line, "POST /v1/x:generateAccessToken HTTP/1.1");
        assert_eq!(seen[1].header("authorization"), Some("Bearer federated"));
        assert_eq!(seen[1].header("content-type"), Some("application/json"));
    }
    (header, seen.into_iter().map(|seen| seen.body).collect())
}

const EXCHANGED: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
    &audience=%2F%2Fiam.googleapis.com%2Fprojects%2F1%2Flocations%2Fglobal%2FworkloadIdentityPools%2Fpool%2Fproviders%2Fcluster\
    &scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform\
    &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
    &subject_token=eyJh.b.c&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt";

#[tokio::test]
async fn the_clusters_token_is_exchanged() {
    let (header, bodies) = exchanged("eyJh.b.c\n", None, false).await;
    assert_eq!(header, "Bearer federated");
    assert_eq!(bodies, [EXCHANGED]);
}

#[tokio::test]
async fn a_token_in_json_is_exchanged_and_again_for_a_service_accounts() {
    let format = json!({"type": "json", "subject_token_field_name": "id_token"});
    let (header, bodies) = exchanged(r#"{"id_token": "eyJh.b.c"}"#, Some(format), true).await;
    assert_eq!(header, "Bearer account");
    let second = r#"{"lifetime":"2800s","scope":["https://www.googleapis.com/auth/cloud-platform"]}"#;
    assert_eq!(bodies, [EXCHANGED, second]);
}

#[tokio::test]
async fn a_file_without_the_field_is_an_error_that_does_not_quote_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let subject = Subject { file: path.clone(), field: Some("id_token".to_owned()) };
    for content in ["s3cret", r#"{"other": "s3cret"}"#, r#"{"id_token": ""}"#] {
        std::fs::write(&path, content).unwrap();
        let error = subject.read().await.unwrap_err().to_string();
        assert!(error.ends_with("it is not JSON with the token in id_token") && !error.contains("s3cret"), "{error}");
    }
}

#[test]
fn a_service_accounts_token_says_when_it_ends() {
    let asked: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let read = |body: &str| account_token(body.as_bytes(), asked).map(|issued| issued.life);
    let answer = |ends: &str| format!(r#"{{"accessToken": "t", "expireTime": "{ends}"}}"#);
    assert_eq!(read(&answer("2026-01-01T00:46:40Z")), Ok(Duration::from_secs(2800)));
    assert!(read(&answer("soon")).is_err());
    assert!(read("{}").is_err());
}

#[test]
fn what_the_file_names_is_not_trusted() {
    let in_folder = json!({"file": "/tokens/google"});
    let read =
        |file: serde_json::Value| External::read(file.to_string().as_bytes(), Path::new("/tokens"), Instead::default());
    let read_whole = read(file(&in_folder, true)).unwrap();
    assert_eq!(read_whole.token_url.as_str(), EXCHANGE);
    assert_eq!(read_whole.impersonation.unwrap().url.as_str(), ACCOUNT);
    for source in [
        json!({"file": "/config/openai-key"}),
        json!({"file": "/tokens/../config/openai-key"}),
        json!({"file": "tokens/google"}),
        json!({"url": "http://169.254.169.254/"}),
        json!({"executable": {"command": "/bin/sh"}}),
        json!({"file": "/tokens/google", "format": {"type": "json"}}),
        json!({"file": "/tokens/google", "format": {"type": "xml"}}),
    ] {
        assert!(read(file(&source, false)).is_err(), "{source}");
    }
    for (field, value) in [
        ("token_url", "https://sts.example.org/v1/token"),
        ("service_account_impersonation_url", "http://iamcredentials.googleapis.com/x"),
        ("workforce_pool_user_project", "p"),
    ] {
        let mut file = file(&in_folder, true);
        file[field] = value.into();
        assert!(read(file).is_err(), "{field}");
    }
    assert!(read(json!({})).is_err());
}
