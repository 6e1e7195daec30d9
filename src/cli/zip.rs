//! `lockerfs zip`: files and directories as one archive that the service packs.

use std::fs::Permissions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use tempfile::NamedTempFile;

use super::failure::Failure;
use super::screen::Screen;
use super::session::{self, Session, Target};
use super::signals::Signals;
use super::{Global, Outcome, text};
use crate::provider::services::{Archive, ZipTerms};
use crate::provider::{FileId, ItemId};

/// How often progress is drawn.
const DRAWN_EACH: Duration = Duration::from_millis(200);
const BAR: usize = 30;

const EXAMPLES: &str = "\
The service packs them, so that many small files come in one download. Nothing is left of an archive that is
cut short.

Examples:
  lockerfs zip ~/cloud/media/album -o album.zip
  lockerfs zip media:a.jpg media:b.jpg -o two.zip
  lockerfs zip media:album -o - | bsdtar -xf -

A PATH leads into a mount, or names an account of the config and a path in it (media:album). All are of one
account.";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ZipArgs {
    /// Files or directories in a mount, or ACCOUNT:PATH
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// The archive to write; - for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    /// Agree to an archive of more than 2 GB
    #[arg(long)]
    large: bool,
    /// Agree to spend the account's own bandwidth on it
    #[arg(long)]
    own_bandwidth: bool,
}

pub(super) fn run(global: &Global, args: &ZipArgs) -> Outcome {
    session::with(global, async |session: &mut Session| {
        check_output(args)?;
        let targets = session.find_all(&args.paths).await?;
        let Some((first, others)) = targets.split_first() else {
            return Ok(());
        };
        if let Some(other) = others.iter().find(|other| !other.is_beside(first)) {
            return Err(Failure::new(format!(
                "{} is in account {}, and {} in {}: an archive holds files of one account",
                first.shown, first.account, other.shown, other.account
            )));
        }
        let terms = ZipTerms {
            large: args.large,
            own_bandwidth: args.own_bandwidth,
        };
        let items: Vec<ItemId> = targets.iter().map(|target| target.item.clone()).collect();
        let failed = |error| Failure::of_item(&first.account, &named(&targets), &error);
        // Before anything is written, and before the service packs for nothing.
        first.services().check_zip(&items, terms).await.map_err(failed)?;
        for target in &targets {
            if Session::waits_below(target).await? {
                tell!(
                    "lockerfs: files below {} wait for their upload: the archive lacks them",
                    target.shown
                );
            }
        }
        let screen = Screen::on_stderr();
        let expected = match screen {
            Some(_) => size(&targets).await?,
            None => None,
        };
        let mut signals = Signals::catch().map_err(|e| Failure::new(format!("cannot catch signals: {e}")))?;
        let fetched = async {
            let archive = first.services().zip(&items, terms).await.map_err(failed)?;
            let progress = Progress::new(screen, expected);
            fetch(archive, args, progress, &failed).await
        };
        tokio::select! {
            fetched = fetched => fetched,
            _ = signals.next() => Err(Failure::new("stopped: no archive was written")),
        }
    })
}

/// How what is packed is called in a sentence.
fn named(targets: &[Target]) -> String {
    match targets {
        [target] => target.shown.clone(),
        _ => text::count(targets.len() as u64, "item", "items"),
    }
}

fn is_stdout(output: &Path) -> bool {
    output.as_os_str() == "-"
}

fn check_output(args: &ZipArgs) -> Outcome {
    let shown = args.output.display();
    if is_stdout(&args.output) {
        return match io::stdout().is_terminal() {
            true => Err(Failure::new(
                "an archive is nothing for a terminal: say -o FILE, or send it into a program",
            )),
            false => Ok(()),
        };
    }
    match args.output.metadata() {
        Ok(about) if about.is_dir() => {
            Err(Failure::new(format!("{shown} is a directory: name a file in it")))
        }
        Ok(_) if !args.force => Err(Failure::new(format!(
            "{shown} exists already: say --force to replace it"
        ))),
        _ if !directory(&args.output).is_dir() => Err(Failure::new(format!(
            "{shown} cannot be written: there is no directory {}",
            directory(&args.output).display()
        ))),
        _ => Ok(()),
    }
}

