//! From any name to one that Kubernetes takes.

use std::collections::BTreeSet;

/// The longest name, with room for a number behind it.
const MAX: usize = 50;

/// Names that were given.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// A name like this one that no other has: lower-case letters, digits and dashes.
    pub(super) fn like(&mut self, text: &str) -> String {
        let base = label(text);
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let free = std::iter::once(base.clone()).chain(numbered).find(|name| !self.0.contains(name));
        let name = free.unwrap_or(base);
        self.0.insert(name.clone());
        name
    }
}

/// The text with a dash for each stretch of what a name cannot have.
pub(super) fn label(text: &str) -> String {
    let mut name = String::new();
    for letter in text.chars().flat_map(char::to_lowercase) {
        if letter.is_ascii_lowercase() || letter.is_ascii_digit() {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() >= MAX {
            break;
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() { "unnamed".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_kubernetes_takes_and_each_ones_own() {
        let mut names = Names::default();
        let given = ["Search Team", "search-team", "text-embedding-3-small", "OpenAI/*", "***", "***", "Größe"]
            .map(|text| names.like(text));
        assert_eq!(
            given,
            ["search-team", "search-team-2", "text-embedding-3-small", "openai", "unnamed", "unnamed-2", "gr-e"]
        );
        assert_eq!(label(&"x".repeat(300)).len(), MAX);
    }
}
