//! What the wrappers know of an operation.

use std::time::Duration;

use crate::provider::ListHint;

/// Operations that share a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallClass {
    Read,
    Write,
    Upload,
}

/// One method of [`Provider`](crate::provider::Provider), as the wrappers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    pub name: &'static str,
    pub class: CallClass,
    /// Whether it may be repeated after an unknown outcome, as the trait's docs say.
    pub idempotent: bool,
    /// Whether it is never repeated, not even where it is told to have had no effect.
    pub once: bool,
    /// Whether it carries a body, whose time is judged by progress alone.
    pub carries_body: bool,
    /// The calls that it is likely to make, for the budget.
    pub calls: u32,
    /// How many times the usual deadline it may take, since it is made of many calls.
    pub patience: u32,
    /// The same for each turn where the service has no batches, and needs other calls first.
    pub patience_without_batches: u32,
}

/// For a listing first, which may be long, or for many short calls in a row.
const PATIENT: u32 = 10;

/// Items in one call of the services that take many.
const BATCH: usize = 500;
/// Calls that go out at once where each item takes one.
const SIDE_BY_SIDE: usize = 4;

impl Operation {
    pub const ACCOUNT_INFO: Operation = Operation::read("account_info").patient();
    pub const LIST: Operation = Operation {
        calls: 2,
        patience: PATIENT,
        ..Operation::read("list")
    };
    pub const FILE_INFO: Operation = Operation::read("file_info");
    pub const LINKS: Operation = Operation::read("links");
    pub const SHARE_LINKS: Operation = Operation::read("share_links");
    pub const CHANGES: Operation = Operation::read("changes");
    pub const FOLDER_STATES: Operation = Operation::read("folder_states");
    pub const CREATE_FOLDER: Operation = Operation::write("create_folder").patient();
    pub const RENAME: Operation = Operation::write("rename");
    pub const MOVE_TO: Operation = Operation::write("move_to").patient();
    pub const COPY_FILE: Operation = Operation {
        idempotent: false,
        ..Operation::write("copy_file")
    };
    pub const SET_MTIME: Operation = Operation::write("set_mtime");
    pub const REPLACE_CONTENT: Operation = Operation {
        idempotent: false,
        ..Operation::write("replace_content")
    };
    pub const DELETE: Operation = Operation::write("delete");
    pub const UPLOAD_BEGIN: Operation = Operation::upload("upload_begin").patient();
    pub const UPLOAD_WHOLE: Operation = Operation {
        idempotent: false,
        carries_body: true,
        ..Operation::upload("upload_whole")
    };
    pub const UPLOAD_UNIT: Operation = Operation {
        idempotent: false,
        carries_body: true,
        ..Operation::upload("upload_unit")
    };
    pub const UPLOAD_RANGE: Operation = Operation {
        idempotent: false,
        once: true,
        carries_body: true,
        ..Operation::upload("upload_range")
    };
    /// The service may bring all bytes before it answers.
    pub const UPLOAD_FROM_LINK: Operation = Operation {
        idempotent: false,
        carries_body: true,
        ..Operation::upload("upload_from_link")
    };
    pub const UPLOAD_POLL: Operation = Operation::upload("upload_poll");
    /// The feed, in a part or two, and the facts of what it names.
    pub const UPLOAD_POLL_MANY: Operation = Operation {
        calls: 2,
        patience: PATIENT,
        ..Operation::upload("upload_poll_many")
    };

    const fn read(name: &'static str) -> Self {
        Operation {
            name,
            class: CallClass::Read,
            idempotent: true,
            once: false,
            carries_body: false,
            calls: 1,
            patience: 1,
            patience_without_batches: 1,
        }
    }

    const fn patient(self) -> Self {
        Operation {
            patience_without_batches: PATIENT,
            ..self
        }
    }

    const fn write(name: &'static str) -> Self {
        Operation {
            class: CallClass::Write,
            ..Operation::read(name)
        }
    }

