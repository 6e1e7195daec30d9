//! Fills an account with very many small files at once.

use std::sync::Arc;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::Answer;
use super::change::{Body, Place, store};
use crate::sandbox::state::{Shared, now};
use crate::sandbox::tree::{Content, Kind, ROOT};

#[derive(Deserialize)]
pub(super) struct Grow {
    account: String,
    folders: usize,
    files: usize,
    size: usize,
}

pub(super) async fn grow(shared: &Arc<Shared>, grow: Body<Grow>) -> Answer {
    let grow = grow?;
    let bytes = b"0123456789abcdef"
        .iter()
        .copied()
        .cycle()
        .take(grow.size)
        .collect();
    let content = store(shared, bytes).await?;
    let sha256 = content.sha256.clone();
    let worker = Arc::clone(shared);
    let grown = tokio::task::spawn_blocking(move || {
        if grow.folders == 0 {
            return fill(&worker, &grow, None, &content);
        }
        (0..grow.folders).try_for_each(|number| fill(&worker, &grow, Some(number), &content))
    });
    let grown = grown
        .await
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    grown.ok_or((StatusCode::NOT_FOUND, "no such account".to_owned()))?;
    shared.catch_up().await;
    Ok(json!({ "sha256": sha256 }))
}

/// Makes one folder, or takes the root, and fills it. Calls come between one folder and the next.
fn fill(shared: &Shared, grow: &Grow, number: Option<usize>, content: &Content) -> Option<()> {
    shared.with(|world| {
        let index = world.account(&grow.account)?;
        let mut place = Place { world, index };
        let folder = match number {
            Some(number) => place.folder(&format!("folder-{number:05}"))?,
            None => ROOT.to_owned(),
        };
        for number in 0..grow.files {
            let key = place.world.mint(index, Kind::File);
            let name = format!("file-{number:05}.bin");
            place
                .tree()?
                .add_unseen_file(&key, &folder, &name, content, now());
        }
        Some(())
    })
}
