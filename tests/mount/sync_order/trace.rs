//! What a process asked of the kernel, read from the output of `strace -f -y -xx`: what it wrote, synced, made and
//! removed, which requests of its mount it took and when it answered them.
//!
//! A position in a trace is the number of a line. A call that other threads' lines interrupt has a beginning and an
//! end, and counts as done at its end only: a sync counts for a write that had ended before the sync began.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Calls that a trace has to hold.
pub const CALLS: &str = "openat,mkdir,mkdirat,read,write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,\
    fsync,fdatasync,sync_file_range,rename,renameat,renameat2,unlink,unlinkat";

/// Bytes of a string that a trace has to show: the header of a request.
pub const SHOWN: usize = 40;

const WRITES: &[&str] = &[
    "write",
    "pwrite64",
    "writev",
    "pwritev",
    "pwritev2",
    "ftruncate",
    "fallocate",
];

/// `sync_file_range` is none: it leaves out what finds the bytes again, and the disk's own cache.
const SYNCS: &[&str] = &["fsync", "fdatasync"];

const FUSE: &str = "/dev/fuse";

#[derive(Debug)]
struct Call {
    name: String,
    arguments: String,
    result: i64,
    begun: usize,
    ended: usize,
}

impl Call {
    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    /// The file that the first argument's descriptor stands for.
    fn file(&self) -> Option<PathBuf> {
        let (_, rest) = self.arguments.split_once('<')?;
        Some(path_of(rest.split_once('>')?.0))
    }

    /// The strings among the arguments.
    fn strings(&self) -> impl Iterator<Item = Vec<u8>> {
        self.arguments.split('"').skip(1).step_by(2).map(unhex)
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.strings()
            .map(|path| PathBuf::from(String::from_utf8_lossy(&path).into_owned()))
            .collect()
    }

    /// Where it made an entry.
    fn made(&self) -> Option<PathBuf> {
        let makes = match self.name.as_str() {
            "openat" => self.arguments.contains("O_CREAT"),
            "mkdir" | "mkdirat" | "rename" | "renameat" | "renameat2" => true,
            _ => false,
        };
        (makes && self.result >= 0).then(|| self.paths().pop()).flatten()
    }
}

/// `\x2f\x61` for `/a`.
fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x")
        .skip(1)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("no byte: {byte} in {text}")))
        .collect()
}

fn path_of(text: &str) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(&unhex(text)).into_owned())
}

/// A request of the kernel's FUSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Unlink,
    Rename,
    Fsync,
    Flush,
    Other(u32),
}

impl Operation {
    fn from_code(code: u32) -> Self {
        match code {
            10 => Operation::Unlink,
            12 | 45 => Operation::Rename,
            20 => Operation::Fsync,
            25 => Operation::Flush,
            other => Operation::Other(other),
        }
    }
}

/// A request with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub operation: Operation,
    /// When it was there.
    pub taken: usize,
    /// When the answer began.
    pub answered: usize,
    /// 0, or a negative errno.
    pub error: i32,
}

#[derive(Debug)]
pub struct Trace {
    calls: Vec<Call>,
    pub requests: Vec<Request>,
    /// The state directory of the process.
    state: PathBuf,
}

impl Trace {
    pub fn read(text: &str, state: &Path) -> Trace {
        let calls = calls(text);
        Trace {
            requests: requests(&calls),
            calls,
            state: state.to_owned(),
        }
    }

    fn log(&self) -> PathBuf {
        self.state.join("state.db-wal")
    }

    fn staging(&self) -> PathBuf {
        self.state.join("staging")
    }

    fn changes<'a>(&'a self, file: &'a Path) -> impl Iterator<Item = &'a Call> {
        let of_file = move |call: &&Call| {
            let written = call.is(WRITES) && call.file().is_some_and(|written| written == file);
            written || call.made().is_some_and(|made| made.parent() == Some(file))
        };
        self.calls.iter().filter(of_file)
    }

