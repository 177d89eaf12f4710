//! A gateway under test, with the operator that writes its config: TLS on loopback, one process for the namespaces of its manifests.

use anyhow::Context;
use tempfile::TempDir;

use super::{
    PROXY_CORE, THIRD_CORE,
    endpoint::Endpoint,
    machine::Machine,
    manifests::KEY,
    tls::{Certificate, CertificateFiles},
};
use crate::pair::{Pair, Setup, binaries::Binaries, metrics::Metrics};

/// A core of its own, where there is one: a gateway is on another machine than its callers.
pub fn core() -> usize {
    if Machine::this().cores > THIRD_CORE { THIRD_CORE } else { PROXY_CORE }
}

/// The arguments of every gateway here: its provider is on loopback.
pub fn arguments(certificate: &CertificateFiles) -> Vec<String> {
    let [certificate, key] = [&certificate.certificate, &certificate.key].map(|file| file.display().to_string());
    ["--gateway", "--loopback-providers", "--tls-cert", &certificate, "--tls-key", &key].map(str::to_owned).to_vec()
}

/// A gateway, with its operator.
#[derive(Debug)]
pub struct Gateway {
    /// Both of them.
    pub pair: Pair,
    /// What it shows.
    pub certificate: Certificate,
    files: CertificateFiles,
    _folder: TempDir,
}

impl Gateway {
    /// Starts it with these manifests (file name, YAML) and further arguments, and waits for its first namespace.
    pub async fn start(programs: Binaries, manifests: &[(String, String)], further: &[String]) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("failed to create a temporary folder")?;
        let certificate = Certificate::generate()?;
        let files = certificate.write(folder.path())?;
        let setup = Setup {
            sidecar_core: Some(core()),
            operator_arguments: vec!["--gateway".to_owned()],
            sidecar_arguments: [&arguments(&files), further].concat(),
            ..Setup::of(programs)
        };
        let manifests: Vec<(&str, String)> =
            manifests.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
        let pair = Pair::start_with(setup, &manifests).await?;
        let gateway = Self { pair, certificate, files, _folder: folder };
        // Its folder may be there before anything is in it.
        let served = async || Ok((namespaces(&gateway.pair.metrics().await?) > 0.0).then_some(()));
        gateway.pair.wait_for("a namespace", std::time::Duration::from_secs(30), served).await?;
        Ok(gateway)
    }

    /// Who is called.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(self.pair.proxy_address(), KEY).with_tls(&self.certificate)
    }

    /// Its process.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.pair.sidecar_pid().context("the gateway does not run")
    }

    /// What the operator of a sidecar is told that passes calls on to it.
    pub fn told_to_sidecars(&self) -> Vec<String> {
        let (url, ca) = (format!("https://{}", self.pair.proxy_address()), self.files.certificate.display());
        // Of this namespace, which the gateway has as well.
        ["--namespace", "default", "--gateway-url", &url, "--gateway-ca", &ca.to_string()].map(str::to_owned).to_vec()
    }
}

/// Namespaces that are served.
pub fn namespaces(metrics: &Metrics) -> f64 {
    metrics.sum("vectoll_gateway_namespaces", &[])
}
