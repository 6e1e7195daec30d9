//! The permission bits that programs gave to files and folders of a service, which no service holds.
//!
//! They are kept by account and item for as long as the item is there and the account is the same person's on the same
//! service, and only where a program gave them; what has no entry shows the usual ones. Those of a file that waits for its upload are in its row of the journal, and come
//! here in the transaction that takes the row out. What is kept of an item that is gone does no harm: its id is not
//! used again.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::index::ItemKey;
use super::{Database, JournalTransaction, StateError};

const READ: &str = "SELECT mode FROM modes WHERE account = ?1 AND item = ?2";

impl JournalTransaction<'_> {
    /// Keeps the bits of an item from the end of this transaction on, or forgets them.
    pub fn set_mode(&self, account: &str, item: &ItemKey, mode: Option<u16>) -> Result<(), StateError> {
        write(self.connection, account, item, mode)
    }

    /// Lets an item have the bits of another one, whose content is under its id by now.
    pub fn move_mode(&self, account: &str, from: &ItemKey, to: &ItemKey) -> Result<(), StateError> {
        let mode = read(self.connection, account, from)?;
        write(self.connection, account, to, mode)?;
        write(self.connection, account, from, None)
    }
}

impl Database {
    /// The bits that were given to these items; those to which none were given are left out.
    pub async fn modes(
        &self,
        account: &str,
        items: Vec<ItemKey>,
    ) -> Result<HashMap<ItemKey, u16>, StateError> {
        let account = account.to_owned();
        let read_all = move |connection: &Connection| {
            let mut found = HashMap::new();
            // Most accounts have none.
            let any = connection
                .prepare_cached("SELECT 1 FROM modes WHERE account = ?1 LIMIT 1")
                .and_then(|mut statement| statement.exists([&account]))
                .map_err(reading)?;
            if !any {
                return Ok(found);
            }
            for item in items {
                if let Some(mode) = read(connection, &account, &item)? {
                    found.insert(item, mode);
                }
            }
            Ok(found)
        };
        self.read("read permission bits", read_all).await
    }

    /// Keeps the bits of an item, or forgets them.
    pub async fn set_mode(&self, account: &str, item: ItemKey, mode: Option<u16>) -> Result<(), StateError> {
        let account = account.to_owned();
        let keep = move |connection: &Connection| write(connection, &account, &item, mode);
        self.write("keep permission bits", keep, |()| {}).await
    }

    /// Forgets the bits of items that are gone.
    pub async fn forget_modes(&self, account: &str, items: Vec<ItemKey>) -> Result<(), StateError> {
        let account = account.to_owned();
        let forget = move |connection: &Connection| {
            items
                .iter()
                .try_for_each(|item| write(connection, &account, item, None))
        };
        self.write("forget permission bits", forget, |()| {}).await
    }
}

fn read(connection: &Connection, account: &str, item: &ItemKey) -> Result<Option<u16>, StateError> {
    let mut statement = connection.prepare_cached(READ).map_err(reading)?;
    statement
        .query_row(params![account, item.text()], |row| row.get(0))
        .optional()
        .map_err(reading)
}

fn write(
    connection: &Connection,
    account: &str,
    item: &ItemKey,
    mode: Option<u16>,
) -> Result<(), StateError> {
    let written = match mode {
        Some(mode) => connection
            .prepare_cached("INSERT OR REPLACE INTO modes (account, item, mode) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| statement.execute(params![account, item.text(), mode])),
        None => connection
            .prepare_cached("DELETE FROM modes WHERE account = ?1 AND item = ?2")
            .and_then(|mut statement| statement.execute(params![account, item.text()])),
    };
    written.map(drop).map_err(writing)
}

fn reading(error: rusqlite::Error) -> StateError {
    StateError::sqlite("read permission bits", &error)
}

fn writing(error: rusqlite::Error) -> StateError {
    StateError::sqlite("keep permission bits", &error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bits_are_kept_by_account_and_item_and_go_along_with_a_content() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("state.db")).unwrap();
        let (file, other) = (ItemKey::File("1".into()), ItemKey::File("2".into()));
        let same_id = ItemKey::Folder("1".into());
        let all = vec![file.clone(), other.clone(), same_id.clone()];
        assert!(database.modes("a", all.clone()).await.unwrap().is_empty());
        database.set_mode("a", file.clone(), Some(0o600)).await.unwrap();
        database
            .set_mode("a", same_id.clone(), Some(0o700))
            .await
            .unwrap();
        assert!(database.modes("b", all.clone()).await.unwrap().is_empty());
        let moved = (file.clone(), other.clone());
        database
            .journal(
                "test",
                move |journal| journal.move_mode("a", &moved.0, &moved.1),
                |()| {},
            )
            .await
            .unwrap();
        let expected = HashMap::from([(other.clone(), 0o600), (same_id.clone(), 0o700)]);
        assert_eq!(database.modes("a", all.clone()).await.unwrap(), expected);
        database.set_mode("a", same_id, None).await.unwrap();
        database.close().await;
    }

    #[tokio::test]
    async fn bits_are_forgotten_with_the_login_or_the_owner_of_their_account() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("state.db")).unwrap();
        let top = ItemKey::Folder("0".into());
        let account = database.indexed_account("a", "login", "0").await.unwrap();
        database.note_owner(account.account, "ann").await.unwrap();
        let give = || database.set_mode("a", top.clone(), Some(0o700));
        let are_given = async || !database.modes("a", vec![top.clone()]).await.unwrap().is_empty();
        give().await.unwrap();
        database.indexed_account("a", "login", "0").await.unwrap();
        database.note_owner(account.account, "ann").await.unwrap();
        assert!(are_given().await);
        database.note_owner(account.account, "bob").await.unwrap();
        assert!(!are_given().await);
        give().await.unwrap();
        database.indexed_account("a", "another", "0").await.unwrap();
        assert!(!are_given().await);
        database.close().await;
    }

    #[tokio::test]
    async fn bits_of_items_that_are_gone_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("state.db")).unwrap();
        let other = ItemKey::File("2".into());
        let all = vec![other.clone()];
        database.set_mode("a", other.clone(), Some(0o600)).await.unwrap();
        database.forget_modes("a", vec![other]).await.unwrap();
        assert!(database.modes("a", all).await.unwrap().is_empty());
        database.close().await;
    }
}
