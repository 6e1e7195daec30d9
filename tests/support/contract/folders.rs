//! Folders: listings, names, changes, the account as a whole.

use std::collections::HashSet;

use lockerfs::provider::Changes;

use super::*;

pub async fn a_listing_is_complete_over_chunks(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List);
    let name = |i: usize| format!("file {i:04}.txt");
    let seeds = (0..2_101)
        .map(|i| (format!("many/{}", name(i)), i.to_string().into_bytes()))
        .collect();
    target.seed(seeds).await;
    let root = provider
        .list(&provider.root(), ListHint::default())
        .await
        .unwrap();
    let [Entry::Folder(many)] = root.entries.as_slice() else {
        panic!("{root:?}")
    };
    let found = names(&provider, &many.id).await;
    assert_eq!(found, (0..2_101).map(name).collect::<Vec<_>>());
}

pub async fn a_part_known_to_be_empty_costs_no_call(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, CreateFolder);
    let top = folder(&provider, "empty").await;
    let before = target.calls_of(Step::List).await;
    let hint = ListHint {
        files: Some(0),
        folders: Some(0),
    };
    assert!(provider.list(&top.id, hint).await.unwrap().entries.is_empty());
    assert_eq!(target.calls_of(Step::List).await, before);
}

pub async fn names_come_back_as_they_went_in(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, Write, CreateFolder);
    let rules = provider.name_rules();
    let wanted = [
        "plain.txt",
        "two words.txt",
        "grüße.txt",
        "日本語.txt",
        "emoji 🦀.txt",
        "a&b=c+d%20.txt",
        "quo'te\".txt",
        "semi;colon#hash?.txt",
        "back\\slash.txt",
        ".hidden",
    ];
    let usable = |name: &&str| {
        !name.contains(|c| rules.forbidden.contains(c)) && (rules.leading_dot || !name.starts_with('.'))
    };
    let wanted: Vec<_> = wanted.into_iter().filter(usable).collect();
    let place = folder(&provider, "ordner mit ümlaut & zeichen").await;
    for name in &wanted {
        let file = small_file(&provider, &place.id, name).await;
        assert_eq!(file.name, *name);
        provider
            .create_folder(&place.id, &format!("{name} folder"))
            .await
            .unwrap();
    }
    let mut expected: Vec<String> = wanted
        .iter()
        .flat_map(|name| [(*name).to_owned(), format!("{name} folder")])
        .collect();
    expected.sort();
    assert_eq!(names(&provider, &place.id).await, expected);
}

pub async fn twins_are_both_listed(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, Write, CreateFolder, Rename);
    let place = folder(&provider, "twins").await;
    let (a, b) = (
        small_file(&provider, &place.id, "a.txt").await,
        small_file(&provider, &place.id, "b.txt").await,
    );
    match provider.rename(&ItemId::File(b.id.clone()), "a.txt", None).await {
        Ok(()) => {
            let ids: HashSet<_> = files(&provider, &place.id)
                .await
                .into_iter()
                .map(|file| file.id)
                .collect();
            assert_eq!(ids, HashSet::from([a.id, b.id]));
        }
        // A service without twins must say that the name is taken.
        Err(error) => assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}"),
    }
}

pub async fn making_a_folder_again_returns_the_same(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, CreateFolder, List);
    let first = folder(&provider, "once").await;
    assert_eq!(first.name, "once");
    assert_eq!(folder(&provider, "once").await.id, first.id);
    assert_eq!(names(&provider, &provider.root()).await, ["once"]);
}

/// Where a changed file is, as it was told: in no folder where it is gone.
fn place_of<'a>(changes: &'a Changes, file: &FileId) -> Option<Option<&'a FolderId>> {
    let told = changes.files.iter().find(|told| told.id == *file)?;
    Some(told.folder.as_ref())
}

pub async fn changes_tell_what_happened(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, ChangeFeed, Write, CreateFolder, Trash, Rename);
    let place = folder(&provider, "watched").await;
    let file = small_file(&provider, &place.id, "file.txt").await;
    let mut cursor = provider.changes(None).await.unwrap().cursor;
    let calls = target.calls().await;
    let still = provider.changes(Some(&cursor)).await.unwrap();
    assert_eq!((still.folders.len(), still.files.len()), (0, 0));
    assert_eq!(target.calls().await - calls, 1);

    let mut told = async |what: &str| {
        let changes = provider.changes(Some(&cursor)).await.unwrap();
        assert_ne!(changes.cursor, cursor, "{what}");
        cursor = changes.cursor.clone();
        changes
    };
    provider
        .rename(&ItemId::File(file.id.clone()), "renamed.txt", None)
        .await
        .unwrap();
    let changes = told("renamed").await;
    assert_eq!(place_of(&changes, &file.id), Some(Some(&place.id)), "{changes:?}");
    let new = small_file(&provider, &provider.root(), "in root.txt").await;
    let changes = told("uploaded").await;
    assert_eq!(
        place_of(&changes, &new.id),
        Some(Some(&provider.root())),
        "{changes:?}"
    );
    provider
        .delete(&[ItemId::File(new.id.clone())], DeleteMode::Trash)
        .await
        .unwrap();
    let changes = told("deleted").await;
    assert_eq!(place_of(&changes, &new.id), Some(None), "{changes:?}");
    assert!(!changes.everything, "{changes:?}");
    let states = provider
        .folder_states(&[place.id.clone(), FolderId::new("nosuchfolder1")])
        .await
        .unwrap();
    let [state] = states.as_slice() else {
        panic!("one of them is there: {states:?}")
    };
    assert_eq!((&state.id, state.holds.files), (&place.id, Some(1)));
    let listed = provider.list(&place.id, ListHint::default()).await.unwrap();
    assert!(state.revision.is_some() && state.revision == listed.revision);
    // More changes than the feed tells in one answer.
    let seeds = (0..600)
        .map(|i| (format!("watched/seed {i}"), i.to_string().into_bytes()))
        .collect();
    target.seed(seeds).await;
    let mut seen = HashSet::new();
    for _ in 0..10 {
        let changes = provider.changes(Some(&cursor)).await.unwrap();
        seen.extend(changes.files.into_iter().map(|file| file.id));
        if changes.cursor == cursor {
            break;
        }
        cursor = changes.cursor;
    }
    assert!(seen.len() >= 600, "{} files told", seen.len());
    assert!(
        provider
            .changes(Some(&ChangeCursor::new("not a cursor")))
            .await
            .is_err()
    );
}

pub async fn quota_and_use_are_told(target: &dyn Target) {
    let provider = target.provider();
    if !has(&provider, Capability::List) {
        // What only publishes has no use, and the limit is that of a file.
        let info = provider.account_info().await.unwrap();
        assert_eq!(info.max_file_size, Some(target.quota()));
        assert_eq!((info.storage_limit, info.storage_used), (None, None));
        return;
    }
    let before = provider.account_info().await.unwrap();
    assert_eq!(before.storage_limit, Some(target.quota()));
    need!(provider, Write);
    small_file(&provider, &provider.root(), "file.txt").await;
    assert!(provider.account_info().await.unwrap().storage_used > before.storage_used);
}

pub async fn a_missing_folder_is_not_found(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List);
    let error = provider
        .list(&FolderId::new("zzzzzzzzzzzzz"), ListHint::default())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.retry),
        (ErrorKind::NotFound, Retry::Never),
        "{error}"
    );
}
