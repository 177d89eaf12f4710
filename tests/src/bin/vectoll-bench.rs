//! Measures the sidecar beside nginx as a plain reverse proxy, by scenario.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use vectoll_tests::bench::endpoint::Endpoint;
use vectoll_tests::bench::evidence;
use vectoll_tests::bench::instructions::{self, Extent};
use vectoll_tests::bench::machine::{Machine, commit, version};
use vectoll_tests::bench::manifests::KEY;
use vectoll_tests::bench::measure::{Plan, Subject};
use vectoll_tests::bench::nginx::Nginx;
use vectoll_tests::bench::report::Report;
use vectoll_tests::bench::scenario::Scenario;
use vectoll_tests::bench::stage::Stage;
use vectoll_tests::bench::subprocess::Subprocess;
use vectoll_tests::bench::{LOAD_CORE, PROXY_CORE, large, relay};
use vectoll_tests::pair::binaries::Binaries;
use vectoll_tests::pair::process::pin_this_thread;

/// Ten thousand idle connections, and those under load.
const OPEN_FILES: u64 = 16_384;

/// Measures the sidecar beside nginx as a plain reverse proxy, and a neighbour beside both.
#[derive(Debug, Parser)]
struct Arguments {
    /// The program vectoll-sidecar.
    #[arg(long, required_unless_present = "subprocess")]
    sidecar: Option<PathBuf>,
    /// The program vectoll-operator.
    #[arg(long, required_unless_present = "subprocess")]
    operator: Option<PathBuf>,
    /// The program nginx; found in PATH if not given.
    #[arg(long)]
    nginx: Option<PathBuf>,
    /// Scenarios, separated by commas; by default all.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Seconds under load for each proxy, case and round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Connections under load, where a case has no number of its own.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// To see that all of it works: one short round, and few of what there are thousands of. Its numbers are no figures.
    #[arg(long)]
    trial: bool,
    /// Someone else to measure beside: a base URL as in `http://127.0.0.1:4000/v1`, in the scenarios calls, one-connection, open-loop and
    /// connections. It is to ask the provider at --provider-listen.
    #[arg(long, value_name = "URL", requires = "provider_listen")]
    against: Option<String>,
    /// The key that it wants.
    #[arg(long, value_name = "KEY", default_value = KEY)]
    against_key: String,
    /// What it calls the model; by default text-embedding-3-small.
    #[arg(long, value_name = "NAME")]
    against_model: Option<String>,
    /// Its process on this machine, for its CPU time and memory, children included.
    #[arg(long, value_name = "PID")]
    against_pid: Option<u32>,
    /// Its name in the table.
    #[arg(long, value_name = "NAME", default_value = "neighbour")]
    against_name: String,
    /// Where the provider listens: an OpenAI-compatible base URL is `http://ADDRESS/v1`. By default at a free port.
    #[arg(long, value_name = "ADDRESS")]
    provider_listen: Option<SocketAddr>,
    /// Write all numbers to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page for each scenario to this folder, and its numbers beside it.
    #[arg(long, value_name = "FOLDER", conflicts_with = "trial")]
    evidence: Option<PathBuf>,
    /// Exit with 1 if the sidecar costs more than the project promises.
    #[arg(long)]
    check: bool,
    /// Count the instructions of each kind of call instead, with callgrind.
    #[arg(long)]
    instructions: bool,
    /// Be a part of the benchmark: what this program starts itself for.
    #[arg(long, hide = true, num_args = 1..)]
    subprocess: Option<Vec<String>>,
}

