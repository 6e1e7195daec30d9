//! What the services' calls are made of alike: urlencoded parameters, and links that come back in answers or are told
//! to a service.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::{ErrorKind, ProviderError, Result, Retry};
use crate::http::check_url;

/// All that RFC 3986 leaves unreserved stays; the rest is encoded, so that no client or server on the way
/// has a reason to alter the text that a signature may cover.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Control characters, and what sites of this make cut out of names: quotes, tags, the path that a backslash is
/// taken for.
pub(super) const FORBIDDEN: &str = "\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\t\n\u{b}\u{c}\r\u{e}\u{f}\u{10}\u{11}\u{12}\u{13}\
    \u{14}\u{15}\u{16}\u{17}\u{18}\u{19}\u{1a}\u{1b}\u{1c}\u{1d}\u{1e}\u{1f}\u{7f}\"'<>\\";

/// The parameters of a call as urlencoded text, in the order given. It may hold secrets, so it has no `Debug`.
#[derive(Clone, Default)]
pub(super) struct Params(String);

impl Params {
    pub(super) fn new() -> Self {
        Params::default()
    }

    #[must_use]
    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(key);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, ENCODED));
        self
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }

    pub(super) fn as_text(&self) -> &str {
        &self.0
    }
}

/// A link as a service told it. Services still write http in links that they serve by https as well.
pub(super) fn link(operation: &'static str, text: &str, base: &Url) -> Result<Url> {
    let unusable =
        |message: String| ProviderError::new(ErrorKind::Unexpected, Retry::Never, operation, message);
    let mut url =
        Url::parse(text.trim()).map_err(|error| unusable(format!("the link is no URL: {error}")))?;
    if url.scheme() == "http" && base.scheme() == "https" {
        url.set_scheme("https")
            .map_err(|()| unusable("the link cannot be https".to_owned()))?;
    }
    check_url(&url).map_err(|error| unusable(error.to_string()))?;
    Ok(url)
}

/// A link as it is told to a service that is to fetch what stands there: nothing in it proves who we are.
pub(super) fn told_link<'a>(operation: &'static str, link: &'a Url) -> Result<&'a str> {
    let is_plain = matches!(link.scheme(), "http" | "https") && link.has_host();
    if is_plain && link.username().is_empty() && link.password().is_none() {
        return Ok(link.as_str());
    }
    let message = "the link is none that a service can be told";
    Err(ProviderError::new(
        ErrorKind::InvalidArgument,
        Retry::Never,
        operation,
        message,
    ))
}

/// The name at a link's end, which a service that asks for none gives to the file.
pub(super) fn name_in(link: &Url) -> Option<String> {
    let last = link.path_segments()?.next_back()?;
    let name = percent_decode_str(last).decode_utf8().ok()?;
    (!name.is_empty()).then(|| name.into_owned())
}

/// A text of a service about a link that it was told, without the link: whoever holds that reads the file.
pub(super) fn without_links(text: &str) -> String {
    let words = text.split_whitespace();
    let plain = words.map(|word| if word.contains("//") { "[...]" } else { word });
    plain.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_in_the_order_given() {
        let params = Params::new().with("a", "x y&ü").with("b", "-._~");
        assert_eq!(params.as_text(), "a=x%20y%26%C3%BC&b=-._~");
    }

    #[test]
    fn a_link_that_is_told_on_proves_nothing_and_is_never_repeated() {
        let told = |text: &str| told_link("x", &text.parse().unwrap()).map(str::to_owned);
        let link = "https://host.example/a/b%20c?t=1";
        assert_eq!(told(link).unwrap(), link);
        for bad in [
            "https://me@host.example/f",
            "https://me:secret@host.example/f",
            "file:///f",
        ] {
            let error = told(bad).unwrap_err();
            assert_eq!(error.retry, Retry::Never, "{bad}");
            assert!(!error.to_string().contains("host.example"), "{error}");
        }
        assert_eq!(name_in(&link.parse().unwrap()).unwrap(), "b c");
        assert_eq!(name_in(&"https://host.example/".parse().unwrap()), None);
        assert_eq!(
            without_links("cannot get https://host.example/a/f?t=1: 404"),
            "cannot get [...] 404"
        );
    }

    #[test]
    fn a_link_goes_by_https_where_the_service_does() {
        let link = |text, base: &str| super::link("x/y", text, &base.parse().unwrap()).map(String::from);
        assert_eq!(
            link(" http://host.example/f?t=1", "https://host.example/").unwrap(),
            "https://host.example/f?t=1"
        );
        assert_eq!(
            link("http://127.0.0.1:1/f", "http://127.0.0.1:1/").unwrap(),
            "http://127.0.0.1:1/f"
        );
        for bad in ["", "no url", "ftp://host.example/f", "http://host.example/f"] {
            assert!(link(bad, "http://127.0.0.1:1/").is_err(), "{bad}");
        }
    }
}
