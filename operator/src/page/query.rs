//! What a request asks of a table: its query string, read to the last parameter. Pure.

use std::collections::BTreeSet;

use url::form_urlencoded;
use vectoll_config::ObjectName;

use super::{state::Level, table::Table};

/// The longest search, in characters.
const MAX_SEARCH: usize = 200;
/// The longest id: two names, a backend, and a user or a model as long as callers may write one.
const MAX_ID: usize = 4_096;
/// Rows of a page, unless the request says how many.
const PAGE_SIZE: usize = 50;
const MAX_PAGE_SIZE: usize = 200;
const MAX_PAGE: usize = 1_000_000;
/// The longest name of a namespace (RFC 1123 label).
const MAX_NAMESPACE: usize = 63;

/// What is wanted of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// Words in lower case: a row has all of them.
    pub(super) words: Vec<String>,
    /// Only rows of this namespace.
    pub(super) namespace: Option<String>,
    /// Only rows of this Team, `namespace/name`.
    pub(super) team: Option<String>,
    /// Only rows that stand like this.
    pub(super) state: Option<Level>,
    /// The number of the column that it is sorted by.
    pub(super) sort: usize,
    pub(super) descending: bool,
    /// From 1.
    pub(super) page: usize,
    pub(super) size: usize,
}

/// What is wrong with a request: the parameter, and how it is to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{parameter}: {reason}")]
pub(super) struct QueryError {
    parameter: String,
    reason: String,
}

fn wrong(parameter: &str, reason: impl Into<String>) -> QueryError {
    // It is repeated to whoever sent it, and to nobody else.
    QueryError { parameter: parameter.chars().take(64).collect(), reason: reason.into() }
}

/// The parameters, each of them once.
fn parameters(text: &str) -> Result<Vec<(String, String)>, QueryError> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if !seen.insert(name.clone().into_owned()) {
            return Err(wrong(&name, "is there more than once"));
        }
        all.push((name.into_owned(), value.into_owned()));
    }
    Ok(all)
}

impl Query {
    /// Reads a query string. What is left out is as usual; what is not known is refused, or a mistyped search would show everything.
    pub(super) fn read(table: Table, text: &str) -> Result<Self, QueryError> {
        let mut sort = table.usual_sort().to_owned();
        let mut query = Self {
            words: Vec::new(),
            namespace: None,
            team: None,
            state: None,
            sort: 0,
            descending: false,
            page: 1,
            size: PAGE_SIZE,
        };
        for (name, value) in parameters(text)? {
            match name.as_str() {
                "q" => {
                    if value.chars().count() > MAX_SEARCH {
                        return Err(wrong("q", format!("is longer than {MAX_SEARCH} characters")));
                    }
                    query.words = value.split_whitespace().map(str::to_lowercase).collect();
                }
                "namespace" => query.namespace = namespace(&value)?,
                "team" => {
                    let name: ObjectName =
                        value.parse().map_err(|_| wrong("team", "is no NAMESPACE/NAME, as in apps/search"))?;
                    query.team = Some(name.to_string());
                }
                "state" if table.has_states() => {
                    let words = Level::ALL.map(Level::word).join(", ");
                    let level = Level::read(&value);
                    query.state = Some(level.ok_or_else(|| wrong("state", format!("must be one of {words}")))?);
                }
                "sort" => sort = value,
                "order" => {
                    query.descending = match value.as_str() {
                        "asc" => false,
                        "desc" => true,
                        _ => return Err(wrong("order", "must be asc or desc")),
                    }
                }
                "page" => query.page = number("page", &value, MAX_PAGE)?,
                "size" => query.size = number("size", &value, MAX_PAGE_SIZE)?,
                other => return Err(unknown(other)),
            }
        }
        query.sort = table.columns().iter().position(|column| column.word == sort).ok_or_else(|| {
            let words: Vec<&str> = table.columns().iter().map(|column| column.word).collect();
            wrong("sort", format!("there is no such column: it is one of {}", words.join(", ")))
        })?;
        Ok(query)
    }
}

