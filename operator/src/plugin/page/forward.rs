//! `kubectl port-forward`, for as long as it is needed.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use crate::plugin::cli::ClusterOptions;

/// How long kubectl may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// It ends when this is dropped.
pub(super) struct Forward {
    /// Where it listens.
    pub(super) address: SocketAddr,
    child: Child,
    // Kept open: kubectl writes a line for each connection.
    lines: Lines<BufReader<ChildStdout>>,
}

impl Forward {
    /// Waits until it listens, on `port` of this machine or, without, on a free one.
    pub(super) async fn start(
        cluster: &ClusterOptions,
        namespace: &str,
        target: &str,
        port: Option<u16>,
        to: u16,
    ) -> anyhow::Result<Self> {
        let ClusterOptions { kubeconfig, context, namespace: _ } = cluster;
        let mut command = Command::new("kubectl");
        if let Some(file) = kubeconfig {
            command.arg("--kubeconfig").arg(file);
        }
        if let Some(context) = context {
            command.arg("--context").arg(context);
        }
        let ports = port.map_or_else(|| format!(":{to}"), |port| format!("{port}:{to}"));
        command.args(["--namespace", namespace, "port-forward", "--address", "127.0.0.1", target, &ports]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("failed to start kubectl, which forwards to the page")?;
        let stdout = child.stdout.take().context("kubectl has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(address) = address(&line) {
                    return Ok(address);
                }
            }
            bail!("kubectl port-forward ended: what it wrote says why")
        };
        let address =
            timeout(START_TIMEOUT, listening).await.context("kubectl port-forward did not begin in time")??;
        Ok(Self { address, child, lines })
    }

    /// Waits for its end, which comes when the pod goes.
    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        while self.lines.next_line().await?.is_some() {}
        let status = self.child.wait().await?;
        bail!("kubectl port-forward ended ({status}): run it again")
    }
}

/// Where kubectl says that it listens.
fn address(line: &str) -> Option<SocketAddr> {
    line.strip_prefix("Forwarding from ")?.split(" -> ").next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_port_is_the_one_that_kubectl_names() {
        assert_eq!(address("Forwarding from 127.0.0.1:41234 -> 8082"), Some("127.0.0.1:41234".parse().unwrap()));
        for other in ["Handling connection for 41234", "error: unable to forward", ""] {
            assert_eq!(address(other), None);
        }
    }
}
