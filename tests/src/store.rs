//! A real store: Debian's `redis-server` in a temporary folder, on a free port, with an append-only file that is written before
//! each answer. It can be killed and started again where it was. Several of them make a cluster ([`redis_cluster`]), or a master and
//! a replica behind Sentinels ([`sentinels`]).

pub mod redis_cluster;
pub mod sentinels;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates, cmd,
};
use tempfile::TempDir;

use crate::pair::{poll, process::Process};

/// The password of the default user, who is the administrator.
pub const PASSWORD: &str = "the-administrators-password";

/// Long enough for a busy machine, short enough to fail a test.
const START: Duration = Duration::from_secs(20);

/// A running store. It ends when this is dropped.
#[derive(Debug)]
pub struct Store {
    process: Option<Process>,
    port: u16,
    ca: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// The folder of what is loaded into it.
    library: Option<TempDir>,
    // Last: the folder goes when the process is gone.
    folder: TempDir,
}

/// How a store is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// As it is.
    Plain,
    /// TLS, with a certificate of its own for 127.0.0.1: see [`Store::ca`].
    Tls,
}

impl Store {
    /// Starts one that speaks without TLS.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Transport::Plain, &[]).await
    }

    /// What an operator is told of it; the password is a file in its own folder.
    pub fn operator_arguments(&self) -> anyhow::Result<Vec<String>> {
        let password = self.folder.path().join("password");
        fs::write(&password, PASSWORD)?;
        Ok(vec![format!("--store-url={}", self.url()), format!("--store-password-file={}", password.display())])
    }

    /// Starts one whose clock is so many seconds ahead of the machine's.
    pub async fn start_ahead(seconds: i64) -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("vectoll-clock-").tempdir().context("failed to create a folder")?;
        let library = folder.path().join("shifted_clock.so");
        let built = Command::new("gcc")
            .args(["-O2", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/shifted_clock.c"))
            .status()
            .context("missing: gcc (Debian: apt-get install gcc)")?;
        ensure!(built.success(), "failed to build shifted_clock.c");
        let environment = vec![
            ("LD_PRELOAD".to_owned(), library.display().to_string()),
            ("CLOCK_OFFSET_SECONDS".to_owned(), seconds.to_string()),
        ];
        let mut store = Self::start_in(Transport::Plain, &[], environment).await?;
        store.library = Some(folder);
        Ok(store)
    }

    /// Starts one with further arguments of `redis-server`.
    pub async fn start_with(transport: Transport, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_in(transport, arguments, Vec::new()).await
    }

    async fn start_in(
        transport: Transport,
        arguments: &[&str],
        environment: Vec<(String, String)>,
    ) -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("vectoll-store-").tempdir().context("failed to create a folder")?;
        let port = free_port()?;
        let mut all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut ca = None;
        match transport {
            Transport::Plain => all.extend(["--port".to_owned(), port.to_string()]),
            Transport::Tls => {
                let _ = rustls::crypto::ring::default_provider().install_default();
                let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
                let rcgen::CertifiedKey { cert, signing_key } = made;
                let file = |name: &str, content: String| {
                    let path = folder.path().join(name);
                    fs::write(&path, content).with_context(|| format!("failed to write {}", path.display()))?;
                    anyhow::Ok(path.display().to_string())
                };
                let (cert_file, key_file) =
                    (file("tls.crt", cert.pem())?, file("tls.key", signing_key.serialize_pem())?);
                let tls = ["--port", "0", "--tls-port", &port.to_string(), "--tls-auth-clients", "no"];
                all.extend(tls.map(str::to_owned));
                let files =
                    ["--tls-cert-file", &cert_file, "--tls-key-file", &key_file, "--tls-ca-cert-file", &cert_file];
                all.extend(files.map(str::to_owned));
                ca = Some(cert.pem());
            }
        }
        let mut store = Self { process: None, port, ca, arguments: all, environment, library: None, folder };
        store.restart().await?;
        Ok(store)
    }

    /// Starts it again, on the same port and with what its append-only file holds; first ends one that runs.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.kill().await?;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .args(["--maxmemory-policy", "noeviction", "--requirepass", PASSWORD, "--dir"])
            .arg(self.folder.path())
            .args(&self.arguments)
            .envs(self.environment.iter().cloned());
        let process = Process::spawn("redis-server", command, None);
        self.process = Some(process.context("missing: redis-server (Debian: apt-get install redis-server)")?);
        let answer = poll::until("the store to answer", START, async || {
            if let Some(process) = &mut self.process {
                process.must_run()?;
            }
            let mut connection = connect(self.port, self.ca.as_deref(), None, PASSWORD).await?;
            let answer: String = cmd("PING").query_async(&mut connection).await?;
            Ok((answer == "PONG").then_some(()))
        });
        answer.await.with_context(|| self.log())
    }

    /// Ends it at once, without a chance to do anything, and waits until it is gone.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(Signal::SIGKILL)?;
        process.ended(START).await.map(|_| ())
    }

    /// Takes its last bytes away, as a disk that lied would. It must not run.
    pub fn lose_tail(&self, bytes: u64) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "the store runs");
        let path = self.append_only_file()?;
        let file = fs::OpenOptions::new().write(true).open(&path).context("failed to open the append-only file")?;
        let length = file.metadata()?.len();
        file.set_len(length.saturating_sub(bytes)).context("failed to cut the append-only file")
    }

    /// The part of the append-only file that grows.
    fn append_only_file(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder.path().join("appendonlydir");
        for entry in fs::read_dir(&folder).with_context(|| format!("failed to list {}", folder.display()))? {
            let path = entry?.path();
            if path.to_string_lossy().ends_with(".incr.aof") {
                return Ok(path);
            }
        }
        anyhow::bail!("no append-only file in {}", folder.display())
    }

    /// Its URL, without credentials.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.ca.is_some() { "rediss" } else { "redis" }, self.address())
    }

    /// Where it listens; the same after a restart.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The CA of its certificate, in PEM, if it speaks TLS.
    pub fn ca(&self) -> Option<&str> {
        self.ca.as_deref()
    }

    /// A connection of the administrator's.
    pub async fn admin(&self) -> anyhow::Result<MultiplexedConnection> {
        connect(self.port, self.ca.as_deref(), None, PASSWORD).await
    }

    /// A connection of a user's.
    pub async fn log_in(&self, username: &str, password: &str) -> anyhow::Result<MultiplexedConnection> {
        connect(self.port, self.ca.as_deref(), Some(username), password).await
    }

    /// Loads a library of functions, for those whose login may not.
    pub async fn load_functions(&self, code: &str) -> anyhow::Result<()> {
        let mut admin = self.admin().await?;
        let mut load = cmd("FUNCTION");
        load.arg("LOAD").arg("REPLACE").arg(code);
        load.query_async::<String>(&mut admin).await.map(|_| ()).context("failed to load the functions")
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        self.process.as_ref().map(|process| process.log().end()).unwrap_or_default()
    }
}

