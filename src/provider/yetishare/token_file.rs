//! The token of an account, shared by all processes of one user through a file.
//!
//! Each login at a host ends the other tokens of its account, so that two processes that log in by themselves
//! would throw each other out for ever. Here the token lies in a file that is read and written under a lock
//! only, and who uses it is told by a second lock. The kernel releases both with the process, however it ends.
//! All functions but [`TokenFile::lock`] block for moments; nothing here knows the network.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::wire::Node;

/// Between two tries to get the lock.
const POLL: Duration = Duration::from_millis(50);
/// Bytes of the largest file that is read.
const LARGEST: u64 = 4096;

/// What a login gives.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) access_token: SecretString,
    pub(super) account_id: String,
}

impl Token {
    pub(super) fn is(&self, other: &Token) -> bool {
        self.access_token.expose_secret() == other.access_token.expose_secret()
    }
}

/// Where the token of one account lies.
#[derive(Clone)]
pub(super) struct TokenFile {
    directory: PathBuf,
    name: String,
}

/// The right to read and write the token, and to log in.
pub(super) struct Locked {
    file: TokenFile,
    _lock: File,
}

/// Keeps the token from being disabled by another process.
pub(super) struct InUse(File);

impl TokenFile {
    /// `account` tells the account apart from others of the same `id_space`; the file's name does not tell it.
    pub(super) fn new(directory: &Path, id_space: &str, account: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(id_space.as_bytes());
        hash.update([0]);
        hash.update(account.as_bytes());
        let name = hex::encode(&hash.finalize()[..16]);
        TokenFile {
            directory: directory.to_owned(),
            name,
        }
    }

    /// Waits for the lock, for `limit` at most, after which the error is [`io::ErrorKind::TimedOut`]. Dropping
    /// the future gives up.
    pub(super) async fn lock(&self, limit: Duration) -> io::Result<Locked> {
        let file = self.clone();
        let lock = Arc::new(blocking(move || file.open("lock")).await?);
        let start = Instant::now();
        while !flock(&lock, libc::LOCK_EX)? {
            if start.elapsed() >= limit {
                let message = "another process holds the lock of the token for too long";
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            tokio::time::sleep(POLL).await;
        }
        let lock = Arc::into_inner(lock).ok_or_else(|| io::Error::other("the lock is lent"))?;
        Ok(Locked {
            file: self.clone(),
            _lock: lock,
        })
    }

    fn path(&self, part: &str) -> PathBuf {
        self.directory.join(format!("{}.{part}", self.name))
    }

    /// One of the account's files, made where it is missing, for the owner alone.
    fn open(&self, part: &str) -> io::Result<File> {
        self.check_directory()?;
        let path = self.path(part);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(&path)
            .map_err(|error| at(&path, &error))?;
        let facts = file.metadata().map_err(|error| at(&path, &error))?;
        if !facts.is_file() {
            return Err(unsafe_place(&path, "is no file"));
        }
        check_owner(&path, &facts)?;
        Ok(file)
    }

    fn check_directory(&self) -> io::Result<()> {
        let path = &self.directory;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| at(path, &error))?;
        let facts = fs::symlink_metadata(path).map_err(|error| at(path, &error))?;
        if !facts.is_dir() {
            return Err(unsafe_place(path, "is no directory"));
        }
        check_owner(path, &facts)
    }
}

impl Locked {
    /// The token in the file, if one is there. What makes no sense counts as none.
    pub(super) async fn read(&self) -> io::Result<Option<Token>> {
        let file = self.file.clone();
        blocking(move || {
            let mut text = Vec::new();
            file.open("token")?.take(LARGEST).read_to_end(&mut text)?;
            let value: Value = serde_json::from_slice(&text).unwrap_or(Value::Null);
            let node = Node(&value);
            let token = node.text("access_token").zip(node.text("account_id"));
            Ok(token.map(|(access_token, account_id)| Token {
                access_token: access_token.into(),
                account_id,
            }))
        })
        .await
    }

    pub(super) async fn write(&self, token: &Token) -> io::Result<()> {
        let file = self.file.clone();
        let access_token = token.access_token.expose_secret();
        let text = json!({"access_token": access_token, "account_id": token.account_id}).to_string();
        blocking(move || {
            let mut file = file.open("token")?;
            file.set_len(0)?;
            file.write_all(text.as_bytes())
        })
        .await
    }

