//! How numbers and tables are shown to people.

use std::time::{Duration, SystemTime};

use unicode_width::UnicodeWidthStr;

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

pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{} {many}", grouped(number))
    }
}

/// A number in groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// How long something takes, for example `3 min`.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..=90 => format!("{seconds} s"),
        91..=5400 => format!("{} min", seconds.div_ceil(60)),
        5401..=172_800 => format!("{} h", seconds.div_ceil(3600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

/// How far away a moment is, for example `in 3 min`.
pub(super) fn until(moment: SystemTime, now: SystemTime) -> String {
    let left = moment.duration_since(now).unwrap_or(Duration::ZERO).as_secs();
    match left {
        0 => "now".to_owned(),
        left => format!("in {}", duration(left)),
    }
}

/// A moment for a person, for example `2015-05-07 16:07:05 UTC`.
pub(super) fn moment(at: SystemTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    time::OffsetDateTime::from(at)
        .format(format)
        .unwrap_or_else(|_| "at no time".to_owned())
}

/// Whole percent; all of nothing is there.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    let hundredfold = u128::from(part) * 100;
    let share = hundredfold.checked_div(u128::from(whole)).unwrap_or(100);
    u64::try_from(share.min(100)).unwrap_or(100)
}

pub(super) fn bar(percent: u64, width: usize) -> String {
    let full = (percent.min(100) as usize * width) / 100;
    format!("[{}{}]", "#".repeat(full), "-".repeat(width - full))
}

/// What others named, without what a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    let safe = |c: char| match c {
        // Some change the direction of what follows.
        '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(safe).collect()
}

/// Columns padded to the widest cell, two blanks apart, no blanks at the end of a line.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
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
            vec!["a".to_owned(), "bé日".to_owned(), "c".to_owned()],
            vec!["long".to_owned(), "x".to_owned()],
        ];
        assert_eq!(table(&rows), "a     bé日  c\nlong  x\n");
    }

    #[test]
    fn numbers_are_grouped_and_shares_are_whole() {
        assert_eq!(
            [1, 999, 1000, 1_234_567].map(grouped),
            ["1", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [percent(0, 0), percent(1, 3), percent(u64::MAX, u64::MAX)],
            [100, 33, 100]
        );
        assert_eq!(
            [bar(0, 4), bar(50, 4), bar(100, 4)],
            ["[----]", "[##--]", "[####]"]
        );
        assert_eq!(
            [45, 600, 7200, 900_000].map(duration),
            ["45 s", "10 min", "2 h", "11 days"]
        );
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(
            printable("a\x1b[2Jb\n\u{202e}ü"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}ü"
        );
    }
}
