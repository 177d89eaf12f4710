//! Settings about providers' hosts, for all commands that judge routes.

use std::sync::Arc;

use clap::Args;

use crate::provider_hosts::{AllowedHosts, HostPattern};

/// Which hosts routes may name.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Providers")]
pub struct HostOptions {
    /// The hosts that routes may name, separated by commas: names, `*.` and a domain for all names below it, addresses, CIDR
    /// blocks. By default all. Link-local and metadata addresses never are
    #[arg(
        long = "allowed-provider-hosts",
        env = "VECTOLL_ALLOWED_PROVIDER_HOSTS",
        value_name = "HOSTS",
        value_delimiter = ','
    )]
    pub allowed_provider_hosts: Vec<HostPattern>,
}

impl HostOptions {
    /// The list.
    pub fn allowed(&self) -> Arc<AllowedHosts> {
        Arc::new(AllowedHosts::new(self.allowed_provider_hosts.clone()))
    }
}
