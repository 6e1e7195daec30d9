//! Where the socket is.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// The name in the state directory of the socket, or of the link to it.
const SOCKET: &str = "control.sock";

/// A name in an open directory: a socket's path may have 107 bytes only, and a directory can lie deeper.
pub(super) struct Place {
    directory: OwnedFd,
    name: String,
}

impl Place {
    /// Where whoever asks finds the socket of a state directory.
    pub fn of(state_dir: &Path) -> io::Result<Self> {
        Place::within(state_dir, SOCKET.to_owned())
    }

    fn within(directory: &Path, name: String) -> io::Result<Self> {
        let directory = File::open(directory)?.into();
        Ok(Place { directory, name })
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/{}",
            self.directory.as_raw_fd(),
            self.name
        ))
    }

    pub fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(self.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The places of a mount's socket: the socket, and the link to it where it stands elsewhere.
pub(super) struct Places {
    pub socket: Place,
    link: Option<Place>,
}

impl Places {
    /// Prepares the places; what is found there is of a mount that ended, since the caller holds the state
    /// directory. A session's directory that is not this user's alone is not used.
    pub fn prepare(state_dir: &Path, session: Option<&Path>) -> io::Result<Self> {
        let link = Place::of(state_dir)?;
        link.remove()?;
        let Some(session) = session else {
            return Ok(Places {
                socket: link,
                link: None,
            });
        };
        match in_session(state_dir, session) {
            Ok((socket, target)) => {
                symlink(target, link.path())?;
                Ok(Places {
                    socket,
                    link: Some(link),
                })
            }
            Err(error) => {
                let directory = session.display();
                tracing::warn!(%directory, %error, "the control socket is made in the state directory");
                Ok(Places {
                    socket: link,
                    link: None,
                })
            }
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        // The next mount removes what is left where this fails.
        let _ = self.socket.remove();
        let _ = self.link.as_ref().map(Place::remove);
    }
}

/// The place in the session's directory, and its whole path.
fn in_session(state_dir: &Path, session: &Path) -> io::Result<(Place, PathBuf)> {
    match DirBuilder::new().mode(0o700).create(session) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Not followed: whoever could put a link there could put a socket there.
    let found = session.symlink_metadata()?;
    // SAFETY: geteuid has no preconditions and cannot fail.
    let own = unsafe { libc::geteuid() };
    if !found.is_dir() || found.uid() != own {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is not a directory of this user",
        ));
    }
    if found.mode() & 0o077 != 0 {
        std::fs::set_permissions(session, Permissions::from_mode(0o700))?;
    }
    let whole = state_dir.canonicalize()?;
    let digest = Sha256::digest(whole.as_os_str().as_encoded_bytes());
    let name = format!("{}.sock", hex::encode(&digest[..8]));
    let place = Place::within(session, name.clone())?;
    place.remove()?;
    Ok((place, session.canonicalize()?.join(name)))
}
