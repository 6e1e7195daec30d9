//! What a power cut cannot take: the order in which a mount writes, syncs and answers, seen from outside by
//! `strace`.

mod trace;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use crate::suite::harness::{Mount, World, content, wait_for};
use trace::{Operation, Request, Trace};

/// A mount that is watched from its first moment, so that what it makes at the start is seen as well.
struct Traced {
    world: World,
    mount: Mount,
    output: PathBuf,
}

impl Traced {
    /// Nothing is uploaded while a test looks.
    fn new(prepare: impl FnOnce(&World)) -> Traced {
        let world = World::with(|setup| {
            setup.asks_for_nothing();
            setup.option("upload_delay", "\"10m\"");
        });
        prepare(&world);
        // Of the cache nothing has to be synced, nor of where it is made.
        std::fs::create_dir_all(&world.place().cache).expect("a folder");
        let output = world.folder().join("trace.txt");
        let shown = trace::SHOWN.to_string();
        let calls = format!("trace={}", trace::CALLS);
        let strace = [
            "strace", "-D", "-f", "-y", "-xx", "-s", &shown, "-e", &calls, "-o",
        ];
        let output_text = output.to_str().expect("a UTF-8 path").to_owned();
        let strace: Vec<&str> = strace.into_iter().chain([output_text.as_str()]).collect();
        let mount = Mount::start_under(&strace, &world.config(), &world.place());
        mount.list("");
        world.service.settle();
        Traced { world, mount, output }
    }

    fn read(&self) -> Trace {
        let text = fs::read_to_string(&self.output).expect("a trace");
        Trace::read(&text, &self.world.place().state)
    }

    /// The answered requests of this kind that come from `act`, and all that was traced until they were answered.
    fn watch(&self, operation: Operation, act: impl FnOnce(&Mount)) -> (Trace, Vec<Request>) {
        let of_kind = |trace: &Trace| -> Vec<Request> {
            let mut requests = trace.requests.clone();
            requests.retain(|request| request.operation == operation);
            requests
        };
        let before = of_kind(&self.read()).len();
        act(&self.mount);
        // The program was answered, but the tracer may be behind with telling it.
        wait_for("the answer is in the trace", || {
            of_kind(&self.read()).len() > before
        });
        // Of several answers the first may be there alone; what comes later than this is not looked at.
        std::thread::sleep(std::time::Duration::from_millis(300));
        let trace = self.read();
        let requests = of_kind(&trace).split_off(before);
        (trace, requests)
    }

    /// How many requests were answered so far, all of which are in the trace.
    fn answered(&self) -> usize {
        const LOOKUP: Operation = Operation::Other(1);
        let lookups = |trace: &Trace| {
            let lookups = trace
                .requests
                .iter()
                .filter(|request| request.operation == LOOKUP);
            lookups.count()
        };
        let before = lookups(&self.read());
        let nothing = format!("nothing-{}", fastrand::u64(..));
        fs::symlink_metadata(self.mount.path(&nothing)).expect_err("no such file");
        wait_for("the trace has the last request", || {
            lookups(&self.read()) > before
        });
        self.read().requests.len()
    }

    /// Checks that all was durable when the request was answered, and tells which files were synced from its coming
    /// to its answer. A process that another test starts in between inherits what is open and closes it, which commits
    /// what was written so far: what was synced for that counts as well, and each file once.
    #[track_caller]
    fn durable(&self, operation: Operation, act: impl FnOnce(&Mount)) -> Vec<String> {
        let begun = self.answered();
        let (trace, requests) = self.watch(operation, act);
        let request = trace.at_work(&requests).expect("an answered request");
        if let Err(wrong) = trace.check(request) {
            let kept = std::env::temp_dir().join("lockerfs-wrong-trace.txt");
            let _ = fs::copy(&self.output, &kept);
            panic!("{operation:?}: {wrong}; the trace is in {}", kept.display());
        }
        let commits = trace.requests.iter().skip(begun).filter(|other| {
            other.operation == operation || matches!(other.operation, Operation::Flush | Operation::Fsync)
        });
        let commits: Vec<_> = commits.collect();
        let from = commits.iter().map(|commit| commit.taken).min();
        let to = commits.iter().map(|commit| commit.answered).max();
        let (from, to) = (from.unwrap_or(request.taken), to.unwrap_or(request.answered));
        let mut names = Vec::new();
        for (file, count) in trace.syncs(from, to) {
            let parent = file.parent().and_then(|parent| parent.file_name());
            let name = match file.file_name().and_then(|name| name.to_str()) {
                _ if parent.is_some_and(|parent| parent == "staging") => "staged",
                name => name.unwrap_or_default(),
            };
            names.extend(std::iter::repeat_n(name.to_owned(), count));
        }
        names.sort();
        if commits.len() > 1 {
            names.dedup();
        }
        names
    }
}

