//! The token that signs somebody in: a `ServiceAccount`'s, or the one that the user's kubeconfig has.

use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client,
    api::PostParams,
    config::{AuthInfo, ExecConfig},
};
use serde_json::{Value, json};
use tokio::process::Command;

/// As long as `kubectl create token` has it.
const LIFETIME_SECONDS: i64 = 3_600;
/// The version of client-go's protocol for plugins that authenticate, where a kubeconfig names none.
const EXEC_VERSION: &str = "client.authentication.k8s.io/v1";

/// A new one, for an hour. `account`: `NAME` in the present namespace, or `NAMESPACE/NAME`.
pub(super) async fn of_service_account(client: &Client, account: &str, namespace: &str) -> anyhow::Result<String> {
    let (namespace, name) = account.split_once('/').unwrap_or((namespace, account));
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec { expiration_seconds: Some(LIFETIME_SECONDS), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let made = api.create_token_request(name, &PostParams::default(), &request).await;
    let made = made.with_context(|| {
        format!("failed to get a token of the ServiceAccount {namespace}/{name} (create on serviceaccounts/token)")
    })?;
    Ok(made.status.context("the API server answered without a token")?.token)
}

/// The one with which the user's own kubectl asks.
pub(super) async fn of_user(user: &AuthInfo) -> anyhow::Result<String> {
    // A kubeconfig's token is secret to logs; as part of a kubeconfig it can be read.
    let written = serde_json::to_value(user).context("the user of the kubeconfig cannot be read")?;
    if let Some(token) = written.get("token").and_then(Value::as_str).filter(|token| !token.is_empty()) {
        return Ok(token.to_owned());
    }
    if let Some(file) = &user.token_file {
        let token = std::fs::read_to_string(file).with_context(|| format!("failed to read {file} (tokenFile)"))?;
        return Ok(token.trim().to_owned());
    }
    match &user.exec {
        Some(exec) => of_program(exec).await,
        None => bail!(
            "your kubeconfig has no token, and the page knows people by tokens only: name a ServiceAccount that may list what you want to \
             see, with --service-account NAMESPACE/NAME"
        ),
    }
}

/// Asks the program that a kubeconfig names, by the protocol of client-go (`ExecCredential`).
async fn of_program(exec: &ExecConfig) -> anyhow::Result<String> {
    let program = exec.command.as_deref().context("the kubeconfig's exec names no command")?;
    let version = exec.api_version.as_deref().unwrap_or(EXEC_VERSION);
    let info = json!({"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": false}});
    let mut command = Command::new(program);
    command.args(exec.args.iter().flatten()).env("KUBERNETES_EXEC_INFO", info.to_string());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output =
        command.output().await.with_context(|| format!("failed to start {program} (the kubeconfig's exec)"))?;
    ensure!(output.status.success(), "{program} (the kubeconfig's exec) failed: {}", output.status);
    let answer: Value =
        serde_json::from_slice(&output.stdout).with_context(|| format!("{program} printed no ExecCredential"))?;
    answer.pointer("/status/token").and_then(Value::as_str).map(str::to_owned).with_context(|| {
        format!(
            "{program} gives a certificate and no token: name a ServiceAccount with --service-account NAMESPACE/NAME"
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    async fn of(user: Value) -> Result<String, String> {
        of_user(&serde_json::from_value(user).unwrap()).await.map_err(|error| format!("{error:#}"))
    }

    fn program(script: &str) -> Value {
        json!({"exec": {"command": "sh", "args": ["-c", script], "env": [{"name": "OF", "value": "abc"}]}})
    }

    #[tokio::test]
    async fn the_token_is_the_one_that_kubectl_would_send() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from-file\n").unwrap();
        assert_eq!(of(json!({"token": "abc", "tokenFile": file.path()})).await.unwrap(), "abc");
        assert_eq!(of(json!({"tokenFile": file.path()})).await.unwrap(), "from-file");
        let asked =
            "echo \"$KUBERNETES_EXEC_INFO\" | grep -q ExecCredential && echo '{\"status\": {\"token\": \"'$OF'\"}}'";
        assert_eq!(of(program(asked)).await.unwrap(), "abc");
    }

    #[tokio::test]
    async fn without_a_token_the_way_out_is_named() {
        for user in [json!({"client-certificate-data": "Yw=="}), program("echo '{\"status\": {}}'")] {
            assert!(of(user).await.unwrap_err().contains("--service-account NAMESPACE/NAME"));
        }
        assert!(of(program("exit 3")).await.unwrap_err().contains("sh (the kubeconfig's exec) failed"));
        assert!(of(program("echo no")).await.unwrap_err().contains("printed no ExecCredential"));
    }
}
