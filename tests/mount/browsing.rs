//! File managers: what they look for beside a person's files costs no call.

use std::fs;

use super::suite::harness::World;

/// Names that desktops, thumbnailers and indexers look for in each folder that they show.
const PROBED: &[&str] = &[
    ".hidden",
    ".directory",
    ".xdg-volume-info",
    ".Trash",
    ".Trash-0",
    ".Trash-1000",
    ".sh_thumbnails",
    ".DS_Store",
    "._photo.jpg",
    ".git",
    ".svn",
    ".nomedia",
    ".trackerignore",
    "autorun.inf",
    "autorun.sh",
    "desktop.ini",
    "Thumbs.db",
    "folder.jpg",
    "BDMV",
    "VIDEO_TS",
    "DCIM",
];

#[test]
fn names_that_file_managers_probe_cost_no_call() {
    let world = World::with(|setup| setup.asks_for_nothing());
    world.put("photos/photo.jpg", b"a photo");
    let mount = world.mount();
    assert_eq!(mount.list("photos"), ["photo.jpg"]);
    let top = mount.mount_point().to_owned();
    let calls = world.counted(|| {
        for folder in [top.clone(), top.join("media"), top.join("media/photos")] {
            for name in PROBED {
                let error = fs::symlink_metadata(folder.join(name)).expect_err("there is none");
                assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{name}");
                let below = folder.join(name).join("normal/0.png");
                assert!(fs::File::open(below).is_err());
            }
        }
        for _ in 0..20 {
            fs::metadata(top.join("media/photos/photo.jpg")).expect("stat");
        }
    });
    assert_eq!(calls.total(), 0, "{calls:?}");
}
