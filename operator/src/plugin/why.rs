//! `why`: what became of one call, by the access logs of sidecars and gateways.
//!
//! The ledger sums calls up and knows none by itself, so the log is the only witness. Where a call was passed on to the gateway two lines tell
//! of it: the sidecar's, what its caller got, and the gateway's, what was decided. What a limit is today comes from [`explain`](super::explain).

mod answer;
mod meaning;
mod text;

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::Path,
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use kube::Client;
use vectoll_config::ObjectName;

use self::answer::{Answer, Witness};
pub(super) use self::meaning::because;
use super::{
    access_log::{CallId, timed},
    cli::Why,
    connect::{Place, connect_to},
    explain,
    failure::Failure,
    logs::{self, LogQuery, Source},
    output::print,
};

/// Prints it. Whether the call was found.
pub(super) async fn run(settings: &Why, out: &mut impl Write) -> anyhow::Result<bool> {
    let Why { call_id, since, log, operator_namespace, scope, output } = settings;
    let mut answer = Answer::of(call_id.clone());
    if log.is_empty() {
        let (client, place) = connect_to(scope).await?;
        let search = Search { client: &client, place: &place, since: since.0, id: call_id };
        search.sidecars(&mut answer).await?;
        search.gateways(&mut answer, operator_namespace.as_deref()).await?;
        search.explain(&mut answer, since);
        held(&client, &mut answer).await;
    } else {
        for file in log {
            in_file(file, call_id, &mut answer)?;
        }
        if !answer.is_found() {
            answer.notes.push("no line of these files is about it".to_owned());
        }
    }
    print(&answer, *output, |_| text::text(&answer), out)?;
    Ok(answer.is_found())
}

/// Where it is looked for.
struct Search<'a> {
    client: &'a Client,
    place: &'a Place,
    since: Duration,
    id: &'a CallId,
}

impl Search<'_> {
    async fn sidecars(&self, answer: &mut Answer) -> Result<(), Failure> {
        match logs::sidecars(self.client, self.place).await {
            Ok(sources) => self.look(&sources, answer).await,
            Err(failure) => unseen(answer, "sidecars", failure),
        }
    }

    /// The gateway knows more of a call that was passed on, and all of one that came to it directly.
    async fn gateways(&self, answer: &mut Answer, namespace: Option<&str>) -> Result<(), Failure> {
        if answer.is_decided() {
            return Ok(());
        }
        match logs::gateways(self.client, namespace).await {
            Ok(sources) => self.look(&sources, answer).await,
            Err(failure) => unseen(answer, "gateways", failure),
        }
    }

    async fn look(&self, sources: &[Source], answer: &mut Answer) -> Result<(), Failure> {
        answer.searched.count(sources);
        let id = self.id.as_str();
        let matches = |line: &str| line.contains(id);
        let query = LogQuery { since: self.since, tail: None, matches: &matches };
        // The last line of a call is that of its log.
        let is_enough = |found: &[(Source, String)]| found.iter().any(|(_, line)| answer::is_of(line, id));
        match logs::read(self.client, sources, query, is_enough).await {
            Ok(read) => {
                answer.searched.read(&read);
                for (source, line) in read.found {
                    answer.take(Witness { log: source.name(), is_gateway: source.is_gateway }, &line);
                }
                Ok(())
            }
            Err(failure) => unseen(answer, "their logs", failure),
        }
    }

    /// Why nothing was found.
    fn explain(&self, answer: &mut Answer, since: &super::since::Since) {
        let place = match self.place {
            Place::All => "in all namespaces".to_owned(),
            Place::Namespace(namespace) => format!("in namespace {namespace}"),
        };
        answer.explain(&place, &since.to_string());
    }
}

/// What may not be looked at is said, and hides nothing else.
fn unseen(answer: &mut Answer, what: &str, failure: Failure) -> Result<(), Failure> {
    if !failure.is_forbidden() {
        return Err(failure);
    }
    answer.notes.push(format!("{what} were not asked: {failure}"));
    Ok(())
}

/// The limits that refused it, as they are today, for whoever may read key and Team.
async fn held(client: &Client, answer: &mut Answer) {
    let Some((key, model, scope, reason)) = answer.refused_by_limit() else { return };
    let Some((namespace, name)) = key.split_once('/') else { return };
    let name = ObjectName::new(namespace, name);
    match explain::held(client, &name, &model, Timestamp::now()).await {
        Ok((limits, budgets)) => {
            answer.limits = limits.into_iter().filter(|row| meaning::is_limit(&scope, &reason, row)).collect();
            answer.budgets = budgets.into_iter().filter(|row| meaning::is_budget(&scope, &reason, row)).collect();
        }
        Err(failure) => answer.notes.push(format!("what the limit is today is not known: {failure}")),
    }
}

/// A file, or `-` for standard input.
fn in_file(file: &Path, id: &CallId, answer: &mut Answer) -> anyhow::Result<()> {
    let what = || format!("failed to read --log {}", file.display());
    let reader: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(file).with_context(what)?))
    };
    for line in reader.split(b'\n') {
        let line = line.with_context(what)?;
        let line = String::from_utf8_lossy(&line);
        if line.contains(id.as_str()) {
            // As the API server writes it, if somebody has saved that.
            let (_, line) = timed(&line);
            answer.take(Witness { log: file.display().to_string(), is_gateway: line.contains("\"namespace\":") }, line);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
