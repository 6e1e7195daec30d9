//! What must be true of all that a provider hands on, whatever a service said.

use lockerfs::http::check_url;
use lockerfs::provider::{
    Entry, FileEntry, NameRules, ProviderError, Publication, UploadPlan, UploadProgress,
};
use lockerfs::vfs::names;

/// The largest file that a program can be told of.
const LARGEST: u64 = i64::MAX as u64;
/// The longest name that the kernel takes in a listing, in bytes.
const LONGEST: usize = 1024;
/// Characters of an error's text. More would be a service's own, poured into the log.
const WORDIEST: usize = 4000;

/// A service's name becomes one that a directory can hold, and comes back as it went.
pub fn name(remote: &str, id: &str, rules: &NameRules) {
    let shown = names::to_local(remote, rules);
    directory_entry(&shown);
    directory_entry(&names::with_suffix(&shown, id));
    local_name(&shown, rules);
}

/// A name that a program gives is told to the service in a form that comes back as the same name.
pub fn local_name(local: &str, rules: &NameRules) {
    let Ok(remote) = names::to_remote(local, rules) else {
        return;
    };
    let refused = |c: char| c == '/' || c == '\0' || rules.forbidden.contains(c);
    assert!(!remote.contains(refused), "{local:?} goes as {remote:?}");
    assert!(
        rules.leading_dot || !remote.starts_with('.'),
        "{local:?} goes as {remote:?}"
    );
    assert!(
        rules.edge_blanks || !(remote.starts_with(' ') || remote.ends_with(' ')),
        "{local:?} goes as {remote:?}"
    );
    assert!(
        remote.chars().count() <= rules.max_chars,
        "{remote:?} is too long"
    );
    if !local.contains('/') && !local.contains('\0') {
        assert_eq!(names::to_local(&remote, rules), local, "through {remote:?}");
    }
}

fn directory_entry(name: &str) {
    assert!(
        !name.contains(['/', '\0']),
        "{name:?} cannot stand in a directory"
    );
    assert!(
        !matches!(name, "" | "." | ".."),
        "{name:?} cannot stand in a directory"
    );
    assert!(name.len() <= LONGEST, "a name of {} bytes", name.len());
}

pub fn file(file: &FileEntry, rules: &NameRules) {
    assert!(!file.id.as_str().trim().is_empty(), "a file without an id");
    assert!(file.size <= LARGEST, "{} bytes", file.size);
    name(&file.name, file.id.as_str(), rules);
}

pub fn entry(entry: &Entry, rules: &NameRules) {
    match entry {
        Entry::File(entry) => file(entry, rules),
        Entry::Folder(folder) => {
            assert!(!folder.id.as_str().trim().is_empty(), "a folder without an id");
            name(&folder.name, folder.id.as_str(), rules);
        }
    }
}

/// A link leads by https, or to loopback.
pub fn link(url: &url::Url) {
    assert!(check_url(url).is_ok(), "a link that nobody may follow: {url}");
}

/// An error is one line that a log and a terminal can take.
pub fn error(error: &ProviderError) {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.chars().count() <= WORDIEST, "{} characters", text.len());
}

pub fn plan(plan: &UploadPlan, size: u64, rules: &NameRules) {
    match plan {
        UploadPlan::Done(entry) => file(entry, rules),
        UploadPlan::Units {
            unit_size, missing, ..
        } => {
            for unit in missing {
                let start = u64::from(*unit).checked_mul(*unit_size);
                assert!(
                    start.is_some_and(|start| start < size),
                    "unit {unit} of {unit_size} bytes"
                );
            }
        }
        UploadPlan::Ranges { max_chunk, .. } => {
            assert!((1..=LARGEST).contains(max_chunk), "chunks of {max_chunk} bytes");
            assert!(
                size / max_chunk < 1 << 20,
                "{max_chunk} bytes a chunk: it would never end"
            );
        }
        UploadPlan::Candidates(files) => {
            assert!(!files.is_empty(), "no candidates");
            files.iter().for_each(|candidate| file(candidate, rules));
        }
        _ => {}
    }
}

pub fn progress(progress: &UploadProgress, rules: &NameRules) {
    match progress {
        UploadProgress::Done(entry) | UploadProgress::Beside(entry) => file(entry, rules),
        UploadProgress::Published(Publication { entry, .. }) => file(entry, rules),
        UploadProgress::GivenUp(refusal) => {
            assert!(
                !refusal.message.contains(char::is_control),
                "{:?}",
                refusal.message
            );
        }
        _ => {}
    }
}
