//! Secrets in the system's keyring: a real one on a bus of its own.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use lockerfs::sandbox::Account;

use crate::adding::{add as add_to, add_media, keys};
use crate::bus::Bus;
use crate::home::{Home, Ran};
use crate::service::Service;

/// Longer than any deadline for what asks nobody, and shorter than a person would call it hung.
const AT_ONCE: Duration = Duration::from_secs(40);

fn media() -> (Service, String) {
    let service = Service::start(vec![Account::mediafire("media")]);
    let url = service.url("media");
    (service, url)
}

fn run(home: &Home, bus: &str, args: &[&str], input: &str) -> Ran {
    let began = Instant::now();
    let ran = home.run_with(args, input, &[("DBUS_SESSION_BUS_ADDRESS", bus)]);
    assert!(began.elapsed() < AT_ONCE, "{args:?} took {:?}", began.elapsed());
    ran
}

fn add(home: &Home, bus: &str, url: &str, more: &[&str], input: &str) -> Ran {
    run(home, bus, &add_media("media", url, more), input)
}

#[track_caller]
fn assert_refused(ran: &Ran, expected: &str) {
    assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{}", ran.err);
    assert!(
        ran.err.contains(expected) && ran.err.lines().count() == 1,
        "{}",
        ran.err
    );
}

#[test]
fn a_secret_goes_to_the_keyring_changes_there_and_leaves_it_with_its_account() {
    let (service, url) = media();
    let (bus, home) = (Bus::with_keyring(), Home::empty());
    let address = bus.address();
    assert_eq!(add(&home, &address, &url, &[], "demo-password\n").status, 0);
    assert_eq!(bus.entries(), 1);
    let config = home.read("config.toml");
    assert!(
        config.contains("password_keyring = \"media.password."),
        "{config}"
    );
    assert_eq!(home.snapshot().len(), 1, "a file holds a secret");
    let check = |name: &str| run(&home, &address, &["account", "check", name], "").status;
    assert_eq!(check("media"), 0);
    assert_eq!(
        run(&home, &address, &["account", "rename", "media", "drive"], "").status,
        0
    );
    assert_eq!(check("drive"), 0, "a rename lost the secret");
    service.change_login(&serde_json::json!({ "account": "media", "password": "changed" }));
    assert_eq!(check("drive"), 1);
    let wrong = run(&home, &address, &["login", "drive"], "wrong\n");
    assert_refused(&wrong, "nothing was changed");
    let login = run(&home, &address, &["login", "drive"], "changed\n");
    assert_eq!(login.status, 0, "{}", login.err);
    assert_eq!((check("drive"), bus.entries()), (0, 1));
    let doctor = run(&home, &address, &["doctor"], "");
    assert!(
        doctor.out.contains("keyring                answers"),
        "{}",
        doctor.out
    );
    assert_eq!(
        run(&home, &address, &["account", "remove", "drive"], "").status,
        0
    );
    assert_eq!(bus.entries(), 0, "the entry stayed");
}

#[test]
fn what_fails_after_the_keyring_took_a_secret_takes_it_out_again() {
    let account = Account::yetishare("cloud");
    let service = Service::start(vec![account.clone()]);
    let (bus, home) = (Bus::with_keyring(), Home::with("# mine\n"));
    let command = format!(
        "echo '# new' >> {}; echo {}",
        home.config().display(),
        account.key2
    );
    let url = service.url("cloud");
    let args = |command| add_to("cloud", "1cloudfile", &url, &["--key2-command", command]);
    let ran = run(
        &home,
        &bus.address(),
        &args(&command),
        &format!("{}\n", account.key1),
    );
    assert_refused(&ran, "somebody changed it meanwhile");
    assert_eq!(bus.entries(), 0);
    assert_eq!(
        run(
            &home,
            &bus.address(),
            &args("echo wrong"),
            &format!("{}\n", account.key1)
        )
        .status,
        1
    );
    assert_eq!(bus.entries(), 0);
}

