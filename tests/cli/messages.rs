//! What a person reads when something is wrong, and the exit statuses that scripts rely on.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use lockerfs::sandbox::{Account, Options, Sandbox};
use tempfile::TempDir;

use crate::home::Home;

const MEDIA: &str =
    "[accounts.media]\nkind = \"mediafire\"\nemail = \"me@example.org\"\npassword = \"hunter2\"\n";

#[test]
fn wrong_use_is_status_2_and_help_is_0() {
    let home = Home::with(MEDIA);
    for args in [
        &["mount"][..],
        &["fly"],
        &["mount", "--no-such-flag", "x"],
        &[],
        &["sandbox"],
    ] {
        assert_eq!(home.run(args).status, 2, "{args:?}");
    }
    for args in [
        &["--help"][..],
        &["--version"],
        &["mount", "--help"],
        &["account", "--help"],
    ] {
        assert_eq!(home.run(args).status, 0, "{args:?}");
    }
    let wrong = home.run(&["sandbox", "--data", "x", "--latency", "soon"]);
    assert_eq!(wrong.status, 2);
    assert!(wrong.err.contains("write for example \"50ms\""), "{}", wrong.err);
}

#[test]
fn a_config_that_cannot_be_used_is_told_before_anything_is_done() {
    let home = Home::with("[accounts.media]\nkind = \"megaupload\"\npassword = \"hunter2\"\n");
    home.fails(
        &["mount", "mount"],
        "unknown account kind \"megaupload\" (known kinds: mediafire",
    );
    let home = Home::with(&format!("{MEDIA}emial = \"x\"\n"));
    home.fails(
        &["mount", "mount"],
        "config.toml:5: accounts.media.emial: unknown key; did you mean email?",
    );
    home.fails(&["account", "list"], "did you mean email?");
    let home = Home::with("");
    home.fails(
        &["mount", "mount"],
        "has no accounts yet: run `lockerfs account add`",
    );
    std::fs::remove_file(home.config()).unwrap();
    home.fails(&["mount", "mount"], "there is no config file yet");
    let home = Home::with(MEDIA);
    std::fs::set_permissions(home.config(), Permissions::from_mode(0o640)).unwrap();
    home.fails(&["mount", "mount"], "run `chmod 600 ");
    assert!(
        !home.path("state").exists(),
        "a state directory was made for nothing"
    );
}

#[test]
fn a_mount_point_that_cannot_be_used_is_told_with_what_to_do() {
    let home = Home::with(MEDIA);
    for daemon in [&[][..], &["--daemon"]] {
        let mount = |place: &'static str| [&["mount", place][..], daemon].concat();
        home.fails(&mount("nowhere"), "nowhere does not exist: run `mkdir -p ");
        home.fails(&mount("config.toml"), "config.toml is not a directory");
        home.fails(&mount("/proc"), "/proc is taken by a mount of proc");
    }
    home.fails(
        &["mount", "mount", "--account", "medai"],
        "no account medai; did you mean media?",
    );
}

#[test]
fn without_a_mount_status_reads_the_journal_and_the_rest_says_so() {
    let home = Home::with(MEDIA);
    let status = home.run(&["status"]);
    assert_eq!(status.status, 0, "{}", status.err);
    assert!(
        status.out.starts_with("No mount runs with the state directory "),
        "{}",
        status.out
    );
    let json = home.run(&["status", "--json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["running"], &json["pending"], &json["totals"]["files"]),
        (&false.into(), &serde_json::json!([]), &0.into()),
        "{json}"
    );
    assert!(!home.path("state").exists(), "status made a state directory");
    home.fails(&["drain"], "no mount runs with the state directory ");
    home.fails(&["unmount", "mount"], "nothing is mounted at ");
    home.fails(&["unmount", "/proc"], "is proc, not lockerfs");
}

#[test]
fn account_list_shows_no_secret() {
    let listed = Home::with(MEDIA).run(&["account", "list"]);
    assert_eq!(listed.status, 0, "{}", listed.err);
    assert!(
        listed
            .out
            .contains("media  mediafire  me@example.org  https://www.mediafire.com/"),
        "{}",
        listed.out
    );
    assert!(!listed.out.contains("hunter2"));
}

#[test]
fn account_check_tells_owner_and_quota_or_the_failure() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let data = TempDir::new().unwrap();
    let account = Account::mediafire("media");
    let options = Options {
        accounts: vec![account.clone()],
        ..Options::new(data.path())
    };
    let sandbox = runtime.block_on(Sandbox::start(options)).unwrap();
    let config = |password: &str| {
        let (url, email) = (sandbox.base_url("media"), &account.email);
        format!(
            "[accounts.media]\nkind = \"mediafire\"\nbase_url = \"{url}\"\nemail = \"{email}\"\npassword = \"{password}\"\n"
        )
    };
    let checked = Home::with(&config(&account.password)).run(&["account", "check", "media"]);
    assert_eq!(checked.status, 0, "{}", checked.err);
    assert!(checked.out.starts_with("The login works: "), "{}", checked.out);
    assert!(checked.out.contains(" of 53.7 GB\n"), "{}", checked.out);
    let wrong = Home::with(&config("hunter2"));
    wrong.fails(
        &["account", "check", "media"],
        "run `lockerfs login media` to give its secret anew",
    );
    runtime.block_on(sandbox.stop());
    wrong.fails(
        &["account", "check", "media"],
        "is the network up, and the service?",
    );
}

#[test]
fn a_system_without_certificates_is_told_which_package_brings_them() {
    let home = Home::with(MEDIA);
    let ran = home
        .command(&["account", "check", "media"])
        .env("SSL_CERT_FILE", "/dev/null")
        .env("SSL_CERT_DIR", "/dev/null")
        .output()
        .unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{told}");
    assert!(told.contains("package ca-certificates"), "{told}");
}
