//! A service that means harm: each thing that it can answer ends in an errno, in time and in little memory; nothing is
//! written where it does not belong, no secret goes elsewhere, and the mount serves on.

#[path = "hostile/host.rs"]
mod host;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::suite::harness::{Mount, World, wait_for};
use host::{Act, Host, TOKEN, whole};

/// How long an operation may take: the deadline of the config, and what the system around it takes.
const LONGEST: Duration = Duration::from_secs(40);
/// Bytes of memory that no answer may make a mount take.
const MOST_MEMORY: u64 = 400 << 20;

const GOOD: &str = r#"{"quickkey":"good","filename":"good.txt","size":"4","revision":"1"}"#;

fn mounted(host: &Host) -> (World, Mount) {
    let world = World::new();
    world.write_config(&host.config());
    let mount = world.mount();
    (world, mount)
}

/// A host with a file of four bytes, which a host of files serves, and the mount.
fn with_a_file() -> (Host, Host, World, Mount) {
    let (host, files) = (Host::start(), Host::start());
    host.files(GOOD);
    host.link("good", format!("http://{}/good", files.address));
    let (world, mount) = mounted(&host);
    assert_eq!(mount.list(""), ["good.txt"]);
    (host, files, world, mount)
}

fn peak_memory(mount: &Mount) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", mount.pid())).expect("the kernel's word");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

#[track_caller]
fn fails_in_time<T>(what: &str, work: impl FnOnce() -> std::io::Result<T>) -> i32 {
    let began = Instant::now();
    let error = match work() {
        Ok(_) => panic!("{what}: it succeeded"),
        Err(error) => error.raw_os_error().expect("an errno"),
    };
    println!("{what}: errno {error} after {:?}", began.elapsed());
    assert!(began.elapsed() < LONGEST, "{what}: {:?}", began.elapsed());
    assert_ne!(error, libc::ENOENT, "{what}: it reads as if nothing were there");
    error
}

/// A service that answers is not away, whatever it answers.
#[track_caller]
fn fails_as_told<T>(what: &str, work: impl FnOnce() -> std::io::Result<T>) {
    let error = fails_in_time(what, work);
    assert!(
        matches!(error, libc::EIO | libc::ETIMEDOUT),
        "{what}: errno {error}"
    );
}

fn packed(mebibytes: usize) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..mebibytes {
        packed.write_all(&vec![b' '; 1 << 20]).expect("room");
    }
    packed.finish().expect("room")
}

fn listed(mount: &Mount) -> std::io::Result<Vec<fs::DirEntry>> {
    fs::read_dir(mount.path(""))?.collect()
}

#[track_caller]
fn assert_no_harm(mount: &Mount, what: &str) {
    let peak = peak_memory(mount);
    println!("{what}: {} MiB at most", peak >> 20);
    assert!(peak < MOST_MEMORY, "{what}: {peak} bytes of memory");
    let log = mount.log();
    assert!(!log.contains("panicked"), "{what}: {log}");
    assert!(!log.contains(TOKEN), "{what}: the log tells the token");
}

