//! From what was asked for on the command line to what does it.

use std::{io::Write, process::ExitCode};

use clap::CommandFactory;

use super::{
    change, check,
    cli::{ClusterOptions, Command, Completion, Plugin, Report},
    connect::connect,
    explain, key,
    names::all_names,
    page, status, top, why,
};
use crate::{
    cli::{Import, LogFormat},
    import::import_litellm,
    log, report,
};

/// Only what is wrong is worth a line beside what was asked for.
const LOG_FILTER: &str = "warn";

impl Plugin {
    /// Does what was asked for.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        log::start(LogFormat::Text, LOG_FILTER)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(self.command, &mut std::io::stdout().lock()))
    }
}

async fn run(command: Command, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let is_good = match command {
        Command::Status(settings) => status::run(&settings, out).await.map(|()| true),
        Command::Check(settings) => check::run(&settings, out).await,
        Command::Top(settings) => top::run(&settings, out).await.map(|()| true),
        Command::Explain(settings) => explain::run(&settings, out).await,
        Command::Why(settings) => why::run(&settings, out).await,
        Command::Rotate(settings) => change::rotate(&settings, out).await.map(|()| true),
        Command::Suspend(settings) => change::suspend(&settings, true, out).await.map(|()| true),
        Command::Resume(settings) => change::suspend(&settings, false, out).await.map(|()| true),
        Command::Key(settings) => key::run(&settings, out).await.map(|()| true),
        Command::Page(settings) => page::run(&settings, out).await.map(|()| true),
        Command::Report(Report { options, kubeconfig, context }) => {
            let cluster = ClusterOptions { kubeconfig, context, namespace: None };
            let names = async || all_names(&connect(&cluster).await?.client).await;
            report::run(&options, names, out).await.map(|()| true)
        }
        Command::Import(Import::Litellm(settings)) => import_litellm(&settings, out).map(|()| true),
        Command::Completion(Completion { shell }) => {
            clap_complete::generate(shell, &mut Plugin::command(), "kubectl-vectoll", out);
            Ok(true)
        }
    };
    Ok(if is_good? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
