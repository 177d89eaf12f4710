//! From settings to a running sidecar, and to its orderly end.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use vectoll_config::{Uid, v1::Budget};

use crate::{
    access::{AccessLog, CallObservers, Writer},
    accounting::{Accounting, TrialMetrics, WaitMetrics, WaitQueues},
    background::Background,
    call::{MemoryShares, RequestLimits},
    client_address::TrustedProxies,
    compute::{Compute, ComputeMetrics},
    gateway::Gateway,
    memory::MemoryLimiter,
    metrics::{BookFamilies, Metrics, Source},
    policy::{InForce, OwnKey, Policy, SharedState},
    proxy::Proxy,
    reload::{self, KEPT_FOR_STORE, Namespaces, NamespacesMetrics, Reload, Reloader, StoreSender},
    server::{Guard, ProxyListener, Server, tls::ServedCertificate},
    settings::{GatewaySettings, Settings, Switch},
    telemetry::Telemetry,
    tenancy::Tenancy,
    tokenizer,
    unauthorized::Unauthorized,
};
use vectoll_clock::Clock;
use vectoll_ledger::{
    books::Books,
    checkpoint::{CHECKPOINT_PERIOD, CheckpointWriter},
    journal::{JournalMetrics, Options, Retention},
};
use vectoll_limits::{
    counters::{self, Account, Counters, Open, SharedCounters, Spending},
    store::{Driver, ExchangeThreads, protocol::Identity},
};
use vectoll_upstream::descriptors;

/// After the drain's time is up, calls under way are ended; this is how long that may take.
const LAST_MOMENT: Duration = Duration::from_millis(500);
/// How long the store may take to hear the last of it, beyond the drain's time.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    settings.check()?;
    let own = settings.own_key()?;
    let certificate = settings.gateway.certificate().map(ServedCertificate::load).transpose()?;
    let (certificate, tls) = certificate.unzip();
    descriptors::raise();
    let journal = JournalMetrics::new().context("failed to set up the metrics")?;
    // As if there were a store, until the config says that there is none.
    let options = Options::new(settings.journal_max_bytes, Retention::Acknowledged { keep: KEPT_FOR_STORE });
    let keeper: CheckpointWriter<counters::LocalCounters> =
        CheckpointWriter::resume(&settings.state_dir, options, journal.clone())?;
    let proxy = assemble(&settings, &keeper, &journal)?;
    if let Some(certificate) = &certificate {
        proxy.metrics.add(|registry| certificate.register(registry)).context("failed to set up the metrics")?;
    }
    let (store, place) = watch::channel(None);
    let watching = follow_config(&settings, &proxy, own, store).await?;
    let certificate = certificate.map(|certificate| tokio::spawn(certificate.watch()));
    let (hang_up, end) = watch::channel(None);
    let mut speaking = tokio::spawn(driver(&settings, &proxy, &keeper)?.run(place, end));

    let (stop, stopped) = watch::channel(false);
    let (stop_admin, admin_stopped) = watch::channel(false);
    let admin = Server::admin(settings.admin_listen, proxy.clone(), settings.idle_timeout).await?;
    let admin = tokio::spawn(admin.serve(admin_stopped));
    let probes = match settings.gateway.probe_listen {
        Some(address) => {
            let probes = Server::probes(address, proxy.clone(), settings.idle_timeout).await?;
            Some(tokio::spawn(probes.serve(stop_admin.subscribe())))
        }
        None => None,
    };
    let listener = ProxyListener {
        addresses: &settings.listen,
        socket: settings.listen_unix.as_deref(),
        idle_timeout: settings.idle_timeout,
        max_age: settings.gateway.max_connection_age(),
        max_connections: settings.gateway.max_connections,
        tls,
    };
    let serving = Server::proxy(proxy.clone(), listener).await?;
    let mut serving = tokio::spawn(serving.serve(stopped));
    let watching = tokio::spawn(watching);
    let (keep_on, kept_on) = watch::channel(true);
    let keeping = tokio::spawn(keep(keeper, proxy.accounting.clock, kept_on));

    asked_to_stop().await?;
    let drain_ends = Instant::now() + settings.drain_timeout;
    tracing::info!(timeout_seconds = settings.drain_timeout.as_secs(), "stopping: calls under way may finish");
    // Readiness fails first; the admin listener stays to say so and to be scraped.
    proxy.stopping.store(true, Ordering::Relaxed);
    stop.send_replace(true);
    let drained = tokio::time::timeout(settings.drain_timeout, async {
        let _ = (&mut serving).await;
        proxy.tasks.done().await;
    });
    if drained.await.is_err() {
        let open = proxy.accounting.counters.open();
        tracing::warn!(calls = open.calls, "calls were still under way: they are booked as unsettled");
        let _ = tokio::time::timeout(LAST_WORDS, load_tokenizers(&proxy)).await;
        proxy.tasks.end();
        let _ = tokio::time::timeout(LAST_MOMENT, proxy.tasks.done()).await;
    }
    let observers = proxy.observers.clone();
    let _ = tokio::task::spawn_blocking(move || observers.flush(LAST_MOMENT)).await;
    // After the last call was settled: spend goes to the store, and what is held goes back. Where the store is away just now, what is
    // left of the drain's time is for it: a pod that goes takes its journal along.
    let last = drain_ends.max(Instant::now()) + LAST_WORDS;
    hang_up.send_replace(Some(last));
    if tokio::time::timeout(2 * LAST_WORDS, &mut speaking).await.is_err() {
        let left = last.saturating_duration_since(Instant::now());
        tracing::warn!(seconds = left.as_secs(), "the store has not taken all of the spend yet: waiting for it");
        if tokio::time::timeout(left, &mut speaking).await.is_err() {
            tracing::warn!("not everything could be written to the store: the journal keeps the rest");
            speaking.abort();
        }
    }
    watching.abort();
    for task in certificate.iter().chain(&probes) {
        task.abort();
    }
    stop_admin.send_replace(true);
    keep_on.send_replace(false);
    keeping.await.context("failed to keep the books")??;
    // After the books: whatever a collector does, nothing waits for it.
    if let Some(telemetry) = proxy.observers.telemetry.clone() {
        let _ = tokio::task::spawn_blocking(move || telemetry.stop(LAST_MOMENT)).await;
    }
    admin.abort();
    tracing::info!("stopped");
    Ok(())
}

