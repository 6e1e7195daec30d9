//! Secrets stand nowhere but where their owner put them: in no log, no process list, no state, no answer, no crash.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lockerfs::sandbox::Account;
use serde_json::json;

use crate::bus::Bus;
use crate::home::{Home, wait_for};
use crate::service::Service;

/// Part of each secret, in the form in which it would be sent and printed.
const MARK: &str = "SeCrEt0";

/// A text of `length` characters with the mark in it, for which one may look in any form of text.
fn secret(what: &str, length: usize) -> String {
    let text = format!("{MARK}{what}");
    format!("{text}{}", "x".repeat(length.saturating_sub(text.len())))
}

fn accounts() -> Vec<Account> {
    vec![
        Account {
            password: secret("password", 20),
            ..Account::mediafire("media")
        },
        Account {
            email: "token@example.com".to_owned(),
            password: secret("nobody", 20),
            ..Account::mediafire("token")
        },
        Account {
            key1: secret("key1", 64),
            key2: secret("key2", 64),
            ..Account::yetishare("cloud")
        },
        Account {
            username: "someone".to_owned(),
            password: secret("other", 20),
            ..Account::yetishare("named")
        },
        Account {
            api_key: secret("apikey", 32),
            api_token: secret("apitoken", 32),
            ..Account::mirrorace("ace")
        },
        Account {
            api_key: secret("tokey", 32),
            ..Account::mirrored_to("to")
        },
    ]
}

/// Where a mark was found.
#[derive(Clone)]
struct Search {
    /// The mark, and what a service makes up.
    marks: Vec<String>,
    looked_at: usize,
    found: Vec<String>,
}

impl Search {
    fn new(token: &str) -> Self {
        Search {
            marks: vec![MARK.to_owned(), token.to_owned()],
            looked_at: 0,
            found: Vec::new(),
        }
    }

    fn look(&mut self, place: &str, bytes: &[u8]) {
        self.looked_at += bytes.len();
        for mark in &self.marks {
            let mut parts = bytes.windows(mark.len());
            if let Some(at) = parts.position(|part| part == mark.as_bytes()) {
                let around = &bytes[at.saturating_sub(60)..(at + 40).min(bytes.len())];
                self.found
                    .push(format!("{place}: ...{}...", String::from_utf8_lossy(around)));
            }
        }
    }

    fn look_below(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.look_below(&path);
            } else if path.is_file() {
                self.look(&path.display().to_string(), &fs::read(&path).unwrap());
            }
        }
    }

    #[track_caller]
    fn end(&self, least: usize) {
        assert!(self.found.is_empty(), "{:#?}", self.found);
        assert!(
            self.looked_at >= least,
            "only {} bytes were looked at",
            self.looked_at
        );
    }
}

/// Looks at the command lines and variables of all processes, as `ps` shows them, again and again.
struct Watch {
    ends: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(Search, bool)>,
}

impl Watch {
    fn begin(home: &Home, mut search: Search) -> Self {
        let (ends, place) = (Arc::new(AtomicBool::new(false)), home.path(""));
        let until = ends.clone();
        let thread = std::thread::spawn(move || {
            let mut saw_ours = false;
            while !until.load(Ordering::Relaxed) {
                saw_ours |= look_at_processes(&mut search, &place);
                std::thread::sleep(Duration::from_millis(2));
            }
            (search, saw_ours)
        });
        Watch { ends, thread }
    }

    fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        let (search, saw_ours) = self.thread.join().unwrap();
        assert!(saw_ours, "no process of the test was seen");
        search.end(1000);
    }
}

/// Whether a process of this test was among them.
fn look_at_processes(search: &mut Search, home: &Path) -> bool {
    let mut saw_ours = false;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let is_process = entry.file_name().to_string_lossy().parse::<u32>().is_ok();
        if !is_process || entry.file_name() == std::process::id().to_string().as_str() {
            continue;
        }
        // A process may have ended since.
        let Ok(line) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let home = home.to_str().unwrap().as_bytes();
        if line.windows(home.len()).any(|part| part == home) {
            saw_ours = true;
            let variables = fs::read(entry.path().join("environ")).unwrap_or_default();
            search.look("environ", &variables);
            search.look("cmdline", &line);
        }
    }
    saw_ours
}

