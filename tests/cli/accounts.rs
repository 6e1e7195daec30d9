//! Accounts are added, listed, checked, renamed and removed; a command that fails has changed nothing.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, symlink};

use lockerfs::sandbox::Account;

use crate::adding::{add, add_media};
use crate::home::Home;
use crate::service::Service;
use crate::terminal::Terminal;

fn media() -> Service {
    Service::start(vec![Account::mediafire("media")])
}

#[test]
fn an_account_of_each_kind_is_added_with_secrets_from_standard_input() {
    let accounts = vec![
        Account::mediafire("media"),
        Account::yetishare("cloud"),
        Account::yetishare("named"),
        Account::mirrorace("ace"),
        Account::mirrored_to("to"),
    ];
    let service = Service::start(accounts.clone());
    let home = Home::empty();
    let urls: Vec<_> = accounts
        .iter()
        .map(|account| service.url(&account.name))
        .collect();
    let [media, cloud, named, ace, to] = &accounts[..] else {
        panic!()
    };
    let both = |a: &str, b: &str| format!("{a}\n{b}\n");
    let cases: [(&[&str], String); 5] = [
        (
            &["media", "--kind", "mediafire", "--email", &media.email],
            format!("{}\n", media.password),
        ),
        (&["cloud", "--kind", "1cloudfile"], both(&cloud.key1, &cloud.key2)),
        (
            &["named", "--kind", "yetishare", "--username", &named.username],
            format!("{}\n", named.password),
        ),
        (
            &["ace", "--kind", "mirrorace", "--mirrors", "1,2"],
            both(&ace.api_key, &ace.api_token),
        ),
        // The last line needs no end; the password is that of visitors.
        (
            &["to", "--kind", "mirrored_to", "--file-password"],
            format!("{}\nvisitor", to.api_key),
        ),
    ];
    for ((args, input), url) in cases.iter().zip(&urls) {
        let args = [&["account", "add"], *args, &["--base-url", url]].concat();
        let told = home.succeeds(&args, input);
        assert!(told.starts_with(&format!("Added {}: ", args[2])), "{told}");
    }
    let config = home.read("config.toml");
    assert!(config.contains("mirrors = [\"1\", \"2\"]"), "{config}");
    for (_, (mode, _)) in home.snapshot() {
        assert_eq!(mode, 0o600);
    }
    let secrets = [
        "media.password",
        "cloud.key1",
        "cloud.key2",
        "named.password",
        "ace.api_key",
        "ace.api_token",
    ];
    for secret in secrets.iter().chain(&["to.api_key", "to.password"]) {
        assert!(config.contains(&format!("\"{secret}\"")), "{secret}: {config}");
    }
    assert_eq!(home.read("media.password"), format!("{}\n", media.password));
    let checked = home.succeeds(&["account", "check"], "");
    let lines: Vec<_> = checked.lines().collect();
    assert_eq!(lines.len(), 5, "{checked}");
    assert!(
        lines
            .iter()
            .all(|line| line.split_whitespace().nth(1) == Some("ok")),
        "{checked}"
    );
    let listed = home.succeeds(&["account", "list", "--json"], "");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[0]["name"], "ace", "in the order of the names");
    assert_eq!(
        listed[0]["secrets"][0],
        serde_json::json!({ "name": "api_key", "from": "file" })
    );
}

#[test]
fn the_first_account_makes_the_config_and_its_folder_for_the_owner_alone() {
    let service = media();
    let home = Home::with_config_to_be_at("new/folder/config.toml");
    let url = service.url("media");
    let args = add_media("media", &url, &[]);
    home.refuses(&args, "wrong\n", "nothing was changed: check what you gave");
    assert!(!home.path("new").exists(), "a refused login made a folder");
    home.succeeds(&args, "demo-password\n");
    let mode = |path: &str| home.path(path).metadata().unwrap().mode() & 0o777;
    assert_eq!((mode("new"), mode("new/folder")), (0o700, 0o700));
    assert_eq!(
        (mode("new/folder/config.toml"), mode("new/folder/media.password")),
        (0o600, 0o600)
    );
}

