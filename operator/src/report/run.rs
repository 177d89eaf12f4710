//! `report`: reads the ledger, asks for names, and writes the bill.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use vectoll_config::Uid;

use super::{
    bill::{Amounts, Line, lines, series},
    csv::csv,
    focus::{Account, focus},
    ledger::MonthLedger,
    month::Month,
    names::Names,
    part::Part,
};
use crate::{
    cli::{ReportFormat, ReportOptions},
    store::{Access, read_allocations, read_month},
};

/// Writes the bill. `names` asks what Teams and keys are called.
pub(crate) async fn run(
    options: &ReportOptions,
    names: impl AsyncFnOnce() -> anyhow::Result<Names>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let month = options.month.unwrap_or_else(|| Month::before(now));
    ensure!(month.start() <= now, "--month {month} has not begun");
    let by = parts(options)?;
    let file = options.directory.as_deref().map(|folder| file(folder, month, options.output));
    if let Some(file) = &file {
        ensure!(
            month.end() <= now,
            "--month {month} is not over, and a file in --directory stays as it is: name a month that is over, or leave out --directory"
        );
        if file.exists() {
            tracing::info!(file = %file.display(), "the bill is there already: it stays as it is");
            return Ok(());
        }
    }
    let access = options.store.read()?.context(
        "the ledger is in the store: name it with --store-url (and --store-password-file). Where only pods reach it: kubectl port-forward, \
         or the chart's report.enabled",
    )?;
    let ledgers = read(&access, month).await?;
    if ledgers.is_empty() {
        tracing::warn!(%month, "the ledger has nothing of this month: nobody called, or it is too old to be kept");
    }
    let names = if options.without_names {
        Names::default()
    } else {
        names()
            .await
            .context("failed to learn what Teams and keys are called: --without-names goes on with their UIDs")?
    };
    let lines: Vec<Line> = by.iter().flat_map(|part| lines(&ledgers, *part, &names)).collect();
    let text = match options.output {
        ReportFormat::Csv => csv(month, &lines),
        ReportFormat::Json => serde_json::to_string_pretty(&as_json(month, &ledgers, &lines))? + "\n",
        ReportFormat::Focus => {
            let account = Account { name: &options.billing_account, month };
            by.iter().map(|part| focus(&account, *part, &lines)).collect()
        }
    };
    match file {
        Some(file) => write(&file, &text),
        None => out.write_all(text.as_bytes()).context("failed to print"),
    }
}

/// What it is divided by: each part once.
fn parts(options: &ReportOptions) -> anyhow::Result<Vec<Part>> {
    let mut by: Vec<Part> = Vec::new();
    for part in &options.by {
        if !by.contains(part) {
            by.push(*part);
        }
    }
    let is_one = by.len() == 1 || options.output != ReportFormat::Focus;
    ensure!(
        is_one,
        "--output focus sums up to the month's spend, and each part of --by does so by itself: name one of them"
    );
    Ok(by)
}

/// The ledger of a month.
pub(crate) async fn read(access: &Access, month: Month) -> anyhow::Result<BTreeMap<Uid, MonthLedger>> {
    let found = read_month(access, &month.to_string()).await;
    let found = found.with_context(|| format!("failed to read the ledger in {}", access.url))?;
    let ledger =
        |fields: &BTreeMap<String, String>| MonthLedger::of(fields.iter().map(|(name, value)| (&**name, &**value)));
    let mut ledgers: BTreeMap<Uid, MonthLedger> =
        found.iter().map(|(team, fields)| (team.clone(), ledger(fields))).collect();
    let allocations = read_allocations(access, &month.to_string()).await;
    let allocations = allocations.with_context(|| format!("failed to read the ledger in {}", access.url))?;
    for (team, fields) in &allocations {
        // Of what nobody has spent nothing is to be allocated.
        if let Some(ledger) = ledgers.get_mut(team) {
            ledger.allocate(fields.iter().map(|(name, value)| (&**name, &**value)));
        }
    }
    for (team, ledger) in ledgers.iter().filter(|(_, ledger)| !ledger.unread().is_empty()) {
        let fields = ledger.unread().len();
        tracing::warn!(%team, fields, "neither sidecars nor the operator write such fields: they are left out");
    }
    Ok(ledgers)
}

fn file(folder: &Path, month: Month, format: ReportFormat) -> PathBuf {
    folder.join(match format {
        ReportFormat::Csv => format!("vectoll-{month}.csv"),
        ReportFormat::Json => format!("vectoll-{month}.json"),
        ReportFormat::Focus => format!("vectoll-{month}-focus.csv"),
    })
}

/// Whole or not at all.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let partial = file.with_extension("partial");
    let what = || format!("failed to write {}", file.display());
    let mut open = fs::File::create(&partial).with_context(what)?;
    open.write_all(text.as_bytes()).and_then(|()| open.sync_all()).with_context(what)?;
    if file.exists() {
        bail!("{} was written by somebody else meanwhile", file.display());
    }
    fs::rename(&partial, file).with_context(what)?;
    tracing::info!(file = %file.display(), "the bill was written");
    Ok(())
}

fn as_json(month: Month, ledgers: &BTreeMap<Uid, MonthLedger>, lines: &[Line]) -> Value {
    let amounts = |amounts: Amounts| {
        // Numbers as text: JSON's readers make floats of them.
        json!({"requests": amounts.requests.to_string(), "tokens": amounts.tokens.to_string(), "spendUsd": amounts.usd()})
    };
    let total = ledgers.values().fold(Amounts::default(), |sum, of| sum.plus(of.whole.into()));
    let unsettled = ledgers.values().fold(Amounts::default(), |sum, of| sum.plus(of.unsettled.into()));
    let line = |line: &Line| {
        let mut object = json!({
            "by": line.part.name(),
            "kind": line.kind.name(),
            "series": series(line),
            "team": line.team_name,
            "teamAccount": line.team,
            "amounts": amounts(line.amounts),
        });
        if let Some(object) = object.as_object_mut() {
            let model = line.model.as_ref();
            let optional = [
                ("key", line.key_name.clone()),
                ("keyAccount", line.key.as_ref().map(ToString::to_string)),
                ("user", line.user.clone()),
                ("provider", model.map(|model| model.provider.clone())),
                ("backend", model.map(|model| model.backend.clone())),
                ("model", model.map(|model| model.model.clone())),
                ("costCenter", line.cost_center.clone()),
            ];
            object.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
            if line.included != Amounts::default() {
                object.insert("included".to_owned(), amounts(line.included));
            }
            if !line.labels.is_empty() {
                object.insert("labels".to_owned(), json!(line.labels));
            }
            if !line.tags.is_empty() {
                object.insert("tags".to_owned(), json!(line.tags));
            }
            if !line.metadata.is_empty() {
                object.insert("metadata".to_owned(), json!(line.metadata));
            }
        }
        object
    };
    json!({
        "month": month.to_string(),
        "start": month.start(),
        "end": month.end(),
        "total": amounts(total),
        "unsettled": amounts(unsettled),
        "lines": lines.iter().map(line).collect::<Vec<_>>(),
    })
}
