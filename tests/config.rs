//! What a config may say, and what a person reads when it says something else.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockerfs::config::{Config, ConfigError, OnClose, Service};
use secrecy::ExposeSecret;
use tempfile::TempDir;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/config.toml"), text)
}

fn refusal(text: &str) -> String {
    parse(text).expect_err("must be refused").to_string()
}

fn written(directory: &TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, text).expect("write");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    path
}

const MEDIA: &str = "[accounts.media]\nkind = \"mediafire\"\nemail = \"me@example.org\"\n";

fn keys(kind: &str) -> String {
    format!("[accounts.cloud]\nkind = \"{kind}\"\nkey1 = \"one\"\nkey2_file = \"two\"\n")
}

#[test]
fn the_presets_know_where_their_hosts_are_and_other_hosts_must_be_told() {
    for (kind, url) in [
        ("1cloudfile", "https://1cloudfile.com/api/v2/"),
        ("koramaup", "https://koramaup.com/api/v2/"),
    ] {
        let config = parse(&keys(kind)).expect("a good config");
        let [account] = config.accounts.as_slice() else {
            panic!("one account")
        };
        assert_eq!((account.kind, account.base_url.as_str()), (kind, url));
        assert!(matches!(account.service, Service::YetiShare(_)));
    }
    assert!(refusal(&keys("yetishare")).contains("base_url"));
    let other = format!(
        "{}base_url = \"https://host.example/api/v2\"\n",
        keys("yetishare")
    );
    let config = parse(&other).expect("a good config");
    assert_eq!(
        config.accounts[0].base_url.as_str(),
        "https://host.example/api/v2/"
    );
}

#[test]
fn a_yetishare_account_has_both_keys_or_a_user_name() {
    let account = |fields: &str| format!("[accounts.cloud]\nkind = \"koramaup\"\n{fields}");
    assert!(refusal(&account("")).contains("key1_file and key2_file"));
    assert!(refusal(&account("key1 = \"a\"\n")).contains("no key2"));
    assert!(refusal(&account("key2 = \"a\"\n")).contains("no key1"));
    let both = "key1 = \"a\"\nkey2 = \"b\"\nusername = \"me\"\n";
    assert!(refusal(&account(both)).contains("leave one"));
    assert!(parse(&account("username = \"me\"\npassword = \"p\"\n")).is_ok());
}

#[test]
fn options_at_the_top_hold_for_accounts_that_do_not_override_them() {
    let config = parse(&format!(
        "on_close = \"wait\"\nupload_delay = \"50ms\"\ndrain_timeout = \"2m\"\n{MEDIA}\
         [accounts.other]\nkind = \"mediafire\"\nemail = \"o@example.org\"\non_close = \"queue\"\ntransfers = 9\n"
    ))
    .expect("a good config");
    let [media, other] = config.accounts.as_slice() else {
        panic!("two accounts")
    };
    assert_eq!(
        (media.name.as_str(), media.kind, media.options.on_close),
        ("media", "mediafire", OnClose::Wait)
    );
    assert_eq!(
        (other.options.on_close, other.options.workers),
        (OnClose::Queue, 9)
    );
    assert_eq!(other.options.upload_delay, Duration::from_millis(50));
    assert_eq!(
        config.mount.stop_timeout,
        Duration::from_secs(120),
        "by its older name"
    );
    assert_eq!(config.mount.reserve, 256 << 20);
}

#[test]
fn the_cache_has_a_size_or_there_is_none() {
    let size = |top: &str| {
        parse(&format!("{top}{MEDIA}"))
            .expect("a good config")
            .mount
            .cache_size
    };
    assert_eq!(size(""), 10 << 30);
    assert_eq!(size("cache_size = \"2.5GB\"\n"), 2_500_000_000);
    assert_eq!(size("cache_size = \"0\"\n"), 0);
    assert!(refusal(&format!("cache_size = \"1MiB\"\n{MEDIA}")).contains("cache_size: must be at least"));
    assert!(refusal(&format!("{MEDIA}cache_size = \"1GiB\"\n")).contains("cache_size"));
}

