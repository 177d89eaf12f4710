//! The operator without a cluster: a folder of manifests in place of the API server, a config folder in place of a
//! Secret, a state folder in place of the Secrets that hold generated keys.
//!
//! The judgement is the cluster's own ([`crate::reconcile`]). What differs stands here: reading files that may be
//! half-written ([`manifests`]), keeping what the API server would keep ([`state`]), and writing as the kubelet does
//! ([`config_dir`]).

mod config_dir;
mod key;
mod manifest;
mod manifests;
mod report;
mod state;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use jiff::Timestamp;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use vectoll_config::write_v1;

pub use self::key::key;
use self::{config_dir::ConfigDir, manifests::Manifests, report::Report, state::State};
use crate::{
    cli::{Render, Standalone, StoreOptions},
    judge::{Credentials, DesiredState, judge},
    provider_hosts::AllowedHosts,
    store::Logins,
    world::{Counting, World},
};

/// How often the folder is read without being told to.
const POLL: Duration = Duration::from_secs(2);
/// Editors write in several steps: a change is looked at so much later.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Runs until SIGTERM or SIGINT.
pub async fn run(settings: Standalone) -> anyhow::Result<()> {
    let Standalone { manifests, config_dir, state_dir, namespace, store, hosts } = settings;
    // What makes no sense is said at once, and not at each pass.
    store.read_whole()?;
    must_be_folder(&manifests)?;
    let state_dir = state_dir.unwrap_or_else(|| beside(&config_dir));
    let mut operator = Operator {
        manifests: Manifests::new(&manifests, &namespace),
        state: State::open(&state_dir)?,
        config: ConfigDir::open(&config_dir)?,
        report: Report::default(),
        namespace,
        store,
        allowed_hosts: hosts.allowed(),
        read_whole: false,
    };
    tracing::info!(
        manifests = %manifests.display(), config_dir = %config_dir.display(), state_dir = %state_dir.display(),
        namespace = operator.namespace, "watching"
    );
    let (told, mut changes) = mpsc::channel(1);
    let mut watcher = watch(&manifests, &told);
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    loop {
        let complete = operator.pass();
        // A watch ends with its folder: after trouble a new one is set.
        if watcher.is_none() || !complete {
            watcher = watch(&manifests, &told);
        }
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = tokio::time::sleep(POLL) => {}
            _ = changes.recv() => {
                tokio::time::sleep(DEBOUNCE).await;
                while changes.try_recv().is_ok() {}
            }
        }
    }
    tracing::info!("stopped");
    Ok(())
}

struct Operator {
    manifests: Manifests,
    state: State,
    config: ConfigDir,
    report: Report,
    namespace: String,
    store: StoreOptions,
    allowed_hosts: Arc<AllowedHosts>,
    /// Whether all manifests could be read at some time since the start.
    read_whole: bool,
}

impl Operator {
    /// One pass from the folder to the config. False: something could not be read or written, and the last good state
    /// stays in force.
    fn pass(&mut self) -> bool {
        let problems = self.manifests.read();
        let read_all = problems.is_empty();
        self.report.problems(problems);
        let judged = logins(&self.store).and_then(|logins| Ok((self.judge(read_all, logins.is_some())?, logins)));
        let ((world, judgement), logins) = match judged {
            Ok(judged) => judged,
            Err(error) => {
                self.report.trouble(Some(format!("{error:#}")));
                return false;
            }
        };
        self.report.conditions(&judgement.conditions);
        self.read_whole |= read_all;
        if !self.read_whole && self.config.has_config() {
            // What was good before this process began is known only to the config that an earlier one wrote.
            let trouble = "some manifests cannot be read: the config of an earlier run stays until all can";
            self.report.trouble(Some(trouble.to_owned()));
            return false;
        }
        let store = logins.map(|logins| logins.of(&self.namespace, Timestamp::now()));
        let written = self.config.write(judgement.config(&world, &self.namespace, Credentials::Deliver, store));
        if let Ok(Some(generation)) = written {
            tracing::info!(generation, "config written");
        }
        let ok = written.is_ok();
        self.report.trouble(written.err().map(|error| format!("{error:#}")));
        ok && read_all
    }

