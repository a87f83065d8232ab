//! Columns: as wide as their widest cell, two spaces apart, nothing after the last.

/// A cell, and how it is coloured once its width is known.
pub(crate) struct Cell {
    pub text: String,
    pub paint: fn(super::super::paint::Paint, &str) -> String,
}

impl Cell {
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), paint: |_, text| text.to_owned() }
    }
}

pub(crate) fn grid(header: &[&str], rows: &[Vec<Cell>], paint: super::super::paint::Paint) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.chars().count());
        cells.chain(header.get(column).map(|name| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let last = header.len().saturating_sub(1);
    let pad = |column: usize, shown: usize| if column == last { 0 } else { widths[column] - shown + 2 };
    let mut text = String::new();
    for (column, name) in header.iter().enumerate() {
        text.push_str(&paint.bold(name));
        text.extend(std::iter::repeat_n(' ', pad(column, name.chars().count())));
    }
    text.push('\n');
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            line.push_str(&(cell.paint)(paint, &cell.text));
            line.extend(std::iter::repeat_n(' ', pad(column, cell.text.chars().count())));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
