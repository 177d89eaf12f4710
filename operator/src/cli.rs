//! The command line.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::standalone;

/// Turns ApiKey, Team and ModelRoute resources into config that sidecars serve by.
#[derive(Clone, Debug, Parser)]
#[command(name = "vectoll-operator", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// How the log is written to standard error
    #[arg(long, global = true, env = "VECTOLL_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,

    /// What is logged: a level, or tracing's filter directives
    #[arg(long, global = true, env = "VECTOLL_LOG", value_name = "FILTER", default_value = "info")]
    log_filter: String,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Watches a folder of manifests and writes the config folder of a sidecar: no cluster needed
    Standalone(Standalone),
    /// Prints the config that a folder of manifests makes, and what is wrong with it
    Render(Render),
    /// Prints the `CustomResourceDefinitions`
    Crds,
}

/// Settings of `standalone`.
#[derive(Clone, Debug, Args)]
pub struct Standalone {
    /// The folder of manifests: YAML, several documents a file, Secrets too
    #[arg(long, env = "VECTOLL_MANIFESTS", value_name = "DIR")]
    pub manifests: PathBuf,

    /// The folder to write for the sidecar, which must run as the same user: it holds credentials
    #[arg(long, env = "VECTOLL_CONFIG_DIR", value_name = "DIR")]
    pub config_dir: PathBuf,

    /// The folder for generated keys, as Secret manifests; by default the config folder's name with .state behind it
    #[arg(long, env = "VECTOLL_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// The namespace whose pod the sidecar plays; manifests that name none belong to it
    #[arg(long, env = "VECTOLL_NAMESPACE", value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
}

/// Settings of `render`.
#[derive(Clone, Debug, Args)]
pub struct Render {
    /// The folder of manifests
    #[arg(long, env = "VECTOLL_MANIFESTS", value_name = "DIR")]
    pub manifests: PathBuf,

    /// The folder of generated keys, to be read; without it keys that have no Secret are left out
    #[arg(long, env = "VECTOLL_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// The namespace to render for
    #[arg(long, env = "VECTOLL_NAMESPACE", value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self { command, log_format, log_filter } = self;
        start_log(log_format, &log_filter)?;
        match command {
            Command::Standalone(settings) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(standalone::run(settings))?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Render(settings) => standalone::render(&settings, &mut std::io::stdout().lock()),
            Command::Crds => {
                print_crds(&mut std::io::stdout().lock())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn print_crds(out: &mut impl std::io::Write) -> anyhow::Result<()> {
    for crd in vectoll_crds::definitions() {
        writeln!(out, "---\n{}", serde_yaml::to_string(&crd)?.trim_end())?;
    }
    Ok(())
}

fn start_log(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter =
        EnvFilter::builder().parse(filter).with_context(|| format!("failed to read the log filter {filter:?}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("failed to start the log: {error}"))
}
