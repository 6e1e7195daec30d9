//! Durations such as `50ms` and sizes such as `12MB`, as people write them.

use std::time::Duration;

/// Reads `50ms`, `1s`, `1.5m`, `2h` or `1d`; a bare `0` too.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write for example \"50ms\", \"1s\", \"5m\" or \"2h\"");
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86400.0,
        "" if number == 0.0 => 0.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// Reads bytes: `4096`, `12MB` (powers of 1000) or `4MiB` (powers of 1024).
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write for example \"4096\", \"12MB\" or \"4MiB\"");
    let (number, unit) = split_unit(text).ok_or_else(wrong)?;
    let factor: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(wrong()),
    };
    let bytes = number * factor;
    if bytes > 9e18 {
        Err(wrong())
    } else {
        Ok(bytes.round() as u64)
    }
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse_duration("1.5 s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for wrong in [
            "",
            "5",
            "s",
            "-1s",
            "1 week",
            "1..5s",
            "999999999999999999999999d",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("4096"), Ok(4096));
        assert_eq!(parse_size("12MB"), Ok(12_000_000));
        assert_eq!(parse_size("1.5 GiB"), Ok(1_610_612_736));
        for wrong in ["", "MB", "-1", "1 XB", "99999999999TB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
