//! What pages say of the code: messages, targets of make, tests and places.

use std::fs;

use anyhow::{Context, ensure};
use vectoll_tests::documents::{block, files, repository};

/// The messages in the first column of the tables by symptom are the code's own.
#[test]
fn messages_to_search_for_are_those_of_the_code() {
    let mut sources = fs::read_to_string(repository().join("tests/fixtures/errors.txt")).unwrap();
    for path in files("rs").unwrap().into_iter().chain(files("yaml").unwrap()) {
        let shipped = path.starts_with("operator/src")
            || path.starts_with("sidecar/")
            || path.starts_with("charts/vectoll/templates");
        if shipped {
            // A text that goes on in the next line is one text.
            sources += &fs::read_to_string(repository().join(path)).unwrap().replace("\\\n", "");
        }
    }
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let sources = one_line(&sources);
    let page = fs::read_to_string(repository().join("charts/vectoll/docs/troubleshooting.md")).unwrap();
    let (mut column, mut count, mut wrong) = (None, 0, Vec::new());
    for line in page.lines() {
        let cells: Vec<&str> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        if !line.starts_with('|') {
            column = None;
        } else if let Some(found) = cells.iter().position(|cell| *cell == "message") {
            column = Some(found);
        } else if let Some(cell) = column.and_then(|column| cells.get(column)) {
            for message in cell.split('`').skip(1).step_by(2).filter(|message| message.contains(' ')) {
                count += 1;
                if !sources.contains(&one_line(message)) {
                    wrong.push(message.to_owned());
                }
            }
        }
    }
    assert!(count > 80, "only {count} messages were found");
    assert!(wrong.is_empty(), "the code has no such messages: {wrong:#?}");
}

#[test]
fn the_targets_of_make_are_there() -> anyhow::Result<()> {
    let makefile = fs::read_to_string(repository().join("Makefile"))?;
    let blocks = [block("make")?, block("contribute")?];
    let targets: Vec<&str> = blocks
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.strip_prefix("make ")?.split(' ').next())
        .collect();
    ensure!(targets.len() > 5, "{targets:?}");
    for target in targets {
        ensure!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "no target {target}");
    }
    Ok(())
}

/// Packages, test programs and names in the commands that run a single test.
#[test]
fn the_single_tests_of_contributing_are_there() -> anyhow::Result<()> {
    let mut sources = String::new();
    for path in files("rs")? {
        sources += &fs::read_to_string(repository().join(path))?;
    }
    let workspace = fs::read_to_string(repository().join("Cargo.toml"))?;
    let text = block("one-test")?;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |flag: &str| words.iter().skip_while(|word| **word != flag).nth(1).copied();
        let package = after("-p").with_context(|| line.to_owned())?;
        ensure!(workspace.contains(&format!("\n{package} = ")) || package == "vectoll-tests", "no package {package}");
        if let Some(program) = after("--test") {
            ensure!(repository().join(format!("tests/tests/{program}/main.rs")).exists(), "no test program {program}");
        }
        if words.contains(&"test") {
            let name = words.last().context("no name")?;
            ensure!(
                sources.contains(&format!("fn {name}")) || sources.contains(&format!("mod {name}")),
                "no test {name}"
            );
        }
    }
    Ok(())
}

/// Every path in backticks on the page for contributors is there.
#[test]
fn the_places_of_contributing_are_there() -> anyhow::Result<()> {
    let page = fs::read_to_string(repository().join("tests/CONTRIBUTING.md"))?;
    let quoted = page.split('`').skip(1).step_by(2);
    let places: Vec<&str> = quoted.filter(|text| text.contains('/') && !text.contains([' ', '\n', '…'])).collect();
    ensure!(places.len() > 30, "{places:?}");
    let lost: Vec<&&str> = places.iter().filter(|place| !repository().join(place).exists()).collect();
    ensure!(lost.is_empty(), "moved or gone: {lost:?}");
    Ok(())
}
