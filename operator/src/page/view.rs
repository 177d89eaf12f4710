//! Facts with their rows, made once for all who look within a few seconds. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    facts::Facts,
    grants::Grants,
    rows::{Accounts, rows},
    table::{Row, Table},
};

/// All tables of one moment.
pub(super) struct View {
    pub(super) facts: Facts,
    pub(super) accounts: Accounts,
    /// By the order of their ids.
    tables: BTreeMap<Table, Vec<Row>>,
    /// Namespaces that hold something: of others nobody has to be asked.
    pub(super) namespaces: BTreeSet<String>,
}

impl View {
    pub(super) fn of(facts: Facts) -> Self {
        let accounts = Accounts::of(&facts);
        let tables = Table::ALL.map(|table| (table, rows(table, &facts, &accounts))).into();
        let teams = facts.teams.iter().map(|team| &team.object.name);
        let keys = facts.keys.iter().map(|key| &key.object.name);
        let routes = facts.routes.iter().map(|route| &route.object.name);
        let namespaces = teams.chain(keys).chain(routes).map(|name| name.namespace().to_owned()).collect();
        Self { facts, accounts, tables, namespaces }
    }

    pub(super) fn rows(&self, table: Table) -> &[Row] {
        self.tables.get(&table).map_or(&[], Vec::as_slice)
    }

    /// One row, if it is there and this reader may see it: who may not learns neither.
    pub(super) fn row(&self, table: Table, id: &str, grants: &Grants) -> Option<&Row> {
        let rows = self.rows(table);
        let at = rows.binary_search_by(|row| row.id.as_str().cmp(id)).ok()?;
        rows.get(at).filter(|row| grants.may_list(table.kind(), &row.namespace))
    }
}
