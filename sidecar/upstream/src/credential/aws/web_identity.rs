//! Keys for a role, in exchange for a token that the cluster issued (IAM roles for service accounts).
//!
//! Source: AWS Security Token Service API Reference, `AssumeRoleWithWebIdentity`, and the service's published model (bounds
//! of the session's name, endpoints); checked against a recorded exchange in the tests of AWS's SDK for Rust.

use std::path::PathBuf;

use jiff::Timestamp;
use url::Url;

use super::{Keys, Source, region, xml};
use crate::{
    credential::{
        FetchError, Refreshing, Secret,
        issuer::{TokenRequest, token_in},
        refreshing::Issued,
    },
    provider::http::Clients,
};

/// A role, and the token by which it is assumed.
#[derive(Clone, Debug)]
pub struct WebIdentity {
    role_arn: String,
    session_name: String,
    token_file: PathBuf,
    sts: Url,
}

impl WebIdentity {
    /// Checks the settings. `sts` is the service's URL: see [`regional`]. The session's name shows in `CloudTrail`: 2 to 64
    /// letters, digits and `_=,.@-`. The file is read anew each time.
    pub fn new(
        role_arn: String,
        session_name: String,
        token_file: PathBuf,
        sts: Url,
    ) -> Result<Self, (&'static str, &'static str)> {
        let arn = role_arn.starts_with("arn:") && role_arn.contains(":role/");
        if !arn || !role_arn.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(("roleARN", "is not the ARN of a role"));
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_=,.@-".contains(&byte);
        if !(2..=64).contains(&session_name.len()) || !session_name.bytes().all(fits) {
            return Err(("sessionName", "is not 2 to 64 letters, digits and _=,.@-"));
        }
        Ok(Self { role_arn, session_name, token_file, sts })
    }

    /// Keys that are kept fresh.
    pub fn keys(self, clients: Clients) -> Source {
        let what = format!("keys for the role {}", self.role_arn);
        Source::Fresh(Refreshing::new(what, move || {
            let (this, clients) = (self.clone(), clients.clone());
            async move {
                let token = token_in(&this.token_file).await?;
                let now = Timestamp::now();
                let answer = this.question(&token).ask(&clients).await?;
                keys(&answer, now)
            }
        }))
    }

    fn question(&self, token: &Secret) -> TokenRequest {
        let fields = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.role_arn),
            ("RoleSessionName", &self.session_name),
            ("WebIdentityToken", token.reveal()),
        ];
        TokenRequest::form(&self.sts, &fields).hiding(token)
    }
}

/// The service's URL in a region.
pub fn regional(region: &str) -> Result<Url, &'static str> {
    let url = format!("https://sts.{region}.{}/", region::domain(region)?);
    Url::parse(&url).map_err(|_| "is not a region of AWS")
}

