//! `lockerfs info`: all that a service tells of a file or a folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::session::{self, Session, Target};
use super::{Global, Outcome, attribute, json, privacy, text};
use crate::provider::services::Details;
use crate::provider::{Capability, ContentHash, ErrorKind, FileId, ItemId};

const EXAMPLES: &str = "\
Examples:
  lockerfs info ~/cloud/media/letter.txt
  lockerfs info --json media:album

What a service does not tell is left out. A PATH leads into a mount, or names an account of the config and a
path in it (media:album).";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InfoArgs {
    /// A file or directory in a mount, or ACCOUNT:PATH
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON; what the service does not tell is left out.
#[derive(Serialize)]
struct Shown {
    path: String,
    account: String,
    service: &'static str,
    kind: &'static str,
    id: String,
    name: String,
    #[serde(flatten)]
    told: BTreeMap<&'static str, serde_json::Value>,
    links: BTreeMap<String, String>,
    more: BTreeMap<&'static str, String>,
}

pub(super) fn run(global: &Global, args: &InfoArgs) -> Outcome {
    session::with(global, async |session: &mut Session| {
        let target = session.find(&args.path).await?;
        let details = target.services().details(&target.item).await;
        let mut details = details.map_err(|error| target.failed(&error))?;
        add_pages(&target, &mut details).await?;
        let versions = match &target.item {
            ItemId::File(file) => versions(&target, file).await?,
            ItemId::Folder(_) => None,
        };
        match args.json {
            true => json::print(&shown(&target, details, versions)),
            false => {
                put!("{}", text::table(&rows(&target, &details, versions)));
                Ok(())
            }
        }
    })
}

/// How many contents of a file the service keeps; none where it keeps no former ones.
async fn versions(target: &Target, file: &FileId) -> Result<Option<usize>, Failure> {
    match target.services().versions(file).await {
        Ok(versions) => Ok(Some(versions.len())),
        Err(error) if matches!(error.kind, ErrorKind::Unsupported | ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(target.failed(&error)),
    }
}

/// The page for people, where the service tells it elsewhere than in the details.
async fn add_pages(target: &Target, details: &mut Details) -> Outcome {
    let ItemId::File(file) = &target.item else {
        return Ok(());
    };
    if !details.links.is_empty() {
        return Ok(());
    }
    if target.provider.capabilities().has(Capability::ShareLinks) {
        let pages = target.provider.share_links(std::slice::from_ref(file)).await;
        let pages = pages.map_err(|error| target.failed(&error))?;
        if let Some(Ok(pages)) = pages.into_iter().next() {
            details.links.push(("page".to_owned(), pages.url));
            details
                .links
                .extend(pages.short_url.map(|short| ("short page".to_owned(), short)));
        }
        return Ok(());
    }
    // What only the mount remembers.
    if let Some(place) = &target.place {
        for (name, label) in [
            ("user.lockerfs.url", "page"),
            ("user.lockerfs.short_url", "short page"),
        ] {
            let url = attribute::read(place, OsStr::new(name)).ok().flatten();
            let url = url.and_then(|url| url.parse().ok());
            details.links.extend(url.map(|url| (label.to_owned(), url)));
        }
    }
    Ok(())
}

fn kind(item: &ItemId) -> &'static str {
    match item {
        ItemId::File(_) => "file",
        ItemId::Folder(_) => "directory",
    }
}

fn id(item: &ItemId) -> &str {
    match item {
        ItemId::File(file) => file.as_str(),
        ItemId::Folder(folder) => folder.as_str(),
    }
}

fn hash(details: &Details) -> Option<(&'static str, String)> {
    let hash = details.hash?;
    let name = match hash {
        ContentHash::Sha256(_) => "sha256",
        ContentHash::Md5(_) => "md5",
    };
    Some((name, hash.to_hex()))
}

fn shown(target: &Target, details: Details, versions: Option<usize>) -> Shown {
    let mut told = BTreeMap::new();
    let mut tell = |name, value: Option<serde_json::Value>| {
        told.extend(value.map(|value| (name, value)));
    };
    tell("size", details.size.map(Into::into));
    tell("created", details.created.and_then(json::moment).map(Into::into));
    tell("revision", details.revision.clone().map(Into::into));
    tell("versions", versions.map(Into::into));
    tell("privacy", details.privacy.map(|told| privacy::name(told).into()));
    tell("description", details.description.clone().map(Into::into));
    tell("mime_type", details.mime_type.clone().map(Into::into));
    tell("downloads", details.downloads.map(Into::into));
    tell("views", details.views.map(Into::into));
    tell("owner", details.owner.clone().map(Into::into));
    tell(
        "parent",
        details.parent.as_ref().map(|parent| parent.to_string().into()),
    );
    tell("files", details.holds.map(|(files, _)| files.into()));
    tell("folders", details.holds.map(|(_, folders)| folders.into()));
    tell("trashed", details.is_trashed.then_some(true.into()));
    if let Some((name, hash)) = hash(&details) {
        tell(name, Some(hash.into()));
    }
    Shown {
        path: target.shown.clone(),
        account: target.account.clone(),
        service: target.provider.kind(),
        kind: kind(&target.item),
        id: id(&target.item).to_owned(),
        name: details.name,
        told,
        links: details
            .links
            .into_iter()
            .map(|(name, url)| (name, url.into()))
            .collect(),
        more: details.more.into_iter().collect(),
    }
}

fn rows(target: &Target, details: &Details, versions: Option<usize>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut tell = |name: &str, value: Option<String>| {
        rows.extend(value.map(|value| vec![name.to_owned(), text::printable(&value)]));
    };
    tell("name", Some(details.name.clone()));
    tell("kind", Some(kind(&target.item).to_owned()));
    tell(
        "account",
        Some(format!("{} ({})", target.account, target.provider.kind())),
    );
    tell("id", Some(id(&target.item).to_owned()));
    let exact = |size: u64| match size {
        0..1000 => text::size(size),
        _ => format!("{} ({} bytes)", text::size(size), text::grouped(size)),
    };
    tell("size", details.size.map(exact));
    let holds = |(files, folders): (u64, u64)| {
        let files = text::count(files, "file", "files");
        format!("{files}, {}", text::count(folders, "folder", "folders"))
    };
    tell("holds", details.holds.map(holds));
    if let Some((name, hash)) = hash(details) {
        tell(name, Some(hash));
    }
    tell("date", details.created.map(text::moment));
    tell("revision", details.revision.clone());
    tell("versions", versions.map(|versions| versions.to_string()));
    tell(
        "privacy",
        details.privacy.map(|told| privacy::name(told).to_owned()),
    );
    tell("description", details.description.clone());
    tell("type", details.mime_type.clone());
    tell("downloads", details.downloads.map(text::grouped));
    tell("views", details.views.map(text::grouped));
    tell("owner", details.owner.clone());
    tell(
        "trash",
        details.is_trashed.then(|| "it is in the trash".to_owned()),
    );
    for (name, value) in &details.more {
        tell(name, Some(value.clone()));
    }
    for (name, url) in &details.links {
        tell(&format!("link, {}", text::printable(name)), Some(url.to_string()));
    }
    rows
}
