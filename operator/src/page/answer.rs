//! What a program reads of the tables: the page's own script, and others. Pure.

use serde_json::{Map, Value, json};

use super::{
    facts::Source,
    grants::{Grants, Scope},
    query::Query,
    select::{page, select, states},
    table::{Column, Table},
    view::View,
};

/// The present version of the program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One page of a table.
pub(super) fn table(view: &View, table: Table, query: &Query, grants: &Grants) -> Value {
    let selected = select(table, view.rows(table), query, grants);
    let rows: Vec<Value> = page(&selected, query)
        .iter()
        .map(|row| {
            let cells: Vec<Value> = row.cells.iter().map(|cell| cell.to_json(grants)).collect();
            json!({"id": row.id, "cells": cells})
        })
        .collect();
    let states: Map<String, Value> = states(table, view.rows(table), query, grants)
        .into_iter()
        .map(|(level, number)| (level.word().to_owned(), Value::from(number)))
        .collect();
    json!({
        "table": table.word(),
        "columns": columns(table),
        "rows": rows,
        "states": states,
        "total": selected.len(),
        "page": query.page,
        "size": query.size,
        "sort": table.columns().get(query.sort).map(|column| column.word),
        "order": if query.descending { "desc" } else { "asc" },
        "at": view.facts.at.to_string(),
        "source": source(view.facts.source),
        "notAsked": grants.not_asked,
    })
}

pub(super) fn columns(table: Table) -> Vec<Value> {
    let column = |column: &Column| json!({"word": column.word, "title": column.title, "format": column.format.word()});
    table.columns().iter().map(column).collect()
}

/// Where amounts come from.
pub(super) fn source(source: Source) -> Value {
    let read = source.read_at().map(|at| at.to_string());
    json!({"state": source.word(), "message": source.message(), "read": read})
}

/// Who reads, what they may see, and what it is all made of.
pub(super) fn about(view: &View, reader: Option<&str>, grants: &Grants) -> Value {
    let namespaces = |scope: &Scope| match scope {
        Scope::All => Value::from("all"),
        Scope::Only(these) => json!(these),
    };
    json!({
        "version": VERSION,
        "reader": reader,
        "sees": {
            "teams": namespaces(&grants.teams),
            "keys": namespaces(&grants.keys),
            "routes": namespaces(&grants.routes),
        },
        "seesNothing": grants.is_empty(),
        "notAsked": grants.not_asked,
        "at": view.facts.at.to_string(),
        "source": source(view.facts.source),
        "tables": Table::ALL.map(Table::word),
    })
}
