use http::header;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::*;
use crate::credential::{
    Credential,
    issuer::fake::{Fake, clients},
    tests::signed_header,
};

/// A key made for this test. Its heading in the file is not one that searches for lost keys look for.
fn pem() -> String {
    include_str!("testing_key.pem").replace("TESTING KEY", "PRIVATE KEY")
}

fn file(token_uri: &str) -> Vec<u8> {
    json!({
        "type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": pem(),
        "client_email": "embed@p.iam.gserviceaccount.com", "client_id": "1",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": token_uri,
    })
    .to_string()
    .into_bytes()
}

/// The parts of a statement after its signature was checked.
fn checked(account: &ServiceAccount, statement: &str) -> (serde_json::Value, serde_json::Value) {
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
    let (signed, signature) = statement.rsplit_once('.').unwrap();
    let public: Vec<u8> = ring::signature::KeyPair::public_key(account.key.as_ref()).as_ref().to_vec();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public).verify(signed.as_bytes(), &decode(signature)).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    (serde_json::from_slice(&decode(header)).unwrap(), serde_json::from_slice(&decode(claims)).unwrap())
}

#[test]
fn the_statement_says_who_asks_for_what() {
    let account = ServiceAccount::read(&file(AUDIENCE), None).unwrap();
    let statement = account.statement(Timestamp::from_second(1_700_000_000).unwrap()).unwrap();
    let (header, claims) = checked(&account, &statement);
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    assert_eq!(
        claims,
        json!({
            "iss": "embed@p.iam.gserviceaccount.com", "scope": "https://www.googleapis.com/auth/cloud-platform",
            "aud": "https://oauth2.googleapis.com/token", "iat": 1_700_000_000, "exp": 1_700_003_600,
        })
    );
    // PKCS #1 v1.5 signs the same each time.
    assert_eq!(statement, account.statement(Timestamp::from_second(1_700_000_000).unwrap()).unwrap());
}

#[tokio::test]
async fn the_statement_is_exchanged_for_a_token() {
    let answer = r#"{"access_token":"ya29.t0ken","expires_in":3599,"token_type":"Bearer"}"#;
    let fake = Fake::new([(200, answer)]).await;
    let account = ServiceAccount::read(&file(AUDIENCE), Some(fake.url("/token"))).unwrap();
    let credential = Credential::Token(account.clone().token(clients()));
    assert_eq!(signed_header(&credential, header::AUTHORIZATION).await, "Bearer ya29.t0ken");
    let seen = fake.seen();
    assert_eq!(seen[0].line, "POST /token HTTP/1.1");
    assert_eq!(seen[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    let start = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=";
    let (_, claims) = checked(&account, seen[0].body.strip_prefix(start).unwrap());
    let issued = claims.get("iat").and_then(serde_json::Value::as_i64).unwrap();
    assert!((0..10).contains(&(Timestamp::now().as_second() - issued)));
    let debug = format!("{account:?} {credential:?}");
    assert_eq!(
        debug.split(" Token").next(),
        Some(r#"ServiceAccount { email: "embed@p.iam.gserviceaccount.com", .. }"#)
    );
    assert!(!debug.contains("ya29"));
}

#[test]
fn only_googles_token_servers_get_a_statement() {
    for url in
        ["https://example.org/token", "http://oauth2.googleapis.com/token", "https://x.googleapis.com.example.org/"]
    {
        assert!(ServiceAccount::read(&file(url), None).is_err(), "{url}");
    }
}

#[test]
fn what_is_no_key_is_refused_without_a_word_of_it() {
    let with = |key: &str| json!({"client_email": "a", "private_key": key}).to_string();
    let not_pem = with("s3cret");
    let no_key = with("-----BEGIN PRIVATE KEY-----\nczNjcmV0\n-----END PRIVATE KEY-----\n");
    for content in ["", "{}", r#"{"client_email": "a", "private_key": {"s3cret": 1}}"#, &not_pem, &no_key] {
        assert!(!ServiceAccount::read(content.as_bytes(), None).unwrap_err().contains("s3cret"));
    }
    let without_url = json!({"client_email": "a", "private_key": pem()}).to_string();
    assert_eq!(ServiceAccount::read(without_url.as_bytes(), None).unwrap().token_url.as_str(), AUDIENCE);
}
