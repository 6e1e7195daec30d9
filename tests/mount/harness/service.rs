//! The emulated service, which can be stopped and started again as a machine can.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lockerfs::sandbox::{Options, Sandbox};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Call, Stored, http};
use crate::KIND;

/// How long no call must come before the calls of an operation count as complete.
const REST: Duration = Duration::from_millis(400);

pub struct Service {
    runtime: Option<Runtime>,
    sandbox: Mutex<Option<Sandbox>>,
    options: Options,
    address: SocketAddr,
}

impl Service {
    pub fn start(options: Options) -> Service {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let sandbox = runtime
            .block_on(Sandbox::start(options.clone()))
            .expect("the sandbox starts");
        let address = sandbox.address();
        let options = Options {
            port: address.port(),
            ..options
        };
        Service {
            runtime: Some(runtime),
            sandbox: Mutex::new(Some(sandbox)),
            options,
            address,
        }
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("the runtime lives as long as this")
    }

    fn sandbox(&self) -> std::sync::MutexGuard<'_, Option<Sandbox>> {
        self.sandbox
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Breaks all connections; from now on nobody listens.
    pub fn stop(&self) {
        let sandbox = self.sandbox().take();
        if let Some(sandbox) = sandbox {
            self.runtime().block_on(sandbox.stop());
        }
    }

    /// Comes back with what it held, at the same address.
    pub fn come_back(&self) {
        let sandbox = self
            .runtime()
            .block_on(Sandbox::start(self.options.clone()))
            .expect("the sandbox restarts");
        *self.sandbox() = Some(sandbox);
    }

    /// Lets an account hold so many bytes from now on.
    pub fn set_storage(&self, account: &str, limit: u64) {
        let storage = json!({ "account": account, "limit": limit });
        self.post("/sandbox/storage", &storage);
    }

    pub fn base_url(&self, account: &str) -> String {
        self.sandbox()
            .as_ref()
            .expect("a running sandbox")
            .base_url(account)
    }

    pub fn files_dir(&self, account: &str) -> PathBuf {
        self.sandbox()
            .as_ref()
            .expect("a running sandbox")
            .files_dir(account)
    }

    fn get(&self, target: &str) -> Value {
        http::request(self.address, "GET", target, "")
    }

    fn post(&self, target: &str, body: &Value) -> Value {
        http::request(self.address, "POST", target, &body.to_string())
    }

    pub fn rescan(&self) {
        self.post("/sandbox/rescan", &json!({}));
    }

    /// Sets these mishaps, by what they strike, in the place of the former ones.
    pub fn faults(&self, rules: &[(Call, Value)]) {
        let mut named = Vec::new();
        for (call, rule) in rules {
            for name in (KIND.calls)(*call) {
                let mut rule = rule.clone();
                rule["match"] = json!(name);
                named.push(rule);
            }
        }
        self.post("/sandbox/faults", &Value::Array(named));
    }

    /// Sets mishaps for calls of all accounts, in the place of the former ones.
    #[allow(dead_code, reason = "each test binary takes what it needs")]
    pub fn strike(&self, rules: &Value) {
        self.post("/sandbox/faults", rules);
    }

    /// Asks a page of the sandbox.
    #[allow(dead_code, reason = "each test binary takes what it needs")]
    pub fn ask(&self, page: &str) -> Value {
        self.get(&format!("/sandbox/{page}"))
    }

    /// Tells the sandbox something by one of its pages.
    #[allow(dead_code, reason = "each test binary takes what it needs")]
    pub fn tell(&self, page: &str, body: &Value) {
        self.post(&format!("/sandbox/{page}"), body);
    }

    /// No call is answered for a long time, whatever it is for.
    pub fn hang(&self) {
        let rules = json!([{"match": "*", "fault": "delay", "milliseconds": 60_000}]);
        self.post("/sandbox/faults", &rules);
    }

    /// Changes or makes a file behind the program's back, at once.
    pub fn touch(&self, account: &str, path: &str, content: &str) {
        self.post(
            "/sandbox/touch",
            &json!({"account": account, "path": path, "content": content}),
        );
    }

