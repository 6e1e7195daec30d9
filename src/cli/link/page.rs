//! The pages of files: of the mount where they are in one, else of their account.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::print::Form;
use super::{Link, end};
use crate::cli::failure::Failure;
use crate::cli::session::{self, Session, reason};
use crate::cli::text::printable;
use crate::cli::{Global, Outcome, attribute, block_on};
use crate::provider::{Capability, FileId};

pub(super) fn run(global: &Global, paths: &[PathBuf], recursive: bool, form: Form) -> Outcome {
    if paths.iter().any(|path| session::is_in_account(path)) {
        return session::with(global, async |session: &mut Session| {
            look_at_all(Some(session), paths, recursive, form).await
        });
    }
    crate::cli::logging::start(global.verbose, global.log_file.as_deref())?;
    block_on(look_at_all(None, paths, recursive, form))
}

async fn look_at_all(
    mut session: Option<&mut Session>,
    paths: &[PathBuf],
    recursive: bool,
    form: Form,
) -> Outcome {
    let mut found = Found::default();
    for path in paths {
        match &mut session {
            Some(session) if session::is_in_account(path) => found.ask(session, path, recursive).await,
            _ => found.look(path, recursive),
        }
    }
    end(form, &found.links, found.missing)
}

/// What there is to print, and whether something is missing in it.
#[derive(Default)]
struct Found {
    links: Vec<Link>,
    missing: bool,
}

impl Found {
    fn look(&mut self, path: &Path, recursive: bool) {
        let looked = match fs::symlink_metadata(path) {
            Ok(about) if about.is_dir() && recursive => return self.look_below(path),
            Ok(about) if about.is_dir() => {
                Err("is a directory: name files in it, or say -r for all files below it".to_owned())
            }
            Ok(_) => link(path),
            Err(error) => Err(reason(&error)),
        };
        match looked {
            Ok(link) => self.links.push(link),
            Err(why) => self.miss(path, &why),
        }
    }

    fn look_below(&mut self, folder: &Path) {
        match files_below(folder) {
            Ok(entries) => {
                for path in &entries {
                    self.look(path, true);
                }
            }
            Err(why) => self.miss(folder, &why),
        }
    }

    /// Asks the account for the pages of what is named by it.
    async fn ask(&mut self, session: &mut Session, path: &Path, recursive: bool) {
        match self.pages(session, path, recursive).await {
            Ok(()) => {}
            Err(failure) => self.tell(&failure.to_string()),
        }
    }

    async fn pages(&mut self, session: &mut Session, path: &Path, recursive: bool) -> Outcome {
        let target = session.find(path).await?;
        if let Some(place) = &target.place {
            self.look(place, recursive);
            return Ok(());
        }
        let targets = session::or_files_below(session, target, recursive).await?;
        let Some(first) = targets.first() else {
            return Ok(());
        };
        if !first.provider.capabilities().has(Capability::ShareLinks) {
            let shown = printable(&path.to_string_lossy());
            return Err(Failure::new(format!(
                "{shown} has no link: its service gives none"
            )));
        }
        let files: Vec<FileId> = targets
            .iter()
            .filter_map(|target| target.file().ok().cloned())
            .collect();
        let pages = first.provider.share_links(&files).await;
        let pages = pages.map_err(|error| first.failed(&error))?;
        for (target, page) in targets.iter().zip(pages) {
            match page {
                Ok(page) => self.links.push(Link {
                    path: target.shown.clone(),
                    url: page.url.into(),
                    short_url: page.short_url.map(String::from),
                }),
                Err(error) => self.tell(&target.failed(&error).to_string()),
            }
        }
        Ok(())
    }

    fn tell(&mut self, sentence: &str) {
        self.missing = true;
        tell!("lockerfs: {sentence}");
    }

    /// Tells at once why a file has no link, and goes on with the others.
    fn miss(&mut self, path: &Path, why: &str) {
        self.tell(&format!("{} {why}", printable(&path.to_string_lossy())));
    }
}

/// What is in a folder of a mount, in order, but for the list of its links; or why that cannot be told.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        paths.collect::<std::io::Result<Vec<_>>>()
    });
    let mut paths = entries.map_err(|error| reason(&error))?;
    paths.retain(|path| !is_list(path));
    paths.sort();
    Ok(paths)
}

/// Whether a file is the list of its folder's links, which has none itself.
fn is_list(path: &Path) -> bool {
    let state = attribute::read(path, OsStr::new("user.lockerfs.state"));
    state.is_ok_and(|state| state.as_deref() == Some("list"))
}

/// The link of a file in a mount, or what follows its name in a sentence on why it has none.
fn link(path: &Path) -> Result<Link, String> {
    let read = |name: &str| attribute::read(path, OsStr::new(name));
    let Some(state) = read("user.lockerfs.state").map_err(|error| reason(&error))? else {
        return Err("is not in a mount of lockerfs".to_owned());
    };
    let url = match read("user.lockerfs.url") {
        Ok(Some(url)) => url,
        Ok(None) => return Err(without_link(&state)),
        Err(error) => {
            return Err(format!(
                "has no link now: {} (the mount's log says why)",
                reason(&error)
            ));
        }
    };
    // A service that has no short links tells none, and a failure has no bearing on the link itself.
    let short_url = read("user.lockerfs.short_url").ok().flatten();
    Ok(Link {
        path: path.to_string_lossy().into_owned(),
        url,
        short_url,
    })
}

fn without_link(state: &str) -> String {
    match state {
        "stored" => "has no link: its service gives none for it".to_owned(),
        "list" => "is the list of its folder's links, and has none itself".to_owned(),
        "local" | "kept" => "stays on this machine, so it has no link".to_owned(),
        "parked" => "is not uploaded and needs you, so it has no link: `lockerfs status` says why".to_owned(),
        _ => format!("waits for its upload ({state}): it has a link when `lockerfs drain` has ended"),
    }
}
