//! Routes whose calls a gateway carries out: where they are passed on to.

use std::{collections::HashMap, sync::Arc, time::Duration};

use vectoll_config::{ConfigError, GATEWAY_TOKEN_FILE, ObjectName, read_gateway_v1, v1};

use super::{
    shared_state::{CredentialFiles, SharedState},
    token_file::TokenFile,
};
use vectoll_upstream::provider::gateway::GatewayServer;

/// How the calls of a route are passed on.
#[derive(Clone, Debug)]
pub struct PassedOn {
    /// Where to; an error: why nobody can be called there.
    pub to: Result<GatewayServer, Arc<str>>,
    /// `namespace/route/_gateway`, for people.
    pub label: Arc<str>,
    /// How long the gateway may take.
    pub timeout: Duration,
    /// The file with the token that proves the pod's namespace, where the cluster issues one. It is renewed there.
    pub token: Option<TokenFile>,
}

/// All that is passed on, by the names of routes. Nothing where no file says so.
pub(super) fn passed_on(
    files: &CredentialFiles,
    lasting: &SharedState,
) -> Result<HashMap<ObjectName, PassedOn>, ConfigError> {
    let Some(file) = files.get(v1::GATEWAY_FILE) else { return Ok(HashMap::new()) };
    let not_text = |_| ConfigError { path: v1::GATEWAY_FILE.to_owned(), line: None, reason: "is not UTF-8".to_owned() };
    let text = std::str::from_utf8(file).map_err(not_text)?;
    let content = |name: &str| files.get(name).map(Vec::as_slice);
    let v1::Gateway { version: _, url, ca_file, routes, complete: _ } = read_gateway_v1(text, content)?;
    // What cannot be called is told by the calls: the other routes are served.
    let to = GatewayServer::new(&url, &lasting.http, ca_file.as_deref().and_then(content)).map_err(|reason| {
        tracing::error!(url, reason, "the gateway cannot be called");
        Arc::from(reason)
    });
    let token = lasting.identity.as_ref().map(|identity| TokenFile::new(identity.tokens.join(GATEWAY_TOKEN_FILE)));
    let each = |v1::PassedOn { name, timeout_seconds }| {
        let label = format!("{name}/_gateway").into();
        let timeout = Duration::from_secs(u64::from(timeout_seconds));
        (name, PassedOn { to: to.clone(), label, timeout, token: token.clone() })
    };
    Ok(routes.into_iter().map(each).collect())
}
