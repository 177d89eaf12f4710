//! AWS Signature Version 4, recomputed from a request and the secret.
//!
//! Source: AWS Identity and Access Management User Guide, "Create a signed AWS API request". Written from there, by hand: the
//! sidecar signs with AWS's own library, and what both have in common is the guide only.

use std::{
    fmt::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::{
    Request,
    fields::{Read, wrong},
};

/// A key, and where it is good.
#[derive(Debug, Clone, Copy)]
pub struct AccessKey<'k> {
    /// The access key ID.
    pub id: &'k str,
    /// The secret access key.
    pub secret: &'k str,
    /// The session token of a temporary key.
    pub session: Option<&'k str>,
    /// The region.
    pub region: &'k str,
    /// The service's name in signatures.
    pub service: &'k str,
}

/// The headers that a signature is in.
pub(super) const HEADERS: &[&str] = &["authorization", "x-amz-date", "x-amz-security-token"];

/// Requests that are older are replays.
const MOST_SECONDS: u64 = 300;

impl AccessKey<'_> {
    /// Checks who signed, when, and what.
    pub(super) fn check(&self, request: &Request<'_>) -> Read<()> {
        let Self { id, secret, session, region, service } = *self;
        if one(request, "x-amz-security-token") != session.unwrap_or_default() {
            return wrong("x-amz-security-token is not the session's");
        }
        let date = one(request, "x-amz-date");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match seconds(&date) {
            Some(then) if then.abs_diff(now) <= MOST_SECONDS => {}
            Some(_) | None => return wrong(format!("x-amz-date is {date}")),
        }
        let day = date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let authorization = one(request, "authorization");
        let begin = format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders=");
        let Some((names, signature)) =
            authorization.strip_prefix(&begin).and_then(|rest| rest.split_once(", Signature="))
        else {
            return wrong(format!("authorization does not begin with {begin}"));
        };
        let signed: Vec<&str> = names.split(';').collect();
        let mut must = vec!["content-type", "host", "x-amz-date"];
        must.extend(session.map(|_| "x-amz-security-token"));
        if !signed.is_sorted() || must.iter().any(|name| !signed.contains(name)) {
            return wrong(format!("signed are {names}"));
        }
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", digest(canonical(request, names).as_bytes()));
        let first = format!("AWS4{secret}");
        let key = [day, region, service, "aws4_request", to_sign.as_str()]
            .into_iter()
            .fold(first.into_bytes(), |key, message| mac(&key, message));
        if hex::encode(key) == signature { Ok(()) } else { wrong("the signature is not that of the request") }
    }
}

/// The request in the form that is signed.
fn canonical(request: &Request<'_>, names: &str) -> String {
    let Request { method, path, query, headers: _, body } = *request;
    let mut parameters: Vec<&str> = query.split('&').filter(|one| !one.is_empty()).collect();
    parameters.sort_unstable();
    let headers = names.split(';').fold(String::new(), |mut lines, name| {
        let words: Vec<String> = one(request, name).split_whitespace().map(str::to_owned).collect();
        let _ = writeln!(lines, "{name}:{}", words.join(" "));
        lines
    });
    format!("{method}\n{}\n{}\n{headers}\n{names}\n{}", encoded(path), parameters.join("&"), digest(body))
}

/// The path as it was sent, encoded once more, segment by segment.
fn encoded(path: &str) -> String {
    path.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            _ => drop(write!(out, "%{byte:02X}")),
        }
        out
    })
}

/// A header that must stand once; empty: it does not.
pub(super) fn one(request: &Request<'_>, name: &str) -> String {
    let mut values = request.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().unwrap_or_default().to_owned(),
        (Some(_), Some(_)) | (None, _) => String::new(),
    }
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn mac(key: &[u8], message: &str) -> Vec<u8> {
    // A key may have any length.
    let mac = Hmac::<Sha256>::new_from_slice(key).map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec());
    mac.unwrap_or_default()
}

/// The seconds since 1970 of `20150830T123600Z`.
fn seconds(date: &str) -> Option<u64> {
    let digits = |range: std::ops::Range<usize>| date.get(range)?.parse::<u64>().ok();
    let is_one = date.len() == 16 && date.get(8..9) == Some("T") && date.ends_with('Z');
    let (year, month, day) = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
    let (hour, minute, second) = (digits(9..11)?, digits(11..13)?, digits(13..15)?);
    // Years begin in March here, so that a leap day is the last: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day.checked_sub(1)?;
    let days = days.checked_sub(719_468)?;
    is_one.then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    #[test]
    fn the_guides_own_example_is_found_right() {
        assert_eq!(seconds("20150830T123600Z"), Some(1_440_938_160));
        assert_eq!(encoded("/model/a%3A0/invoke"), "/model/a%253A0/invoke");
        // `get-vanilla` of AWS's test suite.
        let mut headers = HeaderMap::new();
        headers.insert("host", "example.amazonaws.com".parse().unwrap());
        headers.insert("x-amz-date", "20150830T123600Z".parse().unwrap());
        let request = Request { method: &Method::GET, path: "/", query: "", headers: &headers, body: b"" };
        assert_eq!(
            digest(canonical(&request, "host;x-amz-date").as_bytes()),
            "bb579772317eb040ac9ed261061d46c1f17a8133879d6129b6e1c25292927e63"
        );
    }
}
