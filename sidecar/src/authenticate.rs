//! Who is calling.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};
use vectoll_config::{KeyHash, has_valid_checksum, is_generated};

use crate::{
    clock::Now,
    policy::{Key, Policy},
    refusal::Refusal,
};

/// Where clients put their key when it is not in `Authorization`: Anthropic's and LiteLLM's way, Azure's, LiteLLM's.
const KEY_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-litellm-api-key"),
];

/// Someone with a key that is valid now.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Key>);

impl Caller {
    /// The key.
    pub fn key(&self) -> &Arc<Key> {
        &self.0
    }
}

/// Finds the caller by the full SHA-256 of the key sent.
pub fn authenticate(policy: &Policy, headers: &HeaderMap, now: Now) -> Result<Caller, Refusal> {
    let sent = credential(headers).ok_or_else(|| {
        Refusal::unauthorized("missing", "none was sent; send it as `Authorization: Bearer` or `api-key`")
    })?;
    let Some(key) = policy.keys.get(&KeyHash::of(sent)) else {
        return Err(unknown(sent));
    };
    if key.suspended {
        return Err(Refusal::unauthorized("suspended", "this key is suspended"));
    }
    if key.team.suspended {
        return Err(Refusal::unauthorized("suspended", "the team of this key is suspended"));
    }
    if key.expires_at.is_some_and(|end| end <= now.wall) {
        return Err(Refusal::unauthorized("expired", "this key has expired"));
    }
    Ok(Caller(key.clone()))
}

fn unknown(sent: &[u8]) -> Refusal {
    match std::str::from_utf8(sent) {
        Ok(text) if is_generated(text) && !has_valid_checksum(text) => {
            Refusal::unauthorized("mistyped", "it is mistyped (its checksum does not match)")
        }
        Ok(_) | Err(_) => Refusal::unauthorized("unknown", "it is unknown here or was revoked"),
    }
}

/// The key as sent. `Bearer` in any case, as RFC 9110 has authentication schemes.
fn credential(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        return after_bearer(value.as_bytes()).filter(|key| !key.is_empty());
    }
    let value = KEY_HEADERS.iter().find_map(|name| headers.get(name))?.as_bytes();
    // LiteLLM's clients write `Bearer` into its own header, too.
    Some(after_bearer(value).unwrap_or(value)).filter(|key| !key.is_empty())
}

fn after_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(key.trim_ascii())
}
