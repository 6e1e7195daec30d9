//! Permission bits of what was published, and links, which no such account can have.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::{OTHER, place, world};
use crate::publishing::harness::{MEDIA, Mount};

#[test]
fn bits_of_files_and_folders_of_the_catalog_are_kept() {
    let world = world(|_| {});
    let mount = world.mount();
    for account in [MEDIA, OTHER] {
        let at = |path: &str| place(&mount, account, path);
        fs::create_dir(at("folder")).expect("mkdir");
        fs::write(at("folder/before"), "before").expect("write");
        fs::write(at("after"), "after").expect("write");
        fs::set_permissions(at("folder/before"), Permissions::from_mode(0o755)).expect("chmod");
        fs::set_permissions(at("folder"), Permissions::from_mode(0o700)).expect("chmod");
        world.drain();
        fs::set_permissions(at("after"), Permissions::from_mode(0o600)).expect("chmod");
        fs::rename(at("after"), at("folder/renamed")).expect("rename");
    }
    let check = |mount: &Mount, when: &str| {
        for account in [MEDIA, OTHER] {
            for (path, mode) in [
                ("folder", 0o700),
                ("folder/before", 0o755),
                ("folder/renamed", 0o600),
            ] {
                let stat = fs::metadata(place(mount, account, path)).expect("stat");
                assert_eq!(stat.mode() & 0o7777, mode, "{account}, {path}, {when}");
            }
        }
    };
    check(&mount, "at once");
    mount.kill();
    let mount = world.mount();
    check(&mount, "mounted again");
    mount.unmount(&world.config());
}

#[test]
fn links_are_refused_as_not_permitted_or_where_they_are_wanted_as_not_supported() {
    for (wanted, errno) in [("false", libc::EPERM), ("true", libc::EOPNOTSUPP)] {
        let world = world(|setup| setup.option("symlinks", wanted));
        let mount = world.mount();
        for account in [MEDIA, OTHER] {
            let refused = symlink("target", place(&mount, account, "link")).expect_err("a refusal");
            assert_eq!(
                refused.raw_os_error(),
                Some(errno),
                "{account}, symlinks = {wanted}"
            );
            // A file that is called like one is a file.
            let file = place(&mount, account, "file.lockerfs-link");
            fs::write(&file, "lockerfs symbolic link to:\ntarget").expect("write");
            world.drain();
            assert!(fs::symlink_metadata(&file).expect("stat").is_file());
        }
        mount.unmount(&world.config());
    }
}
