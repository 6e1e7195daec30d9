//! `file/*` calls that only look.

use serde_json::{Value, json};

use super::envelope::{Fail, Reply, fields, text};
use super::{Context, shape};
use crate::sandbox::Service;
use crate::sandbox::tree::File;

impl Context<'_> {
    /// A file to look at: the caller's, in the trash too, or anybody's public one.
    pub fn seen_file(&self, key: &str) -> Result<(usize, &File), Fail> {
        let found = self
            .world
            .accounts_of(Service::MediaFire)
            .find_map(|(index, account)| {
                account
                    .tree
                    .file(key)
                    .map(|file| (index, file, account.tree.is_live_file(key)))
            });
        match found {
            Some((index, file, _)) if self.who == Some(index) => Ok((index, file)),
            Some((_, file, _)) if file.private => Err(Fail::new(114)),
            Some((index, file, true)) => Ok((index, file)),
            _ => Err(Fail::new(110)),
        }
    }

    /// The file behind a one-time key, which takes the place of a quickkey in some calls.
    fn one_time_file(&self, token: &str) -> Option<&File> {
        let key = self.world.mediafire.links.one_time_target(token)?;
        self.seen_file(key).ok().map(|(_, file)| file)
    }
}

pub fn get_info(context: &mut Context<'_>) -> Reply {
    let keys = context.file_keys()?;
    let base = context.base_url();
    let tell = |key: &String| -> Result<Value, Fail> {
        if let Some(file) = context.one_time_file(key) {
            let mut told = shape::file_info(file, &base);
            for hidden in ["quickkey", "parent_folderkey", "links", "downloads"] {
                told.remove(hidden);
            }
            return Ok(told.into());
        }
        let (index, file) = context.seen_file(key)?;
        let mut told = shape::file_info(file, &base);
        if context.who != Some(index) {
            for hidden in ["parent_folderkey", "downloads"] {
                told.remove(hidden);
            }
        }
        Ok(told.into())
    };
    if let [key] = keys.as_slice() {
        return Ok(fields(json!({ "file_info": tell(key)? })));
    }
    let mut infos = Vec::new();
    let mut skipped = Vec::new();
    for key in &keys {
        match tell(key) {
            Ok(info) => infos.push(info),
            Err(_) => skipped.push(key.as_str()),
        }
    }
    if infos.is_empty() {
        return Err(Fail::new(110));
    }
    let mut reply = fields(json!({ "file_infos": infos }));
    if !skipped.is_empty() {
        reply.insert("skipped".to_owned(), Value::from(skipped.join(",")));
    }
    Ok(reply)
}

pub fn get_versions(context: &mut Context<'_>) -> Reply {
    let key = context.one_file()?;
    let tree = context.tree()?;
    let file = tree.file(&key).ok_or(Fail::new(110))?;
    let head = file.versions.last().map(|version| version.revision);
    let versions: Vec<Value> = file
        .versions
        .iter()
        .rev()
        .map(|version| {
            let mut told = fields(json!({
                "revision": text(version.revision),
                "date": shape::local_time(version.date),
                "date_utc": shape::utc_time(version.date),
            }));
            if Some(version.revision) == head {
                told.insert("head".to_owned(), Value::from("yes"));
            }
            told.into()
        })
        .collect();
    Ok(fields(json!({ "file_versions": versions })))
}

pub fn recently_modified(context: &mut Context<'_>) -> Reply {
    let count = context.params.number("number_of_files").unwrap_or(10) as usize;
    let tree = context.tree()?;
    let mut files: Vec<&File> = tree.files().filter(|file| tree.is_live_file(&file.key)).collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.revision));
    let keys: Vec<&str> = files.iter().take(count).map(|file| file.key.as_str()).collect();
    Ok(fields(json!({ "quickkeys": keys })))
}
