//! Where requests come in: each is named, counted, befallen by what faults are due, answered and logged.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;

use super::faults::Fault;
use super::mishaps::{self, length};
use super::state::Shared;
use super::wire::Wire;
use super::{Service, admin, mediafire, mirrorace, mirrored_to, yetishare};

/// What the log says of an answer beside its status. Services attach it to their responses.
#[derive(Clone, Default)]
pub struct Outcome {
    pub account: Option<String>,
    /// The service's own error: its number or its text.
    pub error: Option<String>,
}

/// Who answers a request. Each account of another service than MediaFire is a host of its own, below its name;
/// all that is not below such a name is MediaFire's.
#[derive(Clone, Copy)]
enum Host {
    MediaFire,
    /// By the account's place among the others.
    YetiShare(usize),
    MirrorAce(usize),
    MirroredTo(usize),
}

impl Host {
    fn of(shared: &Shared, path: &str) -> Self {
        let mut hosts = shared.options.accounts.iter().enumerate();
        let found = hosts.find(|(_, account)| {
            account.service != Service::MediaFire && yetishare::inner_path(account, path).is_some()
        });
        match found.map(|(index, account)| (index, account.service)) {
            Some((index, Service::YetiShare)) => Self::YetiShare(index),
            Some((index, Service::MirrorAce)) => Self::MirrorAce(index),
            Some((index, Service::MirroredTo)) => Self::MirroredTo(index),
            Some((_, Service::MediaFire)) | None => Self::MediaFire,
        }
    }

    /// The name under which a request is counted.
    fn name_call(self, shared: &Shared, request: &Request) -> String {
        match self {
            Self::MediaFire => mediafire::name_call(request.method(), request.uri().path()),
            Self::YetiShare(index) => yetishare::name_call(shared, index, request),
            Self::MirrorAce(index) => mirrorace::name_call(shared, index, request.uri().path()),
            Self::MirroredTo(index) => mirrored_to::name_call(shared, index, request.uri().path()),
        }
    }

    /// Whether a call's body is content rather than parameters.
    fn carries_bytes(self, call: &str) -> bool {
        match self {
            Self::MediaFire => mediafire::carries_bytes(call),
            Self::YetiShare(_) => yetishare::carries_bytes(call),
            Self::MirrorAce(_) => mirrorace::carries_bytes(call),
            Self::MirroredTo(_) => mirrored_to::carries_bytes(call),
        }
    }

    async fn answer(
        self,
        shared: &Arc<Shared>,
        call: &str,
        request: Request,
        fault: Option<Fault>,
    ) -> Response {
        match self {
            Self::MediaFire => mediafire::answer(shared, call, request, fault).await,
            Self::YetiShare(index) => yetishare::answer(shared, index, call, request, fault).await,
            Self::MirrorAce(index) => mirrorace::answer(shared, index, call, request, fault).await,
            Self::MirroredTo(index) => mirrored_to::answer(shared, index, call, request, fault).await,
        }
    }
}

/// An answer of JSON.
pub fn told(status: StatusCode, text: String, outcome: Option<Outcome>) -> Response {
    told_as("application/json", status, text, outcome)
}

/// An answer of text of some kind.
pub fn told_as(kind: &'static str, status: StatusCode, text: String, outcome: Option<Outcome>) -> Response {
    let length = HeaderValue::from(text.len());
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(outcome) = outcome {
        response.extensions_mut().insert(outcome);
    }
    response
}

/// A page for people.
pub fn page(html: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=UTF-8")], html).into_response()
}

/// What a web page in place of an answer looks like.
const CHALLENGE: &str = "<!DOCTYPE html><html><head><title>Just a moment...</title></head>\
    <body>Checking your browser before accessing the site.</body></html>";

pub async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
) -> Response {
    if request.uri().path().starts_with("/sandbox/") {
        return admin::answer(&shared, request).await;
    }
    let began = Instant::now();
    let host = Host::of(&shared, request.uri().path());
    let call = host.name_call(&shared, &request);
    let method = request.method().clone();
    let bytes_in = length(request.headers()).unwrap_or(0);
    let request = request.map(|body| shared.calls.count(&call, body));
    let fault = match shared.rate.note(&call) {
        Some(refusal) => Some(refusal),
        None => shared.faults.draw(&call),
    };
    let response = befall(&shared, &wire, host, &call, request, fault).await;
    if !shared.options.latency.is_zero() {
        tokio::time::sleep(shared.options.latency).await;
    }
    if shared.options.log_requests {
        log(&method, &call, &response, bytes_in, began);
    }
    response
}

fn log(method: &Method, call: &str, response: &Response, bytes_in: u64, began: Instant) {
    let outcome = response
        .extensions()
        .get::<Outcome>()
        .cloned()
        .unwrap_or_default();
    let account = outcome.account.as_deref().unwrap_or("-");
    let error = outcome
        .error
        .map(|error| format!(" error {error}"))
        .unwrap_or_default();
    let bytes_out = length(response.headers()).unwrap_or(0);
    // Where nobody reads the log any more, the answers go on.
    let _ = writeln!(
        std::io::stderr(),
        "{method} {call} {account} {}{error} in {bytes_in} out {bytes_out} {} ms",
        response.status().as_u16(),
        began.elapsed().as_millis()
    );
}

async fn befall(
    shared: &Arc<Shared>,
    wire: &Wire,
    host: Host,
    call: &str,
    request: Request,
    fault: Option<Fault>,
) -> Response {
    match fault {
        None => host.answer(shared, call, request, None).await,
        Some(Fault::Status { status, retry_after }) => {
            drain(request, u64::MAX).await;
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            let mut response = (status, "the sandbox was told to answer so\n").into_response();
            if let Some(seconds) = retry_after {
                response
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            response
        }
        Some(Fault::Html) => {
            drain(request, u64::MAX).await;
            page(CHALLENGE)
        }
        Some(Fault::Reset) => match length(request.headers()) {
            Some(length) if host.carries_bytes(call) && length > 0 => {
                drain(request, length / 2).await;
                wire.cut();
                StatusCode::OK.into_response()
            }
            _ => mishaps::break_off(host.answer(shared, call, request, None).await),
        },
        Some(Fault::Truncate) => mishaps::truncate(host.answer(shared, call, request, None).await).await,
        Some(Fault::Stall) => mishaps::stall(host.answer(shared, call, request, None).await),
        Some(Fault::WrongRange) => mishaps::shift_range(host.answer(shared, call, request, None).await),
        Some(Fault::WrongByte) => mishaps::change_a_byte(host.answer(shared, call, request, None).await),
        Some(Fault::LostReply) => {
            let response = host.answer(shared, call, request, None).await;
            wire.cut();
            response
        }
        Some(Fault::LateReply { milliseconds }) => {
            let response = host.answer(shared, call, request, None).await;
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            response
        }
        Some(fault) => {
            if let Some(delay) = fault.delay() {
                tokio::time::sleep(delay).await;
            }
            host.answer(shared, call, request, Some(fault)).await
        }
    }
}

/// Reads the body, up to `most` bytes of it, so that the sender gets to hear the answer.
async fn drain(request: Request, most: u64) {
    let mut body = request.into_body().into_data_stream();
    let mut read = 0;
    while read < most {
        match body.next().await {
            Some(Ok(bytes)) => read += bytes.len() as u64,
            _ => break,
        }
    }
}
