//! AWS: keys for a role by a token of the cluster's, and by EKS Pod Identity.
//!
//! Sources: AWS Security Token Service API reference, `AssumeRoleWithWebIdentity`; AWS SDKs and Tools Reference Guide, "Container
//! credential provider".

use std::time::SystemTime;

use http::Method;
use jiff::Timestamp;
use serde_json::json;

use super::desk::{Desk, Paper, asks, echo, fields, form, has, only};
use crate::native::{Request, TemporaryKeys, temporary_keys::Said};

/// A time as AWS and Google write it: RFC 3339, in UTC.
pub(super) fn rfc3339(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// `sts.{region}.amazonaws.com`.
#[derive(Debug)]
pub struct Sts {
    /// The regional name.
    pub host: &'static str,
    /// The role.
    pub role: &'static str,
    /// The session's name.
    pub session: &'static str,
    /// The token of the cluster's that it trusts.
    pub web_token: &'static str,
    /// Keys.
    pub keys: TemporaryKeys,
}

impl Desk for Sts {
    fn host(&self) -> &'static str {
        self.host
    }

    fn answer(&self, request: &Request<'_>) -> Result<Paper, String> {
        asks(request, &Method::POST, "/")?;
        only(request, &[])?;
        fields(
            &form(request)?,
            &[
                ("Action", "AssumeRoleWithWebIdentity"),
                ("Version", "2011-06-15"),
                ("RoleArn", self.role),
                ("RoleSessionName", self.session),
                ("WebIdentityToken", self.web_token),
            ],
        )?;
        let (status, body) = match self.keys.give() {
            Some(Said { id, secret, session, ends }) => (
                200,
                format!(
                    "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                     <AssumeRoleWithWebIdentityResult><Audience>sts.amazonaws.com</Audience><Credentials>\
                     <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{session}</SessionToken>\
                     <Expiration>{}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
                    rfc3339(ends)
                ),
            ),
            None => (
                403,
                format!(
                    "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                     <Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity; {}</Message>\
                     </Error></ErrorResponse>",
                    echo(request).replace('&', "&amp;")
                ),
            ),
        };
        Ok(Paper { status, kind: "text/xml", body })
    }
}

/// The agent of EKS Pod Identity, on each node.
#[derive(Debug)]
pub struct PodIdentityAgent {
    /// The pod's token for it.
    pub pod_token: &'static str,
    /// Keys.
    pub keys: TemporaryKeys,
}

impl Desk for PodIdentityAgent {
    fn host(&self) -> &'static str {
        "169.254.170.23"
    }

    fn answer(&self, request: &Request<'_>) -> Result<Paper, String> {
        asks(request, &Method::GET, "/v1/credentials")?;
        only(request, &["authorization"])?;
        has(request, "authorization", self.pod_token)?;
        Ok(match self.keys.give() {
            Some(Said { id, secret, session, ends }) => Paper::json(
                200,
                &json!({
                    "AccessKeyId": id, "SecretAccessKey": secret, "Token": session, "AccountId": "123456789012",
                    "Expiration": rfc3339(ends),
                }),
            ),
            None => Paper::json(403, &json!({"code": "AccessDeniedException", "message": echo(request)})),
        })
    }
}
