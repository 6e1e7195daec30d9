//! A mount from its start to its end, with the built command, the kernel and a service in the sandbox.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockerfs::sandbox::{Account, Options, Sandbox};
use serde_json::Value;
use tempfile::TempDir;

const ACCOUNT: &str = "media";

/// A service, and a folder with config, state, cache and mount point.
struct Stage {
    runtime: tokio::runtime::Runtime,
    sandbox: Option<Sandbox>,
    folder: TempDir,
}

impl Stage {
    fn new(options: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let folder = TempDir::new().unwrap();
        let account = Account::mediafire(ACCOUNT);
        let service = Options {
            accounts: vec![account.clone()],
            ..Options::new(folder.path().join("service"))
        };
        let sandbox = runtime.block_on(Sandbox::start(service)).unwrap();
        let url = sandbox.base_url(ACCOUNT);
        let (email, password) = (account.email, account.password);
        let config = folder.path().join("config.toml");
        let text = format!(
            "{options}\n[accounts.{ACCOUNT}]\nkind = \"mediafire\"\nbase_url = \"{url}\"\n\
             email = \"{email}\"\npassword = \"{password}\"\n"
        );
        std::fs::write(&config, text).unwrap();
        std::fs::set_permissions(&config, Permissions::from_mode(0o600)).unwrap();
        std::fs::create_dir(folder.path().join("mount")).unwrap();
        Stage {
            runtime,
            sandbox: Some(sandbox),
            folder,
        }
    }