#[test]
fn the_pace_of_uploads_has_defaults_an_older_name_and_an_own_budget_of_calls() {
    let options = |top: &str, account: &str| {
        let config = parse(&format!("{top}{MEDIA}{account}")).expect("a good config");
        config.accounts[0].options.clone()
    };
    let plain = options("", "");
    assert_eq!((plain.workers, plain.max_rate), (12, None));
    assert!(plain.upload_calls_per_second > plain.calls_per_second);
    assert_eq!(options("", "transfers = 3\n").workers, 3);
    assert_eq!(options("transfers = 3\n", "workers = 7\n").workers, 7);
    let gentle = options("calls_per_second = 2\n", "");
    assert_eq!(
        (gentle.calls_per_second, gentle.upload_calls_per_second),
        (2.0, 2.0)
    );
    // Who sets a limit means each second, unless a burst is given.
    assert_eq!([plain.burst, gentle.burst], [300, 2]);
    assert_eq!(options("calls_per_second = 2\n", "burst = 9\n").burst, 9);
    assert_eq!(options("burst = 9\n", "calls_per_second = 2\n").burst, 9);
    let mixed = options("calls_per_second = 2\n", "upload_calls_per_second = 9\n");
    assert_eq!(
        (mixed.calls_per_second, mixed.upload_calls_per_second),
        (2.0, 9.0)
    );
    assert_eq!(options("max_rate = \"2MB\"\n", "").max_rate, Some(2_000_000));
    assert_eq!(
        options("max_rate = \"2MB\"\n", "max_rate = \"0\"\n").max_rate,
        None
    );
    assert!(refusal(&format!("{MEDIA}max_rate = \"10\"\n")).contains("max_rate: must be at least"));
}

#[test]
fn a_mediafire_account_has_defaults_for_all_but_the_login() {
    let config = parse(MEDIA).expect("a good config");
    assert_eq!(config.accounts[0].base_url.as_str(), "https://www.mediafire.com/");
    let Some(Service::MediaFire(account)) = config.accounts.first().map(|account| &account.service) else {
        panic!("a MediaFire account")
    };
    assert_eq!((account.app_id.as_str(), account.token_version), ("42511", 2));
}

#[test]
fn an_unknown_key_is_told_with_its_line_and_what_was_meant() {
    assert_eq!(
        refusal("\non_clsoe = \"wait\"\n"),
        "/etc/config.toml:2: on_clsoe: unknown key; did you mean on_close?"
    );
    let text = refusal(&format!("{MEDIA}pasword = \"hunter2\"\n"));
    assert!(
        text.ends_with("accounts.media.pasword: unknown key; did you mean password?"),
        "{text}"
    );
    assert!(!text.contains("hunter2"));
}

#[test]
fn an_unknown_kind_is_told_with_the_known_ones() {
    let text = refusal("[accounts.x]\nkind = \"mediafired\"\n");
    assert!(
        text.contains("unknown account kind \"mediafired\"; did you mean mediafire?"),
        "{text}"
    );
    assert!(refusal("[accounts.x]\nkind = \"zippyshare\"\n").contains("(known kinds: mediafire"));
}

#[test]
fn wrong_values_are_told_with_the_key() {
    let cases = [
        (
            "on_close = \"never\"",
            "on_close: \"never\" is not one of \"queue\", \"wait\"",
        ),
        ("upload_delay = \"soon\"", "upload_delay: \"soon\" is no duration"),
        ("transfers = 0", "transfers: must be a number from 1"),
        ("transfers = true", "transfers: must be a number from 1"),
        ("on_close = 5", "on_close: must be a text in quotes"),
        ("accounts = 5", "accounts: must be a table"),
        ("[accounts]\nmedia = 5", "accounts.media: must be a table"),
        (
            "[accounts.\"a/b\"]\nkind = \"mediafire\"",
            "cannot be a directory's name",
        ),
        ("[accounts.x]\nemail = \"a\"", "accounts.x: has no kind"),
        ("[accounts.x]\nkind = \"mediafire\"", "accounts.x: has no email"),
    ];
    for (config, expected) in cases {
        let text = refusal(config);
        assert!(text.contains(expected), "{config}: {text}");
    }
}

