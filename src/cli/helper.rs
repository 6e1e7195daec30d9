//! Called by mount(8) and umount(8): lines of fstab become command lines of ours.
//!
//! mount(8) runs `mount.lockerfs SOURCE DIR -o OPTIONS` for the type `lockerfs`, and for `fuse.lockerfs` a
//! `mount.fuse.lockerfs`, or by way of `mount.fuse` the plain `lockerfs SOURCE DIR -o OPTIONS`; umount(8) runs
//! `umount.fuse.lockerfs DIR`. All of these may be links to `lockerfs`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::mount::{Options, point};

/// Exit statuses of a mount helper, as mount(8) has them.
const WRONG_USE: u8 = 1;
const MOUNT_FAILURE: u8 = 32;

/// Where a mount of the system keeps things: there is no home to look in when the system starts.
const SYSTEM_CONFIG: &str = "/etc/lockerfs/config.toml";
const SYSTEM_STATE: &str = "/var/lib/lockerfs";
const SYSTEM_CACHE: &str = "/var/cache/lockerfs";

/// What mount(8) or umount(8) wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// To be run with these arguments, the program's name first.
    Run(Vec<OsString>),
    /// Nothing: it only tries out what it would do.
    Pretend,
    /// A sentence on what is wrong with the call.
    Wrong(String),
}

/// `None` where the call comes from a person or a script.
pub(super) fn call(args: &[OsString], is_root: bool) -> Option<Call> {
    let (program, rest) = args.split_first()?;
    let name = Path::new(program).file_name()?.to_str()?;
    match name {
        "mount.lockerfs" | "mount.fuse.lockerfs" => Some(mount(rest, is_root)),
        "umount.lockerfs" | "umount.fuse.lockerfs" => Some(unmount(rest)),
        _ if is_from_mount_fuse(rest) => Some(mount(rest, is_root)),
        _ => None,
    }
}

/// What the exit status of a command of ours is for mount(8).
pub(super) fn exit_code(own: u8) -> ExitCode {
    ExitCode::from(match own {
        0 => 0,
        2 => WRONG_USE,
        _ => MOUNT_FAILURE,
    })
}

/// Whether this is `lockerfs SOURCE DIR -o OPTIONS`, with a directory as no command of ours takes it.
fn is_from_mount_fuse(rest: &[OsString]) -> bool {
    match rest {
        [source, directory, flag, _options] => {
            let source = source.as_bytes();
            let names_us = source == point::SOURCE.as_bytes() || source.starts_with(b"lockerfs:");
            names_us && directory.as_bytes().starts_with(b"/") && flag == "-o"
        }
        _ => false,
    }
}

fn mount(rest: &[OsString], is_root: bool) -> Call {
    let asked = match Asked::read(rest) {
        Ok(asked) => asked,
        Err(why) => return Call::Wrong(why),
    };
    let [source, directory] = &asked.operands[..] else {
        return Call::Wrong("give a source and a directory: mount -t lockerfs lockerfs: DIR".to_owned());
    };
    let lists: Vec<String> = asked.options.iter().map(|list| text(list)).collect();
    let options = match Options::parse(lists.iter().map(String::as_str)) {
        Ok(options) => options,
        Err(why) => return Call::Wrong(why),
    };
    if asked.letter_f {
        return Call::Pretend;
    }
    let mut args: Vec<OsString> = ["lockerfs", "mount", "--daemon"].map(OsString::from).to_vec();
    args.extend((0..asked.verbose).map(|_| "-v".into()));
    if is_root {
        let below = |place: &str| Path::new(place).join(escaped(Path::new(directory)));
        let places = [
            ("--config", options.config.is_some(), PathBuf::from(SYSTEM_CONFIG)),
            ("--state-dir", options.state_dir.is_some(), below(SYSTEM_STATE)),
            ("--cache-dir", options.cache_dir.is_some(), below(SYSTEM_CACHE)),
        ];
        for (flag, is_given, place) in places {
            if !is_given {
                args.extend([flag.into(), place.into_os_string()]);
            }
        }
    }
    for list in asked.options {
        args.extend(["-o".into(), list]);
    }
    let source = text(source);
    let (account, shown) = meaning(&source);
    if let Some(account) = account.filter(|_| options.account.is_none()) {
        args.extend(["--account".into(), account.into()]);
    }
    if let Some(source) = shown.filter(|_| options.source.is_none()) {
        args.extend(["-o".into(), format!("source={source}").into()]);
    }
    args.extend(["--".into(), directory.clone()]);
    Call::Run(args)
}

fn unmount(rest: &[OsString]) -> Call {
    let asked = match Asked::read(rest) {
        Ok(asked) => asked,
        Err(why) => return Call::Wrong(why),
    };
    match &asked.operands[..] {
        [directory] => {
            let mut args: Vec<OsString> = ["lockerfs", "unmount"].map(OsString::from).to_vec();
            if asked.letter_f || asked.lazy {
                args.push("--now".into());
            }
            args.extend(["--".into(), directory.clone()]);
            Call::Run(args)
        }
        _ => Call::Wrong("give one directory: umount DIR".to_owned()),
    }
}

/// The account that a source names, `None` for all, and what `mount` and `df` are to show for it so that
/// `mount -a` knows the line again.
fn meaning(source: &str) -> (Option<&str>, Option<&str>) {
    match source.strip_prefix("lockerfs:") {
        Some("") => (None, Some(source)),
        Some(account) => (Some(account), Some(source)),
        None if source == point::SOURCE => (None, Some(source)),
        None if source == "none" => (None, None),
        None => (Some(source), None),
    }
}

