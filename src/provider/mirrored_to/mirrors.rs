//! Which mirrors a file goes to: by exact name, each with the largest file that it takes.

use super::call::{BEGIN, MIB};
use crate::provider::publish::{Node, clean, distinct, refused};
use crate::provider::{ErrorKind, Result};

/// A mirror, and bytes of its largest file, where that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    name: String,
    most: Option<u64>,
}

fn read(node: Node<'_>, key: &str) -> Vec<Mirror> {
    let mirrors = node.items(key).into_iter().filter_map(|mirror| {
        // A pair of a name and a size, or a name alone.
        let first = mirror.0.get(0).map(Node).unwrap_or(mirror);
        Some(Mirror {
            name: first.as_text()?,
            most: mirror
                .0
                .get(1)
                .and_then(|size| Node(size).as_number())
                .filter(|mb| *mb > 0)
                .map(|mb| mb.saturating_mul(MIB)),
        })
    });
    mirrors.collect()
}

/// The mirrors for a file of this size: those that are wanted, or else the account's own, or the site's. One that
/// is too small for the file is left out.
pub(super) fn choose(told: Node<'_>, wanted: &[String], size: u64) -> Result<Vec<String>> {
    let available = read(told, "available_mirrors");
    let most = told
        .number("max_mirrors")
        .and_then(|most| usize::try_from(most).ok());
    let most = most.filter(|most| *most > 0).unwrap_or(usize::MAX);
    let known = |name: &str| available.iter().find(|mirror| mirror.name == name);
    let fits = |name: &String| {
        let limit = known(name).and_then(|mirror| mirror.most);
        limit.is_none_or(|limit| size <= limit)
    };
    let names = match wanted.is_empty() {
        false => distinct(wanted.iter().cloned()),
        true => {
            let own = read(told, "user_mirrors");
            let own = if own.is_empty() {
                read(told, "default_mirrors")
            } else {
                own
            };
            let open = own.into_iter().map(|mirror| mirror.name);
            // What the account has chosen may be gone by now.
            distinct(open.filter(|name| available.is_empty() || known(name).is_some()))
        }
    };
    let unknown = names
        .iter()
        .find(|name| !available.is_empty() && known(name).is_none());
    if let Some(unknown) = unknown {
        let names: Vec<_> = available.iter().map(|mirror| clean(&mirror.name)).collect();
        let message = format!(
            "the service has no mirror {} (it has {})",
            clean(unknown),
            names.join(", ")
        );
        return Err(refused(ErrorKind::InvalidArgument, BEGIN, message));
    }
    if names.is_empty() {
        let message = "no mirrors are chosen: set mirrors in the config";
        return Err(refused(ErrorKind::InvalidArgument, BEGIN, message));
    }
    if !wanted.is_empty() && names.len() > most {
        let message = format!("{} mirrors are too many: {most} may be chosen", names.len());
        return Err(refused(ErrorKind::InvalidArgument, BEGIN, message));
    }
    let (mut fitting, small): (Vec<_>, Vec<_>) = names.into_iter().partition(fits);
    if fitting.is_empty() {
        let message = "the file is larger than any of the chosen mirrors takes";
        return Err(refused(ErrorKind::TooLarge, BEGIN, message).with_context("bytes", size));
    }
    if !small.is_empty() {
        tracing::info!(
            mirrors = small.join(","),
            size,
            "mirrors that do not take files of this size are left out"
        );
    }
    fitting.truncate(most);
    Ok(fitting)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mirrors_are_those_that_are_wanted_and_fit() {
        let told = json!({
            "max_mirrors": "2",
            "available_mirrors": [["a", 500], ["b", "10"], ["c", 500]],
            "default_mirrors": [["a", 500], ["b", 10], ["c", 500], ["gone", 1]],
            "user_mirrors": [],
        });
        let choose = |wanted: &[&str], mb: u64| {
            let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
            super::choose(Node(&told), &wanted, mb * MIB)
        };
        assert_eq!(choose(&[], 1).unwrap(), ["a", "b"]);
        assert_eq!(choose(&[], 11).unwrap(), ["a", "c"]);
        assert_eq!(choose(&["b", "c", "b"], 11).unwrap(), ["c"]);
        for (wanted, mb, kind) in [
            (&["A"][..], 1, ErrorKind::InvalidArgument),
            (&["b"], 11, ErrorKind::TooLarge),
            (&["a", "b", "c"], 1, ErrorKind::InvalidArgument),
        ] {
            let error = choose(wanted, mb).unwrap_err();
            assert_eq!(error.kind, kind, "{wanted:?}: {error}");
        }
    }
}
