//! Pages for whoever runs the sandbox: counts, faults, the accounts' files. JSON, on loopback, without login.
//!
//! | request | does |
//! |---|---|
//! | `GET /sandbox/calls` | `{"total", "calls": {name: count}, "bodies": {name: bytes}, "bytes_in", "bytes_out", "fetched", "busiest_second", "refused"}` since the last reset: `bodies` are the bytes that came in the bodies of requests, `fetched` those that services fetched by themselves, which are in `bytes_out` as well; `busiest_second` the most calls that came within any one second, downloads and pages aside; `refused` those beyond the limit |
//! | `POST /sandbox/calls/reset` | counts from zero |
//! | `POST /sandbox/rescan` | takes up what was done to the live files by hand |
//! | `GET /sandbox/files?account=NAME` | the live files: path, size, sha256, id (`quickkey`, too) |
//! | `GET /sandbox/state?account=NAME` | all that is kept of an account: its tree, with trash, versions, privacy, descriptions and artwork, and MediaFire's one-time links by token |
//! | `GET /sandbox/spoiled` | SHA-256 of all contents that a mishap had stored in the place of what was sent |
//! | `GET /sandbox/accounts` | the accounts: name, service, e-mail, directory of live files |
//! | `POST /sandbox/faults` | a JSON list of rules, which replace the former ones |
//! | `POST /sandbox/limit` | `{"calls_per_second": n, "answer": "429"\|"163"\|"261", "retry_after": seconds?}`: what comes beyond n calls in a sliding second is refused so, though counted; 0 for no limit |
//! | `POST /sandbox/storage` | `{"account", "limit"}`: the bytes that an account may hold from now on |
//! | `POST /sandbox/login` | `{"account", "password"?, "key1"?, "key2"?, "api_key"?, "api_token"?}`: what an account's owner changed: the service takes the old ones no more, and ends all sessions |
//! | `POST /sandbox/touch` | `{"account", "path", "content"}`: changes or makes a file behind a client's back |
//! | `POST /sandbox/change` | `{"account", "do", "path", "to"?, "content"?}`: does behind a client's back what somebody does on the service: `write` (`content`), `make_folder`, `rename` (`to` a name), `move` (`to` a path, of another name or not), `trash`, `restore` (from the trash, where it was), `purge` (for good, be it live or in the trash). Folders above are made. Answers the id |
//! | `POST /sandbox/grow` | `{"account", "folders", "files", "size"}`: that many folders `folder-00000`, ... in the root with that many files `file-00000.bin`, ... in each, all of one content of that size; `"folders": 0`: the files stand in the root. They do not stand as plain files in the directory of live files until they get content of their own; an account with more than 100,000 of them is written to the disk at the stop only. Answers the content's hash |

mod change;
mod grow;

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Service;
use super::faults::Rule;
use super::state::{Shared, files_dir};
use super::tree::ROOT;

/// The largest body that an admin call takes, in bytes.
const MAX_BODY: usize = 64 << 20;

type Answer = Result<Value, (StatusCode, String)>;