    /// Whether all that was written to a file, or made in a directory, was synced when line `at` began.
    fn is_synced(&self, file: &Path, at: usize) -> bool {
        let before = self.changes(file).filter(|call| call.begun < at);
        let Some(last) = before.map(|call| call.ended).max() else {
            return true;
        };
        self.calls.iter().any(|call| {
            call.is(SYNCS)
                && call.result == 0
                && call.begun > last
                && call.ended < at
                && call.file().is_some_and(|synced| synced == file)
        })
    }

    /// Staged files that were written or made before line `at` and are still there then.
    fn staged(&self, at: usize) -> BTreeSet<PathBuf> {
        let mut staged = BTreeSet::new();
        let staging = self.staging();
        for call in self.calls.iter().filter(|call| call.begun < at) {
            if call.is(&["unlink", "unlinkat"]) {
                staged.retain(|file| !call.paths().contains(file));
            }
            let written = call.is(WRITES).then(|| call.file()).flatten();
            let touched = call.made().or(written);
            staged.extend(touched.filter(|file| file.parent() == Some(&staging)));
        }
        staged
    }

    /// Successful syncs between two lines, by file.
    pub fn syncs(&self, from: usize, to: usize) -> BTreeMap<PathBuf, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.calls {
            if call.is(SYNCS) && call.result == 0 && call.begun > from && call.ended < to {
                *counts.entry(call.file().unwrap_or_default()).or_default() += 1;
            }
        }
        counts
    }

    /// The lines at which the database was written to between a request and its answer. One of them is the journal's
    /// row; others may be the index's, which stands in the same file.
    fn rows(&self, request: &Request) -> Vec<usize> {
        let log = self.log();
        let rows = self.changes(&log).map(|call| call.begun);
        rows.filter(|begun| (request.taken..request.answered).contains(begun))
            .collect()
    }

    fn row(&self, request: &Request) -> Option<usize> {
        self.rows(request).first().copied()
    }

    /// The request that had something to do. A process that another test starts at that moment inherits what is
    /// open and closes it, for which the mount is asked as well.
    pub fn at_work<'a>(&self, requests: &'a [Request]) -> Option<&'a Request> {
        let working = requests.iter().find(|request| self.row(request).is_some());
        working.or(requests.last())
    }

    /// What was asked for was durable when the request was answered with success: first what is staged, with
    /// its directory entries, then a row in the journal, and after that alone the staged files that the row let go
    /// were removed. The directories that lead to all of that are durable as well.
    pub fn check(&self, request: &Request) -> Result<(), String> {
        if request.error != 0 {
            return Err(format!("the answer is the error {}", -request.error));
        }
        let mut checked = Err("nothing was written to the journal before the answer".to_owned());
        for row in self.rows(request) {
            checked = match (checked, self.check_row(request, row)) {
                (_, Ok(())) => return Ok(()),
                (Err(first), Err(_)) if first.contains("was not") => Err(first),
                (_, failed) => failed,
            };
        }
        checked
    }

    fn check_row(&self, request: &Request, row: usize) -> Result<(), String> {
        let answered = request.answered;
        let log = self.log();
        for file in self.staged(row) {
            if !self.is_synced(&file, row) {
                return Err(format!("{file:?} was not synced when the row was written"));
            }
        }
        if !self.is_synced(&self.staging(), row) {
            return Err("the staging directory was not synced when the row was written".into());
        }
        if !self.is_synced(&log, answered) {
            return Err("the journal was not synced before the answer".into());
        }
        let mut directory = Some(self.state.as_path());
        while let Some(path) = directory {
            if !self.is_synced(path, answered) {
                return Err(format!("{path:?} was not synced after something was made in it"));
            }
            directory = path.parent();
        }
        self.check_removals(request.taken)
    }

    /// No staged file was removed since line `from` while the row that let it go was not durable.
    fn check_removals(&self, from: usize) -> Result<(), String> {
        let log = self.log();
        let removals = self
            .calls
            .iter()
            .filter(|call| call.begun > from && call.is(&["unlink", "unlinkat"]));
        for call in removals {
            let staged = call.paths().pop().unwrap_or_default();
            if staged.parent() != Some(&self.staging()) {
                continue;
            }
            let told = self
                .changes(&log)
                .any(|row| row.begun > from && row.ended < call.begun);
            if !told || !self.is_synced(&log, call.begun) {
                return Err(format!(
                    "{staged:?} was removed before the journal that let it go was synced"
                ));
            }
        }
        Ok(())
    }
}

