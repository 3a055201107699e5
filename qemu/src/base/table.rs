//! Tables for a person to read.

use std::fmt;

/// What the last column of a table is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    /// Right-aligned.
    Number,
    /// Left-aligned, as all other columns are.
    Text,
}

/// Writes rows of columns.
pub(crate) fn table<const N: usize>(
    formatter: &mut fmt::Formatter<'_>,
    rows: &[[String; N]],
    last: Last,
) -> fmt::Result {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| Some(row.get(column)?.chars().count()))
            .max()
            .unwrap_or(0)
    };
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            line.push_str(&if last == Last::Number && column + 1 == N {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}  ")
            });
        }
        writeln!(formatter, "{}", line.trim_end())?;
    }
    Ok(())
}
