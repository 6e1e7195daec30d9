//! A service wants the secret again: it is given once, and a running mount goes on with it.

use std::fs;
use std::path::{Path, PathBuf};

use lockerfs::sandbox::Account;
use serde_json::json;

use crate::adding::{add, add_media, keys, media};
use crate::home::{Home, wait_for};
use crate::service::Service;

const TOP: &str = "# mine\nupload_delay = \"0s\"\nstop_timeout = \"1s\"\n\n";

#[test]
fn what_waits_for_a_changed_password_says_so_and_goes_on_after_login_without_a_remount() {
    let (service, home) = media(TOP);
    let mount = home.mount(&[]);
    fs::write(mount.path("media/old.txt"), "old").unwrap();
    home.succeeds(&["drain"], "");
    let stored = |name: &str| service.files_dir("media").join(name);
    assert!(stored("old.txt").exists());
    service.change_login(&json!({ "account": "media", "password": "changed" }));
    fs::write(mount.path("media/new.txt"), "new").unwrap();
    fs::remove_file(mount.path("media/old.txt")).unwrap();
    wait_for("both wait for the login", || {
        let pending = mount.status()["pending"].as_array().unwrap().clone();
        pending.len() == 2 && pending.iter().all(|item| item["state"] == "waiting")
    });
    let status = home.run(&["status"]);
    assert_eq!(status.status, 1, "a login needs somebody");
    let status = status.out;
    assert!(status.contains("login refused"), "{status}");
    assert!(
        status.contains("media: run `lockerfs login media`, and what waits for the login goes on\n"),
        "{status}"
    );
    assert!(
        status.contains("new.txt")
            && status.contains("the service refuses the login: run `lockerfs login media` ("),
        "{status}"
    );
    home.refuses(
        &["login", "media"],
        "wrong\n",
        "nothing was changed: check what you gave",
    );
    assert!(!stored("new.txt").exists());
    let told = home.succeeds(&["login", "media"], "changed\n");
    assert!(
        told.starts_with("The login works: demo@example.com on MediaFire.\nThe mount uses it; 2 "),
        "{told}"
    );
    home.succeeds(&["drain"], "");
    assert_eq!(fs::read_to_string(stored("new.txt")).unwrap(), "new");
    assert!(!stored("old.txt").exists());
    assert_eq!(mount.status()["accounts"][0]["state"], "online");
    home.succeeds(&["status"], "");
    assert_eq!(fs::read_to_string(mount.path("media/new.txt")).unwrap(), "new");
    mount.unmount();
    assert_eq!(home.read("media.password"), "changed\n");
}

#[test]
fn the_mount_of_a_host_with_changed_keys_goes_on_with_the_new_ones() {
    let account = Account::yetishare("cloud");
    let service = Service::start(vec![account.clone()]);
    let home = Home::with(TOP);
    let url = service.url("cloud");
    home.succeeds(&add("cloud", "1cloudfile", &url, &[]), &keys(&account));
    let mount = home.mount(&["--account", "cloud"]);
    fs::write(mount.path("before.txt"), "before").unwrap();
    home.succeeds(&["drain"], "");
    let (key1, key2) = ("a".repeat(64), "b".repeat(64));
    service.change_login(&json!({ "account": "cloud", "key1": key1, "key2": key2 }));
    fs::write(mount.path("after.txt"), "after").unwrap();
    wait_for("it waits for the login", || {
        mount.status()["pending"][0]["state"] == "waiting"
    });
    home.refuses(
        &["login", "cloud"],
        &format!("{key1}\n"),
        "standard input has no line for key2",
    );
    home.refuses(
        &["login", "cloud"],
        &format!("{key1}\n{}\n", account.key2),
        "nothing was changed",
    );
    home.succeeds(&["login", "cloud"], &format!("{key1}\n{key2}\n"));
    home.succeeds(&["drain"], "");
    assert!(service.files_dir("cloud").join("after.txt").exists());
    assert_eq!(fs::read_to_string(mount.path("before.txt")).unwrap(), "before");
    mount.unmount();
}