    const fn upload(name: &'static str) -> Self {
        Operation {
            class: CallClass::Upload,
            ..Operation::read(name)
        }
    }

    /// One that looks, beyond what a filesystem asks for.
    pub(super) const fn asking(name: &'static str) -> Self {
        Operation::read(name)
    }

    /// One that changes something, by a call or two.
    pub(super) const fn changing(name: &'static str) -> Self {
        Operation::write(name).patient()
    }

    /// It may take so many calls in a row.
    pub(super) const fn lasting(self, calls: u32) -> Self {
        Operation {
            calls,
            patience: calls,
            ..self
        }
    }

    /// It may not be repeated after an unknown outcome.
    pub(super) const fn never_again(self) -> Self {
        Operation {
            idempotent: false,
            ..self
        }
    }

    /// Its answer is a body, whose time is judged by progress alone.
    pub(super) const fn with_body(self) -> Self {
        Operation {
            carries_body: true,
            ..self
        }
    }

    /// The operation on so many items, in batches or with a call for each.
    #[must_use]
    pub(super) fn of_items(self, items: usize, batches: bool) -> Self {
        // What exceeds a budget for good would never be let through, so no more than a batch is counted.
        let (calls, turns, each) = if batches {
            (items.div_ceil(BATCH), items.div_ceil(BATCH), 1)
        } else {
            let each = self.patience_without_batches;
            (items.min(BATCH), items.div_ceil(SIDE_BY_SIDE), each)
        };
        let within_u32 = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Operation {
            calls: within_u32(calls),
            patience: within_u32(turns).max(1).saturating_mul(each),
            ..self
        }
    }

    /// The listing of a folder that holds about so much: what is told to be empty is not asked for.
    #[must_use]
    pub(super) fn of_parts(self, hint: ListHint) -> Self {
        let part = |count: Option<u64>| count.map_or(1, |count| count.div_ceil(BATCH as u64));
        let calls = part(hint.files)
            .saturating_add(part(hint.folders))
            .min(BATCH as u64);
        Operation {
            calls: u32::try_from(calls).unwrap_or(u32::MAX),
            ..self
        }
    }

    /// The time that it may take where a single call may take `limit`.
    pub(super) fn within(self, limit: Duration) -> Duration {
        limit.saturating_mul(self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_count_as_calls_where_the_service_takes_one_in_each() {
        let of = |items, batches| {
            let operation = Operation::LINKS.of_items(items, batches);
            (operation.calls, operation.patience)
        };
        assert_eq!(
            [of(1, true), of(500, true), of(501, true)],
            [(1, 1), (1, 1), (2, 2)]
        );
        assert_eq!(
            [of(1, false), of(20, false), of(0, false)],
            [(1, 1), (20, 5), (0, 1)]
        );
        assert_eq!(of(4000, false), (500, 1000));
    }

    #[test]
    fn a_listing_counts_the_parts_that_are_not_known_to_be_empty() {
        let of = |files, folders| Operation::LIST.of_parts(ListHint { files, folders }).calls;
        assert_eq!(
            [of(None, None), of(Some(50), Some(0)), of(Some(0), Some(0))],
            [2, 1, 0]
        );
        assert_eq!(of(Some(1200), Some(3)), 4);
    }

    #[test]
    fn what_needs_other_calls_first_may_take_longer_where_the_service_has_no_batches() {
        for operation in [
            Operation::ACCOUNT_INFO,
            Operation::CREATE_FOLDER,
            Operation::MOVE_TO,
            Operation::UPLOAD_BEGIN,
        ] {
            let limit = |batches| operation.of_items(1, batches).within(Duration::from_secs(20));
            let expected = [Duration::from_secs(20), Duration::from_secs(200)];
            assert_eq!([limit(true), limit(false)], expected, "{}", operation.name);
        }
    }
}
