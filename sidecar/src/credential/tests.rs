use super::*;

fn unsigned<'a>(url: &'a Url, headers: &'a mut HeaderMap) -> Unsigned<'a> {
    Unsigned { method: &Method::POST, url, headers, body: b"{}" }
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
