//! From what was asked for on the command line to what does it.

use std::{io::Write, process::ExitCode};

use anyhow::Context;
use kube::Client;

use crate::{
    cli::{Cli, Command, Import},
    cluster,
    import::import_litellm,
    log,
    plugin::all_names,
    print_prices::print_prices,
    report, standalone, try_call,
};

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self { command, log_format, log_filter } = self;
        log::start(log_format, &log_filter)?;
        match command {
            Command::Run(settings) => {
                let runtime = |name: &str| {
                    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build()
                };
                // The webhook, the Lease and the probes have threads of their own: whatever the loop does, they answer.
                let (working, serving) = (runtime("loop")?, runtime("serving")?);
                let ended = working.block_on(cluster::run(settings, serving.handle().clone()));
                serving.shutdown_timeout(std::time::Duration::from_secs(1));
                ended?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Standalone(settings) => {
                // Passes run on this thread, and the page on the other one: it answers while thousands of keys are looked at.
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
                runtime.block_on(standalone::run(settings))?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Key(settings) => {
                standalone::key(&settings, &mut std::io::stdout().lock())?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Render(settings) => standalone::render(&settings, &mut std::io::stdout().lock()),
            Command::Prices(settings) => {
                print_prices(&settings, &mut std::io::stdout().lock())?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Import(Import::Litellm(settings)) => {
                import_litellm(&settings, &mut std::io::stdout().lock())?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Report(options) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let names = async || {
                    let client = Client::try_default().await.context("failed to reach the API server")?;
                    all_names(&client).await
                };
                runtime.block_on(report::run(&options, names, &mut std::io::stdout().lock()))?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Try(settings) => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(try_call::run(&settings, &mut std::io::stdout()))?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Crds => {
                print_crds(&mut std::io::stdout().lock())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn print_crds(out: &mut impl Write) -> anyhow::Result<()> {
    for crd in vectoll_crds::definitions() {
        writeln!(out, "---\n{}", serde_yaml::to_string(&crd)?.trim_end())?;
    }
    Ok(())
}
