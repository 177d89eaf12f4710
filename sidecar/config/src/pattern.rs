//! Patterns over model names: an exact name, or a prefix followed by `*`.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A model's name, or the beginning that several names share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ModelPattern {
    /// This name only.
    Exact(Arc<str>),
    /// Every name that begins so; written with a `*` behind it.
    Prefix(Arc<str>),
}

impl ModelPattern {
    /// Whether the pattern covers a model's name.
    pub fn covers(&self, model: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *model,
            Self::Prefix(prefix) => model.starts_with(&**prefix),
        }
    }
}

/// More specific patterns come first: exact names before prefixes, longer prefixes before shorter ones; then by name.
impl Ord for ModelPattern {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a.cmp(b),
            (Self::Exact(_), Self::Prefix(_)) => Ordering::Less,
            (Self::Prefix(_), Self::Exact(_)) => Ordering::Greater,
            (Self::Prefix(a), Self::Prefix(b)) => b.len().cmp(&a.len()).then_with(|| a.cmp(b)),
        }
    }
}

impl PartialOrd for ModelPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why a string is not a pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing there.
    #[error("a model name is empty")]
    Empty,
    /// A `*` somewhere else than at the end.
    #[error("\"{0}\": a * is allowed only at the end of a model name")]
    InnerWildcard(String),
}

impl FromStr for ModelPattern {
    type Err = PatternError;
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let prefix = text.strip_suffix('*');
        if text.is_empty() {
            Err(PatternError::Empty)
        } else if prefix.unwrap_or(text).contains('*') {
            Err(PatternError::InnerWildcard(text.to_owned()))
        } else {
            Ok(prefix.map_or_else(|| Self::Exact(text.into()), |prefix| Self::Prefix(prefix.into())))
        }
    }
}

impl fmt::Display for ModelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl TryFrom<String> for ModelPattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<ModelPattern> for String {
    fn from(pattern: ModelPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_most_specific_pattern_sorts_first() {
        let mut patterns: Vec<ModelPattern> =
            ["*", "text-*", "zz", "text-embedding-*", "aa"].iter().map(|text| text.parse().unwrap()).collect();
        patterns.sort();
        let texts: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["aa", "zz", "text-embedding-*", "text-*", "*"]);
    }

    #[test]
    fn a_wildcard_stands_at_the_end_only() {
        assert_eq!("a*b".parse::<ModelPattern>(), Err(PatternError::InnerWildcard("a*b".to_owned())));
        assert_eq!("a**".parse::<ModelPattern>(), Err(PatternError::InnerWildcard("a**".to_owned())));
        assert_eq!("".parse::<ModelPattern>(), Err(PatternError::Empty));
        let all: ModelPattern = "*".parse().unwrap();
        assert!(all.covers("anything") && all.covers(""));
        let some: ModelPattern = "text-*".parse().unwrap();
        assert!(some.covers("text-embedding-3-small") && !some.covers("tex"));
    }
}
