//! Patterns of names that stay on this machine.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::options::LOCAL_ONLY;

/// Patterns as written, and what matches a name.
#[derive(Debug, Clone)]
pub struct LocalOnly {
    patterns: Vec<String>,
    pub names: GlobSet,
}

impl PartialEq for LocalOnly {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl LocalOnly {
    /// Compiles patterns of single names, such as `*.tmp`.
    pub fn of(patterns: &[String]) -> Result<Self, String> {
        let mut names = GlobSetBuilder::new();
        for pattern in patterns {
            if pattern.is_empty() || pattern.contains('/') {
                return Err(format!(
                    "{pattern:?} is no pattern of a name: write for example \"*.tmp\", without a path"
                ));
            }
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            names.add(glob.map_err(|error| format!("{pattern:?}: {}", error.kind()))?);
        }
        let names = names.build().map_err(|error| error.to_string())?;
        Ok(LocalOnly {
            patterns: patterns.to_vec(),
            names,
        })
    }

    /// The patterns that hold where the config has none.
    pub(super) fn usual() -> Self {
        let patterns: Vec<String> = LOCAL_ONLY.iter().map(|pattern| (*pattern).to_owned()).collect();
        LocalOnly::of(&patterns).unwrap_or_else(|_| LocalOnly {
            patterns: Vec::new(),
            names: GlobSet::empty(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_patterns_hold_junk_and_nothing_that_a_person_names() {
        let usual = LocalOnly::usual();
        assert_eq!(usual.patterns.len(), LOCAL_ONLY.len(), "all compile");
        for junk in [
            ".Trash-1000",
            ".DS_Store",
            ".notes.txt.swp",
            ".~lock.a b.odt#",
            ".#notes.txt",
            "Thumbs.db",
            ".swp",
        ] {
            assert!(usual.names.is_match(junk), "{junk}");
        }
        for kept in [
            "image.swp",
            "film.mkv.part",
            "Unconfirmed 1.crdownload",
            "._notes",
            "Trash",
            ".config",
            "a~",
            "#notes.txt#",
        ] {
            assert!(!usual.names.is_match(kept), "{kept}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_match_a_name_is_refused() {
        for wrong in ["", "a/b", "[a"] {
            assert!(LocalOnly::of(&[wrong.to_owned()]).is_err(), "{wrong:?}");
        }
    }
}
