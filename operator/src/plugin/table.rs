//! Tables, as kubectl prints them: a column is as wide as its widest cell.

/// Spaces between columns.
const GAP: usize = 3;

/// A head and rows of as many cells.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// A row. An empty cell is one.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| shown(&cell)).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As lines. Of nothing there is not even a head.
    pub(super) fn text(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let head = self.head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let lines: Vec<&Vec<String>> = [&head].into_iter().chain(&self.rows).collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let mut text = String::new();
        for line in lines {
            let mut printed = String::new();
            for (cell, width) in line.iter().zip(&widths) {
                let padding = width + GAP - cell.chars().count();
                printed.push_str(cell);
                printed.extend(std::iter::repeat_n(' ', padding));
            }
            text += printed.trim_end();
            text.push('\n');
        }
        text
    }
}

/// What comes from a ledger or a status may be anybody's words: nothing of it steers a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_steers_the_terminal() {
        let mut table = Table::new(&["NAME", "SPENT"]);
        assert_eq!(table.text(), "");
        table.row(["größe".to_owned(), "1.00".to_owned()]);
        table.row(["a\u{1b}[2J".to_owned(), String::new()]);
        assert_eq!(table.text(), "NAME    SPENT\ngröße   1.00\na\u{fffd}[2J\n");
    }
}