fn calls(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut begun: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let Some((thread, line)) = line.trim_start().split_once(' ') else {
            continue;
        };
        let line = line.trim();
        if let Some(first) = line.strip_suffix("<unfinished ...>") {
            begun.insert(thread, (at, first.trim_end().to_owned()));
            continue;
        }
        let (begun, whole) = match line.strip_prefix("<... ") {
            Some(resumed) => {
                let Some((from, first)) = begun.remove(thread) else {
                    continue;
                };
                let rest = resumed.split_once(" resumed>").map_or("", |(_, rest)| rest);
                (from, first + rest)
            }
            None => (at, line.to_owned()),
        };
        // What ended with the process has no result and stands for nothing.
        let Some((call, result)) = whole.rsplit_once(" = ") else {
            continue;
        };
        let Some((name, arguments)) = call.split_once('(') else {
            continue;
        };
        let digits = result.split(['<', ' ']).next().unwrap_or_default();
        calls.push(Call {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            result: digits.parse().unwrap_or(-1),
            begun,
            ended: at,
        });
    }
    calls
}

/// From the headers `fuse_in_header` and `fuse_out_header`.
fn requests(calls: &[Call]) -> Vec<Request> {
    let mut taken = BTreeMap::new();
    let mut requests = Vec::new();
    let through = |call: &&Call| call.result > 0 && call.file().is_some_and(|file| file == Path::new(FUSE));
    // In the order of what matters: the end of a read, the beginning of an answer.
    let mut through: Vec<_> = calls.iter().filter(through).collect();
    through.sort_by_key(|call| {
        if call.name == "read" {
            call.ended
        } else {
            call.begun
        }
    });
    for call in through {
        let header = call.strings().next().unwrap_or_default();
        if header.len() < 16 {
            continue;
        }
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let unique = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
        if call.name == "read" {
            taken.insert(unique, (Operation::from_code(word(4)), call.ended));
        } else if let Some((operation, taken)) = taken.remove(&unique) {
            requests.push(Request {
                operation,
                taken,
                answered: call.begun,
                error: word(4).cast_signed(),
            });
        }
    }
    requests
}

/// The checker against traces that are right and wrong.
mod proof {
    use super::*;

    const STATE: &str = "/w/state";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    fn fd(path: &str) -> String {
        format!("9<{}>", hex(path.as_bytes()))
    }

    fn on(call: &str, path: &str) -> String {
        format!("1 {call}({}) = 0", fd(path))
    }

    fn write(path: &str) -> String {
        format!("1 pwrite64({}, \"\\x61\"..., 100, 0) = 100", fd(path))
    }

    fn make(path: &str) -> String {
        let path = hex(path.as_bytes());
        format!("1 openat(AT_FDCWD<\\x2f>, \"{path}\", O_RDWR|O_CREAT|O_EXCL, 0600) = 9<{path}>")
    }

    fn remove(path: &str) -> String {
        format!("1 unlink(\"{}\") = 0", hex(path.as_bytes()))
    }

