//! Where config, state and cache are.

use std::path::{Path, PathBuf};

/// The three places on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The config file.
    pub config: PathBuf,
    pub state_dir: PathBuf,
    pub cache_dir: PathBuf,
}

impl Paths {
    /// What the command line says, else the XDG directories, else their defaults below `$HOME`. All come back
    /// absolute, since a daemon changes its working directory. Fails with a sentence where `$HOME` is needed
    /// and absent.
    pub fn find(
        config: Option<&Path>,
        state_dir: Option<&Path>,
        cache_dir: Option<&Path>,
    ) -> Result<Self, String> {
        let pick = |given: Option<&Path>, variable: &str, below_home: &str| match given {
            Some(path) => absolute(path),
            None => Ok(xdg(variable, below_home)?.join("lockerfs")),
        };
        let config = match config {
            Some(path) => absolute(path)?,
            None => pick(None, "XDG_CONFIG_HOME", ".config")?.join("config.toml"),
        };
        Ok(Paths {
            config,
            state_dir: pick(state_dir, "XDG_STATE_HOME", ".local/state")?,
            cache_dir: pick(cache_dir, "XDG_CACHE_HOME", ".cache")?,
        })
    }
}

/// Where the processes of this user share what ends with their session, such as login tokens: the same place
/// whatever the command line says. It need not exist.
pub fn runtime_dir() -> PathBuf {
    // SAFETY: it only reads the process's own id and cannot fail.
    let user = unsafe { libc::geteuid() };
    session_dir().unwrap_or_else(|| std::env::temp_dir().join(format!("lockerfs-{user}")))
}

/// The directory of ours in that of the user's session, where the system keeps one. It need not exist.
pub fn session_dir() -> Option<PathBuf> {
    // SAFETY: it only reads the process's own id and cannot fail.
    let user = unsafe { libc::geteuid() };
    let standard = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(PathBuf::from(format!("/run/user/{user}"))).filter(|path| path.is_dir()));
    standard.map(|base| base.join("lockerfs"))
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// A base directory; the standard says that one that is not absolute is to be ignored.
fn xdg(variable: &str, below_home: &str) -> Result<PathBuf, String> {
    let base = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || {
        std::env::var_os("HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    base.or_else(|| home().map(|home| home.join(below_home)))
        .ok_or_else(|| format!("neither {variable} nor HOME is set: name the place on the command line"))
}
