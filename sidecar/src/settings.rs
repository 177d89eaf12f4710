//! Settings, from flags or the environment. Each says where it comes from and what it is by default.

mod gateway;
mod portion;
mod telemetry;

use std::{convert::Infallible, fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use anyhow::bail;
use clap::{Parser, ValueEnum};
use vectoll_config::ObjectName;

use self::portion::portion;
pub use self::{
    gateway::GatewaySettings,
    telemetry::{Collector, TelemetrySettings},
};
use crate::{
    policy::{Identity, OwnKey},
    server,
    telemetry::Exporting,
    tenancy::Tenancy,
};
use vectoll_upstream::provider::{
    egress::{Egress, EgressError},
    http::named_by_settings,
};

/// A journal that every call fits into, and a few more than run at once.
const SMALLEST_JOURNAL: u64 = 1024 * 1024;

/// Room for a few calls that are not little.
const SMALLEST_MEMORY: u64 = 1024 * 1024;

/// Serves OpenAI-compatible embeddings on localhost, by the config in a folder.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "vectoll-sidecar",
    version,
    after_help = "vectoll-sidecar health asks the sidecar that runs beside it, by its VECTOLL_ADMIN_LISTEN, whether it is ready, and fails if not."
)]
pub struct Settings {
    /// The folder that the operator writes: config.v1.yaml and the files of credentials. A gateway's has a folder of these for each
    /// namespace
    #[arg(long, env = "VECTOLL_CONFIG_DIR", value_name = "DIR")]
    pub config_dir: PathBuf,

