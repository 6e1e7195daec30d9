//! The socket between a mount and the command line.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockerfs::control::{
    AccountState, AccountStatus, Client, ControlError, DrainProgress, Handler, PendingState, PendingStatus,
    Server, StatusReport, Totals,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

struct Mount;

const FILES: usize = 2000;

fn report(numbers: std::ops::Range<usize>) -> StatusReport {
    StatusReport {
        version: "1".to_owned(),
        pid: 7,
        mount_point: PathBuf::from("/mnt/locker"),
        accounts: vec![AccountStatus {
            name: "media".to_owned(),
            kind: "mediafire".to_owned(),
            state: AccountState::LoginRefused,
            paused: false,
            message: Some("wrong password".to_owned()),
            storage_used: Some(1),
            storage_limit: None,
        }],
        totals: totals(FILES as u64),
        pending: numbers.map(pending).collect(),
    }
}

fn totals(files: u64) -> Totals {
    let mut totals = Totals::default();
    totals.add(PendingState::Queued, files, 10 * files, 0);
    totals.at_rate(5)
}

fn pending(number: usize) -> PendingStatus {
    PendingStatus {
        id: number.to_string(),
        account: "media".to_owned(),
        path: format!("folder/ä {number}"),
        size: 10,
        sent: 0,
        rate: 0,
        state: PendingState::Queued,
        error: None,
        tries: 0,
        next_try: None,
    }
}

#[async_trait]
impl Handler for Mount {
    async fn status(&self, rows: usize) -> StatusReport {
        report(0..rows.min(FILES))
    }

    async fn pending_after(&self, after: Option<&str>) -> Vec<PendingStatus> {
        let first = after.map_or(0, |id| id.parse::<usize>().expect("an id of ours") + 1);
        (first..FILES.min(first + 300)).map(pending).collect()
    }

    async fn drain(&self, progress: mpsc::Sender<DrainProgress>) -> Result<(), String> {
        for files in (0..3).rev() {
            let sent = progress
                .send(DrainProgress {
                    totals: totals(files),
                    pending: Vec::new(),
                })
                .await;
            sent.map_err(|_| "nobody listens".to_owned())?;
        }
        Ok(())
    }

    async fn unmount(&self) -> Result<usize, String> {
        Err("the mount point is busy".to_owned())
    }

    async fn retry(&self, account: Option<&str>) -> Result<usize, String> {
        Ok(account.map_or(2, |_| 1))
    }
}

/// A running server in a folder of a path too long for a socket's address.
struct Running {
    _folder: TempDir,
    state_dir: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

fn serve() -> Running {
    let folder = TempDir::new().expect("a folder");
    let state_dir = folder.path().join("d".repeat(120));
    std::fs::create_dir(&state_dir).expect("a folder");
    let server = Server::bind(&state_dir).expect("a socket");
    let task = tokio::spawn(async move { server.run(Arc::new(Mount)).await });
    Running {
        _folder: folder,
        state_dir,
        task,
    }
}

async fn connect(running: &Running) -> Client {
    Client::connect(&running.state_dir).await.expect("a connection")
}

#[tokio::test]
async fn a_long_state_directory_serves_all_requests() {
    let running = serve();
    let status = async |rows| connect(&running).await.status(rows).await.expect("status");
    assert_eq!(status(Some(7)).await, report(0..7));
    assert_eq!(status(None).await, report(0..FILES), "in parts");
    let mut seen = Vec::new();
    connect(&running)
        .await
        .drain(|progress| seen.push(progress.totals.files))
        .await
        .expect("drained");
    assert_eq!(seen, [2, 1, 0]);
    assert_eq!(
        connect(&running).await.retry(Some("media")).await.expect("retry"),
        1
    );
    let refused = connect(&running).await.unmount().await.expect_err("busy");
    assert_eq!(refused.to_string(), "the mount point is busy");
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_goes_with_the_server() {
    let running = serve();
    let socket = running.state_dir.join("control.sock");
    let mode = std::fs::metadata(&socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    running.task.abort();
    while !running.task.is_finished() {
        tokio::task::yield_now().await;
    }
    assert!(!socket.exists());
    assert!(matches!(
        Client::connect(&running.state_dir).await,
        Err(ControlError::NotRunning(_))
    ));
}

#[tokio::test]
async fn a_dead_socket_is_replaced_and_told_from_a_living_one() {
    let folder = TempDir::new().expect("a folder");
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("control.sock")).expect("a socket"));
    assert!(matches!(
        Client::connect(folder.path()).await,
        Err(ControlError::NotRunning(_))
    ));
    Server::bind(folder.path()).expect("a socket");
    let missing = Client::connect(Path::new("/nonexistent")).await;
    assert!(matches!(missing, Err(ControlError::NotRunning(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_understood_or_has_no_end_is_answered_with_an_error() {
    let folder = TempDir::new().expect("a folder");
    let server = Server::bind(folder.path()).expect("a socket");
    let task = tokio::spawn(async move { server.run(Arc::new(Mount)).await });
    let socket = folder.path().join("control.sock");
    let answers = tokio::task::spawn_blocking(move || {
        [b"{\"request\":\"format\"}\n".to_vec(), vec![b'x'; 64 * 1024]].map(|request| {
            let mut stream = UnixStream::connect(&socket).expect("a connection");
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .expect("a timeout");
            stream.write_all(&request).expect("sent");
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).expect("an answer");
            line
        })
    })
    .await
    .expect("answers");
    for answer in answers {
        assert!(answer.contains("not understood"), "{answer}");
    }
    task.abort();
}
