//! How numbers and tables are shown to people.

use std::time::{Duration, SystemTime};

/// Bytes in powers of 1000, as the services count them.
pub(super) fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = units[0];
    for larger in &units[1..] {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {many}")
    }
}

/// How far away a moment is, for example `in 3 min`.
pub(super) fn until(moment: SystemTime, now: SystemTime) -> String {
    let left = moment.duration_since(now).unwrap_or(Duration::ZERO).as_secs();
    match left {
        0 => "now".to_owned(),
        1..=90 => format!("in {left} s"),
        91..=5400 => format!("in {} min", left.div_ceil(60)),
        _ => format!("in {} h", left.div_ceil(3600)),
    }
}

/// Columns padded to the widest cell, two blanks apart, no blanks at the end of a line.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let shown = [0, 999, 1000, 999_999, 67_108_864, 21_476_933_632].map(size);
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "1.0 MB", "67.1 MB", "21.5 GB"]);
        assert_eq!(size(u64::MAX), "18.4 EB");
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [
            vec!["a".to_owned(), "bé".to_owned(), "c".to_owned()],
            vec!["long".to_owned(), "x".to_owned()],
        ];
        assert_eq!(table(&rows), "a     bé  c\nlong  x\n");
    }
}
