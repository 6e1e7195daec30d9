//! Emulated services that commands of the built program log in to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use lockerfs::sandbox::{Account, Options, Sandbox};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub struct Service {
    // Dropped before the folder that it writes to.
    sandbox: Option<Sandbox>,
    runtime: Runtime,
    _data: TempDir,
}

impl Service {
    pub fn start(accounts: Vec<Account>) -> Self {
        let data = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let options = Options {
            accounts,
            ..Options::new(data.path())
        };
        let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
        Service {
            sandbox: Some(sandbox),
            runtime,
            _data: data,
        }
    }

    fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().unwrap()
    }

    pub fn url(&self, account: &str) -> String {
        self.sandbox().base_url(account).to_string()
    }

    pub fn files_dir(&self, account: &str) -> PathBuf {
        self.sandbox().files_dir(account)
    }

    /// Changes the secrets of an account as its owner does on the service's own pages.
    pub fn change_login(&self, change: &Value) {
        self.request("POST", "/sandbox/login", &change.to_string());
    }

    /// How many calls came so far.
    pub fn calls(&self) -> u64 {
        let answer = self.request("GET", "/sandbox/calls", "");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<Value>(body).unwrap()["total"]
            .as_u64()
            .unwrap()
    }

    fn request(&self, method: &str, target: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.sandbox().address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: sandbox\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{target}: {answer}");
        answer
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(sandbox) = self.sandbox.take() {
            self.runtime.block_on(sandbox.stop());
        }
    }
}
