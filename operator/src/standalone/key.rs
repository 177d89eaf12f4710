//! The value of a generated key as it is to be pasted: in its Secret it is base64, and a file among others.

use std::io::Write;

use anyhow::{Context, bail};
use vectoll_config::ObjectName;

use super::{beside, must_be_folder, state::State};
use crate::cli::Key;

/// Prints a key's value, and nothing else.
pub fn key(settings: &Key, out: &mut impl Write) -> anyhow::Result<()> {
    let Key { name, config_dir, state_dir, namespace } = settings;
    let folder = match (state_dir, config_dir) {
        (Some(state_dir), _) => state_dir.clone(),
        (None, Some(config_dir)) => beside(config_dir),
        (None, None) => bail!("set --config-dir or --state-dir to the folder that standalone was started with"),
    };
    must_be_folder(&folder)
        .context("standalone keeps generated keys there: is it the folder that it was started with?")?;
    let state = State::open(&folder)?;
    let wanted = ObjectName::new(namespace, name);
    let Some(value) = state.value_of(&wanted) else {
        let known: Vec<String> = state.api_keys().map(ToString::to_string).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        bail!(
            "no key was generated for the ApiKey {wanted} (generated in {}: {known}). One with secretRef is in the Secret that it names, \
             and of one with keyHash nobody here has the value",
            folder.display()
        );
    };
    writeln!(out, "{value}").context("failed to print the key")
}
