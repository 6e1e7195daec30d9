//! `lockerfs info`, `recent`, `privacy`, `describe`, `artwork` and `create`.

use serde_json::json;

use crate::world::{MEDIA, World};

#[test]
fn info_tells_what_the_service_knows_by_account_and_by_mount() {
    let world = World::new();
    let id = world.put(MEDIA, "album/letter.txt", "first");
    world.put(MEDIA, "album/letter.txt", "second!");
    world.put(MEDIA, "album/sub/x.bin", "12345");
    let mount = world.mount();
    for path in ["media:album/letter.txt", &mount.path("media/album/letter.txt")] {
        let told = world.json(&["info", "--json", path]);
        assert_eq!(told["path"], path);
        assert_eq!(
            (&told["account"], &told["service"]),
            (&json!(MEDIA), &json!("mediafire"))
        );
        assert_eq!((&told["kind"], &told["id"]), (&json!("file"), &json!(id)));
        assert_eq!((&told["size"], &told["versions"]), (&json!(7), &json!(2)));
        assert_eq!(told["sha256"], world.file(MEDIA, &id)["content"]["sha256"]);
        assert_eq!(
            (&told["privacy"], &told["downloads"]),
            (&json!("public"), &json!(0))
        );
        assert!(told["created"].as_str().unwrap().ends_with('Z'), "{told}");
        assert!(
            told["links"]["normal_download"].as_str().unwrap().contains(&id),
            "{told}"
        );
        assert!(told["links"]["edit"].is_string(), "{told}");
        let rows = world.prints(&["info", path]);
        for part in [
            "letter.txt",
            "media (mediafire)",
            &id,
            "7 B",
            "public",
            "normal_download",
        ] {
            assert!(rows.contains(part), "{part}: {rows}");
        }
    }
    let folder = world.json(&["info", "--json", "media:album"]);
    assert_eq!(
        [
            &folder["kind"],
            &folder["files"],
            &folder["folders"],
            &folder["size"]
        ],
        [&json!("directory"), &json!(1), &json!(1), &json!(12)]
    );
    assert_eq!(world.json(&["info", "--json", "media:"])["name"], "myfiles");
    // A link that it makes by itself would end, or count.
    assert!(!world.calls().contains_key("file/one_time_key"));
    world.refuses(&["info", "media:album/none"], "media:album/none is not there");
    world.refuses(&["info", "media:none/x"], "there is no media:none");
    world.refuses(&["info", "media:../x"], "is no path in an account: it holds ..");
    world.is_wrong_use(&["info"], "<PATH>");
}

#[test]
fn names_are_those_that_a_mount_shows_and_twins_are_told() {
    let world = World::new();
    let odd = world.put(MEDIA, "a/b／c.txt", "odd");
    let mount = world.mount();
    let shown = mount.list("media/a");
    assert_eq!(shown.len(), 1);
    let told = world.json(&["info", "--json", &format!("media:a/{}", shown[0])]);
    assert_eq!(told["id"], json!(odd));
    drop(mount);
    // Two files of one name, as the service allows.
    let first = world.put(MEDIA, "twin.txt", "one");
    let second = world.put(MEDIA, "other.txt", "two");
    world.rename(MEDIA, "other.txt", "twin.txt");
    world.refuses(
        &["info", "media:twin.txt"],
        "media:twin.txt is the name of 2 items: say which, ",
    );
    for id in [first, second] {
        let told = world.json(&["info", "--json", &format!("media:twin ({id}).txt")]);
        assert_eq!(told["id"], json!(id));
    }
    world.refuses(&["purge", "--yes", "media:twin.txt"], "say which, ");
}

#[test]
fn recent_files_come_newest_first_with_paths_that_other_commands_take() {
    let world = World::new();
    for path in ["a.txt", "album/b.txt", "album/sub/c.txt"] {
        world.put(MEDIA, path, path);
    }
    world.put(MEDIA, "a.txt", "changed");
    let told = world.json(&["recent", "--json", MEDIA]);
    let paths: Vec<&str> = told
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        ["media:a.txt", "media:album/sub/c.txt", "media:album/b.txt"]
    );
    for path in paths {
        world.prints(&["info", path]);
    }
    let table = world.prints(&["recent", MEDIA, "-n", "1"]);
    assert!(
        table.lines().count() == 2 && table.ends_with("media:a.txt\n"),
        "{table}"
    );
    world.is_wrong_use(&["recent", MEDIA, "-n", "0"], "0 is not in 1..=500");
    world.is_wrong_use(&["recent"], "<ACCOUNT>");
    world.refuses(&["recent", "medai"], "did you mean media?");
}

#[test]
fn privacy_holds_for_a_file_a_folder_or_all_below_it_and_keeps_times() {
    let world = World::new();
    let letter = world.put(MEDIA, "letter.txt", "l");
    let inside = world.put(MEDIA, "album/sub/x.txt", "x");
    let album = world.change(MEDIA, "make_folder", "album");
    let sub = world.change(MEDIA, "make_folder", "album/sub");
    let before = world.file(MEDIA, &letter)["created"].clone();
    // The service's clock goes on: an update without a time would take that of the update.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    world.prints(&["privacy", "media:letter.txt", "private"]);
    let after = world.file(MEDIA, &letter);
    assert_eq!((&after["private"], &after["created"]), (&json!(true), &before));
    world.prints(&["privacy", "media:album", "private"]);
    assert_eq!(world.folder(MEDIA, &album)["private"], true);
    assert_eq!(world.file(MEDIA, &inside)["private"], false, "not without -r");
    let told = world.prints(&["privacy", "-r", "media:album", "private"]);
    assert_eq!(told, "media:album is private, with all that is in it.\n");
    assert_eq!(world.file(MEDIA, &inside)["private"], true);
    assert_eq!(world.folder(MEDIA, &sub)["private"], true);
    world.prints(&["privacy", "-r", "media:album", "public"]);
    assert_eq!(world.file(MEDIA, &inside)["private"], false);
    world.refuses(
        &["privacy", "-r", "media:letter.txt", "public"],
        "-r is for directories",
    );
    world.refuses(&["privacy", "media:", "public"], "is the whole account");
    world.refuses(
        &["privacy", "media:letter.txt", "unlisted"],
        "public and private files alone",
    );
    world.is_wrong_use(
        &["privacy", "media:letter.txt", "secret"],
        "[possible values: public",
    );
}

