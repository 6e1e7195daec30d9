//! `lockerfs unmount`: end a mount.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::mount::point::{self, MountPoint};
use super::{Global, Outcome, block_on, text};
use crate::control::{Client, ControlError};

/// How long an unmount waits for the mount's process after its answer.
const ENDING: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(super) struct UnmountArgs {
    /// Where it is mounted
    #[arg(value_name = "DIR")]
    mount_point: PathBuf,
}

pub(super) fn run(global: &Global, args: &UnmountArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let state_dir = global.paths()?.state_dir;
    let place = point::resolve(&args.mount_point)?;
    match point::look(&place)? {
        MountPoint::Ours | MountPoint::Dead => {}
        MountPoint::Free => {
            return Err(Failure::new(format!("nothing is mounted at {}", place.display())));
        }
        MountPoint::Other(kind) => {
            return Err(Failure::new(format!(
                "what is mounted at {} is {kind}, not lockerfs",
                place.display()
            )));
        }
    }
    block_on(async {
        match ask(&state_dir, &place).await {
            Ok(Some(0)) => Ok(()),
            Ok(Some(left)) => {
                let files = text::count(left, "file is", "files are");
                println!(
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
/// are left in its journal.
async fn ask(state_dir: &Path, place: &Path) -> Result<Option<u64>, ControlError> {
    let status = Client::connect(state_dir).await?.status(Some(0)).await?;
    if status.mount_point != place {
        return Ok(None);
    }
    let left = Client::connect(state_dir).await?.unmount().await?;
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
