//! What a token server answers.
//!
//! Source: RFC 6749, sections 5.1 and 5.2.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{FetchError, Secret, refreshing::Issued};

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    /// Seconds. A number; some servers make it a string.
    expires_in: Value,
}

/// Reads the access token in an answer.
pub(super) fn token(answer: &[u8]) -> Result<Issued<Secret>, FetchError> {
    // What serde_json says of a wrong field can quote the field.
    let TokenAnswer { access_token, expires_in } = serde_json::from_slice(answer)
        .map_err(|_| FetchError::Answer("has no access token that says when it expires"))?;
    let seconds = expires_in.as_u64().or_else(|| expires_in.as_str()?.parse().ok());
    let seconds = seconds.ok_or(FetchError::Answer("does not say when its token expires"))?;
    let access_token = access_token.trim();
    if access_token.is_empty() {
        return Err(FetchError::Answer("has an empty token"));
    }
    Ok(Issued { value: Secret::new(access_token), life: Duration::from_secs(seconds) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_and_its_life_are_read() {
        for text in [
            r#"{"access_token": "t", "expires_in": 3599, "token_type": "Bearer"}"#,
            r#"{"access_token": " t\n", "expires_in": "3599", "ext_expires_in": 1}"#,
        ] {
            let Issued { value, life } = token(text.as_bytes()).unwrap();
            assert_eq!((value.reveal(), life), ("t", Duration::from_secs(3599)));
        }
        for text in [
            "",
            "{}",
            r#"{"access_token": "t"}"#,
            r#"{"access_token": "", "expires_in": 1}"#,
            r#"{"access_token": {"s3cret": 1}, "expires_in": 1}"#,
            r#"{"access_token": "s3cret", "expires_in": -1}"#,
            r#"{"access_token": "s3cret", "expires_in": "soon"}"#,
        ] {
            assert!(!format!("{:?}", token(text.as_bytes()).unwrap_err()).contains("s3cret"));
        }
    }
}
