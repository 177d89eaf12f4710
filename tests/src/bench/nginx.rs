//! nginx as a plain reverse proxy, or one that ends TLS: one worker, connections kept on both sides, nothing logged, bodies of requests in memory, other
//! buffers as they come. A provider behind https it asks over TLS, and verifies.

use std::env;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::listening::{free_address, until_listening};
use super::responder::Responder;
use super::tls::{Certificate, CertificateFiles, NAME};
use crate::pair::process::Process;

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    address: SocketAddr,
    // Last: the folder goes when the process is gone.
    _folder: TempDir,
}

impl Nginx {
    /// The program in `PATH`, or where Debian puts it, which is not in everyone's `PATH`.
    pub fn find() -> anyhow::Result<PathBuf> {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin")])
            .map(|folder| folder.join("nginx"))
            .find(|program| program.is_file())
            .context("nginx is missing: install the package nginx-light (Debian, Ubuntu) or nginx")
    }

    /// What `nginx -v` says.
    pub fn version(program: &Path) -> Option<String> {
        let output = Command::new(program).arg("-v").output().ok()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.trim().rsplit_once('/').map(|(_, version)| version.to_owned())
    }

    /// Starts `program` on one core in front of a provider; with a certificate, it speaks TLS to those who call.
    pub fn start(
        program: &Path,
        upstream: &Responder,
        core: usize,
        certificate: Option<&Certificate>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("vectoll-nginx-")
            // Started by root, its worker is another user, who has to reach the folders for large bodies.
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .context("failed to create a temporary folder")?;
        let address = free_address()?;
        let config = folder.path().join("nginx.conf");
        if let Some(certificate) = upstream.certificate() {
            fs::write(folder.path().join(CA), &certificate.certificate).context("failed to write the provider's CA")?;
        }
        let served = certificate.map(|certificate| certificate.write(folder.path())).transpose()?;
        fs::write(&config, configuration(folder.path(), address, upstream, served.as_ref()))
            .context("failed to write nginx.conf")?;
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&config).arg("-e").arg(folder.path().join("error.log"));
        let process = Process::spawn("nginx", command, Some(core))?;
        let mut nginx = Self { process, address, _folder: folder };
        until_listening(&mut nginx.process, address)?;
        Ok(nginx)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The master's process id; the worker is its child.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A master that is killed leaves its worker behind; one that is asked takes it along.
        let begun = Instant::now();
        if self.process.signal(Signal::SIGTERM).is_ok() {
            while self.process.must_run().is_ok() && begun.elapsed() < Duration::from_secs(5) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// The file with the provider's CA.
const CA: &str = "ca.crt";

fn configuration(
    folder: &Path,
    listen: SocketAddr,
    upstream: &Responder,
    certificate: Option<&CertificateFiles>,
) -> String {
    let folder = folder.display();
    let (ssl, served) = certificate.map_or_else(Default::default, |CertificateFiles { certificate, key }| {
        let (certificate, key) = (certificate.display(), key.display());
        let lines = format!(
            "ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;"
        );
        (" ssl", lines)
    });
    let provider = upstream.address();
    let (scheme, tls) = match upstream.certificate() {
        None => ("http", String::new()),
        Some(_) => (
            "https",
            format!(
                "proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {folder}/{CA};
      proxy_ssl_name {NAME};
      proxy_ssl_protocols TLSv1.3;"
            ),
        ),
    };
    format!(
        "daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_buffer_size 32m;
  client_body_temp_path {folder}/client;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  upstream provider {{
    server {provider};
    keepalive 64;
    keepalive_requests 1000000000;
  }}
  server {{
    listen {listen}{ssl} backlog=4096;
    {served}
    location / {{
      proxy_pass {scheme}://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      {tls}
    }}
  }}
}}
"
    )
}
