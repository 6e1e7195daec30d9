//! A sandbox with an account of each sort of service, and the built program with a config for them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use lockerfs::http::{ApiClient, ApiOptions};
use lockerfs::sandbox::{Account, Options, Sandbox};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::home::{Home, Ran};

/// The accounts: MediaFire, a YetiShare host, and both services that publish only.
pub const MEDIA: &str = "media";
pub const CLOUD: &str = "cloud";
pub const MIRROR: &str = "mirror";
pub const MIRRORED: &str = "mirrored";
const ACCOUNTS: [&str; 4] = [MEDIA, CLOUD, MIRROR, MIRRORED];

/// Runs its arguments after the first at a terminal, types the first when it is asked for, and says what was shown.
const AT_A_TERMINAL: &str = "
import os, pty, sys
typed = sys.argv[1].encode() + b'\\n'
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown = b''
while True:
    try:
        some = os.read(terminal, 4096)
    except OSError:
        break
    if not some:
        break
    shown += some
    if typed and b'[y/N]' in shown:
        os.write(terminal, typed)
        typed = b''
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(status))
";

pub struct World {
    pub home: Home,
    runtime: Runtime,
    address: SocketAddr,
    http: reqwest::Client,
    sandbox: Option<Sandbox>,
    _data: TempDir,
}

impl World {
    pub fn new() -> Self {
        World::with(|_| {})
    }

    pub fn with(adjust: impl FnOnce(&mut Options)) -> Self {
        // It installs the TLS that reqwest wants.
        ApiClient::new(ApiOptions::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let data = TempDir::new().unwrap();
        let mut options = Options::new(data.path());
        options.accounts = vec![
            Account::mediafire(MEDIA),
            Account::yetishare(CLOUD),
            Account::mirrorace(MIRROR),
            Account::mirrored_to(MIRRORED),
        ];
        options.quirks.processing = std::time::Duration::from_millis(20);
        adjust(&mut options);
        let accounts = options.accounts.clone();
        let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
        let mut config = "upload_delay = \"50ms\"\npoll_interval = \"1h\"\n".to_owned();
        for account in &accounts {
            let url = sandbox.base_url(&account.name);
            let (kind, login) = match account.name.as_str() {
                MEDIA => (
                    "mediafire",
                    format!(
                        "email = \"{}\"\npassword = \"{}\"",
                        account.email, account.password
                    ),
                ),
                CLOUD => (
                    "yetishare",
                    format!("key1 = \"{}\"\nkey2 = \"{}\"", account.key1, account.key2),
                ),
                MIRROR => (
                    "mirrorace",
                    format!(
                        "api_key = \"{}\"\napi_token = \"{}\"",
                        account.api_key, account.api_token
                    ),
                ),
                _ => ("mirrored_to", format!("api_key = \"{}\"", account.api_key)),
            };
            config += &format!(
                "\n[accounts.{}]\nkind = \"{kind}\"\nbase_url = \"{url}\"\n{login}\n",
                account.name
            );
        }
        World {
            home: Home::with(&config),
            address: sandbox.address(),
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .unwrap(),
            sandbox: Some(sandbox),
            runtime,
            _data: data,
        }
    }

    fn page(&self, page: &str) -> String {
        format!("http://{}/sandbox/{page}", self.address)
    }

    fn get(&self, page: &str) -> Value {
        let (_, text) = self.fetch(&self.page(page));
        serde_json::from_slice(&text).unwrap()
    }

    fn post(&self, page: &str, body: &Value) -> Value {
        let (url, body) = (self.page(page), body.to_string());
        self.runtime.block_on(async {
            let answer = self.http.post(url).body(body.clone()).send().await.unwrap();
            let (status, text) = (answer.status(), answer.text().await.unwrap());
            assert!(status.is_success(), "{page} {body}: {status} {text}");
            serde_json::from_str(&text).unwrap()
        })
    }

    /// Status and body of an address, as anybody gets them.
    pub fn fetch(&self, url: &str) -> (u16, Vec<u8>) {
        self.runtime.block_on(async {
            let answer = self.http.get(url).send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.bytes().await.unwrap().to_vec())
        })
    }

    /// Makes or changes a file behind all clients' backs; its id.
    pub fn put(&self, account: &str, path: &str, content: &str) -> String {
        let change = json!({"account": account, "do": "write", "path": path, "content": content});
        self.post("change", &change)["id"].as_str().unwrap().to_owned()
    }

