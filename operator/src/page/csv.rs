//! A table as a file for spreadsheets: RFC 4180, and nothing in it that a spreadsheet would take for a formula. Pure.

use super::{
    grants::Grants,
    table::{Row, Table},
};

/// All columns of these rows, with a line of titles.
pub(super) fn csv(table: Table, rows: &[&Row], grants: &Grants) -> String {
    let mut out = String::new();
    line(&mut out, table.columns().iter().map(|column| column.title));
    for row in rows {
        let cells: Vec<_> = row.cells.iter().map(|cell| cell.to_plain(grants)).collect();
        line(&mut out, cells.iter().map(|cell| &**cell));
    }
    out
}

fn line<'a>(out: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(',');
        }
        push(out, cell);
    }
    out.push_str("\r\n");
}

/// One field. What a spreadsheet would reckon with gets an apostrophe before it (OWASP, "CSV Injection"): users name themselves.
fn push(out: &mut String, cell: &str) {
    let is_formula = cell.starts_with(['\t', '\r', '\n'])
        || cell.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    let is_quoted = is_formula || cell.contains([',', '"', '\r', '\n', ';', '\t']);
    if !is_quoted {
        out.push_str(cell);
        return;
    }
    out.push('"');
    if is_formula {
        out.push('\'');
    }
    out.push_str(&cell.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use vectoll_config::PicoUsd;

    use super::*;
    use crate::page::cell::Cell;

    fn field(text: &str) -> String {
        let mut out = String::new();
        push(&mut out, text);
        out
    }

    #[test]
    fn nothing_becomes_a_formula() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1", "＝1", "=HYPERLINK(\"http://x\",\"y\")"] {
            assert!(field(text).starts_with("\"'"), "{text:?}: {}", field(text));
        }
        for text in ["ada", "a=b", "a-b", "12.50", "2026-11-30T00:00:00Z", ""] {
            assert_eq!(field(text), text);
        }
    }

    #[test]
    fn a_field_ends_where_it_ends() {
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"x\""), "\"say \"\"x\"\"\"");
        assert_eq!(field("a\nb"), "\"a\nb\"");
        assert_eq!(field("=\"x\""), "\"'=\"\"x\"\"\"");
    }

    #[test]
    fn a_file_has_titles_and_a_line_for_each_row() {
        let cells = vec![
            Cell::Text("apps".into()),
            Cell::Text("apps/search".into()),
            Cell::Text("=cmd".into()),
            Cell::Count(3),
            Cell::Nothing,
            Cell::Money(PicoUsd::new(1_500_000_000_001)),
        ];
        let row = Row::new("id".into(), "apps", None, cells);
        let text = csv(Table::Users, &[&row], &Grants::everything());
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(
            lines,
            [
                "Namespace,Team,User,Calls ever,Tokens ever,\"Spent ever, USD\"",
                "apps,apps/search,\"'=cmd\",3,,1.500000000001",
                ""
            ]
        );
    }
}
