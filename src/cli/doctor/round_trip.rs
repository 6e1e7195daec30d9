//! A file that goes through a real mount to an emulated service and back, in a temporary folder.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Finding;
use crate::cli::failure::Failure;
use crate::cli::mount::{Plan, Running, point};
use crate::cli::sandbox::config_text;
use crate::config::{Config, Paths};
use crate::control::Client;
use crate::sandbox::{Account, Options, Sandbox};

const CHECK: &str = "round trip";
/// How long all of it may take; it takes a second.
const LIMIT: Duration = Duration::from_secs(60);
const ACCOUNT: &str = "mediafire";
const CONTENT: &[u8] = b"There and back again.\n";

/// Mounts, writes, reads, uploads, unmounts.
pub(super) async fn make() -> Finding {
    let folder = match tempfile::Builder::new().prefix("lockerfs-doctor-").tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            let found = format!("no temporary folder can be made: {error}");
            return Finding::fail(CHECK, found, "make room in it, or set TMPDIR to another one");
        }
    };
    let place = folder.path().join("mount");
    let done = tokio::time::timeout(LIMIT, go(folder.path(), &place)).await;
    let outcome = match done {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::new(format!(
            "it did not end within {} s",
            LIMIT.as_secs()
        ))),
    };
    if outcome.is_err() && !matches!(point::look(&place), Ok(point::MountPoint::Free)) {
        // What is still mounted would keep the folder; that it could not be is told as the outcome.
        let _ = point::unmount(&place);
    }
    let path = folder.path().to_owned();
    match (outcome, folder.close()) {
        (Ok(()), Ok(())) => Finding::ok(CHECK, "mounted, wrote, uploaded, read and unmounted"),
        (Err(failure), _) => Finding::fail(CHECK, failure.to_string(), "see the lines above; -vv tells more"),
        (Ok(()), Err(error)) => {
            let found = format!("{} could not be removed: {error}", path.display());
            Finding::warn(CHECK, found, "remove it by hand")
        }
    }
}

async fn go(folder: &Path, place: &Path) -> Result<(), Failure> {
    let failed = |what: &str, e: &dyn std::fmt::Display| Failure::new(format!("cannot {what}: {e}"));
    let account = Account::mediafire(ACCOUNT);
    let options = Options {
        accounts: vec![account.clone()],
        ..Options::new(folder.join("service"))
    };
    let sandbox = Sandbox::start(options)
        .await
        .map_err(|e| failed("emulate a service", &e))?;
    let paths = Paths {
        config: folder.join("config.toml"),
        state_dir: folder.join("state"),
        cache_dir: folder.join("cache"),
    };
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(place)
        .map_err(|e| failed("make a mount point", &e))?;
    let text = format!(
        "upload_delay = \"0s\"\nreserve = \"0\"\n{}",
        config_text(&sandbox, &[account])
    );
    let plan = Plan {
        config: Config::parse(&paths.config, &text)?,
        paths: paths.clone(),
        alone: true,
        mount_point: point::resolve(place)?,
        allow_other: false,
        read_only: false,
        no_exec: false,
        source: None,
    };
    let running = Running::start(plan).await?;
    let served = async { running.until_end().await };
    let used = async {
        let outcome = tokio::task::spawn_blocking({
            let file = place.join("file.txt");
            move || write_and_read(&file)
        });
        let outcome = match outcome.await {
            Ok(outcome) => outcome,
            Err(error) => Err(failed("use the mount", &error)),
        };
        let uploaded = match outcome {
            Ok(()) => upload(&paths.state_dir, &sandbox.files_dir(ACCOUNT).join("file.txt")).await,
            failed => failed,
        };
        let unmounted = async { Client::connect(&paths.state_dir).await?.unmount(false).await };
        let unmounted: Result<u64, _> = unmounted.await;
        uploaded.and(unmounted.map(drop).map_err(Failure::from))
    };
    let (served, used) = tokio::join!(served, used);
    sandbox.stop().await;
    used.and(served)
}

fn write_and_read(file: &PathBuf) -> Result<(), Failure> {
    let failed = |what: &str, e: std::io::Error| Failure::new(format!("{what} in a mount fails: {e}"));
    std::fs::write(file, CONTENT).map_err(|e| failed("writing", e))?;
    let read = std::fs::read(file).map_err(|e| failed("reading", e))?;
    match read == CONTENT {
        true => Ok(()),
        false => Err(Failure::new("a mount gives back other bytes than were written")),
    }
}

async fn upload(state_dir: &Path, stored: &Path) -> Result<(), Failure> {
    Client::connect(state_dir).await?.drain(|_| {}).await?;
    match std::fs::read(stored) {
        Ok(bytes) if bytes == CONTENT => Ok(()),
        _ => Err(Failure::new(
            "what was written did not arrive at the emulated service",
        )),
    }
}