    /// What somebody does on the service, such as `trash`; the id.
    pub fn change(&self, account: &str, what: &str, path: &str) -> String {
        let change = json!({"account": account, "do": what, "path": path});
        self.post("change", &change)["id"].as_str().unwrap().to_owned()
    }

    /// Gives an item another name behind all clients' backs, one that is taken as well.
    pub fn rename(&self, account: &str, path: &str, to: &str) {
        let change = json!({"account": account, "do": "rename", "path": path, "to": to});
        self.post("change", &change);
    }

    /// Rules for faults, which replace the former ones.
    pub fn faults(&self, rules: Value) {
        self.post("faults", &rules);
    }

    /// All that the sandbox keeps of an account.
    pub fn state(&self, account: &str) -> Value {
        self.get(&format!("state?account={account}"))
    }

    /// All that the sandbox keeps of a file, by its id.
    pub fn file(&self, account: &str, id: &str) -> Value {
        self.state(account)["tree"]["files"][id].clone()
    }

    pub fn folder(&self, account: &str, id: &str) -> Value {
        self.state(account)["tree"]["folders"][id].clone()
    }

    /// Calls since the last reset, by name.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        serde_json::from_value(self.get("calls")["calls"].clone()).unwrap()
    }

    /// The service goes away.
    pub fn stop_service(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            self.runtime.block_on(sandbox.stop());
        }
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.home.run(args)
    }

    /// What a command that must succeed prints.
    pub fn prints(&self, args: &[&str]) -> String {
        let Ran { status, out, err } = self.run(args);
        assert_eq!(status, 0, "{args:?}: {err}{out}");
        out
    }

    /// The JSON that a command that must succeed prints.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.prints(args)).unwrap()
    }

    /// Runs a command that must fail with one sentence that holds `expected`, and change nothing on any service.
    pub fn refuses(&self, args: &[&str], expected: &str) {
        let before = ACCOUNTS.map(|account| self.state(account));
        self.home.fails(args, expected);
        assert_eq!(ACCOUNTS.map(|account| self.state(account)), before, "{args:?}");
    }

    /// Runs a command that clap must refuse, which changes nothing on any service.
    pub fn is_wrong_use(&self, args: &[&str], expected: &str) {
        let before = ACCOUNTS.map(|account| self.state(account));
        let Ran { status, out, err } = self.run(args);
        assert_eq!((status, out.as_str()), (2, ""), "{args:?}: {err}");
        assert!(err.contains(expected), "{args:?}: {err}");
        assert_eq!(ACCOUNTS.map(|account| self.state(account)), before, "{args:?}");
    }

    /// Runs the program at a terminal of its own and types a line into it when it asks: exit status, and what was shown.
    pub fn at_a_terminal(&self, args: &[&str], typed: &str) -> (i32, String) {
        let ran = Command::new("python3")
            .args([
                "-c",
                AT_A_TERMINAL,
                typed,
                env!("CARGO_BIN_EXE_lockerfs"),
                "--config",
            ])
            .arg(self.home.config())
            .arg("--state-dir")
            .arg(self.home.path("state"))
            .args(args)
            .current_dir(self.home.path(""))
            .output()
            .unwrap();
        assert!(ran.stderr.is_empty(), "{}", String::from_utf8_lossy(&ran.stderr));
        (ran.status.code().unwrap(), String::from_utf8(ran.stdout).unwrap())
    }

    /// Mounts all accounts until the value is dropped. It asks the services for nothing by itself.
    pub fn mount(&self) -> Mount<'_> {
        self.prints(&["mount", "--daemon", "mount"]);
        Mount { world: self }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop_service();
    }
}

pub struct Mount<'a> {
    world: &'a World,
}

impl Mount<'_> {
    /// A path in the mount, as a command of this world takes it.
    pub fn path(&self, path: &str) -> String {
        let path: PathBuf = self.world.home.path("mount").join(path);
        path.to_string_lossy().into_owned()
    }

    pub fn list(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(path)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    pub fn write(&self, path: &str, content: &str) {
        std::fs::write(self.path(path), content).unwrap();
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let ended = self.world.run(&["unmount", "mount"]);
        if !std::thread::panicking() {
            assert_eq!(ended.status, 0, "{}", ended.err);
        }
    }
}
