use std::sync::LazyLock;

use http::{HeaderMap, Method};
use url::Url;

use super::*;

fn unsigned<'a>(url: &'a Url, headers: &'a mut HeaderMap) -> Unsigned<'a> {
    static BODY: LazyLock<Payload> = LazyLock::new(|| Payload::plain(&b"{}"[..]));
    Unsigned { method: &Method::POST, url, headers, body: &BODY }
}

/// What a credential puts into a header.
pub(super) async fn signed_header(credential: &Credential, name: HeaderName) -> String {
    let url = Url::parse("https://a/b").unwrap();
    let mut headers = HeaderMap::new();
    credential.sign(unsigned(&url, &mut headers)).await.unwrap();
    assert!(headers[&name].is_sensitive());
    headers[&name].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_stands_in_its_header() {
    let url = Url::parse("https://a/b").unwrap();
    for (form, name, value) in [
        (Form::Bearer, "authorization", "Bearer s3cret"),
        (Form::Alone(HeaderName::from_static("api-key")), "api-key", "s3cret"),
        (Form::Alone(HeaderName::from_static("x-goog-api-key")), "x-goog-api-key", "s3cret"),
    ] {
        let credential = Credential::header(&form, b" s3cret\n").unwrap();
        let mut headers = HeaderMap::new();
        credential.sign(unsigned(&url, &mut headers)).await.unwrap();
        assert_eq!(headers.len(), 1);
        assert_eq!(headers.get(name).unwrap(), value);
        assert!(!format!("{credential:?} {headers:?}").contains("s3cret"));
        assert_eq!(credential.redact("not s3cret!"), "not [redacted]!");
    }
    let mut headers = HeaderMap::new();
    Credential::None.sign(unsigned(&url, &mut headers)).await.unwrap();
    assert!(headers.is_empty());
    assert_eq!(Credential::None.redact("sk-1234 x"), "[redacted] x");
}

#[test]
fn a_key_that_no_header_holds_is_refused() {
    for content in [&b""[..], b" \n", b"a\nb", b"\xff"] {
        assert!(Credential::header(&Form::Bearer, content).is_err());
    }
}

/// The whole way: keys that expire, a signature with them, and a message that repeats both.
#[tokio::test]
async fn keys_that_expire_sign_and_are_redacted() {
    let keys = aws::Keys {
        access_key_id: Secret::new("KEYID"),
        secret_access_key: Secret::new("s3cret"),
        session_token: Some(Secret::new("sess1on/+")),
    };
    let source = Refreshing::new("keys", move || {
        let value = keys.clone();
        async move { Ok(refreshing::Issued { value, life: std::time::Duration::from_mins(10) }) }
    });
    let scope = Scope { region: "eu-west-1".to_owned(), service: "bedrock".to_owned() };
    let credential = Credential::SigV4 { scope, keys: aws::Source::Fresh(source) };
    let url = Url::parse("https://bedrock-runtime.eu-west-1.amazonaws.com/model/a%3A0/invoke").unwrap();
    let mut headers = HeaderMap::new();
    credential.sign(unsigned(&url, &mut headers)).await.unwrap();
    let authorization = headers["authorization"].to_str().unwrap();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=KEYID/"));
    assert!(
        authorization.contains("/eu-west-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date;x-amz-security-token, ")
    );
    assert_eq!(headers["x-amz-security-token"], "sess1on/+");
    let debug = format!("{credential:?} {headers:?}");
    assert!(!["KEYID", "s3cret", "sess1on"].iter().any(|secret| debug.contains(secret)), "{debug}");
    let message = "The canonical string was 'x-amz-security-token:sess1on/+' by KEYID, s3cret";
    assert_eq!(
        credential.redact(message),
        "The canonical string was 'x-amz-security-token:[redacted]' by [redacted], [redacted]"
    );
}

#[tokio::test]
async fn what_cannot_be_had_is_an_error_that_names_it() {
    let source = Refreshing::new("a token of nobody's", || async { Err(FetchError::TooSlow) });
    let credential = Credential::Token(Token { source, form: Form::Bearer });
    let url = Url::parse("https://a/b").unwrap();
    let mut headers = HeaderMap::new();
    let error = credential.sign(unsigned(&url, &mut headers)).await.unwrap_err();
    assert_eq!(chain(&error), "failed to obtain a token of nobody's: it took too long");
    assert!(headers.is_empty());
    let source = Refreshing::new("a token", || async {
        Ok(refreshing::Issued { value: Secret::new("s3cret\n2"), life: std::time::Duration::from_mins(10) })
    });
    let credential = Credential::Token(Token { source, form: Form::Bearer });
    let error = credential.sign(unsigned(&url, &mut headers)).await.unwrap_err();
    assert!(matches!(&error, CredentialError::Sign(_)) && !chain(&error).contains("s3cret"));
}