/// Applies the config that there is, and then each that comes.
async fn follow_config(
    settings: &Settings,
    proxy: &Arc<Proxy>,
    own: Option<OwnKey>,
    store: StoreSender,
) -> anyhow::Result<Pin<Box<dyn Future<Output = ()> + Send>>> {
    let (backends, egress) = (proxy.metrics.backends.clone(), settings.egress()?);
    let failed = "failed to set up the HTTP client";
    Ok(match settings.tenancy() {
        Tenancy::One => {
            let lasting = SharedState::new(settings.identity(), egress, backends).context(failed)?;
            let mut reloader = Reloader::new(&settings.config_dir, proxy.clone(), lasting, own, store);
            reloader.reload().await;
            Box::pin(reload::watch(reloader))
        }
        Tenancy::Many => {
            let GatewaySettings { max_cache_bytes, .. } = settings.gateway;
            let lasting =
                SharedState::of_many(settings.gateway.reach(), egress, max_cache_bytes, backends).context(failed)?;
            let metrics = proxy.metrics.add(NamespacesMetrics::register).context("failed to set up the metrics")?;
            let mut reloader = Namespaces::new(&settings.config_dir, proxy.clone(), lasting, store, metrics);
            reloader.reload().await;
            Box::pin(reload::watch(reloader))
        }
    })
}

/// What calls are counted with that are about to be dropped: they are booked at their own tokens then, where these are few.
async fn load_tokenizers(proxy: &Proxy) {
    let policy = proxy.policy.load_full();
    for backend in policy.backends() {
        tokenizer::load(&backend.tokens, proxy.compute()).await;
    }
}

fn driver(
    settings: &Settings,
    proxy: &Proxy,
    keeper: &CheckpointWriter<counters::LocalCounters>,
) -> anyhow::Result<Driver> {
    let (journal, leased) = (keeper.journal(), proxy.accounting.counters.together());
    // Before anybody is served: nothing is granted until the driver has read the journal.
    leased.begin_recall();
    let threads = ExchangeThreads::start().context("failed to start threads for the store")?;
    Ok(Driver {
        leased,
        threads,
        identity: Identity { sidecar: journal.identity().to_string().into(), epoch: journal.epoch() },
        journal,
        pod: settings.pod_name.as_str().into(),
        served: Arc::new(InForce(proxy.policy.clone())),
        clock: proxy.accounting.clock,
        metrics: proxy.metrics.store.clone(),
    })
}

