//! The mount's side of the socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};

use super::message::{Answer, Choice, DrainProgress, MAX_REQUEST, PendingStatus, Request, StatusReport};
use super::place::Places;

const MAX_CONNECTIONS: usize = 64;
const ROWS_IN_A_LINE: usize = 1024;
/// How long a client may take to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// How long it may take to take in a line.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a mount does for those who ask. Errors are sentences for a person.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Must not wait for the network.
    /// At most `rows` files of each state are listed.
    async fn status(&self, rows: usize) -> StatusReport;

    /// Pending files after the one with the id `after`, by id: some of them, or none where there are no more.
    async fn pending_after(&self, after: Option<&str>) -> Vec<PendingStatus>;

    /// Returns when nothing is left that can be uploaded. `progress` is told about each second or more often.
    /// Dropping the future ends the waiting, not the uploads.
    async fn drain(&self, progress: mpsc::Sender<DrainProgress>) -> Result<(), String>;

    /// Drains unless it is to be `now`, unmounts, and returns when the mount point is free: how many files are left
    /// for the next mount.
    async fn unmount(&self, now: bool) -> Result<u64, String>;

    /// What is chosen. Fails where an item of the choice is not there.
    async fn find(&self, choice: &Choice) -> Result<Vec<PendingStatus>, String>;

    /// Tries what failed again now and returns how many there are.
    async fn retry(&self, choice: &Choice) -> Result<u64, String>;

    /// Gives up what waits or is parked, and returns how many that were.
    async fn cancel(&self, choice: &Choice) -> Result<u64, String>;

    /// Copies the newest content of a file to `to`, and returns the number of bytes. Dropping the future ends it.
    async fn export(&self, item: &str, to: &Path, replace: bool) -> Result<u64, String>;

    /// Uses the secrets of an account that were stored anew from now on, and returns how many files and changes go on
    /// that waited for that. It reads them where the config says that they are.
    async fn log_in(&self, account: &str) -> Result<u64, String>;

    /// Begins no more uploads of an account, or of all, or goes on with them; the number of accounts that this
    /// changes.
    async fn pause(&self, account: Option<&str>, paused: bool) -> Result<u64, String>;

    /// Looks at once for what changed on the service of an account; false where it is not in this mount.
    async fn refresh(&self, account: &str) -> Result<bool, String>;
}

/// The listening socket. Dropping it removes the socket.
pub struct Server {
    listener: UnixListener,
    _places: Places,
    connections: Arc<Semaphore>,
}

impl Server {
    /// Makes the socket, in the session's directory where one is given. Whoever calls this holds the lock of the
    /// state directory, so that a socket found there is a dead one.
    pub fn bind(state_dir: &Path, session: Option<&Path>) -> io::Result<Self> {
        let places = Places::prepare(state_dir, session)?;
        let socket = places.socket.path();
        let listener = UnixListener::bind(&socket)?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))?;
        Ok(Server {
            listener,
            _places: places,
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        })
    }

    /// Serves until the future is dropped. Answers that are under way are finished by tasks of their own.
    pub async fn run(&self, handler: Arc<dyn Handler>) {
        loop {
            let Ok(permit) = Arc::clone(&self.connections).acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let handler = Arc::clone(&handler);
                    tokio::spawn(async move {
                        if let Err(error) = serve(stream, &*handler).await {
                            tracing::debug!(%error, "a client of the control socket went away");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot take a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Waits a moment for answers that are under way, before the process ends.
    pub async fn finish(&self, limit: Duration) {
        let all = self.connections.acquire_many(MAX_CONNECTIONS as u32);
        // What is not answered by then is cut off.
        let _ = tokio::time::timeout(limit, all).await;
    }
}

async fn serve(stream: UnixStream, handler: &dyn Handler) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    // SAFETY: geteuid has no preconditions and cannot fail.
    let own = unsafe { libc::geteuid() };
    if peer != own && peer != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {peer} is not the owner"),
        ));
    }
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    let mut limited = BufReader::new(reader).take(MAX_REQUEST);
    tokio::time::timeout(REQUEST_TIMEOUT, limited.read_until(b'\n', &mut line)).await??;
    let answer = match serde_json::from_slice(&line) {
        Ok(request) => tokio::select! {
            answer = answer(request, handler, &mut writer) => answer?,
            // Nobody waits for it any more: what was begun and cannot be dropped ends by itself.
            () = hung_up(limited.into_inner()) => return Ok(()),
        },
        Err(error) => Answer::Error {
            message: format!("this request is not understood: {error}"),
        },
    };
    send(&mut writer, &answer).await
}

/// Waits until the client ends its side. Whatever it says beside its request is nothing to us.
async fn hung_up(mut reader: BufReader<OwnedReadHalf>) {
    let mut ignored = [0; 256];
    while reader.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}

async fn answer(
    request: Request,
    handler: &dyn Handler,
    writer: &mut (impl AsyncWriteExt + Unpin),
) -> io::Result<Answer> {
    let result = match request {
        Request::Status { rows: Some(rows) } => {
            return Ok(Answer::Status {
                report: Box::new(handler.status(rows).await),
            });
        }
        Request::Status { rows: None } => {
            let report = Box::new(handler.status(0).await);
            send(writer, &Answer::Status { report }).await?;
            send_rows(handler, writer).await?;
            Ok(0)
        }
        Request::Drain => {
            let (sender, mut progress) = mpsc::channel(4);
            let mut drain = handler.drain(sender);
            // A client that hung up shows when progress cannot be sent, and ends the waiting.
            let result = loop {
                tokio::select! {
                    biased;
                    Some(progress) = progress.recv() => send(writer, &Answer::Progress { progress }).await?,
                    result = &mut drain => break result.map(|()| 0),
                }
            };
            while let Ok(progress) = progress.try_recv() {
                send(writer, &Answer::Progress { progress }).await?;
            }
            result
        }
        Request::Unmount { now } => handler.unmount(now).await,
        Request::Find { choice } => match handler.find(&choice).await {
            Ok(rows) => {
                for part in rows.chunks(ROWS_IN_A_LINE) {
                    let rows = part.to_vec();
                    send(writer, &Answer::Rows { rows }).await?;
                }
                Ok(rows.len() as u64)
            }
            Err(message) => Err(message),
        },
        Request::Retry { choice } => handler.retry(&choice).await,
        Request::Cancel { choice } => handler.cancel(&choice).await,
        Request::Export { item, to, replace } => handler.export(&item, &to, replace).await,
        Request::LogIn { account } => handler.log_in(&account).await,
        Request::Refresh { account } => handler.refresh(&account).await.map(u64::from),
        Request::Pause { account, paused } => handler.pause(account.as_deref(), paused).await,
    };
    Ok(result.map_or_else(
        |message| Answer::Error { message },
        |count| Answer::Done { count },
    ))
}

/// All pending files, some at a time, so that neither side of a long queue holds it as one text.
async fn send_rows(handler: &dyn Handler, writer: &mut (impl AsyncWriteExt + Unpin)) -> io::Result<()> {
    let mut after = None;
    loop {
        let rows = handler.pending_after(after.as_deref()).await;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for part in rows.chunks(ROWS_IN_A_LINE) {
            let rows = part.to_vec();
            send(writer, &Answer::Rows { rows }).await?;
        }
    }
}

async fn send(writer: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    tokio::time::timeout(CLIENT_TIMEOUT, writer.write_all(&line)).await?
}
