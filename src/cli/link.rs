//! `lockerfs link`: the addresses under which people find files on their services.
//!
//! It asks the mount by extended attributes, so it needs no config and works for any mount that this user can
//! read, whatever its state directory.

mod print;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use clap::Args;

use self::print::Form;
use super::failure::Failure;
use super::text::printable;
use super::{Global, Outcome, attribute};

const EXAMPLES: &str = "\
A link leads to the file's page on its service, for people; whoever has it may get the file.

Examples:
  lockerfs link ~/cloud/media/trip.zip              one link
  lockerfs link ~/cloud/media/*.jpg                 one a line
  lockerfs link -r --markdown ~/cloud/media/album   a list to paste, of all files below
  lockerfs link --json ~/cloud/media/*.jpg          path, url and short_url, for scripts";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LinkArgs {
    /// Files in a mount
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Of a directory, all files below it
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    form: FormArgs,
}

#[derive(Args)]
#[group(multiple = false)]
struct FormArgs {
    /// Print JSON: a list of path, url, and short_url where there is one
    #[arg(long)]
    json: bool,
    /// Print a Markdown list of names that lead to their files
    #[arg(long)]
    markdown: bool,
    /// Print an HTML list of names that lead to their files
    #[arg(long)]
    html: bool,
}

/// A file, and where a person is sent to for it.
#[derive(serde::Serialize)]
struct Link {
    path: String,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_url: Option<String>,
}

impl Link {
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

pub(super) fn run(global: &Global, args: LinkArgs) -> Outcome {
    super::logging::start(global.verbose, global.log_file.as_deref())?;
    let form = match args.form {
        FormArgs { json: true, .. } => Form::Json,
        FormArgs { markdown: true, .. } => Form::Markdown,
        FormArgs { html: true, .. } => Form::Html,
        _ => Form::Plain,
    };
    let mut found = Found::default();
    for path in &args.paths {
        found.look(path, args.recursive);
    }
    print::print(form, &found.links)?;
    match found.missing {
        false => Ok(()),
        true => Err(Failure::told()),
    }
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
        let entries = fs::read_dir(folder).and_then(|entries| {
            let paths = entries.map(|entry| entry.map(|entry| entry.path()));
            paths.collect::<io::Result<Vec<_>>>()
        });
        match entries {
            Ok(mut paths) => {
                paths.sort();
                for path in paths.iter().filter(|path| !is_list(path)) {
                    self.look(path, true);
                }
            }
            Err(error) => self.miss(folder, &reason(&error)),
        }
    }

    /// Tells at once why a file has no link, and goes on with the others.
    fn miss(&mut self, path: &Path, why: &str) {
        self.missing = true;
        eprintln!("lockerfs: {} {why}", printable(&path.to_string_lossy()));
    }
}

/// Whether a file is the list of its folder's links, which has none itself.
fn is_list(path: &Path) -> bool {
    let state = attribute::read(path, OsStr::new("user.lockerfs.state"));
    state.is_ok_and(|state| state.as_deref() == Some("list"))
}

/// The link of a file, or what follows its name in a sentence on why it has none.
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

fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "is not there".to_owned(),
        ErrorKind::PermissionDenied => "may not be read".to_owned(),
        _ => format!("cannot be asked: {error}"),
    }
}