#[test]
fn accounts_that_publish_go_on_with_new_keys_as_well() {
    let (ace, to) = (Account::mirrorace("ace"), Account::mirrored_to("to"));
    let service = Service::start(vec![ace.clone(), to.clone()]);
    let home = Home::with(TOP);
    for (name, kind, input) in [
        (
            "ace",
            "mirrorace",
            format!("{}\n{}\n", ace.api_key, ace.api_token),
        ),
        ("to", "mirrored_to", format!("{}\n", to.api_key)),
    ] {
        let url = service.url(name);
        home.succeeds(
            &["account", "add", name, "--kind", kind, "--base-url", &url],
            &input,
        );
    }
    let mount = home.mount(&[]);
    service.change_login(&json!({ "account": "ace", "api_key": "new-ace", "api_token": "new-token" }));
    service.change_login(&json!({ "account": "to", "api_key": "new-to" }));
    for name in ["ace", "to"] {
        fs::write(mount.path(&format!("{name}/a.txt")), "a").unwrap();
    }
    wait_for("both wait for the login", || {
        let pending = mount.status()["pending"].as_array().unwrap().clone();
        pending.iter().filter(|item| item["state"] == "waiting").count() == 2
    });
    home.succeeds(&["login", "ace"], "new-ace\nnew-token\n");
    home.succeeds(&["login", "to"], "new-to\n");
    home.succeeds(&["drain"], "");
    for name in ["ace", "to"] {
        let links = fs::read_to_string(mount.path(&format!("{name}/links.txt"))).unwrap();
        assert!(links.starts_with("a.txt\thttp"), "{name}: {links}");
    }
    mount.unmount();
}

#[test]
fn a_session_token_is_a_second_way_in_and_is_given_anew_when_it_has_ended() {
    let service = Service::start(vec![Account::mediafire("media")]);
    let home = Home::with(TOP);
    let url = service.url("media");
    let add = add("media", "mediafire", &url, &["--session-token"]);
    home.refuses(&add, "no-token\n", "nothing was changed: check what you gave");
    home.succeeds(
        &add,
        &format!("{}\n", service.session_token("demo@example.com", "demo-password")),
    );
    let mount = home.mount(&["--account", "media"]);
    fs::read_dir(mount.path("")).unwrap().count();
    service.change_login(&json!({ "account": "media" }));
    fs::write(mount.path("a.txt"), "a").unwrap();
    wait_for("it waits for the login", || {
        mount.status()["pending"][0]["state"] == "waiting"
    });
    home.succeeds(
        &["login", "media"],
        &format!("{}\n", service.session_token("demo@example.com", "demo-password")),
    );
    home.succeeds(&["drain"], "");
    assert!(service.files_dir("media").join("a.txt").exists());
    mount.unmount();
}

