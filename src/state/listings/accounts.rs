//! Accounts of the index, and the inode numbers of all.

use std::ops::Range;

use rusqlite::{Connection, params};

use super::{AccountIndexed, IndexedAccount, folder_number, number, reading, writing};
use crate::state::{Database, StateError};

/// Inode numbers that are set apart at a time.
const NUMBERS: u64 = 1 << 16;

impl Database {
    /// An account of that name; what was known of it is forgotten where `login` is another. `top` is the id of its
    /// top folder.
    pub async fn indexed_account(
        &self,
        name: &str,
        login: &str,
        top: &str,
    ) -> Result<AccountIndexed, StateError> {
        let (name, login, top) = (name.to_owned(), login.to_owned(), top.to_owned());
        let find = move |connection: &Connection| {
            connection
                .execute(
                    "DELETE FROM indexed_accounts WHERE name = ?1 AND login <> ?2",
                    [&name, &login],
                )
                .and_then(|_| {
                    connection.execute(
                        "INSERT OR IGNORE INTO indexed_accounts (name, login) VALUES (?1, ?2)",
                        [&name, &login],
                    )
                })
                .map_err(writing)?;
            let (id, owner, cursor) = connection
                .query_row(
                    "SELECT id, owner, cursor FROM indexed_accounts WHERE name = ?1",
                    [&name],
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                )
                .map_err(reading)?;
            let account = IndexedAccount(id);
            let top = match folder_number(connection, account, &top)? {
                Some(ino) => ino,
                None => {
                    let ino = set_apart(connection, 1)?;
                    connection
                        .execute(
                            "INSERT INTO indexed_entries (ino, account, parent, is_folder, item, name, size) \
                             VALUES (?1, ?2, 0, 1, ?3, '', 0)",
                            params![number(ino), id, top],
                        )
                        .map_err(writing)?;
                    ino
                }
            };
            Ok(AccountIndexed {
                account,
                top,
                cursor,
                owner,
            })
        };
        self.write("open the index", find, |_| {}).await
    }

    /// Sets inode numbers apart that nobody had and nobody else will get.
    pub async fn set_inodes_apart(&self) -> Result<Range<u64>, StateError> {
        let take = |connection: &Connection| {
            let first = set_apart(connection, NUMBERS)?;
            Ok(first..first + NUMBERS)
        };
        self.write("set inode numbers apart", take, |_| {}).await
    }

    /// Gives numbers back that were set apart last and are not used.
    pub async fn give_inodes_back(&self, unused: Range<u64>) -> Result<(), StateError> {
        let give = move |connection: &Connection| {
            connection
                .execute(
                    "UPDATE inodes SET next = ?1 WHERE next = ?2",
                    [number(unused.start), number(unused.end)],
                )
                .map(drop)
                .map_err(writing)
        };
        self.write("give inode numbers back", give, |()| {}).await
    }

    /// Notes whose account it is; where it was another's, what is known of it is forgotten but for its top folder.
    /// Whether that was so.
    pub async fn note_owner(&self, account: IndexedAccount, owner: &str) -> Result<bool, StateError> {
        let owner = owner.to_owned();
        let note = move |connection: &Connection| {
            let before: Option<String> = connection
                .query_row(
                    "SELECT owner FROM indexed_accounts WHERE id = ?1",
                    [account.0],
                    |row| row.get(0),
                )
                .map_err(reading)?;
            let is_other = before.is_some_and(|before| before != owner);
            if is_other {
                for forget in [
                    "DELETE FROM indexed_entries WHERE account = ?1 AND parent <> 0",
                    "DELETE FROM modes WHERE account = (SELECT name FROM indexed_accounts WHERE id = ?1)",
                    "UPDATE indexed_entries SET listed = NULL WHERE account = ?1",
                    "UPDATE indexed_accounts SET cursor = NULL WHERE id = ?1",
                ] {
                    connection.execute(forget, [account.0]).map_err(writing)?;
                }
            }
            connection
                .execute(
                    "UPDATE indexed_accounts SET owner = ?2 WHERE id = ?1",
                    params![account.0, owner],
                )
                .map_err(writing)?;
            Ok(is_other)
        };
        self.write("write the index", note, |_| {}).await
    }
}

fn set_apart(connection: &Connection, numbers: u64) -> Result<u64, StateError> {
    let next: i64 = connection
        .query_row(
            "UPDATE inodes SET next = next + ?1 RETURNING next",
            [number(numbers)],
            |row| row.get(0),
        )
        .map_err(writing)?;
    Ok(next.cast_unsigned() - numbers)
}
