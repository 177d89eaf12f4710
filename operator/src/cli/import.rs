//! Settings of `import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::observed_state::DEFAULT_NAMESPACE;

/// Whose config it is.
#[derive(Clone, Debug, Subcommand)]
pub enum Import {
    /// LiteLLM's proxy: its config, and what it keeps of teams and keys
    Litellm(ImportLitellm),
}

/// Settings of `import litellm`.
#[derive(Clone, Debug, Args)]
pub struct ImportLitellm {
    /// The proxy's config.yaml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Its teams, as JSON: what `/team/list` answers, or the rows of `LiteLLM_TeamTable`
    #[arg(long, value_name = "FILE")]
    pub teams: Option<PathBuf>,

    /// Its keys, as JSON: what `/key/list?return_full_object=true` answers, or the rows of `LiteLLM_VerificationToken`. They hold hashes,
    /// and no key
    #[arg(long, value_name = "FILE")]
    pub keys: Option<PathBuf>,

    /// The namespace of what is made
    #[arg(long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    pub namespace: String,
}
