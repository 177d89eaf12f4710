//! AWS Signature Version 4, in the headers of a request.
//!
//! Source: AWS Identity and Access Management User Guide, "Create a signed AWS API request"; checked against the test
//! suite that AWS publishes with its C library for signing (aws-c-auth, `tests/aws-signing-test-suite/v4`).

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use http::{HeaderName, HeaderValue, header};

use super::{aws::keys::Keys, error::CredentialError, unsigned::Unsigned};

/// The headers that make up a signature.
const OWN: [&str; 3] = ["authorization", "x-amz-date", "x-amz-security-token"];

/// Whom a signature is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The region, `us-east-1`.
    pub region: String,
    /// The service's name in signatures: `bedrock`, also for its runtime; `sagemaker`, also for its runtime.
    pub service: String,
}

/// Puts the signature on a request: the headers `x-amz-date`, `authorization` and, with a session, `x-amz-security-token`.
/// The path is signed as the services other than S3 want it: percent-encoded once more than it is sent.
pub fn put(request: &mut Unsigned<'_>, scope: &Scope, keys: &Keys, now: SystemTime) -> Result<(), CredentialError> {
    let token = keys.session_token.as_ref().map(|token| token.reveal().to_owned());
    let (id, secret) = (keys.access_key_id.reveal(), keys.secret_access_key.reveal());
    let identity = Credentials::new(id, secret, token, None, "vectoll").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&scope.region)
        .name(&scope.service)
        .time(now)
        .settings(SigningSettings::default())
        .build()
        .map_err(failed)?
        .into();
    // What an earlier signature put there is not part of this one.
    for name in OWN {
        request.headers.remove(name);
    }
    let signed = request.headers.iter().filter(|(name, _)| is_signed(name));
    let signed = signed.map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect::<Option<Vec<_>>>();
    let signed = signed.ok_or_else(|| CredentialError::Sign("a header is not ASCII text".to_owned()))?;
    let body = match request.body.sha256() {
        Some(sha256) => SignableBody::Precomputed(sha256.to_owned()),
        None => SignableBody::Bytes(request.body.bytes()),
    };
    let signable = SignableRequest::new(request.method.as_str(), request.url.as_str(), signed.into_iter(), body);
    let (instructions, _) = sign(signable.map_err(failed)?, &params).map_err(failed)?.into_parts();
    for (name, value) in instructions.headers() {
        let name = HeaderName::try_from(name).map_err(failed)?;
        let mut value = HeaderValue::try_from(value).map_err(failed)?;
        value.set_sensitive(true);
        request.headers.insert(name, value);
    }
    Ok(())
}

/// Headers that the signature covers, beside the host: those that say what the request means. Others, as of tracing, may be
/// changed on the way.
fn is_signed(name: &HeaderName) -> bool {
    let amazons = name.as_str().starts_with("x-amz") && name != "x-amzn-trace-id";
    amazons || [header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name)
}

fn failed(error: impl std::error::Error) -> CredentialError {
    CredentialError::Sign(error.to_string())
}

#[cfg(test)]
mod tests;
