//! What is not an API call: direct links with their data, and web pages.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::shape;
use crate::sandbox::Service;
use crate::sandbox::content;
use crate::sandbox::front::{Outcome, page};
use crate::sandbox::state::Shared;
use crate::sandbox::tree::Content;

/// What a link that ran out leads to: a page, with success as its status.
const REPAIR_PAGE: &str = "<!DOCTYPE html><html><head><title>File sharing and storage made simple</title></head>\
    <body><h1>Download repair</h1><p>The key you provided for file download was invalid or has expired. \
    Please get a new download key.</p></body></html>";

/// A file as a link gives it.
struct Served {
    account: String,
    name: String,
    content: Content,
}

pub async fn answer(shared: &Shared, call: &str, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    match call {
        "redirect" => {
            let target = path.replacen("/hop/", "/dl/", 1);
            (StatusCode::FOUND, [(header::LOCATION, target)]).into_response()
        }
        "download" | "download_head" if matches!(*request.method(), Method::GET | Method::HEAD) => {
            let mut parts = path.trim_start_matches("/dl/").split('/');
            let (random, quickkey) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            match by_link(shared, random, quickkey, call == "download") {
                Some(served) => send(shared, request.method(), request.headers(), served).await,
                None => page(REPAIR_PAGE),
            }
        }
        "page" => page("<!DOCTYPE html><html><body>A page for people, with a download button.</body></html>"),
        _ => {
            // `/?token` is how a one-time link looks.
            let token = request.uri().query().unwrap_or_default();
            let redeemed = shared.with(|world| {
                let key = world.mediafire.links.redeem(token)?;
                served(world, &key)
            });
            match redeemed {
                Some(served) => send(shared, request.method(), request.headers(), served).await,
                None => (
                    StatusCode::NOT_FOUND,
                    page("<!DOCTYPE html><html><body>Not found</body></html>"),
                )
                    .into_response(),
            }
        }
    }
}

fn by_link(shared: &Shared, random: &str, quickkey: &str, counts: bool) -> Option<Served> {
    shared.with(|world| {
        if !world.mediafire.links.leads_to(random, quickkey) {
            return None;
        }
        if counts {
            world
                .accounts
                .iter_mut()
                .for_each(|account| account.tree.count_download(quickkey));
        }
        served(world, quickkey)
    })
}

fn served(world: &crate::sandbox::state::World, quickkey: &str) -> Option<Served> {
    world.accounts_of(Service::MediaFire).find_map(|(_, account)| {
        let file = account
            .tree
            .file(quickkey)
            .filter(|_| account.tree.is_live_file(quickkey))?;
        Some(Served {
            account: account.config.name.clone(),
            name: file.name.clone(),
            content: file.content.clone(),
        })
    })
}

async fn send(shared: &Shared, method: &Method, headers: &HeaderMap, served: Served) -> Response {
    let size = served.content.size;
    let asked = if shared.options.quirks.ignore_ranges {
        Ok(None)
    } else {
        content::range(headers, size)
    };
    let outcome = Outcome {
        account: Some(served.account),
        error: None,
    };
    let Ok(asked) = asked else {
        let mut response = StatusCode::RANGE_NOT_SATISFIABLE.into_response();
        if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
        response.extensions_mut().insert(outcome);
        return response;
    };
    let (from, to) = asked.unwrap_or((0, size));
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        match content::open(&shared.blobs, &served.content, from, to - from).await {
            Ok(body) => body,
            Err(error) => {
                tracing::warn!(%error, "the sandbox could not read a blob");
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
        }
    };
    let mut response = Response::new(body);
    let name = utf8_percent_encode(&served.name, NON_ALPHANUMERIC);
    let disposition = format!("attachment; filename*=UTF-8''{name}");
    let told = response.headers_mut();
    told.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(shape::media(&served.name).0),
    );
    told.insert(header::CONTENT_LENGTH, HeaderValue::from(to - from));
    if !shared.options.quirks.ignore_ranges {
        told.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        told.insert(header::CONTENT_DISPOSITION, disposition);
    }
    if asked.is_some() {
        if let Ok(range) = HeaderValue::from_str(&format!("bytes {from}-{}/{size}", to.saturating_sub(1))) {
            told.insert(header::CONTENT_RANGE, range);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response.extensions_mut().insert(outcome);
    response
}
