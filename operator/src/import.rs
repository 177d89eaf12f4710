//! `vectoll-operator import litellm`: LiteLLM's config, teams and keys as manifests to review.
//!
//! Nothing is lost on the way: each field is either taken over, or known to mean nothing here, or told in [`notes`] with what to do.
//! [`fields`] sees to that: whoever reads a mapping by it has to say so of what is left.
//!
//! Sources: BerriAI/litellm `litellm/proxy/_types.py` (`ConfigYAML`), `litellm/types/router.py` (`LiteLLM_Params`, `ModelInfo`),
//! `litellm/models/team.py`, `litellm/models/verification_token.py`, `litellm/litellm_core_utils/duration_parser.py`; LiteLLM's
//! documentation, "Config settings".

mod amounts;
mod backend;
mod fields;
mod keys;
mod manifests;
mod models;
mod names;
mod notes;
mod routes;
mod secrets;
mod settings;
mod teams;

use std::{fs, io::Write, path::Path};

use anyhow::Context;
use serde_json::Value;

use self::{fields::Fields, manifests::Manifests, models::Models, notes::Notes, secrets::Secrets};
use crate::cli::ImportLitellm;

/// Prints the manifests, with what is left to do before them as comments.
pub(crate) fn import_litellm(settings: &ImportLitellm, out: &mut impl Write) -> anyhow::Result<()> {
    let ImportLitellm { config, teams, keys, namespace } = settings;
    anyhow::ensure!(
        config.is_some() || teams.is_some() || keys.is_some(),
        "nothing to import: give --config, --teams, --keys, or several of them"
    );
    let (mut notes, mut secrets, mut manifests) = (Notes::default(), Secrets::default(), Manifests::new(namespace));
    let models = match config {
        Some(file) => {
            let config = Fields::of("", &read(file)?).with_context(|| format!("{} is no config", file.display()))?;
            routes::import(config, &mut manifests, &mut secrets, &mut notes)
        }
        None => Models::unknown(),
    };
    let mut known_teams = teams::Teams::default();
    if let Some(file) = teams {
        let list = list(&read(file)?, "teams").with_context(|| format!("{} has no list of teams", file.display()))?;
        known_teams = teams::import(list, &models, &mut manifests, &mut notes);
    }
    if let Some(file) = keys {
        let list = list(&read(file)?, "keys").with_context(|| format!("{} has no list of keys", file.display()))?;
        keys::import(list, &mut known_teams, &models, &mut manifests, &mut notes);
    }
    let text = manifests.text(&secrets, &notes)?;
    out.write_all(text.as_bytes()).context("failed to print the manifests")
}

/// Any YAML, and so any JSON.
fn read(file: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("{} is neither YAML nor JSON", file.display()))
}

/// The rows of a table, or what LiteLLM's API answers with them: a list, or an object that has one under this name.
fn list(value: &Value, name: &str) -> Option<Vec<Value>> {
    value.as_array().or_else(|| value.get(name)?.as_array()).cloned()
}
