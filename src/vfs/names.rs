//! Names on both sides: what a program calls a file, and what the service is told.
//!
//! A character that one side cannot hold is shown by a look-alike (`/` by `／`, `<` by `＜`, a control
//! character by its picture), and a look-alike that was there before is marked by a quote (`‛`), so that
//! each name comes back as it went. Names without such characters pass unchanged, byte for byte.
//! Comparing is done on the NFC form, because services and systems disagree on the form they keep.

use sha2::{Digest, Sha256};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use crate::provider::NameRules;

const QUOTE: char = '\u{201B}';

/// The longest name that Linux programs expect, in bytes.
const LOCAL_MAX_BYTES: usize = 255;

/// The longest name that the kernel takes in a listing, in bytes: a longer one would spoil the whole of it.
const SHOWN_MAX_BYTES: usize = 1024;

/// The longest id that is shown as it is, in bytes.
const SUFFIX_MAX_BYTES: usize = 64;

const LOOK_ALIKES: &[(char, char)] = &[
    ('/', '／'),
    ('\\', '＼'),
    ('<', '＜'),
    ('>', '＞'),
    (':', '：'),
    ('"', '＂'),
    ('\'', '＇'),
    ('|', '｜'),
    ('?', '？'),
    ('*', '＊'),
    ('#', '＃'),
    ('%', '％'),
    ('&', '＆'),
    ('.', '．'),
    (' ', '␠'),
    ('\u{7F}', '␡'),
];

/// Why a name cannot be used on an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadName {
    TooLong,
    Invalid,
}

fn look_alike(c: char) -> Option<char> {
    if c < ' ' {
        return char::from_u32(0x2400 + c as u32);
    }
    LOOK_ALIKES
        .iter()
        .find(|(plain, _)| *plain == c)
        .map(|(_, shown)| *shown)
}

fn plain_of(c: char) -> Option<char> {
    if ('\u{2400}'..'\u{2420}').contains(&c) {
        return char::from_u32(c as u32 - 0x2400);
    }
    LOOK_ALIKES
        .iter()
        .find(|(_, shown)| *shown == c)
        .map(|(plain, _)| *plain)
}

/// The form in which names are compared.
pub fn key(name: &str) -> String {
    match is_nfc_quick(name.chars()) {
        IsNormalized::Yes => name.to_owned(),
        _ => name.nfc().collect(),
    }
}

/// Replaces the characters for which `refused(index from the start, is last, character)` holds. Quotes before such a
/// character, or before a look-alike that was there, are doubled; others stay as they are, so that what [`decode`]
/// makes of two names is never the same.
fn encode(name: &str, refused: impl Fn(usize, bool, char) -> bool) -> Option<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len());
    let mut quotes = 0;
    for (i, &c) in chars.iter().enumerate() {
        if c == QUOTE {
            quotes += 1;
        } else if refused(i, i + 1 == chars.len(), c) {
            push(&mut out, 2 * quotes, look_alike(c)?);
            quotes = 0;
        } else if plain_of(c).is_some_and(|plain| can_be_refused(&refused, plain)) {
            push(&mut out, 2 * quotes + 1, c);
            quotes = 0;
        } else {
            push(&mut out, quotes, c);
            quotes = 0;
        }
    }
    out.extend(std::iter::repeat_n(QUOTE, quotes));
    Some(out)
}

fn decode(name: &str, refused: impl Fn(usize, bool, char) -> bool) -> String {
    let mut out = String::with_capacity(name.len());
    let mut quotes = 0;
    for c in name.chars() {
        if c == QUOTE {
            quotes += 1;
            continue;
        }
        match plain_of(c).filter(|&plain| can_be_refused(&refused, plain)) {
            Some(_) if quotes % 2 == 1 => push(&mut out, quotes / 2, c),
            Some(plain) => push(&mut out, quotes / 2, plain),
            None => push(&mut out, quotes, c),
        }
        quotes = 0;
    }
    out.extend(std::iter::repeat_n(QUOTE, quotes));
    out
}

fn push(out: &mut String, quotes: usize, c: char) {
    out.extend(std::iter::repeat_n(QUOTE, quotes));
    out.push(c);
}

/// Whether a character is refused in any place: at the start, in the middle or at the end.
fn can_be_refused(refused: &impl Fn(usize, bool, char) -> bool, c: char) -> bool {
    refused(0, false, c) || refused(1, false, c) || refused(1, true, c)
}

fn local_refuses(_: usize, _: bool, c: char) -> bool {
    c == '/' || c == '\0'
}

fn service_refuses(rules: &NameRules) -> impl Fn(usize, bool, char) -> bool + '_ {
    move |index, last, c| {
        c == '/'
            || c == '\0'
            || rules.forbidden.contains(c)
            || (c == '.' && index == 0 && !rules.leading_dot)
            || (c == ' ' && (index == 0 || last) && !rules.edge_blanks)
    }
}

/// The name under which programs see a name of the service.
pub fn to_local(remote: &str, rules: &NameRules) -> String {
    let plain = decode(remote, service_refuses(rules));
    let shown = encode(&plain, local_refuses).unwrap_or(plain);
    match shown.as_str() {
        // Names that no directory entry can bear.
        "" => "␀".to_owned(),
        "." => "．".to_owned(),
        ".." => "．．".to_owned(),
        _ if shown.len() <= SHOWN_MAX_BYTES => shown,
        _ => shortened(&shown),
    }
}

/// The start of a name, and what tells it from others that start so.
fn shortened(name: &str) -> String {
    let mark = mark_of(name);
    let mut end = SHOWN_MAX_BYTES - mark.len() - 1;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{mark}", &name[..end])
}

