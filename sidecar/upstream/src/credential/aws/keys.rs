//! Keys in one file: as JSON, or as `~/.aws/credentials` has them.
//!
//! Source: AWS CLI User Guide, "Configuration and credential file settings" (names and sections of the shared file), and
//! AWS SDKs and Tools Reference Guide, "Process credential provider" (names of the JSON).

use serde::Deserialize;

use crate::credential::secret::Secret;

/// What signs requests. An access key ID is no secret to AWS; here it is, for it is nobody's business but the owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The access key ID.
    pub access_key_id: Secret,
    /// The secret access key.
    pub secret_access_key: Secret,
    /// The session token, with keys that expire.
    pub session_token: Option<Secret>,
}

impl Keys {
    /// All that no message may repeat.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let Self { access_key_id, secret_access_key, session_token } = self;
        [access_key_id, secret_access_key].into_iter().chain(session_token).map(Secret::reveal)
    }
}

/// Names as JSON has them elsewhere, and as commands of AWS print them. Other fields say nothing to us.
#[derive(Deserialize)]
struct Json {
    #[serde(alias = "AccessKeyId")]
    #[serde(rename = "accessKeyId")]
    id: String,
    #[serde(alias = "SecretAccessKey")]
    #[serde(rename = "secretAccessKey")]
    secret: String,
    #[serde(alias = "SessionToken")]
    #[serde(rename = "sessionToken")]
    session: Option<String>,
}

/// Reads keys. The error says what is wrong, and nothing of what the file holds.
///
/// - JSON: `{"accessKeyId": …, "secretAccessKey": …, "sessionToken": …}`, the last one only with keys that have one.
/// - Lines: `aws_access_key_id = …`, `aws_secret_access_key = …`, `aws_session_token = …`, under `[default]` or no heading.
pub fn read(content: &[u8]) -> Result<Keys, &'static str> {
    let text = std::str::from_utf8(content).map_err(|_| "the credential is not UTF-8 text")?;
    let text = text.trim_start_matches('\u{feff}').trim();
    let (id, secret, session) = if text.starts_with('{') {
        // What serde_json says of a wrong field can quote the field.
        let Json { id, secret, session } = serde_json::from_str(text)
            .map_err(|_| "the credential is not JSON with accessKeyId and secretAccessKey")?;
        (Some(id), Some(secret), session)
    } else {
        lines(text)
    };
    let present = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let secret_of = |text: String| -> Result<Secret, &'static str> {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then(|| Secret::new(&text)).ok_or("a key has characters that no key has")
    };
    Ok(Keys {
        access_key_id: secret_of(present(id).ok_or("the credential has no access key ID")?)?,
        secret_access_key: secret_of(present(secret).ok_or("the credential has no secret access key")?)?,
        session_token: present(session).map(secret_of).transpose()?,
    })
}

/// Access key ID, secret access key and session token, as far as a file has them.
type KeyFields = (Option<String>, Option<String>, Option<String>);

fn lines(text: &str) -> KeyFields {
    let (mut id, mut secret, mut session) = (None, None, None);
    let mut ours = true;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(heading) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            ours = heading.trim() == "default";
        } else if let Some((name, value)) = line.split_once('=').filter(|_| ours) {
            let value = Some(value.to_owned());
            match name.trim().to_ascii_lowercase().as_str() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => session = value,
                _ => {}
            }
        }
    }
    (id, secret, session)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(session: Option<&str>) -> Keys {
        Keys {
            access_key_id: Secret::new("AKIDEXAMPLE"),
            secret_access_key: Secret::new("a/b+c="),
            session_token: session.map(Secret::new),
        }
    }

    #[test]
    fn both_forms_are_read() {
        for (text, session) in [
            (r#"{"accessKeyId": "AKIDEXAMPLE", "secretAccessKey": "a/b+c="}"#, None),
            (r#"{"accessKeyId": "AKIDEXAMPLE", "secretAccessKey": "a/b+c=", "sessionToken": ""}"#, None),
            (
                r#"{"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "a/b+c=", "SessionToken": "t=="}"#,
                Some("t=="),
            ),
            ("\u{feff}aws_access_key_id=AKIDEXAMPLE\r\naws_secret_access_key=a/b+c=\r\n", None),
            (
                "# ours\n[other]\naws_access_key_id = X\n[default]\naws_access_key_id = AKIDEXAMPLE\n\
                 aws_secret_access_key = a/b+c=\naws_session_token = t==\nregion = eu-west-1\n[third]\naws_session_token = no\n",
                Some("t=="),
            ),
        ] {
            assert_eq!(read(text.as_bytes()), Ok(keys(session)), "{text}");
        }
    }

    #[test]
    fn what_holds_no_keys_is_refused_without_a_word_of_it() {
        for (text, message) in [
            ("", "the credential has no access key ID"),
            ("aws_access_key_id = X", "the credential has no secret access key"),
            ("[other]\naws_access_key_id = X\naws_secret_access_key = Y", "the credential has no access key ID"),
            (r#"{"accessKeyId": "X"}"#, "the credential is not JSON with accessKeyId and secretAccessKey"),
            (
                r#"{"accessKeyId": "X", "secretAccessKey": {"s3cret": 1}}"#,
                "the credential is not JSON with accessKeyId and secretAccessKey",
            ),
            ("aws_access_key_id = X\naws_secret_access_key = a b", "a key has characters that no key has"),
        ] {
            assert_eq!(read(text.as_bytes()), Err(message), "{text}");
        }
    }
}
