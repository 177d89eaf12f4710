//! The gateways that a call has come by, in the header `Via`: a gateway whose route leads back to itself is not to go round for ever.
//!
//! Source: RFC 9110, section 7.6.3: `received-protocol received-by [comment]`, separated by commas, where a pseudonym may stand for the host.
//! Only gateways' own entries go on: what else stands there is nobody's business at a provider.

use http::{HeaderMap, HeaderValue, header};

/// What the pseudonyms of gateways begin with.
const PREFIX: &str = "vectoll-";

/// The call has come by this very gateway before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looped;

/// What a gateway calls itself to those whom it calls. All replicas of one have the same: they share what this is made of.
pub fn pseudonym(made_of: &str) -> String {
    let hash = vectoll_config::KeyHash::of(made_of.as_bytes()).to_string();
    format!("{PREFIX}{}", hash.get(..16).unwrap_or(&hash))
}

/// Leaves the gateways in `Via` that the call has come by, and adds this one, if it is a gateway.
pub fn mark(headers: &mut HeaderMap, own: Option<&str>) -> Result<(), Looped> {
    if own.is_none() && !headers.contains_key(header::VIA) {
        return Ok(());
    }
    let mut hops: Vec<String> = Vec::new();
    for value in headers.get_all(header::VIA) {
        for entry in value.to_str().unwrap_or_default().split(',') {
            let mut words = entry.split_whitespace();
            let (Some(protocol), Some(by)) = (words.next(), words.next()) else { continue };
            if own == Some(by) {
                return Err(Looped);
            }
            if by.starts_with(PREFIX) {
                hops.push(format!("{protocol} {by}"));
            }
        }
    }
    hops.extend(own.map(|own| format!("1.1 {own}")));
    headers.remove(header::VIA);
    if let Ok(value) = HeaderValue::try_from(hops.join(", "))
        && !hops.is_empty()
    {
        headers.insert(header::VIA, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn marked(sent: &[&str], own: Option<&str>) -> Result<Option<String>, Looped> {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(header::VIA, HeaderValue::from_str(value).unwrap());
        }
        mark(&mut headers, own)?;
        assert!(headers.get_all(header::VIA).iter().count() <= 1);
        Ok(headers.get(header::VIA).map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_gateway_adds_itself_and_knows_itself_again() {
        let (one, other) = (pseudonym("one"), pseudonym("other"));
        assert_ne!(one, other);
        let first = marked(&[], Some(&one)).unwrap().unwrap();
        assert_eq!(first, format!("1.1 {one}"));
        let second = marked(&[&first], Some(&other)).unwrap().unwrap();
        assert_eq!(second, format!("1.1 {one}, 1.1 {other}"));
        for own in [&one, &other] {
            assert_eq!(marked(&[&second], Some(own)), Err(Looped));
            assert_eq!(marked(&["1.0 nginx, 2 proxy (x)", &second], Some(own)), Err(Looped));
        }
        assert!(marked(&[&second], Some(&pseudonym("third"))).unwrap().is_some());
    }

    #[test]
    fn others_are_nobodys_business_and_a_sidecar_adds_nothing() {
        let one = pseudonym("one");
        assert_eq!(marked(&[], None).unwrap(), None);
        assert_eq!(marked(&["1.1 proxy.internal, 1.1"], None).unwrap(), None);
        let sent = format!("1.1 proxy.internal, 2 {one} (a comment)");
        assert_eq!(marked(&[&sent], None).unwrap(), Some(format!("2 {one}")));
    }
}