pub async fn answer(shared: &Arc<Shared>, request: Request) -> Response {
    let route = format!("{} {}", request.method(), request.uri().path());
    let answer = match route.as_str() {
        "GET /sandbox/calls" => Ok(calls(shared)),
        "POST /sandbox/calls/reset" => {
            shared.calls.reset();
            shared.rate.reset();
            shared.line.bytes_in.store(0, Ordering::Relaxed);
            shared.line.bytes_out.store(0, Ordering::Relaxed);
            Ok(json!({}))
        }
        "POST /sandbox/rescan" => {
            shared.rescan().await;
            Ok(json!({}))
        }
        "GET /sandbox/spoiled" => Ok(json!(
            *shared.spoiled.lock().unwrap_or_else(PoisonError::into_inner)
        )),
        "GET /sandbox/accounts" => Ok(accounts(shared)),
        "GET /sandbox/files" => files(shared, request.uri().query().unwrap_or_default()),
        "GET /sandbox/state" => state(shared, request.uri().query().unwrap_or_default()),
        "POST /sandbox/faults" => faults(shared, request).await,
        "POST /sandbox/limit" => limit(shared, request).await,
        "POST /sandbox/storage" => storage(shared, request).await,
        "POST /sandbox/login" => login(shared, request).await,
        "POST /sandbox/clock" => clock(shared, request).await,
        "POST /sandbox/calls_left" => calls_left(shared, request).await,
        "POST /sandbox/withdraw" => withdraw(shared, request).await,
        "GET /sandbox/published" => published(shared, request.uri().query().unwrap_or_default()),
        "POST /sandbox/touch" => change::touch(shared, body(request).await).await,
        "POST /sandbox/grow" => grow::grow(shared, body(request).await).await,
        "POST /sandbox/change" => change::change(shared, body(request).await).await,
        _ => Err((StatusCode::NOT_FOUND, format!("the sandbox has no page {route}"))),
    };
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err((status, message)) => (status, json!({ "error": message })),
    };
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_string(),
    )
        .into_response()
}

fn calls(shared: &Shared) -> Value {
    let calls = shared.calls.counts();
    let (busiest_second, refused) = shared.rate.seen();
    json!({
        "busiest_second": busiest_second,
        "refused": refused,
        "total": calls.values().sum::<u64>(),
        "calls": calls,
        "bodies": shared.calls.bodies(),
        "fetched": shared.calls.fetched(),
        "bytes_in": shared.line.bytes_in.load(Ordering::Relaxed),
        "bytes_out": shared.line.bytes_out.load(Ordering::Relaxed),
    })
}

fn accounts(shared: &Shared) -> Value {
    let accounts = shared.options.accounts.iter().map(|account| {
        let service = match account.service {
            Service::MediaFire => "mediafire",
            Service::YetiShare => "yetishare",
            Service::MirrorAce => "mirrorace",
            Service::MirroredTo => "mirrored_to",
        };
        json!({
            "name": account.name,
            "service": service,
            "email": account.email,
            "files": files_dir(&shared.options.data, &account.name),
        })
    });
    accounts.collect()
}

fn account_in(query: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "account")
        .map(|(_, value)| value.into_owned())
}

fn files(shared: &Shared, query: &str) -> Answer {
    let account = account_in(query);
    shared.with(|world| {
        let index = match &account {
            Some(name) => world.account(name),
            None => (!world.accounts.is_empty()).then_some(0),
        };
        let Some(account) = index.and_then(|index| world.accounts.get(index)) else {
            return Err((StatusCode::NOT_FOUND, "no such account".to_owned()));
        };
        let tree = &account.tree;
        let mut files = Vec::new();
        for folder in tree.subtree(ROOT) {
            for file in tree.files_in(&folder) {
                files.push(json!({
                    "path": tree.file_path(file),
                    "size": file.content.size,
                    "sha256": file.content.sha256,
                    "quickkey": file.key,
                    "id": file.key,
                }));
            }
        }
        Ok(Value::Array(files))
    })
}

fn state(shared: &Shared, query: &str) -> Answer {
    let account = account_in(query).unwrap_or_default();
    shared.with(|world| {
        let index = world.account(&account);
        let Some((index, account)) = index.and_then(|index| Some((index, world.accounts.get(index)?))) else {
            return Err((StatusCode::NOT_FOUND, "no such account".to_owned()));
        };
        let tree = serde_json::to_value(&account.tree);
        let tree = tree.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        Ok(json!({ "tree": tree, "one_time_links": world.mediafire.one_time_links(index) }))
    })
}

async fn body<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, (StatusCode, String)> {
    let refuse = |error: String| (StatusCode::BAD_REQUEST, error);
    let bytes = axum::body::to_bytes(request.into_body(), MAX_BODY)
        .await
        .map_err(|error| refuse(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))
}

