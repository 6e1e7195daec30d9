//! Emulated services that commands of the built program log in to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use lockerfs::sandbox::{Account, Options, Sandbox};
use serde_json::Value;
use sha1::{Digest, Sha1};
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

    /// A token that somebody else's login to a MediaFire account gave.
    pub fn session_token(&self, email: &str, password: &str) -> String {
        let application = "42511";
        let signature = hex::encode(Sha1::digest([email, password, application].concat()));
        let query = format!(
            "email={email}&password={password}&application_id={application}&signature={signature}&response_format=json"
        );
        let answer = self.request("GET", &format!("/api/1.5/user/get_session_token.php?{query}"), "");
        let (_, rest) = answer.split_once("\"session_token\":\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
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
