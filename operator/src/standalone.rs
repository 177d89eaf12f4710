//! The operator without a cluster: a folder of manifests in place of the API server, a config folder in place of a
//! Secret, a state folder in place of the Secrets that hold generated keys.
//!
//! The desired state is the cluster's own ([`crate::desired_state`]). What differs stands here: reading files that may be
//! half-written ([`manifests`]), keeping what the API server would keep ([`state`]), and writing as the kubelet does
//! ([`config_dir`]).

mod change_logger;
mod config_dir;
mod key;
mod manifest;
mod manifests;
mod output;
mod page;
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

pub use self::key::key;
use self::{change_logger::ChangeLogger, manifests::Manifests, output::Output, page::Served, state::State};
use crate::{
    cli::{Render, Standalone, StoreOptions},
    delivery::DeliverySetting,
    desired_state::{Credentials, DesiredState, desired_state},
    observed_state::{Counting, ObservedState},
    price::PriceSource,
    provider_hosts::AllowedHosts,
    store::Logins,
};

/// How often the folder is read without being told to.
const POLL: Duration = Duration::from_secs(2);
/// Editors write in several steps: a change is looked at so much later.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Runs until SIGTERM or SIGINT.
pub async fn run(settings: Standalone) -> anyhow::Result<()> {
    let Standalone {
        manifests,
        config_dir,
        gateway,
        state_dir,
        namespace,
        page_listen,
        store,
        hosts,
        delivery,
        prices,
    } = settings;
    // What is invalid is reported at once, and not at each pass.
    let has_store = store.read_whole()?.is_some();
    must_be_folder(&manifests)?;
    let state_dir = state_dir.unwrap_or_else(|| beside(&config_dir));
    let page = match page_listen {
        Some(address) => Some(Served::start(address, has_store).await?),
        None => None,
    };
    let mut operator = Operator {
        page,
        manifests: Manifests::new(&manifests, &namespace),
        state: State::open(&state_dir)?,
        output: Output::open(&config_dir, &namespace, gateway)?,
        change_logger: ChangeLogger::default(),
        store,
        allowed_hosts: hosts.allowed(),
        delivery: Arc::new(delivery.setting(gateway)?),
        prices: prices.source(),
        read_whole: false,
    };
    tracing::info!(
        manifests = %manifests.display(), config_dir = %config_dir.display(), state_dir = %state_dir.display(),
        namespace, gateway, "watching"
    );
    let (notify, mut changes) = mpsc::channel(1);
    let mut watcher = watch(&manifests, &notify);
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    loop {
        let complete = operator.pass();
        // A watch ends with its folder: after trouble a new one is set.
        if watcher.is_none() || !complete {
            watcher = watch(&manifests, &notify);
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
    page: Option<Served>,
    manifests: Manifests,
    state: State,
    output: Output,
    change_logger: ChangeLogger,
    store: StoreOptions,
    allowed_hosts: Arc<AllowedHosts>,
    delivery: Arc<DeliverySetting>,
    prices: PriceSource,
    /// Whether all manifests could be read at some time since the start.
    read_whole: bool,
}

impl Operator {
    /// One pass from the folder to the config. False: something could not be read or written, and the last good state
    /// stays in force.
    fn pass(&mut self) -> bool {
        self.prices.refresh();
        let problems = self.manifests.read();
        let read_all = problems.is_empty();
        self.change_logger.problems(problems);
        let read = logins(&self.store).and_then(|logins| Ok((self.desired_state(read_all, logins.is_some())?, logins)));
        let ((observed, desired), logins) = match read {
            Ok(read) => read,
            Err(error) => {
                self.change_logger.trouble(Some(format!("{error:#}")));
                return false;
            }
        };
        self.change_logger.conditions(&desired.conditions);
        if let Some(page) = &self.page {
            page.publish(&observed, &desired, logins.as_ref());
        }
        self.read_whole |= read_all;
        let keeps_earlier = if self.read_whole { Ok(false) } else { self.output.has_config() };
        let written = match keeps_earlier {
            Ok(true) => {
                // What was good before this process began is known only to the config that an earlier one wrote.
                let trouble = "some manifests cannot be read: the config of an earlier run stays until all can";
                self.change_logger.trouble(Some(trouble.to_owned()));
                return false;
            }
            Ok(false) => self.output.write((&desired, &observed), logins.as_ref(), read_all),
            Err(error) => Err(error),
        };
        let ok = written.is_ok();
        self.change_logger.trouble(written.err().map(|error| format!("{error:#}")));
        ok && read_all
    }

    /// What is in the folder, and how it is to be read.
    fn observed(&self, counting: Counting) -> ObservedState {
        ObservedState {
            counting,
            allowed_hosts: Arc::clone(&self.allowed_hosts),
            delivery: Arc::clone(&self.delivery),
            pricing: self.prices.last().clone(),
            ..self.manifests.observed()
        }
    }

    /// Judges, and makes the keys that are missing or due.
    fn desired_state(&mut self, read_all: bool, together: bool) -> anyhow::Result<(ObservedState, DesiredState)> {
        let counting = if together { Counting::Together } else { Counting::Apart };
        let mut observed = self.observed(counting);
        self.state.complete(&mut observed, read_all, Instant::now())?;
        let now = Timestamp::now();
        let desired = desired_state(&observed, now);
        if desired.to_create.is_empty() {
            return Ok((observed, desired));
        }
        for creation in &desired.to_create {
            let path = self.state.create_value(creation, now)?;
            let show = self.state.command_for(&creation.api_key);
            tracing::info!(api_key = %creation.api_key, secret = %path.display(), because = %creation.cause, show, "key made");
        }
        let mut observed = self.observed(counting);
        self.state.complete(&mut observed, read_all, Instant::now())?;
        let desired = desired_state(&observed, now);
        Ok((observed, desired))
    }
}

/// The store as the sidecar is told of it; its files may have changed.
fn logins(store: &StoreOptions) -> anyhow::Result<Option<Logins>> {
    Ok(store.read_whole()?.map(Logins::Given))
}

/// Prints the config once. The exit code says whether everything in the folder is in order.
pub fn render(settings: &Render, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let Render { manifests, state_dir, namespace, store, hosts, delivery, prices } = settings;
    let logins = logins(store)?;
    must_be_folder(manifests)?;
    let mut folder = Manifests::new(manifests, namespace);
    let problems = folder.read();
    let mut in_order = problems.is_empty();
    let mut change_logger = ChangeLogger::default();
    change_logger.problems(problems);
    let mut observed = folder.observed();
    observed.allowed_hosts = hosts.allowed();
    observed.delivery = Arc::new(delivery.setting(false)?);
    let mut prices = prices.source();
    observed.pricing = prices.refresh().clone();
    in_order &= !prices.is_stale();
    observed.counting = if logins.is_some() { Counting::Together } else { Counting::Apart };
    if let Some(state_dir) = state_dir {
        must_be_folder(state_dir)?;
        State::open(state_dir)?.read_into(&mut observed);
    }
    state::identify_by_name(&mut observed);
    let desired = desired_state(&observed, Timestamp::now());
    in_order &= !desired
        .conditions
        .values()
        .flatten()
        .any(|condition| condition.stops() && condition.reason != "SecretPending");
    change_logger.conditions(&desired.conditions);
    let store = logins.map(|logins| logins.of(namespace, Timestamp::now()));
    let mut config = desired.config(&observed, namespace, Credentials::Deliver, store).config;
    config.generation = 1;
    // For people, in the form that they write.
    serde_yaml::to_writer(out, &config)?;
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

fn watch(folder: &Path, notify: &mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let notify = notify.clone();
    let on_event = move |event: notify::Result<notify::Event>| {
        // Reading the folder is an event as well: answering it would never end.
        let matters = |event: notify::Event| {
            let by_path = |path: &PathBuf| path.extension().is_none() || manifests::is_manifest(path);
            !event.kind.is_access() && event.paths.iter().any(by_path)
        };
        if event.is_ok_and(matters) {
            // A full channel holds the same news already.
            let _ = notify.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(on_event).ok()?;
    watcher.watch(folder, RecursiveMode::Recursive).ok()?;
    Some(watcher)
}
