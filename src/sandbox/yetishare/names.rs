//! Names, as PHP and the script change them.

/// The text without HTML tags, as PHP's `strip_tags` leaves it: a `<` before a blank is text, and a tag that
/// is never closed goes to the end.
pub fn strip_tags(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\0' {
            continue;
        }
        if c != '<' || chars.peek().is_some_and(|next| next.is_ascii_whitespace()) {
            kept.push(c);
            continue;
        }
        let mut quote = None;
        for inside in chars.by_ref() {
            match (inside, quote) {
                ('>', None) => break,
                ('"' | '\'', None) => quote = Some(inside),
                (c, Some(open)) if c == open => quote = None,
                _ => {}
            }
        }
    }
    kept
}

/// What PHP keeps of the name that a multipart part gives.
pub fn sent_name(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or_default()
}

/// The name under which an upload is stored. An empty one becomes the time, in seconds since the epoch.
pub fn stored_name(sent: &str, altered: bool, now: i64) -> String {
    let plain: String = strip_tags(sent_name(sent))
        .chars()
        .filter(|c| !matches!(c, '"' | '\'' | '\r' | '\n'))
        .collect();
    let plain = plain.trim();
    let name = plain.strip_prefix('.').unwrap_or(plain).trim();
    if name.is_empty() {
        return now.to_string();
    }
    if !altered {
        return name.to_owned();
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '_' | '-' | '(' | ')');
    name.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}

/// `name`, or the first of `name (2).ext`, `name (3).ext`, ... that is not taken.
pub fn free_name(name: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    let (stem, extension) = match name.rfind('.') {
        Some(at) if at > 0 => name.split_at(at),
        _ => (name, ""),
    };
    (2..)
        .map(|number: u64| format!("{stem} ({number}){extension}"))
        .find(|name| !taken(name))
        .unwrap_or_else(|| name.to_owned())
}

/// What follows the last dot, in lower case.
pub fn extension(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((_, extension)) => extension.to_lowercase(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_and_what_only_looks_like_one_stays() {
        for (text, kept) in [
            ("a<b>c", "ac"),
            ("1 < 2", "1 < 2"),
            ("a<b", "a"),
            ("<a href=\">\">x</a>y", "xy"),
            ("2 > 1", "2 > 1"),
        ] {
            assert_eq!(strip_tags(text), kept, "{text}");
        }
    }

    #[test]
    fn names_are_cleaned_as_the_script_does_it() {
        for (sent, stored) in [
            (".hidden", "hidden"),
            ("..twice", ".twice"),
            ("it's \"so\".txt", "its so.txt"),
            ("  edge  ", "edge"),
            ("C:\\dir\\a.txt", "a.txt"),
            ("dir/a.txt", "a.txt"),
            ("a\nb.txt", "ab.txt"),
            ("<b>", "1700000000"),
            ("a<b>c</b>", "b>"),
            (".", "1700000000"),
        ] {
            assert_eq!(stored_name(sent, false, 1_700_000_000), stored, "{sent:?}");
        }
        assert_eq!(stored_name("naïve & co (1).txt", true, 0), "na_ve _ co (1).txt");
    }

    #[test]
    fn twins_are_numbered_from_two() {
        let taken = |name: &str| ["a.tar.gz", "a.tar (2).gz", "plain"].contains(&name);
        assert_eq!(free_name("a.tar.gz", taken), "a.tar (3).gz");
        assert_eq!(free_name("plain", taken), "plain (2)");
        assert_eq!(free_name("new", taken), "new");
    }
}
