//! Taking over the state directory from a mount that is just ending.
//!
//! A mount that was unmounted from outside goes on for a while to upload what waits, and holds its state
//! directory meanwhile. Whoever mounts again right away waits for that end; a mount that serves is no reason to wait.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::point::{self, MountPoint};
use crate::control::{Client, ControlError};
use crate::state::{StateDir, StateError};

/// How long the end may take beside its uploads.
const ENDING: Duration = Duration::from_secs(15);
/// How long a mount may hold the directory without answering, at its start and at its end.
const SILENCE: Duration = Duration::from_secs(3);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Opens the state directory, once a mount that ends has let go of it. `uploads` is how long its uploads may take.
pub(super) async fn state_dir(path: &Path, uploads: Duration) -> Result<StateDir, StateError> {
    let start = Instant::now();
    let mut told = false;
    loop {
        let in_use = match StateDir::open(path) {
            Err(error @ StateError::InUse { .. }) => error,
            opened => return opened,
        };
        let patience = match holder(path).await {
            Holder::Ends => uploads + ENDING,
            Holder::Silent => SILENCE,
            Holder::Serves => return Err(in_use),
        };
        if start.elapsed() >= patience {
            return Err(in_use);
        }
        if !told && start.elapsed() >= SILENCE / 3 {
            tell!("lockerfs: waiting for the mount before, which uploads what waits");
            told = true;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Who has the state directory.
enum Holder {
    Serves,
    /// Its mount point is free, or somebody else's.
    Ends,
    /// It does not answer yet, or no longer.
    Silent,
}

async fn holder(state_dir: &Path) -> Holder {
    let asked = match Client::connect(state_dir).await {
        Ok(client) => client.status(Some(0)).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(report) => match point::look(&report.mount_point) {
            Ok(MountPoint::Free | MountPoint::Other(_)) => Holder::Ends,
            _ => Holder::Serves,
        },
        Err(ControlError::NotRunning(_) | ControlError::Broken(_)) => Holder::Silent,
        Err(ControlError::Refused(_)) => Holder::Serves,
    }
}
