//! `lockerfs unmount`: end a mount.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::mount::point::{self, MountPoint};
use super::progress::Progress;
use super::{Global, Outcome, block_on, text, which};
use crate::control::{Client, ControlError};

/// How long an unmount waits for the mount's process after its answer.
const ENDING: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  lockerfs unmount ~/cloud         upload what waits, for as long as stop_timeout says, then unmount
  lockerfs unmount --now ~/cloud   unmount at once

What is not uploaded by then is kept and uploaded with the next mount. ^C ends the waiting only: the mount ends
all the same.

Exit status: 0 when it is unmounted, whatever is kept; 1 when it is not.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct UnmountArgs {
    /// Where it is mounted
    #[arg(value_name = "DIR")]
    mount_point: PathBuf,
    /// Keep what waits for the next mount, in place of uploading it before; also ends an unmount that takes long
    #[arg(long)]
    now: bool,
}

pub(super) fn run(global: &Global, args: &UnmountArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let place = point::resolve(&args.mount_point)?;
    let state_dir = match point::look(&place)? {
        MountPoint::Ours => match which::told_by(&place) {
            Some(told) => told,
            None => global.paths()?.state_dir,
        },
        MountPoint::Dead => global.paths()?.state_dir,
        MountPoint::Free => {
            return Err(Failure::new(format!("nothing is mounted at {}", place.display())));
        }
        MountPoint::Other(kind) => {
            return Err(Failure::new(format!(
                "what is mounted at {} is {kind}, not lockerfs",
                place.display()
            )));
        }
    };
    block_on(async {
        match ask(&state_dir, &place, args.now).await {
            Ok(Some(0)) => Ok(()),
            Ok(Some(left)) => {
                let files = text::count(left, "file is", "files are");
                putln!(
                    "Unmounted. {files} not uploaded yet; kept in {} for the next mount.",
                    state_dir.display()
                );
                Ok(())
            }
            // The mount of another state directory, or a dead one: it is ended from outside. What it did not
            // upload stays in its journal.
            Ok(None) | Err(ControlError::NotRunning(_)) => point::unmount(&place),
            Err(error) => Err(error.into()),
        }
    })
}

/// Asks the mount that runs with this state directory, if it is the one at `place`; returns how many files
/// are left in its journal. Shows how the uploads go meanwhile.
async fn ask(state_dir: &Path, place: &Path, now: bool) -> Result<Option<u64>, ControlError> {
    let status = Client::connect(state_dir).await?.status(Some(0)).await?;
    if status.mount_point != place {
        return Ok(None);
    }
    let unmounting = Client::connect(state_dir).await?.unmount(now);
    let left = if status.totals.is_nothing() || now {
        unmounting.await?
    } else {
        let mut progress = Progress::new();
        let watching = Client::connect(state_dir).await?;
        let watching = async {
            // The mount may end before it tells the last of it, and its answer says how it went.
            let _ = watching.drain(|now| progress.tell(&now)).await;
            std::future::pending::<Result<u64, ControlError>>().await
        };
        tokio::select! {
            left = unmounting => left?,
            left = watching => left?,
        }
    };
    until_ended(state_dir).await;
    Ok(Some(left))
}

/// Waits a little for the end of the process that answered, so that whoever mounts or looks next finds none.
async fn until_ended(state_dir: &Path) {
    let ended = async {
        while Client::connect(state_dir).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // One that takes longer ends by itself.
    let _ = tokio::time::timeout(ENDING, ended).await;
}
