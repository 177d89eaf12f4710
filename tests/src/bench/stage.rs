//! What scenarios stand on: the provider, the programs, and how each proxy is started in front of it.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use tokio::runtime::Runtime;

use super::PROXY_CORE;
use super::endpoint::Endpoint;
use super::gateway::Gateway;
use super::manifests::{KEY, Resources};
use super::measure::{Deadline, Plan, Subject};
use super::nginx::Nginx;
use super::relay::Relay;
use super::responder::Responder;
use super::tls::Certificate;
use crate::pair::binaries::Binaries;
use crate::pair::{Pair, Setup};

/// What all scenarios of a run share.
#[derive(Debug)]
pub struct Stage {
    /// How long and how often.
    pub plan: Plan,
    /// The provider.
    pub responder: Responder,
    /// Someone else who speaks the same API.
    pub neighbour: Option<Subject>,
    programs: Binaries,
    nginx: Option<PathBuf>,
    runtime: Runtime,
}

/// A sidecar under test, with its operator.
#[derive(Debug)]
pub struct Sidecar {
    /// Both of them.
    pub pair: Pair,
}

impl Sidecar {
    /// Who is called.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(self.pair.proxy_address(), KEY)
    }

    /// Its process.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.pair.sidecar_pid().context("the sidecar does not run")
    }

    /// As one of those who take turns.
    pub fn subject(&self, name: &str) -> anyhow::Result<Subject> {
        Ok(Subject::new(name, self.endpoint(), Some(self.pid()?)))
    }
}

impl Stage {
    /// With these programs; nginx is looked for when a scenario needs it.
    pub fn new(
        plan: Plan,
        programs: Binaries,
        nginx: Option<PathBuf>,
        provider: Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            plan,
            responder: Responder::start(provider, None, &[])?,
            neighbour: None,
            programs,
            nginx,
            runtime: runtime.context("failed to start tokio")?,
        })
    }

    /// Starts a sidecar with further arguments of its own.
    pub fn sidecar(&self, resources: &Resources, arguments: &[&str]) -> anyhow::Result<Sidecar> {
        self.sidecar_with(resources, arguments, Vec::new())
    }

    /// The same with further arguments of the operator.
    pub fn sidecar_with(
        &self,
        resources: &Resources,
        arguments: &[&str],
        operator_arguments: Vec<String>,
    ) -> anyhow::Result<Sidecar> {
        let setup = Setup {
            sidecar_core: Some(PROXY_CORE),
            sidecar_arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            operator_arguments,
            ..Setup::of(self.programs.clone())
        };
        let files = resources.files();
        let files: Vec<(&str, String)> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
        Ok(Sidecar { pair: self.runtime.block_on(Pair::start_with(setup, &files))? })
    }

    /// Starts nginx in front of a provider.
    pub fn nginx(&self, provider: &Responder) -> anyhow::Result<Nginx> {
        let program = self.nginx.clone().map_or_else(Nginx::find, Ok)?;
        Nginx::start(&program, provider, PROXY_CORE, None)
    }

    /// Starts nginx in front of the provider, to end TLS.
    pub fn nginx_with_tls(&self, certificate: &Certificate) -> anyhow::Result<Nginx> {
        let program = self.nginx.clone().map_or_else(Nginx::find, Ok)?;
        Nginx::start(&program, &self.responder, PROXY_CORE, Some(certificate))
    }

    /// Starts a gateway, on a core of its own where there is one more.
    pub fn gateway(&self, resources: &Resources, arguments: &[String]) -> anyhow::Result<Gateway> {
        self.wait(Gateway::start(self.programs.clone(), &resources.files(), arguments))
    }

    /// The programs.
    pub fn programs(&self) -> &Binaries {
        &self.programs
    }

    /// Starts the bare relay in front of the provider.
    pub fn relay(&self) -> anyhow::Result<Relay> {
        Relay::start(self.responder.address(), PROXY_CORE)
    }

    /// The provider itself, called without a proxy.
    pub fn direct(&self) -> Subject {
        Subject::new("no proxy", Endpoint::new(self.responder.address(), KEY), None)
    }

    /// Waits for something.
    pub fn wait<F: Future>(&self, work: F) -> F::Output {
        self.runtime.block_on(work)
    }

    /// A deadline for so many runs under load, and the starts around them: three times what they take where nothing goes wrong, and two
    /// minutes.
    pub fn deadline(&self, runs: usize) -> Deadline {
        let runs = u32::try_from(runs * self.plan.rounds).unwrap_or(u32::MAX);
        let time = (self.plan.time + self.plan.warm_up()).saturating_mul(runs).saturating_mul(3);
        Deadline::after(time + std::time::Duration::from_mins(10))
    }
}

impl Nginx {
    /// As one of those who take turns.
    pub fn subject(&self) -> Subject {
        Subject::new("nginx", Endpoint::new(self.address(), KEY), Some(self.pid()))
    }
}

impl Relay {
    /// As one of those who take turns.
    pub fn subject(&self) -> Subject {
        Subject::new("relay", Endpoint::new(self.address(), KEY), Some(self.pid()))
    }
}
