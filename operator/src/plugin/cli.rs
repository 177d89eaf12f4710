//! The command line of `kubectl vectoll`.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::{access_log::CallId, since::Since};
use crate::cli::{Import, LedgerStore, ReportOptions};

/// Looks at Vectoll's keys, Teams and routes, and changes what is changed by hand: with your own kubeconfig and rights.
#[derive(Clone, Debug, Parser)]
#[command(name = "kubectl-vectoll", bin_name = "kubectl vectoll", version)]
pub struct Plugin {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Shows Teams and keys: ready or why not, what they have spent of their budgets, and when those begin anew
    Status(Status),
    /// Looks for what is wrong with the installation and with its resources. Exit status 1: something is
    Check(Check),
    /// Lists who has spent most: from the statuses, or from the ledger in the store
    Top(Top),
    /// Says whether a key may call a model: by which route, at what price, under which limits and budgets, what stands in the way, and why its
    /// last call was refused. Exit status 1: it may not
    Explain(Explain),
    /// Says what became of one call, by the access logs of sidecars and gateways. Exit status 1: no line is about it
    Why(Why),
    /// Has the operator make a new value for a key. The one before stays valid for the key's grace period
    Rotate(OfKey),
    /// Has every call with a key, or with the keys of a Team, refused
    Suspend(Subject),
    /// Ends that
    Resume(Subject),
    /// Prints the value of a key from its Secret
    Key(OfKey),
    /// Opens the operator's page in a browser, signed in
    Page(Page),
    /// Prints the month's bill from the ledger in the store
    Report(Report),
    /// Prints manifests made of another gateway's config, with what is left to do
    #[command(subcommand)]
    Import(Import),
    /// Prints a script that completes commands and flags in a shell
    Completion(Completion),
}

/// Which cluster, and which part of it.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterOptions {
    /// The kubeconfig; by default what KUBECONFIG names, or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// The context in it; by default the current one
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,

    /// The namespace; by default the context's
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,
}

/// One namespace or all.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct Scope {
    #[command(flatten)]
    pub(super) cluster: ClusterOptions,

    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(super) all_namespaces: bool,
}

/// How something is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table
    #[default]
    Table,
    /// A table with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct Output {
    /// How it is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(super) output: Format,
}

/// Settings of `status`.
#[derive(Clone, Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    pub(super) scope: Scope,

    #[command(flatten)]
    pub(super) output: Output,
}

/// Settings of `check`.
#[derive(Clone, Debug, Args)]
pub(super) struct Check {
    /// The kubeconfig; by default what KUBECONFIG names, or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// The context in it; by default the current one
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,

    /// Looks at the resources and pods of this namespace only; by default of all
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(super) namespace: Option<String>,

    /// Where the operator runs; by default it is looked for
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) operator_namespace: Option<String>,

    #[command(flatten)]
    pub(super) output: Output,
}

/// Whose spend is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Spenders {
    /// `ApiKeys`
    Keys,
    /// Teams
    Teams,
    /// Backends with budgets: what is owed to their providers
    Backends,
    /// End users; from the ledger only
    Users,
    /// Models; from the ledger only
    Models,
    /// Cost centres; from the ledger only
    CostCenters,
    /// Labels of keys and Teams that spend is allocated by; from the ledger only
    Labels,
    /// Tags that callers write on calls, those that a Team or a route lists; a call with two counts at both; from the ledger only
    Tags,
}

/// Settings of `top`.
#[derive(Clone, Debug, Args)]
pub(super) struct Top {
    /// Who
    #[arg(value_name = "WHO")]
    pub(super) who: Spenders,

    /// How many
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(super) limit: usize,

    #[command(flatten)]
    pub(super) scope: Scope,

    /// With a store: the calendar month from the ledger. Without: what statuses say
    #[command(flatten)]
    pub(super) store: LedgerStore,

    #[command(flatten)]
    pub(super) output: Output,
}

/// Settings of `explain`.
#[derive(Clone, Debug, Args)]
pub(super) struct Explain {
    /// The name of the ApiKey
    #[arg(value_name = "KEY")]
    pub(super) key: String,

    /// The model, as a call names it
    #[arg(value_name = "MODEL")]
    pub(super) model: String,

    /// How far back the logs of sidecars are read for the last call with the key that was refused, as in 15m; 0s: not at all
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = Since::from_str)]
    pub(super) since: Since,

    #[command(flatten)]
    pub(super) cluster: ClusterOptions,

    #[command(flatten)]
    pub(super) output: Output,
}

/// Settings of `why`.
#[derive(Clone, Debug, Args)]
pub(super) struct Why {
    /// The ID of the call: the header x-litellm-call-id of its answer
    #[arg(value_name = "CALL-ID", value_parser = CallId::from_str)]
    pub(super) call_id: CallId,

    /// How far back logs are read, as in 90s, 15m or 24h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = Since::from_str)]
    pub(super) since: Since,

    /// Reads this file in place of the cluster's logs, `-` for standard input: of a collector, or of a sidecar without a cluster. It may be
    /// repeated
    #[arg(long, value_name = "FILE")]
    pub(super) log: Vec<PathBuf>,

    /// Where the gateway runs; by default it is looked for
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) operator_namespace: Option<String>,

    #[command(flatten)]
    pub(super) scope: Scope,

    #[command(flatten)]
    pub(super) output: Output,
}

/// Settings of commands about one key.
#[derive(Clone, Debug, Args)]
pub(super) struct OfKey {
    /// The name of the ApiKey
    #[arg(value_name = "NAME")]
    pub(super) name: String,

    #[command(flatten)]
    pub(super) cluster: ClusterOptions,
}

/// Settings of commands about a key or a Team.
#[derive(Clone, Debug, Args)]
pub(super) struct Subject {
    /// The name of the ApiKey, or `team/NAME`
    #[arg(value_name = "KEY|team/NAME")]
    pub(super) name: String,

    #[command(flatten)]
    pub(super) cluster: ClusterOptions,
}

/// Settings of `page`.
#[derive(Clone, Debug, Args)]
pub(super) struct Page {
    /// The kubeconfig; by default what KUBECONFIG names, or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// The context in it; by default the current one
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,

    /// Where the operator runs; by default it is looked for
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) operator_namespace: Option<String>,

    /// Signs in as this `ServiceAccount`, by a token for an hour; by default as yourself, by the token that your kubeconfig has
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pub(super) service_account: Option<String>,

    /// The port on this machine; by default a free one
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,

    /// Prints the address, and opens no browser
    #[arg(long)]
    pub(super) no_open: bool,
}

/// Settings of `report`.
#[derive(Clone, Debug, Args)]
pub(super) struct Report {
    #[command(flatten)]
    pub(super) options: ReportOptions,

    /// The kubeconfig of the cluster that knows the names; by default what KUBECONFIG names, or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,

    /// The context in it; by default the current one
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,
}

/// Settings of `completion`.
#[derive(Clone, Debug, Args)]
pub(super) struct Completion {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(super) shell: Shell,
}
