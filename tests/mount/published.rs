//! A mount with an account on each of the services that publish only.

mod catalog;
mod fetched;
mod killed;
mod link_list;
mod modes;
mod pinned;
mod uploads;

use std::path::PathBuf;

use super::harness::kind::MIRRORED_TO;
use super::harness::{Mount, Setup, World};

/// The account on Mirrored.to.
const OTHER: &str = "other";
/// The file in each folder that lists the links of the others.
const LIST: &str = "links.txt";

fn world(adjust: impl FnOnce(&mut Setup)) -> World {
    World::with(|setup| {
        setup.guest(&MIRRORED_TO, OTHER);
        adjust(setup);
    })
}

/// A path in either account.
fn place(mount: &Mount, account: &str, path: &str) -> PathBuf {
    mount.mount_point().join(account).join(path)
}
