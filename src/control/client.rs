//! The command line's side of the socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::message::{Answer, Choice, DrainProgress, PendingStatus, Request, StatusReport};
use super::place::Place;

/// The longest line of an answer that is taken in, in bytes; the rows of a long queue come in many lines.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;
/// How long a mount may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// Why a mount did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("no mount runs with the state directory {}", .0.display())]
    NotRunning(PathBuf),
    #[error("the mount does not answer: {0}")]
    Broken(#[from] io::Error),
    /// The mount's own sentence.
    #[error("{0}")]
    Refused(String),
}

/// A connection to a running mount, for one request.
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    pub async fn connect(state_dir: &Path) -> Result<Self, ControlError> {
        let stream = match Place::of(state_dir) {
            Ok(place) => UnixStream::connect(place.path()).await,
            Err(error) => Err(error),
        };
        match stream {
            Ok(stream) => Ok(Client {
                stream: BufReader::new(stream),
            }),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    Err(ControlError::NotRunning(state_dir.to_owned()))
                }
                _ => Err(ControlError::Broken(error)),
            },
        }
    }

    /// With at most `rows` files of each state, or with all of them.
    pub async fn status(mut self, rows: Option<usize>) -> Result<StatusReport, ControlError> {
        self.send(&Request::Status { rows }).await?;
        let mut report = match self.next(Some(SILENCE)).await? {
            Answer::Status { report } => *report,
            other => return Err(unexpected(other)),
        };
        while rows.is_none() {
            match self.next(Some(SILENCE)).await? {
                Answer::Rows { rows } => report.pending.extend(rows),
                Answer::Done { .. } => break,
                other => return Err(unexpected(other)),
            }
        }
        Ok(report)
    }

    /// Returns when nothing is left that can be uploaded.
    pub async fn drain(mut self, mut progress: impl FnMut(DrainProgress)) -> Result<(), ControlError> {
        self.send(&Request::Drain).await?;
        loop {
            match self.next(Some(SILENCE)).await? {
                Answer::Progress { progress: now } => progress(now),
                Answer::Done { .. } => return Ok(()),
                other => return Err(unexpected(other)),
            }
        }
    }

    /// Returns when the mount point is free, with the number of files that are left for the next mount. The
    /// mount bounds the time itself; `now` has it upload nothing before.
    pub async fn unmount(self, now: bool) -> Result<u64, ControlError> {
        self.count(&Request::Unmount { now }, None).await
    }

    /// What is chosen.
    pub async fn find(mut self, choice: Choice) -> Result<Vec<PendingStatus>, ControlError> {
        self.send(&Request::Find { choice }).await?;
        let mut found = Vec::new();
        loop {
            match self.next(Some(SILENCE)).await? {
                Answer::Rows { rows } => found.extend(rows),
                Answer::Done { .. } => return Ok(found),
                other => return Err(unexpected(other)),
            }
        }
    }

    /// Returns how many are tried again.
    pub async fn retry(self, choice: Choice) -> Result<u64, ControlError> {
        self.count(&Request::Retry { choice }, None).await
    }

    /// Returns how many were given up.
    pub async fn cancel(self, choice: Choice) -> Result<u64, ControlError> {
        self.count(&Request::Cancel { choice }, None).await
    }

    /// Returns the number of bytes, once the copy is on the disk. Dropping the future ends it.
    pub async fn export(self, item: String, to: PathBuf, replace: bool) -> Result<u64, ControlError> {
        self.count(&Request::Export { item, to, replace }, None).await
    }

    /// Returns how many files and changes that waited for the login go on.
    pub async fn log_in(self, account: String) -> Result<u64, ControlError> {
        self.count(&Request::LogIn { account }, None).await
    }

    /// Returns of how many accounts that changed something.
    pub async fn pause(self, account: Option<String>, paused: bool) -> Result<u64, ControlError> {
        self.count(&Request::Pause { account, paused }, Some(SILENCE))
            .await
    }

    /// Returns when who looks into the mount sees what changed on the service of an account; false where the mount
    /// does not serve it.
    pub async fn refresh(self, account: String) -> Result<bool, ControlError> {
        let count = self.count(&Request::Refresh { account }, Some(SILENCE)).await?;
        Ok(count > 0)
    }

    async fn count(mut self, request: &Request, silence: Option<Duration>) -> Result<u64, ControlError> {
        self.send(request).await?;
        match self.next(silence).await? {
            Answer::Done { count } => Ok(count),
            other => Err(unexpected(other)),
        }
    }

    async fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.write_all(&line).await
    }

    async fn next(&mut self, silence: Option<Duration>) -> io::Result<Answer> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(MAX_ANSWER);
        let read = limited.read_until(b'\n', &mut line);
        match silence {
            Some(limit) => tokio::time::timeout(limit, read).await??,
            None => read.await?,
        };
        if line.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it ended the connection",
            ));
        }
        Ok(serde_json::from_slice(&line)?)
    }
}

fn unexpected(answer: Answer) -> ControlError {
    match answer {
        Answer::Error { message } => ControlError::Refused(message),
        _ => ControlError::Refused(
            "the mount answered something else; are both of the same version?".to_owned(),
        ),
    }
}