/// Adds all accounts, with their secrets in all the places where they may be.
fn add_all(home: &Home, service: &Service, bus: &Bus, token: &str, variables: &[(&str, &str)]) {
    let address = bus.address();
    let variables = [variables, &[("DBUS_SESSION_BUS_ADDRESS", address.as_str())]].concat();
    let vault = home.path("vault");
    fs::write(&vault, secret("key2", 64)).unwrap();
    fs::set_permissions(&vault, fs::Permissions::from_mode(0o600)).unwrap();
    let command = format!("cat {}", vault.display());
    let all: [(&[&str], Vec<String>); 6] = [
        (
            &["token", "--kind", "mediafire", "--session-token"],
            vec![token.to_owned()],
        ),
        (
            &["media", "--kind", "mediafire", "--email", "demo@example.com"],
            vec![secret("password", 20)],
        ),
        (
            &[
                "cloud",
                "--kind",
                "1cloudfile",
                "--store",
                "file",
                "--key2-command",
                &command,
            ],
            vec![secret("key1", 64)],
        ),
        (
            &["named", "--kind", "yetishare", "--username", "someone"],
            vec![secret("other", 20)],
        ),
        (
            &["ace", "--kind", "mirrorace", "--file-password"],
            vec![
                secret("apikey", 32),
                secret("apitoken", 32),
                secret("filepassword", 20),
            ],
        ),
        (
            &[
                "to",
                "--kind",
                "mirrored_to",
                "--file-password",
                "--store",
                "file",
            ],
            vec![secret("tokey", 32), secret("visitors", 20)],
        ),
    ];
    for (args, secrets) in all {
        let url = service.url(args[0]);
        let args = [&["account", "add", "-vv"], args, &["--base-url", &url]].concat();
        let wrong = vec![format!("{MARK}wrong"); secrets.len()].join("\n");
        let mut search = Search::new(token);
        for (input, status) in [(wrong, 1), (secrets.join("\n"), 0)] {
            let ran = home.run_with(&args, &input, &variables);
            // Keys of another length than 64 are refused as well.
            assert_eq!(ran.status, status, "{args:?}: {}", ran.err);
            search.look("what add printed", ran.out.as_bytes());
            search.look("what add said", ran.err.as_bytes());
        }
        search.end(100);
    }
}

