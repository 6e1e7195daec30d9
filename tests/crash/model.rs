//! What a folder holds according to the operations that were done in it, and what it may hold when one of them
//! was cut short.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// A kill may end a write to the local disk after any of its pages.
const PAGE: u64 = 4096;

pub type Content = Arc<Vec<u8>>;

/// Files with their content, and folders, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub files: BTreeMap<String, Content>,
    pub folders: BTreeSet<String>,
}

/// A change of a file's content through an open handle.
#[derive(Debug, Clone)]
pub enum Step {
    Put(u64, Content),
    Cut(u64),
    Sync,
}

#[derive(Debug, Clone)]
pub enum Operation {
    /// Opens with truncation, makes the file where it is missing, writes piece after piece, closes.
    Write {
        path: String,
        steps: Vec<Step>,
    },
    /// Opens what is there, changes it, closes.
    Edit {
        path: String,
        steps: Vec<Step>,
    },
    Rename {
        from: String,
        to: String,
    },
    /// As `cp` does it: by a call that a service may carry out.
    Copy {
        from: String,
        to: String,
    },
    Remove {
        path: String,
    },
    MakeFolder {
        path: String,
    },
    RemoveFolder {
        path: String,
    },
    /// Reads a file and compares.
    Read {
        path: String,
    },
}

impl State {
    /// What is at a path, as it may be shown in a message.
    pub fn describe(&self, path: &str) -> String {
        match self.files.get(path) {
            Some(content) => describe(content),
            None if self.folders.contains(path) => "a folder".to_owned(),
            None => "nothing".to_owned(),
        }
    }

    /// How another state differs from this one, path by path.
    pub fn differences(&self, other: &State) -> Vec<String> {
        let paths = |state: &State| -> BTreeSet<String> {
            state.files.keys().chain(&state.folders).cloned().collect()
        };
        let all: BTreeSet<_> = paths(self).union(&paths(other)).cloned().collect();
        all.into_iter()
            .filter(|path| {
                self.files.get(path) != other.files.get(path)
                    || self.folders.contains(path) != other.folders.contains(path)
            })
            .map(|path| {
                let (wanted, found) = (self.describe(&path), other.describe(&path));
                format!("{path}: {wanted} became {found}")
            })
            .collect()
    }
}

pub fn describe(content: &[u8]) -> String {
    format!(
        "{} bytes {:.12}",
        content.len(),
        crate::harness::sha256_of(content)
    )
}

impl Operation {
    /// The state after the operation.
    pub fn after(&self, before: &State) -> State {
        self.outcomes(before)
            .pop()
            .expect("the last is when all was done")
    }

    /// The states in which the operation may leave things when it is cut short, in order: the first is that
    /// before it, the last that after it.
    ///
    /// What is written to a new file, or in the place of a whole content, is seen all together once it is
    /// closed or synced, and not before. What is changed within a content is there change by change, as on a
    /// local disk.
    pub fn outcomes(&self, before: &State) -> Vec<State> {
        let mut states = vec![before.clone()];
        let mut then = |change: &dyn Fn(&mut State)| {
            let mut state = before.clone();
            change(&mut state);
            states.push(state);
        };
        match self {
            Operation::Write { path, steps } => {
                let synced = steps.iter().position(|step| matches!(step, Step::Sync));
                let hidden = steps.split_at(synced.unwrap_or(steps.len())).0;
                let first = apply(Vec::new(), hidden);
                for content in contents(first, &steps[hidden.len()..]) {
                    then(&|state| drop(state.files.insert(path.clone(), content.clone())));
                }
            }
            Operation::Edit { path, steps } => {
                let old = before.files[path].as_ref().clone();
                for content in contents(old, steps) {
                    then(&|state| drop(state.files.insert(path.clone(), content.clone())));
                }
            }
            Operation::Rename { from, to } => then(&|state| rename(state, from, to)),
            Operation::Copy { from, to } => then(&|state| {
                let content = state.files[from].clone();
                state.files.insert(to.clone(), content);
            }),
            Operation::Remove { path } => then(&|state| drop(state.files.remove(path))),
            Operation::MakeFolder { path } => then(&|state| {
                state.folders.insert(path.clone());
            }),
            Operation::RemoveFolder { path } => then(&|state| {
                state.folders.remove(path);
            }),
            Operation::Read { .. } => {}
        }
        states
    }

