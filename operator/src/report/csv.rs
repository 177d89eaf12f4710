//! Comma-separated values (RFC 4180), safe to open in a spreadsheet.

use std::collections::BTreeMap;

use super::{
    bill::{Amounts, Line},
    month::Month,
};

/// The columns.
const HEAD: [&str; 21] = [
    "month",
    "by",
    "kind",
    "team",
    "team_account",
    "key",
    "key_account",
    "user",
    "provider",
    "backend",
    "model",
    "requests",
    "tokens",
    "spend_usd",
    "included_requests",
    "included_tokens",
    "included_usd",
    "metadata",
    "cost_center",
    "labels",
    "tags",
];

/// The lines of a month.
pub(super) fn csv(month: Month, lines: &[Line]) -> String {
    let mut text = record(HEAD.iter().map(|name| (*name).to_owned()));
    for line in lines {
        text += &record(cells(month, line).into_iter());
    }
    text
}

fn cells(month: Month, line: &Line) -> Vec<String> {
    let Line {
        part,
        kind,
        team,
        team_name,
        key,
        key_name,
        user,
        model,
        amounts,
        included,
        metadata,
        cost_center,
        labels,
        tags,
    } = line;
    let or_empty = |text: Option<&str>| safe(text.unwrap_or_default());
    let model = model.as_ref();
    let mut cells = vec![month.to_string(), part.name().to_owned(), kind.name().to_owned()];
    cells.extend([or_empty(team_name.as_deref()), safe(team.as_str()), or_empty(key_name.as_deref())]);
    cells.extend([or_empty(key.as_ref().map(vectoll_config::Uid::as_str)), or_empty(user.as_deref())]);
    cells.extend([
        or_empty(model.map(|model| &*model.provider)),
        or_empty(model.map(|model| &*model.backend)),
        or_empty(model.map(|model| &*model.model)),
    ]);
    for amounts in [amounts, included] {
        let Amounts { requests, tokens, pico: _ } = amounts;
        // A line has one or the other: what is in other lines already adds nothing.
        let is_none = *amounts == Amounts::default();
        let numbers = [requests.to_string(), tokens.to_string(), amounts.usd()];
        cells.extend(numbers.map(|number| if is_none { String::new() } else { number }));
    }
    let pairs = |of: &BTreeMap<String, String>| {
        let pairs: Vec<String> = of.iter().map(|(name, value)| format!("{name}={value}")).collect();
        safe(&pairs.join("; "))
    };
    cells.extend([pairs(metadata), or_empty(cost_center.as_deref()), pairs(labels)]);
    // A tag may hold any sign that could divide them.
    cells.push(if tags.is_empty() { String::new() } else { serde_json::json!(tags).to_string() });
    cells
}

/// A text that no spreadsheet takes for a formula: those begin with =, +, - or @, or with white space before one (OWASP, "CSV
/// Injection"). A quote in front makes it text.
pub(super) fn safe(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

/// One record, quoted where it has to be.
pub(super) fn record(cells: impl Iterator<Item = String>) -> String {
    let quoted = cells.map(|cell| {
        if cell.contains([',', '"', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
    });
    quoted.collect::<Vec<_>>().join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{
        super::{
            bill::{
                lines,
                tests::{ledgers, names},
            },
            part::Part,
        },
        *,
    };

    #[test]
    fn each_part_is_a_block_of_its_own() {
        let all: Vec<Line> = [Part::Team, Part::Key, Part::User, Part::Model, Part::CostCenter, Part::Label, Part::Tag]
            .into_iter()
            .flat_map(|part| lines(&ledgers(), part, &names()))
            .collect();
        insta::assert_snapshot!(csv("2026-11".parse().unwrap(), &all).replace("\r\n", "\n"));
    }

    #[test]
    fn nothing_that_a_caller_may_name_is_a_formula() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("\t=1", "'\t=1"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(safe(text), expected);
        }
        let cells = ["a,b", "say \"hi\"", "two\nlines", "plain"].map(str::to_owned);
        assert_eq!(record(cells.into_iter()), "\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\",plain\r\n");
    }
}
