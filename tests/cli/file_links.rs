//! `lockerfs link`: pages by account, kinds of links, one-time links.

use serde_json::{Value, json};

use crate::home::Ran;
use crate::world::{CLOUD, MEDIA, World};

fn lines(out: &str) -> Vec<&str> {
    out.lines().collect()
}

#[test]
fn pages_are_told_without_a_mount_and_next_to_those_of_one() {
    let world = World::new();
    let id = world.put(MEDIA, "album/a.txt", "a");
    world.put(CLOUD, "docs/c.txt", "c");
    let page = world.prints(&["link", "media:album/a.txt"]);
    assert!(page.contains(&format!("/file/{id}/")), "{page}");
    let mount = world.mount();
    let in_mount = mount.path("media/album/a.txt");
    let both = world.prints(&["link", &in_mount, "media:album/a.txt"]);
    assert_eq!(both, format!("{page}{page}"));
    let told = world.json(&["link", "--json", "cloud:docs/c.txt"]);
    assert_eq!(told[0]["path"], "cloud:docs/c.txt");
    assert!(told[0]["short_url"].as_str().unwrap().len() < told[0]["url"].as_str().unwrap().len());
    let list = world.prints(&["link", "--markdown", "media:album/a.txt"]);
    assert!(list.starts_with("- [a.txt](<http"), "{list}");
    // One that is missing is told, and the other is printed.
    let Ran { status, out, err } = world.run(&["link", "media:album/none.txt", "media:album/a.txt"]);
    assert_eq!((status, out), (1, page));
    assert_eq!(err, "lockerfs: media:album/none.txt is not there\n");
    world.refuses(&["link", "media:album"], "say -r for all files below it");
}

#[test]
fn all_files_below_a_directory_are_told_in_few_calls_and_each_by_a_path_of_its_own() {
    let world = World::new();
    for path in [
        "album/b.txt",
        "album/a.txt",
        "album/sub/c.txt",
        "album/x.txt",
        "beside.txt",
    ] {
        world.put(MEDIA, path, path);
    }
    // Two of one name.
    world.rename(MEDIA, "album/x.txt", "a.txt");
    assert!(!world.calls().contains_key("file/get_links"));
    let told = world.json(&["link", "-r", "--json", "media:album"]);
    assert_eq!(world.calls()["file/get_links"], 1);
    let told = told.as_array().unwrap();
    assert_eq!(told.len(), 4, "{told:?}");
    for link in told {
        let alone = world.prints(&["link", link["path"].as_str().unwrap()]);
        assert_eq!(alone.trim_end(), link["url"]);
    }
    let views = world.prints(&["link", "-r", "--type", "view", "media:"]);
    assert_eq!(views.lines().count(), 5, "{views}");
}

#[test]
fn each_kind_of_link_is_told_and_a_file_that_lacks_it_by_a_sentence() {
    let world = World::new();
    for (path, content) in [("a.txt", "text"), ("b.bin", "bytes"), ("album/song.mp3", "la")] {
        world.put(MEDIA, path, content);
    }
    let mount = world.mount();
    let (text, bin) = ("media:a.txt", mount.path("media/b.bin"));
    for (kind, part, why) in [
        ("view", "/view/", "cannot show this file in a browser"),
        ("edit", "/edit/", "cannot edit this file"),
    ] {
        let Ran { status, out, err } = world.run(&["link", "--type", kind, text, &bin]);
        assert_eq!(status, 1, "{err}");
        assert!(lines(&out).len() == 1 && out.contains(part), "{out}");
        assert!(
            lines(&err).len() == 1 && err.contains(&bin) && err.contains(why),
            "{err}"
        );
    }
    let song = "media:album/song.mp3";
    assert!(
        world
            .prints(&["link", "--type", "view", song])
            .contains("/listen/")
    );
    assert!(
        world
            .prints(&["link", "--type", "stream", song])
            .contains("/stream/")
    );
    world.refuses(&["link", "--type", "stream", text], "does not stream this file");
    let direct = world.prints(&["link", "--type", "download", "-r", &mount.path("media")]);
    let bodies: Vec<Vec<u8>> = lines(&direct).into_iter().map(|url| world.fetch(url).1).collect();
    // In the order of the names: a.txt, album/song.mp3, b.bin.
    let expected = ["text", "la", "bytes"].map(|body| body.as_bytes().to_vec());
    assert_eq!(bodies, expected);
    // Why a direct link is refused is told for each file.
    world.faults(json!([{"match": "file/get_links", "fault": "link_error", "code": 44}]));
    let Ran { status, out, err } = world.run(&["link", "--type", "download", text]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.contains("the day's download volume is used up"), "{err}");
    world.is_wrong_use(&["link", "--type", "short", text], "[possible values: view");
}

