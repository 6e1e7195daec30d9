//! What a person decided about accounts and that outlives the mount.

use rusqlite::Connection;

use super::{Database, StateError};

impl Database {
    /// The accounts of which nothing is sent until a person says so.
    pub async fn paused_accounts(&self) -> Result<Vec<String>, StateError> {
        let read = |connection: &Connection| {
            let mut statement = connection
                .prepare("SELECT account FROM paused")
                .map_err(reading)?;
            let names = statement.query_map([], |row| row.get(0)).map_err(reading)?;
            names.collect::<Result<_, _>>().map_err(reading)
        };
        self.read("read what is paused", read).await
    }

    /// Notes that an account is paused, or not. `then` follows the commit, as with [`Database::journal`].
    pub async fn set_paused(
        &self,
        account: String,
        paused: bool,
        then: impl FnOnce(&()) + Send + 'static,
    ) -> Result<(), StateError> {
        let statement = match paused {
            true => "INSERT OR IGNORE INTO paused (account) VALUES (?1)",
            false => "DELETE FROM paused WHERE account = ?1",
        };
        let note = move |connection: &Connection| {
            connection
                .execute(statement, [account])
                .map(drop)
                .map_err(|error| StateError::sqlite("note what is paused", &error))
        };
        self.write("note what is paused", note, then).await
    }
}

fn reading(error: rusqlite::Error) -> StateError {
    StateError::sqlite("read what is paused", &error)
}
