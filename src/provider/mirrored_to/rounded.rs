//! Sizes as the service tells them: rounded, in words. They are good for telling a web page from a film, no more.

/// Whether a file of so many bytes may be told as this text; `None` where it says nothing that can be read.
pub(super) fn may_be(text: &str, size: u64) -> Option<bool> {
    let text = text.trim().to_ascii_lowercase();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let power = match unit.trim() {
        "b" | "byte" | "bytes" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return None,
    };
    // How it rounds, and what a thousand is to it, is not known.
    let least = (number - 1.0) * 1000_f64.powi(power);
    let most = (number + 1.0) * 1024_f64.powi(power);
    Some((least..=most).contains(&(size as f64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_size_fits_what_it_may_stand_for() {
        const MIB: u64 = 1 << 20;
        for (text, size, fits) in [
            ("140 MB", 140 * MIB, Some(true)),
            ("140 MB", 140_900_000, Some(true)),
            ("146.8 MB", 140 * MIB, Some(true)),
            ("5.3 KB", 140 * MIB, Some(false)),
            ("140 MB", 5_300, Some(false)),
            ("1.5 KiB", 1_536, Some(true)),
            ("3 B", 3, Some(true)),
            ("300 bytes", 5_000, Some(false)),
            ("1 GB", 1 << 30, Some(true)),
            ("1,5 MB", 1_500_000, None),
            ("unknown", 5, None),
            ("", 5, None),
            ("17", 17, None),
        ] {
            assert_eq!(may_be(text, size), fits, "{text} for {size}");
        }
    }
}
