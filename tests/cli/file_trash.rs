//! `lockerfs trash` and `lockerfs purge`.

use std::time::Duration;

use crate::world::{MEDIA, World};

fn names(world: &World) -> Vec<String> {
    let listed = world.json(&["trash", "list", "--json", MEDIA]);
    let names = listed.as_array().unwrap().iter();
    names
        .map(|item| item["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn all_pages_of_the_trash_are_listed_with_folders_first() {
    let world = World::new();
    assert_eq!(
        world.prints(&["trash", "list", MEDIA]),
        "The trash of media is empty.\n"
    );
    world.put(MEDIA, "old/a.txt", "a");
    world.change(MEDIA, "trash", "old");
    for at in 0..130 {
        let name = format!("f{at:03}.txt");
        world.put(MEDIA, &name, &name);
        world.change(MEDIA, "trash", &name);
    }
    let listed = world.json(&["trash", "list", "--json", MEDIA]);
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 131);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["kind"]),
        (&"old".into(), &"folder".into())
    );
    assert_eq!(listed[130]["name"], "f129.txt");
    assert_eq!(listed[130]["size"], 8);
    assert!(listed[130]["deleted"].is_string());
    let table = world.prints(&["trash", "list", MEDIA]);
    assert_eq!(table.lines().count(), 132);
    assert!(table.lines().nth(1).unwrap().contains("old/"), "{table}");
}

#[test]
fn what_is_restored_is_where_it_was_told_to_be_and_the_mount_shows_it_at_once() {
    let world = World::new();
    world.put(MEDIA, "letter.txt", "a letter");
    world.put(MEDIA, "old/deep/a.txt", "deep");
    world.put(MEDIA, "album/x.jpg", "x");
    let mount = world.mount();
    std::fs::remove_file(mount.path("media/letter.txt")).unwrap();
    world.change(MEDIA, "trash", "old");
    world.prints(&["drain"]);
    assert_eq!(names(&world), ["old", "letter.txt"]);
    let told = world.prints(&["trash", "restore", MEDIA, "letter.txt", "--to", "album"]);
    assert_eq!(told, "Restored 1 item into media:album.\n");
    assert_eq!(mount.list("media/album"), ["letter.txt", "x.jpg"]);
    assert_eq!(mount.read("media/album/letter.txt"), "a letter");
    // By id, into the top folder, with all below it.
    let id = world.json(&["trash", "list", "--json", MEDIA])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    world.prints(&["trash", "restore", MEDIA, &id]);
    assert_eq!(mount.read("media/old/deep/a.txt"), "deep");
    assert!(names(&world).is_empty());
    // A name that is taken is told.
    world.put(MEDIA, "twin.txt", "first");
    world.change(MEDIA, "trash", "twin.txt");
    world.put(MEDIA, "twin.txt", "second");
    let told = world.prints(&["trash", "restore", MEDIA, "twin.txt"]);
    assert!(
        told.ends_with("One has the name twin(2).txt now, since its own was taken.\n"),
        "{told}"
    );
    assert_eq!(mount.read("media/twin(2).txt"), "first");
    // The folder may be named as any other path.
    world.change(MEDIA, "trash", "album/x.jpg");
    let to = mount.path("media/old");
    world.prints(&["trash", "restore", MEDIA, "x.jpg", "--to", &to]);
    assert_eq!(mount.list("media/old"), ["deep", "x.jpg"]);
}

#[test]
fn a_restore_that_is_not_clear_changes_nothing_and_says_what_to_do() {
    let world = World::new();
    for content in ["one", "two"] {
        world.put(MEDIA, "twin.txt", content);
        world.change(MEDIA, "trash", "twin.txt");
    }
    world.put(MEDIA, "file.txt", "f");
    world.put("cloud", "docs/c.txt", "c");
    world.refuses(
        &["trash", "restore", MEDIA, "none.txt"],
        "none.txt is not in the trash of media: `lockerfs trash list media`",
    );
    world.refuses(
        &["trash", "restore", MEDIA, "twin.txt"],
        "twin.txt is the name of 2 items in the trash of media: say which by id, ",
    );
    let id = world.json(&["trash", "list", "--json", MEDIA])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let to = |to: &'static str| ["trash", "restore", MEDIA, "", "--to", to];
    for (folder, expected) in [
        ("nowhere", "media:nowhere is not there"),
        ("file.txt", "media:file.txt is a file: name a directory"),
        (
            "cloud:docs",
            "cloud:docs is in account cloud: name a folder of media",
        ),
    ] {
        let mut args = to(folder);
        args[3] = &id;
        world.refuses(&args, expected);
    }
    world.is_wrong_use(&["trash", "restore", MEDIA], "<ITEM>");
    world.is_wrong_use(&["trash"], "Usage");
    // One that the service does not let out.
    world.faults(serde_json::json!([{"match": "file/move", "fault": "error", "code": 211}]));
    world.refuses(&["trash", "restore", MEDIA, &id], "restore it on its web site");
}

