//! The list of links in each folder: `links.txt`.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;

use super::{LIST, OTHER, place, world};
use crate::publishing::harness::{MEDIA, Mount, World, run, wait_for};

fn read(mount: &Mount, account: &str, folder: &str) -> String {
    let mut file = fs::File::open(place(mount, account, folder).join(LIST)).expect("open");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("read");
    let facts = file.metadata().expect("fstat");
    assert_eq!(facts.len(), text.len() as u64, "{text}");
    assert_eq!(facts.blocks(), facts.len().div_ceil(512));
    text
}

/// The first fields.
fn names(list: &str) -> Vec<&str> {
    let name = |line: &'_ str| line.split('\t').next().map_or(0, str::len);
    list.lines().map(|line| &line[..name(line)]).collect()
}

/// The list, which has these files.
#[track_caller]
fn lists(mount: &Mount, account: &str, folder: &str, files: &[&str]) -> String {
    let list = read(mount, account, folder);
    assert_eq!(names(&list), files, "{account}/{folder}");
    list
}

fn errno<T>(result: std::io::Result<T>) -> i32 {
    let error = result.err().expect("refused");
    error.raw_os_error().expect("an errno")
}

#[test]
fn the_list_tells_the_links_of_a_folder_without_a_call_and_follows_every_change() {
    let world = world(|setup| setup.asks_for_nothing());
    let mount = world.mount();
    for (account, has_short) in [(MEDIA, false), (OTHER, true)] {
        assert_eq!(read(&mount, account, ""), "");
        fs::create_dir(place(&mount, account, "album")).expect("mkdir");
        for name in ["b.png", "a b.png", "new\nline.png"] {
            fs::write(place(&mount, account, "album").join(name), name).expect("cp");
        }
        world.drain();
        let list = lists(&mount, account, "album", &["a b.png", "b.png", "new\\nline.png"]);
        assert_eq!(read(&mount, account, ""), "", "of each folder by itself");
        for (line, name) in list.lines().zip(["a b.png", "b.png", "new\nline.png"]) {
            let fields: Vec<_> = line.split('\t').collect();
            let path = format!("../{account}/album/{name}");
            assert_eq!(fields[1], mount.xattr(&path, "url").expect("a link"));
            assert_eq!(fields.get(2).is_some(), has_short, "{line}");
            if let Some(short) = fields.get(2) {
                assert_eq!(*short, mount.xattr(&path, "short_url").expect("a link"));
            }
        }
        // What has it open reads on in it; whoever opens it next reads the new one.
        let mut open = fs::File::open(place(&mount, account, "album/links.txt")).expect("open");
        let calls = world.counted(|| {
            fs::rename(
                place(&mount, account, "album/b.png"),
                place(&mount, account, "album/z.png"),
            )
            .expect("mv");
            fs::rename(
                place(&mount, account, "album/a b.png"),
                place(&mount, account, "a b.png"),
            )
            .expect("mv");
            assert_eq!(
                names(&read(&mount, account, "album")),
                ["new\\nline.png", "z.png"]
            );
            assert_eq!(names(&read(&mount, account, "")), ["a b.png"]);
            fs::remove_file(place(&mount, account, "album/new\nline.png")).expect("rm");
            let list = read(&mount, account, "album");
            assert_eq!(names(&list), ["z.png"]);
            let facts = fs::metadata(place(&mount, account, "album/links.txt")).expect("stat");
            assert_eq!(facts.len(), list.len() as u64);
        });
        assert_eq!(calls.by_name.len(), 0, "{calls:?}");
        let mut text = String::new();
        open.read_to_string(&mut text).expect("read on");
        assert_eq!(text, list);
        assert_eq!(open.metadata().expect("fstat").len(), list.len() as u64);
        // New content under a name has another link, and none while it waits.
        world.lockerfs(&["queue", "pause"]).succeeded();
        fs::write(place(&mount, account, "album/z.png"), "other").expect("cp");
        assert_eq!(read(&mount, account, "album"), "");
        world.lockerfs(&["queue", "resume"]).succeeded();
        world.drain();
        let again = lists(&mount, account, "album", &["z.png"]);
        let url = mount.xattr(&format!("../{account}/album/z.png"), "url");
        assert!(again.contains(&url.expect("a link")) && !list.contains(again.trim_end()));
    }
    let before = [MEDIA, OTHER].map(|account| read(&mount, account, "album"));
    mount.unmount(&world.config());
    let mount = world.mount();
    let calls = world.counted(|| {
        let after = [MEDIA, OTHER].map(|account| read(&mount, account, "album"));
        assert_eq!(before, after, "over a remount");
    });
    let known = ["mirrorace/file/upload", "mirrored_to/get_account_info"];
    assert!(
        calls.by_name.keys().all(|name| known.contains(&name.as_str())),
        "{calls:?}"
    );
    assert!(world.pending().is_empty(), "it is never uploaded");
    mount.unmount(&world.config());
}