#[test]
fn what_is_not_toml_is_told_without_quoting_the_line() {
    let text = refusal("a = 1\npassword = \"hunter2\nb = 2\n");
    assert!(text.starts_with("/etc/config.toml:2: is not TOML"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn plain_http_is_for_loopback_only() {
    assert!(parse(&format!("{MEDIA}base_url = \"http://127.0.0.1:8080\"\n")).is_ok());
    let text = refusal(&format!("{MEDIA}base_url = \"http://example.org/\"\n"));
    assert!(
        text.contains("plain http to example.org would send secrets in the clear"),
        "{text}"
    );
    assert!(refusal(&format!("{MEDIA}base_url = \"https://u:p@example.org/\"\n")).contains("credentials"));
}

#[test]
fn a_config_that_others_can_read_is_refused() {
    let directory = TempDir::new().expect("a folder");
    let path = written(&directory, "config.toml", MEDIA, 0o644);
    let text = Config::load(&path).expect_err("must be refused").to_string();
    assert!(
        text.contains(&format!("run `chmod 600 {}`", path.display())),
        "{text}"
    );
    let path = written(&directory, "config.toml", MEDIA, 0o600);
    assert_eq!(Config::load(&path).expect("a good config").accounts.len(), 1);
}

#[test]
fn a_missing_config_says_what_to_do() {
    let text = Config::load(Path::new("/nonexistent/config.toml"))
        .expect_err("must fail")
        .to_string();
    assert!(text.contains("there is no config file yet"), "{text}");
}

async fn password(directory: &TempDir, line: &str) -> Result<String, String> {
    let path = directory.path().join("config.toml");
    let config = Config::parse(&path, &format!("{MEDIA}{line}\n")).map_err(|e| e.to_string())?;
    let Some(Service::MediaFire(account)) = config.accounts.first().map(|account| &account.service) else {
        panic!("a MediaFire account")
    };
    assert!(!format!("{account:?}").contains("hunter2"), "a secret in Debug");
    let secret = account.password.require().await.map_err(|e| e.to_string())?;
    Ok(secret.expose_secret().to_owned())
}

#[tokio::test]
async fn a_secret_comes_from_the_config_a_file_or_a_command() {
    let directory = TempDir::new().expect("a folder");
    written(&directory, "media.secret", "hunter2\nmore\n", 0o600);
    for line in [
        "password = \"hunter2\"",
        "password_file = \"media.secret\"",
        "password_command = \"echo hunter2; echo more\"",
    ] {
        assert_eq!(
            password(&directory, line).await.as_deref(),
            Ok("hunter2"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_secret_that_is_not_to_be_had_says_why() {
    let directory = TempDir::new().expect("a folder");
    written(&directory, "open.secret", "hunter2\n", 0o644);
    written(&directory, "empty.secret", "\n", 0o600);
    let cases = [
        (
            "",
            "is missing: give password, password_file, password_command or password_keyring there, or set \
             LOCKERFS_MEDIA_PASSWORD",
        ),
        ("password_file = \"open.secret\"", "run `chmod 600"),
        ("password_file = \"empty.secret\"", "first line is empty"),
        ("password_file = \"no.secret\"", "No such file"),
        ("password_command = \"exit 3\"", "exit status: 3"),
        ("password_command = \"true\"", "printed an empty first line"),
        (
            "password_file = \"x\"\npassword_keyring = \"y\"",
            "both password_file and password_keyring are given",
        ),
        (
            "password = \"hunter2\"\npassword_file = \"x\"",
            "both password and password_file are given",
        ),
    ];
    for (line, expected) in cases {
        let text = password(&directory, line).await.expect_err("must fail");
        assert!(text.contains(expected), "{line}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
