//! Tables: columns as wide as what stands in them, numbers to the right; and lines that begin with a label.

use std::fmt::{self, Display, Write as _};
use std::io;

/// Rows of cells, with lines between them that belong to no column.
pub(in crate::cli) struct Table {
    columns: Vec<Column>,
    lines: Vec<Line>,
}

struct Column {
    is_right: bool,
    /// In characters, of the widest cell that there was.
    width: usize,
}

enum Line {
    Row(Vec<String>),
    Note(String),
}

impl Table {
    /// Headings, with `|` between them. One that begins with `>` is that of numbers. Without any text there is no line
    /// of headings.
    pub(in crate::cli) fn new(headings: &str) -> Table {
        let headings = headings.split('|').map(str::trim);
        let column = |heading: &str| Column {
            is_right: heading.starts_with('>'),
            width: 0,
        };
        let mut table = Table {
            columns: headings.clone().map(column).collect(),
            lines: Vec::new(),
        };
        let headings = headings.map(|it| it.strip_prefix('>').unwrap_or(it).to_owned());
        let headings: Vec<_> = headings.collect();
        if headings.iter().any(|it| !it.is_empty()) {
            table.add(headings);
        }
        table
    }

    /// A row; the columns that it has no cell for stay empty.
    pub(in crate::cli) fn row(&mut self, cells: &[&dyn Display]) {
        self.add(cells.iter().map(ToString::to_string).collect());
    }

    /// A line that is wider than its first column, say.
    pub(in crate::cli) fn note(&mut self, line: impl Into<String>) {
        self.lines.push(Line::Note(line.into()));
    }

    /// Writes what is new, which is kept no longer. Columns stay as wide as they are.
    pub(in crate::cli) fn write(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        write!(out, "{self}")?;
        self.lines.clear();
        Ok(())
    }

    /// The same once there is much of it: for lists that may be long.
    pub(in crate::cli) fn write_some(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        if self.lines.len() < LINES_MAX {
            return Ok(());
        }
        self.write(out)
    }

    fn add(&mut self, cells: Vec<String>) {
        for (column, cell) in self.columns.iter_mut().zip(&cells) {
            column.width = column.width.max(cell.chars().count());
        }
        self.lines.push(Line::Row(cells));
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            let cells = match line {
                Line::Row(cells) => cells,
                Line::Note(note) => {
                    writeln!(f, "{note}")?;
                    continue;
                }
            };
            let mut text = String::new();
            for (&Column { is_right, width }, cell) in self.columns.iter().zip(cells) {
                if is_right {
                    write!(text, "{cell:>width$}  ")?;
                } else {
                    write!(text, "{cell:<width$}  ")?;
                }
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// A line of a report.
pub(in crate::cli) fn labelled(label: &str, value: impl Display) -> String {
    format!("{label:<13} {value}\n")
}

/// Lines that are kept to know how wide they are.
const LINES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new("sink | >behind | why");
        table.row(&[&"crm", &7, &"it is away"]);
        table.note("  a line of its own, as wide as it is");
        table.row(&[&"événements", &1_234_567]);
        let expected = "\
sink         behind  why
crm               7  it is away
  a line of its own, as wide as it is
événements  1234567
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_table_without_headings_has_no_line_of_them() {
        let mut table = Table::new("> |");
        table.row(&[&1, &"a"]);
        table.row(&[&10, &"b"]);
        assert_eq!(table.to_string(), " 1  a\n10  b\n");
    }

    #[test]
    fn a_long_list_is_written_bit_by_bit() {
        let (mut table, mut out) = (Table::new("a | b"), Vec::new());
        for row in 1..LINES_MAX {
            assert!(out.is_empty());
            table.row(&[&"wide", &row]);
            table.write_some(&mut out).expect("a vector takes it");
        }
        assert!(table.lines.is_empty() && out.starts_with(b"a     b\nwide  1\n"));
        out.clear();
        table.row(&[&"x", &"y"]);
        table.write(&mut out).expect("a vector takes it");
        assert_eq!(out, b"x     y\n");
    }
}
