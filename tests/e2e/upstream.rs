//! A provider outside of the cluster that keeps an account of its own.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::mpsc,
};

use anyhow::Context;
use vectoll_tests::provider::{Account, Options, Provider, Recorded};

use crate::{cluster::Cluster, network::Network};

/// It listens on the node, and pods reach it by the name of a Service. It ends when this is dropped.
pub struct Upstream {
    provider: Provider,
    pub credential: String,
    /// The name by which the gateway reaches it.
    pub host: String,
    // Its thread waits for its end.
    _running: tokio::sync::oneshot::Sender<()>,
}

/// The node's address, as tests/cluster gives it.
const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));

impl Upstream {
    /// Starts it behind the Service `provider` of a namespace that is made for it.
    pub fn start(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        let credential = Self::credential(namespace);
        let (send, started) = mpsc::channel();
        let (running, end) = tokio::sync::oneshot::channel::<()>();
        let options = Options { listen: SocketAddr::from((NODE, 0)), ..Options::new(credential.clone()) };
        Network::of_node().spawn(async move || {
            send.send(Provider::start(options).await)?;
            let _ = end.await;
            Ok(())
        })?;
        let provider = started.recv().context("the provider did not start")??;
        let port = provider.address().port();
        cluster.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}\n---\n{{apiVersion: v1, kind: Service, metadata: \
             {{name: provider, namespace: {namespace}}}, spec: {{ports: [{{name: http, port: {port}, targetPort: {port}}}]}}}}\n---\n\
             {{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: provider-1, namespace: {namespace}, labels: \
             {{kubernetes.io/service-name: provider}}}}, addressType: IPv4, ports: [{{name: http, port: {port}}}], endpoints: \
             [{{addresses: ['{NODE}'], conditions: {{ready: true}}}}]}}"
        ))?;
        Ok(Self { provider, credential, host: format!("provider.{namespace}.svc"), _running: running })
    }

    /// What the one of a namespace asks for.
    pub fn credential(namespace: &str) -> String {
        format!("sk-credential-at-{namespace}-0123456789")
    }

    pub fn url(&self) -> String {
        format!("http://{}:{}/v1", self.host, self.provider.address().port())
    }

    /// Where it listens, as whoever has seen its connections would know it.
    pub fn address(&self) -> String {
        self.provider.address().to_string()
    }

    /// The last requests.
    pub fn requests(&self) -> Vec<Recorded> {
        self.provider.requests()
    }

    pub fn account(&self) -> Account {
        self.provider.account()
    }
}
