//! From a path in an account to an item on its service, by listings, under the names that a mount shows.

use std::collections::HashMap;

use crate::cli::failure::Failure;
use crate::cli::text::{count, printable};
use crate::provider::{Entry, FileId, FolderId, ItemId, ListHint, NameRules, Provider, ProviderError};
use crate::vfs::names;

/// Why a path leads to nothing.
pub(super) enum Unmet {
    /// Nothing is there; the part of the path that is missing, where it is not the last.
    Missing(Option<String>),
    /// Several bear the name; what tells them apart.
    Twins(Vec<String>),
    NoName(String),
    Failed(ProviderError),
}

impl Unmet {
    /// As a sentence about what a person named.
    pub fn told(self, account: &str, shown: &str) -> Failure {
        Failure::new(match self {
            Unmet::Missing(None) => format!("{shown} is not there"),
            Unmet::Missing(Some(part)) => format!("{shown} is not there: there is no {part}"),
            Unmet::Twins(names) => format!(
                "{shown} is the name of {}: say which, {}",
                count(names.len() as u64, "item", "items"),
                names.join(" or ")
            ),
            Unmet::NoName(part) => format!("{shown} is no path in an account: it holds {part}"),
            Unmet::Failed(error) => return Failure::of_item(account, shown, &error),
        })
    }
}

/// The item at a path; the top folder where the path is empty.
pub(super) async fn item(provider: &dyn Provider, account: &str, path: &str) -> Result<ItemId, Unmet> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if let Some(part) = parts.iter().find(|part| matches!(**part, "." | "..")) {
        return Err(Unmet::NoName((*part).to_owned()));
    }
    let mut at = provider.root();
    let mut passed = format!("{account}:");
    let Some((last, above)) = parts.split_last() else {
        return Ok(ItemId::Folder(at));
    };
    for part in above {
        passed.push_str(part);
        // Of a folder on the way, the files do not matter.
        let hint = ListHint {
            files: Some(0),
            folders: None,
        };
        let folders = list(provider, &at, hint).await?;
        let folders = folders
            .into_iter()
            .filter(|entry| matches!(entry, Entry::Folder(_)));
        match choose(folders.collect(), part, &provider.name_rules())? {
            Some(ItemId::Folder(folder)) => at = folder,
            _ => return Err(Unmet::Missing(Some(printable(&passed)))),
        }
        passed.push('/');
    }
    within(provider, &at, last).await
}

/// The item of a name in a folder.
pub(super) async fn within(provider: &dyn Provider, folder: &FolderId, name: &str) -> Result<ItemId, Unmet> {
    let entries = list(provider, folder, ListHint::default()).await?;
    let chosen = choose(entries, name, &provider.name_rules())?;
    chosen.ok_or(Unmet::Missing(None))
}

/// All files below a folder whose path in the account is `path`, each with its own, in their order.
pub(super) async fn files_below(
    provider: &dyn Provider,
    folder: &FolderId,
    path: &str,
) -> Result<Vec<(String, FileId)>, ProviderError> {
    let rules = provider.name_rules();
    let mut files = Vec::new();
    let mut left = vec![(path.to_owned(), folder.clone(), ListHint::default())];
    while let Some((path, folder, hint)) = left.pop() {
        let entries = provider.list(&folder, hint).await?.entries;
        for (name, entry) in with_names(entries, &rules) {
            let path = match path.is_empty() {
                true => name,
                false => format!("{path}/{name}"),
            };
            match entry {
                Entry::File(file) => files.push((path, file.id)),
                Entry::Folder(folder) => left.push((path, folder.id, folder.hint)),
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Entries with the names under which [`choose`] finds them.
fn with_names(entries: Vec<Entry>, rules: &NameRules) -> Vec<(String, Entry)> {
    let shown = |entry: &Entry| names::to_local(entry.name(), rules);
    let mut seen: HashMap<String, usize> = HashMap::new();
    for entry in &entries {
        *seen.entry(names::key(&shown(entry))).or_default() += 1;
    }
    let named = entries.into_iter().map(|entry| {
        let name = shown(&entry);
        match seen.get(&names::key(&name)) {
            Some(1) | None => (name, entry),
            Some(_) => (names::with_suffix(&name, id_of(&entry.item())), entry),
        }
    });
    named.collect()
}

async fn list(provider: &dyn Provider, folder: &FolderId, hint: ListHint) -> Result<Vec<Entry>, Unmet> {
    let listing = provider.list(folder, hint).await;
    Ok(listing.map_err(Unmet::Failed)?.entries)
}

/// The entry that a mount shows under a name. A name that several have stands for none of them; with its id behind
/// it, as a mount shows all but one, it does.
fn choose(entries: Vec<Entry>, name: &str, rules: &NameRules) -> Result<Option<ItemId>, Unmet> {
    let wanted = names::key(name);
    let shown = |entry: &Entry| names::to_local(entry.name(), rules);
    let with_id = |entry: &Entry| names::with_suffix(&shown(entry), id_of(&entry.item()));
    let plain: Vec<&Entry> = entries
        .iter()
        .filter(|entry| names::key(&shown(entry)) == wanted)
        .collect();
    match plain[..] {
        [] => {
            let mut suffixed = entries.iter();
            let found = suffixed.find(|entry| names::key(&with_id(entry)) == wanted);
            Ok(found.map(Entry::item))
        }
        [entry] => Ok(Some(entry.item())),
        _ => {
            let names = plain.into_iter().map(|entry| printable(&with_id(entry)));
            Err(Unmet::Twins(names.collect()))
        }
    }
}

fn id_of(item: &ItemId) -> &str {
    match item {
        ItemId::File(file) => file.as_str(),
        ItemId::Folder(folder) => folder.as_str(),
    }
}