/// The row that is asked for in full.
pub(super) fn id(text: &str) -> Result<String, QueryError> {
    let mut found = None;
    for (name, value) in parameters(text)? {
        match name.as_str() {
            "id" if value.len() > MAX_ID => return Err(wrong("id", format!("is longer than {MAX_ID} bytes"))),
            "id" => found = Some(value),
            other => return Err(unknown(other)),
        }
    }
    found.ok_or_else(|| wrong("id", "is missing: it is the id of a row"))
}

fn unknown(name: &str) -> QueryError {
    if matches!(name, "token" | "access_token" | "authorization") {
        return wrong(name, "a token is sent in the header Authorization only: addresses are logged on their way");
    }
    wrong(name, "there is no such parameter")
}

fn namespace(value: &str) -> Result<Option<String>, QueryError> {
    if value.is_empty() {
        return Ok(None);
    }
    let is_name = value.len() <= MAX_NAMESPACE
        && value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if is_name { Ok(Some(value.to_owned())) } else { Err(wrong("namespace", "is no name of a namespace")) }
}

fn number(parameter: &str, value: &str, max: usize) -> Result<usize, QueryError> {
    let found = value.parse().ok().filter(|number| (1..=max).contains(number));
    found.ok_or_else(|| wrong(parameter, format!("must be a whole number from 1 to {max}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn read(text: &str) -> Result<Query, String> {
        Query::read(Table::Keys, text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_is_as_usual() {
        let query = read("").unwrap();
        assert_eq!((query.page, query.size, query.descending), (1, PAGE_SIZE, false));
        assert_eq!(Table::Keys.columns().get(query.sort).unwrap().word, "name");
        let query =
            read("q=+Ada%20SEARCH&sort=spent&order=desc&page=3&size=200&namespace=apps&team=apps/search").unwrap();
        assert_eq!(query.words, ["ada", "search"]);
        assert_eq!((query.page, query.size, query.descending), (3, 200, true));
        assert_eq!((query.namespace.as_deref(), query.team.as_deref()), (Some("apps"), Some("apps/search")));
        assert_eq!(read("namespace=").unwrap().namespace, None);
        assert_eq!(read("state=Refusing").unwrap().state, Some(Level::Refusing));
        assert!(Query::read(Table::Users, "state=Failed").is_err(), "a user has no conditions");
    }

    #[test]
    fn what_is_wrong_is_named_with_the_way_out() {
        for (text, part) in [
            ("sort=password", "sort: there is no such column: it is one of namespace, name"),
            ("order=up", "order: must be asc or desc"),
            ("page=0", "page: must be a whole number from 1"),
            ("page=-1", "page: "),
            ("size=201", "size: must be a whole number from 1 to 200"),
            ("namespace=Apps", "namespace: "),
            ("namespace=../x", "namespace: "),
            ("team=search", "team: is no NAMESPACE/NAME"),
            ("state=failed", "state: must be one of Failed, Refusing"),
            ("serch=ada", "serch: there is no such parameter"),
            ("q=a&q=b", "q: is there more than once"),
            ("token=abc", "token: a token is sent in the header Authorization only"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(part), "{text}: {error}");
            assert!(!error.contains("abc"), "a token is not repeated: {error}");
        }
        assert!(read(&format!("q={}", "a".repeat(MAX_SEARCH + 1))).is_err());
    }

    #[test]
    fn an_id_is_any_text_within_bounds() {
        assert_eq!(id("id=apps%2Fsearch%7C%3D%20%E2%82%AC").unwrap(), "apps/search|= €");
        for bad in ["", "id=a&id=b", "id=a&x=1", &format!("id={}", "a".repeat(MAX_ID + 1))] {
            assert!(id(bad).is_err(), "{bad:.20}");
        }
    }
}
