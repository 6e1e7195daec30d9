use std::time::Duration;

use super::*;
use crate::state::{JournalRow, JournalTransaction};

struct Index {
    database: Database,
    account: IndexedAccount,
    _folder: tempfile::TempDir,
}

impl Index {
    async fn new() -> Index {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("state.db")).unwrap();
        let account = database
            .indexed_account("media", "me", "top")
            .await
            .unwrap()
            .account;
        Index {
            database,
            account,
            _folder: folder,
        }
    }

    async fn write(&self, folders: &[(&str, Vec<IndexedEntry>)]) {
        let mut all = Vec::new();
        for (folder, entries) in folders {
            let worth = self
                .database
                .indexed_worth(self.account, vec![(*folder).to_owned()])
                .await;
            let worth = worth.unwrap().remove(*folder);
            all.push(FolderToIndex {
                worth,
                ..of(folder, entries.clone(), Worth::default())
            });
        }
        self.database.index_folders(self.account, all).await.unwrap();
    }

    async fn read(&self, folder: &str) -> Option<IndexedFolder> {
        self.database.indexed_folder(self.account, folder).await.unwrap()
    }

    async fn execute(&self, statement: &'static str) {
        let run = move |connection: &Connection| connection.execute_batch(statement).map_err(writing);
        self.database.write("test", run, |()| {}).await.unwrap();
    }
}

fn of(folder: &str, entries: Vec<IndexedEntry>, worth: Worth) -> FolderToIndex {
    FolderToIndex {
        folder: folder.to_owned(),
        entries,
        listed: SystemTime::UNIX_EPOCH + Duration::from_secs(1000),
        revision: Some("7".to_owned()),
        incomplete: false,
        stale: false,
        worth: Some(worth),
    }
}

fn entry(ino: u64, item: ItemKey, name: &str) -> IndexedEntry {
    IndexedEntry {
        ino,
        item,
        name: name.to_owned(),
        size: 3,
        mtime: Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(5)),
        hash: Some(vec![1; 32]),
        revision: None,
        files: None,
        folders: None,
    }
}

fn file(ino: u64, id: &str) -> IndexedEntry {
    entry(ino, ItemKey::File(id.to_owned()), id)
}

fn folder(ino: u64, id: &str) -> IndexedEntry {
    entry(ino, ItemKey::Folder(id.to_owned()), id)
}

#[tokio::test]
async fn a_folder_comes_back_as_it_was_written_and_an_entry_that_moved_keeps_its_number() {
    let index = Index::new().await;
    assert_eq!(index.read("top").await, None, "nobody listed it yet");
    index
        .write(&[("top", vec![folder(10, "a"), folder(11, "b")])])
        .await;
    index
        .write(&[("a", vec![file(12, "x"), folder(13, "sub")]), ("b", vec![])])
        .await;
    index.write(&[("sub", vec![file(14, "deep")])]).await;
    // The folder that it leaves is written before the one that it goes to.
    index
        .write(&[("a", vec![file(12, "x")]), ("b", vec![folder(13, "sub")])])
        .await;
    let read = index.read("b").await.unwrap();
    assert_eq!(
        (read.entries, read.revision),
        (vec![folder(13, "sub")], Some("7".to_owned()))
    );
    assert_eq!(index.read("sub").await.unwrap().entries, [file(14, "deep")]);
    let inodes = index
        .database
        .indexed_inodes(index.account, "a", vec!["sub".to_owned()]);
    let expected = [
        (ItemKey::File("x".to_owned()), 12),
        (ItemKey::Folder("sub".to_owned()), 13),
    ];
    assert_eq!(inodes.await.unwrap(), HashMap::from(expected));
    let (account, path) = index.database.indexed_path(14).await.unwrap().unwrap();
    assert_eq!(
        (account, path),
        (index.account, ["top", "b", "sub"].map(str::to_owned).to_vec())
    );
    // What is gone takes with it all that is below.
    index.write(&[("b", vec![])]).await;
    assert_eq!(index.read("sub").await, None);
    assert_eq!(index.database.indexed_path(14).await.unwrap(), None);
}

#[tokio::test]
async fn what_leaves_the_journal_is_in_doubt_until_it_is_written_by_who_knew_of_it() {
    let index = Index::new().await;
    index.write(&[("top", vec![])]).await;
    let before = index.read("top").await.unwrap().worth;
    assert_eq!(before, Worth::default());
    for (row, removal) in [
        (
            "INSERT INTO pending (account, folder, name, size, mtime, generation, superseded, state, tries, missing) \
             VALUES ('media', 'top', 'n', 1, 2, 3, '[]', 'staged', 0, '[]')",
            "DELETE FROM pending",
        ),
        (
            "INSERT INTO deletions (account, is_folder, item, folder, name, size, purge, parked, tries, created) \
             VALUES ('media', 0, 'x', 'top', 'n', 1, 0, 0, 0, 0)",
            "DELETE FROM deletions",
        ),
        (
            "INSERT INTO renames (account, is_folder, item, from_folder, from_name, to_folder, to_name, target_size, \
             purge, in_place, begun, parked, tries, created) \
             VALUES ('media', 0, 'x', 'elsewhere', 'n', 'top', 'm', 0, 0, 0, 1, 0, 0, 0)",
            "DELETE FROM renames",
        ),
    ] {
        index.execute(row).await;
        assert_eq!(index.read("top").await.unwrap().worth.doubts, 0, "{row}");
        index.execute(removal).await;
        assert_eq!(index.read("top").await.unwrap().worth.doubts, 1, "{removal}");
        let doubted = index.database.distrusted_folders(index.account).await.unwrap();
        assert_eq!(doubted, ["top"]);
        // Entries that were gathered before it left.
        let late = vec![of("top", vec![file(20, "old")], before)];
        index.database.index_folders(index.account, late).await.unwrap();
        assert_eq!(index.read("top").await.unwrap().worth.doubts, 1, "{removal}");
        index.write(&[("top", vec![])]).await;
        assert_eq!(index.read("top").await.unwrap().worth, Worth::default());
    }
    index
        .database
        .distrust_folders(index.account, vec!["top".to_owned()])
        .await
        .unwrap();
    assert_eq!(index.read("top").await.unwrap().worth.doubts, 1);
}

