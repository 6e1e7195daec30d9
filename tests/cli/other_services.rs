//! The same commands on services that have a part of it: what they have works, and the rest is a sentence.

use serde_json::json;

use crate::world::{CLOUD, MIRROR, MIRRORED, World};

#[test]
fn a_yetishare_host_tells_links_and_details_and_keeps_the_privacy_of_folders() {
    let world = World::new();
    let id = world.put(CLOUD, "docs/c.txt", "cc");
    let mount = world.mount();
    for path in ["cloud:docs/c.txt", &mount.path("cloud/docs/c.txt")] {
        let told = world.json(&["info", "--json", path]);
        assert_eq!(
            (&told["id"], &told["size"], &told["kind"]),
            (&json!(id), &json!(2), &json!("file"))
        );
        assert_eq!(told["service"], "yetishare");
        assert!(told["links"]["url_file"].is_string(), "{told}");
        // These let anybody delete the file.
        assert!(
            !told.to_string().contains("~d") && !told.to_string().contains("~i"),
            "{told}"
        );
    }
    let direct = world.prints(&["link", "--type", "download", "cloud:docs/c.txt"]);
    assert_eq!(world.fetch(direct.trim_end()).1, b"cc");
    for (name, kept) in [
        ("public", "public"),
        ("unlisted", "unlisted"),
        ("private", "private"),
    ] {
        world.prints(&["privacy", "cloud:docs", name]);
        assert_eq!(world.json(&["info", "--json", "cloud:docs"])["privacy"], kept);
    }
}

#[test]
fn what_a_yetishare_host_lacks_is_a_sentence_and_changes_nothing() {
    let world = World::new();
    world.put(CLOUD, "docs/c.txt", "c");
    let file = "cloud:docs/c.txt";
    for (args, expected) in [
        (&["versions", file][..], "keeps no former versions"),
        (&["restore", file, "1"], "keeps no former versions"),
        (&["trash", "list", CLOUD], "use its web site"),
        (&["trash", "restore", CLOUD, "x"], "use its web site"),
        (&["trash", "empty", "--yes", CLOUD], "use its web site"),
        (
            &["purge", "--yes", file],
            "cannot be deleted for good: its service has a trash alone",
        ),
        (&["recent", CLOUD], "does not tell which files changed last"),
        (&["zip", file, "-o", "x.zip"], "packs no archives"),
        (&["artwork", file, file], "keeps no artwork"),
        (&["privacy", file, "public"], "no privacy of single files"),
        (&["privacy", "-r", "cloud:docs", "public"], "leave out -r"),
        (&["describe", file, "x"], "keeps no descriptions"),
        (&["create", "cloud:docs/x.txt"], "makes no files by itself"),
        (&["link", "--one-time", file], "has no one-time links"),
        (&["link", "--made-today", CLOUD], "has no one-time links"),
        (
            &["link", "--type", "view", file],
            "has no links for viewing a file",
        ),
        (
            &["link", "--type", "edit", file],
            "has no links for editing a file",
        ),
        (
            &["link", "--type", "stream", file],
            "has no links for playing a file",
        ),
    ] {
        world.refuses(args, expected);
    }
    assert!(!world.home.path("x.zip").exists());
}

#[test]
fn what_was_published_is_told_with_a_mount_and_without_one() {
    let world = World::new();
    let before = world.run(&["info", "mirror:p.txt"]);
    assert_eq!(before.status, 1);
    assert!(
        before
            .err
            .contains("nothing was published with account mirror from here"),
        "{}",
        before.err
    );
    let mount = world.mount();
    mount.write("mirror/p.txt", "published");
    mount.write("mirrored/q.txt", "too");
    world.prints(&["drain"]);
    let check = |path: &str, size: Option<u64>| {
        let told = world.json(&["info", "--json", path]);
        assert_eq!(told["kind"], "file", "{told}");
        assert_eq!(told["size"].as_u64(), size, "{told}");
        let links = told["links"].as_object().unwrap();
        assert!(!links.is_empty(), "{told}");
    };
    check(&mount.path("mirror/p.txt"), Some(9));
    check("mirror:p.txt", Some(9));
    check(&mount.path("mirrored/q.txt"), None);
    let page = world.prints(&["link", &mount.path("mirrored/q.txt")]);
    assert_eq!(world.prints(&["link", "mirrored:q.txt"]), page);
    drop(mount);
    check("mirror:p.txt", Some(9));
    check("mirrored:q.txt", None);
    assert_eq!(world.prints(&["link", "mirrored:q.txt"]), page);
    world.refuses(&["info", "mirror:none.txt"], "mirror:none.txt is not there");
}

#[test]
fn what_a_service_that_publishes_only_lacks_is_a_sentence() {
    let world = World::new();
    let mount = world.mount();
    mount.write("mirror/p.txt", "published");
    mount.write("mirrored/p.txt", "published");
    world.prints(&["drain"]);
    for account in [MIRROR, MIRRORED] {
        let file = mount.path(&format!("{account}/p.txt"));
        for (args, expected) in [
            (&["versions", &file][..], "keeps no former versions"),
            (&["trash", "list", account], "use its web site"),
            (&["purge", "--yes", &file], "its service deletes nothing"),
            (&["recent", account], "does not tell which files changed last"),
            (&["zip", &file, "-o", "x.zip"], "packs no archives"),
            (&["privacy", &file, "public"], "who may see a file"),
            (&["describe", &file, "x"], "keeps no descriptions"),
            (&["link", "--one-time", &file], "has no one-time links"),
            (&["link", "--type", "download", &file], "cannot read files back"),
        ] {
            world.refuses(args, expected);
        }
        assert!(
            mount.list(account).contains(&"p.txt".to_owned()),
            "it is listed still"
        );
    }
}