/// The bytes, the directory that they are in, the journal: what a new file cannot do without.
const NEW: [&str; 3] = ["staged", "staging", "state.db-wal"];
/// What is changed again has its directory entry already.
const AGAIN: [&str; 2] = ["staged", "state.db-wal"];
const ROW: [&str; 1] = ["state.db-wal"];

#[test]
fn when_close_returns_the_content_and_its_row_are_on_the_disk() {
    let traced = Traced::new(|_| {});
    // The first commit makes the database's log durable, too.
    traced.durable(Operation::Flush, |mount| mount.write("first", b"first"));
    for (name, size) in [("small.bin", 4096), ("large.bin", 5 << 20)] {
        let syncs = traced.durable(Operation::Flush, |mount| mount.write(name, &content(1, size)));
        assert_eq!(syncs, NEW, "syncs for {name}");
    }
    let syncs = traced.durable(Operation::Flush, |mount| {
        let mut file = OpenOptions::new()
            .append(true)
            .open(mount.path("small.bin"))
            .expect("open");
        file.write_all(b"and more").expect("append");
    });
    assert_eq!(syncs, AGAIN, "syncs for a change of what waits");
    let syncs = traced.durable(Operation::Flush, |mount| mount.write("small.bin", b"anew"));
    assert_eq!(
        syncs, NEW,
        "syncs for what is written anew beside the old content"
    );
}

#[test]
fn when_fsync_returns_the_content_and_its_row_are_on_the_disk() {
    let traced = Traced::new(|_| {});
    traced.durable(Operation::Flush, |mount| mount.write("first", b"first"));
    let mut journal = None;
    for (line, expected) in [("one\n", &NEW[..]), ("two\n", &AGAIN[..])] {
        let syncs = traced.durable(Operation::Fsync, |mount| {
            let file = journal.get_or_insert_with(|| File::create(mount.path("journal")).expect("create"));
            file.write_all(line.as_bytes()).expect("write");
            file.sync_all().expect("fsync");
        });
        assert_eq!(syncs, expected, "{line}");
    }
    // Nothing came since, so that there is nothing to do.
    let (trace, requests) = traced.watch(Operation::Flush, |_| drop(journal));
    let last = requests.last().expect("a close");
    assert!(trace.syncs(last.taken, last.answered).is_empty());
}

#[test]
fn when_the_second_close_of_a_file_returns_what_came_since_the_first_is_on_the_disk() {
    let traced = Traced::new(|world| world.put("old.bin", &content(2, 300_000)));
    traced.durable(Operation::Flush, |mount| mount.write("first", b"first"));
    for (name, content_is_new) in [("new.bin", true), ("old.bin", false)] {
        let mut file = OpenOptions::new()
            .write(true)
            .create(content_is_new)
            .truncate(false)
            .open(traced.mount.path(name))
            .expect("open");
        for round in ["one", "two"] {
            traced.durable(Operation::Flush, |_| {
                file.write_all(round.as_bytes()).expect("write");
                // A close of a second descriptor; the file stays open.
                drop(file.try_clone().expect("a second descriptor"));
            });
        }
    }
}

#[test]
fn when_the_rename_of_a_waiting_file_returns_its_row_is_on_the_disk() {
    let traced = Traced::new(|_| {});
    traced.mount.write("download.part", b"content");
    let rename = |mount: &Mount| {
        fs::rename(mount.path("download.part"), mount.path("download")).expect("rename");
    };
    assert_eq!(traced.durable(Operation::Rename, rename), ROW);
    traced.mount.write("newer.part", b"newer");
    let replace = |mount: &Mount| {
        fs::rename(mount.path("newer.part"), mount.path("download")).expect("rename");
    };
    assert_eq!(traced.durable(Operation::Rename, replace), ROW);
    assert_eq!(traced.mount.read("download"), b"newer");
}

#[test]
fn when_unlink_returns_its_row_is_on_the_disk_before_any_content_goes() {
    let traced = Traced::new(|world| world.put("stored.bin", b"stored"));
    traced.mount.write("waits.bin", b"waits");
    for name in ["waits.bin", "stored.bin"] {
        let unlink = |mount: &Mount| fs::remove_file(mount.path(name)).expect("unlink");
        assert_eq!(traced.durable(Operation::Unlink, unlink), ROW, "{name}");
    }
}