/// The arguments of mount(8) and umount(8) to their helpers.
#[derive(Default)]
struct Asked {
    operands: Vec<OsString>,
    options: Vec<OsString>,
    verbose: usize,
    /// mount(8) means by it to pretend, umount(8) to force.
    letter_f: bool,
    lazy: bool,
}

impl Asked {
    fn read(rest: &[OsString]) -> Result<Self, String> {
        let mut asked = Asked::default();
        let mut rest = rest.iter();
        while let Some(arg) = rest.next() {
            let Some(letters) = arg
                .as_bytes()
                .strip_prefix(b"-")
                .filter(|letters| !letters.is_empty())
            else {
                asked.operands.push(arg.clone());
                continue;
            };
            for (at, letter) in letters.iter().enumerate() {
                match letter {
                    b'f' => asked.letter_f = true,
                    b'l' => asked.lazy = true,
                    b'v' => asked.verbose += 1,
                    b'r' => asked.options.push("ro".into()),
                    b'w' => asked.options.push("rw".into()),
                    // Sloppy, no mtab, internal only: there is nothing in them for us.
                    b's' | b'n' | b'i' => {}
                    b'o' | b't' | b'N' => {
                        let attached = letters.get(at + 1..).filter(|value| !value.is_empty());
                        let value = match attached {
                            Some(value) => OsString::from_vec(value.to_vec()),
                            None => rest
                                .next()
                                .cloned()
                                .ok_or_else(|| format!("-{} needs a value", char::from(*letter)))?,
                        };
                        if *letter == b'o' {
                            asked.options.push(value);
                        }
                        break;
                    }
                    _ => return Err(format!("{} is no option of a mount helper", text(arg))),
                }
            }
        }
        Ok(asked)
    }
}

/// A mount point as the name of one folder, in the manner of systemd-escape(1).
fn escaped(directory: &Path) -> OsString {
    let trimmed = directory.as_os_str().as_bytes();
    let trimmed = trimmed.trim_ascii_start();
    let mut name = Vec::new();
    for byte in trimmed {
        match byte {
            b'/' if name.is_empty() || name.last() == Some(&b'-') => {}
            b'/' => name.push(b'-'),
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b':' => name.push(*byte),
            b'.' if !name.is_empty() => name.push(*byte),
            other => name.extend(format!("\\x{other:02x}").into_bytes()),
        }
    }
    while name.last() == Some(&b'-') {
        name.pop();
    }
    OsString::from_vec(if name.is_empty() { b"-".to_vec() } else { name })
}

fn text(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str], is_root: bool) -> Option<Call> {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        call(&args, is_root)
    }

    fn line(args: &str) -> Option<Call> {
        Some(Call::Run(args.split(' ').map(OsString::from).collect()))
    }

    #[test]
    fn a_line_of_fstab_becomes_a_mount_in_the_background() {
        assert_eq!(
            run(
                &[
                    "/sbin/mount.lockerfs",
                    "lockerfs:media",
                    "/mnt/media",
                    "-sv",
                    "-o",
                    "ro,_netdev"
                ],
                false
            ),
            line(
                "lockerfs mount --daemon -v -o ro,_netdev --account media -o source=lockerfs:media -- /mnt/media"
            )
        );
        assert_eq!(
            run(
                &["mount.fuse.lockerfs", "media", "/m", "-t", "fuse.lockerfs"],
                false
            ),
            line("lockerfs mount --daemon --account media -- /m")
        );
    }

    #[test]
    fn a_mount_of_the_system_keeps_things_in_the_places_of_the_system() {
        assert_eq!(
            run(
                &[
                    "mount.lockerfs",
                    "lockerfs",
                    "/mnt/my cloud-1",
                    "-o",
                    "cache_dir=/c"
                ],
                true
            ),
            Some(Call::Run(
                [
                    "lockerfs",
                    "mount",
                    "--daemon",
                    "--config",
                    "/etc/lockerfs/config.toml",
                    "--state-dir",
                    "/var/lib/lockerfs/mnt-my\\x20cloud\\x2d1",
                    "-o",
                    "cache_dir=/c",
                    "-o",
                    "source=lockerfs",
                    "--",
                    "/mnt/my cloud-1"
                ]
                .map(OsString::from)
                .to_vec()
            ))
        );
    }

    #[test]
    fn what_a_person_types_is_not_taken_for_a_call_of_mount() {
        assert_eq!(run(&["lockerfs", "mount", "/mnt", "-o", "ro"], false), None);
        assert_eq!(run(&["lockerfs", "status"], false), None);
        assert_eq!(
            run(&["mount.lockerfs", "-f", "lockerfs:", "/mnt"], true),
            Some(Call::Pretend)
        );
        assert!(matches!(
            run(&["lockerfs", "lockerfs:", "/mnt", "-o", "rw"], false),
            Some(Call::Run(_))
        ));
    }

    #[test]
    fn umount_ends_the_mount_of_a_directory() {
        assert_eq!(
            run(&["/sbin/umount.fuse.lockerfs", "/mnt"], true),
            line("lockerfs unmount -- /mnt")
        );
        assert_eq!(
            run(&["umount.fuse.lockerfs", "/mnt", "-l"], true),
            line("lockerfs unmount --now -- /mnt")
        );
        assert!(matches!(
            run(&["umount.fuse.lockerfs"], true),
            Some(Call::Wrong(_))
        ));
    }
}