    /// Addresses for applications, separated by commas. With 127.0.0.1 the other loopback, [`::1`], is served as well where it exists
    #[arg(
        long,
        env = "VECTOLL_LISTEN",
        value_name = "ADDRESS",
        value_delimiter = ',',
        default_value = "127.0.0.1:4000"
    )]
    pub listen: Vec<SocketAddr>,

    /// A Unix socket for applications as well, as in a folder that containers share. Keys are asked for there, too
    #[arg(long, env = "VECTOLL_LISTEN_UNIX", value_name = "PATH")]
    pub listen_unix: Option<PathBuf>,

    /// The address for Prometheus and probes
    #[arg(long, env = "VECTOLL_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:4001")]
    pub admin_listen: SocketAddr,

    /// A folder for what must outlive this process: the journal, spend and used budgets
    #[arg(long, env = "VECTOLL_STATE_DIR", value_name = "DIR")]
    pub state_dir: PathBuf,

    /// The most bytes that the journal may take; only while a store is away does it come near. Calls are refused when it is full
    #[arg(long, env = "VECTOLL_JOURNAL_MAX_BYTES", value_name = "BYTES", default_value_t = 64 * 1024 * 1024, value_parser = clap::value_parser!(u64).range(SMALLEST_JOURNAL..))]
    pub journal_max_bytes: u64,

    /// The ApiKey that calls are made with which send the placeholder `vectoll-pod-key`: the pod's own
    #[arg(long, env = "VECTOLL_POD_API_KEY", value_name = "NAMESPACE/NAME")]
    pub pod_api_key: Option<ObjectName>,

    /// The pod's name, by which the operator tells which sidecar serves by which config
    #[arg(long, env = "VECTOLL_POD_NAME", value_name = "NAME", default_value = "")]
    pub pod_name: String,

    /// The folder with the tokens that the cluster issues for this sidecar: `aws`, `azure`, `google`, `openai`. For workload identity
    #[arg(
        long,
        env = "VECTOLL_IDENTITY_DIR",
        value_name = "DIR",
        default_value = "/var/run/secrets/vectoll.dev/identity"
    )]
    pub identity_dir: PathBuf,

    /// EKS Pod Identity's agent, as EKS sets it
    #[arg(long, env = "AWS_CONTAINER_CREDENTIALS_FULL_URI", value_name = "URL")]
    pub aws_container_credentials_full_uri: Option<String>,

    /// The file with the token for EKS Pod Identity's agent, as EKS sets it
    #[arg(long, env = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", value_name = "FILE")]
    pub aws_container_authorization_token_file: Option<PathBuf>,

    /// The proxy for providers and issuers of credentials behind https, as in `http://USER:PASSWORD@proxy.example:3128`; also `https_proxy`.
    /// Neither the store nor the machine's metadata server are reached through it
    #[arg(long, env = "HTTPS_PROXY", value_name = "URL", hide_env_values = true)]
    pub https_proxy: Option<Undisclosed>,

    /// The same for those without TLS; also `http_proxy`
    #[arg(long, env = "HTTP_PROXY", value_name = "URL", hide_env_values = true)]
    pub http_proxy: Option<Undisclosed>,

    /// What is reached without a proxy: names with all below them, addresses and networks, separated by commas; `*`: everything.
    /// Loopback always is; also `no_proxy`
    #[arg(long, env = "NO_PROXY", value_name = "HOSTS")]
    pub no_proxy: Option<String>,

    /// Takes a call without any key for the pod's own; needs --pod-api-key
    #[arg(long, env = "VECTOLL_KEYLESS")]
    pub keyless: bool,

    /// Names that the sidecar may be called by besides localhost and addresses, without port, separated by commas
    #[arg(long, env = "VECTOLL_ALLOWED_HOSTS", value_name = "NAMES", value_delimiter = ',', value_parser = server::host_name)]
    pub allowed_hosts: Vec<String>,

    /// Origins that may call, as in `https://tools.example.com`, separated by commas; by default none. For clients that send an
    /// Origin, as extensions and desktop applications do: a page in a browser cannot read the answer
    #[arg(long, env = "VECTOLL_ALLOWED_ORIGINS", value_name = "ORIGINS", value_delimiter = ',', value_parser = server::origin)]
    pub allowed_origins: Vec<String>,

    /// The largest request body, in bytes
    #[arg(long, env = "VECTOLL_MAX_BODY_BYTES", value_name = "BYTES", default_value_t = 16 * 1024 * 1024)]
    pub max_body_bytes: usize,

    /// The most bytes that are held over all calls: request bodies, answers, and what each call takes by itself; one call at a time may go beyond it.
    /// Others wait, and are refused where it takes too long. A third of it is for small calls alone. About a quarter of the memory limit
    #[arg(long, env = "VECTOLL_MAX_HELD_BYTES", value_name = "BYTES", default_value_t = 72 * 1024 * 1024, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(SMALLEST_MEMORY..))]
    pub max_held_bytes: usize,

    /// Seconds that a request body may take to arrive
    #[arg(long = "body-timeout-seconds", env = "VECTOLL_BODY_TIMEOUT_SECONDS", value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub body_timeout: Duration,

    /// Seconds that a connection of a caller is kept without a request
    #[arg(long = "idle-timeout-seconds", env = "VECTOLL_IDLE_TIMEOUT_SECONDS", value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    pub idle_timeout: Duration,

    /// Seconds that calls under way get to finish after SIGTERM
    #[arg(long = "drain-timeout-seconds", env = "VECTOLL_DRAIN_TIMEOUT_SECONDS", value_name = "SECONDS", default_value = "25", value_parser = seconds)]
    pub drain_timeout: Duration,

    /// Threads that serve requests
    #[arg(long, env = "VECTOLL_WORKER_THREADS", value_name = "NUMBER", default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub worker_threads: usize,

    /// Whether each call is written to standard output, as a JSON object a line
    #[arg(long, env = "VECTOLL_ACCESS_LOG", value_name = "WHETHER", default_value = "on")]
    pub access_log: Switch,

    /// The portion of served calls that the access log has, from 0 to 1; what was refused or failed it always has
    #[arg(long, env = "VECTOLL_ACCESS_LOG_SAMPLING", value_name = "PORTION", default_value = "1", value_parser = portion)]
    pub access_log_sampling: f64,

    /// Whether the metrics tell end users apart: off, there are no families `vectoll_user_…`
    #[arg(long, env = "VECTOLL_USER_METRICS", value_name = "WHETHER", default_value = "on")]
    pub user_metrics: Switch,

    /// Settings of a gateway
    #[command(flatten)]
    pub gateway: GatewaySettings,

    /// Settings of traces
    #[command(flatten)]
    pub telemetry: TelemetrySettings,

    /// How the log is written to standard error
    #[arg(long, env = "VECTOLL_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// What is logged: a level, or tracing's filter directives
    #[arg(long, env = "VECTOLL_LOG", value_name = "FILTER", default_value = "info")]
    pub log_filter: String,
}

impl Settings {
    /// What the pod's own identity is proven by.
    pub fn identity(&self) -> Identity {
        let (uri, file) = (&self.aws_container_credentials_full_uri, &self.aws_container_authorization_token_file);
        let agent = uri.clone().zip(file.clone());
        Identity { tokens: self.identity_dir.clone(), agent, pod: self.pod_name.clone() }
    }

