//! Compares a mount with the local folder, and the service too.

use std::collections::{BTreeMap, BTreeSet};

use super::{Episode, words};
use crate::calls::{self, Stat};
use crate::harness::sha256_of;
use crate::side::{Seen, Side, read_file};

/// How far times may be apart that nobody set, beside the longest time that any operation took.
const SLACK: i64 = 3;

impl Episode {
    /// Names, kinds, sizes, contents and times.
    pub(super) fn compare(&self, when: &str) -> Result<(), String> {
        let wrong = self.differing()?;
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(format!("the trees differ {when}: {wrong:#?}")),
        }
    }

    fn differing(&self) -> Result<Vec<String>, String> {
        let (wanted, found) = (walk(&self.reference)?, walk(&self.mounted)?);
        let mut wrong = Vec::new();
        let paths: BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
        for path in paths {
            match (wanted.get(path), found.get(path)) {
                (Some(wanted), Some(found)) => self.compare_one(path, wanted, found, &mut wrong),
                (Some(_), None) => wrong.push(format!("{path} is missing")),
                (None, Some(found)) => wrong.push(format!("{path} is there: {found:?}")),
                (None, None) => {}
            }
        }
        Ok(wrong)
    }

    fn compare_one(&self, path: &str, wanted: &Stat, found: &Stat, wrong: &mut Vec<String>) {
        if wanted.is_folder != found.is_folder || !wanted.is_folder && wanted.size != found.size {
            wrong.push(format!("{path}: {wanted:?} is {found:?}"));
            return;
        }
        if wanted.is_folder {
            return;
        }
        let read = |side: &Side| read_file(&side.path(path)).map_err(words);
        match (read(&self.reference), read(&self.mounted)) {
            (Ok(wanted), Ok(found)) if wanted == found => {}
            (Ok(wanted), Ok(found)) => {
                let (wanted, found) = (Seen::Bytes(wanted), Seen::Bytes(found));
                wrong.push(format!("{path}: {wanted} is {found}"));
            }
            (wanted, found) => wrong.push(format!(
                "{path} cannot be read: {:?} on a local disk, {:?} in the mount",
                wanted.err(),
                found.err()
            )),
        }
        let slack = SLACK + self.longest.as_secs() as i64;
        if (wanted.mtime - found.mtime).abs() > slack && !self.undated.contains(&wanted.ino) {
            wrong.push(format!(
                "{path} is of {} and should be of {}",
                found.mtime, wanted.mtime
            ));
        }
    }

    /// The service holds each content as often as there are files of it, and nothing else.
    pub(super) fn compare_with_the_service(&self) -> Result<(), String> {
        let mut wanted = BTreeMap::<String, Vec<String>>::new();
        for (path, stat) in walk(&self.reference)? {
            if stat.is_folder || stat.size == 0 && !self.differences.takes_empty_files() {
                continue;
            }
            let content = read_file(&self.reference.path(&path)).map_err(words)?;
            wanted.entry(sha256_of(&content)).or_default().push(path);
        }
        let mut found = BTreeMap::<String, Vec<String>>::new();
        for (path, stored) in self.world.service.all_stored(self.host.account()) {
            found.entry(stored.sha256).or_default().push(path);
        }
        let counts = |all: &BTreeMap<String, Vec<String>>| -> Vec<(String, usize)> {
            all.iter()
                .map(|(hash, paths)| (hash.clone(), paths.len()))
                .collect()
        };
        if counts(&wanted) == counts(&found) {
            return Ok(());
        }
        wanted.retain(|hash, paths| found.get(hash).is_none_or(|found| found.len() != paths.len()));
        Err(format!(
            "the service holds something else; of the reference: {wanted:#?}, of the service: {found:#?}"
        ))
    }

    /// Each attribute that is listed can be read, but for those that come and go with an upload; a hash is that of the
    /// content.
    pub(super) fn check_attributes(&self, path: &str) -> Result<(), String> {
        let (local, path) = (self.reference.path(path), self.mounted.path(path));
        let Ok(names) = calls::attributes(&path) else {
            return Ok(());
        };
        let Ok(wanted) = calls::stat(&local) else {
            return Ok(());
        };
        if !wanted.is_folder && !names.iter().any(|name| name == "user.lockerfs.state") {
            return Err(format!("{path:?} tells no state: {names:?}"));
        }
        match calls::attribute(&path, "user.other") {
            Err(libc::ENODATA) => {}
            other => return Err(format!("an attribute that {path:?} has not: {other:?}")),
        }
        for name in names {
            let value = match calls::attribute(&path, &name) {
                Err(libc::ENODATA) => continue,
                value => value.map_err(|error| format!("{name} of {path:?}: {}", words(error)))?,
            };
            let hash = sha256_of(&read_file(&local).unwrap_or_default());
            if name == "user.lockerfs.sha256" && value != hash {
                return Err(format!("{name} of {path:?} is {value} and not {hash}"));
            }
        }
        Ok(())
    }
}

/// All entries below, by path.
pub(super) fn walk(side: &Side) -> Result<BTreeMap<String, Stat>, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(folder) = left.pop() {
        let names = calls::list(&side.path(&folder), || {});
        let names = names.map_err(|error| format!("list {folder:?} in {:?}: {}", side.root, words(error)))?;
        for (name, times) in names {
            let path = match folder.as_str() {
                "" => name,
                folder => format!("{folder}/{name}"),
            };
            if times != 1 {
                return Err(format!("{path} is listed {times} times"));
            }
            let stat = calls::stat(&side.path(&path));
            let stat = stat.map_err(|error| format!("{path} is listed, but stat says: {}", words(error)))?;
            if stat.is_folder {
                left.push(path.clone());
            }
            found.insert(path, stat);
        }
    }
    Ok(found)
}