    fn request(code: u8) -> String {
        let header = [64, 0, 0, 0, code, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        format!("2 read({}, \"{}\"..., 1000) = 64", fd(FUSE), hex(&header))
    }

    fn answer(error: i8) -> String {
        let mut header = [16, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&i32::from(error).to_le_bytes());
        let header = hex(&header);
        format!(
            "3 writev({}, [{{iov_base=\"{header}\", iov_len=16}}], 1) = 16",
            fd(FUSE)
        )
    }

    const FILE: &str = "/w/state/staging/a";
    const LOG: &str = "/w/state/state.db-wal";

    /// A `close()` as it should be, line by line.
    fn close() -> Vec<String> {
        vec![
            make(FILE),
            write(FILE),
            request(25),
            on("fdatasync", FILE),
            on("fsync", "/w/state/staging"),
            write(LOG),
            on("fdatasync", LOG),
            answer(0),
        ]
    }

    fn verdict(lines: &[String]) -> Result<(), String> {
        let trace = Trace::read(&lines.join("\n"), Path::new(STATE));
        let request = trace.requests.first().expect("a request with an answer");
        trace.check(request)
    }

    #[track_caller]
    fn is_wrong(lines: &[String], words: &str) {
        let error = verdict(lines).expect_err(words);
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn a_close_in_order_passes_and_any_sync_that_lacks_is_told() {
        assert_eq!(verdict(&close()), Ok(()));
        for (at, words) in [
            (3, "staging/a\" was not synced"),
            (4, "the staging directory was not synced"),
            (6, "the journal was not synced"),
        ] {
            let mut lines = close();
            let sync = lines.remove(at);
            is_wrong(&lines, words);
            // After the answer is too late.
            lines.push(sync);
            is_wrong(&lines, words);
            // Before what it is to make durable it is too early.
            let mut lines = close();
            let sync = lines.remove(at);
            lines.insert(0, sync);
            is_wrong(&lines, words);
            // One that failed is none.
            let mut lines = close();
            lines[at] = lines[at].replace(") = 0", ") = -1 EIO (\\x2f)");
            is_wrong(&lines, words);
        }
    }

    #[test]
    fn the_content_is_synced_before_the_row_and_not_after_it() {
        let mut lines = close();
        lines.swap(3, 5);
        is_wrong(&lines, "staging/a\" was not synced");
        let mut lines = close();
        lines.insert(5, write(FILE));
        is_wrong(&lines, "staging/a\" was not synced");
    }

    #[test]
    fn a_sync_that_began_before_a_write_had_ended_does_not_count_for_it() {
        let mut lines = close();
        let write = write(FILE).replacen("1 ", "7 ", 1);
        let (first, rest) = write.split_once(", 100").expect("arguments");
        lines[1] = format!("{first} <unfinished ...>");
        lines.insert(4, format!("7 <... pwrite64 resumed>, 100{rest}"));
        is_wrong(&lines, "staging/a\" was not synced");
        // As soon as it had ended it does.
        let ended = lines.remove(4);
        lines.insert(2, ended);
        assert_eq!(verdict(&lines), Ok(()));
    }

    #[test]
    fn a_sync_of_a_range_is_no_sync() {
        let mut lines = close();
        lines[3] = lines[3].replace("fdatasync", "sync_file_range");
        is_wrong(&lines, "staging/a\" was not synced");
    }

    #[test]
    fn an_answer_without_a_row_and_an_error_are_told() {
        let mut lines = close();
        lines.drain(5..7);
        is_wrong(&lines, "nothing was written to the journal");
        let mut lines = close();
        lines[7] = answer(-28);
        is_wrong(&lines, "error 28");
    }

    #[test]
    fn directories_that_were_made_are_synced_as_well() {
        let mut lines = close();
        lines.insert(0, format!("1 mkdir(\"{}\", 0700) = 0", hex(STATE.as_bytes())));
        is_wrong(&lines, "\"/w\" was not synced");
        lines.insert(1, on("fsync", "/w"));
        assert_eq!(verdict(&lines), Ok(()));
        lines.insert(0, make(LOG));
        is_wrong(&lines, "\"/w/state\" was not synced");
    }

    #[test]
    fn a_staged_file_is_removed_only_when_the_row_that_lets_it_go_is_durable() {
        let unlink = [
            request(10),
            write(LOG),
            on("fdatasync", LOG),
            remove(FILE),
            answer(0),
        ];
        assert_eq!(verdict(&unlink), Ok(()));
        let mut lines = unlink.to_vec();
        lines.swap(2, 3);
        is_wrong(&lines, "was removed before the journal");
        let mut lines = unlink.to_vec();
        let removed = lines.remove(3);
        lines.insert(1, removed);
        is_wrong(&lines, "was removed before the journal");
    }
}
