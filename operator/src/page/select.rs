//! The rows of a table that a reader may see and has asked for, in order. Pure.

use std::collections::BTreeMap;

use super::{
    cell::{SortKey, compare},
    grants::Grants,
    query::Query,
    state::Level,
    table::{Row, Table},
};

/// All of them.
pub(super) fn select<'a>(table: Table, rows: &'a [Row], query: &Query, grants: &Grants) -> Vec<&'a Row> {
    let is_wanted = |row: &&Row| {
        is_searched(table, row, query, grants) && query.state.is_none_or(|level| row.level() == Some(level))
    };
    let mut found: Vec<(Option<SortKey>, &Row)> = rows
        .iter()
        .filter(is_wanted)
        .map(|row| (row.cells.get(query.sort).and_then(|cell| cell.sort_key(grants)), row))
        .collect();
    // Stable: rows that are equal stay in the order of their names, in both directions, and so on the same pages.
    found.sort_by(|(a, _), (b, _)| compare(a.as_ref(), b.as_ref(), query.descending));
    found.into_iter().map(|(_, row)| row).collect()
}

/// How many stand how, of all that the search finds, whatever state it asks for.
pub(super) fn states(table: Table, rows: &[Row], query: &Query, grants: &Grants) -> BTreeMap<Level, usize> {
    let mut states = BTreeMap::new();
    for level in rows.iter().filter(|row| is_searched(table, row, query, grants)).filter_map(Row::level) {
        *states.entry(level).or_default() += 1;
    }
    states
}

/// Whether a reader may see a row, and asks for it but for its state.
fn is_searched(table: Table, row: &Row, query: &Query, grants: &Grants) -> bool {
    // First of all: what may not be seen is not even searched.
    grants.may_list(table.kind(), &row.namespace)
        && query.namespace.as_ref().is_none_or(|namespace| *namespace == row.namespace)
        && query.team.as_ref().is_none_or(|team| row.team.as_ref() == Some(team))
        && query.words.iter().all(|word| has(row, word, grants))
}

/// One page of them; empty beyond the last.
pub(super) fn page<'s, 'a>(selected: &'s [&'a Row], query: &Query) -> &'s [&'a Row] {
    let from = (query.page - 1).saturating_mul(query.size).min(selected.len());
    let to = from.saturating_add(query.size).min(selected.len());
    selected.get(from..to).unwrap_or_default()
}

