//! What is kept of an account under the name that the config gives it, all tables together.

use rusqlite::{Connection, params};

use super::{Database, StateError};

/// How much there is of an account that only this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountRows {
    /// Files that wait, or that stay here for good.
    pub files: u64,
    /// Deletes and renames that its service was not told of.
    pub operations: u64,
    /// Files in the catalog of what was published.
    pub published: u64,
    /// Folders that are here alone.
    pub folders: u64,
}

impl AccountRows {
    /// Whether nothing would be lost, or come under another account, without it.
    pub fn is_nothing(&self) -> bool {
        *self == AccountRows::default()
    }
}

/// The tables with a column that holds an account's name, and that column.
const COLUMNS: [(&str, &str); 10] = [
    ("pending", "account"),
    ("pending", "base_account"),
    ("deletions", "account"),
    ("renames", "account"),
    ("paused", "account"),
    ("local_folders", "account"),
    ("catalog_folders", "account"),
    ("catalog_files", "account"),
    ("indexed_accounts", "name"),
    ("modes", "account"),
];

/// Those of them that are made anew, decided anew or given anew.
const FORGETTABLE: [(&str, &str); 3] = [
    ("paused", "account"),
    ("indexed_accounts", "name"),
    ("modes", "account"),
];

impl Database {
    /// What there is of an account.
    pub async fn account_rows(&self, account: &str) -> Result<AccountRows, StateError> {
        let account = account.to_owned();
        let work = move |connection: &Connection| rows(connection, &account);
        self.read("look for what there is of an account", work).await
    }

    /// Forgets what the service tells again, and whether the account is paused. What only this machine has stays.
    pub async fn forget_account(&self, account: &str) -> Result<(), StateError> {
        let account = account.to_owned();
        let work = move |connection: &Connection| forget(connection, &account);
        self.write("forget an account", work, |()| {}).await
    }

    /// Gives all that there is of an account another name, and runs `last` before that is committed: where `last`
    /// fails, nothing has changed. Fails where there is something under the new name already.
    pub async fn rename_account(
        &self,
        old: &str,
        new: &str,
        last: impl FnOnce() -> Result<(), StateError> + Send + 'static,
    ) -> Result<(), StateError> {
        let (old, new) = (old.to_owned(), new.to_owned());
        let work = move |connection: &Connection| {
            if !rows(connection, &new)?.is_nothing() {
                let why = format!(
                    "the state directory still has files of an account {new} that was removed: choose another name"
                );
                return Err(StateError::GivenUp { why });
            }
            forget(connection, &new)?;
            for (table, column) in COLUMNS {
                connection
                    .execute(
                        &format!("UPDATE {table} SET {column} = ?2 WHERE {column} = ?1"),
                        [&old, &new],
                    )
                    .map_err(|error| StateError::sqlite("rename an account", &error))?;
            }
            last()
        };
        self.write("rename an account", work, |()| {}).await
    }
}

fn rows(connection: &Connection, account: &str) -> Result<AccountRows, StateError> {
    let count = |what: &str| -> Result<u64, StateError> {
        connection
            .query_row(&format!("SELECT count(*) FROM {what}"), params![account], |row| {
                row.get::<_, i64>(0)
            })
            .map(i64::cast_unsigned)
            .map_err(|error| StateError::sqlite("look for what there is of an account", &error))
    };
    Ok(AccountRows {
        files: count("pending WHERE account = ?1 AND state <> 'removed'")?,
        operations: count("deletions WHERE account = ?1")?
            + count("renames WHERE account = ?1")?
            + count("pending WHERE account = ?1 AND state = 'removed'")?,
        published: count("catalog_files WHERE account = ?1")?,
        folders: count("local_folders WHERE account = ?1")? + count("catalog_folders WHERE account = ?1")?,
    })
}

fn forget(connection: &Connection, account: &str) -> Result<(), StateError> {
    for (table, column) in FORGETTABLE {
        connection
            .execute(&format!("DELETE FROM {table} WHERE {column} = ?1"), [account])
            .map_err(|error| StateError::sqlite("forget an account", &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table that gets such a column has to be renamed along.
    #[tokio::test]
    async fn all_columns_with_an_account_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        let columns = |connection: &Connection| {
            let text = "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c \
                        WHERE m.type = 'table' AND c.type = 'TEXT' AND c.name LIKE '%account%' ORDER BY 1, 2";
            let failed = |error| StateError::sqlite("read the tables", &error);
            let mut statement = connection.prepare(text).map_err(failed)?;
            let found = statement
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
                .map_err(failed)?;
            found.collect::<Result<Vec<_>, _>>().map_err(failed)
        };
        let mut found = database.read("read the tables", columns).await.unwrap();
        // Of a service, and not of the config.
        found.retain(|(table, _)| table != "daily_calls");
        for (table, column) in &found {
            assert!(
                COLUMNS.contains(&(table.as_str(), column.as_str())),
                "{table}.{column}"
            );
        }
        assert_eq!(
            found.len() + 1,
            COLUMNS.len(),
            "indexed_accounts has a name: {found:?}"
        );
        database.close().await;
    }

    #[tokio::test]
    async fn a_rename_that_fails_at_its_end_has_changed_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("db")).unwrap();
        database.set_paused("a".to_owned(), true, |()| {}).await.unwrap();
        let stop = || Err(StateError::GivenUp { why: "no".to_owned() });
        assert!(database.rename_account("a", "b", stop).await.is_err());
        assert_eq!(database.paused_accounts().await.unwrap(), ["a"]);
        let file = crate::state::ItemKey::File("1".into());
        for account in ["a", "b"] {
            let mode = if account == "a" { 0o600 } else { 0o700 };
            database
                .set_mode(account, file.clone(), Some(mode))
                .await
                .unwrap();
        }
        database.rename_account("a", "b", || Ok(())).await.unwrap();
        assert_eq!(database.paused_accounts().await.unwrap(), ["b"]);
        let modes = database.modes("b", vec![file.clone()]).await.unwrap();
        assert_eq!(modes, [(file, 0o600)].into());
        database.forget_account("b").await.unwrap();
        assert!(database.paused_accounts().await.unwrap().is_empty());
        database.close().await;
    }
}
