//! The operator in a cluster: the API server in place of a folder, Secrets in place of files.
//!
//! The way of a change: a watch puts it into its cache ([`watch`], [`object_cache`]), the loop wakes ([`reconciler`]), the pure
//! desired state says what should be ([`crate::desired_state`]), the pure plan says what differs ([`plan`]), and each difference is one
//! action on one object ([`apply`]). Only the replica that holds the Lease acts ([`lease`]); all of them watch and serve the
//! webhook.

mod admin;
mod api_time;
mod apply;
mod census;
mod changes;
mod cluster_state;
mod config;
mod facts;
mod fit;
mod gateway;
mod gateway_address;
mod gateway_certificate;
mod gather;
mod generations;
mod index;
mod lease;
mod memory;
mod metadata_only;
mod metrics;
mod metrics_access;
mod names;
mod namespace_annotations;
mod object_cache;
mod outdated;
mod page;
mod plan;
mod prices;
mod queue;
mod raw;
mod readable;
mod reconcile_namespace;
mod reconciler;
mod revoked;
mod schedule;
mod snapshot;
pub(crate) mod spend;
mod status;
mod stop;
mod store;
mod store_secret;
mod totals;
mod tracked;
mod watch;
mod watches;
mod webhook_certificate;
mod write_rate;

// For those who only look: one reading of a resource for all.
pub(crate) use self::{cluster_state::tracked as as_tracked, raw::Raw, readable::Readable, tracked::Tracked};

use std::{net::SocketAddr, sync::Arc, time::Instant};

use anyhow::{Context, ensure};
use http::{HeaderValue, header};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, Config,
    runtime::events::{Recorder, Reporter},
};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::watch as channel,
    task::{JoinHandle, JoinSet},
};

use vectoll_crds::Delivery;

use self::{
    apply::Applier,
    gateway::{Shares, Writer},
    gateway_address::CaSecret,
    lease::{LeaderElector, Tenure},
    metrics::Metrics,
    metrics_access::MetricsAccess,
    outdated::OutdatedSidecars,
    reconciler::{Reconciler, WriteLimits},
    store::Store,
    watch::{Scope, StateHandle},
    webhook_certificate::{Expiry, Shown, Webhook},
};
use crate::{
    cli::{CertificateKeeper, Run},
    delivery::{DeliverySetting, GatewayPlace},
    inject::InjectionSettings,
    webhook,
};