/// A port that nobody listens on at this moment.
pub fn free_port() -> anyhow::Result<u16> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free port")?;
    Ok(free.local_addr()?.port())
}

async fn connect(
    port: u16,
    ca: Option<&str>,
    username: Option<&str>,
    password: &str,
) -> anyhow::Result<MultiplexedConnection> {
    let mut login = RedisConnectionInfo::default().set_password(password);
    if let Some(username) = username {
        login = login.set_username(username);
    }
    let host = Ipv4Addr::LOCALHOST.to_string();
    let client = match ca {
        None => Client::open(ConnectionAddr::Tcp(host, port).into_connection_info()?.set_redis_settings(login))?,
        Some(ca) => {
            let address = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
            let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.as_bytes().to_vec()) };
            Client::build_with_tls(address.into_connection_info()?.set_redis_settings(login), certificates)?
        }
    };
    client
        .get_multiplexed_async_connection_with_config(&connection_config())
        .await
        .context("failed to log in at the store")
}

/// The client's own timeout of a second is too short where a test runs programs beside its connection.
fn connection_config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(Some(START)).set_response_timeout(Some(START))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_outlives_a_kill_and_what_is_cut_off_does_not() {
        let mut store = Store::start().await.unwrap();
        let set = async |store: &Store, name: &str| {
            let mut admin = store.admin().await.unwrap();
            let () = cmd("SET").arg(name).arg("value").query_async(&mut admin).await.unwrap();
        };
        set(&store, "first").await;
        set(&store, "second").await;
        let address = store.address();
        store.kill().await.unwrap();
        store.lose_tail(1).unwrap();
        store.restart().await.unwrap();
        assert_eq!(store.address(), address);
        let mut admin = store.admin().await.unwrap();
        let found: (bool, bool) =
            redis::pipe().cmd("EXISTS").arg("first").cmd("EXISTS").arg("second").query_async(&mut admin).await.unwrap();
        assert_eq!(found, (true, false));
    }
}