    fn mount_point(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    fn account(&self) -> PathBuf {
        self.mount_point().join(ACCOUNT)
    }

    /// What the service holds under a name.
    fn on_service(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(
            self.folder
                .path()
                .join("service")
                .join(ACCOUNT)
                .join("files")
                .join(name),
        )
        .ok()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockerfs"));
        let path = |name: &str| self.folder.path().join(name);
        command.arg("--config").arg(path("config.toml"));
        command
            .arg("--state-dir")
            .arg(path("state"))
            .arg("--cache-dir")
            .arg(path("cache"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_remove("LOCKERFS_LOG");
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = self.command(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    fn succeeds(&self, args: &[&str]) -> String {
        let (status, out, err) = self.run(args);
        assert_eq!(status, 0, "{args:?}: {out}{err}");
        out
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.succeeds(&["status", "--json"])).unwrap()
    }

    fn is_mounted(&self) -> bool {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let place = self
            .mount_point()
            .canonicalize()
            .unwrap_or_else(|_| self.mount_point());
        mounts
            .lines()
            .any(|line| line.split(' ').nth(1) == place.to_str())
    }

    /// A mount in the foreground, once it serves.
    fn foreground(&self) -> Child {
        let child = self
            .command(&["mount", "mount"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("the mount", || {
            self.is_mounted() && self.status()["running"] == Value::Bool(true)
        });
        child
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After a failed test a mount may be left, and its process with it.
        if self.is_mounted() {
            let _ = self.run(&["unmount", "mount"]);
        }
        if let Some(sandbox) = self.sandbox.take() {
            self.runtime.block_on(sandbox.stop());
        }
    }
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(process: u32, name: &str) {
    assert!(
        Command::new("kill")
            .args([name, &process.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

fn is_alive(process: u32) -> bool {
    // A process that ended but was not waited for counts as ended.
    let stat = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_daemon_returns_when_mounted_and_unmount_uploads_what_waits() {
    let stage = Stage::new("upload_delay = \"1h\"");
    stage.succeeds(&["mount", "--daemon", "mount"]);
    assert!(stage.is_mounted());
    std::fs::write(stage.account().join("letter.txt"), "dear locker").unwrap();
    let status = stage.status();
    assert_eq!(status["running"], Value::Bool(true));
    assert_eq!(status["pending"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(stage.on_service("letter.txt"), None);
    stage.succeeds(&["unmount", "mount"]);
    assert!(!stage.is_mounted());
    assert_eq!(
        stage.on_service("letter.txt").as_deref(),
        Some(&b"dear locker"[..])
    );
    assert_eq!(stage.status()["running"], Value::Bool(false));
}

#[test]
fn drain_uploads_at_once_and_the_mount_stays() {
    let stage = Stage::new("upload_delay = \"1h\"");
    stage.succeeds(&["mount", "--daemon", "mount"]);
    std::fs::write(stage.account().join("letter.txt"), "dear locker").unwrap();
    assert!(stage.succeeds(&["drain"]).contains("All is uploaded."));
    assert!(stage.on_service("letter.txt").is_some());
    assert!(stage.is_mounted());
}

#[test]
fn a_mount_that_was_killed_is_cleared_away_and_its_files_go_up() {
    let stage = Stage::new("upload_delay = \"1h\"");
    stage.succeeds(&["mount", "--daemon", "mount"]);
    std::fs::write(stage.account().join("letter.txt"), "dear locker").unwrap();
    let process = u32::try_from(stage.status()["pid"].as_u64().unwrap()).unwrap();
    signal(process, "-KILL");
    wait_for("the end of the process", || !is_alive(process));
    assert!(
        std::fs::read_dir(stage.mount_point()).is_err(),
        "a dead mount that can be read"
    );
    let status = stage.status();
    assert_eq!(status["pending"].as_array().map(Vec::len), Some(1), "{status}");
    stage.succeeds(&["mount", "--daemon", "mount"]);
    assert_eq!(
        std::fs::read(stage.account().join("letter.txt")).unwrap(),
        b"dear locker"
    );
    stage.succeeds(&["unmount", "mount"]);
    assert_eq!(
        stage.on_service("letter.txt").as_deref(),
        Some(&b"dear locker"[..])
    );
}

#[test]
fn a_second_mount_of_the_same_place_or_state_is_refused() {
    let stage = Stage::new("");
    stage.succeeds(&["mount", "--daemon", "mount"]);
    let (status, _, err) = stage.run(&["mount", "--daemon", "mount"]);
    assert_eq!(status, 1);
    assert!(
        err.contains("lockerfs is mounted at ") && err.contains("lockerfs unmount"),
        "{err}"
    );
    std::fs::create_dir(stage.folder.path().join("other")).unwrap();
    let (status, _, err) = stage.run(&["mount", "--daemon", "other"]);
    assert_eq!(status, 1);
    assert!(
        err.contains("another lockerfs uses the state directory "),
        "{err}"
    );
}

#[test]
fn sigterm_uploads_unmounts_and_ends_with_success() {
    let stage = Stage::new("upload_delay = \"1h\"");
    let mut mount = stage.foreground();
    std::fs::write(stage.account().join("letter.txt"), "dear locker").unwrap();
    signal(mount.id(), "-TERM");
    assert_eq!(mount.wait().unwrap().code(), Some(0));
    assert!(!stage.is_mounted());
    assert!(stage.on_service("letter.txt").is_some());
}

#[test]
fn a_mount_that_cannot_upload_ends_in_time_and_keeps_what_waits() {
    let mut stage = Stage::new("upload_delay = \"1h\"\ndrain_timeout = \"1s\"");
    let mut mount = stage.foreground();
    std::fs::write(stage.account().join("letter.txt"), "dear locker").unwrap();
    let sandbox = stage.sandbox.take().unwrap();
    stage.runtime.block_on(sandbox.stop());
    let start = Instant::now();
    signal(mount.id(), "-INT");
    assert_eq!(mount.wait().unwrap().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
    assert!(!stage.is_mounted());
    let status = stage.status();
    assert_eq!(status["pending"][0]["path"], "letter.txt", "{status}");
}

#[test]
fn a_mount_that_is_unmounted_from_outside_ends() {
    let stage = Stage::new("");
    let mut mount = stage.foreground();
    assert!(
        Command::new("umount")
            .arg(stage.mount_point())
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(mount.wait().unwrap().code(), Some(0));
}

#[test]
fn an_unmount_of_a_busy_mount_frees_the_place_and_ends_the_process() {
    let stage = Stage::new("");
    stage.succeeds(&["mount", "--daemon", "mount"]);
    let process = u32::try_from(stage.status()["pid"].as_u64().unwrap()).unwrap();
    let mut user = Command::new("sleep")
        .arg("120")
        .current_dir(stage.account())
        .spawn()
        .unwrap();
    stage.succeeds(&["unmount", "mount"]);
    assert!(!stage.is_mounted());
    wait_for("the end of the process", || !is_alive(process));
    user.kill().unwrap();
    user.wait().unwrap();
}
