//! Folders that were deleted from here. A host cuts a deleted folder from its parent, whereupon it shows up in
//! the top folder, and not all hosts tell that it is in the trash.
//!
//! A folder that a person restores and that is then listed below another folder is one of the living again. One
//! that is restored into the top folder cannot be told from a deleted one, and stays hidden, unless the host
//! tells its state.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

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
    /// With when it was known of each.
    folders: HashMap<String, Instant>,
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
        self.state().folders.insert(folder.to_string(), Instant::now());
        if let Some(database) = &self.database
            && let Err(error) = database.bury(&self.id_space, folder.as_str()).await
        {
            tracing::warn!(%folder, %error, "a deleted folder is not noted and may show up again later");
        }
    }

    /// A folder was listed below another than the top one, by a call that began at `asked`. It lives, unless it
    /// was deleted since.
    pub(super) async fn lift(&self, folder: &FolderId, asked: Instant) {
        {
            let folders = &mut self.state().folders;
            if folders.get(folder.as_str()).is_none_or(|buried| *buried >= asked) {
                return;
            }
            folders.remove(folder.as_str());
        }
        tracing::info!(%folder, "a folder that was deleted from here was restored");
        if let Some(database) = &self.database
            && let Err(error) = database.unbury(&self.id_space, folder.as_str()).await
        {
            tracing::warn!(%folder, %error, "a restored folder is still noted as deleted");
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
                // Two that read at once must not bring back what was lifted meanwhile.
                if !state.loaded {
                    let now = Instant::now();
                    state
                        .folders
                        .extend(folders.into_iter().map(|folder| (folder, now)));
                    state.loaded = true;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the notes of deleted folders cannot be read: some may show up again");
            }
        }
    }

    pub(super) fn holds(&self, folder: &FolderId) -> bool {
        self.state().folders.contains_key(folder.as_str())
    }

    fn state(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Credentials;
    use super::*;

    #[tokio::test]
    async fn a_listing_from_before_a_deletion_does_not_undo_it() {
        let graves = Graves::new(&Settings {
            kind: "yetishare",
            base_url: "https://example.org/api/v2/".parse().unwrap(),
            credentials: Credentials::Password {
                username: "me".to_owned(),
                password: "p".into(),
            },
            token_dir: None,
            tombstones: None,
        });
        let folder = FolderId::new("12");
        let before = Instant::now();
        graves.bury(&folder).await;
        graves.lift(&folder, before).await;
        assert!(graves.holds(&folder));
        std::thread::sleep(std::time::Duration::from_millis(1));
        graves.lift(&folder, Instant::now()).await;
        assert!(!graves.holds(&folder));
    }
}
