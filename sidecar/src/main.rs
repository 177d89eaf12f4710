//! `vectoll-sidecar`.

use std::process::ExitCode;

use clap::Parser;
use vectoll_sidecar::{health_check, logging, run, settings::Settings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<ExitCode> {
    // Before anything else: a kubelet runs it every few seconds, and it needs nothing of what a sidecar does.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == health_check::COMMAND) {
        return Ok(health_check::run());
    }
    let settings = Settings::parse();
    logging::start(settings.log_format, &settings.log_filter)?;
    // What a panic says may quote a call: only where it was goes into the log.
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "a part of the sidecar failed: please report it");
    }));
    // One provider of cryptography for all TLS; the error only says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut runtime = if settings.worker_threads == 1 {
        // Work does not move between cores: the cheapest way to serve one pod.
        tokio::runtime::Builder::new_current_thread()
    } else {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(settings.worker_threads);
        builder
    };
    let runtime = runtime.enable_all().max_blocking_threads(8).build()?;
    runtime.block_on(run(settings))?;
    Ok(ExitCode::SUCCESS)
}
