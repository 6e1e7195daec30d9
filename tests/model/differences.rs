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

    /// Where a service takes no empty files, they are in the state directory alone.
    pub fn takes_empty_files(&self) -> bool {
        self.kind.has(Capability::EmptyFiles)
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
