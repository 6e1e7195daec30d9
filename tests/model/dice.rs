//! What is done next, by the dice and by what is there.

use std::path::Path;

use super::operation::{Operation, SLOTS};
use super::side::Side;

/// Names that are easy, names that services alter, and names that are all but equal.
const NAMES: [&str; 16] = [
    "a.txt",
    "b.bin",
    "c",
    "C",
    "d.tar.gz",
    "a (2).txt",
    "a(1).txt",
    ".hidden",
    "fünf und 日本.txt",
    "quote's \"n\".txt",
    "back\\slash",
    "less<more>",
    " edges ",
    "d",
    "e",
    "a rather long name that goes on and on and on, since some services count the characters of names.text",
];
/// How deep folders stand in each other.
const DEPTH: usize = 3;
/// The most entries that there are, so that trees stay quick to compare.
const ENTRIES: usize = 40;

pub struct Dice {
    dice: fastrand::Rng,
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice {
            dice: fastrand::Rng::with_seed(seed),
        }
    }

    pub fn next(&mut self, reference: &Side) -> Operation {
        let (files, folders) = entries(&reference.root);
        let mut draw = Draw {
            dice: &mut self.dice,
            reference,
            files,
            folders,
        };
        draw.operation()
    }
}

/// The files and folders below, sorted. The first folder is the top, which has no name.
fn entries(root: &Path) -> (Vec<String>, Vec<String>) {
    let (mut files, mut folders) = (Vec::new(), vec![String::new()]);
    let mut at = 0;
    while at < folders.len() {
        let folder = folders[at].clone();
        at += 1;
        for entry in std::fs::read_dir(root.join(&folder)).expect("list a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a UTF-8 name");
            let path = join(&folder, &name);
            match entry.file_type().expect("a file type").is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    folders.sort();
    (files, folders)
}

fn join(folder: &str, name: &str) -> String {
    match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}

struct Draw<'a> {
    dice: &'a mut fastrand::Rng,
    reference: &'a Side,
    files: Vec<String>,
    folders: Vec<String>,
}

