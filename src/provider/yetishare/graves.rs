//! Folders that were deleted from here. A host cuts a deleted folder from its parent, whereupon it shows up in
//! the top folder, and not all hosts tell that it is in the trash.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Settings;
use crate::provider::FolderId;
use crate::state::Database;

pub(super) struct Graves {
    /// Keeps them over a restart.
    database: Option<Database>,
    id_space: String,
    state: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    folders: HashSet<String>,
    /// Whether those of the database are among them.
    loaded: bool,
}

impl Graves {
    pub(super) fn new(settings: &Settings) -> Self {
        Graves {
            database: settings.tombstones.clone(),
            id_space: settings.base_url.as_str().to_owned(),
            state: Mutex::default(),
        }
    }

    /// Notes a folder as deleted. A database that fails is warned of: until the end of the process the folder
    /// stays away all the same.
    pub(super) async fn bury(&self, folder: &FolderId) {
        self.state().folders.insert(folder.to_string());
        if let Some(database) = &self.database
            && let Err(error) = database.bury(&self.id_space, folder.as_str()).await
        {
            tracing::warn!(%folder, %error, "a deleted folder is not noted and may show up again later");
        }
    }

    /// Reads those of earlier processes, once.
    pub(super) async fn load(&self) {
        let Some(database) = &self.database else {
            return;
        };
        if self.state().loaded {
            return;
        }
        match database.tombstones(&self.id_space).await {
            Ok(folders) => {
                let mut state = self.state();
                state.folders.extend(folders);
                state.loaded = true;
            }
            Err(error) => {
                tracing::warn!(%error, "the notes of deleted folders cannot be read: some may show up again");
            }
        }
    }

    pub(super) fn holds(&self, folder: &FolderId) -> bool {
        self.state().folders.contains(folder.as_str())
    }

    fn state(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