    /// What is in the folder, and how it is to be judged.
    fn world(&self, counting: Counting) -> World {
        World { counting, allowed_hosts: Arc::clone(&self.allowed_hosts), ..self.manifests.world() }
    }

    /// Judges, and makes the keys that are missing or due.
    fn judge(&mut self, read_all: bool, together: bool) -> anyhow::Result<(World, DesiredState)> {
        let counting = if together { Counting::Together } else { Counting::Apart };
        let mut world = self.world(counting);
        self.state.complete(&mut world, read_all, Instant::now())?;
        let now = Timestamp::now();
        let judgement = judge(&world, now);
        if judgement.to_mint.is_empty() {
            return Ok((world, judgement));
        }
        for mint in &judgement.to_mint {
            let path = self.state.mint(mint, now)?;
            let show = self.state.command_for(&mint.api_key);
            tracing::info!(api_key = %mint.api_key, secret = %path.display(), because = %mint.cause, show, "key made");
        }
        let mut world = self.world(counting);
        self.state.complete(&mut world, read_all, Instant::now())?;
        let judgement = judge(&world, now);
        Ok((world, judgement))
    }
}

/// The store as the sidecar is told of it; its files may have changed.
fn logins(store: &StoreOptions) -> anyhow::Result<Option<Logins>> {
    Ok(store.read_whole()?.map(Logins::Given))
}

/// Prints the config once. The exit code says whether everything in the folder is in order.
pub fn render(settings: &Render, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let Render { manifests, state_dir, namespace, store, hosts } = settings;
    let logins = logins(store)?;
    must_be_folder(manifests)?;
    let mut folder = Manifests::new(manifests, namespace);
    let problems = folder.read();
    let mut in_order = problems.is_empty();
    let mut report = Report::default();
    report.problems(problems);
    let mut world = folder.world();
    world.allowed_hosts = hosts.allowed();
    world.counting = if logins.is_some() { Counting::Together } else { Counting::Apart };
    if let Some(state_dir) = state_dir {
        must_be_folder(state_dir)?;
        State::open(state_dir)?.read_into(&mut world);
    }
    state::identify_by_name(&mut world);
    let judgement = judge(&world, Timestamp::now());
    in_order &= !judgement
        .conditions
        .values()
        .flatten()
        .any(|condition| condition.stops() && condition.reason != "SecretPending");
    report.conditions(&judgement.conditions);
    let store = logins.map(|logins| logins.of(namespace, Timestamp::now()));
    let mut config = judgement.config(&world, namespace, Credentials::Deliver, store).config;
    config.generation = 1;
    out.write_all(write_v1(&config)?.as_bytes())?;
    Ok(if in_order { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn must_be_folder(folder: &Path) -> anyhow::Result<()> {
    match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => bail!("{} is not a folder", folder.display()),
        Err(error) => Err(error).with_context(|| format!("failed to open the folder {}", folder.display())),
    }
}

/// `config` → `config.state`.
fn beside(config_dir: &Path) -> PathBuf {
    let mut name = config_dir.file_name().unwrap_or_default().to_owned();
    name.push(".state");
    config_dir.with_file_name(name)
}

fn watch(folder: &Path, told: &mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let told = told.clone();
    let on_event = move |event: notify::Result<notify::Event>| {
        // Reading the folder is an event as well: answering it would never end.
        let matters = |event: notify::Event| {
            let by_path = |path: &PathBuf| path.extension().is_none() || manifests::is_manifest(path);
            !event.kind.is_access() && event.paths.iter().any(by_path)
        };
        if event.is_ok_and(matters) {
            // A full channel holds the same news already.
            let _ = told.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(on_event).ok()?;
    watcher.watch(folder, RecursiveMode::Recursive).ok()?;
    Some(watcher)
}