fn assemble(
    settings: &Settings,
    keeper: &CheckpointWriter<counters::LocalCounters>,
    journal: &JournalMetrics,
) -> anyhow::Result<Arc<Proxy>> {
    let clock = Clock::start();
    let waits = WaitMetrics::new().context("failed to set up the metrics")?;
    let computing = ComputeMetrics::new().context("failed to set up the metrics")?;
    let accounting = Arc::new(Accounting {
        counters: Arc::new(Counters::new(keeper.balances(), Arc::new(SharedCounters::new(clock)))),
        ledger: keeper.ledger(),
        journal: keeper.journal(),
        wait_queues: WaitQueues::new(waits.clone()),
        trials: TrialMetrics::new().context("failed to set up the metrics")?,
        clock,
        compute: Compute::new(computing.clone()),
    });
    let policy = Arc::new(ArcSwap::from_pointee(Policy::default()));
    let scraped = Scraped { accounting: accounting.clone(), policy: policy.clone() };
    let metrics = Metrics::new(
        BookFamilies::new(Box::new(scraped), settings.user_metrics == Switch::On, settings.tenancy()),
        (journal, &accounting.trials, &waits),
        settings.tenancy(),
    )
    .context("failed to set up the metrics")?;
    metrics.add(|registry| computing.register(registry)).context("failed to set up the metrics")?;
    let observers = observers(settings, &metrics)?;
    let (gateway, shares) = match settings.tenancy() {
        Tenancy::One => (None, MemoryShares::Keys),
        Tenancy::Many => {
            let unauthorized = Unauthorized::new().context("failed to set up the metrics")?;
            metrics.add(|registry| unauthorized.register(registry)).context("failed to set up the metrics")?;
            let proxies = TrustedProxies::new(settings.gateway.trusted_proxies.clone());
            (Some(Gateway { proxies, unauthorized }), MemoryShares::Namespaces)
        }
    };
    Ok(Arc::new(Proxy {
        policy,
        accounting,
        metrics,
        observers,
        guard: Guard { hosts: settings.allowed_hosts.clone(), origins: settings.allowed_origins.clone() },
        request_limits: RequestLimits {
            body: settings.max_body_bytes,
            body_timeout: settings.body_timeout,
            memory: MemoryLimiter::new(settings.max_held_bytes),
            shares,
        },
        tasks: Background::default(),
        coalescer: Arc::default(),
        gateway,
        stopping: AtomicBool::new(false),
    }))
}

/// Who is told of calls.
fn observers(settings: &Settings, metrics: &Metrics) -> anyhow::Result<CallObservers> {
    let log = match settings.access_log {
        Switch::Off => None,
        Switch::On => {
            let writer =
                Writer::start(std::io::stdout(), metrics.lost_lines()?).context("failed to start the access log")?;
            Some(Arc::new(AccessLog::new(writer, settings.access_log_sampling)))
        }
    };
    let telemetry =
        settings.exporting()?.map(|exporting| metrics.add(|registry| Telemetry::start(exporting, registry)));
    Ok(CallObservers { log, telemetry: telemetry.transpose()?, tenancy: settings.tenancy() })
}

/// Writes checkpoints while something changes: every so often, whenever a segment of the journal has come to its end, and a
/// last time at the end.
async fn keep(
    mut keeper: CheckpointWriter<counters::LocalCounters>,
    clock: Clock,
    mut on: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut failing = false;
    let journal = keeper.journal();
    loop {
        // Asked before the writing: the last one must contain everything. The first one is written at once: what was replayed
        // need not be replayed again.
        let last = !*on.borrow();
        let (saved, back) = tokio::task::spawn_blocking(move || {
            let saved = keeper.save(clock.now().elapsed);
            (saved, keeper)
        })
        .await
        .context("failed to write the books")?;
        keeper = back;
        match saved {
            Ok(()) => failing = false,
            Err(error) if last => return Err(error.into()),
            Err(error) if !failing => {
                tracing::error!(%error, "the checkpoint cannot be written: the journal grows meanwhile");
                failing = true;
            }
            Err(_) => {}
        }
        if last {
            return Ok(());
        }
        tokio::select! {
            _ = on.wait_for(|on| !on) => {}
            () = journal.rotated() => {}
            () = tokio::time::sleep(CHECKPOINT_PERIOD) => {}
        }
    }
}

async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The numbers at the moment of a scrape.
struct Scraped {
    accounting: Arc<Accounting>,
    policy: Arc<ArcSwap<Policy>>,
}

impl Source for Scraped {
    fn books(&self) -> Books {
        self.accounting.ledger.copy()
    }

    fn open(&self) -> Open {
        self.accounting.counters.open()
    }

    fn spending(&self, team: &Uid, account: &Account, budget: &Budget) -> Option<Spending> {
        self.accounting.counters.spending(team, account, budget, self.accounting.now())
    }

    fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }
}
