//! A session bus of its own with a real keyring on it, as a desktop has.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::home::wait_for;

const CONFIG: &str = "<busconfig><type>session</type><listen>unix:path=FOLDER/bus</listen><auth>EXTERNAL</auth>\
    <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>\
    <allow own=\"*\"/></policy></busconfig>";

const KEYRING: &str = "/org/freedesktop/secrets/aliases/default";

pub struct Bus {
    folder: TempDir,
    daemon: Child,
    keyring: Option<Child>,
}

impl Bus {
    /// Nobody keeps secrets on it.
    pub fn bare() -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("bus.conf");
        let text = CONFIG.replace("FOLDER", folder.path().to_str().unwrap());
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command
            .arg("--nofork")
            .arg("--nopidfile")
            .arg("--config-file")
            .arg(&config);
        let daemon = start(command, folder.path());
        let socket = folder.path().join("bus");
        let bus = Bus {
            folder,
            daemon,
            keyring: None,
        };
        wait_for("the bus listens", || socket.exists());
        bus
    }

    /// With a keyring that is unlocked.
    pub fn with_keyring() -> Self {
        let mut bus = Bus::bare();
        let folder = bus.folder.path();
        let mut command = Command::new("gnome-keyring-daemon");
        command
            .args([
                "--foreground",
                "--unlock",
                "--components=secrets",
                "--control-directory",
            ])
            .arg(folder.join("control"))
            .env("HOME", folder)
            .env("XDG_DATA_HOME", folder.join("data"))
            .env("DBUS_SESSION_BUS_ADDRESS", bus.address());
        let mut keyring = start(command, folder);
        let mut password = keyring.stdin.take().unwrap();
        password.write_all(b"unlock it").unwrap();
        drop(password);
        bus.keyring = Some(keyring);
        wait_for("the keyring is there", || {
            let asked = bus.call(
                "org.freedesktop.DBus",
                "/",
                "org.freedesktop.DBus.NameHasOwner",
                &["string:org.freedesktop.secrets"],
            );
            asked.contains("true") && !bus.items().contains("Error")
        });
        bus
    }

    pub fn address(&self) -> String {
        format!("unix:path={}", self.folder.path().join("bus").display())
    }

    /// What the keyring tells of the entries that it has.
    fn items(&self) -> String {
        self.call(
            "org.freedesktop.secrets",
            KEYRING,
            "org.freedesktop.DBus.Properties.Get",
            &["string:org.freedesktop.Secret.Collection", "string:Items"],
        )
    }

    /// How many entries the keyring has.
    pub fn entries(&self) -> usize {
        let told = self.items();
        assert!(told.contains("array"), "{told}");
        told.matches("object path").count()
    }

    pub fn lock(&self) {
        let method = "org.freedesktop.Secret.Service.Lock";
        let keyring = format!("array:objpath:{KEYRING}");
        let told = self.call(
            "org.freedesktop.secrets",
            "/org/freedesktop/secrets",
            method,
            &[&keyring],
        );
        assert!(told.contains(KEYRING), "{told}");
    }

    fn call(&self, to: &str, object: &str, method: &str, arguments: &[&str]) -> String {
        let output = Command::new("dbus-send")
            .env("DBUS_SESSION_BUS_ADDRESS", self.address())
            .args([
                "--session",
                "--print-reply",
                &format!("--dest={to}"),
                object,
                method,
            ])
            .args(arguments)
            .output()
            .unwrap_or_else(|e| missing("dbus-send", &e));
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    }
}

fn start(mut command: Command, folder: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    command
        .stdin(Stdio::piped())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let tool = command.get_program().to_owned();
    command
        .spawn()
        .unwrap_or_else(|e| missing(&tool.to_string_lossy(), &e))
}

fn missing(tool: &str, error: &std::io::Error) -> ! {
    panic!("cannot run {tool}, which this test needs: {error}; scripts/test installs what is missing")
}

impl Drop for Bus {
    fn drop(&mut self) {
        for child in self.keyring.iter_mut().chain([&mut self.daemon]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
