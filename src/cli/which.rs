//! Which mount a command is about.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::mount::point::{self, MountPoint};
use super::{Global, attribute};

/// The state directory of the mount at a directory, or of the usual mount where none is named.
pub(super) fn state_dir(global: &Global, mount_point: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(mount_point) = mount_point else {
        return Ok(global.paths()?.state_dir);
    };
    let place = point::resolve(mount_point)?;
    let shown = place.display();
    match point::look(&place)? {
        MountPoint::Ours => match told_by(&place) {
            Some(state_dir) => Ok(state_dir),
            None => Ok(global.paths()?.state_dir),
        },
        MountPoint::Dead => Err(Failure::new(format!(
            "the mount at {shown} is dead: run `lockerfs unmount {shown}`, then mount again"
        ))),
        MountPoint::Free | MountPoint::Other(_) => {
            Err(Failure::new(format!("{shown} is no mount of lockerfs")))
        }
    }
}

/// The config of the mount, as it says itself.
pub(super) fn config_told_by(place: &Path) -> Option<PathBuf> {
    let told = attribute::read(place, OsStr::new("user.lockerfs.config"));
    told.ok().flatten().map(PathBuf::from)
}

/// What the mount itself says.
pub(super) fn told_by(place: &Path) -> Option<PathBuf> {
    let told = attribute::read(place, OsStr::new("user.lockerfs.state_dir"));
    told.ok().flatten().map(PathBuf::from)
}
