//! Text tables with aligned columns, and the cells that several tables have.

use time::OffsetDateTime;
use time::macros::format_description;

/// A table that is printed in pieces: a column is as wide as the widest cell so far.
#[derive(Debug, Default)]
pub struct Table {
    widths: Vec<usize>,
}

impl Table {
    /// Further rows as lines, two spaces between the columns.
    pub fn text(&mut self, rows: &[Vec<String>]) -> String {
        for row in rows {
            self.widths.resize(self.widths.len().max(row.len()), 0);
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in rows {
            // Nothing stands behind the last one, which may be long.
            let width = |index: usize, width: usize| if index + 1 < row.len() { width } else { 0 };
            let cells: Vec<String> = row
                .iter()
                .zip(self.widths.iter().enumerate())
                .map(|(cell, (index, widest))| format!("{cell:0$}", width(index, *widest)))
                .collect();
            text.push_str(cells.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// A time in ms since 1970, UTC.
pub fn time(timestamp: Option<i64>) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let text = timestamp.and_then(|ms| {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
        time.format(format).ok()
    });
    text.or_else(|| timestamp.map(|ms| ms.to_string())).unwrap_or_else(none)
}

/// The cell of what is not there.
pub fn none() -> String {
    "-".to_owned()
}