#[test]
fn a_locked_keyring_is_told_at_once_where_nobody_can_be_asked() {
    let (_service, url) = media();
    let (bus, home) = (Bus::with_keyring(), Home::empty());
    let address = bus.address();
    assert_eq!(add(&home, &address, &url, &[], "demo-password\n").status, 0);
    bus.lock();
    let before = home.snapshot();
    let locked = "the system's keyring is locked: unlock it";
    assert_refused(&run(&home, &address, &["account", "check", "media"], ""), locked);
    assert_refused(&run(&home, &address, &["mount", "mount"], ""), locked);
    assert_refused(
        &run(&home, &address, &["login", "media"], "demo-password\n"),
        locked,
    );
    assert_refused(&run(&home, &address, &["account", "remove", "media"], ""), locked);
    let doctor = run(&home, &address, &["doctor"], "");
    assert_eq!(doctor.status, 1);
    assert!(
        doctor.out.contains("fail  keyring") && doctor.out.contains(locked),
        "{}",
        doctor.out
    );
    assert_eq!(home.snapshot(), before);
    let known = add_media("more", &url, &[]);
    assert_refused(
        &run(&home, &address, &known, "demo-password\n"),
        "`--store file` does without it",
    );
    assert_eq!(home.snapshot(), before);
}

#[test]
fn without_a_keyring_on_the_bus_the_secret_goes_to_a_file() {
    let (_service, url) = media();
    let (bus, home) = (Bus::bare(), Home::empty());
    let refused = add(
        &home,
        &bus.address(),
        &url,
        &["--store", "keyring"],
        "demo-password\n",
    );
    assert_refused(&refused, "there is no system keyring here");
    assert_eq!(add(&home, &bus.address(), &url, &[], "demo-password\n").status, 0);
    assert_eq!(home.read("media.password"), "demo-password\n");
}

#[test]
fn a_bus_that_says_nothing_holds_nobody_up() {
    let (_service, url) = media();
    let home = Home::empty();
    let _silent = UnixListener::bind(home.path("silent")).unwrap();
    let address = format!("unix:path={}", home.path("silent").display());
    assert_refused(
        &add(&home, &address, &url, &[], "demo-password\n"),
        "did not answer within ",
    );
    assert!(home.snapshot().is_empty());
}

#[test]
fn an_entry_that_is_gone_is_told_with_what_to_do() {
    let (_service, url) = media();
    let (bus, home) = (Bus::with_keyring(), Home::empty());
    assert_eq!(add(&home, &bus.address(), &url, &[], "demo-password\n").status, 0);
    // Another keyring, as after a new installation.
    let bus = Bus::with_keyring();
    let ran = run(&home, &bus.address(), &["account", "check", "media"], "");
    assert_refused(&ran, "run `lockerfs login media` to give the secret again");
    assert_eq!(
        run(&home, &bus.address(), &["login", "media"], "demo-password\n").status,
        0
    );
    assert_eq!(
        run(&home, &bus.address(), &["account", "check", "media"], "").status,
        0
    );
    assert_eq!(bus.entries(), 1);
}

#[test]
fn a_locked_keyring_keeps_back_only_the_accounts_whose_secrets_are_in_it() {
    let cloud = Account::yetishare("cloud");
    let service = Service::start(vec![Account::mediafire("media"), cloud.clone()]);
    let (bus, home) = (Bus::with_keyring(), Home::empty());
    let address = bus.address();
    let added = add(&home, &address, &service.url("media"), &[], "demo-password\n");
    assert_eq!(added.status, 0, "{}", added.err);
    let url = service.url("cloud");
    let args = add_to("cloud", "1cloudfile", &url, &["--store", "file"]);
    let added = run(&home, &address, &args, &keys(&cloud));
    assert_eq!(added.status, 0, "{}", added.err);
    bus.lock();
    let ran = run(&home, &address, &["mount", "--daemon", "mount"], "");
    assert_eq!(ran.status, 0, "{}", ran.err);
    let mount = home.mounted();
    std::fs::write(mount.path("cloud/file.txt"), "text").unwrap();
    assert_eq!(run(&home, &address, &["drain"], "").status, 0);
    assert!(service.files_dir("cloud").join("file.txt").exists());
    let status = run(&home, &address, &["status"], "");
    assert_eq!(status.status, 1, "{}", status.out);
    let told = status.out.contains("login refused")
        && status.out.contains("the system's keyring is locked: unlock it");
    assert!(told, "{}", status.out);
    mount.unmount();
}
