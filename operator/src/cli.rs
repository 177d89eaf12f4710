//! The command line.

mod certificate_keeper;
mod delivery;
mod gateway;
mod hosts;
mod import;
mod prices;
mod report;
mod spend;
mod status;
mod store;

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::certificate_keeper::CertificateKeeper;
pub use self::delivery::{DefaultDelivery, DeliveryOptions};
pub use self::gateway::GatewayOptions;
pub use self::hosts::HostOptions;
pub use self::import::{Import, ImportLitellm};
pub use self::prices::{PriceOptions, Prices};
pub use self::report::{LedgerStore, ReportFormat, ReportOptions};
pub use self::spend::SpendOptions;
pub use self::status::StatusOptions;
pub use self::store::{OnStoreFailure, StoreKeeping, StoreOptions};
use crate::observed_state::DEFAULT_NAMESPACE;

/// Turns ApiKey, Team and ModelRoute resources into config that sidecars serve by.
#[derive(Clone, Debug, Parser)]
#[command(name = "vectoll-operator", version)]
pub struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// How the log is written to standard error
    #[arg(long, global = true, env = "VECTOLL_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// What is logged: a level, or tracing's filter directives
    #[arg(long, global = true, env = "VECTOLL_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log_filter: String,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs in a cluster: turns resources into config Secrets, makes keys, injects sidecars
    Run(Run),
    /// Watches a folder of manifests and writes the config folder of a sidecar: no cluster needed
    Standalone(Standalone),
    /// Prints a key that `standalone` generated, as it is to be pasted
    Key(Key),
    /// Prints the config that a folder of manifests makes, and what is wrong with it
    Render(Render),
    /// Prints the `CustomResourceDefinitions`
    Crds,
    /// Prints the list of prices as a `ConfigMap`, to be kept and changed
    Prices(Prices),
    /// Prints manifests made of another gateway's config, with what is left to do
    #[command(subcommand)]
    Import(Import),
    /// Prints the month's bill from the ledger in the store, or writes it to a folder
    Report(ReportOptions),
    /// Asks for one vector, as an application would, until there is one: for `helm test` and for a look from inside a pod
    Try(Try),
}

/// Settings of `run`.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// The operator's own namespace
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub operator_namespace: String,

    /// What this replica calls itself in the Lease and in events
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub identity: String,

    /// The namespaces to watch, separated by commas; by default all
    #[arg(long, env = "VECTOLL_WATCH_NAMESPACES", value_name = "NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// The address for Prometheus and probes
    #[arg(long, env = "VECTOLL_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub admin_listen: SocketAddr,

    /// Asks the API server who sends a request for /metrics, by its bearer token, and whether they may get that path. Probes are answered
    /// without a token
    #[arg(long, env = "VECTOLL_METRICS_AUTHENTICATION")]
    pub metrics_authentication: bool,

    /// The address of the page, which shows people what they may list: HTTP. Without it no page is served
    #[arg(long, env = "VECTOLL_PAGE_LISTEN", value_name = "ADDRESS")]
    pub page_listen: Option<SocketAddr>,

    /// The Lease that says which replica acts
    #[arg(long, env = "VECTOLL_LEASE", value_name = "NAME", default_value = "vectoll-operator")]
    pub lease: String,

    /// How sidecars are set up: a YAML file. Without it no webhook is served and no pod is injected
    #[arg(long, env = "VECTOLL_INJECTION_CONFIG", value_name = "FILE")]
    pub injection_config: Option<PathBuf>,

    /// The address of the webhook, which is HTTPS
    #[arg(long, env = "VECTOLL_WEBHOOK_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:9443")]
    pub webhook_listen: SocketAddr,

    /// The Service by which the API server calls the webhook
    #[arg(long, env = "VECTOLL_WEBHOOK_SERVICE", value_name = "NAME", default_value = "vectoll-webhook")]
    pub webhook_service: String,

    /// The `MutatingWebhookConfiguration` that is told the CA
    #[arg(long, env = "VECTOLL_WEBHOOK_CONFIGURATION", value_name = "NAME", default_value = "vectoll")]
    pub webhook_configuration: String,

    /// The Secret of the webhook's certificate, in the operator's namespace
    #[arg(long, env = "VECTOLL_WEBHOOK_TLS_SECRET", value_name = "NAME", default_value = "vectoll-webhook-tls")]
    pub webhook_tls_secret: String,

    /// Who keeps that certificate: the operator, or whoever fills the Secret, as cert-manager does
    #[arg(long, env = "VECTOLL_WEBHOOK_CERTIFICATE", value_name = "WHO", default_value = "own")]
    pub webhook_certificate: CertificateKeeper,

    /// Writes to the API server in a second, on average. What ends something (a key, a config) does not wait for it
    #[arg(long, env = "VECTOLL_WRITE_RATE", value_name = "WRITES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub write_rate: u32,

    /// Writes that may be made at once after a pause
    #[arg(long, env = "VECTOLL_WRITE_BURST", value_name = "WRITES", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    pub write_burst: u32,

    /// Writes under way at the same time
    #[arg(long, env = "VECTOLL_WRITE_PARALLELISM", value_name = "WRITES", default_value = "8", value_parser = parallelism)]
    pub write_parallelism: usize,

    /// The store, with an administrator's login: one that may write users
    #[command(flatten)]
    pub store: StoreOptions,

    /// How its users are kept
    #[command(flatten)]
    pub store_keeping: StoreKeeping,

    /// The gateway that configs are written for
    #[command(flatten)]
    pub gateway: GatewayOptions,

    /// What is written into statuses, and how often
    #[command(flatten)]
    pub status: StatusOptions,

    /// What spend is allocated to
    #[command(flatten)]
    pub spend: SpendOptions,

    /// The hosts that routes may name
    #[command(flatten)]
    pub hosts: HostOptions,

    /// Who carries out the calls of routes
    #[command(flatten)]
    pub delivery: DeliveryOptions,

    /// What models cost where a backend does not say it
    #[command(flatten)]
    pub prices: PriceOptions,
}

