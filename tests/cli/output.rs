//! Where standard output or standard error takes nothing, commands end as other programs do, and none panics.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Output, Stdio};

use crate::home::{Home, wait_for};
use crate::terminal::Terminal;
use crate::world::{MEDIA, World};

const CONFIG: &str =
    "[accounts.media]\nkind = \"mediafire\"\nemail = \"me@example.org\"\npassword = \"hunter2\"\n";

/// What needs no service.
const COMMANDS: [&[&str]; 13] = [
    &["status"],
    &["status", "--json"],
    &["status", "--all", "--watch"],
    &["queue", "list"],
    &["queue", "list", "--json"],
    &["account", "list"],
    &["account", "list", "--json"],
    &["completions", "bash"],
    &["man"],
    &["--help"],
    &["--version"],
    &["help", "mount"],
    &["sandbox", "--data", "sandbox", "--port", "0"],
];

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

/// A pipe that nobody reads from any more.
fn broken_pipe() -> Stdio {
    let mut ends = [-1; 2];
    // SAFETY: there is room for both descriptors, which are ours then.
    let [reader, writer] = unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        ends.map(|end| OwnedFd::from_raw_fd(end))
    };
    drop(reader);
    writer.into()
}

fn run(home: &Home, args: &[&str], out: Stdio, err: Stdio) -> Output {
    let mut command = home.command(args);
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    command.spawn().unwrap().wait_with_output().unwrap()
}

#[track_caller]
fn fails_at_a_full_disk(home: &Home, args: &[&str]) {
    let ran = run(home, args, full().into(), Stdio::piped());
    let err = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{args:?}: {err}");
    let begins = "lockerfs: cannot write to standard output: No space left on device";
    assert!(err.starts_with(begins), "{args:?}: {err}");
    assert_eq!(err.lines().count(), 1, "{args:?}: {err}");
}

#[track_caller]
fn ends_with_the_pipe(home: &Home, args: &[&str]) {
    let ran = run(home, args, broken_pipe(), Stdio::piped());
    let err = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(
        ran.status.signal(),
        Some(libc::SIGPIPE),
        "{args:?}: {ran:?}",
        ran = ran.status
    );
    assert_eq!(err, "", "{args:?}");
}

#[test]
fn a_full_disk_is_one_sentence_and_status_1() {
    let home = Home::with(CONFIG);
    for args in COMMANDS {
        fails_at_a_full_disk(&home, args);
    }
}

#[test]
fn a_broken_pipe_ends_a_command_quietly() {
    let home = Home::with(CONFIG);
    let (_serves, commands) = COMMANDS.split_last().unwrap();
    for args in commands {
        ends_with_the_pipe(&home, args);
    }
}

#[test]
fn what_services_told_is_no_less_careful_than_what_is_known_here() {
    let world = World::new();
    let id = world.put(MEDIA, "file.txt", "text");
    for args in [
        &["recent", MEDIA][..],
        &["recent", MEDIA, "--json"],
        &["trash", "list", MEDIA],
        &["info", "media:file.txt"],
        &["versions", "media:file.txt"],
        &["link", "media:file.txt"],
        &["link", "--json", "media:file.txt"],
        &["account", "check", MEDIA],
        &["privacy", "media:file.txt", "private"],
        &["doctor", "--json"],
    ] {
        fails_at_a_full_disk(&world.home, args);
        ends_with_the_pipe(&world.home, args);
    }
    // What could not be told was done all the same.
    assert_eq!(world.file(MEDIA, &id)["private"], true);
}

#[test]
fn a_failure_that_cannot_be_told_is_a_failure_still() {
    let home = Home::empty();
    for (args, status) in [
        (&["account", "list"][..], 1),
        (&["fly"], 2),
        (&["status", "--no"], 2),
    ] {
        let ran = run(&home, args, Stdio::piped(), full().into());
        assert_eq!(ran.status.code(), Some(status), "{args:?}: {ran:?}");
        let ran = run(&home, args, Stdio::piped(), broken_pipe());
        let code = ran.status.code();
        assert!(
            code == Some(status) || ran.status.signal() == Some(libc::SIGPIPE),
            "{args:?}: {ran:?}"
        );
    }
}

#[test]
fn what_serves_outlives_whoever_read_its_output() {
    let home = Home::empty();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut command = home.command(&[
        "sandbox",
        "--data",
        "sandbox",
        "--log",
        "--port",
        &port.to_string(),
    ]);
    command
        .stdin(Stdio::null())
        .stdout(broken_pipe())
        .stderr(broken_pipe());
    let mut child = command.spawn().unwrap();
    wait_for("the sandbox serves", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    // SAFETY: nobody has waited for the child, so its id is its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// What a mount of an account whose service is away logs at its beginning, at a terminal.
fn logged_at_a_terminal(home: &Home, no_colour: Option<&str>) -> String {
    let mut command = home.command(&["-v", "mount", "mount"]);
    command.env_remove("NO_COLOR");
    command.envs(no_colour.map(|value| ("NO_COLOR", value)));
    let mut terminal = Terminal::run(command);
    terminal.wait_for("Mounted at");
    terminal.interrupt();
    let (status, shown) = terminal.end();
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains("INFO"), "{shown}");
    shown
}

#[test]
fn the_log_has_colours_on_a_terminal_alone_and_not_for_who_wants_none() {
    let home = Home::with(&CONFIG.replace("email", "base_url = \"http://127.0.0.1:9/\"\nemail"));
    assert!(logged_at_a_terminal(&home, None).contains("\x1b["));
    assert!(logged_at_a_terminal(&home, Some("")).contains("\x1b["));
    let plain = logged_at_a_terminal(&home, Some("1"));
    assert!(!plain.contains('\x1b'), "{plain}");

    let log = File::create(home.path("log")).unwrap();
    let mut command = home.command(&["-v", "mount", "mount"]);
    command.env_remove("NO_COLOR").stdin(Stdio::null()).stderr(log);
    let mut child = command.spawn().unwrap();
    let logged = || std::fs::read_to_string(home.path("log")).unwrap();
    wait_for("it is mounted", || logged().contains("Mounted at"));
    // SAFETY: nobody has waited for the child, so its id is its own.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let logged = logged();
    assert!(logged.contains("INFO") && !logged.contains('\x1b'), "{logged}");
}
