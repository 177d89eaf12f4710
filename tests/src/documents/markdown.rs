//! As much of Markdown as the pages use, as GitHub reads it.

use std::collections::BTreeSet;

use anyhow::{Context, bail};

/// A fenced block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The line of its first fence, from 1.
    pub line: usize,
    /// The word behind the fence.
    pub language: String,
    /// The name in the comment on the line before it: `<!-- run: NAME -->`.
    pub name: Option<String>,
    /// What is between the fences.
    pub text: String,
}

/// The fenced blocks of a page.
pub fn blocks(text: &str) -> anyhow::Result<Vec<Block>> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = "";
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (Some(_), Some("")) => found.extend(open.take()),
            (Some(block), Some(_)) => bail!("line {}: a fence within the block of line {}", index + 1, block.line),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, Some(language)) => {
                let name = before.trim().strip_prefix("<!-- run: ").and_then(|rest| rest.strip_suffix(" -->"));
                open = Some(Block {
                    line: index + 1,
                    language: language.trim().to_owned(),
                    name: name.map(str::to_owned),
                    text: String::new(),
                });
            }
            (None, None) => {}
        }
        before = line;
    }
    match open {
        Some(block) => bail!("the block of line {} has no end", block.line),
        None => Ok(found),
    }
}

/// The lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    })
}

/// The anchors that its headings have.
pub fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in prose(text) {
        let rest = line.trim_start_matches('#');
        if rest.len() == line.len() || !rest.starts_with(' ') {
            continue;
        }
        let anchor = anchor(rest.trim());
        // Of several headings with one text the later ones are numbered.
        let free = (0..).map(|number| if number == 0 { anchor.clone() } else { format!("{anchor}-{number}") });
        if let Some(free) = free.into_iter().find(|name| !found.contains(name)) {
            found.insert(free);
        }
    }
    found
}

fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The targets of its links.
pub fn links(text: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for line in prose(text) {
        // Code is not a link; what is in the square brackets of one may be code.
        let plain: String = line.split('`').step_by(2).collect();
        for part in plain.split("](").skip(1) {
            let (target, _) = part.split_once(')').with_context(|| format!("a link without an end: {line}"))?;
            found.push(target.to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    const PAGE: &str = "# A page: of `code`\n\n[one](a.md#b) and [`two`](b.rs), not `[three](c)`\n\n<!-- run: first -->\n```sh\nls [x](y)\n\
                        # no heading\n```\n\n```text\nout\n```\n\n## A page: of `code`\n";

    #[test]
    fn blocks_have_language_name_and_text() {
        let found = blocks(PAGE).unwrap();
        let first = Block {
            line: 6,
            language: "sh".to_owned(),
            name: Some("first".to_owned()),
            text: "ls [x](y)\n# no heading\n".to_owned(),
        };
        assert_eq!(found[0], first);
        assert_eq!((found[1].language.as_str(), &found[1].name, found.len()), ("text", &None, 2));
        assert!(blocks("```sh\nls\n").is_err() && blocks("```sh\n```yaml\n```\n").is_err());
    }

    #[test]
    fn links_and_anchors_are_those_of_prose() {
        assert_eq!(links(PAGE).unwrap(), ["a.md#b", "b.rs"]);
        assert_eq!(anchors(PAGE).into_iter().collect::<Vec<_>>(), ["a-page-of-code", "a-page-of-code-1"]);
        assert!(links("[a](b").is_err());
    }
}
