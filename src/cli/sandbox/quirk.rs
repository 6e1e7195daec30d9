//! `--quirk NAME` and `--quirk NAME=VALUE`: how the emulated YetiShare hosts behave.

use crate::config::{parse_duration, parse_size};
use crate::sandbox::YetiShareQuirks;

/// One quirk as a person switched it.
#[derive(Clone)]
pub struct Quirk {
    set: Set,
    value: String,
}

type Set = fn(&mut YetiShareQuirks, &str) -> Result<(), String>;

/// Name, what its value is (nothing for a switch), what it does.
const QUIRKS: &[(&str, &str, &str, Set)] = &[
    (
        "strict-ranges",
        "",
        "ranges of downloads are answered exactly",
        |quirks, _| {
            quirks.strict_ranges = true;
            Ok(())
        },
    ),
    (
        "folder-status",
        "",
        "listings tell which folders are in the trash",
        |quirks, _| {
            quirks.folder_status = true;
            Ok(())
        },
    ),
    (
        "many-tokens",
        "",
        "a login leaves older tokens alive",
        |quirks, _| {
            quirks.one_token = false;
            Ok(())
        },
    ),
    (
        "plain-numbers",
        "",
        "numbers are numbers and not texts",
        |quirks, _| {
            quirks.plain_numbers = true;
            Ok(())
        },
    ),
    (
        "token-life",
        "TIME",
        "how long an unused token lives",
        |quirks, value| parse_duration(value).map(|life| quirks.token_life = life),
    ),
    (
        "link-life",
        "TIME",
        "how long a download link lives",
        |quirks, value| parse_duration(value).map(|life| quirks.link_life = life),
    ),
    (
        "post-limit",
        "SIZE",
        "larger requests lose their fields",
        |quirks, value| parse_size(value).map(|limit| quirks.post_limit = Some(limit)),
    ),
    (
        "second-hop",
        "TIME",
        "the silence after an upload",
        |quirks, value| parse_duration(value).map(|silence| quirks.second_hop = silence),
    ),
    ("downloads", "NUMBER", "downloads at once", |quirks, value| {
        let limit = value.parse().map_err(|_| format!("{value:?} is no number"))?;
        quirks.concurrent_downloads = Some(limit);
        Ok(())
    }),
    (
        "missing",
        "CALL",
        "a call that the hosts lack, like file/copy",
        |quirks, value| {
            quirks.missing.push(value.to_owned());
            Ok(())
        },
    ),
];

impl Quirk {
    pub fn parse(text: &str) -> Result<Quirk, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let known = QUIRKS.iter().find(|(known, ..)| *known == name);
        let Some((_, takes, _, set)) = known else {
            let names: Vec<_> = QUIRKS.iter().map(|(name, ..)| *name).collect();
            return Err(format!("unknown quirk {name:?} (known: {})", names.join(", ")));
        };
        match (value.is_empty(), takes.is_empty()) {
            (true, false) => return Err(format!("needs a value: {name}={takes}")),
            (false, true) => return Err(format!("{name} takes no value")),
            _ => {}
        }
        let quirk = Quirk {
            set: *set,
            value: value.to_owned(),
        };
        quirk.apply(&mut YetiShareQuirks::default())?;
        Ok(quirk)
    }

    pub fn apply(&self, quirks: &mut YetiShareQuirks) -> Result<(), String> {
        (self.set)(quirks, &self.value)
    }
}

/// The list for the help.
pub fn help() -> String {
    let mut text = "Quirks of the YetiShare hosts:\n".to_owned();
    for (name, takes, what, _) in QUIRKS {
        let separator = if takes.is_empty() { "" } else { "=" };
        let usage = format!("{name}{separator}{takes}");
        text += &format!("  {usage:<20}{what}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quirk_is_switched_by_name_and_value() {
        let mut quirks = YetiShareQuirks::default();
        for text in [
            "strict-ranges",
            "post-limit=2MB",
            "missing=file/copy",
            "missing=account",
        ] {
            Quirk::parse(text).unwrap().apply(&mut quirks).unwrap();
        }
        assert!(quirks.strict_ranges);
        assert_eq!(quirks.post_limit, Some(2_000_000));
        assert_eq!(quirks.missing, ["file/copy", "account"]);
    }

    #[test]
    fn what_is_no_quirk_is_told_with_the_known_ones() {
        for (text, told) in [
            ("strict", "known: strict-ranges"),
            ("token-life", "needs a value: token-life=TIME"),
            ("many-tokens=1", "takes no value"),
            ("downloads=many", "no number"),
        ] {
            let error = Quirk::parse(text).err().unwrap();
            assert!(error.contains(told), "{error}");
        }
    }
}
