//! What the machine has to offer: FUSE, a keyring, room on its disks.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::cli::text;
use crate::config::{AccountConfig, Config, KeyringError, SecretPlace, check_keyring};
use crate::upload::free_bytes;

const FUSE: &str = "/dev/fuse";
const FUSE_CONF: &str = "/etc/fuse.conf";

pub(super) fn fuse() -> Finding {
    let opened = OpenOptions::new().read(true).write(true).open(FUSE);
    match opened {
        Ok(_) => Finding::ok(FUSE, "can be opened"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Finding::fail(
            FUSE,
            "is not there",
            "run `modprobe fuse` as root, or start the container with --device /dev/fuse",
        ),
        Err(error) => Finding::fail(
            FUSE,
            format!("cannot be opened: {error}"),
            "ask who runs this machine for the right to use it",
        ),
    }
}

fn is_root() -> bool {
    // SAFETY: it only reads the process's own id and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

pub(super) fn fusermount() -> Finding {
    const CHECK: &str = "fusermount3";
    let remedy = "install the package fuse3";
    match in_path(CHECK) {
        Some(path) => {
            let is_set = path
                .metadata()
                .is_ok_and(|found| found.uid() == 0 && found.mode() & 0o4000 != 0);
            match is_set || is_root() {
                true => Finding::ok(CHECK, path.display().to_string()),
                false => Finding::warn(
                    CHECK,
                    format!("{} does not run as root (no setuid bit)", path.display()),
                    "install the package fuse3 anew where mounting fails",
                ),
            }
        }
        None if is_root() => Finding::ok(CHECK, "is not there, and root does without it"),
        None => Finding::fail(CHECK, "is not there, and who is not root needs it", remedy),
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where it is looked for as well when a mount needs it.
    let usual = ["/usr/bin", "/bin", "/usr/local/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

pub(super) fn allow_other() -> Finding {
    const CHECK: &str = "user_allow_other";
    let text = std::fs::read_to_string(FUSE_CONF).unwrap_or_default();
    let is_set = text.lines().any(|line| line.trim() == CHECK);
    match (is_set, is_root()) {
        (true, _) => Finding::ok(CHECK, format!("is in {FUSE_CONF}: `mount --allow-other` works")),
        (false, true) => Finding::ok(CHECK, format!("is not in {FUSE_CONF}, and root does without it")),
        (false, false) => Finding::ok(
            CHECK,
            format!("is not in {FUSE_CONF}: only `mount --allow-other` needs it, and root can add it there"),
        ),
    }
}

/// Whether accounts keep secrets in the keyring, and whether there is one.
pub(super) async fn keyring(config: Option<&Config>) -> Finding {
    const CHECK: &str = "keyring";
    let accounts = config.map_or(&[][..], |config| &config.accounts);
    let uses = |account: &&AccountConfig| {
        let mut secrets = account.secrets().into_iter();
        secrets.any(|secret| matches!(secret.place(), SecretPlace::Keyring(_)))
    };
    let users: Vec<&str> = accounts
        .iter()
        .filter(uses)
        .map(|account| account.name.as_str())
        .collect();
    match check_keyring().await {
        Ok(()) => Finding::ok(CHECK, "answers, and is unlocked"),
        Err(error) if !users.is_empty() => Finding::fail(
            CHECK,
            error.to_string(),
            format!("{} cannot log in without it", users.join(", ")),
        ),
        Err(error @ KeyringError::Absent(_)) => {
            Finding::ok(CHECK, format!("{error}: `account add` keeps secrets in files"))
        }
        Err(error) => Finding::warn(CHECK, error.to_string(), "or add accounts with `--store file`"),
    }
}

pub(super) fn state_disk(directory: &Path, reserve: u64) -> Finding {
    let check = "state directory";
    let room = match room(check, directory) {
        Ok(room) => room,
        Err(finding) => return finding,
    };
    let found = format!("{}, {} free on its disk", directory.display(), text::size(room));
    match room {
        room if room <= reserve => Finding::fail(
            check,
            found,
            format!(
                "nothing can be written to a mount before there is more than {} (`reserve`): make room",
                text::size(reserve)
            ),
        ),
        room if room < reserve.saturating_mul(4) => Finding::warn(
            check,
            found,
            format!(
                "{} of it stay free (`reserve`): make room for what waits to be uploaded",
                text::size(reserve)
            ),
        ),
        _ => Finding::ok(check, found),
    }
}

pub(super) fn cache_disk(directory: &Path, reserve: u64) -> Finding {
    let check = "cache directory";
    let room = match room(check, directory) {
        Ok(room) => room,
        Err(finding) => return finding,
    };
    let found = format!("{}, {} free on its disk", directory.display(), text::size(room));
    match room <= reserve.saturating_mul(2) {
        true => Finding::warn(check, found, "make room: what is read twice is fetched twice"),
        false => Finding::ok(check, found),
    }
}

/// What is free where a directory is, or would be made; and whether it can be.
fn room(check: &str, directory: &Path) -> Result<u64, Finding> {
    let there = directory
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let failed = |why: String| {
        let remedy = "name another one on the command line, or mend it";
        Finding::fail(check, format!("{}: {why}", there.display()), remedy)
    };
    let path = std::ffi::CString::new(there.as_os_str().as_bytes()).map_err(|e| failed(e.to_string()))?;
    // SAFETY: `path` is a valid C string for the time of the call.
    if unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) } != 0 {
        return Err(failed(io::Error::last_os_error().to_string()));
    }
    if !there.is_dir() {
        return Err(failed("is no directory".to_owned()));
    }
    free_bytes(there).map_err(|e| failed(e.to_string()))
}
