//! Links of a certain kind, which the account is asked for.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use url::Url;

use super::print::Form;
use super::{Link, end, page};
use crate::cli::failure::Failure;
use crate::cli::session::{self, Session, Target};
use crate::cli::text::printable;
use crate::cli::{Global, Outcome};
use crate::provider::services::WebLink;
use crate::provider::{Capability, FileId, ProviderError};

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Kind {
    /// Look at the file, or listen to it, in a browser
    View,
    /// Edit it there (for files that the service has an editor for)
    Edit,
    /// Play it in a program (for applications that the service has let in)
    Stream,
    /// Its bytes, without a page; such a link ends after some hours
    Download,
}

pub(super) fn run(global: &Global, paths: &[PathBuf], recursive: bool, kind: Kind, form: Form) -> Outcome {
    session::with(global, async |session: &mut Session| {
        let (targets, mut missing) = files(session, paths, recursive).await;
        let mut links = Vec::new();
        // Files of one account in a row are asked for together.
        for some in targets.chunk_by(Target::is_beside) {
            for (target, link) in some.iter().zip(ask(some, kind).await?) {
                match link {
                    Ok(url) => links.push(Link {
                        path: target.shown.clone(),
                        url: url.into(),
                        short_url: None,
                    }),
                    Err(error) => {
                        missing = true;
                        tell!("lockerfs: {}", target.failed(&error));
                    }
                }
            }
        }
        end(form, &links, missing)
    })
}

/// The files that were named, those below directories among them; and whether something is missing, of which is told.
pub(super) async fn files(session: &mut Session, paths: &[PathBuf], recursive: bool) -> (Vec<Target>, bool) {
    let (mut targets, mut missing) = (Vec::new(), false);
    let mut left: Vec<PathBuf> = paths.iter().rev().cloned().collect();
    while let Some(path) = left.pop() {
        if recursive && !session::is_in_account(&path) && path.is_dir() {
            match page::files_below(&path) {
                Ok(below) => left.extend(below.into_iter().rev()),
                Err(why) => {
                    missing = true;
                    tell!("lockerfs: {} {why}", printable(&path.to_string_lossy()));
                }
            }
            continue;
        }
        match named(session, &path, recursive).await {
            Ok(some) => targets.extend(some),
            Err(failure) => {
                missing = true;
                tell!("lockerfs: {failure}");
            }
        }
    }
    (targets, missing)
}

async fn named(session: &mut Session, path: &Path, recursive: bool) -> Result<Vec<Target>, Failure> {
    let target = session.find(path).await?;
    session::or_files_below(session, target, recursive).await
}

/// The links of files of one account. What would happen to all of them is a failure of the whole.
async fn ask(targets: &[Target], kind: Kind) -> Result<Vec<Result<Url, ProviderError>>, Failure> {
    let Some(first) = targets.first() else {
        return Ok(Vec::new());
    };
    let files: Vec<FileId> = targets
        .iter()
        .filter_map(|target| target.file().ok().cloned())
        .collect();
    let failed = |error: &ProviderError| match targets {
        [target] => target.failed(error),
        _ => Failure::of_account(&first.account, error),
    };
    let kind = match kind {
        Kind::View => WebLink::View,
        Kind::Edit => WebLink::Edit,
        Kind::Stream => WebLink::Stream,
        Kind::Download => {
            if !first.provider.capabilities().has(Capability::Read) {
                let error = ProviderError::unsupported("links", Capability::Read);
                return Err(failed(&error));
            }
            let links = first
                .provider
                .links(&files)
                .await
                .map_err(|error| failed(&error))?;
            return Ok(links.into_iter().map(|link| link.map(|link| link.url)).collect());
        }
    };
    let links = first.services().web_links(&files, kind).await;
    links.map_err(|error| failed(&error))
}
