//! `kubectl vectoll` and the bill: pages and `--help` name the same commands and flags.

use std::{collections::BTreeSet, fs};

use anyhow::{Context, ensure};
use clap::{Command, CommandFactory, Parser};
use vectoll_operator::{cli::Cli, plugin::Plugin};
use vectoll_tests::documents::{block, repository};

/// Long flags, as they are written.
fn flags(command: &Command) -> BTreeSet<String> {
    let long = command.get_arguments().filter_map(|argument| argument.get_long());
    long.filter(|flag| !matches!(*flag, "help" | "version")).map(|flag| format!("--{flag}")).collect()
}

/// What stands between backticks on a page.
fn quoted(page: &str) -> anyhow::Result<BTreeSet<String>> {
    let text = fs::read_to_string(repository().join(page))?;
    let outside: String = text.split("```").step_by(2).collect();
    Ok(outside.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

fn first_words(quoted: &BTreeSet<String>) -> BTreeSet<&str> {
    quoted.iter().filter_map(|text| text.split(' ').next()).collect()
}

#[test]
fn the_page_names_every_command_and_flag_of_the_plugin_and_no_other() -> anyhow::Result<()> {
    let plugin = Plugin::command();
    let page = quoted("operator/docs/kubectl.md")?;
    let words = first_words(&page);
    for command in plugin.get_subcommands() {
        ensure!(words.contains(command.get_name()), "the page has no {}", command.get_name());
    }
    // Those of the bill and of LiteLLM's config have pages of their own.
    let own = |command: &&Command| !matches!(command.get_name(), "report" | "import");
    let known: BTreeSet<String> = plugin.get_subcommands().filter(own).flat_map(flags).collect();
    let shown: BTreeSet<String> =
        page.into_iter().filter(|text| text.starts_with("--") && !text.contains(' ')).collect();
    ensure!(known.len() > 8 && shown == known, "the page has {shown:?}, the program {known:?}");
    Ok(())
}

#[test]
fn the_page_of_the_bill_names_every_flag_and_no_other() -> anyhow::Result<()> {
    let (operator, plugin) = (Cli::command(), Plugin::command());
    let report = |program: &Command| program.find_subcommand("report").map(flags).context("no report");
    let of_operator = report(&operator)?;
    let known: BTreeSet<String> = of_operator.union(&report(&plugin)?).cloned().collect();
    let page = quoted("operator/docs/report.md")?;
    let shown: BTreeSet<String> =
        page.into_iter().filter(|text| text.starts_with("--") && !text.contains(' ')).collect();
    ensure!(known.len() > 8 && shown == known, "the page has {shown:?}, the programs {known:?}");
    Ok(())
}

/// The commands as they stand there are ones.
#[test]
fn the_commands_of_the_pages_are_commands() -> anyhow::Result<()> {
    let mut count = 0;
    for commands in [block("kubectl-use")?, block("report")?, block("report-forward")?] {
        for line in commands.lines() {
            let command = line.split(" #").next().unwrap_or_default().split(['>', '&', '|']).next().unwrap_or_default();
            let parsed = if let Some(rest) = command.strip_prefix("kubectl vectoll") {
                Plugin::try_parse_from(format!("kubectl-vectoll{rest}").split_whitespace()).map(drop)
            } else if command.starts_with("vectoll-operator") {
                Cli::try_parse_from(command.split_whitespace()).map(drop)
            } else {
                continue;
            };
            parsed.with_context(|| line.to_owned())?;
            count += 1;
        }
    }
    ensure!(count > 10, "only {count} commands were found");
    let install = block("kubectl-install")?;
    let path = repository().join("operator/src/bin/kubectl-vectoll.rs");
    ensure!(install.contains("--path operator --bin kubectl-vectoll") && path.is_file(), "{install}");
    ensure!(
        fs::read_to_string(repository().join("Makefile"))?.contains("--bin kubectl-vectoll"),
        "make build does not build it"
    );
    Ok(())
}