    /// Does to an account what its owner does on the service's own pages, behind the program's back.
    #[allow(dead_code, reason = "each test binary takes what it needs")]
    pub fn change(&self, account: &str, what: &str, path: &str, more: &[(&str, &str)]) {
        let mut change = json!({ "account": account, "do": what, "path": path });
        for (name, value) in more {
            change[*name] = json!(value);
        }
        self.post("/sandbox/change", &change);
    }

    /// Fills the account with folders of equal small files, which all hold the same.
    #[allow(dead_code, reason = "each test binary takes what it needs")]
    pub fn grow(&self, account: &str, folders: usize, files: usize, size: usize) {
        let grow = json!({ "account": account, "folders": folders, "files": files, "size": size });
        self.post("/sandbox/grow", &grow);
    }

    /// SHA-256 of what mishaps had stored in the place of what was sent.
    #[allow(dead_code, reason = "each test binary takes what it needs")]
    pub fn spoiled(&self) -> BTreeSet<String> {
        let told = self.get("/sandbox/spoiled");
        let hashes = told.as_array().expect("a list of hashes");
        let text = |hash: &Value| hash.as_str().expect("a hash").to_owned();
        hashes.iter().map(text).collect()
    }

    /// The files of an account by path, twins included.
    pub fn all_stored(&self, account: &str) -> Vec<(String, Stored)> {
        let files = self.get(&format!("/sandbox/files?account={account}"));
        let files = files.as_array().expect("a list of files").iter();
        let stored = files.map(|file| {
            let text = |key: &str| file[key].as_str().expect("a text").to_owned();
            let path = text("path").trim_start_matches('/').to_owned();
            let what = Stored {
                size: file["size"].as_u64().expect("a size"),
                sha256: text("sha256"),
                id: text(if file["id"].is_string() { "id" } else { "quickkey" }),
            };
            (path, what)
        });
        stored.collect()
    }

    pub fn stored(&self, account: &str) -> BTreeMap<String, Stored> {
        let mut stored = BTreeMap::new();
        for (path, what) in self.all_stored(account) {
            let twin = stored.insert(path.clone(), what);
            assert!(twin.is_none(), "the service holds two files at {path}");
        }
        stored
    }

    pub fn calls(&self) -> Calls {
        let told = self.get("/sandbox/calls");
        let calls = told["calls"].as_object().expect("counts");
        Calls {
            by_name: calls
                .iter()
                .map(|(name, count)| (name.clone(), count.as_u64().unwrap_or(0)))
                .collect(),
            bytes_out: told["bytes_out"].as_u64().unwrap_or(0),
        }
    }

    pub fn reset_calls(&self) {
        self.post("/sandbox/calls/reset", &json!({}));
    }

    /// Waits until no call has come for a while.
    pub fn settle(&self) {
        let (mut last, mut since, began) = (self.calls(), Instant::now(), Instant::now());
        while since.elapsed() < REST {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the service never comes to rest: {last:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
            let now = self.calls();
            if now.by_name != last.by_name {
                (last, since) = (now, Instant::now());
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Calls that the service got, by name.
#[derive(Debug, Clone)]
pub struct Calls {
    pub by_name: BTreeMap<String, u64>,
    pub bytes_out: u64,
}

impl Calls {
    pub fn of(&self, call: Call) -> u64 {
        let names = (KIND.calls)(call);
        let meant = |name: &str| {
            names.iter().any(|meant| match meant.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == *meant,
            })
        };
        let counts = self.by_name.iter().filter(|(name, _)| meant(name));
        counts.map(|(_, count)| count).sum()
    }

    /// All but the dates, which come in the background.
    pub fn total(&self) -> u64 {
        self.by_name.values().sum::<u64>() - self.of(Call::Dates)
    }

    /// All but the dates and what is asked for once in a session.
    pub fn work(&self) -> u64 {
        self.total() - self.of(Call::Session)
    }
}
