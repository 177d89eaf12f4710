//! A view as a table, as JSON or as YAML.

use std::io::Write;

use anyhow::Context;
use serde::Serialize;

use super::cli::{Format, Output};

/// Prints it. `table` is told whether it may be wide.
pub(super) fn print<V: Serialize>(
    view: &V,
    output: Output,
    table: impl FnOnce(bool) -> String,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let text = match output.output {
        Format::Table => table(false),
        Format::Wide => table(true),
        Format::Json => serde_json::to_string_pretty(view).context("failed to write JSON")? + "\n",
        Format::Yaml => serde_yaml::to_string(view).context("failed to write YAML")?,
    };
    out.write_all(text.as_bytes()).context("failed to print")
}