#[test]
fn a_one_time_link_serves_once() {
    let world = World::new();
    let id = world.put(MEDIA, "a.txt", "just for you");
    let Ran { status, out, err } = world.run(&["link", "--one-time", "--duration", "90s", "media:a.txt"]);
    assert_eq!(status, 0, "{err}");
    assert!(err.contains("good once"), "{err}");
    let url = out.trim_end();
    let kept = world.state(MEDIA)["one_time_links"].clone();
    let kept: Vec<&Value> = kept.as_object().unwrap().values().collect();
    assert_eq!(
        kept,
        [&json!({"quickkey": id, "minutes": 2, "burn": true, "notify": false, "addresses": ""})]
    );
    assert_eq!(world.fetch(url), (200, b"just for you".to_vec()));
    assert_eq!(world.fetch(url).0, 404, "it was used");
    assert_eq!(
        world.prints(&["link", "--made-today", MEDIA]),
        "1 of 100 one-time links were made today with account media.\n"
    );
    assert_eq!(
        world.json(&["link", "--made-today", MEDIA, "--json"]),
        json!({"made_today": 1, "most_a_day": 100})
    );
}

#[test]
fn terms_of_a_one_time_link_reach_the_service_and_can_be_changed() {
    let world = World::new();
    world.put(MEDIA, "a.txt", "a");
    let told = world.json(&[
        "link",
        "--one-time",
        "--bind-ip",
        "127.0.0.0/8",
        "--keep",
        "--notify",
        "--json",
        "media:a.txt",
    ]);
    let (url, token) = (
        told[0]["url"].as_str().unwrap(),
        told[0]["token"].as_str().unwrap(),
    );
    let kept = || world.state(MEDIA)["one_time_links"][token].clone();
    assert_eq!(
        (
            kept()["burn"].clone(),
            kept()["notify"].clone(),
            kept()["addresses"].clone()
        ),
        (json!(false), json!(true), json!("127.0.0.0/8"))
    );
    for _ in 0..2 {
        assert_eq!(world.fetch(url).0, 200, "it serves many times");
    }
    // By the whole link; what is not named becomes what is usual.
    let told = world.prints(&["link", "--change", url, "--bind-ip", "203.0.113.1-203.0.113.9"]);
    assert_eq!(
        told,
        "The link is good once, from 203.0.113.1-203.0.113.9 alone, for 30 days.\n"
    );
    assert_eq!(
        (
            kept()["burn"].clone(),
            kept()["notify"].clone(),
            kept()["minutes"].clone()
        ),
        (json!(true), json!(false), json!(43_200))
    );
    assert_eq!(world.fetch(url).0, 404, "not for this machine");
    // By the token.
    world.prints(&["link", "--change", token, "--duration", "2h", "--account", MEDIA]);
    assert_eq!(kept()["minutes"], 120);
    assert_eq!(world.fetch(url).0, 200);
    world.refuses(
        &["link", "--change", token, "--duration", "2h"],
        "the service knows no such one-time link of this account",
    );
}

#[test]
fn terms_that_make_no_sense_make_and_change_no_link() {
    let world = World::new();
    world.put(MEDIA, "a.txt", "a");
    let file = "media:a.txt";
    world.refuses(&["link", "--duration", "5m", file], "say --one-time");
    world.refuses(&["link", "--notify", file], "say --one-time");
    world.refuses(&["link", "--change", "abcdefgh123"], "nothing is to be changed");
    world.refuses(
        &["link", "--change", "no link!", "--duration", "5m"],
        "is no one-time link",
    );
    world.refuses(
        &["link", "--one-time", "--html", file],
        "leave out --markdown and --html",
    );
    world.refuses(&["link", "--one-time", "media:"], "is a directory");
    world.refuses(&["link", "--made-today", "nobody"], "no account nobody");
    for (args, expected) in [
        (&["link", "--one-time", "--keep", file][..], "--bind-ip"),
        (
            &["link", "--one-time", "--duration", "0s", file],
            "a minute at least",
        ),
        (
            &["link", "--one-time", "--duration", "31d", file],
            "30 days at most",
        ),
        (
            &["link", "--one-time", "--duration", "soon", file],
            "is no duration",
        ),
        (
            &["link", "--one-time", "--bind-ip", "here", file],
            "is no address",
        ),
        (
            &["link", "--one-time", "--call-on-success", "ftp://x", file],
            "is no address",
        ),
        (
            &["link", "--one-time", "--type", "view", file],
            "cannot be used with",
        ),
        (&["link", "--change", "abcdefgh123", file], "cannot be used with"),
        (&["link", "--one-time"], "<PATH>"),
    ] {
        world.is_wrong_use(args, expected);
    }
    // A day's limit is told, and no link is made in its place.
    world.faults(json!([{"match": "file/one_time_key", "fault": "error", "code": 163}]));
    world.refuses(&["link", "--one-time", file], "too many calls");
}

#[test]
fn a_lost_answer_makes_no_second_one_time_link() {
    let world = World::new();
    world.put(MEDIA, "a.txt", "a");
    world.faults(json!([{"match": "file/one_time_key", "fault": "lost_reply", "times": 1}]));
    let Ran { status, err, .. } = world.run(&["link", "--one-time", "media:a.txt"]);
    assert_eq!(status, 1, "{err}");
    assert_eq!(world.state(MEDIA)["one_time_links"].as_object().unwrap().len(), 1);
    assert_eq!(world.calls()["file/one_time_key"], 1);
}