/// Runs until SIGTERM or SIGINT. What must answer at any time (webhook, Lease, probes) runs on `serving`, with a client of its own.
pub async fn run(settings: Run, serving: Handle) -> anyhow::Result<()> {
    let mut config = Config::infer().await.context("failed to find the cluster: no kubeconfig, and not in a pod")?;
    // So that the API server's audit log tells who it was.
    let agent = HeaderValue::from_static(concat!("vectoll-operator/", env!("CARGO_PKG_VERSION")));
    config.headers.push((header::USER_AGENT, agent));
    let client = |config: Config| Client::try_from(config).context("failed to set up the client of the API server");
    let apart = {
        let _on = serving.enter();
        client(config.clone())?
    };
    let client = client(config)?;
    let version = client.apiserver_version().await.context("failed to reach the API server")?;
    tracing::info!(kubernetes = version.git_version, identity = settings.identity, "the API server answers");
    let metrics = Metrics::new().context("failed to set up the metrics")?;
    let shared = StateHandle::default();
    shared.cluster().spend_writes = settings.status.spend_writes()?;
    shared.cluster().gateway_only = settings.gateway.gateway_only;
    shared.cluster().spend_labels = settings.spend.labels()?.into();
    let (stop, stopped) = channel::channel(false);
    let (resign, resigned) = channel::channel(false);
    let (drain, draining) = channel::channel(false);
    let (lead, leads) = channel::channel(false);

    let watches = watch::begin(&client, &Scope::new(settings.watch_namespaces.clone()), &shared, &metrics);
    let injection = injection(&settings)?;
    let outdated = count_outdated(injection.as_ref(), &shared, &leads, &metrics)?;
    let of_webhook = (settings.clone(), injection);
    let webhook = serve_webhook(of_webhook, apart.clone(), leads.clone(), metrics.clone(), draining.clone());
    let webhook = serving.spawn(webhook).await.context("the webhook did not start")??;
    let (mut webhook, certificate) = webhook.unzip();
    let access = MetricsAccess::new(apart.clone(), settings.metrics_authentication);
    let router = admin::router(metrics.clone(), shared.clone(), certificate, access);
    let mut admin = serve_admin(&serving, settings.admin_listen, router).await?;

    let leases: Api<Lease> = Api::namespaced(apart.clone(), &settings.operator_namespace);
    let tenure = Tenure::default();
    let candidate = LeaderElector::new(leases, &settings.lease, &settings.identity, tenure.clone());
    let fitness = shared.clone();
    let fit = move || {
        let cluster = fitness.cluster();
        cluster.watches.are_synced() && !cluster.watches.have_failed(Instant::now())
    };
    let mut candidate = serving.spawn(candidate.run(lead, resigned, fit));
    let reporter = Reporter { controller: names::MANAGER.to_owned(), instance: Some(settings.identity.clone()) };
    let hands = Applier::new(client.clone(), Recorder::new(client.clone(), reporter), shared.clone());
    let store = Store::new(&settings, &client, &shared, &metrics)?;
    let known = (apart, shared.clone(), leads.clone());
    let mut page = serve_page(&serving, &settings, known, store.as_ref(), draining).await?;
    let limits = WriteLimits {
        per_second: settings.write_rate,
        burst: settings.write_burst,
        parallel: settings.write_parallelism,
    };
    let hosts = settings.hosts.allowed();
    let prices =
        prices::follow(settings.prices.source(), metrics.registry()).context("failed to set up the metrics")?;
    let delivery = delivery(&settings, &client)?;
    let gateway = write_gateway(&settings, &client, (shared.clone(), tenure.clone(), leads.clone()), &metrics)?;
    let (gateway_shares, gateway) = gateway.unzip();
    let control = Reconciler::new(
        client.clone(),
        shared.clone(),
        hands,
        metrics.clone(),
        (store, gateway_shares),
        hosts,
        (prices, delivery),
        tenure,
        limits,
    );
    let mut control = tokio::spawn(control.run(leads.clone(), stopped));
    let following = tokio::spawn(follow_leadership(leads, metrics));

    // None of these ends by itself. A replica without one of them must not go on as if it were whole.
    let ended = tokio::select! {
        asked = asked_to_stop() => { asked?; None }
        _ = &mut control => Some("the loop"),
        _ = &mut candidate => Some("the candidate for the Lease"),
        _ = &mut admin => Some("the listener for Prometheus and probes"),
        () = ended(webhook.as_mut()) => Some("the webhook"),
        () = ended(page.as_mut()) => Some("the page"),
    };
    if let Some(what) = ended {
        anyhow::bail!("{what} has ended: see the log");
    }
    tracing::info!("stopping: what is under way is finished, the Lease is given back");
    // The loop ends before the Lease goes: never do two replicas act.
    stop.send_replace(true);
    let _ = control.await;
    resign.send_replace(true);
    let _ = candidate.await;
    drain.send_replace(true);
    if let Some(webhook) = webhook {
        let _ = webhook.await;
    }
    if let Some(page) = page {
        let _ = page.await;
    }
    following.abort();
    drop((gateway, outdated));
    admin.abort();
    drop(watches);
    tracing::info!("stopped");
    Ok(())
}

/// Who carries out the calls of routes, as the settings and the Secret of the gateway's certificate say.
fn delivery(settings: &Run, client: &Client) -> anyhow::Result<channel::Receiver<Arc<DeliverySetting>>> {
    let Run { delivery, gateway, operator_namespace, .. } = settings;
    let has_gateway = gateway.gateway_shards > 0;
    ensure!(
        has_gateway || delivery.gateway_url.is_none(),
        "--gateway-url: this operator writes configs for no gateway: set --gateway-shards"
    );
    let setting = delivery.setting(false)?;
    ensure!(
        setting.default == Delivery::Sidecar || setting.gateway != GatewayPlace::Nowhere,
        "--default-delivery gateway without a gateway leaves nobody to call providers: set --gateway-shards and --gateway-url"
    );
    let name = gateway.gateway_ca_secret.as_ref().unwrap_or(&gateway.gateway_tls_secret);
    let secret = CaSecret { namespace: operator_namespace.clone(), name: name.clone() };
    let is_followed = has_gateway && !gateway.gateway_well_known_cas;
    Ok(gateway_address::follow(client.clone(), setting, Some(secret).filter(|_| is_followed)))
}

/// Begins to keep the gateway's configs and its certificate, if there is a gateway. What ends with the tasks is theirs.
fn write_gateway(
    settings: &Run,
    client: &Client,
    (shared, tenure, leads): (StateHandle, Tenure, channel::Receiver<bool>),
    metrics: &Metrics,
) -> anyhow::Result<Option<(Shares, JoinSet<()>)>> {
    let options = &settings.gateway;
    let shards = usize::try_from(options.gateway_shards).unwrap_or_default();
    if shards == 0 {
        ensure!(
            !options.gateway_only,
            "--gateway-only without a gateway leaves nobody to call providers: set --gateway-shards"
        );
        return Ok(None);
    }
    let gateway_shares = Shares::default();
    let of_writer = gateway::Settings {
        namespace: settings.operator_namespace.clone(),
        shards,
        prefix: options.gateway_secrets.clone(),
        pods: options.gateway_pods.clone(),
    };
    let writer = Writer::new(client, of_writer, (gateway_shares.clone(), shared, tenure), metrics.registry())
        .context("failed to set up the metrics")?;
    let mut tasks = JoinSet::new();
    tasks.spawn(writer.run());
    tasks.spawn(gateway::issuer::follow(client.clone(), gateway_shares.clone()));
    if options.gateway_certificate == CertificateKeeper::Own {
        let certificate = gateway_certificate::Gateway {
            namespace: settings.operator_namespace.clone(),
            secret: options.gateway_tls_secret.clone(),
            names: options.gateway_names.clone(),
        };
        tasks.spawn(gateway_certificate::maintain(client.clone(), certificate, leads));
    }
    Ok(Some((gateway_shares, tasks)))
}

