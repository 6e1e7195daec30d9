//! What can be done in a folder. Each operation is complete in itself, so that a sequence in which some are left out
//! still makes sense: what is about a slot that holds no open file does nothing.

use serde::{Deserialize, Serialize};

/// What stands before a list.
pub const HEADING: &str = "The operations:\n";

/// Open files that a sequence has at a time.
pub const SLOTS: usize = 5;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// The letters of `how`: read, write, append, create, exclusive (`x`), truncate.
    Open {
        slot: usize,
        path: String,
        how: String,
    },
    Close {
        slot: usize,
    },
    /// At an offset.
    WriteAt {
        slot: usize,
        at: u64,
        len: usize,
        seed: u64,
    },
    /// At the handle's own position, which is the end of the file where it appends.
    Write {
        slot: usize,
        len: usize,
        seed: u64,
    },
    ReadAt {
        slot: usize,
        at: u64,
        len: usize,
    },
    Cut {
        slot: usize,
        len: u64,
    },
    CutPath {
        path: String,
        len: u64,
    },
    Sync {
        slot: usize,
    },
    /// Writes through a mapping that is shared with the file.
    Map {
        slot: usize,
        at: u64,
        len: usize,
        seed: u64,
    },
    CopyRange {
        from: usize,
        to: usize,
        from_at: u64,
        to_at: u64,
        len: usize,
    },
    /// As `cp` does it.
    CopyFile {
        from: String,
        to: String,
    },
    /// Opens with truncation, writes, closes.
    WriteFile {
        path: String,
        len: usize,
        seed: u64,
    },
    ReadFile {
        path: String,
    },
    /// `keep`: fails where there is something at `to`.
    Rename {
        from: String,
        to: String,
        keep: bool,
    },
    Unlink {
        path: String,
    },
    Mkdir {
        path: String,
    },
    Rmdir {
        path: String,
    },
    List {
        path: String,
    },
    /// Lists a few entries, makes and removes a file in the folder, lists the rest.
    ListWhileChanging {
        path: String,
        add: String,
        remove: String,
    },
    Stat {
        path: String,
    },
    Touch {
        path: String,
        seconds: i64,
    },
    TouchOpen {
        slot: usize,
        seconds: i64,
    },
    Chmod {
        path: String,
        mode: u32,
    },
    Symlink {
        path: String,
    },
    Link {
        from: String,
        to: String,
    },
    Fifo {
        path: String,
    },
    /// Reads the extended attributes.
    Attributes {
        path: String,
    },
    SetAttribute {
        path: String,
    },
    Pause {
        milliseconds: u64,
    },
    /// Waits until all is uploaded.
    Drain,
    Remount,
    /// Ends the process as a power cut would, and starts it again.
    Kill,
    /// Waits until all is uploaded, and mounts with an empty state directory.
    Forget,
    /// Compares the whole trees.
    Compare,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| std::fmt::Error)?)
    }
}

/// Reads a list as it was printed: an operation a line, after a line that says so, other lines aside.
pub fn parse(text: &str) -> Vec<Operation> {
    let list = text.rsplit_once(HEADING).map_or(text, |(_, list)| list);
    let lines = list.lines().map(str::trim);
    let lines = lines.filter(|line| line.starts_with('{') || line.starts_with('"'));
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}
