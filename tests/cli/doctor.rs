//! Doctor looks at all that a mount needs, and says what to do about what is missing.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::adding::media;
use crate::home::Home;

/// The exit status, and what was found by check. Nothing is changed or left behind.
fn examine(home: &Home, variables: &[(&str, &str)]) -> (i32, Vec<Value>) {
    let before = home.snapshot();
    let ran = home.run_with(&["doctor", "--json"], "", variables);
    let found: Value =
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}{}", ran.out, ran.err));
    assert_eq!(ran.err, "");
    assert!(home.snapshot() == before, "config or secrets changed");
    if home.path("tmp").exists() {
        assert_eq!(
            std::fs::read_dir(home.path("tmp")).unwrap().count(),
            0,
            "something is left"
        );
    }
    assert!(!home.path("state").exists(), "a state directory was made");
    (ran.status, found.as_array().unwrap().clone())
}

fn finding<'f>(found: &'f [Value], check: &str) -> &'f Value {
    let of_check = |finding: &&Value| finding["check"].as_str().unwrap().starts_with(check);
    found
        .iter()
        .find(of_check)
        .unwrap_or_else(|| panic!("no {check} in {found:?}"))
}

#[track_caller]
fn assert_failed(found: &[Value], check: &str, expected: &str, remedy: &str) {
    let finding = finding(found, check);
    assert_eq!(finding["grade"], "fail", "{finding}");
    assert!(finding["found"].as_str().unwrap().contains(expected), "{finding}");
    assert!(finding["remedy"].as_str().unwrap().contains(remedy), "{finding}");
    let failed = found.iter().filter(|finding| finding["grade"] == "fail");
    assert_eq!(failed.count(), 1, "{found:?}");
}

#[test]
fn a_machine_with_all_that_is_needed_is_ok_in_every_line() {
    let (_service, home) = media("");
    let (status, found) = examine(&home, &[]);
    let not_ok: Vec<_> = found.iter().filter(|finding| finding["grade"] != "ok").collect();
    assert!(not_ok.is_empty() && status == 0, "{not_ok:?}");
    let checks = [
        "/dev/fuse",
        "fusermount3",
        "user_allow_other",
        "config",
        "keyring",
        "state directory",
        "cache directory",
        "clock of 127.0.0.1:",
        "login of media",
        "round trip",
    ];
    assert_eq!(found.len(), checks.len(), "{found:?}");
    for check in checks {
        finding(&found, check);
    }
    let shown = home.run(&["doctor"]);
    assert_eq!(
        (shown.status, shown.out.lines().count()),
        (0, checks.len()),
        "{}",
        shown.out
    );
    assert!(
        shown.out.lines().all(|line| line.starts_with("ok    ")),
        "{}",
        shown.out
    );
    assert!(!shown.out.contains("demo-password"));
}

#[test]
fn without_a_config_it_says_how_to_make_one_and_tries_the_rest() {
    let (status, found) = examine(&Home::empty(), &[]);
    assert_eq!(status, 0, "{found:?}");
    let config = finding(&found, "config");
    assert_eq!(
        (&config["grade"], &config["remedy"]),
        (&"warn".into(), &"run `lockerfs account add`".into())
    );
    assert_eq!(finding(&found, "round trip")["grade"], "ok");
}

#[test]
fn a_refused_login_fails_with_the_command_that_mends_it() {
    let (_service, home) = media("");
    std::fs::write(home.path("media.password"), "hunter2\n").unwrap();
    let (status, found) = examine(&home, &[]);
    assert_failed(
        &found,
        "login of media",
        "refused the login",
        "run `lockerfs login media`",
    );
    assert_eq!(status, 1);
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn a_config_that_others_can_read_fails_with_what_to_do() {
    let (_service, home) = media("");
    std::fs::set_permissions(home.config(), Permissions::from_mode(0o644)).unwrap();
    let (status, found) = examine(&home, &[]);
    assert_failed(&found, "config", "run `chmod 600 ", "mend it");
    assert_eq!(status, 1);
}

#[test]
fn a_clock_that_is_wrong_and_a_disk_without_room_fail() {
    let (_service, home) = media("");
    let ahead = home.path("tmp/../ahead");
    std::fs::write(&ahead, "4000").unwrap();
    let (status, found) = examine(&home, &[("LOCKERFS_CLOCK_AHEAD", ahead.to_str().unwrap())]);
    assert_failed(
        &found,
        "clock of 127.0.0.1:",
        "this machine is 67 min ahead",
        "set this machine's clock",
    );
    assert_eq!(status, 1);
    std::fs::write(&ahead, "60").unwrap();
    let (status, found) = examine(&home, &[("LOCKERFS_CLOCK_AHEAD", ahead.to_str().unwrap())]);
    assert_eq!((status, &finding(&found, "clock")["grade"]), (0, &"warn".into()));
    let (_service, home) = media("reserve = \"900000TB\"\n");
    let (status, found) = examine(&home, &[]);
    assert_failed(&found, "state directory", "free on its disk", "make room");
    assert_eq!(
        (status, &finding(&found, "cache directory")["grade"]),
        (1, &"warn".into())
    );
}

#[test]
fn a_service_that_is_away_and_a_folder_for_temporary_files_that_is_not_there_fail() {
    let (service, home) = media("");
    drop(service);
    std::fs::remove_dir(home.path("tmp")).unwrap();
    let (status, found) = examine(&home, &[]);
    assert_eq!(status, 1);
    for (check, remedy) in [
        ("clock of 127.0.0.1:", "is the network up, and the service?"),
        ("login of media", "is the network up, and the service?"),
        ("round trip", "set TMPDIR to another one"),
    ] {
        let finding = finding(&found, check);
        assert_eq!(finding["grade"], "fail", "{finding}");
        assert!(finding["remedy"].as_str().unwrap().contains(remedy), "{finding}");
    }
}