#[test]
fn the_trash_is_emptied_when_a_person_says_so_and_not_otherwise() {
    let world = World::with(|options| options.quirks.bulk_job = Duration::from_millis(700));
    for name in ["a.txt", "b.txt"] {
        world.put(MEDIA, name, name);
        world.change(MEDIA, "trash", name);
    }
    world.refuses(&["trash", "empty", MEDIA], "say --yes where nobody can be asked");
    let (status, shown) = world.at_a_terminal(&["trash", "empty", MEDIA], "n");
    assert_eq!(status, 0, "{shown}");
    assert!(
        shown.contains("Delete 2 items of the trash of media for good? [y/N]"),
        "{shown}"
    );
    assert!(shown.contains("Nothing was deleted."), "{shown}");
    assert_eq!(names(&world).len(), 2);
    let (status, shown) = world.at_a_terminal(&["trash", "empty", MEDIA], "y");
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains("Deleted 2 items for good."), "{shown}");
    assert!(names(&world).is_empty());
    world.put(MEDIA, "c.txt", "c");
    world.change(MEDIA, "trash", "c.txt");
    world.prints(&["trash", "empty", "--yes", MEDIA]);
    assert_eq!(world.state(MEDIA)["tree"]["files"], serde_json::json!({}));
    assert_eq!(
        world.prints(&["trash", "empty", "--yes", MEDIA]),
        "The trash of media is empty.\n"
    );
}

#[test]
fn what_is_purged_is_gone_for_good_and_from_the_mount_at_once() {
    let world = World::new();
    for path in ["a.txt", "b.txt", "old/deep/c.txt", "kept.txt"] {
        world.put(MEDIA, path, path);
    }
    let mount = world.mount();
    assert_eq!(mount.list("media"), ["a.txt", "b.txt", "kept.txt", "old"]);
    assert_eq!(mount.list("media/old"), ["deep"]);
    let (a, old) = (mount.path("media/a.txt"), mount.path("media/old"));
    world.refuses(&["purge", &a], "say --yes where nobody can be asked");
    let (status, shown) = world.at_a_terminal(&["purge", &a], "");
    assert!(status == 0 && shown.contains("Nothing was deleted."), "{shown}");
    assert!(shown.contains(&a), "it is told what would go: {shown}");
    let told = world.prints(&["purge", "--yes", &a, &old, "media:b.txt"]);
    assert_eq!(told, "Deleted 3 items for good.\n");
    assert_eq!(mount.list("media"), ["kept.txt"]);
    let files = world.state(MEDIA)["tree"]["files"].clone();
    assert_eq!(files.as_object().unwrap().len(), 1, "{files}");
    assert!(names(&world).is_empty(), "nothing went into the trash");
}

#[test]
fn one_path_that_is_wrong_keeps_all_from_being_purged() {
    let world = World::new();
    world.put(MEDIA, "a.txt", "a");
    world.put(MEDIA, "album/b.txt", "b");
    world.refuses(
        &["purge", "--yes", "media:a.txt", "media:none.txt"],
        "media:none.txt is not there",
    );
    world.refuses(
        &["purge", "--yes", "media:a.txt", "media:"],
        "media: is the whole account: name something in it",
    );
    world.is_wrong_use(&["purge", "--yes"], "<PATH>");
    let mount = world.mount();
    world.prints(&["queue", "pause"]);
    mount.write("media/album/new.txt", "new");
    world.refuses(
        &["purge", "--yes", "media:a.txt", &mount.path("media/album")],
        "holds files that wait for their upload",
    );
    world.prints(&["queue", "resume"]);
    world.prints(&["drain"]);
    world.prints(&["purge", "--yes", &mount.path("media/album")]);
    assert_eq!(mount.list("media"), ["a.txt"]);
}