/// Serves Prometheus and probes.
async fn serve_admin(
    serving: &Handle,
    address: SocketAddr,
    router: axum::Router,
) -> anyhow::Result<JoinHandle<std::io::Result<()>>> {
    let bound = serving.spawn(TcpListener::bind(address)).await.context("the listener for Prometheus did not start")?;
    let listener = bound.with_context(|| format!("failed to listen on {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "listening for Prometheus and probes");
    Ok(serving.spawn(async move { axum::serve(listener, router).await }))
}

/// Serves the page, if it is asked for.
async fn serve_page(
    serving: &Handle,
    settings: &Run,
    known: (Client, StateHandle, channel::Receiver<bool>),
    store: Option<&Store>,
    draining: channel::Receiver<bool>,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(address) = settings.page_listen else { return Ok(None) };
    page::serve(serving, address, settings, known, store.map(Store::history), draining).await.map(Some)
}

/// How sidecars are injected; none: they are not.
fn injection(settings: &Run) -> anyhow::Result<Option<InjectionSettings>> {
    let Some(file) = &settings.injection_config else { return Ok(None) };
    let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    let injection = InjectionSettings::read(&text).with_context(|| format!("failed to use {}", file.display()))?;
    Ok(Some(injection))
}

/// Begins to count the sidecars of earlier releases. What ends with the tasks is theirs.
fn count_outdated(
    injection: Option<&InjectionSettings>,
    shared: &StateHandle,
    leads: &channel::Receiver<bool>,
    metrics: &Metrics,
) -> anyhow::Result<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    if let Some(injection) = injection {
        let outdated = OutdatedSidecars::register(metrics.registry()).context("failed to set up the metrics")?;
        tasks.spawn(outdated.follow(shared.clone(), injection.image.clone(), leads.clone()));
    }
    Ok(tasks)
}

/// Serves the webhook, if sidecars are to be injected, and has its certificate kept.
async fn serve_webhook(
    (settings, injection): (Run, Option<InjectionSettings>),
    client: Client,
    leads: channel::Receiver<bool>,
    metrics: Metrics,
    draining: channel::Receiver<bool>,
) -> anyhow::Result<Option<(JoinHandle<()>, Shown)>> {
    let Some(injection) = injection else {
        tracing::info!("no --injection-config: no pod is injected");
        return Ok(None);
    };
    let names = Webhook {
        namespace: settings.operator_namespace.clone(),
        service: settings.webhook_service.clone(),
        configuration: settings.webhook_configuration.clone(),
        secret: settings.webhook_tls_secret.clone(),
    };
    let (show, shown) = channel::channel(None);
    let mut keeping = JoinSet::new();
    let expiry = Expiry::register(metrics.registry()).context("failed to set up the metrics")?;
    keeping.spawn(webhook_certificate::follow(client.clone(), names.clone(), show, expiry));
    if settings.webhook_certificate == CertificateKeeper::Own {
        keeping.spawn(webhook_certificate::maintain(client.clone(), names, leads));
    }
    let only = settings.watch_namespaces.clone();
    let namespaces = webhook::NamespaceAnnotations::awaiting(&only, namespace_annotations::fetch(client.clone()));
    keeping.spawn(namespace_annotations::follow(client, only, namespaces.clone()));
    let counters = webhook::Metrics::register(metrics.registry()).context("failed to set up the metrics")?;
    let listener = TcpListener::bind(settings.webhook_listen)
        .await
        .with_context(|| format!("failed to listen on {}", settings.webhook_listen))?;
    tracing::info!(address = %listener.local_addr()?, "listening for the API server's reviews");
    let serving = shown.clone();
    let task = tokio::spawn(async move {
        if let Err(error) = webhook::serve(listener, Arc::new(injection), namespaces, serving, counters, draining).await
        {
            tracing::error!(%error, "the webhook ended");
        }
        // Dropped here, and not before: the certificate is kept for as long as it is served.
        drop(keeping);
    });
    Ok(Some((task, shown)))
}

async fn follow_leadership(mut leads: channel::Receiver<bool>, metrics: Metrics) {
    loop {
        metrics.leads(*leads.borrow_and_update());
        if leads.changed().await.is_err() {
            return;
        }
    }
}

/// Waits for the end of a task; for ever, if there is none.
async fn ended(task: Option<&mut JoinHandle<()>>) {
    match task {
        Some(task) => drop(task.await),
        None => std::future::pending().await,
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