#[test]
fn a_config_written_by_hand_keeps_its_comments_and_its_place() {
    let service = media();
    let home = Home::with("# what I like\non_close = \"wait\"   # slow, but sure\n");
    std::fs::rename(home.config(), home.path("elsewhere.toml")).unwrap();
    symlink("elsewhere.toml", home.config()).unwrap();
    let url = service.url("media");
    home.succeeds(&add_media("b", &url, &[]), "demo-password\n");
    home.succeeds(&add_media("a", &url, &[]), "demo-password\n");
    assert!(home.config().symlink_metadata().unwrap().is_symlink());
    let table = |name: &str| {
        format!(
            "\n[accounts.{name}]\nkind = \"mediafire\"\nbase_url = \"{url}\"\nemail = \"demo@example.com\"\n\
            password_file = \"{name}.password\"\n"
        )
    };
    let head = "# what I like\non_close = \"wait\"   # slow, but sure\n";
    assert_eq!(
        home.read("elsewhere.toml"),
        format!("{head}{}{}", table("b"), table("a"))
    );
    home.succeeds(&["account", "remove", "b"], "");
    assert_eq!(home.read("elsewhere.toml"), format!("{head}{}", table("a")));
    assert!(!home.path("b.password").exists() && home.path("a.password").exists());
}

#[test]
fn secrets_come_from_commands_and_from_the_environment_without_being_asked_for() {
    let account = Account::yetishare("cloud");
    let service = Service::start(vec![account.clone()]);
    let home = Home::empty();
    let (url, command) = (service.url("cloud"), format!("echo {}", account.key1));
    let args = add("cloud", "1cloudfile", &url, &["--key1-command", &command]);
    let variables = [("LOCKERFS_CLOUD_KEY2", account.key2.as_str())];
    let ran = home.run_with(&args, "", &variables);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let config = home.read("config.toml");
    assert!(
        config.contains("key1_command = \"echo ") && config.contains("key2_file = \"cloud.key2\""),
        "{config}"
    );
    assert!(!home.path("cloud.key1").exists());
    home.succeeds(&["account", "check", "cloud"], "");
    let args = [&args[..], &["--key2-command", "echo x", "--store", "command"]].concat();
    home.refuses(&args, "", "there is an account cloud already");
}

