use super::super::Numbers;
use super::*;
use crate::provider::{FolderEntry, FolderId, ListHint};

const RULES: NameRules = NameRules {
    max_chars: 255,
    forbidden: "\"",
    edge_blanks: false,
    leading_dot: false,
    numbered_twins: true,
};

/// A tree with one account, and its top folder.
fn tree() -> (Tree, u64) {
    let mut tree = Tree::new(Numbers::new(1..1000));
    let top = Folder::unlisted(Some(FolderId::new("0")), String::new(), ListHint::default());
    let ino = tree.add(Some(0), "", at(0), Kind::Folder(top));
    (tree, ino)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn file(id: &str, name: &str) -> Entry {
    Entry::File(FileEntry {
        id: FileId::new(id),
        name: name.to_owned(),
        size: 3,
        mtime: None,
        hash: None,
        revision: None,
        parent: None,
    })
}

fn trace(name: &str, size: u64) -> Trace {
    Trace {
        name: name.to_owned(),
        size,
        after: None,
        goes: true,
    }
}

fn folder(id: &str, name: &str) -> Entry {
    Entry::Folder(FolderEntry {
        id: FolderId::new(id),
        name: name.to_owned(),
        mtime: None,
        hint: ListHint::default(),
    })
}

fn merge(tree: &mut Tree, folder: u64, entries: Vec<Entry>, waiting: Waiting) -> Merged {
    let version = tree.get(folder).and_then(Node::folder).unwrap().version;
    let rules = MergeRules {
        names: &RULES,
        newest_first: false,
        links: false,
    };
    let listing = Listing {
        entries,
        ..Listing::default()
    };
    tree.merge(folder, version, Told::now(listing), rules, waiting)
        .unwrap()
}

fn shown(tree: &Tree, folder: u64) -> Vec<String> {
    let children = &tree.get(folder).and_then(Node::folder).unwrap().children;
    let name = |ino: &u64| tree.get(*ino).unwrap().name.clone();
    children.values().map(name).collect()
}

#[test]
fn without_times_the_entry_that_was_first_keeps_the_name() {
    let (mut tree, top) = tree();
    let twins = vec![file("10", "a.txt"), file("9", "a.txt")];
    merge(&mut tree, top, twins, Waiting::default());
    assert_eq!(shown(&tree, top), ["a (10).txt", "a.txt"]);
    let ninth = tree.by_item(0, &ItemId::File(FileId::new("9"))).unwrap();
    assert_eq!(tree.get(ninth).unwrap().name, "a.txt");
}

#[test]
fn a_time_that_was_told_is_not_lost_to_a_listing_without_it() {
    let (mut tree, top) = tree();
    merge(&mut tree, top, vec![file("1", "a.txt")], Waiting::default());
    let id = FileId::new("1");
    assert_eq!(tree.undated_files(top), std::slice::from_ref(&id));
    let ino = tree.set_told_time(0, &id, Some(at(500))).unwrap();
    let merged = merge(&mut tree, top, vec![file("1", "a.txt")], Waiting::default());
    assert_eq!(merged, Merged::default());
    assert_eq!(tree.get(ino).unwrap().mtime, at(500));
    assert!(tree.undated_files(top).is_empty());
    // Told again, it changes nothing that a program may have set since.
    assert_eq!(tree.set_told_time(0, &id, Some(at(900))), None);
}

#[test]
fn what_an_upload_made_is_not_shown_beside_the_file_that_waits() {
    let (mut tree, top) = tree();
    let waiting = Waiting {
        remains: HashSet::from([FileId::new("7")]),
        ..Waiting::default()
    };
    let listed = vec![file("6", "a.txt"), file("7", "a (2).txt")];
    merge(&mut tree, top, listed, waiting);
    assert_eq!(shown(&tree, top), ["a.txt"]);
}

#[test]
fn what_the_upload_of_a_removed_file_left_is_not_shown_until_it_is_cleared_away() {
    let (mut tree, top) = tree();
    let listed = || {
        vec![
            file("6", "gone.txt"),
            file("7", "gone (2).txt"),
            file("8", "other.txt"),
        ]
    };
    let waiting = Waiting {
        traces: vec![trace("gone.txt", 3), trace("other.txt", 4)],
        ..Waiting::default()
    };
    merge(&mut tree, top, listed(), waiting);
    assert_eq!(shown(&tree, top), ["other.txt"]);
    assert!(tree.get(top).and_then(Node::folder).unwrap().hides);
    merge(&mut tree, top, listed(), Waiting::default());
    assert_eq!(shown(&tree, top), ["gone (2).txt", "gone.txt", "other.txt"]);
}

#[test]
fn what_a_rename_brings_to_the_name_of_a_removed_file_is_not_taken_for_what_its_upload_left() {
    let (mut tree, top) = tree();
    let waiting = Waiting {
        traces: vec![trace("name.txt", 3)],
        others: [FileId::new("6")].into(),
        ..Waiting::default()
    };
    let listed = vec![file("6", "name.txt"), file("7", "name.txt")];
    merge(&mut tree, top, listed, waiting);
    assert_eq!(shown(&tree, top), ["name.txt"]);
    assert!(tree.by_item(0, &ItemId::File(FileId::new("6"))).is_some());
}

#[test]
fn a_folder_that_is_listed_below_itself_is_left_out_and_nothing_counts_as_empty() {
    let (mut tree, top) = tree();
    merge(&mut tree, top, vec![folder("5", "sub")], Waiting::default());
    let sub = tree.by_item(0, &ItemId::Folder(FolderId::new("5"))).unwrap();
    let circle = vec![folder("0", "top"), folder("5", "sub")];
    merge(&mut tree, sub, circle, Waiting::default());
    assert!(shown(&tree, sub).is_empty());
    assert!(tree.get(sub).and_then(Node::folder).unwrap().incomplete);
    assert_eq!(tree.path(sub), "sub");
    assert_eq!(shown(&tree, top), ["sub"]);
}

#[test]
fn the_kernel_hears_of_the_name_that_a_file_had_here_before_it_was_renamed_or_moved_elsewhere() {
    let (mut tree, top) = tree();
    let listed = vec![file("1", "old.txt"), folder("2", "folder")];
    merge(&mut tree, top, listed, Waiting::default());
    let merged = merge(
        &mut tree,
        top,
        vec![file("1", "new.txt"), folder("2", "folder")],
        Waiting::default(),
    );
    assert_eq!(merged.names, [(top, "old.txt".to_owned())]);
    let folder_ino = tree
        .by_item(0, &ItemId::Folder(FolderId::new("2")))
        .expect("listed");
    let merged = merge(
        &mut tree,
        folder_ino,
        vec![file("1", "moved.txt")],
        Waiting::default(),
    );
    assert_eq!(merged.names, [(top, "new.txt".to_owned())]);
}
