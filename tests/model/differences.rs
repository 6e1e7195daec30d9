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

    /// Whether an operation may end in another way than on a local disk.
    pub fn allow(&self, operation: &Operation, wanted: &Outcome<Seen>, got: &Outcome<Seen>) -> bool {
        match (operation, wanted, got) {
            // Attributes are the mount's own; that of a file without a name cannot be set either.
            (Operation::SetAttribute { .. }, Err(libc::EOPNOTSUPP), Err(_)) => true,
            _ => false,
        }
    }
}
