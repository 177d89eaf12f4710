//! `kubectl vectoll`.

use clap::Parser;
use vectoll_operator::plugin::Plugin;

fn main() -> anyhow::Result<std::process::ExitCode> {
    // One provider of cryptography for all TLS; the error only says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Plugin::parse().run()
}