#[test]
fn what_is_wrong_or_missing_is_told_in_a_sentence_and_changes_nothing() {
    let service = media();
    let url = service.url("media");
    let home = Home::with("# mine\n");
    let add = |more: &[&'static str]| [&["account", "add"], more].concat();
    let cases: [(&[&str], &str); 13] = [
        (
            &[
                "m",
                "--kind",
                "mediafire",
                "--session-token",
                "--password-command",
                "x",
            ],
            "--password-command means nothing",
        ),
        (&[], "say lockerfs account add NAME"),
        (&["m"], "say --kind KIND (one of mediafire, "),
        (&["m", "--kind", "mediafire"], "say --email ADDRESS"),
        (&["m", "--kind", "yetishare"], "say --base-url URL"),
        (
            &["m", "--kind", "mirrorace", "--email", "x"],
            "--email means nothing for this account",
        ),
        (
            &["m", "--kind", "mediafire", "--key1-command", "x", "--email", "x"],
            "--key1-command means nothing",
        ),
        (
            &["m", "--kind", "mirrorace"],
            "standard input has no line for api_key",
        ),
        (
            &["m", "--kind", "mirrorace", "--base-url", "http://example.org"],
            "--base-url: plain http to example.org",
        ),
        (
            &["m", "--kind", "mirrorace", "--mirrors", "a b"],
            "--mirrors: \"a b\" is no mirror",
        ),
        (&["a/b", "--kind", "mirrorace"], "cannot be a directory's name"),
        (
            &["m", "--kind", "mirrorace", "--store", "command"],
            "say --api-key-command COMMAND",
        ),
        (
            &["m", "--kind", "mirrorace", "--store", "keyring"],
            "there is no system keyring here",
        ),
    ];
    for (args, expected) in cases {
        home.refuses(&add(args), "", expected);
    }
    home.refuses(
        &add_media("m", &url, &[]),
        "\n",
        "standard input has no line for password",
    );
    home.refuses(
        &add_media("m", &url, &[]),
        "wrong\n",
        "nothing was changed: check what you gave",
    );
    home.refuses(
        &add_media("m", &url, &["--password-command", "false"]),
        "",
        "the command failed",
    );
    for wrong in [
        &["account", "add", "m", "--kind", "megaupload"][..],
        &["account", "add", "m", "--store", "here"],
        &["account", "remove"],
        &["account", "rename", "a"],
        &["account", "check", "--json"],
        &["login"],
        &["doctor", "all"],
    ] {
        assert_eq!(home.run(wrong).status, 2, "{wrong:?}");
    }
    home.refuses(&["account", "remove", "m"], "", "no account m; there is none");
    home.refuses(
        &["account", "rename", "m", "n"],
        "",
        "no account m; there is none",
    );
    home.refuses(&["account", "check", "m"], "", "no account m; there is none");
    home.refuses(&["login", "m"], "", "no account m; there is none");
    assert!(!home.path("state").exists());
}

#[test]
fn a_file_that_is_there_already_is_not_overwritten_by_a_secret() {
    let service = media();
    let home = Home::empty();
    std::fs::write(home.path("media.password"), "something else").unwrap();
    let url = service.url("media");
    home.refuses(
        &add_media("media", &url, &[]),
        "demo-password\n",
        "media.password: is there already",
    );
    assert_eq!(home.read("media.password"), "something else");
}

#[test]
fn a_config_that_changed_meanwhile_is_left_alone_and_the_secret_is_taken_back() {
    let account = Account::yetishare("cloud");
    let service = Service::start(vec![account.clone()]);
    let home = Home::with("# mine\n");
    let command = format!(
        "echo '# new' >> {}; echo {}",
        home.config().display(),
        account.key2
    );
    let url = service.url("cloud");
    let args = add("cloud", "1cloudfile", &url, &["--key2-command", &command]);
    let ran = home.run_with(&args, &format!("{}\n", account.key1), &[]);
    assert_eq!(ran.status, 1, "{}", ran.out);
    assert!(ran.err.contains("somebody changed it meanwhile"), "{}", ran.err);
    assert_eq!(home.read("config.toml"), "# mine\n# new\n");
    assert!(!home.path("cloud.key1").exists(), "the secret stayed");
}

#[test]
fn a_terminal_is_asked_for_all_of_it_and_never_shows_the_secret() {
    let service = media();
    let home = Home::empty();
    let url = service.url("media");
    let mut terminal = Terminal::run(home.command(&["account", "add", "--base-url", &url]));
    terminal.answer("Name of the account", "media");
    terminal.answer("Kind of the account", "mediafire");
    terminal.answer("E-mail address", "demo@example.com");
    terminal.answer("Password", "demo-password");
    let (status, shown) = terminal.end();
    assert_eq!(status, 0, "{shown}");
    assert!(
        shown.contains("Added media: demo@example.com on MediaFire."),
        "{shown}"
    );
    assert!(
        shown.contains("This is the login of https://www.mediafire.com/"),
        "where to find it: {shown}"
    );
    assert!(!shown.contains("demo-password"), "{shown}");
    home.succeeds(&["account", "check", "media"], "");
}

#[test]
fn control_c_at_the_question_changes_nothing_and_leaves_the_terminal_as_it_was() {
    let service = media();
    let home = Home::empty();
    let url = service.url("media");
    let mut terminal = Terminal::run(home.command(&add_media("media", &url, &[])));
    terminal.wait_for("Password: ");
    wait_until_hidden(&terminal);
    terminal.interrupt();
    let (status, shown) = terminal.end();
    assert_eq!(status, 1, "{shown}");
    assert!(
        shown.contains("stopped by SIGINT; nothing was changed"),
        "{shown}"
    );
    assert!(home.snapshot().is_empty());
}

#[test]
fn control_c_while_the_service_is_asked_changes_nothing() {
    let home = Home::with("# mine\n");
    // Takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let before = home.snapshot();
    let mut terminal = Terminal::run(home.command(&add_media("media", &url, &[])));
    terminal.answer("Password", "demo-password");
    terminal.wait_for("Logging in ...");
    terminal.interrupt();
    let (status, shown) = terminal.end();
    assert_eq!(status, 1, "{shown}");
    assert!(
        shown.contains("stopped by SIGINT; nothing was changed"),
        "{shown}"
    );
    assert_eq!(home.snapshot(), before);
}

fn wait_until_hidden(terminal: &Terminal) {
    crate::home::wait_for("what is typed is hidden", || !terminal.echoes());
}

#[test]
fn a_check_of_several_accounts_has_a_line_for_each_and_fails_where_one_does() {
    let service = media();
    let home = Home::empty();
    let url = service.url("media");
    home.succeeds(&add_media("good", &url, &[]), "demo-password\n");
    home.succeeds(&add_media("bad", &url, &[]), "demo-password\n");
    std::fs::write(home.path("bad.password"), "hunter2\n").unwrap();
    let ran = home.run(&["account", "check"]);
    assert_eq!((ran.status, ran.err.as_str()), (1, ""), "{}", ran.out);
    let lines: Vec<_> = ran.out.lines().collect();
    assert!(
        lines[0].starts_with("bad   fail  account bad: ") && lines[0].contains("`lockerfs login bad`"),
        "{}",
        ran.out
    );
    assert!(
        lines[1].starts_with("good  ok    demo@example.com on MediaFire, "),
        "{}",
        ran.out
    );
    assert!(lines.len() == 2 && !ran.out.contains("hunter2"), "{}", ran.out);
}

/// Long enough that nothing is sent before the test says so.
const PAUSED: &str = "stop_timeout = \"1s\"\n";

#[test]
fn a_renamed_account_keeps_what_waits_and_is_pinned_and_published() {
    let (account, ace) = (Account::mediafire("media"), Account::mirrorace("ace"));
    let service = Service::start(vec![account.clone(), ace.clone()]);
    let home = Home::with(&format!(
        "{PAUSED}upload_delay = \"0s\"\n\n[accounts.media]  # drive\nkind = \"mediafire\"\nbase_url = \"{}\"\n\
        email = \"{}\"\npassword = \"{}\"\n\n[accounts.ace]\nkind = \"mirrorace\"\nbase_url = \"{}\"\npin = true\n\
        api_key = \"{}\"\napi_token = \"{}\"\n",
        service.url("media"),
        account.email,
        account.password,
        service.url("ace"),
        ace.api_key,
        ace.api_token
    ));
    let mount = home.mount(&[]);
    std::fs::write(mount.path("ace/pinned.txt"), "pinned").unwrap();
    home.succeeds(&["drain"], "");
    home.succeeds(&["queue", "pause", "--account", "media"], "");
    std::fs::write(mount.path("media/waits.txt"), "waits").unwrap();
    home.refuses(
        &["account", "rename", "media", "drive"],
        "",
        "run `lockerfs unmount ",
    );
    home.refuses(&["account", "remove", "media"], "", "media is mounted at ");
    mount.unmount();
    home.refuses(
        &["account", "remove", "media"],
        "",
        "1 file or change of media are on this machine alone",
    );
    home.refuses(
        &["account", "rename", "media", "ace"],
        "",
        "there is an account ace already",
    );
    let unnamed = ["account", "rename", "media", "a/b"];
    home.refuses(&unnamed, "", "cannot be a directory's name");
    let before = home.read("config.toml");
    home.succeeds(&["account", "rename", "media", "drive"], "");
    home.succeeds(&["account", "rename", "ace", "public"], "");
    let expected = before
        .replace("accounts.media", "accounts.drive")
        .replace("accounts.ace", "accounts.public");
    assert_eq!(home.read("config.toml"), expected);
    // So that what was published can come from the pinned copy alone.
    std::fs::remove_dir_all(home.path("cache")).unwrap();
    let mount = home.mount(&[]);
    assert_eq!(
        std::fs::read_to_string(mount.path("public/pinned.txt")).unwrap(),
        "pinned"
    );
    assert!(
        std::fs::read_to_string(mount.path("public/links.txt"))
            .unwrap()
            .contains("pinned.txt\thttp")
    );
    assert_eq!(
        std::fs::read_to_string(mount.path("drive/waits.txt")).unwrap(),
        "waits"
    );
    assert_eq!(mount.status()["accounts"][0]["paused"], true);
    home.succeeds(&["queue", "resume", "--account", "drive"], "");
    home.succeeds(&["drain"], "");
    let stored = service.files_dir("media").join("waits.txt");
    assert_eq!(std::fs::read_to_string(stored).unwrap(), "waits");
    mount.unmount();
}

#[test]
fn a_removed_account_leaves_what_waits_only_by_force_and_an_account_of_its_name_goes_on_with_it() {
    let service = media();
    let home = Home::with(PAUSED);
    let url = service.url("media");
    home.succeeds(&add_media("media", &url, &[]), "demo-password\n");
    home.succeeds(&add_media("other", &url, &[]), "demo-password\n");
    let mount = home.mount(&[]);
    home.succeeds(&["queue", "pause"], "");
    std::fs::write(mount.path("media/waits.txt"), "waits").unwrap();
    mount.unmount();
    home.refuses(&["account", "remove", "media"], "", "say --force to keep them");
    let told = home.succeeds(&["account", "remove", "media", "--force"], "");
    assert!(
        told.contains("for an account of the same name: 1 file."),
        "{told}"
    );
    home.refuses(
        &["account", "rename", "other", "media"],
        "",
        "still has files of an account media",
    );
    home.succeeds(&add_media("media", &url, &[]), "demo-password\n");
    let mount = home.mount(&["--account", "media"]);
    home.succeeds(&["drain"], "");
    drop(mount);
    assert!(service.files_dir("media").join("waits.txt").exists());
    let told = home.succeeds(&["account", "remove", "media"], "");
    assert!(told.contains("Its 1 secret is gone."), "{told}");
    assert!(!home.path("media.password").exists() && home.path("other.password").exists());
}