async fn faults(shared: &Shared, request: Request) -> Answer {
    let rules: Vec<Rule> = body(request).await?;
    shared.faults.set(rules);
    Ok(json!({}))
}

async fn limit(shared: &Shared, request: Request) -> Answer {
    shared.rate.set_limit(body(request).await?);
    Ok(json!({}))
}

#[derive(Deserialize)]
struct Storage {
    account: String,
    limit: u64,
}

async fn storage(shared: &Shared, request: Request) -> Answer {
    let storage: Storage = body(request).await?;
    let is_known = shared.with(|world| {
        let index = world.account(&storage.account)?;
        world.accounts.get_mut(index)?.config.storage_limit = storage.limit;
        Some(())
    });
    match is_known {
        Some(()) => Ok(json!({})),
        None => Err((StatusCode::NOT_FOUND, "no such account".to_owned())),
    }
}

#[derive(Deserialize)]
struct Login {
    account: String,
    password: Option<String>,
    key1: Option<String>,
    key2: Option<String>,
    api_key: Option<String>,
    api_token: Option<String>,
}

async fn login(shared: &Shared, request: Request) -> Answer {
    let login: Login = body(request).await?;
    let is_known = shared.with(|world| {
        let index = world.account(&login.account)?;
        let config = &mut world.accounts.get_mut(index)?.config;
        for (field, new) in [
            (&mut config.password, login.password),
            (&mut config.key1, login.key1),
            (&mut config.key2, login.key2),
            (&mut config.api_key, login.api_key),
            (&mut config.api_token, login.api_token),
        ] {
            if let Some(new) = new {
                *field = new;
            }
        }
        world.mediafire.end_sessions(index);
        world.yetishare.host(&login.account).end_sessions();
        Some(())
    });
    match is_known {
        Some(()) => Ok(json!({})),
        None => Err((StatusCode::NOT_FOUND, "no such account".to_owned())),
    }
}

/// By how many seconds the clock of the publish-only services is to be ahead.
#[derive(Deserialize)]
struct Clock {
    ahead: i64,
}

async fn clock(shared: &Shared, request: Request) -> Answer {
    let clock: Clock = body(request).await?;
    shared.ahead.store(clock.ahead, Ordering::Relaxed);
    Ok(json!({ "now": shared.clock() }))
}

/// How many calls of its day a Mirrored.to account is to have left.
#[derive(Deserialize)]
struct CallsLeft {
    account: String,
    left: u64,
}

async fn calls_left(shared: &Shared, request: Request) -> Answer {
    let CallsLeft { account, left } = body(request).await?;
    let limit = shared.options.quirks.mirrored_to.daily_calls;
    let clock = shared.clock();
    shared.with(|world| {
        let host = world.mirrored_to.host(&account);
        host.set_calls(clock, limit.saturating_sub(left));
    });
    Ok(json!({}))
}

/// Takes a published file off the service, with the status that MirrorAce then tells.
#[derive(Deserialize)]
struct Withdraw {
    account: String,
    id: String,
    status: String,
}

async fn withdraw(shared: &Shared, request: Request) -> Answer {
    let Withdraw { account, id, status } = body(request).await?;
    shared.with(|world| {
        world.mirrorace.host(&account).withdraw(&id, &status);
        world.mirrored_to.host(&account).withdraw(&id);
    });
    Ok(json!({}))
}

/// What a publish-only service notes of the files that it was given: mirrors, password, mail.
fn published(shared: &Shared, query: &str) -> Answer {
    let account = account_in(query).unwrap_or_default();
    Ok(shared.with(|world| {
        let service = world.account(&account).and_then(|index| {
            let account = world.accounts.get(index)?;
            Some(account.config.service)
        });
        match service {
            Some(Service::MirrorAce) => world.mirrorace.host(&account).published(),
            Some(Service::MirroredTo) => world.mirrored_to.host(&account).published(),
            _ => json!({}),
        }
    }))
}
