//! The newest file id that the host told of. Its ids rise, so that whatever was there before an upload has a
//! lower one. Other answers than the host's own are never looked at, and ids that are no numbers are passed over.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::provider::FileId;

#[derive(Debug, Default)]
pub(super) struct Newest {
    /// One more than the highest id; 0 while nothing was told.
    after: AtomicU64,
}

impl Newest {
    pub(super) fn note(&self, file: &FileId) {
        if let Some(number) = number(file) {
            self.after.fetch_max(number.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// The host was asked for files, whether it told of any or not.
    pub(super) fn note_asked(&self) {
        self.after.fetch_max(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Option<FileId> {
        let highest = self.after.load(Ordering::Relaxed).checked_sub(1)?;
        Some(FileId::new(highest.to_string()))
    }
}

/// Whether a file is newer than another.
pub(super) fn came_after(file: &FileId, before: &FileId) -> bool {
    matches!((number(file), number(before)), (Some(file), Some(before)) if file > before)
}

fn number(file: &FileId) -> Option<u64> {
    file.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_higher_number_came_after() {
        let newest = Newest::default();
        assert_eq!(newest.get(), None);
        newest.note_asked();
        let none = newest.get().unwrap();
        for id in ["98", "7", "103", "odd"] {
            newest.note(&FileId::new(id));
        }
        newest.note_asked();
        let before = newest.get().unwrap();
        assert_eq!(before, FileId::new("103"));
        for (id, after) in [
            ("104", true),
            ("1000", true),
            ("103", false),
            ("99", false),
            ("odd", false),
        ] {
            assert_eq!(came_after(&FileId::new(id), &before), after, "{id}");
        }
        assert!(came_after(&FileId::new("1"), &none));
    }
}
