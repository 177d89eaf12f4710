//! Settings of the store, for all commands that write configs.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use vectoll_config::{StoreUrl, store::is_scope, v1};

use crate::store::{Access, Password, Rotation};

/// Where sidecars count together.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreOptions {
    /// The Valkey or Redis in which sidecars count together: `redis://host[:port][/db]`, `redis+cluster://host[:port],…` or
    /// `redis+sentinel://host[:port],…/master`, with rediss for TLS. Without it each counts for itself
    // Read later: the error of a parser would repeat it, and somebody's password may stand in it.
    #[arg(long, env = "VECTOLL_STORE_URL", value_name = "URL", hide_env_values = true)]
    pub store_url: Option<String>,

    /// The user to log in as; by default the store's default user
    #[arg(long, env = "VECTOLL_STORE_USERNAME", value_name = "NAME")]
    pub store_username: Option<String>,

    /// The file with that user's password
    #[arg(long, env = "VECTOLL_STORE_PASSWORD_FILE", value_name = "FILE")]
    pub store_password_file: Option<PathBuf>,

    /// The file with the CA of the store's certificate, in PEM; by default well-known CAs
    #[arg(long, env = "VECTOLL_STORE_CA_FILE", value_name = "FILE")]
    pub store_ca_file: Option<PathBuf>,

    /// What becomes of limited calls while the store cannot be reached; by default Local. Teams may say otherwise
    #[arg(long, env = "VECTOLL_ON_STORE_FAILURE", value_name = "WHAT", ignore_case = true)]
    pub on_store_failure: Option<OnStoreFailure>,
}

/// What becomes of limited calls while the store cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnStoreFailure {
    /// Each sidecar goes on with its share of what was left
    #[value(name = "Local")]
    Local,
    /// They are refused
    #[value(name = "Closed")]
    Closed,
}

impl StoreOptions {
    /// The store, its files read; none: no store is to be used.
    pub fn read(&self) -> anyhow::Result<Option<Access>> {
        let Self { store_url, store_username, store_password_file, store_ca_file, on_store_failure } = self;
        let given = [
            ("--store-username", store_username.is_some()),
            ("--store-password-file", store_password_file.is_some()),
            ("--store-ca-file", store_ca_file.is_some()),
            ("--on-store-failure", on_store_failure.is_some()),
        ];
        let Some(url) = store_url else {
            match given.iter().find(|(_, given)| *given) {
                Some((flag, _)) => {
                    bail!("{flag} is of a store, and none is named: set --store-url as well, or leave {flag} out")
                }
                None => return Ok(None),
            }
        };
        let url: StoreUrl = url.parse().context("failed to use --store-url")?;
        if let Some(username) = store_username {
            ensure!(!username.is_empty(), "--store-username is empty: leave it out for the default user");
        }
        ensure!(
            store_ca_file.is_none() || url.tls(),
            "--store-ca-file is for TLS, and --store-url has none: begin it with rediss, or leave --store-ca-file out"
        );
        Ok(Some(Access {
            url,
            username: store_username.clone(),
            password: store_password_file.as_deref().map(password).transpose()?,
            ca: store_ca_file.as_deref().map(certificate).transpose()?,
            on_failure: match on_store_failure {
                Some(OnStoreFailure::Local) | None => v1::OnStoreFailure::Local,
                Some(OnStoreFailure::Closed) => v1::OnStoreFailure::Closed,
            },
        }))
    }

    /// The same for those who have nowhere else to take the password from.
    pub fn read_whole(&self) -> anyhow::Result<Option<Access>> {
        let access = self.read()?;
        if access.as_ref().is_some_and(|access| access.username.is_some() && access.password.is_none()) {
            bail!("--store-username needs a password: set --store-password-file as well");
        }
        Ok(access)
    }
}

/// The password in a file, without the line break that editors add.
fn password(file: &Path) -> anyhow::Result<Password> {
    let flag = || format!("failed to use --store-password-file {}", file.display());
    let text = std::fs::read_to_string(file).with_context(flag)?;
    let password = text.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty() && !password.contains(['\r', '\n']), "{}: it must hold one line", flag());
    Ok(Password::new(password))
}

fn certificate(file: &Path) -> anyhow::Result<Vec<u8>> {
    let flag = || format!("failed to use --store-ca-file {}", file.display());
    let pem = std::fs::read(file).with_context(flag)?;
    let has_one = pem.windows(27).any(|part| part == b"-----BEGIN CERTIFICATE-----");
    ensure!(has_one, "{}: there is no certificate in PEM in it", flag());
    Ok(pem)
}

/// How the operator keeps the store's users, in a cluster.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreKeeping {
    /// The Secret in the operator's namespace with what passwords of the store are derived from; made if it is missing
    #[arg(long, env = "VECTOLL_STORE_SECRET", value_name = "NAME", default_value = "vectoll-store-master")]
    pub store_secret: String,

    /// The password of --store-username is in that Secret as well, made with it: for a store that takes it from there
    #[arg(long, env = "VECTOLL_STORE_PASSWORD_FROM_SECRET")]
    pub store_password_from_secret: bool,

    /// What tells this operator's users of the store from those of others that share it; by default NAMESPACE.LEASE
    #[arg(long, env = "VECTOLL_STORE_SCOPE", value_name = "NAME")]
    pub store_scope: Option<String>,

    /// How often the sidecars' passwords are renewed, as in 720h; at least 1h
    #[arg(long, env = "VECTOLL_STORE_ROTATION_INTERVAL", value_name = "DURATION", default_value = "720h")]
    pub store_rotation_interval: String,

    /// How long spend is kept by the month in the store, as in 9600h; 840h (35 days) to 9600h (400 days)
    #[arg(long, env = "VECTOLL_STORE_RETENTION", value_name = "DURATION", default_value = "9600h")]
    pub store_retention: String,
}

