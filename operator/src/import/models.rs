//! The models that will be served: what a team or a key may use is told by their names.

use std::collections::BTreeSet;

use super::notes::Notes;

/// The public names of models.
#[derive(Debug)]
pub(super) struct Models(Option<BTreeSet<String>>);

/// What a list of models that LiteLLM knows means here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// Any model.
    All,
    /// These.
    These(Vec<String>),
    /// None of them makes embeddings.
    None,
}

impl Models {
    /// Without a config nobody knows which there are.
    pub(super) fn unknown() -> Self {
        Self(None)
    }

    /// These, and no others.
    pub(super) fn these(names: BTreeSet<String>) -> Self {
        Self(Some(names))
    }

    /// What a team or a key may use. `place` is where its list stands.
    pub(super) fn allowed(&self, names: Vec<String>, place: &str, notes: &mut Notes) -> Allowed {
        const ALL: [&str; 3] = ["all-proxy-models", "all-team-models", "*"];
        if names.is_empty() || names.iter().any(|name| ALL.contains(&name.as_str())) {
            return Allowed::All;
        }
        let mut kept = Vec::new();
        for name in names {
            if name == "no-default-models" {
                continue;
            }
            let wildcard = name.find('*').is_some_and(|at| at + 1 < name.len());
            if wildcard || name.contains("**") {
                notes.add(place, format!("{name}: a wildcard stands at the end here, so it is left out"));
            } else if self.covers(&name) {
                kept.push(name);
            }
        }
        if kept.is_empty() { Allowed::None } else { Allowed::These(kept) }
    }

    /// Whether a name, or a prefix with a wildcard, covers one of them.
    fn covers(&self, name: &str) -> bool {
        let Some(all) = &self.0 else { return true };
        let covers = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
            Some(prefix) => name.trim_end_matches('*').starts_with(prefix),
            None => pattern == name,
        };
        all.iter().any(|model| covers(name, model) || covers(model, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_embeddings_is_left_out() {
        let models = Models::these(["text-embedding-3-small", "voyage-*"].map(str::to_owned).into());
        let allowed = |names: &[&str]| {
            models.allowed(names.iter().map(|name| (*name).to_owned()).collect(), "here", &mut Notes::default())
        };
        assert_eq!(allowed(&[]), Allowed::All);
        assert_eq!(allowed(&["gpt-4o", "all-proxy-models"]), Allowed::All);
        let these = Allowed::These(vec!["text-embedding-*".to_owned(), "voyage-3".to_owned()]);
        assert_eq!(allowed(&["gpt-4o", "text-embedding-*", "voyage-3"]), these);
        assert_eq!(allowed(&["gpt-4o", "no-default-models"]), Allowed::None);
    }
}