#[tokio::test]
async fn a_folder_that_the_index_did_not_know_is_in_doubt_until_it_is_written_again() {
    let index = Index::new().await;
    index
        .write(&[("top", vec![folder(10, "a")]), ("a", vec![file(11, "x")])])
        .await;
    // What left the journal before the folder was there was noted nowhere.
    assert_eq!(index.read("a").await.unwrap().worth.doubts, 1);
    index.write(&[("a", vec![file(11, "x")])]).await;
    assert_eq!(index.read("a").await.unwrap().worth.doubts, 0);
}

#[tokio::test]
async fn a_row_that_lets_go_of_what_it_replaces_puts_its_folder_in_doubt() {
    let index = Index::new().await;
    index.write(&[("top", vec![file(10, "old")])]).await;
    index
        .execute(
            "INSERT INTO pending (account, folder, name, size, mtime, generation, replaces, superseded, state, tries, \
             missing) VALUES ('media', 'top', 'n', 1, 2, 3, 'old', '[]', 'staged', 0, '[]')",
        )
        .await;
    let change = |work: fn(&mut JournalRow)| {
        let change = move |journal: &JournalTransaction<'_>| {
            let mut row = journal.get(1)?.expect("the row");
            work(&mut row);
            journal.put(&row)
        };
        index.database.journal("change", change, |()| {})
    };
    change(|row| row.tries = 5).await.unwrap();
    assert_eq!(index.read("top").await.unwrap().worth.doubts, 0);
    change(|row| row.replaces = None).await.unwrap();
    assert_eq!(index.read("top").await.unwrap().worth.doubts, 1);
}

#[tokio::test]
async fn a_change_that_a_service_tells_of_is_not_undone_by_entries_from_before() {
    let index = Index::new().await;
    index.write(&[("top", vec![folder(10, "a")])]).await;
    index.write(&[("a", vec![file(12, "x")])]).await;
    let files = HashSet::from(["x".to_owned(), "unknown".to_owned()]);
    let of_file = index
        .database
        .folders_of_files(index.account, files)
        .await
        .unwrap();
    assert_eq!(of_file, ["a"]);
    let noted = index
        .database
        .note_changes(index.account, of_file, vec!["a".to_owned()], "500".to_owned());
    noted.await.unwrap();
    for changed in ["top", "a"] {
        assert_eq!(index.read(changed).await.unwrap().worth.changes, 1, "{changed}");
    }
    let late = vec![of("a", vec![file(12, "x")], Worth::default())];
    index.database.index_folders(index.account, late).await.unwrap();
    assert_eq!(index.read("a").await.unwrap().worth.changes, 1);
    index.write(&[("a", vec![])]).await;
    assert_eq!(index.read("a").await.unwrap().worth.changes, 0);
    let again = index
        .database
        .indexed_account("media", "me", "top")
        .await
        .unwrap();
    assert_eq!(again.cursor.as_deref(), Some("500"));
}

#[tokio::test]
async fn another_login_or_owner_starts_from_nothing_and_numbers_are_never_given_twice() {
    let index = Index::new().await;
    index.write(&[("top", vec![file(10, "x")])]).await;
    assert!(
        !index
            .database
            .note_owner(index.account, "me@example.org")
            .await
            .unwrap()
    );
    assert!(
        !index
            .database
            .note_owner(index.account, "me@example.org")
            .await
            .unwrap()
    );
    assert!(index.read("top").await.is_some());
    assert!(
        index
            .database
            .note_owner(index.account, "you@example.org")
            .await
            .unwrap()
    );
    assert_eq!(index.read("top").await, None);
    index.write(&[("top", vec![file(10, "x")])]).await;
    let other = index
        .database
        .indexed_account("media", "other", "top")
        .await
        .unwrap();
    assert_eq!((other.cursor, other.owner), (None, None));
    assert_eq!(
        index.database.indexed_folder(other.account, "top").await.unwrap(),
        None
    );
    let first = index.database.set_inodes_apart().await.unwrap();
    assert!(first.start > other.top && other.top > 1);
    let unused = first.start + 5..first.end;
    index.database.give_inodes_back(unused.clone()).await.unwrap();
    let second = index.database.set_inodes_apart().await.unwrap();
    assert_eq!(second.start, unused.start);
}