/// Whether a row has a word: in what all of its readers see, or in what this one may see besides.
fn has(row: &Row, word: &str, grants: &Grants) -> bool {
    row.has(word)
        || row.cells.iter().filter_map(|cell| cell.visible_text(grants)).any(|text| text.to_lowercase().contains(word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use crate::{
        observed_state::Kind,
        page::{cell::Cell, sample::facts, view::View},
    };

    fn user(namespace: &str, name: &str, requests: Option<u64>) -> Row {
        let team = format!("{namespace}/search");
        let cells = vec![
            Cell::Text(namespace.to_owned()),
            Cell::Text(team.clone()),
            Cell::Text(name.to_owned()),
            requests.map_or(Cell::Nothing, Cell::Count),
            Cell::Nothing,
            Cell::Nothing,
        ];
        Row::new(format!("{team}|{name}"), namespace, Some(team), cells)
    }

    fn names(rows: &[Row], query: &str, grants: &Grants) -> Vec<String> {
        let query = Query::read(Table::Users, query).unwrap();
        let selected = select(Table::Users, rows, &query, grants);
        let page = page(&selected, &query);
        page.iter().map(|row| row.id.rsplit('|').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn nothing_of_a_namespace_that_may_not_be_listed_is_found_by_any_way() {
        let rows = [user("apps", "ada", Some(1)), user("secret", "bob", Some(2)), user("web", "eve", Some(3))];
        let reader = Grants::only(&["apps", "web"]);
        for query in ["", "q=bob", "namespace=secret", "team=secret/search", "q=secret", "sort=requests&order=desc"] {
            let found = names(&rows, query, &reader);
            assert!(!found.contains(&"bob".to_owned()), "{query}: {found:?}");
        }
        assert_eq!(names(&rows, "", &reader), ["ada", "eve"]);
        assert_eq!(names(&rows, "", &Grants::nothing()), Vec::<String>::new());
        // A right to keys shows no Team's users.
        let mut keys = Grants::nothing();
        *keys.of_mut(Kind::ApiKey) = crate::page::grants::Scope::All;
        assert_eq!(names(&rows, "", &keys), Vec::<String>::new());
    }

    #[test]
    fn states_are_counted_over_the_search_and_not_over_what_may_not_be_seen() {
        let view = View::of(facts());
        let of = |text: &str, grants: &Grants| {
            let query = Query::read(Table::Keys, text).unwrap();
            let found = select(Table::Keys, view.rows(Table::Keys), &query, grants);
            let ids: Vec<String> = found.iter().map(|row| row.id.clone()).collect();
            (ids, states(Table::Keys, view.rows(Table::Keys), &query, grants).into_iter().collect::<Vec<_>>())
        };
        let (all, both) = (Grants::everything(), vec![(Level::Failed, 1), (Level::Ready, 2)]);
        assert_eq!(of("state=Failed", &all), (vec!["secret/three".to_owned()], both));
        assert_eq!(of("state=Failed", &Grants::only(&["apps", "web"])), (Vec::new(), vec![(Level::Ready, 2)]));
        assert_eq!(of("q=one", &all).1, [(Level::Ready, 1)]);
    }

    #[test]
    fn what_another_namespace_hides_is_neither_found_nor_betrayed_by_the_order() {
        let model = |model: &str, backend: &str| {
            let foreign =
                |text: &str| Cell::Foreign { kind: Kind::ModelRoute, namespace: "ml".into(), text: text.into() };
            let cells = vec![
                Cell::Text("apps".into()),
                Cell::Text("apps/search".into()),
                Cell::Text(model.into()),
                foreign("openAI"),
                foreign(backend),
                Cell::Nothing,
                Cell::Nothing,
                Cell::Nothing,
            ];
            Row::new(model.to_owned(), "apps", Some("apps/search".into()), cells)
        };
        let rows = [model("a", "ml/zeta/one"), model("b", "ml/alpha/one")];
        let ids = |query: &str, grants: &Grants| -> Vec<String> {
            let query = Query::read(Table::Models, query).unwrap();
            select(Table::Models, &rows, &query, grants).iter().map(|row| row.id.clone()).collect()
        };
        let (stranger, reader) = (Grants::only(&["apps"]), Grants::only(&["apps", "ml"]));
        assert_eq!(ids("sort=backend", &stranger), ["a", "b"], "the order of the rows, not of what is hidden");
        assert_eq!(ids("sort=backend", &reader), ["b", "a"]);
        assert_eq!(ids("q=zeta", &stranger), Vec::<String>::new());
        assert_eq!(ids("q=zeta", &reader), ["a"]);
    }

    #[test]
    fn a_row_has_all_words_in_any_case_and_pages_neither_overlap_nor_end_early() {
        let rows: Vec<Row> = (0..120).map(|n| user("apps", &format!("User-{n:03}"), Some(n % 3))).collect();
        let all = Grants::everything();
        assert_eq!(names(&rows, "q=SER-01+apps&size=200", &all).len(), 10);
        let mut seen = Vec::new();
        for page in 1..=4 {
            seen.extend(names(&rows, &format!("sort=requests&order=desc&size=50&page={page}"), &all));
        }
        assert_eq!(seen.len(), 120);
        assert_eq!((&*seen[0], &*seen[1]), ("User-002", "User-005"), "equal ones stay in order");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 120);
        assert_eq!(names(&rows, "page=1000000&size=200", &all), Vec::<String>::new());
    }

    #[test]
    fn numbers_sort_as_numbers() {
        let rows = [user("apps", "a", Some(9)), user("apps", "b", None), user("apps", "c", Some(10))];
        assert_eq!(names(&rows, "sort=requests", &Grants::everything()), ["a", "c", "b"]);
        assert_eq!(names(&rows, "sort=requests&order=desc", &Grants::everything()), ["c", "a", "b"]);
    }
}
