//! The walls between the rooms: who may name whom.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// From the top down; a room may name those after it.
const ROOMS: [&str; 12] = [
    "main", "cli", "config", "fuse", "vfs", "download", "upload", "provider", "http", "state", "control",
    "sandbox",
];

/// Crates that one room alone may name.
const OWNED_CRATES: [(&str, &str); 6] = [
    ("fuser", "fuse"),
    ("hyper", "http"),
    ("reqwest", "http"),
    ("rusqlite", "state"),
    ("dbus_secret_service", "config"),
    ("toml_edit", "config"),
];

/// Rooms that know nothing of the emulators, so that a misreading of a service cannot hide in both.
const APART_FROM_SANDBOX: [&str; 4] = ["provider", "http", "download", "upload"];

#[test]
fn no_room_names_a_room_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&source) {
        let place = Place::of(file.strip_prefix(&source).expect("a file below src"));
        let text = std::fs::read_to_string(&file).expect("readable source");
        faults.extend(
            check(&place, &text)
                .into_iter()
                .map(|fault| format!("{}: {fault}", file.display())),
        );
        seen.insert(place.room);
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    for room in ROOMS {
        assert!(
            seen.contains(room),
            "the room {room} has no file: was it renamed?"
        );
    }
}

/// A method that it lacked would be refused there, whatever the provider can do.
#[test]
fn what_wraps_a_provider_hands_every_method_on() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let methods = |file: &str, begins: &str| {
        let text = std::fs::read_to_string(source.join(file)).expect("readable source");
        let (_, block) = text.split_once(begins).expect("the block");
        let block = block.split("\n}").next().expect("its end");
        let names = block.lines().filter_map(|line| {
            let line = line.strip_prefix("    ")?;
            let name = line.strip_prefix("async fn ").or(line.strip_prefix("fn "))?;
            Some(name.split(['(', '<']).next()?.to_owned())
        });
        names.collect::<BTreeSet<_>>()
    };
    let all = methods("provider.rs", "pub trait Provider");
    assert!(all.contains("upload_begin") && all.len() > 30, "{all:?}");
    for file in ["provider/wrap.rs", "provider/exchange.rs", "vfs/local/folders.rs"] {
        let missing: Vec<_> = all.difference(&methods(file, "Provider for ")).cloned().collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
    let services = methods("provider/services.rs", "pub trait FileServices");
    assert!(services.contains("zip") && services.len() > 15, "{services:?}");
    let wrapped = methods("provider/wrap/services.rs", "FileServices for ");
    assert_eq!(wrapped, services, "what goes around services hands them all on");
    // These are laid over providers, whose services they hand on as they are.
    for file in ["provider/catalog.rs", "vfs/local/folders.rs"] {
        let handed_on = methods(file, "Provider for ");
        assert!(handed_on.contains("services"), "{file}: services");
    }
}

#[test]
fn modules_are_files_of_their_own_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests"]
        .map(|folder| rust_files(&root.join(folder)))
        .concat();
    let found: Vec<_> = files.iter().filter(|file| file.ends_with("mod.rs")).collect();
    assert!(found.is_empty(), "{found:?}: name the file after its module");
}

