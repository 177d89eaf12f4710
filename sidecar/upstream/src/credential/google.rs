//! Google Cloud: tokens, and by what they are had.

pub mod external;
pub mod metadata;
pub mod service_account;

use serde::Deserialize;

/// What tokens are for: all that the account may do.
pub const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Whom URLs in a credential's file have to belong to.
const DOMAIN: &str = "googleapis.com";

/// What kind of credential a file in Google's JSON holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A service account's key: [`service_account`].
    ServiceAccount,
    /// Another issuer's token to be exchanged: [`external`].
    External,
}

/// Tells which kind of credential a file holds; none: neither of those that are known here.
pub fn kind(content: &[u8]) -> Option<Kind> {
    #[derive(Deserialize)]
    struct File {
        #[serde(rename = "type")]
        kind: String,
    }
    match serde_json::from_slice::<File>(content).ok()?.kind.as_str() {
        "service_account" => Some(Kind::ServiceAccount),
        "external_account" => Some(Kind::External),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_it_is() {
        for (content, expected) in [
            (r#"{"type": "service_account", "x": 1}"#, Some(Kind::ServiceAccount)),
            (r#"{"type": "external_account"}"#, Some(Kind::External)),
            (r#"{"type": "authorized_user"}"#, None),
            ("{}", None),
            ("", None),
        ] {
            assert_eq!(kind(content.as_bytes()), expected);
        }
    }
}