    pub(super) async fn remove(&self) -> io::Result<()> {
        let path = self.file.path("token");
        blocking(move || fs::remove_file(&path).map_err(|error| at(&path, &error))).await
    }

    /// Tells other processes that the token is used, as long as the value lives.
    pub(super) async fn note_use(&self) -> io::Result<InUse> {
        let file = self.file.clone();
        blocking(move || {
            let users = file.open("users")?;
            if flock(&users, libc::LOCK_SH)? {
                return Ok(InUse(users));
            }
            // Held alone under the token's lock only, which we hold.
            Err(io::Error::other("the token's list of users is locked"))
        })
        .await
    }

    /// Ends the use; whether it was the last one.
    pub(super) fn end_use(&self, use_: &InUse) -> io::Result<bool> {
        flock(&use_.0, libc::LOCK_EX)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// Whether the lock was got. It never waits.
fn flock(file: &File, how: libc::c_int) -> io::Result<bool> {
    // SAFETY: flock takes a descriptor, which `file` keeps open during the call, and no pointer.
    if unsafe { libc::flock(file.as_raw_fd(), how | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock {
        Ok(false)
    } else {
        Err(error)
    }
}

fn check_owner(path: &Path, facts: &fs::Metadata) -> io::Result<()> {
    // SAFETY: geteuid takes nothing and cannot fail.
    let own = unsafe { libc::geteuid() };
    if facts.uid() != own {
        return Err(unsafe_place(path, "belongs to another user"));
    }
    if facts.mode() & 0o077 != 0 {
        return Err(unsafe_place(
            path,
            "is open to other users: take their permissions away",
        ));
    }
    Ok(())
}

fn unsafe_place(path: &Path, why: &str) -> io::Error {
    let message = format!("{} {why}, so no token is kept there", path.display());
    io::Error::new(io::ErrorKind::PermissionDenied, message)
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const SOON: Duration = Duration::from_millis(120);

    fn token(text: &str) -> Token {
        Token {
            access_token: text.into(),
            account_id: "7".to_owned(),
        }
    }

    fn file(directory: &Path) -> TokenFile {
        TokenFile::new(directory, "https://example.org/api/v2/", "the first key")
    }

    #[tokio::test]
    async fn what_is_written_is_read_by_the_next_and_by_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("tokens");
        let locked = file(&directory).lock(SOON).await.unwrap();
        assert!(locked.read().await.unwrap().is_none());
        locked.write(&token("a longer token")).await.unwrap();
        locked.write(&token("t")).await.unwrap();
        drop(locked);
        let locked = file(&directory).lock(SOON).await.unwrap();
        assert!(locked.read().await.unwrap().unwrap().is(&token("t")));
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            assert!(!entry.file_name().to_string_lossy().contains("key"));
        }
        assert_eq!(
            fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }

    #[tokio::test]
    async fn a_lock_that_is_held_is_waited_for_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("tokens");
        let held = file(&directory).lock(SOON).await.unwrap();
        let error = file(&directory).lock(SOON).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let waiting = tokio::spawn({
            let file = file(&directory);
            async move { file.lock(Duration::from_secs(30)).await.map(drop) }
        });
        drop(held);
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn only_the_last_user_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder.path().join("tokens"));
        let locked = file.lock(SOON).await.unwrap();
        let (first, second) = (locked.note_use().await.unwrap(), locked.note_use().await.unwrap());
        assert!(!locked.end_use(&first).unwrap());
        drop(first);
        assert!(locked.end_use(&second).unwrap());
    }

    #[tokio::test]
    async fn a_place_that_others_can_reach_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("tokens");
        file(&directory).lock(SOON).await.unwrap();
        let refused = async || file(&directory).lock(SOON).await.err().unwrap();

        fs::set_permissions(&directory, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(refused().await.to_string().contains("open to other users"));
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();

        let lock = file(&directory).path("lock");
        fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(refused().await.to_string().contains("open to other users"));

        fs::remove_file(&lock).unwrap();
        symlink(folder.path().join("elsewhere"), &lock).unwrap();
        refused().await;
        assert!(!folder.path().join("elsewhere").exists());
    }
}