#[test]
fn the_checker_sees_what_it_should() {
    let faulty = [
        (
            "upload/queue.rs",
            "use crate::vfs::Vfs;",
            "names crate::vfs, a room above",
        ),
        (
            "upload.rs",
            "fn f() { crate::download::open(); }",
            "names crate::download, a room above",
        ),
        (
            "http.rs",
            "use crate::{\n    state::Database,\n    provider::{self, FileId},\n};",
            "names crate::provider",
        ),
        (
            "state/journal.rs",
            "mod tests { use crate :: cli::main; }",
            "names crate::cli",
        ),
        (
            "http/data.rs",
            "use super::super::provider::FileId;",
            "names crate::provider",
        ),
        ("vfs.rs", "use super::fuse;", "names crate::fuse"),
        (
            "vfs/inode.rs",
            "fn f(e: fuser::Errno) {}",
            "names the crate fuser",
        ),
        ("cli.rs", "use reqwest::Client;", "names the crate reqwest"),
        (
            "upload/journal.rs",
            "use rusqlite as db;",
            "names the crate rusqlite",
        ),
        (
            "provider/mediafire.rs",
            "use crate::sandbox::Quirks;",
            "names crate::sandbox, from which it is apart",
        ),
        (
            "sandbox/mediafire.rs",
            "use crate::provider::FileId;",
            "names crate::provider, a room above",
        ),
        (
            "sandbox/mediafire.rs",
            "use crate::http::check_url;",
            "names crate::http, a room above",
        ),
        (
            "cli/x.rs",
            "fn f<'a>(c: char) -> bool { c == '\"' } use fuser::X; // \"",
            "names the crate fuser",
        ),
        ("attic.rs", "", "is no room"),
    ];
    for (path, text, expected) in faulty {
        let faults = check(&Place::of(Path::new(path)), text);
        assert!(
            faults.iter().any(|fault| fault.contains(expected)),
            "{path}: {text:?}: {faults:?}"
        );
    }
    let fine = [
        ("main.rs", "fn main() { lockerfs::cli::main() }"),
        (
            "cli/mount.rs",
            "use crate::{config::Config, vfs::{self, Vfs}, sandbox::Sandbox};",
        ),
        (
            "fuse/session.rs",
            "use fuser::Filesystem; use crate::vfs::Vfs; use crate::fuse::reply;",
        ),
        (
            "provider/mediafire/upload.rs",
            "use super::upload; use super::super::error; use crate::http::ApiClient;",
        ),
        (
            "http/data.rs",
            "// crate::vfs and fuser\n/* crate::cli /* fuser */ fuser */ const A: &str = \"crate::cli fuser\";",
        ),
        (
            "state/journal.rs",
            "const A: &str = r#\"crate::cli \"fuser\" \"#; const B: &[u8] = b\"fuser\\\"fuser\";",
        ),
        (
            "vfs/names.rs",
            "let fuser_like = crate::vfs::x; let crates = upload::fuse;",
        ),
    ];
    for (path, text) in fine {
        assert_eq!(
            check(&Place::of(Path::new(path)), text),
            Vec::<String>::new(),
            "{path}: {text:?}"
        );
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Where a file stands in the tree of modules.
struct Place {
    room: String,
    /// How many `super` lead from the file's module to the crate's root.
    depth: usize,
}

impl Place {
    fn of(path: &Path) -> Self {
        let module = path.with_extension("");
        let mut parts = module
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned());
        Place {
            room: parts.next().unwrap_or_default(),
            depth: module.components().count(),
        }
    }
}

fn check(place: &Place, text: &str) -> Vec<String> {
    if place.room == "lib" {
        return Vec::new();
    }
    let rank = |room: &str| ROOMS.iter().position(|known| *known == room);
    let Some(own) = rank(&place.room) else {
        return vec![format!("{} is no room: give it a place in the order", place.room)];
    };
    let tokens = tokens(&without_comments_and_strings(text));
    let mut faults = Vec::new();
    for named in rooms_named(place, &tokens) {
        let Some(other) = rank(&named) else { continue };
        if other < own {
            faults.push(format!("{} names crate::{named}, a room above it", place.room));
        }
        if named == "sandbox" && APART_FROM_SANDBOX.contains(&place.room.as_str()) {
            faults.push(format!(
                "{} names crate::sandbox, from which it is apart",
                place.room
            ));
        }
    }
    for (owned, owner) in OWNED_CRATES {
        if place.room != owner && tokens.iter().any(|token| token == owned) {
            faults.push(format!(
                "{} names the crate {owned}, which belongs to {owner}",
                place.room
            ));
        }
    }
    faults
}

/// The modules at the crate's root that the code names by a path.
fn rooms_named(place: &Place, tokens: &[String]) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        let mut supers = 0;
        while tokens.get(at).is_some_and(|token| token == "super")
            && tokens.get(at + 1).is_some_and(|t| t == "::")
        {
            supers += 1;
            at += 2;
        }
        if tokens
            .get(at)
            .is_some_and(|token| token == "crate" || token == "lockerfs")
            && tokens.get(at + 1).is_some_and(|token| token == "::")
        {
            at += 2;
        } else if supers == 0 || supers < place.depth {
            at = at.max(start + 1);
            continue;
        }
        collect(tokens.get(at..).unwrap_or_default(), &mut named);
    }
    named
}

/// The first names of a path, or of each path in a group in braces.
fn collect(tokens: &[String], named: &mut BTreeSet<String>) {
    let Some(first) = tokens.first() else { return };
    if first != "{" {
        named.insert(first.clone());
        return;
    }
    let mut depth = 0;
    let mut begins = false;
    for token in tokens {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            name if depth == 1 && begins => {
                named.insert(name.to_owned());
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
        begins = depth == 1 && (token == "{" || token == ",");
    }
}

/// Names, `::`, braces and commas; all else is of no interest.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code.chars().peekable();
    while let Some(first) = rest.next() {
        if first.is_alphanumeric() || first == '_' {
            let mut word = String::from(first);
            while let Some(next) = rest.next_if(|next| next.is_alphanumeric() || *next == '_') {
                word.push(next);
            }
            tokens.push(word);
        } else if first == ':' && rest.next_if_eq(&':').is_some() {
            tokens.push("::".to_owned());
        } else if !first.is_whitespace() {
            tokens.push(first.to_string());
        }
    }
    tokens
}

fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| string(rest)).or_else(|| character(rest));
        match skipped {
            Some(length) => {
                code.push(' ');
                rest = rest.get(length..).unwrap_or_default();
            }
            None => {
                code.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    code
}

fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        if text[at..].starts_with("/*") {
            depth += 1;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
        }
        if depth == 0 {
            return Some(at + 2);
        }
    }
    Some(text.len())
}

fn string(text: &str) -> Option<usize> {
    if let Some(raw) = text.strip_prefix('r').filter(|raw| raw.starts_with(['"', '#'])) {
        let hashes = raw.chars().take_while(|c| *c == '#').count();
        let body = raw.get(hashes..)?.strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = body.find(&end).map_or(body.len(), |at| at + end.len());
        return Some(1 + hashes + 1 + length);
    }
    let body = text.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            '"' if !escaped => return Some(at + 2),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    Some(text.len())
}

/// A character in quotes, but not a lifetime.
fn character(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    let first = body.chars().next()?;
    let after = if first == '\\' {
        body.get(2..)?.find('\'')? + 2
    } else {
        first.len_utf8()
    };
    body.get(after..)?.starts_with('\'').then_some(after + 2)
}
