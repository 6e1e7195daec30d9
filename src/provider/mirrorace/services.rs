//! What MirrorAce tells of a file.

use async_trait::async_trait;

use super::MirrorAce;
use super::call;
use crate::provider::form::link;
use crate::provider::publish::{Node, clean, incomplete};
use crate::provider::services::{Details, FileServices};
use crate::provider::{ItemId, Result, refuse};

#[async_trait]
impl FileServices for MirrorAce {
    async fn details(&self, item: &ItemId) -> Result<Details> {
        let ItemId::File(file) = item else {
            return refuse(call::INFO, "the service has no folders");
        };
        let told = self.api.info(std::slice::from_ref(file)).await?;
        let node = Node(&told).get(file.as_str());
        let node = node.ok_or_else(|| incomplete(call::INFO, "the file"))?;
        let status = node.text("status").map(|status| clean(&status));
        let url = node
            .text("url")
            .and_then(|url| link(call::INFO, &url, self.api.base()).ok());
        let name = node.text("name").unwrap_or_else(|| file.to_string());
        Ok(Details {
            size: node.number("size"),
            links: url.map(|url| ("url".to_owned(), url)).into_iter().collect(),
            more: status.map(|status| ("status", status)).into_iter().collect(),
            ..Details::of(item.clone(), name)
        })
    }
}
