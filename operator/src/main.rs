//! `vectoll-operator`.

use clap::Parser;
use vectoll_operator::cli::Cli;

fn main() -> anyhow::Result<std::process::ExitCode> {
    Cli::parse().run()
}