#[expect(clippy::print_stdout, reason = "the report is what the program is for")]
fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(subprocess) = &arguments.subprocess {
        be(Subprocess::parse(subprocess)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.instructions {
        let runtime = tokio::runtime::Runtime::new().context("failed to start tokio")?;
        let counted = runtime.block_on(instructions::count(&binaries(&arguments)?, Extent::FULL))?;
        println!("{}", serde_json::to_string_pretty(&counted).context("failed to write the numbers as JSON")?);
        return Ok(ExitCode::SUCCESS);
    }
    let report = run(&arguments)?;
    println!("{}", report.markdown());
    if let Some(file) = &arguments.json {
        let json = serde_json::to_string_pretty(&report).context("failed to write the report as JSON")?;
        fs::write(file, json + "\n").with_context(|| format!("failed to write {}", file.display()))?;
    }
    if let Some(folder) = &arguments.evidence {
        evidence::write(folder, &report)?;
    }
    let broken = report.broken_promises();
    if arguments.check && !broken.is_empty() {
        println!("{}", broken.join("\n"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "it takes minutes: which scenario is under way is worth a line")]
fn run(arguments: &Arguments) -> anyhow::Result<Report> {
    let machine = Machine::this();
    ensure!(machine.cores > PROXY_CORE, "two CPU cores are needed");
    // Thousands of connections on both sides of a proxy; children inherit it.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("failed to read the limit on open files")?;
    // Beyond the hard limit only root goes; most scenarios need less.
    let more = most.max(OPEN_FILES);
    setrlimit(Resource::RLIMIT_NOFILE, more, more)
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, most, most))
        .context("failed to raise the limit on open files")?;
    let plan = plan(arguments)?;
    // All threads from here on inherit it.
    pin_this_thread(LOAD_CORE)?;
    let mut stage = Stage::new(plan, binaries(arguments)?, arguments.nginx.clone(), arguments.provider_listen)?;
    if let Some(url) = &arguments.against {
        let endpoint = Endpoint::of_url(url, &arguments.against_key, arguments.against_model.as_deref())?;
        stage.neighbour = Some(Subject::new(&arguments.against_name, endpoint, arguments.against_pid));
    }
    let scenarios = if arguments.only.is_empty() { Scenario::all() } else { &arguments.only };
    let mut sections = Vec::new();
    for scenario in scenarios {
        let name = scenario.name();
        eprintln!("{name} …");
        sections.push(scenario.run(&stage).with_context(|| name)?);
    }
    Ok(Report { machine, versions: versions(arguments), command: command(arguments, plan), plan, sections })
}

/// What a process that this program started itself for does.
fn be(subprocess: Subprocess) -> anyhow::Result<()> {
    match subprocess {
        Subprocess::Relay { listen, upstream } => relay::run(listen, upstream),
        Subprocess::LargeProvider { listen } => large::answer(listen),
        Subprocess::LargeBodies { to } => large::send(to, large::BODY),
        Subprocess::LargeAnswers { to } => large::send(to, large::ANSWER),
    }
}

fn plan(arguments: &Arguments) -> anyhow::Result<Plan> {
    let Arguments { seconds, rounds, connections, trial, .. } = arguments;
    let (seconds, rounds) = if *trial { (0.2, 1) } else { (*seconds, *rounds) };
    ensure!(rounds > 0 && *connections > 0, "a round and a connection are needed");
    let time = Duration::try_from_secs_f64(seconds).context("bad number of seconds")?;
    Ok(Plan { time, rounds, connections: *connections, is_trial: *trial })
}

fn versions(arguments: &Arguments) -> Vec<(&'static str, String)> {
    let nginx = arguments.nginx.clone().or_else(|| Nginx::find().ok()).and_then(|program| Nginx::version(&program));
    let all = [
        ("commit", commit()),
        ("vectoll-sidecar", arguments.sidecar.as_ref().and_then(|program| version(program, "--version"))),
        ("nginx", nginx),
        ("redis-server", version("redis-server", "--version").and_then(|text| redis_version(&text))),
        ("rustc", version("rustc", "--version")),
    ];
    all.into_iter().filter_map(|(name, version)| Some((name, version?))).collect()
}

/// `Redis server v=7.0.15 sha=…`.
fn redis_version(text: &str) -> Option<String> {
    text.split(' ').find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
}

/// The command in a form that says nothing of this machine.
fn command(arguments: &Arguments, plan: Plan) -> String {
    let Plan { time, rounds, connections, is_trial } = plan;
    let names: Vec<String> = arguments.only.iter().map(|scenario| scenario.name()).collect();
    let only = if names.is_empty() { String::new() } else { format!(" --only {}", names.join(",")) };
    let against = arguments.against.as_ref().map(|_| format!(" --against {}", arguments.against_name));
    let trial = if is_trial { " --trial" } else { "" };
    format!(
        "vectoll-bench{only} --seconds {} --rounds {rounds} --connections {connections}{}{trial}",
        time.as_secs_f64(),
        against.unwrap_or_default(),
    )
}

fn binaries(arguments: &Arguments) -> anyhow::Result<Binaries> {
    let operator = arguments.operator.clone().context("--operator is missing")?;
    let sidecar = arguments.sidecar.clone().context("--sidecar is missing")?;
    Ok(Binaries { operator, sidecar })
}