#[test]
fn a_file_that_the_service_removed_is_marked_in_the_list() {
    let world = world(|setup| setup.option("poll_interval", "\"1s\""));
    let ahead = world.folder().join("ahead");
    fs::write(&ahead, "0").expect("a clock");
    let under = format!("LOCKERFS_CLOCK_AHEAD={}", ahead.display());
    let mount = Mount::start_under(&["env", &under], &world.config(), &world.place());
    for account in [MEDIA, OTHER] {
        fs::write(place(&mount, account, "bad.bin"), "bad").expect("cp");
        fs::write(place(&mount, account, "good.bin"), "good").expect("cp");
    }
    world.drain();
    for account in [MEDIA, OTHER] {
        let id = &world.service.stored(account)["bad.bin"].id;
        let withdrawn = json!({ "account": account, "id": id, "status": "copyright removed" });
        world.service.tell("withdraw", &withdrawn);
    }
    fs::write(&ahead, (25 * 3600).to_string()).expect("a clock");
    for (account, mark) in [
        (MEDIA, "\tremoved: copyright removed"),
        (OTHER, "\tremoved: not found"),
    ] {
        wait_for("the line is marked", || {
            let list = read(&mount, account, "");
            let marked: Vec<_> = list.lines().map(|line| line.ends_with(mark)).collect();
            assert_eq!(names(&list), ["bad.bin", "good.bin"]);
            marked == [true, false]
        });
        let list = read(&mount, account, "");
        let fields = list.lines().next().map(|line| line.split('\t').count());
        assert_eq!(fields, Some(4), "{list}");
    }
    mount.unmount(&world.config());
}

#[test]
fn programs_read_and_copy_the_list_like_any_file() {
    let world = world(|setup| setup.asks_for_nothing());
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        let folder = place(&mount, account, "album");
        fs::create_dir(&folder).expect("mkdir");
        for number in 0..40 {
            fs::write(folder.join(format!("{number:02}.png")), [number; 10]).expect("cp");
        }
        world.drain();
        let files: Vec<_> = (0..40).map(|number| format!("{number:02}.png")).collect();
        let files: Vec<_> = files.iter().map(String::as_str).collect();
        let list = lists(&mount, account, "album", &files);
        let path = folder.join(LIST);
        let grep = run("grep", &[&"-c", &"\\.png\t", &path]);
        assert_eq!(grep.succeeded().stdout.trim(), "40");
        assert_eq!(run("cat", &[&path]).succeeded().stdout, list);
        let by_map = "import mmap,sys; f=open(sys.argv[1],'rb'); \
                      sys.stdout.write(mmap.mmap(f.fileno(),0,access=mmap.ACCESS_READ)[:].decode())";
        assert_eq!(run("python3", &[&"-c", &by_map, &path]).succeeded().stdout, list);
        let to = world.folder().join(format!("copy of {account}"));
        run("cp", &[&"-r", &folder, &to]).succeeded();
        run("cp", &[&"-rT", &folder, &to]).succeeded();
        assert_eq!(fs::read_to_string(to.join(LIST)).expect("the copy"), list);
        let to = world.folder().join(format!("sync of {account}"));
        let from = format!("{}/", folder.display());
        let sync = || run("rsync", &[&"-ai", &from, &to]).succeeded().stdout.clone();
        assert!(sync().contains(LIST));
        assert_eq!(fs::read_to_string(to.join(LIST)).expect("the copy"), list);
        assert_eq!(sync(), "", "a second one finds nothing to do");
        let linked = world.lockerfs(&["link", "-r", folder.to_str().expect("UTF-8")]);
        assert_eq!(linked.succeeded().stdout.lines().count(), 40);
        let named = world.lockerfs(&["link", path.to_str().expect("UTF-8")]);
        named.failed(1, &["is the list of its folder's links"]);
    }
    mount.unmount(&world.config());
}

