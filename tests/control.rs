//! The socket between a mount and the command line.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lockerfs::control::{
    AccountState, AccountStatus, Action, CallsStatus, Choice, Client, ControlError, DiskStatus,
    DrainProgress, Handler, HeldBack, HeldBackStatus, PendingState, PendingStatus, PinnedStatus, Server,
    StatusReport, Totals,
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
            calls: Some(CallsStatus {
                limit: 500,
                spent: 12,
                renewed: 86_400,
            }),
            held_back: Some(HeldBackStatus {
                why: HeldBack::AskedForFewer,
                until_ms: Some(5),
                calls_per_100_seconds: Some(250),
            }),
        }],
        disk: Some(DiskStatus {
            free: 3,
            reserve: 2,
            lacking: 1,
            full: true,
        }),
        pinned: Some(PinnedStatus { files: 2, bytes: 9 }),
        kept_aside: Vec::new(),
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
        action: Action::Upload,
        to: None,
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

    async fn unmount(&self, _now: bool) -> Result<u64, String> {
        Err("the mount point is busy".to_owned())
    }

    async fn find(&self, choice: &Choice) -> Result<Vec<PendingStatus>, String> {
        match choice.items.is_empty() {
            true => Ok((0..FILES).map(pending).collect()),
            false => Err("it is not pending".to_owned()),
        }
    }

    async fn retry(&self, choice: &Choice) -> Result<u64, String> {
        Ok(choice.account.as_ref().map_or(2, |_| 1))
    }

    async fn cancel(&self, choice: &Choice) -> Result<u64, String> {
        Ok(choice.items.len() as u64)
    }

    async fn export(&self, _: &str, to: &Path, _: bool) -> Result<u64, String> {
        let _gone = WhenGone(to.to_owned());
        std::future::pending().await
    }

    async fn log_in(&self, account: &str) -> Result<u64, String> {
        Ok(account.len() as u64)
    }

    async fn pause(&self, account: Option<&str>, paused: bool) -> Result<u64, String> {
        Ok(u64::from(paused) + u64::from(account.is_none()))
    }

    async fn refresh(&self, account: &str) -> Result<bool, String> {
        match account {
            "media" => Ok(true),
            "away" => Err("what changed in away is not known yet".to_owned()),
            _ => Ok(false),
        }
    }
}

/// Leaves a file when an export is dropped.
struct WhenGone(PathBuf);

impl Drop for WhenGone {
    fn drop(&mut self) {
        std::fs::write(&self.0, "gone").expect("a file");
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
    let server = Server::bind(&state_dir, None).expect("a socket");
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
    let choice = |items: &[&str]| Choice {
        account: Some("media".to_owned()),
        items: items.iter().map(|item| (*item).to_owned()).collect(),
    };
    let client = connect(&running).await;
    assert_eq!(client.retry(choice(&[])).await.expect("retry"), 1);
    let client = connect(&running).await;
    assert_eq!(client.cancel(choice(&["1", "/a"])).await.expect("cancel"), 2);
    let client = connect(&running).await;
    assert_eq!(client.pause(None, true).await.expect("pause"), 2);
    let client = connect(&running).await;
    assert_eq!(client.log_in("media".to_owned()).await.expect("login"), 5);
    let found = connect(&running).await.find(choice(&[])).await.expect("rows");
    assert_eq!(found, (0..FILES).map(pending).collect::<Vec<_>>());
    let none = connect(&running).await.find(choice(&["9"])).await;
    assert_eq!(none.expect_err("none").to_string(), "it is not pending");
    let refused = connect(&running).await.unmount(false).await.expect_err("busy");
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
    Server::bind(folder.path(), None).expect("a socket");
    let missing = Client::connect(Path::new("/nonexistent")).await;
    assert!(matches!(missing, Err(ControlError::NotRunning(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_understood_or_has_no_end_is_answered_with_an_error() {
    let folder = TempDir::new().expect("a folder");
    let server = Server::bind(folder.path(), None).expect("a socket");
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

#[tokio::test(flavor = "multi_thread")]
async fn work_for_a_client_that_went_away_is_dropped() {
    let running = serve();
    let left = running.state_dir.join("left");
    let client = connect(&running).await;
    let export = client.export("1".to_owned(), left.clone(), false);
    let cut = tokio::time::timeout(Duration::from_millis(200), export).await;
    assert!(cut.is_err(), "it ends when it is dropped only");
    let mut looks = 0;
    while !left.exists() {
        looks += 1;
        assert!(looks < 1000, "the export goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_do_not_keep_others_out() {
    let running = serve();
    let socket = running.state_dir.join("control.sock");
    let silent: Vec<_> = tokio::task::spawn_blocking(move || {
        // A socket's address may be shorter than the path.
        let directory = std::fs::File::open(socket.parent().expect("a folder")).expect("a folder");
        let short = format!(
            "/proc/self/fd/{}/control.sock",
            std::os::fd::AsRawFd::as_raw_fd(&directory)
        );
        (0..80)
            .map(|_| UnixStream::connect(&short).expect("a connection"))
            .collect()
    })
    .await
    .expect("connections");
    let asked = tokio::time::timeout(Duration::from_secs(20), async {
        connect(&running).await.status(Some(1)).await.expect("status")
    });
    assert_eq!(asked.await.expect("an answer in time"), report(0..1));
    drop(silent);
    running.task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_stands_in_the_sessions_directory_and_is_found_by_way_of_the_state_directory() {
    let folder = TempDir::new().expect("a folder");
    let session = folder.path().join("run");
    // Whoever made it let others in.
    std::fs::create_dir(&session).expect("a folder");
    std::fs::set_permissions(&session, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let states = ["one", "two"].map(|name| folder.path().join(name));
    let tasks = states.each_ref().map(|state| {
        std::fs::create_dir(state).expect("a folder");
        let server = Server::bind(state, Some(&session)).expect("a socket");
        tokio::spawn(async move { server.run(Arc::new(Mount)).await })
    });
    let mode = |path: &Path| std::fs::metadata(path).expect("stat").permissions().mode() & 0o777;
    assert_eq!(mode(&session), 0o700);
    let sockets = || std::fs::read_dir(&session).expect("a list").count();
    assert_eq!(sockets(), 2, "one for each state directory");
    for state in &states {
        assert_eq!(mode(&state.join("control.sock")), 0o600);
        let client = Client::connect(state).await.expect("a connection");
        assert_eq!(client.status(Some(3)).await.expect("status"), report(0..3));
    }
    for task in tasks {
        task.abort();
        while !task.is_finished() {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(sockets(), 0);
    assert!(
        std::fs::symlink_metadata(states[0].join("control.sock")).is_err(),
        "the link stays"
    );
}

#[tokio::test]
async fn a_sessions_directory_of_somebody_else_is_not_used() {
    let folder = TempDir::new().expect("a folder");
    let (state, theirs, session) = ["state", "theirs", "run"]
        .map(|name| folder.path().join(name))
        .into();
    for made in [&state, &theirs] {
        std::fs::create_dir(made).expect("a folder");
    }
    std::os::unix::fs::symlink(&theirs, &session).expect("a link");
    let _server = Server::bind(&state, Some(&session)).expect("a socket");
    assert_eq!(std::fs::read_dir(&theirs).expect("a list").count(), 0);
    let kind = std::fs::symlink_metadata(state.join("control.sock"))
        .expect("a socket")
        .file_type();
    assert!(std::os::unix::fs::FileTypeExt::is_socket(&kind));
}
