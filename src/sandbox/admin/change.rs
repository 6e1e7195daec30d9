//! What is done to an account behind its clients' backs: as its owner does it on the service's own pages.

use std::sync::Arc;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::Answer;
use crate::sandbox::state::{Shared, World, now};
use crate::sandbox::tree::{Content, Kind, Node, ROOT, Tree};

/// A body that was read, or why it could not be.
pub(super) type Body<T> = Result<T, (StatusCode, String)>;

#[derive(Deserialize)]
pub(super) struct Touch {
    account: String,
    path: String,
    content: String,
}

#[derive(Deserialize)]
pub(super) struct Change {
    account: String,
    path: String,
    #[serde(flatten)]
    what: What,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum What {
    Write {
        content: String,
    },
    MakeFolder,
    /// To another name in its folder.
    Rename {
        to: String,
    },
    /// To another path, which may be another name as well.
    Move {
        to: String,
    },
    Trash,
    Restore,
    Purge,
}

pub(super) async fn touch(shared: &Arc<Shared>, touch: Body<Touch>) -> Answer {
    let Touch {
        account,
        path,
        content,
    } = touch?;
    let what = What::Write { content };
    change(shared, Ok(Change { account, path, what })).await
}

pub(super) async fn change(shared: &Arc<Shared>, change: Body<Change>) -> Answer {
    let change = change?;
    let content = match &change.what {
        What::Write { content } => Some(store(shared, content.as_bytes().to_vec()).await?),
        _ => None,
    };
    let key = shared.with(|world| {
        let index = world.account(&change.account);
        let index = index.ok_or((StatusCode::NOT_FOUND, "no such account".to_owned()))?;
        let mut place = Place { world, index };
        let done = carry_out(&mut place, &change, content);
        done.ok_or_else(|| (StatusCode::NOT_FOUND, format!("nothing to do at {}", change.path)))
    })?;
    shared.catch_up().await;
    Ok(json!({ "quickkey": key, "id": key }))
}

pub(super) async fn store(shared: &Arc<Shared>, bytes: Vec<u8>) -> Body<Content> {
    let blobs = Arc::clone(&shared.blobs);
    let stored = tokio::task::spawn_blocking(move || blobs.put_bytes(&bytes)).await;
    stored
        .map_err(std::io::Error::other)
        .and_then(|stored| stored)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// An account to change.
pub(super) struct Place<'a> {
    pub world: &'a mut World,
    pub index: usize,
}

impl Place<'_> {
    pub fn tree(&mut self) -> Option<&mut Tree> {
        let account = self.world.accounts.get_mut(self.index)?;
        Some(&mut account.tree)
    }

    /// The folder at a path, made with those above it where they are missing.
    pub fn folder(&mut self, path: &str) -> Option<String> {
        let mut parent = ROOT.to_owned();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let known = self.tree()?.folder_named(&parent, name);
            parent = match known.map(|folder| folder.key.clone()) {
                Some(key) => key,
                None => {
                    let key = self.world.mint(self.index, Kind::Folder);
                    self.tree()?.add_folder(&key, &parent, name, now());
                    key
                }
            };
        }
        Some(parent)
    }

    fn write(&mut self, path: &str, content: Content) -> Option<String> {
        if let Some(key) = self.tree()?.resolve_file(path).map(|file| file.key.clone()) {
            self.tree()?.put_content(&key, content, now(), now());
            return Some(key);
        }
        let (folder, name) = split(path);
        let parent = self.folder(folder)?;
        let key = self.world.mint(self.index, Kind::File);
        self.tree()?.add_file(&key, &parent, name, content, now(), now());
        Some(key)
    }

    fn put(&mut self, node: &Node, parent: &str, name: &str) -> Option<()> {
        match node {
            Node::File(key) => self.tree()?.place_file(key, parent, name),
            Node::Folder(key) => self.tree()?.place_folder(key, parent, name),
        }
        Some(())
    }
}

fn split(path: &str) -> (&str, &str) {
    let path = path.trim_matches('/');
    path.rsplit_once('/').unwrap_or(("", path))
}

/// `None`: there is nothing of which this could be done.
fn carry_out(place: &mut Place<'_>, change: &Change, content: Option<Content>) -> Option<String> {
    let path = change.path.as_str();
    match &change.what {
        What::Write { .. } => return place.write(path, content?),
        What::MakeFolder => return place.folder(path),
        What::Restore => return restore(place.tree()?, path),
        _ => {}
    }
    let live = place.tree()?.resolve(path).filter(|node| *node != root());
    let node = match (&change.what, live) {
        (What::Purge, None) => trashed(place.tree()?, path)?,
        (_, live) => live?,
    };
    match &change.what {
        What::Rename { to } => {
            let parent = match &node {
                Node::File(key) => place.tree()?.file(key)?.parent.clone(),
                Node::Folder(key) => place.tree()?.folder(key)?.parent.clone(),
            };
            place.put(&node, &parent, to)?;
        }
        What::Move { to } => {
            let (folder, name) = split(to);
            let parent = place.folder(folder)?;
            place.put(&node, &parent, name)?;
        }
        What::Trash => match &node {
            Node::File(key) => place.tree()?.trash_file(key, now()),
            Node::Folder(key) => place.tree()?.trash_folder(key, now()),
        },
        What::Purge => match &node {
            Node::File(key) => place.tree()?.purge_file(key),
            Node::Folder(key) => place.tree()?.purge_folder(key),
        },
        What::Write { .. } | What::MakeFolder | What::Restore => {}
    }
    let (Node::File(key) | Node::Folder(key)) = node;
    Some(key)
}

fn root() -> Node {
    Node::Folder(ROOT.to_owned())
}

fn restore(tree: &mut Tree, path: &str) -> Option<String> {
    let node = trashed(tree, path)?;
    match &node {
        Node::File(key) => tree.restore_file(key),
        Node::Folder(key) => tree.restore_folder(key),
    }
    let (Node::File(key) | Node::Folder(key)) = node;
    Some(key)
}

/// What was deleted last of all that stood at this path.
fn trashed(tree: &Tree, path: &str) -> Option<Node> {
    let (folder, name) = split(path);
    let Node::Folder(parent) = tree.resolve(folder)? else {
        return None;
    };
    let files = tree
        .trashed_files()
        .filter(|file| file.parent == parent && file.name == name)
        .map(|file| (file.revision, Node::File(file.key.clone())));
    let folders = tree
        .trashed_folders()
        .filter(|folder| folder.parent == parent && folder.name == name)
        .map(|folder| (folder.changed, Node::Folder(folder.key.clone())));
    let last = files.chain(folders).max_by_key(|(revision, _)| *revision);
    last.map(|(_, node)| node)
}
