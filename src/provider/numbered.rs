//! The names that services give to an upload whose name is taken: `name (2).ext`.

/// Whether a file that was sent as `name` may be stored as `stored` because the name was taken.
pub fn is_numbered_twin(stored: &str, name: &str) -> bool {
    let between = |before: &str, after: &str| {
        let number = stored
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .and_then(|rest| rest.strip_prefix(" (")?.strip_suffix(')'));
        number.is_some_and(is_number)
    };
    let parts = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty());
    between(name, "") || parts.is_some_and(|(stem, extension)| between(stem, &format!(".{extension}")))
}

/// `name.ext` for `name (2).ext`.
pub fn without_number(name: &str) -> Option<String> {
    let (stem, extension) = match name.rfind('.').filter(|&dot| dot > 0) {
        Some(dot) => name.split_at(dot),
        None => (name, ""),
    };
    let (plain, number) = stem.strip_suffix(')')?.rsplit_once(" (")?;
    (is_number(number) && !plain.is_empty()).then(|| format!("{plain}{extension}"))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_name_has_its_number_before_the_extension_or_at_the_end() {
        for (stored, name) in [
            ("a (2).txt", "a.txt"),
            ("a.tar (13).gz", "a.tar.gz"),
            ("plain (3)", "plain"),
            (".hidden (2)", ".hidden"),
            ("a.txt (2)", "a.txt"),
        ] {
            assert!(is_numbered_twin(stored, name), "{stored}");
        }
        for (other, name) in [
            ("a.txt", "a.txt"),
            ("a (x).txt", "a.txt"),
            ("a ().txt", "a.txt"),
            ("a(2).txt", "a.txt"),
            ("b (2).txt", "a.txt"),
            ("plain (3).txt", "plain"),
        ] {
            assert!(!is_numbered_twin(other, name), "{other}");
        }
    }

    #[test]
    fn a_numbered_name_gives_the_plain_one() {
        assert_eq!(without_number("a (2).txt").as_deref(), Some("a.txt"));
        assert_eq!(without_number("a b (13)").as_deref(), Some("a b"));
        for plain in ["a.txt", "a (b).txt", "a ().txt", "(2).txt", "a(2).txt"] {
            assert_eq!(without_number(plain), None, "{plain}");
        }
    }
}
