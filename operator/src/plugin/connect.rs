//! The API server, as the user's kubeconfig has it.

use anyhow::Context;
use http::{HeaderValue, header};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::cli::{ClusterOptions, Scope};

/// A client, and the namespace that commands are about.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) namespace: String,
}

/// Where something is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In all namespaces.
    All,
    /// In one.
    Namespace(String),
}

/// Sets up the client. No request is sent.
pub(super) async fn connect(options: &ClusterOptions) -> anyhow::Result<Connection> {
    let mut config = config(options).await?;
    let agent = HeaderValue::from_static(concat!("kubectl-vectoll/", env!("CARGO_PKG_VERSION")));
    config.headers.push((header::USER_AGENT, agent));
    let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).context("failed to set up the client of the API server")?;
    Ok(Connection { client, namespace })
}

/// What the kubeconfig says of the cluster and of the user.
pub(super) async fn config(options: &ClusterOptions) -> anyhow::Result<Config> {
    let ClusterOptions { kubeconfig, context, namespace: _ } = options;
    let settings = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
    match kubeconfig {
        Some(file) => {
            let read = Kubeconfig::read_from(file)
                .with_context(|| format!("failed to use --kubeconfig {}", file.display()))?;
            Config::from_custom_kubeconfig(read, &settings).await
        }
        None => Config::from_kubeconfig(&settings).await,
    }
    .context("failed to find the cluster: set KUBECONFIG, --kubeconfig or --context, as for kubectl")
}

/// The same for one namespace or all.
pub(super) async fn connect_to(scope: &Scope) -> anyhow::Result<(Client, Place)> {
    let Scope { cluster, all_namespaces } = scope;
    let Connection { client, namespace } = connect(cluster).await?;
    Ok((client, if *all_namespaces { Place::All } else { Place::Namespace(namespace) }))
}
