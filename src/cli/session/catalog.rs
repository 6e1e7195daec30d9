//! What was published from this machine, whose list is in the state directory: held by the running mount, or else
//! by the command.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::attribute;
use crate::cli::failure::Failure;
use crate::config::{AccountConfig, Config, clock};
use crate::control::{Client, ControlError};
use crate::provider::{Catalog, Provider};
use crate::state::{Database, StateDir, StateError};

pub(super) struct Catalogs {
    state_dir: PathBuf,
    held: Option<(StateDir, Database)>,
}

impl Catalogs {
    /// Holds nothing yet.
    pub fn of(state_dir: &Path) -> Self {
        Catalogs {
            state_dir: state_dir.to_owned(),
            held: None,
        }
    }

    /// The account with its list, where that can be had; else as it is. Makes no state directory.
    pub async fn over(
        &mut self,
        config: &Config,
        account: &AccountConfig,
        plain: Arc<dyn Provider>,
    ) -> Result<Arc<dyn Provider>, Failure> {
        if self.held.is_none() && self.state_dir.exists() {
            match StateDir::open(&self.state_dir) {
                Ok(directory) if directory.database_path().exists() => {
                    let database = Database::open(&directory.database_path())?;
                    self.held = Some((directory, database));
                }
                Ok(_) | Err(StateError::InUse { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some((_, database)) = &self.held else {
            return Ok(plain);
        };
        // The calls of a day are counted in the same place.
        let service = config.connect_once(account, Some(database)).await?;
        Ok(Catalog::over(
            service,
            &account.name,
            database.clone(),
            None,
            clock(),
        ))
    }

    /// Where a path of an account is in the running mount; none where no mount serves the account.
    pub async fn place_in_mount(&self, account: &str, path: &str) -> Result<Option<PathBuf>, Failure> {
        let report = match Client::connect(&self.state_dir).await {
            Ok(client) => client.status(Some(0)).await?,
            Err(ControlError::NotRunning(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let places = [report.mount_point.join(account), report.mount_point];
        let is_account = |place: &&PathBuf| {
            let told = attribute::read(place, OsStr::new("user.lockerfs.account"));
            told.is_ok_and(|told| told.as_deref() == Some(account))
        };
        let top = places.iter().find(is_account);
        Ok(top.map(|top| top.join(path.trim_matches('/'))))
    }

    pub async fn close(self) {
        if let Some((_, database)) = self.held {
            database.close().await;
        }
    }
}
