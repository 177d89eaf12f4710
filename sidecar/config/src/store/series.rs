//! What is counted of a Team's calls for ever, and by the calendar month: the fields of the hashes `total` and `month`.
//!
//! Every call counts in `t`, in one key, one user and one model, so these four families sum to the same; `unsettled`, `estimated`
//! and `foreign` are parts of them. The store's script knows `u:` as well: it holds the number of users to a bound.

use std::fmt;

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

impl Series {
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
        for (series, text) in [
            (Series::Team, "t:r"),
            (Series::Key(Uid::new("0-1")), "k:0-1:r"),
            (Series::User("ada: a|b:t".into()), "u:ada: a|b:t:r"),
            (Series::User(String::new()), "u::r"),
            (model("openai", "apps/route/one", "any|thing:p"), "m:openai|apps/route/one|any|thing:p:r"),
            (Series::Unsettled, "unsettled:r"),
            (Series::Estimated, "estimated:r"),
            (Series::ForeignRoutes, "foreign:r"),
        ] {
            assert_eq!(series.field(Quantity::Requests), text);
            for of in Quantity::ALL {
                assert_eq!(Series::read_field(&series.field(of)), Some((series.clone(), of)));
            }
        }
        for other in ["", "t", "t:", "t:x", "t:rr", "x:r", "m:openai|one:r"] {
            assert_eq!(Series::read_field(other), None, "{other}");
        }
    }
}