#[test]
fn no_secret_shows_in_logs_processes_state_answers_or_a_crash() {
    let service = Service::start(accounts());
    let home = Home::with("upload_delay = \"0s\"\nstop_timeout = \"1s\"\n");
    let bus = Bus::with_keyring();
    let token = service.session_token("token@example.com", &secret("nobody", 20));
    let address = bus.address();
    let log = home.path("log");
    let log_file = ["--log-file", log.to_str().unwrap(), "-vv"];
    let variables = [
        ("LOCKERFS_LOG", "trace"),
        ("DBUS_SESSION_BUS_ADDRESS", address.as_str()),
        ("RUST_BACKTRACE", "full"),
    ];
    let run = |args: &[&str], input: &str| home.run_with(&[args, &log_file[..]].concat(), input, &variables);
    let watch = Watch::begin(&home, Search::new(&token));
    add_all(&home, &service, &bus, &token, &variables[..1]);
    assert!(bus.entries() >= 5);

    let mut search = Search::new(&token);
    let mut told = |what: &str, ran: crate::home::Ran| {
        search.look(&format!("what {what} printed"), ran.out.as_bytes());
        search.look(&format!("what {what} said"), ran.err.as_bytes());
        ran.status
    };
    assert_eq!(told("check", run(&["account", "check"], "")), 0);
    assert_eq!(told("list", run(&["account", "list", "--json"], "")), 0);
    assert_eq!(told("mount", run(&["mount", "--daemon", "mount"], "")), 0);
    let mount = home.mounted();
    for account in ["media", "token", "cloud", "named", "ace", "to"] {
        let file = mount.path(&format!("{account}/file.txt"));
        fs::write(&file, account).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), account);
    }
    assert_eq!(told("drain", run(&["drain"], "")), 0);
    fs::remove_file(mount.path("media/file.txt")).unwrap();
    service.change_login(&json!({ "account": "media", "password": secret("changed", 20) }));
    service.change_login(&json!({ "account": "cloud", "key1": secret("newkey1", 64) }));
    for account in ["media", "cloud"] {
        fs::write(mount.path(&format!("{account}/waits.txt")), "waits").unwrap();
    }
    wait_for("both wait for the login", || {
        let pending = mount.status()["pending"].as_array().unwrap().clone();
        pending.iter().filter(|item| item["error"].is_string()).count() >= 2
    });
    told("status", run(&["status", "--json"], ""));
    told("status", run(&["status"], ""));
    assert_eq!(told("queue", run(&["queue", "list", "--json"], "")), 0);
    assert_eq!(told("login", run(&["login", "media"], &secret("wrong", 20))), 1);
    for request in [
        json!({ "request": "status" }),
        json!({ "request": "log_in", "account": "media" }),
        json!({ "request": "log_in", "account": "nobody" }),
        json!({ "request": "find", "choice": { "account": null, "items": [] } }),
        json!({ "request": "secrets" }),
    ] {
        search.look("what the socket answered", &ask(&home, &request.to_string()));
    }
    let mut told = |what: &str, ran: crate::home::Ran| {
        search.look(&format!("what {what} printed"), ran.out.as_bytes());
        search.look(&format!("what {what} said"), ran.err.as_bytes());
        ran.status
    };
    assert_eq!(told("login", run(&["login", "media"], &secret("changed", 20))), 0);
    told("doctor", run(&["doctor"], ""));
    assert_eq!(
        told(
            "drain",
            run(&["queue", "cancel", "--account", "cloud", "--all", "--yes"], "")
        ),
        0
    );
    mount.unmount();
    watch.end();

    search.look("the crash message", crash(&home, &variables).as_bytes());
    search.look_below(&home.path("state"));
    search.look_below(&home.path("cache"));
    search.look_below(&home.path("run"));
    let logged = fs::read(&log).unwrap();
    let level = String::from_utf8_lossy(&logged);
    assert!(level.contains("DEBUG"), "the log tells little: {level}");
    search.look("the log", &logged);
    search.end(20_000);
    assert_secrets_are_at_home(&home, &token);
}

/// What the socket of the mount answers to a line.
fn ask(home: &Home, request: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(home.path("state/control.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(!answer.is_empty(), "{request}");
    answer
}

/// What a crash says, of a command that holds the secrets of the config: it gets no thread, since none may have so large
/// a stack.
fn crash(home: &Home, variables: &[(&str, &str)]) -> String {
    let too_large = (1_u64 << 47).to_string();
    let crashed = home
        .command(&["login", "cloud", "-vv"])
        .envs(variables.iter().copied())
        .env("RUST_MIN_STACK", too_large)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(crashed.stderr).unwrap();
    assert!(
        said.contains("panicked at") && said.contains("stack backtrace"),
        "it did not crash: {said}"
    );
    said
}

/// What has to hold them does, so that the search would have found them.
fn assert_secrets_are_at_home(home: &Home, token: &str) {
    let mut search = Search::new(token);
    for name in ["cloud.key1", "vault", "to.api_key", "to.password"] {
        search.look(name, &fs::read(home.path(name)).unwrap());
    }
    assert_eq!(search.found.len(), 4, "{:?}", search.found);
    search = Search::new(token);
    search.look("config", &fs::read(home.config()).unwrap());
    search.end(100);
    let modes: Vec<(PathBuf, u32)> = home
        .snapshot()
        .into_iter()
        .map(|(path, (mode, _))| (path, mode))
        .collect();
    assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}