#[test]
fn the_list_cannot_be_changed_or_replaced_and_nobody_loses_a_file_by_trying() {
    let world = world(|setup| setup.asks_for_nothing());
    let mount = world.mount();
    let own = world.folder().join(LIST);
    for account in [MEDIA, OTHER] {
        let at = |name: &str| place(&mount, account, name);
        fs::write(at("a.txt"), "a").expect("cp");
        world.drain();
        let list = lists(&mount, account, "", &["a.txt"]);
        let write = || fs::File::options().write(true).open(at(LIST));
        assert_eq!(errno(write()), libc::EPERM);
        let append = || fs::File::options().append(true).open(at(LIST));
        assert_eq!(errno(append()), libc::EPERM);
        run("touch", &[&"-d", &"2001-01-01", &at(LIST)]).failed(1, &["not permitted"]);
        run("truncate", &[&"-s", &"0", &at(LIST)]).failed(1, &["not permitted"]);
        assert_eq!(errno(fs::rename(at(LIST), at("b.txt"))), libc::EPERM);
        assert_eq!(errno(fs::create_dir(at(LIST))), libc::EEXIST);
        assert_eq!(errno(fs::write(at(LIST), "x")), libc::EPERM);
        assert_eq!(errno(fs::rename(at("a.txt"), at(LIST))), libc::EPERM);
        fs::write(&own, "the only copy").expect("write");
        run("cp", &[&own, &at(LIST)]).failed(1, &["not permitted"]);
        run("cp", &[&"-f", &own, &at(LIST)]).failed(1, &["not permitted"]);
        run("mv", &[&own, &at(LIST)]).failed(1, &["not permitted"]);
        let synced = run("rsync", &[&"-a", &own, &at("")]);
        assert_eq!(synced.status.code(), Some(23), "{synced:?}");
        assert_eq!(fs::read_to_string(&own).expect("still there"), "the only copy");
        assert_eq!(fs::read_to_string(at("a.txt")).expect("still there"), "a");
        // Some of these removed it first.
        assert_eq!(read(&mount, account, ""), list);
        // A person may remove it; it comes back with what it would say then, and keeps its name meanwhile.
        fs::remove_file(at(LIST)).expect("rm");
        assert_eq!(errno(fs::metadata(at(LIST))), libc::ENOENT);
        assert_eq!(errno(fs::remove_file(at(LIST))), libc::ENOENT);
        fs::write(at("b.txt"), "b").expect("cp");
        world.drain();
        lists(&mount, account, "", &["a.txt", "b.txt"]);
        fs::remove_file(at("b.txt")).expect("rm");
        assert_eq!(read(&mount, account, ""), list);
        fs::remove_file(at(LIST)).expect("rm");
        fs::rename(at("a.txt"), at("c.txt")).expect("mv");
        lists(&mount, account, "", &["c.txt"]);
        for refused in [|path| fs::create_dir(path), |path| fs::write(path, "x")] {
            fs::remove_file(at(LIST)).expect("rm");
            assert_eq!(errno(refused(at(LIST))), libc::EPERM);
            lists(&mount, account, "", &["c.txt"]);
        }
    }
    let log = mount.log();
    assert!(
        log.contains("choose another name, or set links_file = false"),
        "{log}"
    );
    mount.unmount(&world.config());
}

