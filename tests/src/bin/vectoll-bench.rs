//! Compares the sidecar with nginx as a plain reverse proxy.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use vectoll_tests::bench::instructions;
use vectoll_tests::bench::manifests::manifests;
use vectoll_tests::bench::measure::{Plan, Proxies, Proxy};
use vectoll_tests::bench::nginx::Nginx;
use vectoll_tests::bench::payload::Payload;
use vectoll_tests::bench::relay::{self, Relay};
use vectoll_tests::bench::report::{Line, Report};
use vectoll_tests::bench::responder::Responder;
use vectoll_tests::bench::{LOAD_CORE, PROXY_CORE, procfs};
use vectoll_tests::pair::binaries::Binaries;
use vectoll_tests::pair::process::pin_this_thread;
use vectoll_tests::pair::{Pair, Setup};

/// Compares the sidecar, with limits, budgets and metrics on, with nginx as a plain reverse proxy.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program vectoll-sidecar.
    #[arg(long, required_unless_present_any = ["only", "relay"])]
    sidecar: Option<PathBuf>,
    /// The program vectoll-operator.
    #[arg(long, required_unless_present_any = ["only", "relay"])]
    operator: Option<PathBuf>,
    /// The program nginx; found in PATH if not given.
    #[arg(long)]
    nginx: Option<PathBuf>,
    /// Measure one of the two; without ratios, then.
    #[arg(long)]
    only: Option<Only>,
    /// Put a sidecar without access log in nginx's place: what the log costs.
    #[arg(long, conflicts_with_all = ["only", "nginx", "check"])]
    without_log: bool,
    /// Count the instructions of so many calls of each payload instead, with callgrind.
    #[arg(long, value_name = "CALLS", conflicts_with_all = ["only", "without_log", "check"])]
    instructions: Option<u64>,
    /// Be the bare relay, LISTEN=UPSTREAM: what this program starts itself for.
    #[arg(long, hide = true)]
    relay: Option<String>,
    /// Seconds under load for each proxy, payload and round.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Connections under load.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Write all figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Exit with 1 if the sidecar costs more than the project promises.
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Only {
    Nginx,
    Sidecar,
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(addresses) = &arguments.relay {
        relay::run(addresses)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(calls) = arguments.instructions {
        let runtime = tokio::runtime::Runtime::new().context("failed to start tokio")?;
        let counted = runtime.block_on(instructions::count(&binaries(&arguments)?, calls))?;
        println!("{}", serde_json::to_string_pretty(&counted).context("failed to write the figures as JSON")?);
        return Ok(ExitCode::SUCCESS);
    }
    let report = run(&arguments)?;
    println!("{}", report.markdown());
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&report).context("failed to write the report as JSON")?;
        fs::write(file, json + "\n").with_context(|| format!("failed to write {}", file.display()))?;
    }
    let broken = report.broken_promises();
    if arguments.check && !broken.is_empty() {
        println!("{}", broken.join("\n"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let cores = fs::read_to_string("/proc/stat").context("failed to read /proc/stat")?;
    let has_core = |core: usize| cores.lines().any(|line| line.starts_with(&format!("cpu{core} ")));
    ensure!(has_core(LOAD_CORE) && has_core(PROXY_CORE), "two CPU cores are needed");
    let time = Duration::try_from_secs_f64(arguments.seconds).context("bad number of seconds")?;
    let plan = Plan { time, rounds: arguments.rounds, connections: arguments.connections };
    // All threads from here on inherit it.
    pin_this_thread(LOAD_CORE)?;
    let responder = Responder::start()?.address();
    let nginx = (arguments.only != Some(Only::Sidecar) && !arguments.without_log).then(|| {
        let program = arguments.nginx.clone().map_or_else(Nginx::find, Ok)?;
        Nginx::start(&program, responder, PROXY_CORE)
    });
    let nginx = nginx.transpose()?;
    let relay = arguments.only.is_none().then(|| Relay::start(responder, PROXY_CORE)).transpose()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start tokio")?;
    let start = |sidecar_arguments: Vec<String>| {
        let setup = Setup { sidecar_core: Some(PROXY_CORE), sidecar_arguments, ..Setup::of(binaries(arguments)?) };
        runtime.block_on(Pair::start_with(setup, &[("bench.yaml", manifests(responder))]))
    };
    let pair = (arguments.only != Some(Only::Nginx)).then(|| start(Vec::new())).transpose()?;
    let silent = arguments.without_log.then(|| start(vec!["--access-log=off".to_owned()])).transpose()?;
    let nginx_proxy = nginx.as_ref().map(|nginx| Proxy { address: nginx.address(), pid: nginx.pid() });
    let nginx_proxy = silent.as_ref().map(sidecar_of).transpose()?.or(nginx_proxy);
    let sidecar_proxy = pair.as_ref().map(sidecar_of).transpose()?;

    let proxies = Proxies {
        nginx: nginx_proxy,
        relay: relay.as_ref().map(|relay| Proxy { address: relay.address(), pid: relay.pid() }),
        sidecar: sidecar_proxy,
    };
    let mut rounds = Payload::ALL.map(|payload| (payload, Vec::new()));
    for _ in 0..plan.rounds {
        for (payload, done) in &mut rounds {
            done.push(plan.round(*payload, responder, proxies)?);
        }
    }
    let memory = |proxy: Option<Proxy>| proxy.map(|proxy| procfs::memory(proxy.pid)).transpose();
    Ok(Report {
        plan,
        rival: if arguments.without_log { "without log" } else { "nginx" },
        nginx_memory: memory(nginx_proxy)?,
        sidecar_memory: memory(sidecar_proxy)?,
        lines: rounds.into_iter().map(|(payload, done)| Line::new(payload, done)).collect::<anyhow::Result<_>>()?,
    })
}

fn binaries(arguments: &Arguments) -> anyhow::Result<Binaries> {
    let operator = arguments.operator.clone().context("--operator is missing")?;
    let sidecar = arguments.sidecar.clone().context("--sidecar is missing")?;
    Ok(Binaries { operator, sidecar })
}

fn sidecar_of(pair: &Pair) -> anyhow::Result<Proxy> {
    Ok(Proxy { address: pair.proxy_address(), pid: pair.sidecar_pid().context("the sidecar does not run")? })
}
