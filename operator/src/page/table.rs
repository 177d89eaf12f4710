//! The tables and their columns. A column's word is in links that people share: it does not change.

use super::{
    cell::{Cell, Format},
    state::Level,
};
use crate::observed_state::Kind;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Teams,
    Keys,
    Users,
    Models,
    Routes,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// In addresses and for programs.
    pub(super) word: &'static str,
    /// For people.
    pub(super) title: &'static str,
    pub(super) format: Format,
}

const fn column(word: &'static str, title: &'static str, format: Format) -> Column {
    Column { word, title, format }
}

const NAMESPACE: Column = column("namespace", "Namespace", Format::Text);
const NAME: Column = column("name", "Name", Format::Text);
const TEAM: Column = column("team", "Team", Format::Text);
const STATE: Column = column("state", "State", Format::State);
const SPENT: Column = column("spent", "Spent in the period, USD", Format::Money);
const LIMIT: Column = column("limit", "Budget, USD", Format::Money);
const USED: Column = column("used", "Used", Format::Percent);
const PERIOD: Column = column("period", "Period", Format::Text);
const RESETS: Column = column("resets", "Resets", Format::Time);
const REQUESTS: Column = column("requests", "Calls ever", Format::Count);
const TOKENS: Column = column("tokens", "Tokens ever", Format::Count);
const TOTAL: Column = column("total", "Spent ever, USD", Format::Money);

/// The columns of Teams.
pub(super) const TEAMS: [Column; 14] = [
    NAMESPACE,
    NAME,
    column("displayName", "Display name", Format::Text),
    column("parent", "Team above", Format::Text),
    STATE,
    SPENT,
    LIMIT,
    USED,
    PERIOD,
    RESETS,
    REQUESTS,
    TOKENS,
    TOTAL,
    column("unsettled", "Unsettled ever, USD", Format::Money),
];

/// The columns of keys.
pub(super) const KEYS: [Column; 14] = [
    NAMESPACE,
    NAME,
    TEAM,
    column("user", "Owner", Format::Text),
    STATE,
    SPENT,
    LIMIT,
    USED,
    PERIOD,
    RESETS,
    REQUESTS,
    TOKENS,
    TOTAL,
    column("expires", "Expires", Format::Time),
];

/// The columns of users.
pub(super) const USERS: [Column; 6] = [NAMESPACE, TEAM, column("user", "User", Format::Text), REQUESTS, TOKENS, TOTAL];

/// The columns of models.
pub(super) const MODELS: [Column; 8] = [
    NAMESPACE,
    TEAM,
    column("model", "Model", Format::Text),
    column("provider", "Provider", Format::Text),
    column("backend", "Backend", Format::Text),
    REQUESTS,
    TOKENS,
    TOTAL,
];

/// The columns of routes.
pub(super) const ROUTES: [Column; 11] = [
    NAMESPACE,
    NAME,
    column("models", "Models", Format::Text),
    column("backends", "Backends", Format::Text),
    STATE,
    column("owing", "Backend with the fullest budget", Format::Text),
    SPENT,
    LIMIT,
    USED,
    PERIOD,
    RESETS,
];

impl Table {
    /// All of them, in the order in which they are shown.
    pub(super) const ALL: [Self; 5] = [Self::Teams, Self::Keys, Self::Users, Self::Models, Self::Routes];

    /// In addresses.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Teams => "teams",
            Self::Keys => "keys",
            Self::Users => "users",
            Self::Models => "models",
            Self::Routes => "routes",
        }
    }

    /// By its word.
    pub(super) fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.word() == word)
    }

    pub(super) fn columns(self) -> &'static [Column] {
        match self {
            Self::Teams => &TEAMS,
            Self::Keys => &KEYS,
            Self::Users => &USERS,
            Self::Models => &MODELS,
            Self::Routes => &ROUTES,
        }
    }

    /// Whoever may list this kind in a row's namespace sees the row. Users and models are parts of a Team's spend.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Teams | Self::Users | Self::Models => Kind::Team,
            Self::Keys => Kind::ApiKey,
            Self::Routes => Kind::ModelRoute,
        }
    }

    /// Whether its rows have a state.
    pub(super) fn has_states(self) -> bool {
        self.columns().contains(&STATE)
    }

    /// What it is sorted by where nobody says it.
    pub(super) fn usual_sort(self) -> &'static str {
        match self {
            Self::Teams | Self::Keys | Self::Routes => "name",
            Self::Users => "user",
            Self::Models => "model",
        }
    }
}

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// By what its details are asked for.
    pub(super) id: String,
    /// Whose readers see it.
    pub(super) namespace: String,
    /// The Team that it is or belongs to, `namespace/name`.
    pub(super) team: Option<String>,
    /// One for each column.
    pub(super) cells: Vec<Cell>,
    /// What is searched, in lower case: nothing of other namespaces.
    search: String,
}

impl Row {
    pub(super) fn new(id: String, namespace: &str, team: Option<String>, cells: Vec<Cell>) -> Self {
        let mut search = String::new();
        let mut add = |text: &str| {
            search.push_str(&text.to_lowercase());
            search.push('\n');
        };
        for cell in &cells {
            match cell {
                Cell::Text(text) => add(text),
                Cell::State(state) => {
                    add(state.level.word());
                    add(&state.reason);
                }
                Cell::Foreign { .. }
                | Cell::Nothing
                | Cell::Count(_)
                | Cell::Money(_)
                | Cell::Percent(_)
                | Cell::Time(_) => {}
            }
        }
        Self { id, namespace: namespace.to_owned(), team, cells, search }
    }

    /// How it stands; none: it has no conditions.
    pub(super) fn level(&self) -> Option<Level> {
        self.cells.iter().find_map(|cell| match cell {
            Cell::State(state) => Some(state.level),
            Cell::Nothing
            | Cell::Text(_)
            | Cell::Foreign { .. }
            | Cell::Count(_)
            | Cell::Money(_)
            | Cell::Percent(_)
            | Cell::Time(_) => None,
        })
    }

    /// Whether it has a word, which is in lower case, in what every reader of it may see.
    pub(super) fn has(&self, word: &str) -> bool {
        self.search.contains(word)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_column_has_one_word_and_the_usual_sort_is_one_of_them() {
        for table in Table::ALL {
            assert_eq!(Table::read(table.word()), Some(table));
            let words: BTreeSet<&str> = table.columns().iter().map(|column| column.word).collect();
            assert_eq!(words.len(), table.columns().len(), "{table:?}");
            assert!(words.contains(table.usual_sort()), "{table:?}");
        }
        assert_eq!(Table::read("secrets"), None);
    }
}
