//! The built program with a config, a state and a cache of its own.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A folder with config, state and cache of its own.
pub struct Home {
    folder: TempDir,
    config: &'static str,
}

pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

/// What stands in a folder: for each path its mode and content.
pub type Snapshot = BTreeMap<PathBuf, (u32, Vec<u8>)>;

impl Home {
    /// Without a config.
    pub fn empty() -> Self {
        Home::with_config_to_be_at("config.toml")
    }

    pub fn with_config_to_be_at(config: &'static str) -> Self {
        let home = Home {
            folder: TempDir::new().unwrap(),
            config,
        };
        for folder in ["mount", "run", "tmp"] {
            std::fs::create_dir(home.path(folder)).unwrap();
        }
        home
    }

    pub fn with(config: &str) -> Self {
        let home = Home::empty();
        std::fs::write(home.config(), config).unwrap();
        std::fs::set_permissions(home.config(), Permissions::from_mode(0o600)).unwrap();
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path(self.config)
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "", &[])
    }

    /// Runs a command with this standard input, and with these variables beside those that it needs.
    pub fn run_with(&self, args: &[&str], input: &str, variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(args);
        command
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Who needs no input may have ended.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran {
            status: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// The program without the session of whoever runs the tests.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockerfs"));
        command
            .args(["--config".as_ref(), self.config().as_os_str()])
            .args(["--state-dir".as_ref(), self.path("state").as_os_str()])
            .args(["--cache-dir".as_ref(), self.path("cache").as_os_str()])
            .args(args)
            .current_dir(self.folder.path())
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("TMPDIR", self.path("tmp"));
        for name in [
            "LOCKERFS_LOG",
            "DBUS_SESSION_BUS_ADDRESS",
            "DISPLAY",
            "WAYLAND_DISPLAY",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Config and secrets: what stands in the folder itself.
    pub fn snapshot(&self) -> Snapshot {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let files = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file());
        let told = |path: PathBuf| {
            let mode = path.metadata().unwrap().mode() & 0o7777;
            let content = std::fs::read(&path).unwrap();
            (path, (mode, content))
        };
        files.map(told).collect()
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    #[track_caller]
    pub fn succeeds(&self, args: &[&str], input: &str) -> String {
        let ran = self.run_with(args, input, &[]);
        assert_eq!(ran.status, 0, "{args:?}: {}{}", ran.out, ran.err);
        ran.out
    }

    /// Runs a command that must fail with one sentence that holds `expected`, and change neither config nor secrets.
    #[track_caller]
    pub fn refuses(&self, args: &[&str], input: &str, expected: &str) {
        let before = self.snapshot();
        let Ran { status, out, err } = self.run_with(args, input, &[]);
        assert_eq!((status, out.as_str()), (1, ""), "{args:?}: {err}");
        assert!(
            err.starts_with("lockerfs: ") && err.lines().count() == 1,
            "{args:?}: {err}"
        );
        assert!(err.contains(expected), "{args:?}: {err}");
        assert_eq!(self.snapshot(), before, "{args:?}");
    }

    /// Mounts in the background, until what comes back is dropped.
    pub fn mount(&self, more: &[&str]) -> Mounted<'_> {
        let ran = self.run(&[&["mount", "--daemon", "mount"], more].concat());
        assert_eq!(ran.status, 0, "{}", ran.err);
        self.mounted()
    }

    /// What somebody mounted at `mount`, which ends with what comes back.
    pub fn mounted(&self) -> Mounted<'_> {
        Mounted { home: self }
    }

    /// Runs a command that must fail with one sentence that holds `expected`.
    pub fn fails(&self, args: &[&str], expected: &str) {
        let Ran { status, out, err } = self.run(args);
        assert_eq!((status, out.as_str()), (1, ""), "{args:?}: {err}");
        assert!(
            err.starts_with("lockerfs: ") && err.lines().count() == 1,
            "{args:?}: {err}"
        );
        assert!(err.contains(expected), "{args:?}: {err}");
        assert!(!err.contains("hunter2"), "a secret: {err}");
    }
}

/// A mount at `mount` in a home.
pub struct Mounted<'h> {
    home: &'h Home,
}

impl Mounted<'_> {
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path("mount").join(name)
    }

    pub fn status(&self) -> serde_json::Value {
        let ran = self.home.run(&["status", "--json"]);
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}{}", ran.out, ran.err))
    }

    /// Unmounts as a person does.
    #[track_caller]
    pub fn unmount(self) {
        let ran = self.home.run(&["unmount", "mount"]);
        assert_eq!(ran.status, 0, "{}", ran.err);
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if is_mounted(&self.home.path("mount")) {
            let _ = self.home.run(&["unmount", "mount"]);
        }
    }
}

fn is_mounted(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let path = path.to_str().unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == Some(path))
}

#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "not within a minute: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
