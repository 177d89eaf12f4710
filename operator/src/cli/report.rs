//! Settings of `report`, and of whatever else reads the ledger.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::StoreOptions;
use crate::{
    report::{Month, Part},
    store::Access,
};

/// The store that holds the ledger.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Store")]
pub struct LedgerStore {
    /// The Valkey or Redis that holds the ledger: `redis://host[:port][/db]`, `redis+cluster://host[:port],…` or
    /// `redis+sentinel://host[:port],…/master`, with rediss for TLS
    // Read later: the error of a parser would repeat it, and somebody's password may stand in it.
    #[arg(long, env = "VECTOLL_STORE_URL", value_name = "URL", hide_env_values = true)]
    pub store_url: Option<String>,

    /// The user to log in as, who may read all keys; by default the store's default user
    #[arg(long, env = "VECTOLL_STORE_USERNAME", value_name = "NAME")]
    pub store_username: Option<String>,

    /// The file with that user's password
    #[arg(long, env = "VECTOLL_STORE_PASSWORD_FILE", value_name = "FILE")]
    pub store_password_file: Option<PathBuf>,

    /// The file with the CA of the store's certificate, in PEM; by default well-known CAs
    #[arg(long, env = "VECTOLL_STORE_CA_FILE", value_name = "FILE")]
    pub store_ca_file: Option<PathBuf>,
}

impl LedgerStore {
    /// The store, its files read; none: none is named.
    pub fn read(&self) -> anyhow::Result<Option<Access>> {
        let Self { store_url, store_username, store_password_file, store_ca_file } = self.clone();
        let options =
            StoreOptions { store_url, store_username, store_password_file, store_ca_file, on_store_failure: None };
        options.read_whole()
    }
}

/// How the bill is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A table for spreadsheets
    #[default]
    Csv,
    /// JSON, with the totals
    Json,
    /// A cost and usage dataset by FOCUS 1.2, as CSV
    Focus,
}

/// What is reported, and how.
#[derive(Clone, Debug, Args)]
pub struct ReportOptions {
    /// The calendar month in UTC, as in 2026-11; by default the last one that is over
    #[arg(long, value_name = "MONTH")]
    pub month: Option<Month>,

    /// What the month's spend is divided by, separated by commas. Each divides all of it: the ledger does not hold them crossed
    #[arg(long, value_name = "PARTS", value_delimiter = ',', default_value = "team")]
    pub by: Vec<Part>,

    /// How it is written
    #[arg(short, long, value_name = "FORMAT", default_value = "csv")]
    pub output: ReportFormat,

    /// Writes the file vectoll-MONTH.csv (.json, -focus.csv) in this folder, unless it is there, in place of standard output
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,

    /// What the whole bill is called in FOCUS: `BillingAccountId`
    #[arg(long, value_name = "NAME", default_value = "vectoll")]
    pub billing_account: String,

    /// Does not ask the API server what Teams and keys are called: their UIDs stand for them
    #[arg(long)]
    pub without_names: bool,

    /// The store with the ledger
    #[command(flatten)]
    pub store: LedgerStore,
}