impl Draw<'_> {
    fn operation(&mut self) -> Operation {
        let full = self.files.len() + self.folders.len() > ENTRIES;
        match self.dice.u32(..1000) {
            _ if full && self.dice.u8(..2) == 0 => self.removal(),
            0..110 => Operation::Open {
                slot: self.slot(),
                path: self.file_or_any(),
                how: self.how(),
            },
            110..190 => Operation::Close {
                slot: self.open_slot(),
            },
            190..290 => self.write_at(),
            290..330 => Operation::Write {
                slot: self.open_slot(),
                len: self.len(),
                seed: self.seed(),
            },
            330..390 => self.read_at(),
            390..420 => {
                let slot = self.open_slot();
                Operation::Cut {
                    slot,
                    len: self.offset(slot),
                }
            }
            420..440 => Operation::CutPath {
                path: self.file_or_any(),
                len: self.dice.u64(..9000) * self.dice.u64(..2),
            },
            440..465 => Operation::Sync {
                slot: self.open_slot(),
            },
            465..485 => self.map(),
            485..500 => self.copy_range(),
            500..525 => Operation::CopyFile {
                from: self.file_or_any(),
                to: self.any(),
            },
            525..605 => Operation::WriteFile {
                path: self.any(),
                len: self.len(),
                seed: self.seed(),
            },
            605..640 => Operation::ReadFile {
                path: self.file_or_any(),
            },
            640..740 => self.rename(),
            740..810 => self.removal(),
            810..845 => Operation::Mkdir { path: self.any() },
            845..865 => Operation::List {
                path: self.folder_or_any(),
            },
            865..875 => Operation::ListWhileChanging {
                path: self.folder_or_any(),
                add: self.name().to_owned(),
                remove: self.name().to_owned(),
            },
            875..895 => Operation::Stat { path: self.any() },
            895..915 => Operation::Touch {
                path: self.file_or_any(),
                seconds: self.long_ago(),
            },
            915..922 => Operation::TouchOpen {
                slot: self.open_slot(),
                seconds: self.long_ago(),
            },
            922..926 => Operation::Chmod {
                path: self.any(),
                mode: 0o600,
            },
            926..930 => Operation::Symlink { path: self.any() },
            930..934 => Operation::Link {
                from: self.file_or_any(),
                to: self.any(),
            },
            934..937 => Operation::Fifo { path: self.any() },
            937..950 => Operation::Attributes {
                path: self.file_or_any(),
            },
            950..953 => Operation::SetAttribute { path: self.any() },
            953..974 => Operation::Pause {
                milliseconds: self.dice.u64(5..150),
            },
            974..985 => Operation::Drain,
            985..989 => Operation::Remount,
            989..996 => Operation::Kill,
            _ => Operation::Forget,
        }
    }

    fn choose<'b>(&mut self, from: &'b [String]) -> Option<&'b String> {
        let at = (!from.is_empty()).then(|| self.dice.usize(..from.len()))?;
        from.get(at)
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.dice.usize(..NAMES.len())]
    }

    /// A place where something may be or not; seldom one that nothing can be at.
    fn any(&mut self) -> String {
        if self.dice.u8(..40) == 0
            && let Some(file) = self.choose(&self.files.clone())
        {
            return join(file, self.name());
        }
        if self.dice.u8(..40) == 0 {
            return join("missing", self.name());
        }
        if self.dice.u8(..4) == 0 {
            let all = [self.files.as_slice(), &self.folders[1..]].concat();
            if let Some(path) = self.choose(&all) {
                return path.clone();
            }
        }
        let shallow: Vec<String> = self
            .folders
            .iter()
            .filter(|path| depth(path) < DEPTH)
            .cloned()
            .collect();
        let folder = self.choose(&shallow).cloned().unwrap_or_default();
        join(&folder, self.name())
    }

    fn file_or_any(&mut self) -> String {
        if self.dice.u8(..8) > 0
            && let Some(path) = self.choose(&self.files.clone())
        {
            return path.clone();
        }
        self.any()
    }

    fn folder_or_any(&mut self) -> String {
        if self.dice.u8(..8) > 0
            && let Some(path) = self.choose(&self.folders.clone())
        {
            return path.clone();
        }
        self.any()
    }

    fn slot(&mut self) -> usize {
        self.dice.usize(..SLOTS)
    }

    /// One that is open, where there is one.
    fn open_slot(&mut self) -> usize {
        let open: Vec<usize> = (0..SLOTS)
            .filter(|slot| self.reference.open_file(*slot).is_some())
            .collect();
        match open.len() {
            0 => 0,
            count => open[self.dice.usize(..count)],
        }
    }

    fn how(&mut self) -> String {
        const HOWS: [&str; 14] = [
            "r", "r", "rw", "rw", "rw", "w", "rwc", "rwc", "wct", "rwct", "wa", "rwac", "rwcx", "rwt",
        ];
        HOWS[self.dice.usize(..HOWS.len())].to_owned()
    }

    fn seed(&mut self) -> u64 {
        // Now and then content that is there already.
        match self.dice.u8(..8) {
            0 => self.dice.u64(..3),
            _ => self.dice.u64(..1_000_000),
        }
    }

    fn len(&mut self) -> usize {
        match self.dice.u32(..1000) {
            0..60 => 0,
            60..160 => 3000,
            160..700 => self.dice.usize(1..5000),
            700..950 => self.dice.usize(5000..70_000),
            950..996 => self.dice.usize(200_000..600_000),
            // In several units, where the service takes files so.
            _ => self.dice.usize((4 << 20) + 1..5 << 20),
        }
    }

    fn size_of(&self, slot: usize) -> u64 {
        let file = self.reference.open_file(slot);
        file.map_or(0, |file| super::calls::stat_open(&file.fd).size)
    }

    /// Within a file, or a little beyond its end.
    fn offset(&mut self, slot: usize) -> u64 {
        let size = self.size_of(slot);
        match self.dice.u8(..8) {
            0 => 0,
            1 => size,
            2 => size + self.dice.u64(..9000),
            _ => self.dice.u64(..=size),
        }
    }

    fn write_at(&mut self) -> Operation {
        let slot = self.open_slot();
        Operation::WriteAt {
            slot,
            at: self.offset(slot),
            len: self.len(),
            seed: self.seed(),
        }
    }

    fn read_at(&mut self) -> Operation {
        let slot = self.open_slot();
        Operation::ReadAt {
            slot,
            at: self.offset(slot),
            len: self.dice.usize(..200_000),
        }
    }

    fn map(&mut self) -> Operation {
        let slot = self.open_slot();
        let size = self.size_of(slot);
        let at = self.dice.u64(..=size);
        let rest = (size - at).min(20_000) as usize;
        Operation::Map {
            slot,
            at,
            len: self.dice.usize(..=rest),
            seed: self.seed(),
        }
    }

    fn copy_range(&mut self) -> Operation {
        let (from, to) = (self.open_slot(), self.open_slot());
        let len = if self.dice.bool() {
            1 << 20
        } else {
            self.dice.usize(..9000)
        };
        let (from_at, to_at) = match self.dice.bool() {
            true => (0, 0),
            false => (self.offset(from), self.offset(to)),
        };
        Operation::CopyRange {
            from,
            to,
            from_at,
            to_at,
            len,
        }
    }

    fn rename(&mut self) -> Operation {
        let folders = self.folders[1..].to_vec();
        let from = match self.dice.u8(..4) {
            0 => self.choose(&folders).cloned(),
            _ => None,
        };
        let from = from.unwrap_or_else(|| self.file_or_any());
        let to = match self.dice.u8(..3) {
            0 => self.choose(&self.files.clone()).cloned(),
            _ => None,
        };
        Operation::Rename {
            from,
            to: to.unwrap_or_else(|| self.any()),
            keep: self.dice.u8(..10) == 0,
        }
    }

    fn removal(&mut self) -> Operation {
        match self.dice.u8(..10) {
            0..7 => Operation::Unlink {
                path: self.file_or_any(),
            },
            _ => Operation::Rmdir {
                path: self
                    .folders
                    .len()
                    .checked_sub(1)
                    .filter(|more| *more > 0)
                    .map_or_else(
                        || "missing".to_owned(),
                        |more| self.folders[1 + self.dice.usize(..more)].clone(),
                    ),
            },
        }
    }

    /// A time that is none of today.
    fn long_ago(&mut self) -> i64 {
        self.dice.i64(1_000_000_000..1_600_000_000)
    }
}

fn depth(path: &str) -> usize {
    match path {
        "" => 0,
        path => path.split('/').count(),
    }
}