/// Removes a folder with a tool.
fn removes(tool: &str, args: &[&str], folder: &Path) {
    let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = args.iter().map(|arg| arg as &dyn AsRef<_>).collect();
    all.push(&folder);
    run(tool, &all).succeeded();
    assert!(!folder.exists(), "{tool} {args:?}");
}

#[test]
fn folders_are_removed_with_their_lists() {
    let world = world(|setup| setup.asks_for_nothing());
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        let folder = place(&mount, account, "album");
        let fill = || {
            fs::create_dir_all(folder.join("inner/empty")).expect("mkdir");
            fs::write(folder.join("a.txt"), "a").expect("cp");
            fs::write(folder.join("inner/b.txt"), "b").expect("cp");
            world.drain();
            lists(&mount, account, "album/inner", &["b.txt"]);
        };
        let tree = "import shutil,sys; shutil.rmtree(sys.argv[1])";
        let tools: [(&str, &[&str]); 2] = [("rm", &["-r"]), ("python3", &["-c", tree])];
        for (tool, args) in tools {
            fill();
            removes(tool, args, &folder);
        }
        fill();
        run("find", &[&folder, &"-delete"]).succeeded();
        assert!(!folder.exists());
        fill();
        let full = errno(fs::remove_dir(folder.join("inner")));
        assert_eq!(full, libc::ENOTEMPTY);
        // A folder that shows its list alone is empty.
        fs::remove_dir(folder.join("inner/empty")).expect("rmdir");
        let nothing = world.folder().join("nothing");
        fs::create_dir_all(&nothing).expect("mkdir");
        let from = format!("{}/", nothing.display());
        run("rsync", &[&"-r", &"--delete", &from, &folder]).succeeded();
        let left: Vec<_> = fs::read_dir(&folder).expect("list").flatten().collect();
        assert!(left.iter().all(|entry| entry.file_name() == LIST), "{left:?}");
        fs::remove_dir(&folder).expect("rmdir");
        // A moved folder brings its list along.
        fill();
        fs::rename(&folder, place(&mount, account, "moved")).expect("mv");
        assert_eq!(names(&read(&mount, account, "moved/inner")), ["b.txt"]);
        assert_eq!(
            mount
                .xattr(&format!("../{account}/moved/links.txt"), "state")
                .expect("a state"),
            "list"
        );
    }
    mount.unmount(&world.config());
}

#[test]
fn without_the_list_the_name_is_anybodys_and_a_published_file_keeps_it() {
    let world = world(|setup| setup.option("links_file", "false"));
    let listed = |mount: &Mount, account: &str| {
        let entries = fs::read_dir(place(mount, account, "")).expect("list").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        names.sort();
        names
    };
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        assert!(listed(&mount, account).is_empty());
        fs::write(place(&mount, account, LIST), "my own").expect("cp");
    }
    world.drain();
    mount.unmount(&world.config());
    with_lists(&world);
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        assert_eq!(listed(&mount, account), [LIST]);
        assert_eq!(
            fs::read_to_string(place(&mount, account, LIST)).expect("cat"),
            "my own"
        );
        fs::rename(place(&mount, account, LIST), place(&mount, account, "mine.txt")).expect("mv");
        assert_eq!(listed(&mount, account), [LIST, "mine.txt"]);
        assert_eq!(names(&read(&mount, account, "")), ["mine.txt"]);
    }
    mount.unmount(&world.config());
}

fn with_lists(world: &World) {
    let text = world.config_text();
    assert!(text.contains("links_file = false"));
    world.write_config(&text.replace("links_file = false", "links_file = true"));
}
