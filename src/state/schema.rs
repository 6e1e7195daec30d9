//! The tables and how older databases are brought up to them.

use rusqlite::Connection;

use super::StateError;

/// Each entry brings a database from the version of its index to the next. Entries are never edited once
/// released: a change of the tables is a new entry.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE pending (
        id                INTEGER PRIMARY KEY AUTOINCREMENT,
        account           TEXT NOT NULL,
        folder            TEXT NOT NULL,
        name              TEXT NOT NULL,
        size              INTEGER NOT NULL,
        mtime             INTEGER NOT NULL,  -- nanoseconds since 1970
        staging           TEXT UNIQUE,       -- the file in staging/; none once the row is removed
        generation        INTEGER NOT NULL,
        replaces          TEXT,
        superseded        TEXT NOT NULL,     -- a JSON list of file ids
        state             TEXT NOT NULL,
        tries             INTEGER NOT NULL,
        next_try          INTEGER,           -- nanoseconds since 1970
        last_error        TEXT,
        base_file         TEXT,
        base_size         INTEGER,
        base_hash         TEXT,
        base_revision     TEXT,
        missing           TEXT NOT NULL,     -- a JSON list of [start, end)
        sent_generation   INTEGER,
        sent_folder       TEXT,
        sent_name         TEXT,
        sent_size         INTEGER,
        sent_mtime        INTEGER,
        sent_sha256       BLOB,
        sent_replaces     TEXT,
        sent_ticket       TEXT,
        sent_file         TEXT
    ) STRICT;
    CREATE TABLE discarded (
        staging           TEXT PRIMARY KEY
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE facts (
        id_space          TEXT NOT NULL,
        item              TEXT NOT NULL,
        mtime             INTEGER,           -- nanoseconds since 1970
        hash              TEXT,              -- lowercase hex
        PRIMARY KEY (id_space, item)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tombstones (
        id_space          TEXT NOT NULL,
        folder            TEXT NOT NULL,
        PRIMARY KEY (id_space, folder)
    ) STRICT, WITHOUT ROWID;
",
    "
    ALTER TABLE pending ADD COLUMN sent_after TEXT;
    ALTER TABLE pending ADD COLUMN sent_unclear INTEGER;  -- nanoseconds since 1970
",
    "
    CREATE TABLE deletions (
        id                INTEGER PRIMARY KEY AUTOINCREMENT,
        account           TEXT NOT NULL,
        is_folder         INTEGER NOT NULL,
        item              TEXT NOT NULL,
        folder            TEXT NOT NULL,
        name              TEXT NOT NULL,
        size              INTEGER NOT NULL,
        purge             INTEGER NOT NULL,
        parked            INTEGER NOT NULL,
        tries             INTEGER NOT NULL,
        next_try          INTEGER,           -- nanoseconds since 1970
        last_error        TEXT,
        created           INTEGER NOT NULL,  -- nanoseconds since 1970
        UNIQUE (account, is_folder, item)
    ) STRICT;
    CREATE TABLE renames (
        id                INTEGER PRIMARY KEY AUTOINCREMENT,
        account           TEXT NOT NULL,
        is_folder         INTEGER NOT NULL,
        item              TEXT NOT NULL,
        from_folder       TEXT NOT NULL,
        from_name         TEXT NOT NULL,
        to_folder         TEXT NOT NULL,
        to_name           TEXT NOT NULL,
        mtime             INTEGER,           -- nanoseconds since 1970
        pending           INTEGER,           -- the row that is renamed along
        target            TEXT,              -- the item that it takes the place of
        target_pending    INTEGER,           -- and its row
        target_size       INTEGER NOT NULL,
        purge             INTEGER NOT NULL,
        in_place          INTEGER NOT NULL,
        begun             INTEGER NOT NULL,  -- whether the first step is known to have taken effect
        parked            INTEGER NOT NULL,
        tries             INTEGER NOT NULL,
        next_try          INTEGER,           -- nanoseconds since 1970
        last_error        TEXT,
        created           INTEGER NOT NULL   -- nanoseconds since 1970
    ) STRICT;
",
    "
    CREATE TABLE paused (
        account           TEXT PRIMARY KEY
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE local_folders (
        id                INTEGER PRIMARY KEY AUTOINCREMENT,
        account           TEXT NOT NULL,
        parent            TEXT NOT NULL,
        name              TEXT NOT NULL,
        mtime             INTEGER NOT NULL,  -- nanoseconds since 1970
        UNIQUE (account, parent, name)
    ) STRICT;
",
    "
    CREATE TABLE daily_calls (
        account           TEXT PRIMARY KEY,  -- of a service, and not of the config
        day               INTEGER NOT NULL,  -- days since 1970 (UTC)
        spent             INTEGER NOT NULL,
        max_file_size     INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE catalog_folders (
        id                INTEGER PRIMARY KEY AUTOINCREMENT,
        account           TEXT NOT NULL,
        parent            INTEGER NOT NULL,  -- 0 for the top folder
        name              TEXT NOT NULL,
        mtime             INTEGER NOT NULL   -- nanoseconds since 1970
    ) STRICT;
    CREATE INDEX catalog_folders_by_parent ON catalog_folders (account, parent);
    CREATE TABLE catalog_files (
        account           TEXT NOT NULL,
        id                TEXT NOT NULL,     -- as the service has it
        folder            INTEGER NOT NULL,
        name              TEXT NOT NULL,
        size              INTEGER NOT NULL,
        mtime             INTEGER NOT NULL,  -- nanoseconds since 1970
        sha256            BLOB NOT NULL,
        published         INTEGER NOT NULL,  -- nanoseconds since 1970
        ticket            TEXT,              -- of its upload
        url               TEXT,
        short_url         TEXT,
        mirrors           TEXT NOT NULL,     -- a JSON list
        status            TEXT,              -- in the service's words, where it is not active
        checked           INTEGER NOT NULL,  -- nanoseconds since 1970
        PRIMARY KEY (account, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX catalog_files_by_folder ON catalog_files (account, folder);
",
    "
    ALTER TABLE pending ADD COLUMN base_account TEXT;  -- of a content that was copied
",
    "
    CREATE TABLE indexed_accounts (
        id                INTEGER PRIMARY KEY,
        name              TEXT NOT NULL UNIQUE,
        login             TEXT NOT NULL,     -- what it is on which service, as a digest
        owner             TEXT,              -- as the service tells
        cursor            TEXT               -- the changes up to here are in the index
    ) STRICT;
    CREATE TABLE indexed_entries (
        ino               INTEGER PRIMARY KEY,
        account           INTEGER NOT NULL REFERENCES indexed_accounts (id) ON DELETE CASCADE,
        parent            INTEGER NOT NULL,  -- 0 for an account's top folder
        is_folder         INTEGER NOT NULL,
        item              TEXT NOT NULL,
        name              TEXT NOT NULL,
        size              INTEGER NOT NULL,
        mtime             INTEGER,           -- nanoseconds since 1970
        hash              BLOB,
        revision          TEXT,              -- of a file's content, or of a folder's listing
        files             INTEGER,           -- how many a folder holds, as its parent's listing told
        folders           INTEGER,
        listed            INTEGER,           -- nanoseconds since 1970; none where a folder's entries are not here
        incomplete        INTEGER NOT NULL DEFAULT 0,
        changes           INTEGER NOT NULL DEFAULT 0,  -- told of by the service since the entries were written
        doubts            INTEGER NOT NULL DEFAULT 0   -- changes made from here since the entries were written
    ) STRICT;
    -- Folders alone: services give files ids in no order, and each of a million would change another page.
    CREATE UNIQUE INDEX indexed_folder_items ON indexed_entries (account, item) WHERE is_folder = 1;
    CREATE INDEX indexed_children ON indexed_entries (parent);
    CREATE INDEX indexed_doubts ON indexed_entries (account) WHERE doubts > 0;
    CREATE TABLE inodes (
        next              INTEGER NOT NULL
    ) STRICT;
    INSERT INTO inodes VALUES (2);           -- 1 is the mount point
    -- What leaves the journal is on the service, and not in the index yet.
    CREATE TRIGGER doubt_after_pending AFTER DELETE ON pending BEGIN
        UPDATE indexed_entries SET doubts = doubts + 1, files = NULL, folders = NULL
        WHERE account = (SELECT id FROM indexed_accounts WHERE name = OLD.account)
            AND is_folder = 1 AND item = OLD.folder;
    END;
    CREATE TRIGGER doubt_after_sending AFTER UPDATE OF sent_generation, replaces, superseded ON pending
    WHEN (OLD.sent_generation IS NOT NULL AND NEW.sent_generation IS NULL)
        OR OLD.replaces IS NOT NEW.replaces OR OLD.superseded IS NOT NEW.superseded BEGIN
        UPDATE indexed_entries SET doubts = doubts + 1, files = NULL, folders = NULL
        WHERE account = (SELECT id FROM indexed_accounts WHERE name = OLD.account)
            AND is_folder = 1 AND item = OLD.folder;
    END;
    CREATE TRIGGER doubt_after_deletion AFTER DELETE ON deletions BEGIN
        UPDATE indexed_entries SET doubts = doubts + 1, files = NULL, folders = NULL
        WHERE account = (SELECT id FROM indexed_accounts WHERE name = OLD.account)
            AND is_folder = 1 AND item = OLD.folder;
    END;
    CREATE TRIGGER doubt_after_rename AFTER DELETE ON renames BEGIN
        UPDATE indexed_entries SET doubts = doubts + 1, files = NULL, folders = NULL
        WHERE account = (SELECT id FROM indexed_accounts WHERE name = OLD.account)
            AND is_folder = 1 AND item IN (OLD.from_folder, OLD.to_folder);
    END;
",
    "
    ALTER TABLE pending ADD COLUMN mode INTEGER;  -- permission bits that a program gave it
    CREATE TABLE modes (
        account           TEXT NOT NULL,
        item              TEXT NOT NULL,
        mode              INTEGER NOT NULL,
        PRIMARY KEY (account, item)
    ) STRICT, WITHOUT ROWID;
    -- Another login's items may have the same ids.
    CREATE TRIGGER forget_modes AFTER DELETE ON indexed_accounts BEGIN
        DELETE FROM modes WHERE account = OLD.name;
    END;
",
];

/// Sets up a connection and brings its database to the present version.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), StateError> {
    let known = MIGRATIONS.len() as i64;
    let failed = |error: rusqlite::Error| StateError::sqlite("set up the state database", &error);
    connection
        .busy_timeout(std::time::Duration::from_secs(5))
        .map_err(failed)?;
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .map_err(failed)?;
    connection
        .pragma_update(None, "synchronous", "FULL")
        .map_err(failed)?;
    connection
        .pragma_update(None, "foreign_keys", true)
        .map_err(failed)?;
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(failed)?;
    if !(0..=known).contains(&found) {
        return Err(StateError::TooNew { found, known });
    }
    for (version, migration) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction().map_err(failed)?;
        transaction.execute_batch(migration).map_err(failed)?;
        transaction
            .pragma_update(None, "user_version", version as i64)
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_a_newer_lockerfs_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 1000).unwrap();
        assert!(matches!(
            prepare(&mut connection),
            Err(StateError::TooNew { found: 1000, .. })
        ));
    }

    #[test]
    fn an_older_database_keeps_its_rows() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        let columns = "account, folder, name, size, mtime, generation, superseded, state, tries, missing";
        let row = format!(
            "INSERT INTO pending ({columns}) VALUES ('a', 'f', 'n', 1, 2, 3, '[]', 'staged', 0, '[]')"
        );
        connection.execute_batch(&row).unwrap();
        prepare(&mut connection).unwrap();
        let read = |row: &rusqlite::Row<'_>| Ok((row.get("name")?, row.get("sent_after")?, row.get("mode")?));
        let kept: (String, Option<String>, Option<u16>) =
            connection.query_row("SELECT * FROM pending", [], read).unwrap();
        assert_eq!(kept, ("n".to_owned(), None, None));
    }

    #[test]
    fn preparing_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        prepare(&mut connection).unwrap();
        prepare(&mut connection).unwrap();
    }
}