fn parallelism(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(writes @ 1..=1_000) => Ok(writes),
        Ok(_) | Err(_) => Err("must be a whole number from 1 to 1000".to_owned()),
    }
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

    /// Writes for a gateway (`vectoll-sidecar --gateway`): a folder in the config folder for each namespace that has `ApiKeys`
    #[arg(long, env = "VECTOLL_GATEWAY")]
    pub gateway: bool,

    /// The folder for generated keys, as Secret manifests; by default the config folder's name with .state behind it
    #[arg(long, env = "VECTOLL_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// The namespace whose pod the sidecar plays; manifests that name none belong to it
    #[arg(long, env = "VECTOLL_NAMESPACE", value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,

    /// The address of the page, which shows the folder's keys, Teams and routes, and with a store their spend: on loopback, for everybody on
    /// this machine. Without it no page is served
    #[arg(long, env = "VECTOLL_PAGE_LISTEN", value_name = "ADDRESS", value_parser = loopback)]
    pub page_listen: Option<SocketAddr>,

    /// The store, which the sidecar is told as it stands here
    #[command(flatten)]
    pub store: StoreOptions,

    /// The hosts that routes may name
    #[command(flatten)]
    pub hosts: HostOptions,

    /// Who carries out the calls of routes
    #[command(flatten)]
    pub delivery: DeliveryOptions,

    /// What models cost where a backend does not say it
    #[command(flatten)]
    pub prices: PriceOptions,
}

/// An address that nobody reaches but who is on this machine.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "must be an address with a port, as in 127.0.0.1:8082".to_owned())?;
    if address.ip().to_canonical().is_loopback() {
        Ok(address)
    } else {
        Err("here the page asks nobody who they are: listen on 127.0.0.1 or [::1]".to_owned())
    }
}

/// Settings of `key`.
#[derive(Clone, Debug, Args)]
pub struct Key {
    /// The name of the ApiKey
    #[arg(value_name = "NAME")]
    pub name: String,

    /// The config folder that `standalone` writes
    #[arg(long, env = "VECTOLL_CONFIG_DIR", value_name = "DIR", required_unless_present = "state_dir")]
    pub config_dir: Option<PathBuf>,

    /// The folder of generated keys; by default the config folder's name with .state behind it
    #[arg(long, env = "VECTOLL_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// The namespace of the ApiKey
    #[arg(long, env = "VECTOLL_NAMESPACE", value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
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
    #[arg(long, env = "VECTOLL_NAMESPACE", value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,

    /// The store, which the sidecar is told as it stands here
    #[command(flatten)]
    pub store: StoreOptions,

    /// The hosts that routes may name
    #[command(flatten)]
    pub hosts: HostOptions,

    /// Who carries out the calls of routes
    #[command(flatten)]
    pub delivery: DeliveryOptions,

    /// What models cost where a backend does not say it
    #[command(flatten)]
    pub prices: PriceOptions,
}

/// Settings of `try`.
#[derive(Clone, Debug, Args)]
pub struct Try {
    /// The model to ask
    #[arg(long, value_name = "NAME")]
    pub model: String,

    /// Seconds to go on trying
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub timeout_seconds: u32,

    /// Goes on asking, every second, until it is stopped
    #[arg(long)]
    pub repeat: bool,

    /// Where to ask
    #[arg(long, env = "OPENAI_BASE_URL", value_name = "URL", default_value = "http://localhost:4000/v1")]
    pub base_url: String,

    /// The key to ask with; none: without one
    #[arg(long, env = "OPENAI_API_KEY", value_name = "KEY", hide_env_values = true)]
    pub api_key: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}
