//! In what a mount is known to differ from a local disk; docs/SEMANTICS.md tells each.

use lockerfs::provider::Capability;

use super::calls::Outcome;
use super::operation::Operation;
use super::side::Seen;
use crate::harness::Kind;

/// What a local disk does and a mount refuses: with `EPERM`, and setting an attribute with `EOPNOTSUPP`.
pub const REFUSED: &[&str] = &["symlink", "link", "fifo", "set_attribute"];

pub struct Differences {
    kind: &'static Kind,
}

impl Differences {
    pub fn of(kind: &'static Kind) -> Differences {
        Differences { kind }
    }

    /// Whether a service keeps the times of files; where it does not, a mount with an empty state directory does not
    /// know them.
    pub fn keeps_times(&self) -> bool {
        self.kind.has(Capability::ModificationTime)
    }

    /// Where the service keeps no times, a file that was changed may show the time that a program had set before. This is
    /// a fault that docs/LIMITS.md tells, not a thing to be wished for: no other difference of times is allowed.
    pub fn may_show_time_set_before(&self, wanted: i64, found: i64) -> bool {
        !self.keeps_times() && found < wanted
    }

    /// Where a service takes no empty files, they are in the state directory alone.
    pub fn takes_empty_files(&self) -> bool {
        self.kind.has(Capability::EmptyFiles)
    }

    /// A mount shows first what was known, and asks behind.
    pub fn may_show_former_times(&self, when: &str) -> bool {
        when.contains("remount") || when.contains("kill")
    }

    /// A file that is replaced by a rename in the moment in which its own upload ends may stay on the service beside the
    /// new one: as the copy that a conflict leaves, or as a twin.
    pub fn may_be_left_behind(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        let id = name.rsplit_once(" (").and_then(|(_, id)| id.split_once(')'));
        id.is_some_and(|(id, _)| id.starts_with("conflict ") || id.len() > 8)
    }

    /// What is left out for a file whose name is gone: it would have to read, and a mapping cannot tell an error.
    pub fn leaves_out(&self, operation: &Operation) -> bool {
        matches!(operation, Operation::Map { .. } | Operation::CopyRange { .. })
    }

    /// Whether an operation may end in another way than on a local disk.
    /// `is_removed` says that it is about an open file whose name is gone.
    pub fn allow(
        &self,
        operation: &Operation,
        is_removed: bool,
        wanted: &Outcome<Seen>,
        got: &Outcome<Seen>,
    ) -> bool {
        match (operation, wanted, got) {
            // It is read on as long as the service lets it.
            (Operation::ReadAt { .. }, Ok(_), Err(libc::EIO)) => is_removed,
            // Attributes are the mount's own; that of a file without a name cannot be set either.
            (Operation::SetAttribute { .. }, Err(libc::EOPNOTSUPP), Err(_)) => true,
            _ => false,
        }
    }
}