/// Reads the keys in an answer to a question that was asked at this time.
fn keys(answer: &[u8], asked: Timestamp) -> Result<Issued<Keys>, FetchError> {
    let unusable = || FetchError::Answer("has no keys");
    let answer = std::str::from_utf8(answer).map_err(|_| unusable())?;
    let names = ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"];
    let [Some(id), Some(secret), Some(session), Some(ends)] = xml::texts(answer, names).ok_or_else(unusable)? else {
        return Err(unusable());
    };
    let value = Keys {
        access_key_id: Secret::new(&id),
        secret_access_key: Secret::new(&secret),
        session_token: Some(Secret::new(&session)),
    };
    Issued::until(value, &ends, asked)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::credential::{
        CredentialError,
        issuer::fake::{Fake, clients},
    };

    fn answer(ends: &str) -> String {
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n\
             <AssumeRoleWithWebIdentityResult><Audience>sts.amazonaws.com</Audience><AssumedRoleUser>\
             <AssumedRoleId>AROATEST:vectoll</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/r/vectoll</Arn>\
             </AssumedRoleUser>\n<Credentials><AccessKeyId>ASIATEST</AccessKeyId><SecretAccessKey>s3cret/+</SecretAccessKey>\
             <SessionToken>session==</SessionToken><Expiration>{ends}</Expiration></Credentials>\n\
             </AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>\
             </AssumeRoleWithWebIdentityResponse>"
        )
    }

    fn identity(sts: Url, token_file: PathBuf) -> WebIdentity {
        WebIdentity::new("arn:aws:iam::123456789012:role/embed".into(), "vectoll".into(), token_file, sts).unwrap()
    }

    #[tokio::test]
    async fn the_clusters_token_is_exchanged_for_keys() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "eyJh.b.c\n").unwrap();
        let fake = Fake::new([(200, answer("2999-01-01T00:00:00Z"))]).await;
        let source = identity(fake.url("/"), file).keys(clients());
        let keys = source.get().await.unwrap();
        assert_eq!(keys.secrets().collect::<Vec<_>>(), ["ASIATEST", "s3cret/+", "session=="]);
        let seen = fake.seen();
        assert_eq!(seen[0].line, "POST / HTTP/1.1");
        assert_eq!(seen[0].header("content-type"), Some("application/x-www-form-urlencoded"));
        assert_eq!(
            seen[0].body,
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15\
             &RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fembed&RoleSessionName=vectoll&WebIdentityToken=eyJh.b.c"
        );
        assert!(!format!("{source:?} {keys:?}").contains("s3cret"));
    }

    #[tokio::test]
    async fn a_refusal_says_why_without_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "t0ken").unwrap();
        let refusal = "<ErrorResponse><Error><Code>ExpiredTokenException</Code><Message>t0ken is old</Message></Error></ErrorResponse>";
        let fake = Fake::new([(400, refusal)]).await;
        let error = identity(fake.url("/"), file).keys(clients()).get().await.unwrap_err();
        let CredentialError::Fetch { what, source } = error else { panic!("{error}") };
        assert_eq!(&*what, "keys for the role arn:aws:iam::123456789012:role/embed");
        assert_eq!(source.to_string(), "127.0.0.1 answered 400: ExpiredTokenException: [redacted] is old");
    }

    #[test]
    fn the_end_of_keys_is_counted_from_the_question() {
        let asked: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let read = |ends| keys(answer(ends).as_bytes(), asked).map(|issued| issued.life);
        assert_eq!(read("2026-01-01T01:00:00Z"), Ok(Duration::from_hours(1)));
        assert_eq!(read("2025-12-31T23:00:00Z"), Ok(Duration::ZERO));
        assert!(read("soon").is_err());
        assert_eq!(keys(b"<X/>", asked).unwrap_err(), FetchError::Answer("has no keys"));
        assert_eq!(keys(b"\xff", asked).unwrap_err(), FetchError::Answer("has no keys"));
    }

    #[test]
    fn settings_are_checked() {
        let new = |arn: &str, session: &str| {
            let sts = regional("eu-west-1").unwrap();
            WebIdentity::new(arn.into(), session.into(), "/token".into(), sts).map_err(|(field, _)| field).err()
        };
        assert_eq!(new("arn:aws-cn:iam::1:role/path/r", "a@b"), None);
        assert_eq!(new("embed", "vectoll"), Some("roleARN"));
        assert_eq!(new("arn:aws:iam::1:user/u", "vectoll"), Some("roleARN"));
        assert_eq!(new("arn:aws:iam::1:role/r", "v"), Some("sessionName"));
        assert_eq!(new("arn:aws:iam::1:role/r", "a b"), Some("sessionName"));
        assert_eq!(regional("eu-west-1").unwrap().as_str(), "https://sts.eu-west-1.amazonaws.com/");
        assert_eq!(regional("cn-north-1").unwrap().as_str(), "https://sts.cn-north-1.amazonaws.com.cn/");
        assert!(regional("a-b/c").is_err());
    }
}
