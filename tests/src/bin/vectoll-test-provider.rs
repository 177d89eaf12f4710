//! The provider of the tests as a process, for clients in other languages and for trying things by hand.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use vectoll_tests::provider::{Options, Provider};

/// Plays an embeddings provider of `OpenAI`'s shape that checks what it is sent and keeps books.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "VECTOLL_TEST_PROVIDER_LISTEN", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The credential that clients must send as a Bearer token.
    #[arg(long, env = "VECTOLL_TEST_PROVIDER_API_KEY", hide_env_values = true)]
    api_key: String,
    /// PEM file of the certificate chain, for https.
    #[arg(long, env = "VECTOLL_TEST_PROVIDER_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, env = "VECTOLL_TEST_PROVIDER_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Milliseconds from the end of a request to the beginning of its answer.
    #[arg(long, env = "VECTOLL_TEST_PROVIDER_LATENCY_MS", default_value_t = 0)]
    latency_ms: u64,
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "whoever started it reads the address from there")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let files = arguments.tls_cert.zip(arguments.tls_key);
    let tls = files.map(|(cert, key)| anyhow::Ok((read(&cert)?, read(&key)?))).transpose()?;
    let latency = Duration::from_millis(arguments.latency_ms);
    let options = Options { tls, latency, listen: arguments.listen, ..Options::new(arguments.api_key) };
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let provider = Provider::start(options).await?;
    println!("listening on {}", provider.address());
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted.context("failed to listen for SIGINT")?,
    }
    provider.stop().await;
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))
}
