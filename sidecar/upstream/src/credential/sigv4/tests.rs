use std::time::Duration;

use http::{HeaderMap, Method};
use url::Url;

use super::*;
use crate::credential::{Payload, Secret};

/// 2015-08-30T12:36:00Z, the moment of the published suite.
const SIGNED_AT: Duration = Duration::from_mins(24_015_636);
const SCOPE: &str = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";

fn keys(session: Option<&str>) -> Keys {
    Keys {
        access_key_id: Secret::new("AKIDEXAMPLE"),
        secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        session_token: session.map(Secret::new),
    }
}

fn signed(
    method: &Method,
    url: &str,
    headers: &[(&'static str, &'static str)],
    body: &str,
    session: Option<&str>,
) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, HeaderValue::from_static(value));
    }
    let scope = Scope { region: "us-east-1".to_owned(), service: "service".to_owned() };
    let url = Url::parse(url).unwrap();
    let sign = |body: &Payload| {
        let mut map = map.clone();
        let mut request = Unsigned { method, url: &url, headers: &mut map, body };
        put(&mut request, &scope, &keys(session), SystemTime::UNIX_EPOCH + SIGNED_AT).unwrap();
        map
    };
    let bytes = body.as_bytes().to_vec();
    let (plain, hashed) = (sign(&Payload::plain(bytes.clone())), sign(&Payload::hashed(bytes)));
    assert_eq!(plain, hashed, "whoever goes through the body");
    hashed
}

fn authorization(headers: &HeaderMap) -> &str {
    headers.get("authorization").unwrap().to_str().unwrap()
}

/// Of each vector: its name, the request, and the published names of signed headers and signature.
#[test]
fn the_published_vectors_come_out() {
    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-length", "13"),
        ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"),
    ];
    let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    let unreserved = "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let plain = "host;x-amz-date";
    let get = Method::GET;
    for (name, method, path, headers, body, session, names, signature) in [
        (
            "get-vanilla",
            &get,
            "/",
            &[][..],
            "",
            None,
            plain,
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-vanilla-query-order-key-case",
            &get,
            "/?Param2=value2&Param1=value1",
            &[],
            "",
            None,
            plain,
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-unreserved",
            &get,
            unreserved,
            &[],
            "",
            None,
            plain,
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        (
            "post-vanilla",
            &Method::POST,
            "/",
            &[],
            "",
            None,
            plain,
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "post-x-www-form-urlencoded",
            &Method::POST,
            "/",
            &form,
            "Param1=value1",
            None,
            "content-length;content-type;host;x-amz-content-sha256;x-amz-date",
            "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
        ),
        (
            "get-vanilla-with-session-token",
            &get,
            "/",
            &[],
            "",
            Some(token),
            "host;x-amz-date;x-amz-security-token",
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ),
    ] {
        let headers = signed(method, &format!("https://example.amazonaws.com{path}"), headers, body, session);
        let expected = format!("AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders={names}, Signature={signature}");
        assert_eq!(authorization(&headers), expected, "{name}");
        assert_eq!(headers.get("x-amz-date").unwrap(), "20150830T123600Z");
        assert_eq!(headers.get("x-amz-security-token").map(|value| value.to_str().unwrap()), session);
        assert!(headers.get("authorization").unwrap().is_sensitive());
    }
}

/// Signs a canonical request by hand: what the crate that signs is checked against where no published vector fits.
fn by_hand(canonical: &str, region: &str, service: &str) -> String {
    use ring::{digest, hmac};

    let mac =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/{region}/{service}/aws4_request\n{hash}");
    let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
    for part in ["20150830", region, service, "aws4_request", &to_sign] {
        key = mac(&key, part);
    }
    hex(&key)
}

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The published vector `get-utf8` names a path that no URL can hold as it stands, so that it is the hand that is checked
/// with it: its canonical request and signature are the published ones.
#[test]
fn the_hand_agrees_with_the_published_vectors() {
    let canonical = |path: &str| {
        format!("GET\n{path}\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n{EMPTY}")
    };
    for (path, signature) in [
        ("/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("/%E1%88%B4", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ] {
        assert_eq!(by_hand(&canonical(path), "us-east-1", "service"), signature);
    }
}

/// Model IDs have a `:`. Sent as `%3A` it is signed as `%253A`, as for every service but S3.
#[test]
fn a_path_is_encoded_once_more_for_the_signature() {
    let path = "model/amazon.titan-embed-text-v2%3A0/invoke";
    let url = format!("https://bedrock-runtime.us-east-1.amazonaws.com/{path}");
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("traceparent", HeaderValue::from_static("00-1-2-01"));
    for (name, value) in [("authorization", "Bearer earlier"), ("x-amz-security-token", "old"), ("x-amz-date", "old")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let mut request = Unsigned {
        method: &Method::POST,
        url: &Url::parse(&url).unwrap(),
        headers: &mut headers,
        body: &Payload::plain(&b"{}"[..]),
    };
    let scope = Scope { region: "us-east-1".to_owned(), service: "bedrock".to_owned() };
    put(&mut request, &scope, &keys(None), SystemTime::UNIX_EPOCH + SIGNED_AT).unwrap();
    let canonical = "POST\n/model/amazon.titan-embed-text-v2%253A0/invoke\n\ncontent-type:application/json\n\
        host:bedrock-runtime.us-east-1.amazonaws.com\nx-amz-date:20150830T123600Z\n\ncontent-type;host;x-amz-date\n\
        44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let signature = by_hand(canonical, "us-east-1", "bedrock");
    // AWS's SDK for Python (botocore 1.44.8) signs the same.
    assert_eq!(signature, "4167663b591a5f89da64d44248fc627038fb949948993f9d28c8d632c09a917a");
    let expected = format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/bedrock/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, Signature={signature}"
    );
    assert_eq!(authorization(&headers), expected);
    assert_eq!(headers.get_all("authorization").iter().count(), 1);
    assert!(!headers.contains_key("x-amz-security-token"));
}

/// A port that does not go without saying belongs to the host that is signed, as it does to the one that is sent.
#[test]
fn a_port_is_signed_as_it_is_sent() {
    for (origin, host) in [("http://127.0.0.1:8080", "127.0.0.1:8080"), ("http://127.0.0.1:80", "127.0.0.1")] {
        let headers = signed(&Method::GET, &format!("{origin}/"), &[], "", None);
        let canonical = format!("GET\n/\n\nhost:{host}\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n{EMPTY}");
        assert!(authorization(&headers).ends_with(&by_hand(&canonical, "us-east-1", "service")), "{origin}");
    }
}
