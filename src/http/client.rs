//! What both clients share: TLS, the rule against plain HTTP.

use std::net::IpAddr;
use std::sync::Once;

use url::{Host, Url};

use super::error::{HttpError, HttpErrorKind};

/// A URL that lockerfs does not talk to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InsecureUrl(String);

/// Lets `https` pass, and plain `http` to loopback (`localhost` or a loopback address) only.
pub fn check_url(url: &Url) -> Result<(), InsecureUrl> {
    let host = url
        .host()
        .ok_or_else(|| InsecureUrl(format!("the URL {} has no host", url.scheme())))?;
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(&host) => Ok(()),
        "http" => Err(InsecureUrl(format!(
            "plain http to {host} would send secrets in the clear: use https (http is for loopback only)"
        ))),
        other => Err(InsecureUrl(format!(
            "{other} is not a scheme lockerfs speaks: use https"
        ))),
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(address) => IpAddr::V4(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).is_loopback(),
    }
}

/// The client of a builder. It fails where the system has no certificates to check servers by.
pub(super) fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, HttpError> {
    builder.build().map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let message = format!(
            "cannot set up TLS: {cause}; are the system's certificates installed (package ca-certificates)?"
        );
        HttpError::new(HttpErrorKind::Connect, message)
    })
}

/// A client builder with our TLS and no redirects of its own.
pub(super) fn builder() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    // An error means that a provider is installed already, which serves as well.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("lockerfs/", env!("CARGO_PKG_VERSION")))
}
