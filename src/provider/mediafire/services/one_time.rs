//! One-time links: made, counted, and given other terms.

use crate::provider::mediafire::call::Api;
use crate::provider::mediafire::files;
use crate::provider::mediafire::wire::{Node, Params};
use crate::provider::services::{OneTimeCounts, OneTimeLink, OneTimeTerms};
use crate::provider::{ErrorKind, FileId, ProviderError, Result, Retry};

const MAKE: &str = "file/one_time_key";
const CHANGE: &str = "file/configure_one_time_key";

pub(super) async fn counts(api: &Api) -> Result<OneTimeCounts> {
    let reply = api
        .call(MAKE, &Params::new().with("get_counts_only", "yes"))
        .await?;
    Ok(read_counts(Node(&reply)))
}

pub(super) async fn make(api: &Api, file: &FileId, terms: &OneTimeTerms) -> Result<OneTimeLink> {
    let params = with_terms(Params::new().with("quick_key", file.as_str()), terms);
    let answer = api.call(MAKE, &params).await;
    let reply = answer.map_err(|failure| failure.error.with_context("file", file))?;
    let node = Node(&reply);
    let lacks = |what: &str| {
        let message = format!("the service made a one-time link and did not tell {what}");
        ProviderError::new(ErrorKind::Unexpected, Retry::OutcomeUnknown, MAKE, message)
    };
    let links = node.get("links").unwrap_or(node);
    // Files that are looked at in other ways have a link of another name for that.
    let view = ["view", "watch", "listen"]
        .into_iter()
        .find_map(|kind| links.text(kind));
    let download = links.text("download").ok_or_else(|| lacks("it"))?;
    Ok(OneTimeLink {
        token: node.text("token").ok_or_else(|| lacks("its token"))?,
        download: files::page(MAKE, &download, api)?,
        view: view.and_then(|view| files::page(MAKE, &view, api).ok()),
        counts: read_counts(node),
    })
}

pub(super) async fn change(api: &Api, token: &str, terms: &OneTimeTerms) -> Result<OneTimeCounts> {
    let params = with_terms(Params::new().with("token", token), terms);
    match api.call(CHANGE, &params).await {
        Ok(reply) => Ok(read_counts(Node(&reply))),
        Err(failure) if failure.code == Some(129) => {
            let message = "the service knows no such one-time link of this account: it was used, has ended, or \
                           belongs to another account";
            let error = ProviderError::new(ErrorKind::NotFound, Retry::Never, CHANGE, message);
            Err(error.with_source(failure.error))
        }
        Err(failure) => Err(failure.error),
    }
}

fn with_terms(mut params: Params, terms: &OneTimeTerms) -> Params {
    if let Some(duration) = terms.duration {
        let minutes = duration.as_secs().div_ceil(60);
        params = params.with("duration", &minutes.to_string());
    }
    params = params.with("email_notification", if terms.notify { "yes" } else { "no" });
    if let Some(addresses) = &terms.bind_ip {
        // The two calls differ in what they take for granted.
        let burn = if terms.keep { "no" } else { "yes" };
        params = params.with("bind_ip", addresses).with("burn_after_use", burn);
    }
    if let Some(url) = &terms.success_url {
        params = params.with("success_callback_url", url.as_str());
    }
    if let Some(url) = &terms.error_url {
        params = params.with("error_callback_url", url.as_str());
    }
    params
}

fn read_counts(node: Node<'_>) -> OneTimeCounts {
    OneTimeCounts {
        made: node.number("one_time_key_request_count"),
        most: node.number("one_time_key_request_max_count"),
    }
}
