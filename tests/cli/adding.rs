//! Adding an account, where that is not what is tried out.

use lockerfs::sandbox::Account;

use crate::home::Home;
use crate::service::Service;

/// The command that adds an account. Its secrets come from standard input, unless `more` says otherwise.
pub fn add<'a>(name: &'a str, kind: &'a str, url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let known = ["account", "add", name, "--kind", kind, "--base-url", url];
    [&known[..], more].concat()
}

/// As [`add`], of the MediaFire account that the sandbox has.
pub fn add_media<'a>(name: &'a str, url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let more = [&["--email", "demo@example.com"][..], more].concat();
    add(name, "mediafire", url, &more)
}

/// Both keys of a YetiShare account, as lines of standard input.
pub fn keys(account: &Account) -> String {
    format!("{}\n{}\n", account.key1, account.key2)
}

/// A MediaFire account, and a home whose config begins with `top` and holds it.
pub fn media(top: &str) -> (Service, Home) {
    let service = Service::start(vec![Account::mediafire("media")]);
    let home = Home::with(top);
    home.succeeds(&add_media("media", &service.url("media"), &[]), "demo-password\n");
    (service, home)
}
