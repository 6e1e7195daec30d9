//! The built program with a config, a state and a cache of its own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A folder with config, state and cache of its own.
pub struct Home {
    folder: TempDir,
}

pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Home {
    pub fn with(config: &str) -> Self {
        let home = Home {
            folder: TempDir::new().unwrap(),
        };
        std::fs::write(home.config(), config).unwrap();
        std::fs::set_permissions(home.config(), Permissions::from_mode(0o600)).unwrap();
        std::fs::create_dir(home.path("mount")).unwrap();
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.path("config.toml")
    }

    /// The program, ready to be run in this home.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockerfs"));
        command
            .args(["--config".as_ref(), self.config().as_os_str()])
            .args(["--state-dir".as_ref(), self.path("state").as_os_str()])
            .args(["--cache-dir".as_ref(), self.path("cache").as_os_str()])
            .args(args)
            .current_dir(self.folder.path())
            .env_remove("LOCKERFS_LOG");
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran {
            status: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
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