#[test]
fn an_answer_without_end_of_great_depth_or_size_is_an_error_in_time_and_little_memory() {
    const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
    let file = |n: usize| format!(r#"{{"quickkey":"k{n}","filename":"{n}","size":"1"}},"#);
    let million: String = (0..1_000_000).map(file).collect();
    let million =
        format!(r#"{{"response":{{"result":"Success","folder_content":{{"files":[{million}0]}}}}}}"#);
    let swelling = format!(
        r#"{{"response":{{"result":"Success","x":[{}0]}}}}"#,
        r#"{"a":0},"#.repeat(3_900_000)
    );
    // Of a size that may be read, and as large as it may become.
    let short_files = |count| {
        let file = r#"{"quickkey":"k","filename":"n","size":"1","hash":"","flag":""},"#;
        let files = file.repeat(count);
        Act::json(format!(
            r#"{{"response":{{"result":"Success","folder_content":{{"files":[{files}0]}}}}}}"#
        ))
    };
    let headers = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n{{}}", "x".repeat(10 << 20));
    let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n{{}}", "x-many: x\r\n".repeat(1 << 20));
    let acts = [
        ("a body without end", Act::Endless(JSON, vec![b' '; 64 << 10])),
        (
            "objects without end",
            Act::Endless(JSON, r#"{"response":"#.repeat(1000).into_bytes()),
        ),
        ("a deep answer", Act::json("[".repeat(10 << 20))),
        ("a million entries", Act::json(million)),
        ("an answer that swells", Act::json(swelling.clone())),
        (
            "a shorter answer that swells",
            Act::json(swelling.replacen(&r#"{"a":0},"#.repeat(2_000_000), "", 1)),
        ),
        ("short files", short_files(60_000)),
        ("many short files", short_files(250_000)),
        (
            "a packed answer",
            Act::Raw(whole("content-encoding: gzip", &packed(1000))),
        ),
        ("a header of 10 MB", Act::Raw(headers.into_bytes())),
        ("a million headers", Act::Raw(many_headers.into_bytes())),
        (
            "headers without end",
            Act::Endless("HTTP/1.1 200 OK\r\n", b"x-more: x\r\n".repeat(1000)),
        ),
        ("a byte a second", Act::Drip(JSON)),
        ("nothing", Act::Silence),
        (
            "a redirect to itself",
            Act::redirect("/api/1.5/folder/get_content.php"),
        ),
    ];
    for (what, act) in acts {
        let host = Host::start();
        host.files(GOOD);
        host.act("folder/get_content.php", Some(act));
        let (_world, mount) = mounted(&host);
        fails_as_told(what, || listed(&mount));
        assert_no_harm(&mount, what);
        host.act("folder/get_content.php", None);
        wait_for("the mount serves on", || {
            listed(&mount).is_ok_and(|entries| entries.len() == 1)
        });
    }
}

#[test]
fn a_listing_that_never_ends_is_given_up() {
    let host = Host::start();
    host.files(GOOD);
    // The same again and again, with another chunk announced each time.
    let again = format!(
        r#"{{"response":{{"result":"Success","folder_content":{{"more_chunks":"yes","files":[{GOOD}]}}}}}}"#
    );
    let (_world, mount) = mounted(&host);
    host.act("folder/get_content.php", Some(Act::json(again)));
    fails_as_told("chunks without end", || listed(&mount));
    assert_no_harm(&mount, "chunks without end");
}

#[test]
fn names_ids_and_sizes_that_make_no_sense_reach_neither_the_disk_nor_a_program() {
    let host = Host::start();
    let long = "n".repeat(10 << 20);
    let entry = |key: &str, name: &str, size: &str| {
        format!(r#"{{"quickkey":"{key}","filename":"{name}","size":{size}}}"#)
    };
    let escaping = r"../../escaped";
    host.files(
        &[
            GOOD.to_owned(),
            entry("a", escaping, "4"),
            entry("../../escaped", "twin.txt", "4"),
            entry("../../../escaped", "twin.txt", "4"),
            entry("c", "..", "4"),
            entry("d", ".", "4"),
            entry("e", "", "4"),
            entry("f", r"nul\u0000l", "4"),
            entry("g", r"\u001b[2Jcontrol\n", "4"),
            entry("h", &long, "4"),
            entry("i", &"日".repeat(1000), "4"),
            entry("j", "endless", "1e308"),
            entry("k", "negative", "-1"),
            entry("l", "beyond", "\"18446744073709551616\""),
            entry("m", "signed", "\"9223372036854775808\""),
            entry("n", "largest", "\"9223372036854775807\""),
        ]
        .join(","),
    );
    let (world, mount) = mounted(&host);
    let before = outside(world.folder());
    let names = mount.list("");
    println!("{names:?}");
    for name in &names {
        assert!(
            !name.contains(['/', '\0']) && !matches!(name.as_str(), "" | "." | ".."),
            "{name:?}"
        );
        assert!(name.len() <= 1024, "{} bytes", name.len());
        let meta = fs::symlink_metadata(mount.path(name)).unwrap_or_else(|e| panic!("{name:?}: {e}"));
        assert!(i64::try_from(meta.len()).is_ok(), "{name}: {} bytes", meta.len());
        // Whatever comes of it, an attribute, a byte and a copy are asked for.
        let _ = mount.xattr(name, "id");
        let _ =
            fs::File::open(mount.path(name)).and_then(|mut file| std::io::Read::read(&mut file, &mut [0; 8]));
    }
    for gone in ["endless", "negative", "beyond", "signed"] {
        assert!(
            !names.iter().any(|name| name == gone),
            "{gone} has a size that none can have"
        );
    }
    for shown in [
        "good.txt",
        "largest",
        "twin.txt",
        "．．／．．／escaped",
        "．．",
        "．",
    ] {
        assert!(
            names
                .iter()
                .any(|name| name == shown || name == &shown.replace('．', ".")),
            "{shown}: {names:?}"
        );
    }
    assert_eq!(outside(world.folder()), before, "something was written elsewhere");
    assert_no_harm(&mount, "names");
    assert!(
        !mount.log().contains("\u{1b}[2J"),
        "the log holds what commands a terminal"
    );
}

/// All that is below a folder and in the one above it, but for what belongs to lockerfs there.
fn outside(folder: &Path) -> BTreeSet<PathBuf> {
    let own = ["state-1", "cache-1", "mount-1", "log-1.txt", "run"];
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).expect("a folder").flatten() {
            let is_own = own.iter().any(|own| folder.join(own) == entry.path());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !is_own {
                open.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    let above = folder.parent().expect("a folder above");
    let names = fs::read_dir(above)
        .expect("a folder")
        .flatten()
        .map(|entry| entry.path());
    found.extend(names.filter(|path| path.to_string_lossy().contains("escaped")));
    found
}

#[test]
fn a_link_to_another_place_takes_no_secret_along_and_one_that_is_none_is_refused() {
    let (host, files, _world, mount) = with_a_file();
    let other = Host::start();
    other.act("/elsewhere", Some(Act::Raw(whole("set-cookie: a=b", b"data"))));
    let to_other = format!("http://{}/elsewhere", other.address);
    let with_login = format!("http://me:{TOKEN}@{}/good", files.address);
    files.act("/good", Some(Act::redirect(&to_other)));
    host.link("good", with_login);
    assert_eq!(mount.read("good.txt"), b"data");
    for asked in other.requests().into_iter().chain(files.requests()) {
        let head = asked.to_lowercase();
        for header in ["cookie:", "authorization:", "referer:", "origin:"] {
            assert!(!head.contains(header), "{asked}");
        }
        assert!(!asked.contains(TOKEN) && !head.contains("token"), "{asked}");
    }
    assert_eq!(other.requests().len(), 1);

    // A call is not sent on at all: it would take the token along.
    let calls = other.requests().len();
    for to in [to_other.as_str(), "http://distant.example/", "file:///etc/passwd"] {
        host.act("folder/get_content.php", Some(Act::redirect(to)));
        host.act("file/get_links.php", Some(Act::redirect(to)));
        let _ = mount.xattr("good.txt", "url");
        let _ = listed(&mount);
    }
    assert_eq!(other.requests().len(), calls);
    assert_no_harm(&mount, "links");
}

#[test]
fn data_from_a_link_that_means_harm_is_an_error_in_time_and_never_content() {
    const DATA: &str = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-3/4\r\n\r\n";
    let acts = [
        (
            "a body without end",
            Some(Act::Endless("HTTP/1.1 200 OK\r\n\r\n", vec![7; 64 << 10])),
        ),
        (
            "headers without end",
            Some(Act::Endless("HTTP/1.1 200 OK\r\n", b"x-more: x\r\n".repeat(1000))),
        ),
        (
            "a header of 10 MB",
            Some(Act::Endless("HTTP/1.1 200 OK\r\nx: ", vec![b'x'; 10 << 20])),
        ),
        ("redirects without end", Some(Act::redirect("/good"))),
        ("a redirect to a file", Some(Act::redirect("file:///etc/passwd"))),
        (
            "a redirect to plain http",
            Some(Act::redirect("http://distant.example/good")),
        ),
        (
            "a packed body",
            Some(Act::Raw(whole("content-encoding: gzip", &packed(100)))),
        ),
        (
            "another part",
            Some(Act::Raw(
                b"HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 4-7/8\r\n\r\ndata".to_vec(),
            )),
        ),
        ("silence", Some(Act::Silence)),
        (
            "a byte a second in the head",
            Some(Act::Drip("HTTP/1.1 200 OK\r\n")),
        ),
        ("too little", Some(Act::Raw(format!("{DATA}da").into_bytes()))),
    ];
    let (host, files, _world, mount) = with_a_file();
    for (what, act) in acts {
        files.act("/good", act);
        fails_as_told(what, || fs::read(mount.path("good.txt")));
        assert_no_harm(&mount, what);
        assert_eq!(mount.list(""), ["good.txt"], "{what}: the mount serves on");
    }
    files.act("/good", Some(Act::Raw(whole("x-more: x", b"data"))));
    for link in [
        "file:///etc/passwd",
        "javascript:alert(1)",
        "ftp://127.0.0.1/x",
        "http://distant.example/x",
        "//",
        "",
    ] {
        host.link("good", link.to_owned());
        let (_world, mount) = mounted(&host);
        fails_in_time(link, || fs::read(mount.path("good.txt")));
    }
    host.link("good", format!("http://{}/good", files.address));
    wait_for("it is read in the end", || {
        fs::read(mount.path("good.txt")).is_ok_and(|got| got == b"data")
    });
}

#[test]
fn a_file_that_drips_ends_in_time_for_each_program_and_holds_nobody_else_up() {
    let (host, files) = (Host::start(), Host::start());
    host.link("good", format!("http://{}/good", files.address));
    host.files(&format!(
        r#"{GOOD},{{"quickkey":"slow","filename":"slow.bin","size":"1000000","revision":"1"}}"#
    ));
    host.link("slow", format!("http://{}/slow", files.address));
    files.act(
        "/slow",
        Some(Act::Drip("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")),
    );
    files.act("/good", Some(Act::Raw(whole("x: y", b"data"))));
    let (_world, mount) = mounted(&host);
    assert_eq!(mount.list("").len(), 2);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| fails_in_time("a byte a second", || fs::read(mount.path("slow.bin"))));
        wait_for("the other is read meanwhile", || {
            fs::read(mount.path("good.txt")).is_ok_and(|got| got == b"data")
        });
        slow.join().expect("it ends with an error");
    });
    assert_no_harm(&mount, "a file that drips");
}

/// Whatever the mask of who starts it.
#[test]
fn nobody_else_can_read_what_a_mount_keeps() {
    let (host, files) = (Host::start(), Host::start());
    host.files(GOOD);
    host.link("good", format!("http://{}/good", files.address));
    files.act("/good", Some(Act::Raw(whole("x-more: x", b"data"))));
    let world = World::new();
    world.write_config(&host.config());
    let place = world.place();
    let mount = Mount::start_under(
        &["sh", "-c", "umask 0; exec \"$@\"", "sh"],
        &world.config(),
        &place,
    );
    assert_eq!(mount.read("good.txt"), b"data");
    mount.write("waiting.txt", b"not uploaded yet");
    let kept = [&place.state, &place.cache];
    for folder in kept {
        let own = fs::metadata(folder).expect("its folder");
        assert_eq!(own.mode() & 0o777, 0o700, "{}", folder.display());
        for path in below(folder) {
            let found = fs::symlink_metadata(&path).expect("what was found");
            let others = found.mode() & 0o077;
            assert!(
                found.is_symlink() || others == 0,
                "{}: {others:o}",
                path.display()
            );
        }
    }
    let all: usize = kept.map(|folder| below(folder).len()).iter().sum();
    assert!(all > 5, "{all} files and folders: the test looks elsewhere");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the kernel's word");
    let own = place.mount_point.to_string_lossy().into_owned();
    let own = mounts
        .lines()
        .find(|line| line.contains(&own))
        .expect("the mount");
    assert!(!own.contains("allow_other"), "{own}");
    for option in ["nosuid", "nodev"] {
        assert!(own.contains(option), "{own}");
    }
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).expect("a folder").flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}