#[test]
fn a_secret_is_stored_where_the_old_one_was() {
    let (service, home) = media(TOP);
    let url = service.url("media");
    fs::rename(home.path("media.password"), home.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", home.path("media.password")).unwrap();
    let inline = format!(
        "{}\n[accounts.inline]\nkind = \"mediafire\"\nbase_url = \"{url}\"\nemail = \"demo@example.com\" # me\n\
        password = \"demo-password\" # old\n",
        home.read("config.toml")
    );
    fs::write(home.config(), &inline).unwrap();
    service.change_login(&json!({ "account": "media", "password": "changed" }));
    home.succeeds(&["login", "media"], "changed\n");
    assert!(
        home.path("media.password")
            .symlink_metadata()
            .unwrap()
            .is_symlink()
    );
    assert_eq!(home.read("elsewhere"), "changed\n");
    assert_eq!(home.read("config.toml"), inline);
    home.succeeds(&["login", "inline"], "changed\n");
    let expected = inline.replace("password = \"demo-password\"", "password = \"changed\"");
    assert_eq!(home.read("config.toml"), expected);
    home.succeeds(&["account", "check"], "");
}

#[test]
fn the_command_of_an_account_is_run_again_and_nothing_is_asked() {
    let service = Service::start(vec![Account::mediafire("media")]);
    let home = Home::with(TOP);
    let url = service.url("media");
    fs::write(home.path("vault"), "demo-password\n").unwrap();
    let command = format!("cat {}", home.path("vault").display());
    home.succeeds(&add_media("media", &url, &["--password-command", &command]), "");
    let mount = home.mount(&[]);
    fs::read_dir(mount.path("media")).unwrap().count();
    service.change_login(&json!({ "account": "media", "password": "changed" }));
    fs::write(mount.path("media/a.txt"), "a").unwrap();
    wait_for("it waits for the login", || {
        mount.status()["pending"][0]["state"] == "waiting"
    });
    home.refuses(&["login", "media"], "", "nothing was changed");
    fs::write(home.path("vault"), "changed\n").unwrap();
    home.succeeds(&["login", "media"], "");
    home.succeeds(&["drain"], "");
    assert!(service.files_dir("media").join("a.txt").exists());
    mount.unmount();
}

#[test]
fn what_login_cannot_do_is_told_and_changes_nothing() {
    let (_service, home) = media(TOP);
    home.refuses(
        &["login", "medai"],
        "x\n",
        "no account medai; did you mean media?",
    );
    home.refuses(&["login", "media"], "", "standard input has no line for password");
    let before = home.snapshot();
    let variables = [("LOCKERFS_MEDIA_PASSWORD", "demo-password")];
    let ran = home.run_with(&["login", "media"], "demo-password\n", &variables);
    assert_eq!((ran.status, home.snapshot()), (1, before), "{}", ran.out);
    assert!(
        ran.err.contains("LOCKERFS_MEDIA_PASSWORD holds this secret"),
        "{}",
        ran.err
    );
}

#[test]
fn a_mount_whose_environment_holds_the_old_secret_says_so() {
    let (service, home) = media(TOP);
    let variables = [("LOCKERFS_MEDIA_PASSWORD", "demo-password")];
    let ran = home.run_with(&["mount", "--daemon", "mount"], "", &variables);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let mount = home.mounted();
    service.change_login(&json!({ "account": "media", "password": "changed" }));
    let ran = home.run_with(&["login", "media"], "changed\n", &[]);
    assert_eq!(ran.status, 1, "{}", ran.out);
    let told = "the new secret of media is stored, but the mount does not use it: it was started with \
                LOCKERFS_MEDIA_PASSWORD in its environment";
    assert!(ran.err.contains(told), "{}", ran.err);
    mount.unmount();
    assert_eq!(home.read("media.password"), "changed\n");
}

#[test]
fn an_account_that_is_another_one_in_the_config_now_does_not_take_the_place_of_the_mounted_one() {
    let other = Account {
        email: "other@example.com".to_owned(),
        password: "other-password".to_owned(),
        ..Account::mediafire("other")
    };
    let service = Service::start(vec![Account::mediafire("media"), other]);
    let home = Home::with(TOP);
    let url = service.url("media");
    home.succeeds(
        &add_media("media", &url, &[]),
        "demo-password
",
    );
    let mount = home.mount(&[]);
    fs::read_dir(mount.path("media")).unwrap().count();
    let config = home.read("config.toml").replace("demo@", "other@");
    fs::write(home.config(), config).unwrap();
    let ran = home.run_with(&["login", "media"], "other-password\n", &[]);
    assert_eq!(ran.status, 1, "{}", ran.out);
    assert!(
        ran.err
            .contains("the config has another account under the name media"),
        "{}",
        ran.err
    );
    fs::write(mount.path("media/a.txt"), "a").unwrap();
    home.succeeds(&["drain"], "");
    assert!(service.files_dir("media").join("a.txt").exists());
    assert!(!service.files_dir("other").join("a.txt").exists());
    mount.unmount();
}

/// A MediaFire account whose password a command takes out of the vault that is returned, and a YetiShare host.
fn vaulted() -> (Service, Home, PathBuf) {
    let cloud = Account::yetishare("cloud");
    let service = Service::start(vec![Account::mediafire("media"), cloud.clone()]);
    let home = Home::with(TOP);
    let vault = home.path("vault");
    let command = format!("cat {}", vault.display());
    open(&vault);
    let url = service.url("media");
    home.succeeds(&add_media("media", &url, &["--password-command", &command]), "");
    let url = service.url("cloud");
    home.succeeds(&add("cloud", "1cloudfile", &url, &[]), &keys(&cloud));
    (service, home, vault)
}

fn open(vault: &Path) {
    fs::write(vault, "demo-password\n").unwrap();
}

#[test]
fn an_account_whose_secret_cannot_be_had_keeps_no_other_back_and_comes_after_login() {
    let (service, home, vault) = vaulted();
    fs::remove_file(&vault).unwrap();
    let mount = home.mount(&[]);
    fs::write(mount.path("cloud/file.txt"), "of the other").unwrap();
    home.succeeds(&["drain"], "");
    assert!(service.files_dir("cloud").join("file.txt").exists());
    let refused = fs::read_dir(mount.path("media")).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let refused = refused.unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EACCES), "{refused}");
    let status = home.run(&["status"]);
    assert_eq!(status.status, 1, "{}", status.out);
    for told in [
        "login refused",
        "the secret cannot be read: ",
        "accounts.media.password: the command failed",
        "media: run `lockerfs login media`, and what waits for the login goes on\n",
    ] {
        assert!(status.out.contains(told), "{told}: {}", status.out);
    }
    let log = home.read("state/lockerfs.log");
    assert!(log.contains("an account is mounted without its login: "), "{log}");

    open(&vault);
    let told = home.succeeds(&["login", "media"], "");
    assert!(told.contains("The mount uses it"), "{told}");
    fs::write(mount.path("media/new.txt"), "new").unwrap();
    home.succeeds(&["drain"], "");
    assert!(service.files_dir("media").join("new.txt").exists());
    home.succeeds(&["status"], "");
    mount.unmount();
}

