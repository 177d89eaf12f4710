#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use serde_json::{Value, json};

use super::*;
use crate::page::{detail::detail, facts::Source, grants::Grants, sample::facts, view::View};

/// The cells of a row by their columns' words, as this reader gets them.
fn cells(view: &View, table: Table, id: &str, grants: &Grants) -> Value {
    let row = view.row(table, id, grants).unwrap_or_else(|| panic!("no row {id}"));
    assert_eq!(row.cells.len(), table.columns().len(), "{table:?}: a cell for each column");
    let cells = table.columns().iter().zip(&row.cells);
    cells.map(|(column, cell)| (column.word.to_owned(), cell.to_json(grants))).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn a_team_shows_what_is_spent_of_what_by_when_and_what_was_ever_counted() {
    let view = View::of(facts());
    let team = cells(&view, Table::Teams, "apps/search", &Grants::everything());
    for (word, value) in [
        ("displayName", json!("Search")),
        ("spent", json!("1.50")),
        ("limit", json!("2.00")),
        ("used", json!(75)),
        ("period", json!("Monthly")),
        ("resets", json!("2026-12-01T00:00:00Z")),
        ("requests", json!("7")),
        ("total", json!("1.500000000001")),
        ("unsettled", json!("0.000000000002")),
        ("state", json!({"level": "Ready", "reason": "Ready", "message": ""})),
    ] {
        assert_eq!(team[word], value, "{word}");
    }
    let hidden = cells(&view, Table::Teams, "secret/hidden", &Grants::everything());
    assert_eq!((&hidden["spent"], &hidden["requests"]), (&Value::Null, &Value::Null), "not known is not nothing");
    assert_eq!(hidden["state"]["reason"], "ParentNotFound");
}

#[test]
fn keys_belong_to_their_teams_also_across_namespaces_and_sum_to_them() {
    let view = View::of(facts());
    let all = Grants::everything();
    let (one, two) = (cells(&view, Table::Keys, "apps/one", &all), cells(&view, Table::Keys, "web/two", &all));
    assert_eq!((&one["team"], &two["team"]), (&json!("apps/search"), &json!("apps/search")));
    assert_eq!((&one["total"], &two["total"]), (&json!("1.00"), &json!("0.500000000001")));
    assert_eq!((&one["used"], &two["used"]), (&json!(10), &Value::Null), "the other one has no budget of its own");
}

#[test]
fn users_and_models_are_rows_of_their_team() {
    let view = View::of(facts());
    let all = Grants::everything();
    let ids = |table| view.rows(table).iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(Table::Users), ["apps/search|=cmd|x", "apps/search|ada"]);
    assert_eq!(cells(&view, Table::Users, "apps/search|=cmd|x", &all)["user"], "=cmd|x");
    assert_eq!(ids(Table::Models), ["apps/search|0|small", "apps/search|1|small"]);
}

#[test]
fn a_model_by_a_route_elsewhere_says_neither_where_nor_whose_to_a_stranger() {
    let view = View::of(facts());
    let both = |grants: &Grants| {
        ["apps/search|0|small", "apps/search|1|small"].map(|id| cells(&view, Table::Models, id, grants))
    };
    let of_stranger = both(&Grants::only(&["apps"]));
    assert_eq!(of_stranger.iter().filter(|row| row["backend"].is_null() && row["provider"].is_null()).count(), 1);
    assert!(!format!("{of_stranger:?}").contains("ml/"));
    let of_reader = both(&Grants::only(&["apps", "ml"]));
    assert!(of_reader.iter().any(|row| row["backend"] == "ml/openai/eu" && row["provider"] == "openAI"));
    for id in ["apps/search|0|small", "apps/search|1|small"] {
        let found = detail(&view, Table::Models, id, &Grants::only(&["apps"])).unwrap();
        assert!(!found.json.to_string().contains("ml/"), "{}", found.json);
        assert!(matches!(found.counted, Some((_, Series::Model(_)))));
    }
}

#[test]
fn who_names_anothers_account_sees_nothing_of_it() {
    let mut facts = facts();
    let thief = &facts.keys[2];
    let object = Object { account: Some(Uid::new("K1")), ..(*thief.object).clone() };
    facts.keys[2] = ResourceFacts { object: std::sync::Arc::new(object), ..thief.clone() };
    let view = View::of(facts);
    assert_eq!(view.accounts.key(&ObjectName::new("secret", "three")), Some(&Uid::new("K3")));
}

#[test]
fn details_are_for_who_may_list_and_name_nothing_that_they_may_not() {
    let view = View::of(facts());
    let reader = Grants::only(&["apps"]);
    for (table, id) in [
        (Table::Teams, "secret/hidden"),
        (Table::Keys, "secret/three"),
        (Table::Keys, "web/two"),
        (Table::Routes, "ml/openai"),
        (Table::Teams, "apps/none"),
        (Table::Users, "apps/search|nobody"),
        (Table::Models, "apps/search|9|small"),
        (Table::Keys, ""),
    ] {
        assert!(detail(&view, table, id, &reader).is_none(), "{table:?} {id}");
    }
    let team = detail(&view, Table::Teams, "apps/search", &reader).unwrap();
    assert_eq!(team.counted, Some((Uid::new("T1"), Series::Team)));
    let text = team.json.to_string();
    assert!(team.json["more"].as_array().unwrap().contains(&json!(["Keys that you may list", "1"])), "{text}");
    assert!(text.contains("limits.tokensPerMinute") && !text.contains("web/two"), "{text}");
    let key = detail(&view, Table::Keys, "apps/one", &reader).unwrap();
    assert_eq!(key.counted, Some((Uid::new("T1"), Series::Key(Uid::new("K1")))));
    assert!(key.json["more"].as_array().unwrap().contains(&json!(["Last characters of the key", "abcd"])));
    assert_eq!(key.json["budgets"][0]["remaining"], "9.00");
}

#[test]
fn without_a_store_there_are_no_users_and_that_is_said() {
    let view = View::of(Facts { ledger: crate::ledger::LedgerSnapshot::default(), source: Source::NoStore, ..facts() });
    assert!(view.rows(Table::Users).is_empty() && view.rows(Table::Models).is_empty());
    assert_eq!(view.rows(Table::Keys).len(), 3);
    assert!(view.facts.source.message().unwrap().contains("There is no store"));
}
