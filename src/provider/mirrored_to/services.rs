//! What Mirrored.to tells of a file. Each question is one of the day's calls.

use async_trait::async_trait;

use super::MirroredTo;
use super::call;
use crate::provider::publish::{Node, clean};
use crate::provider::services::{Details, FileServices};
use crate::provider::{ItemId, Result, refuse};

#[async_trait]
impl FileServices for MirroredTo {
    async fn details(&self, item: &ItemId) -> Result<Details> {
        let ItemId::File(file) = item else {
            return refuse(call::INFO, "the service has no folders");
        };
        let params = self.api.own().with("file_id", file.as_str());
        let told = self.api.counted(call::INFO, 0, params).await?;
        let node = Node(&told);
        let name = node.text("file_name").unwrap_or_else(|| file.to_string());
        // The size is rounded, so it is none in bytes.
        let more = [
            ("size, rounded", "file_size"),
            ("uploaded", "upload_time"),
            ("last downloaded", "last_downloaded"),
            ("has a password", "password_protected"),
        ];
        let more = more
            .into_iter()
            .filter_map(|(name, key)| Some((name, clean(&node.text(key)?))));
        Ok(Details {
            more: more.collect(),
            ..Details::of(item.clone(), name)
        })
    }
}