#[test]
fn a_description_is_set_told_and_taken_away_and_keeps_times() {
    let world = World::new();
    let id = world.put(MEDIA, "letter.txt", "l");
    let folder = world.change(MEDIA, "make_folder", "album");
    let before = world.file(MEDIA, &id)["created"].clone();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    world.prints(&["describe", "media:letter.txt", "Ünser Brief & more"]);
    let after = world.file(MEDIA, &id);
    assert_eq!(after["description"], "Ünser Brief & more");
    assert_eq!(after["created"], before);
    let told = world.json(&["info", "--json", "media:letter.txt"]);
    assert_eq!(told["description"], "Ünser Brief & more");
    world.prints(&["describe", "media:album", "pictures"]);
    assert_eq!(world.folder(MEDIA, &folder)["description"], "pictures");
    world.prints(&["describe", "media:letter.txt", ""]);
    assert_eq!(world.file(MEDIA, &id)["description"], "");
    world.refuses(&["describe", "media:none", "x"], "media:none is not there");
    world.is_wrong_use(&["describe", "media:letter.txt"], "<TEXT>");
}

#[test]
fn artwork_is_an_image_of_the_same_account_for_audio_and_video() {
    let world = World::new();
    let song = world.put(MEDIA, "song.mp3", "la");
    let cover = world.put(MEDIA, "album/cover.jpg", "jpg");
    world.put(MEDIA, "letter.txt", "l");
    world.put("cloud", "cover.jpg", "jpg");
    let mount = world.mount();
    world.prints(&["artwork", &mount.path("media/song.mp3"), "media:album/cover.jpg"]);
    assert_eq!(world.file(MEDIA, &song)["artwork"], json!(cover));
    world.refuses(
        &["artwork", "media:letter.txt", "media:album/cover.jpg"],
        "files of this kind",
    );
    world.refuses(
        &["artwork", "media:song.mp3", "media:letter.txt"],
        "files of this kind",
    );
    world.refuses(
        &["artwork", "media:song.mp3", "media:album"],
        "media:album is a directory",
    );
    world.refuses(
        &["artwork", "media:song.mp3", "cloud:cover.jpg"],
        "the image must be in media, as the file is",
    );
    world.is_wrong_use(&["artwork", "media:song.mp3"], "<IMAGE>");
}

#[test]
fn a_text_file_is_made_without_an_upload_and_the_mount_shows_it_at_once() {
    let world = World::new();
    world.put(MEDIA, "album/old.txt", "old");
    let mount = world.mount();
    assert_eq!(mount.list("media/album"), ["old.txt"]);
    let new = mount.path("media/album/new.txt");
    world.prints(&["create", &new]);
    assert_eq!(mount.list("media/album"), ["new.txt", "old.txt"]);
    assert_eq!(mount.read("media/album/new.txt"), "");
    assert_eq!(
        world.prints(&["create", "media:top.txt"]),
        "Made media:top.txt.\n"
    );
    assert_eq!(mount.list("media"), ["album", "top.txt"]);
    // A mount tells what its accounts are, and hears of it wherever its state is.
    let elsewhere = world.home.path("elsewhere");
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_lockerfs"))
        .args(["create", &mount.path("media/album/third.txt")])
        .env("XDG_CONFIG_HOME", &elsewhere)
        .env("XDG_STATE_HOME", &elsewhere)
        .stdout(std::process::Stdio::null())
        .status();
    assert!(made.unwrap().success() && !elsewhere.exists());
    assert_eq!(mount.list("media/album"), ["new.txt", "old.txt", "third.txt"]);
    let calls = world.calls();
    assert!(!calls.keys().any(|call| call.starts_with("upload/")), "{calls:?}");
    for path in [new.as_str(), "media:top.txt"] {
        world.refuses(&["create", path], "exists already");
    }
    world.refuses(&["create", "media:x.doc"], "end the name with .txt");
    world.refuses(&["create", "media:none/x.txt"], "media:none is not there");
    world.refuses(&["create", "x.txt"], "is not in a mount of lockerfs");
}

#[test]
fn a_service_that_is_away_or_refuses_the_login_is_told_in_a_sentence() {
    let mut world = World::new();
    world.put(MEDIA, "a.txt", "a");
    let config = std::fs::read_to_string(world.home.config()).unwrap();
    std::fs::write(world.home.config(), config.replace("demo-password", "hunter2")).unwrap();
    world.home.fails(
        &["info", "media:a.txt"],
        "run `lockerfs login media` to give its secret anew",
    );
    std::fs::write(world.home.config(), config).unwrap();
    world.stop_service();
    for args in [
        &["info", "media:a.txt"][..],
        &["trash", "list", MEDIA],
        &["recent", MEDIA],
        &["link", "--made-today", MEDIA],
    ] {
        world.home.fails(args, "is the network up, and the service?");
    }
}