    /// Through what requests leave. Names in small letters count where those in capitals are not set.
    pub fn egress(&self) -> Result<Egress, EgressError> {
        let small = |name: &str| std::env::var(name).ok();
        let url =
            |set: &Option<Undisclosed>, name: &str| set.clone().map(|Undisclosed(url)| url).or_else(|| small(name));
        let (https, http) = (url(&self.https_proxy, "https_proxy"), url(&self.http_proxy, "http_proxy"));
        let exceptions = self.no_proxy.clone().or_else(|| small("no_proxy"));
        Egress::new(https.as_deref(), http.as_deref(), exceptions.as_deref())
    }

    /// What a collector is told, where there is one.
    pub fn exporting(&self) -> anyhow::Result<Option<Exporting>> {
        let Collector(Some(endpoint)) = self.telemetry.otlp_endpoint.clone() else { return Ok(None) };
        let trust = self.telemetry.trust(self.tenancy().is_many());
        let service = if self.tenancy().is_many() { "vectoll-gateway" } else { "vectoll-sidecar" };
        let scheme = if self.gateway.tls_cert.is_some() { "https" } else { "http" };
        let client = named_by_settings(&self.egress()?)?;
        let (sampling, conventions) = (self.telemetry.otlp_sampling, self.telemetry.otlp_conventions);
        let pod = self.pod_name.clone();
        Ok(Some(Exporting { endpoint, sampling, conventions, service, pod, scheme, trust, client }))
    }

    /// Whose calls are served.
    pub fn tenancy(&self) -> Tenancy {
        if self.gateway.gateway { Tenancy::Many } else { Tenancy::One }
    }

    /// Checks what belongs together of a gateway's settings.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.tenancy() {
            Tenancy::One => Ok(()),
            Tenancy::Many if self.pod_api_key.is_some() => {
                bail!(
                    "--gateway and --pod-api-key do not go together: a gateway has no pod whose calls it could count for a key"
                )
            }
            Tenancy::Many => self.gateway.must_be_safe(&self.listen),
        }
    }

    /// The key that is the pod's own.
    pub fn own_key(&self) -> anyhow::Result<Option<OwnKey>> {
        match (&self.pod_api_key, self.keyless) {
            (Some(name), keyless) => Ok(Some(OwnKey { name: name.clone(), keyless })),
            (None, false) => Ok(None),
            (None, true) => bail!("--keyless needs --pod-api-key: the ApiKey that calls without a key count as"),
        }
    }
}

/// A setting that may hold credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Undisclosed(String);

impl FromStr for Undisclosed {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Undisclosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Forms of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

fn seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.parse().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn parse(further: &[&str]) -> Result<Settings, clap::Error> {
        Settings::try_parse_from(["vectoll-sidecar", "--config-dir", "c", "--state-dir", "s"].iter().chain(further))
    }

    #[test]
    fn a_pods_own_key_is_named_whole() {
        let own = parse(&["--pod-api-key", "shop/alice", "--keyless"]).unwrap().own_key().unwrap();
        assert_eq!(own, Some(OwnKey { name: ObjectName::new("shop", "alice"), keyless: true }));
        assert_eq!(parse(&[]).unwrap().own_key().unwrap(), None);
        assert!(parse(&["--pod-api-key", "alice"]).unwrap_err().to_string().contains("namespace/name"));
    }

    #[test]
    fn a_gateway_sends_no_key_over_the_network_in_the_clear() {
        let checked = |further: &[&str]| parse(further).map_err(anyhow::Error::from)?.check();
        checked(&["--gateway"]).unwrap();
        checked(&["--listen", "0.0.0.0:4000"]).unwrap();
        let error = checked(&["--gateway", "--listen", "127.0.0.1:1,0.0.0.0:2"]).unwrap_err().to_string();
        assert!(error.contains("0.0.0.0:2 without TLS"), "{error}");
        checked(&["--gateway", "--listen", "0.0.0.0:2", "--plaintext"]).unwrap();
        checked(&["--gateway", "--listen", "[::]:2", "--tls-cert", "c", "--tls-key", "k"]).unwrap();
        let error = checked(&["--gateway", "--pod-api-key", "shop/alice"]).unwrap_err().to_string();
        assert!(error.contains("--pod-api-key"), "{error}");
        for alone in [&["--tls-cert", "c", "--tls-key", "k"][..], &["--gateway", "--tls-cert", "c"], &["--plaintext"]] {
            assert!(parse(alone).is_err(), "{alone:?}");
        }
        assert!(parse(&["--gateway", "--trusted-proxies", "10.0.0.0/33"]).is_err());
    }

    #[test]
    fn keyless_without_a_key_to_count_as_is_an_error() {
        let error = parse(&["--keyless"]).unwrap().own_key().unwrap_err();
        assert!(error.to_string().contains("--pod-api-key"), "{error}");
    }
}