    pub fn perform(&self, root: &Path, before: &State) -> io::Result<()> {
        match self {
            Operation::Write { path, steps } => {
                let file = OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(root.join(path))?;
                change(file, steps)
            }
            Operation::Edit { path, steps } => {
                change(OpenOptions::new().write(true).open(root.join(path))?, steps)
            }
            Operation::Rename { from, to } => fs::rename(root.join(from), root.join(to)),
            Operation::Copy { from, to } => {
                let mut from = File::open(root.join(from))?;
                let mut to = OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(root.join(to))?;
                // Asks the kernel to copy the range, before it moves bytes.
                let copied = io::copy(&mut from, &mut to).map(drop);
                copied.and(close(to))
            }
            Operation::Remove { path } => fs::remove_file(root.join(path)),
            Operation::MakeFolder { path } => fs::create_dir(root.join(path)),
            Operation::RemoveFolder { path } => fs::remove_dir(root.join(path)),
            Operation::Read { path } => {
                let read = fs::read(root.join(path))?;
                let wanted = &before.files[path];
                if &read == wanted.as_ref() {
                    return Ok(());
                }
                let (wanted, read) = (describe(wanted), describe(&read));
                Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{wanted} read as {read}"),
                ))
            }
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Operation::Write { path, steps } => write!(f, "write {path}: {}", Steps(steps)),
            Operation::Edit { path, steps } => write!(f, "edit {path}: {}", Steps(steps)),
            Operation::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Operation::Copy { from, to } => write!(f, "copy {from} to {to}"),
            Operation::Remove { path } => write!(f, "remove {path}"),
            Operation::MakeFolder { path } => write!(f, "mkdir {path}"),
            Operation::RemoveFolder { path } => write!(f, "rmdir {path}"),
            Operation::Read { path } => write!(f, "read {path}"),
        }
    }
}

struct Steps<'a>(&'a [Step]);

impl std::fmt::Display for Steps<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            match step {
                Step::Put(offset, bytes) => write!(f, "{comma}{} at {offset}", describe(bytes))?,
                Step::Cut(len) => write!(f, "{comma}cut to {len}")?,
                Step::Sync => write!(f, "{comma}fsync")?,
            }
        }
        Ok(())
    }
}

fn change(file: File, steps: &[Step]) -> io::Result<()> {
    let changed = steps.iter().try_for_each(|step| match step {
        Step::Put(offset, bytes) => file.write_all_at(bytes, *offset),
        Step::Cut(len) => file.set_len(*len),
        Step::Sync => file.sync_all(),
    });
    changed.and(close(file))
}

/// `close()` tells its errors, which dropping a file would swallow.
fn close(file: File) -> io::Result<()> {
    use std::os::fd::IntoRawFd;
    // SAFETY: the descriptor is the file's own, which was given up.
    match unsafe { libc::close(file.into_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The contents after nothing, after each page of each step, and at last after all.
fn contents(start: Vec<u8>, steps: &[Step]) -> Vec<Content> {
    let mut now = start;
    let mut all = vec![Arc::new(now.clone())];
    for step in steps {
        for piece in pages(step) {
            take(&mut now, &piece);
            all.push(Arc::new(now.clone()));
        }
    }
    all
}

/// The content after all steps.
fn apply(mut content: Vec<u8>, steps: &[Step]) -> Vec<u8> {
    steps.iter().for_each(|step| take(&mut content, step));
    content
}

fn take(content: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Put(offset, bytes) => {
            let (from, to) = (*offset as usize, *offset as usize + bytes.len());
            content.resize(content.len().max(to), 0);
            content[from..to].copy_from_slice(bytes);
        }
        Step::Cut(len) => content.resize(*len as usize, 0),
        Step::Sync => {}
    }
}

fn pages(step: &Step) -> Vec<Step> {
    let Step::Put(offset, bytes) = step else {
        return vec![step.clone()];
    };
    let (mut pieces, mut from) = (Vec::new(), 0);
    while from < bytes.len() {
        let left_of_page = (PAGE - (offset + from as u64) % PAGE) as usize;
        let to = bytes.len().min(from + left_of_page);
        pieces.push(Step::Put(
            offset + from as u64,
            Arc::new(bytes[from..to].to_vec()),
        ));
        from = to;
    }
    pieces
}

fn rename(state: &mut State, from: &str, to: &str) {
    if let Some(content) = state.files.remove(from) {
        state.files.insert(to.to_owned(), content);
        return;
    }
    let moved = |path: &String| {
        let rest = path.strip_prefix(from)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{to}{rest}"))
    };
    let files = std::mem::take(&mut state.files);
    state.files = files
        .into_iter()
        .map(|(path, content)| (moved(&path).unwrap_or(path), content))
        .collect();
    let folders = std::mem::take(&mut state.folders);
    state.folders = folders
        .into_iter()
        .map(|path| moved(&path).unwrap_or(path))
        .collect();
}
