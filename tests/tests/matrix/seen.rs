//! The table of providers in `sidecar/docs/providers.md`: what was seen.

use std::{collections::BTreeSet, fmt::Write, path::Path};

use anyhow::Context;
use vectoll_tests::provider::Encoding;

use super::rows::{Cannot, Row};

const BEGIN: &str = "<!-- providers:begin -->\n";
const END: &str = "<!-- providers:end -->";

/// What was seen of a provider.
pub struct Seen {
    name: &'static str,
    forms: BTreeSet<&'static str>,
    encodings: BTreeSet<&'static str>,
    length: usize,
    dimensions: BTreeSet<usize>,
    has_not: (usize, Cannot),
    passes: bool,
    reports: bool,
    credential: &'static str,
    /// Whether the provider was told that inputs are queries.
    pub told: bool,
    /// Inputs of the largest request.
    pub largest: usize,
}

impl Seen {
    pub fn new(row: &Row) -> Self {
        Self {
            name: row.name,
            forms: BTreeSet::new(),
            encodings: BTreeSet::new(),
            length: row.length,
            dimensions: BTreeSet::new(),
            has_not: row.has_not,
            passes: row.passes,
            reports: row.reports,
            credential: row.credential,
            told: false,
            largest: 0,
        }
    }

    /// A call that was served.
    pub fn saw(&mut self, form: &'static str, encoding: Encoding, dimensions: Option<usize>) {
        self.forms.insert(form);
        self.encodings.insert(match encoding {
            Encoding::Float => "float",
            Encoding::Base64 => "base64",
        });
        self.dimensions.extend(dimensions);
    }

    fn line(&self) -> String {
        let Self { name, forms, encodings, length, dimensions, has_not, passes, reports, credential, told, largest } =
            self;
        let tokens = match (forms.iter().any(|form| form.starts_with("token")), passes) {
            (true, true) => "as they come",
            (true, false) => "as text",
            (false, _) => "no",
        };
        let forms = if forms.len() == 4 { "all".to_owned() } else { listed(forms) };
        let (number, cannot) = has_not;
        let other = match cannot {
            Cannot::Refused => format!("{} is refused", digits(*number)),
            Cannot::ByProvider(status) => format!("{}: the provider's {status}", digits(*number)),
            Cannot::InSilence => format!("{}: 502", digits(*number)),
        };
        let had: Vec<_> = dimensions.iter().map(|number| digits(*number)).collect();
        let had = if had.is_empty() { "none".to_owned() } else { had.join(", ") };
        let told = if *told { "sent" } else { "–" };
        let reports = if *reports { "reported" } else { "counted" };
        format!(
            "| {name} | {forms} | {tokens} | {} | {} | {had}; {other} | {told} | {} | {reports} | {credential} |",
            listed(encodings),
            digits(*length),
            digits(*largest),
        )
    }
}

fn listed(words: &BTreeSet<&'static str>) -> String {
    words.iter().copied().collect::<Vec<_>>().join(", ")
}

/// A number below a million as people write it.
fn digits(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

/// Compares the table with the page's, or writes it there.
pub fn compare(table: &[Seen]) -> anyhow::Result<()> {
    let mut text =
        "| provider, model | inputs | token arrays | encodings | numbers in a vector | `dimensions` | input type | \
                    largest request | tokens | credential |\n|---|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for seen in table {
        writeln!(text, "{}", seen.line())?;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sidecar/docs/providers.md");
    let page = std::fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(BEGIN).context("the page has no table of providers")?;
    let (found, after) = rest.split_once(END).context("the page's table of providers has no end")?;
    if std::env::var_os("VECTOLL_UPDATE").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{text}{END}{after}"))?;
        return Ok(());
    }
    assert_eq!(found, text, "the page's table of providers is not what was seen");
    Ok(())
}