/// A few characters that stand for a text of any length and kind.
fn mark_of(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..8])
}

/// The name under which the service is told of a name that a program gave.
pub fn to_remote(local: &str, rules: &NameRules) -> Result<String, BadName> {
    if local.is_empty() || local == "." || local == ".." {
        return Err(BadName::Invalid);
    }
    if local.len() > LOCAL_MAX_BYTES {
        return Err(BadName::TooLong);
    }
    let remote = encode(&decode(local, local_refuses), service_refuses(rules)).ok_or(BadName::Invalid)?;
    if remote.chars().count() > rules.max_chars {
        return Err(BadName::TooLong);
    }
    Ok(remote)
}

/// The name of an entry whose name another one bears already: `name (id).ext`. An id that cannot stand in a name is
/// shown by another text, always the same.
pub fn with_suffix(name: &str, id: &str) -> String {
    let stands = id.len() <= SUFFIX_MAX_BYTES && !id.contains(|c: char| c == '/' || c.is_control());
    let mark = (!stands).then(|| mark_of(id));
    let id = mark.as_deref().unwrap_or(id);
    let suffixed = match name.rfind('.').filter(|&dot| dot > 0 && dot + 1 < name.len()) {
        Some(dot) => format!("{} ({id}){}", &name[..dot], &name[dot..]),
        None => format!("{name} ({id})"),
    };
    if suffixed.len() <= SHOWN_MAX_BYTES {
        return suffixed;
    }
    shortened(&suffixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANT: NameRules = NameRules {
        max_chars: 255,
        forbidden: "",
        edge_blanks: true,
        leading_dot: true,
        numbered_twins: false,
    };
    const STRICT: NameRules = NameRules {
        max_chars: 255,
        forbidden: "<>\"'",
        edge_blanks: false,
        leading_dot: false,
        numbered_twins: false,
    };

    #[test]
    fn ordinary_names_pass_unchanged() {
        for name in [
            "a.txt",
            "näme with blanks",
            ".hidden",
            " edge ",
            "日本語",
            "‛",
            "100%",
            "．",
            "a：b",
        ] {
            assert_eq!(to_remote(name, &TOLERANT).as_deref(), Ok(name));
            assert_eq!(to_local(name, &TOLERANT), name);
        }
    }

    #[test]
    fn names_that_a_service_would_alter_come_back_as_they_went() {
        for name in [
            ".hidden",
            " edge ",
            "a<b>\"c'",
            "＜literal",
            "‛＜",
            "..a",
            "a.",
            "‛‛",
            "‛‛.",
            "‛‛‛＜‛<",
            "a‛ ",
            "x\u{2420}",
            "．x",
        ] {
            let remote = to_remote(name, &STRICT).unwrap();
            assert!(
                !remote.starts_with(['.', ' ']) && !remote.ends_with(' '),
                "{remote}"
            );
            assert!(!remote.contains(['<', '>', '"', '\'']), "{remote}");
            assert_eq!(to_local(&remote, &STRICT), name, "through {remote}");
        }
    }

    #[test]
    fn names_that_no_directory_can_hold_are_shown_by_look_alikes() {
        assert_eq!(to_local("a/b", &TOLERANT), "a／b");
        assert_eq!(to_local("..", &TOLERANT), "．．");
        assert_eq!(to_local("", &TOLERANT), "␀");
    }

    #[test]
    fn each_name_that_a_program_gives_is_one_of_its_own() {
        let mut seen = std::collections::HashMap::new();
        let parts = ["‛", "‛‛", "／", "␀", "．", "x"];
        for (a, b) in parts.iter().flat_map(|a| parts.iter().map(move |b| (a, b))) {
            let name = format!("{a}{b}");
            let remote = to_remote(&name, &STRICT).unwrap();
            assert_eq!(to_local(&remote, &STRICT), name, "through {remote}");
            if let Some(other) = seen.insert(remote, name.clone()) {
                assert_eq!(other, name);
            }
        }
    }

    #[test]
    fn names_out_of_bounds_are_refused() {
        assert_eq!(to_remote(&"x".repeat(256), &TOLERANT), Err(BadName::TooLong));
        assert_eq!(to_remote(".", &TOLERANT), Err(BadName::Invalid));
    }

    #[test]
    fn both_unicode_forms_have_one_key() {
        assert_eq!(key("e\u{301}"), key("é"));
    }

    #[test]
    fn a_name_or_an_id_that_no_listing_can_hold_is_shown_by_another() {
        let long = "日".repeat(400);
        let shown = to_local(&long, &TOLERANT);
        assert!(
            shown.len() <= SHOWN_MAX_BYTES && shown.starts_with("日日"),
            "{shown}"
        );
        assert_eq!(to_local(&long, &TOLERANT), shown);
        assert_ne!(to_local(&format!("{long}x"), &TOLERANT), shown);
        for id in ["../../x", "a\0b", "\u{1b}[2J", &"k".repeat(65)] {
            let shown = with_suffix("a.txt", id);
            assert!(shown.len() < 50 && shown.ends_with(").txt"), "{shown:?}");
            assert!(!shown.contains(|c: char| c == '/' || c.is_control()), "{shown:?}");
        }
        assert!(with_suffix(&"x".repeat(SHOWN_MAX_BYTES), "k1").len() <= SHOWN_MAX_BYTES);
    }

    #[test]
    fn a_twin_keeps_its_extension() {
        assert_eq!(with_suffix("a.tar.gz", "k1"), "a.tar (k1).gz");
        assert_eq!(with_suffix(".profile", "k1"), ".profile (k1)");
    }
}
