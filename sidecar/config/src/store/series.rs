//! What is counted of a Team's calls for ever, and by the calendar month: the fields of the hashes `total` and `month`.
//!
//! Every call counts in `t`, in one key, one user and one model, so these four families sum to the same; `unsettled`, `estimated`
//! and `foreign` are parts of them. So are sets of tags: a call counts in one at most, and one without tags in none. The store's script knows
//! the beginnings of the families as well: it holds each to a bound.

use std::{collections::BTreeSet, fmt};

use crate::Uid;

/// Whose calls, or which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// All of the Team's: `t`.
    Team,
    /// A key's: `k:UID`.
    Key(Uid),
    /// An end user's: `u:USER`, any text.
    User(String),
    /// A model's at a backend: `m:PROVIDER|BACKEND|MODEL`.
    Model(ModelAt),
    /// Those with just these of the tags that are counted: `g:["TAG",…]`, sorted, as JSON. Not empty.
    Tags(BTreeSet<String>),
    /// Those that a provider may have charged: `unsettled`.
    Unsettled,
    /// Those whose provider reported no usage: `estimated`.
    Estimated,
    /// Those by routes that are none of the Team's: `foreign`.
    ForeignRoutes,
}

/// A model at a backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelAt {
    /// The kind of provider: a word.
    pub provider: String,
    /// The backend, `namespace/route/backend`.
    pub backend: String,
    /// The model's public name; with a wildcard route any text.
    pub model: String,
}

/// What is counted of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Calls: `r`.
    Requests,
    /// Tokens: `t`.
    Tokens,
    /// Pico-USD: `p`.
    Money,
}

impl Quantity {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::Money];

    /// As it ends a field.
    pub fn letter(self) -> char {
        match self {
            Self::Requests => 'r',
            Self::Tokens => 't',
            Self::Money => 'p',
        }
    }
}

/// The longest set of tags that is told apart, in bytes: a ledger has thousands of them, in each month.
const MAX_TAGS_BYTES: usize = 512;
/// What stands for all that is not told apart.
const OTHER: &str = "_other";

impl Series {
    /// That of a call with these of the tags that are counted. None: it has none of them. A set of more than 512 bytes is `_other`.
    pub fn of_tags<'a>(tags: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let tags: BTreeSet<String> = tags.into_iter().map(str::to_owned).collect();
        let series = (!tags.is_empty()).then_some(Self::Tags(tags))?;
        let is_short = series.to_string().len() <= MAX_TAGS_BYTES;
        Some(if is_short { series } else { Self::Tags(BTreeSet::from([OTHER.to_owned()])) })
    }

    /// The field of one quantity: `SERIES:LETTER`.
    pub fn field(&self, of: Quantity) -> String {
        format!("{self}:{}", of.letter())
    }

    /// Reads a field. None: it is not one of these.
    pub fn read_field(field: &str) -> Option<(Self, Quantity)> {
        let (series, letter) = field.rsplit_once(':')?;
        let of = Quantity::ALL.into_iter().find(|of| letter.chars().eq([of.letter()]))?;
        Some((Self::read(series)?, of))
    }

    fn read(text: &str) -> Option<Self> {
        if let Some(key) = text.strip_prefix("k:") {
            return Some(Self::Key(Uid::new(key)));
        }
        if let Some(user) = text.strip_prefix("u:") {
            return Some(Self::User(user.to_owned()));
        }
        if let Some(model) = text.strip_prefix("m:") {
            let mut parts = model.splitn(3, '|').map(str::to_owned);
            let (provider, backend, model) = (parts.next()?, parts.next()?, parts.next()?);
            return Some(Self::Model(ModelAt { provider, backend, model }));
        }
        if let Some(tags) = text.strip_prefix("g:") {
            let series = Self::Tags(serde_json::from_str(tags).ok()?);
            // Another order, a tag twice or a space would be another field for the same.
            return Some(series).filter(|series| tags != "[]" && series.to_string() == text);
        }
        match text {
            "t" => Some(Self::Team),
            "unsettled" => Some(Self::Unsettled),
            "estimated" => Some(Self::Estimated),
            "foreign" => Some(Self::ForeignRoutes),
            _ => None,
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Team => f.write_str("t"),
            Self::Key(key) => write!(f, "k:{key}"),
            Self::User(user) => write!(f, "u:{user}"),
            Self::Model(ModelAt { provider, backend, model }) => write!(f, "m:{provider}|{backend}|{model}"),
            Self::Tags(tags) => write!(f, "g:{}", serde_json::to_string(tags).map_err(|_| fmt::Error)?),
            Self::Unsettled => f.write_str("unsettled"),
            Self::Estimated => f.write_str("estimated"),
            Self::ForeignRoutes => f.write_str("foreign"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_as_what_they_were_written_from() {
        let model = |provider: &str, backend: &str, model: &str| {
            Series::Model(ModelAt { provider: provider.into(), backend: backend.into(), model: model.into() })
        };
        let tags = |tags: &[&str]| Series::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect());
        for (series, text) in [
            (Series::Team, "t:r"),
            (Series::Key(Uid::new("0-1")), "k:0-1:r"),
            (Series::User("ada: a|b:t".into()), "u:ada: a|b:t:r"),
            (Series::User(String::new()), "u::r"),
            (model("openai", "apps/route/one", "any|thing:p"), "m:openai|apps/route/one|any|thing:p:r"),
            (tags(&["a:r", "b\"|,"]), "g:[\"a:r\",\"b\\\"|,\"]:r"),
            (Series::Unsettled, "unsettled:r"),
            (Series::Estimated, "estimated:r"),
            (Series::ForeignRoutes, "foreign:r"),
        ] {
            assert_eq!(series.field(Quantity::Requests), text);
            for of in Quantity::ALL {
                assert_eq!(Series::read_field(&series.field(of)), Some((series.clone(), of)));
            }
        }
        let others = ["", "t", "t:", "t:x", "t:rr", "x:r", "m:openai|one:r"];
        let other_tags = ["g:[]:r", "g:a:r", "g:[\"b\",\"a\"]:r", "g:[\"a\",\"a\"]:r", "g:[\"a\", \"b\"]:r", "g:[1]:r"];
        for other in others.into_iter().chain(other_tags) {
            assert_eq!(Series::read_field(other), None, "{other}");
        }
    }

    #[test]
    fn tags_are_a_set_that_fits_into_the_store_or_else_one_with_all_others() {
        let text = |tags: &[&str]| Series::of_tags(tags.iter().copied()).map(|series| series.to_string());
        assert_eq!(text(&[]), None);
        assert_eq!(text(&["b", "a", "b"]).as_deref(), Some("g:[\"a\",\"b\"]"));
        let long: Vec<String> = (0..32).map(|n| format!("{n:\"<128}")).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        assert_eq!(text(&long).as_deref(), Some("g:[\"_other\"]"));
        assert_eq!(text(&long[..2]).as_deref(), Some("g:[\"_other\"]"), "519 bytes");
        assert_eq!(text(&long[..1]).map(|text| text.len()), Some(261));
    }
}
