//! The state of a directory that no mount may use meanwhile, for what changes it and the config together.

use std::path::Path;

use crate::cli::failure::Failure;
use crate::control::{Client, ControlError, StatusReport};
use crate::state::{Database, StateDir, StateError};

/// Who has the state directory.
pub(super) enum State {
    /// Nobody ever had it.
    Empty,
    /// A mount.
    Mounted(Box<StatusReport>),
    /// This process, as long as this lives.
    Held(Held),
}

pub(super) struct Held {
    pub directory: StateDir,
    pub database: Database,
}

pub(super) async fn take(path: &Path) -> Result<State, Failure> {
    let asked = match Client::connect(path).await {
        Ok(client) => client.status(Some(0)).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(report) => return Ok(State::Mounted(Box::new(report))),
        Err(ControlError::NotRunning(_)) => {}
        Err(error) => return Err(error.into()),
    }
    if !path.exists() {
        return Ok(State::Empty);
    }
    let directory = match StateDir::open(path) {
        Err(StateError::InUse { .. }) => {
            return Err(Failure::new(
                "a mount is starting or ending: try again in a moment",
            ));
        }
        directory => directory?,
    };
    let database = Database::open(&directory.database_path())?;
    Ok(State::Held(Held { directory, database }))
}