#[test]
fn what_waits_for_an_account_is_shown_and_goes_up_when_its_secret_can_be_had_again() {
    let (service, home, vault) = vaulted();
    let mount = home.mount(&[]);
    fs::write(mount.path("media/old.txt"), "old").unwrap();
    home.succeeds(&["drain"], "");
    home.succeeds(&["queue", "pause", "--account", "media"], "");
    fs::write(mount.path("media/new.txt"), "new").unwrap();
    mount.unmount();

    fs::remove_file(&vault).unwrap();
    let mount = home.mount(&[]);
    let entries = fs::read_dir(mount.path("media")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["new.txt", "old.txt"], "what is known is shown");
    assert_eq!(fs::read_to_string(mount.path("media/new.txt")).unwrap(), "new");
    home.succeeds(&["queue", "resume", "--account", "media"], "");
    wait_for("it waits for the login", || {
        mount.status()["pending"][0]["state"] == "waiting"
    });
    open(&vault);
    home.succeeds(&["login", "media"], "");
    home.succeeds(&["drain"], "");
    assert!(service.files_dir("media").join("new.txt").exists());
    mount.unmount();
}

#[test]
fn where_no_secret_can_be_had_nothing_is_mounted() {
    let (_service, home, vault) = vaulted();
    fs::remove_file(&vault).unwrap();
    home.refuses(
        &["mount", "--daemon", "mount", "--account", "media"],
        "",
        "accounts.media.password: the command failed",
    );
}