fn directory(output: &Path) -> &Path {
    match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Bytes of what is to be packed; none where that is not told.
async fn size(targets: &[Target]) -> Result<Option<u64>, Failure> {
    let Some(first) = targets.first() else {
        return Ok(None);
    };
    let files = targets.iter().filter_map(|target| match &target.item {
        ItemId::File(file) => Some(file.clone()),
        ItemId::Folder(_) => None,
    });
    let files: Vec<FileId> = files.collect();
    let mut size = 0_u64;
    if !files.is_empty() {
        let told = first.provider.file_info(&files).await;
        let told = told.map_err(|error| first.failed(&error))?;
        size = told.iter().map(|file| file.size).sum();
    }
    for target in targets {
        if matches!(target.item, ItemId::Folder(_)) {
            let told = target.services().details(&target.item).await;
            match told.map_err(|error| target.failed(&error))?.size {
                Some(below) => size = size.saturating_add(below),
                None => return Ok(None),
            }
        }
    }
    Ok(Some(size))
}

/// Writes an archive as it comes. A file appears as a whole or not at all.
async fn fetch(
    mut archive: Archive,
    args: &ZipArgs,
    mut progress: Progress,
    failed: &impl Fn(crate::provider::ProviderError) -> Failure,
) -> Outcome {
    if is_stdout(&args.output) {
        let mut out = io::stdout();
        while let Some(bytes) = archive.chunk().await.map_err(failed)? {
            out.write_all(&bytes)
                .map_err(|e| cannot_write(&args.output, &e))?;
            progress.add(bytes.len());
        }
        return out.flush().map_err(|e| cannot_write(&args.output, &e));
    }
    let cannot = |e: &io::Error| cannot_write(&args.output, e);
    let mut file = partial(&args.output).map_err(|e| cannot(&e))?;
    while let Some(bytes) = archive.chunk().await.map_err(failed)? {
        file.write_all(&bytes).map_err(|e| cannot(&e))?;
        progress.add(bytes.len());
    }
    file.as_file().sync_all().map_err(|e| cannot(&e))?;
    let written = progress.done;
    drop(progress);
    let kept = match args.force {
        true => file.persist(&args.output).map(drop),
        false => file.persist_noclobber(&args.output).map(drop),
    };
    kept.map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(format!(
            "{} exists meanwhile: say --force to replace it",
            args.output.display()
        )),
        _ => cannot(&e.error),
    })?;
    putln!("Saved {} as {}.", text::size(written), args.output.display());
    Ok(())
}

/// A file beside the one to be made, which vanishes unless it takes that one's place.
fn partial(output: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".lockerfs-")
        .suffix(".zip.part")
        // As for any new file; the umask takes its part.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory(output))
}

fn cannot_write(output: &Path, error: &io::Error) -> Failure {
    let place = match is_stdout(output) {
        true => "standard output".to_owned(),
        false => output.display().to_string(),
    };
    Failure::new(format!("cannot write the archive to {place}: {error}"))
}

/// What a terminal shows of it.
struct Progress {
    screen: Option<Screen<io::Stderr>>,
    expected: Option<u64>,
    done: u64,
    drawn: Option<Instant>,
}

impl Progress {
    fn new(screen: Option<Screen<io::Stderr>>, expected: Option<u64>) -> Self {
        Progress {
            screen,
            expected,
            done: 0,
            drawn: None,
        }
    }

    fn add(&mut self, bytes: usize) {
        self.done = self.done.saturating_add(bytes as u64);
        let Some(screen) = &mut self.screen else { return };
        if self.drawn.is_some_and(|drawn| drawn.elapsed() < DRAWN_EACH) {
            return;
        }
        self.drawn = Some(Instant::now());
        screen.draw(&line(self.done, self.expected));
    }
}

fn line(done: u64, expected: Option<u64>) -> String {
    let done_text = text::size(done);
    match expected.filter(|expected| *expected > 0) {
        // The archive's own records come on top of its files.
        Some(expected) => {
            let percent = text::percent(done.min(expected), expected);
            let bar = text::bar(percent, BAR);
            format!("{bar} {percent}%  {done_text} of about {}", text::size(expected))
        }
        None => format!("{done_text} so far"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_never_passes_what_is_expected() {
        assert_eq!(line(1500, None), "1.5 kB so far");
        assert!(line(500, Some(1000)).contains(" 50%  500 B of about 1.0 kB"));
        assert!(line(1100, Some(1000)).contains(" 100%  1.1 kB"));
        assert_eq!(line(0, Some(0)), "0 B so far");
    }
}