impl StoreKeeping {
    /// The name that tells this operator's users from others'.
    pub fn scope(&self, namespace: &str, lease: &str) -> anyhow::Result<String> {
        let scope = self.store_scope.clone().unwrap_or_else(|| format!("{namespace}.{lease}"));
        ensure!(
            is_scope(&scope),
            "--store-scope {scope:?} must be up to 200 letters, digits, dots, dashes and underscores"
        );
        Ok(scope)
    }

    /// How long spend is kept by the month.
    pub fn retention(&self) -> anyhow::Result<std::time::Duration> {
        let text = &self.store_retention;
        let retention: kube::core::Duration =
            text.parse().map_err(|_| anyhow::anyhow!("--store-retention {text:?} is not a duration, as in 9600h"))?;
        let retention = std::time::Duration::from(retention);
        // Longer than functions keep it, it cannot be; and the present period of a monthly budget is to be told of.
        let (least, most) = (std::time::Duration::from_hours(840), std::time::Duration::from_hours(9600));
        ensure!(
            (least..=most).contains(&retention),
            "--store-retention {text:?} must be 840h (35 days) to 9600h (400 days)"
        );
        Ok(retention)
    }

    /// When passwords are renewed.
    pub fn rotation(&self) -> anyhow::Result<Rotation> {
        let text = &self.store_rotation_interval;
        let interval: kube::core::Duration = text
            .parse()
            .map_err(|_| anyhow::anyhow!("--store-rotation-interval {text:?} is not a duration, as in 720h"))?;
        let interval = SignedDuration::try_from(std::time::Duration::from(interval))?;
        ensure!(
            interval >= SignedDuration::from_hours(1),
            "--store-rotation-interval {text:?} is too short: at least 1h"
        );
        Ok(Rotation::every(interval))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn refused(options: &StoreOptions) -> String {
        format!("{:#}", options.read_whole().unwrap_err())
    }

    fn with(url: &str) -> StoreOptions {
        StoreOptions { store_url: Some(url.to_owned()), ..StoreOptions::default() }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_the_flags_name() {
        assert_eq!(StoreOptions::default().read_whole().unwrap(), None);
        let alone = StoreOptions { on_store_failure: Some(OnStoreFailure::Closed), ..StoreOptions::default() };
        assert!(refused(&alone).contains("set --store-url as well, or leave --on-store-failure out"));
        let nameless = StoreOptions { store_username: Some("app".to_owned()), ..with("redis://valkey") };
        assert!(refused(&nameless).contains("set --store-password-file as well"));
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            Some(path)
        };
        let plain = StoreOptions { store_ca_file: file("ca", "-----BEGIN CERTIFICATE-----"), ..with("redis://valkey") };
        assert!(refused(&plain).contains("begin it with rediss"));
        let no_ca = StoreOptions { store_ca_file: file("no-ca", "hello"), ..with("rediss://valkey") };
        assert!(refused(&no_ca).contains("no certificate in PEM"));
        for content in ["", "\n", "hunter2\nhunter3\n"] {
            let bad = StoreOptions { store_password_file: file("password", content), ..with("redis://valkey") };
            let message = refused(&bad);
            assert!(message.contains("--store-password-file") && !message.contains("hunter2"), "{message}");
        }
        let missing = StoreOptions { store_password_file: Some(folder.path().join("none")), ..with("redis://valkey") };
        assert!(refused(&missing).contains("failed to use --store-password-file"));
    }

    #[test]
    fn a_password_is_read_without_its_line_break_and_nothing_else_of_it_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, " hunter 2 \r\n").unwrap();
        let options = StoreOptions { store_password_file: Some(path), ..with("redis://valkey/1") };
        let access = options.read_whole().unwrap().unwrap();
        assert_eq!(access.password.unwrap().reveal(), " hunter 2 ");
        assert_eq!(access.on_failure, v1::OnStoreFailure::Local);
    }

    #[test]
    fn a_scope_and_an_interval_are_checked() {
        let keeping = |scope: Option<&str>, interval: &str| StoreKeeping {
            store_secret: String::new(),
            store_password_from_secret: false,
            store_scope: scope.map(str::to_owned),
            store_rotation_interval: interval.to_owned(),
            store_retention: "9600h".to_owned(),
        };
        assert_eq!(keeping(None, "720h").scope("system", "operator").unwrap(), "system.operator");
        assert!(keeping(Some("a:b"), "720h").scope("system", "operator").is_err());
        assert!(keeping(None, "720h").rotation().is_ok());
        assert!(format!("{}", keeping(None, "59m").rotation().unwrap_err()).contains("at least 1h"));
        assert!(keeping(None, "a month").rotation().is_err());
        let kept = |retention: &str| StoreKeeping { store_retention: retention.to_owned(), ..keeping(None, "720h") };
        assert!(kept("9600h").retention().is_ok() && kept("840h").retention().is_ok());
        for other in ["839h", "9601h", "400", "a year"] {
            assert!(kept(other).retention().is_err(), "{other}");
        }
    }
}
