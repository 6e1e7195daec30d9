//! The words for where uploads stand: the one place that says them, for all commands.

use std::time::{Duration, SystemTime};

use super::seen::Seen;
use super::text;
use crate::control::{
    AccountState, AccountStatus, Action, DiskStatus, HeldBack, HeldBackStatus, KeptAsideStatus, PendingState,
    PendingStatus, Totals,
};

/// What can be done about a file that needs a person.
const REMEDY: &str = "  Mend the cause, then `lockerfs queue retry`. `lockerfs queue export ID FILE` saves a copy, \
    `lockerfs queue cancel ID` gives one up.\n";

/// A group of files under a heading of its own.
struct Section {
    title: String,
    /// How many there are, shown or not.
    number: u64,
    is_in: fn(&PendingStatus) -> bool,
}

/// All of it, with at most `rows` files under each heading: first what needs a person, then what goes on.
pub(super) fn whole(seen: &Seen, rows: usize, now: SystemTime) -> String {
    let mut shown = match seen {
        Seen::Running(report) => {
            let (version, place, pid) = (&report.version, report.mount_point.display(), report.pid);
            let head = format!("lockerfs {version} serves {place} (process {pid})\n");
            head + &accounts(&report.accounts) + &report.disk.map(disk).unwrap_or_default()
        }
        Seen::Resting(resting) => {
            let place = resting.state_dir.display();
            format!("No mount runs with the state directory {place}.\n")
        }
    };
    let totals = seen.totals();
    let (needing, going_on) = sections(totals);
    if needing.number > 0 {
        shown.push_str(&section(&needing, seen.pending(), rows, now));
        shown.push_str(REMEDY);
    }
    shown.push_str(&summary(totals));
    shown.push('\n');
    for part in going_on.iter().filter(|part| part.number > 0) {
        shown.push_str(&section(part, seen.pending(), rows, now));
    }
    if totals.local > 0 {
        let (number, bytes) = (files(totals.local), text::size(totals.local_bytes));
        shown.push_str(&format!(
            "Never sent, by name (`local_only`): {number}, {bytes}\n"
        ));
    }
    if let Seen::Running(report) = seen {
        shown.push_str(&kept_aside(&report.kept_aside));
    }
    if let Seen::Running(report) = seen
        && let Some(pinned) = report.pinned
    {
        let (number, bytes) = (files(pinned.files), text::size(pinned.bytes));
        shown.push_str(&format!("Kept here for good (`pin`): {number}, {bytes}\n"));
    }
    if matches!(seen, Seen::Resting(_)) && !totals.is_nothing() {
        shown.push_str("The next mount goes on with them.\n");
    }
    shown
}

/// Files that were changed here and elsewhere.
fn kept_aside(kept: &[KeptAsideStatus]) -> String {
    let mut shown = String::new();
    if !kept.is_empty() {
        shown.push_str("Changed here and elsewhere; what came from elsewhere is kept beside it:\n");
    }
    for KeptAsideStatus {
        account, path, aside, ..
    } in kept
    {
        shown.push_str(&format!("  {account}:{path}  as  {aside}\n"));
    }
    shown
}

/// One sentence on all that is to be sent.
pub(super) fn summary(totals: &Totals) -> String {
    let mut parts = match totals.files {
        0 if totals.operations == 0 => return "Nothing waits for its upload.".to_owned(),
        0 => vec!["Nothing waits for its upload".to_owned()],
        number => vec![
            format!("{} to upload", files(number)),
            format!("{} left", text::size(totals.left())),
        ],
    };
    if totals.operations > 0 {
        let changes = text::count(totals.operations, "change", "changes");
        parts.push(format!("{changes} to tell the service"));
    }
    if totals.rate > 0 {
        parts.push(rate(totals.rate));
    }
    if let Some(seconds) = totals.seconds_left.filter(|_| totals.left() > 0) {
        parts.push(format!("about {} more", text::duration(seconds)));
    }
    parts.join(", ")
}

pub(super) fn files(number: u64) -> String {
    text::count(number, "file", "files")
}

/// How many need a person.
pub(super) fn needing(totals: &Totals) -> String {
    match (totals.needing(), totals.parked_operations) {
        (1, 0) => "1 file needs you".to_owned(),
        (number, 0) => format!("{} need you", files(number)),
        (1, _) => "1 change needs you".to_owned(),
        (number, _) => format!(
            "{} need you",
            text::count(number, "file or change", "files and changes")
        ),
    }
}

pub(super) fn rate(bytes: u64) -> String {
    format!("{}/s", text::size(bytes))
}

/// A file as a person can type it: the account, and the path in it.
pub(super) fn place(file: &PendingStatus) -> String {
    let from = format!("{}:{}", file.account, file.path);
    text::printable(&match &file.to {
        Some(to) => format!("{from} -> {to}"),
        None => from,
    })
}

/// Where a file or a change stands.
pub(super) fn state(file: &PendingStatus, now: SystemTime) -> String {
    let stands = standing(file, now);
    match file.action {
        Action::Upload => stands,
        Action::Delete => format!("delete: {stands}"),
        Action::Rename => format!("rename: {stands}"),
    }
}

fn standing(file: &PendingStatus, now: SystemTime) -> String {
    let error = text::printable(file.error.as_deref().unwrap_or("no reason told"));
    match file.state {
        PendingState::Staged => "rests, or is still written".to_owned(),
        PendingState::Queued => "waits for its turn".to_owned(),
        PendingState::Uploading if file.action != Action::Upload => "is told now".to_owned(),
        PendingState::Uploading => {
            let share = text::percent(file.sent, file.size);
            match file.rate {
                0 => format!("uploading, {share}% sent"),
                speed => format!("uploading, {share}% sent, {}", rate(speed)),
            }
        }
        PendingState::Verifying => "sent, the service checks it".to_owned(),
        PendingState::Waiting => {
            let tries = text::count(file.tries.into(), "try", "tries");
            let next = file
                .next_try
                .map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at));
            let next = next
                .map(|at| format!(", again {}", text::until(at, now)))
                .unwrap_or_default();
            format!("failed after {tries}{next}: {error}")
        }
        PendingState::Parked => format!("needs you: {error}"),
        PendingState::Local => "stays here: it is never sent".to_owned(),
        PendingState::Kept => "kept here: empty files are not taken by this service".to_owned(),
    }
}

/// A file as a row of a table.
pub(super) fn row(file: &PendingStatus, now: SystemTime) -> Vec<String> {
    vec![
        format!("  {}", file.id),
        place(file),
        match file.action {
            Action::Upload => text::size(file.size),
            Action::Delete | Action::Rename => String::new(),
        },
        state(file, now),
    ]
}

/// The rows of these files, and how many there are that are not among them.
pub(super) fn rows(shown: &[&PendingStatus], all: u64, now: SystemTime) -> String {
    let rows: Vec<_> = shown.iter().map(|file| row(file, now)).collect();
    let more = all.saturating_sub(shown.len() as u64);
    let mut text = text::table(&rows);
    if more > 0 {
        let more = text::grouped(more);
        text.push_str(&format!("  and {more} more (--all shows all)\n"));
    }
    text
}

fn sections(totals: &Totals) -> (Section, [Section; 5]) {
    use PendingState::{Kept, Parked, Queued, Staged, Uploading, Verifying, Waiting};
    let part = |title: &str, number, is_in| Section {
        title: title.to_owned(),
        number,
        is_in,
    };
    let resting = totals.files - totals.parked - totals.waiting - totals.under_way;
    let operations = totals.operations - totals.parked_operations;
    let needing = format!("{}:", needing(totals));
    let going_on = [
        part("Failed for now:", totals.waiting, |file| {
            file.action == Action::Upload && file.state == Waiting
        }),
        part("Under way:", totals.under_way, |file| {
            file.action == Action::Upload && matches!(file.state, Uploading | Verifying)
        }),
        part("Next:", resting, |file| {
            file.action == Action::Upload && matches!(file.state, Queued | Staged)
        }),
        part("Changes that the service is told of:", operations, |file| {
            file.action != Action::Upload && file.state != Parked
        }),
        part("Kept on this machine:", totals.kept, |file| file.state == Kept),
    ];
    let needing = part(&needing, totals.needing(), |file| file.state == Parked);
    (needing, going_on)
}

fn section(part: &Section, pending: &[PendingStatus], limit: usize, now: SystemTime) -> String {
    let mut shown: Vec<_> = pending.iter().filter(|file| (part.is_in)(file)).collect();
    // Stable: within a state the oldest stays first.
    shown.sort_by_key(|file| file.state);
    shown.truncate(limit);
    format!("{}\n{}", part.title, rows(&shown, part.number, now))
}

/// Nothing, unless the disk is full.
fn disk(disk: DiskStatus) -> String {
    if !disk.full {
        return String::new();
    }
    let lacking = match disk.lacking {
        0 => String::new(),
        bytes => format!(
            " and {} are for parts of edited files that are still to be fetched",
            text::size(bytes)
        ),
    };
    format!(
        "The disk of the state directory is full: {} free, of which {} are kept for the journal (`reserve`){lacking}. \
        Writing fails (ENOSPC) until files are uploaded or you make room there; what is closed already is safe.\n",
        text::size(disk.free),
        text::size(disk.reserve),
    )
}

fn accounts(accounts: &[AccountStatus]) -> String {
    let mut rows = vec![["ACCOUNT", "KIND", "STATE", "USED"].map(str::to_owned).to_vec()];
    rows.extend(accounts.iter().map(account_row));
    let mut shown = text::table(&rows);
    for account in accounts {
        if let Some(message) = &account.message {
            shown.push_str(&format!("{}: {}\n", account.name, text::printable(message)));
        }
        if account.state == AccountState::LoginRefused {
            let name = &account.name;
            shown.push_str(&format!(
                "{name}: run `lockerfs login {name}`, and what waits for the login goes on\n"
            ));
        }
        if let Some(calls) = account.calls {
            let renewed = SystemTime::UNIX_EPOCH + Duration::from_secs(calls.renewed);
            shown.push_str(&format!(
                "{}: {} of {} calls are left for today; a new day begins {} (00:00 UTC)\n",
                account.name,
                calls.limit.saturating_sub(calls.spent),
                calls.limit,
                text::until(renewed, SystemTime::now()),
            ));
        }
        if let Some(held) = account.held_back {
            shown.push_str(&format!(
                "{}: {}\n",
                account.name,
                held_back(held, SystemTime::now())
            ));
        }
        if account.paused {
            let name = &account.name;
            shown.push_str(&format!(
                "{name}: uploads are paused; `lockerfs queue resume --account {name}` goes on\n"
            ));
        }
    }
    shown
}

/// Why there are fewer calls, or none until when. The time is that of UTC, as everywhere in the program's texts.
fn held_back(held: HeldBackStatus, now: SystemTime) -> String {
    let until = held.until_ms.map(|ms| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let of_day = ms.div_ceil(1000) % 86_400;
        let clock = format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60);
        (clock, text::until(at + Duration::from_millis(999), now))
    });
    let mut told = match (held.why, until) {
        (HeldBack::Away, Some((clock, left))) => {
            format!("the service is away; it is tried again {left} ({clock} UTC)")
        }
        (HeldBack::Away, None) => "the service is away; it is tried again now".to_owned(),
        (HeldBack::AskedForFewer, Some((clock, left))) => {
            format!("calls rest until {clock} UTC ({left}): the service asked for fewer calls")
        }
        (HeldBack::AskedForFewer, None) => "the service asked for fewer calls".to_owned(),
    };
    if let Some(calls) = held.calls_per_100_seconds {
        told.push_str(&format!(
            "; at most {}.{:02} calls a second for now",
            calls / 100,
            calls % 100
        ));
    }
    told
}

fn account_row(account: &AccountStatus) -> Vec<String> {
    let state = match account.state {
        AccountState::Unknown => "not asked yet",
        AccountState::Online => "online",
        AccountState::Offline => "offline",
        AccountState::LoginRefused => "login refused",
    };
    let state = match account.paused {
        true => format!("{state}, paused"),
        false => state.to_owned(),
    };
    let used = match (account.storage_used, account.storage_limit) {
        (Some(used), Some(limit)) => format!("{} of {}", text::size(used), text::size(limit)),
        (Some(used), None) => text::size(used),
        _ => String::new(),
    };
    vec![account.name.clone(), account.kind.clone(), state, used]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::seen::Resting;

    fn file(id: u32, path: &str, state: PendingState) -> PendingStatus {
        PendingStatus {
            id: id.to_string(),
            action: Action::Upload,
            to: None,
            account: "box".to_owned(),
            path: path.to_owned(),
            size: 10,
            sent: 0,
            rate: 0,
            state,
            error: None,
            tries: 0,
            next_try: None,
        }
    }

    fn shown(pending: Vec<PendingStatus>, rows: usize) -> String {
        let mut totals = Totals::default();
        for file in &pending {
            totals.add(file.state, 1, file.size, file.sent);
        }
        let seen = Seen::Resting(Resting {
            state_dir: "/state".into(),
            totals,
            pending,
        });
        whole(&seen, rows, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn it_is_told_why_calls_rest_until_when_and_how_few_there_are() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(14 * 3600);
        let told = |why, until_ms, calls_per_100_seconds| {
            let held = HeldBackStatus {
                why,
                until_ms,
                calls_per_100_seconds,
            };
            held_back(held, now)
        };
        assert_eq!(
            told(HeldBack::AskedForFewer, Some(50_586_500), Some(650)),
            "calls rest until 14:03:07 UTC (in 4 min): the service asked for fewer calls; \
            at most 6.50 calls a second for now"
        );
        assert_eq!(
            told(HeldBack::Away, Some(50_405_000), None),
            "the service is away; it is tried again in 5 s (14:00:05 UTC)"
        );
        assert_eq!(
            told(HeldBack::AskedForFewer, None, Some(200)),
            "the service asked for fewer calls; at most 2.00 calls a second for now"
        );
    }

    #[test]
    fn what_needs_a_person_comes_first_and_long_lists_are_cut() {
        let parked = PendingStatus {
            error: Some("the file is larger\x1b[2J".to_owned()),
            ..file(2, "b", PendingState::Parked)
        };
        let mut pending = vec![file(1, "a", PendingState::Queued), parked];
        pending.extend((3..1003).map(|id| file(id, "c", PendingState::Queued)));
        let expected = format!(
            "No mount runs with the state directory /state.\n\
            1 file needs you:\n  \
              2  box:b  10 B  needs you: the file is larger\u{fffd}[2J\n\
            {REMEDY}\
            1,002 files to upload, 10.0 kB left\n\
            Next:\n  \
              1  box:a  10 B  waits for its turn\n  \
              3  box:c  10 B  waits for its turn\n  \
              and 999 more (--all shows all)\n\
            The next mount goes on with them.\n"
        );
        assert_eq!(shown(pending, 2), expected);
    }

    #[test]
    fn an_empty_file_that_is_kept_here_does_not_count_as_waiting() {
        let kept = "Kept on this machine:\n  \
              1  box:a/empty  10 B  kept here: empty files are not taken by this service\n";
        let alone = shown(vec![file(1, "a/empty", PendingState::Kept)], 9);
        assert!(
            alone.ends_with(&format!("\nNothing waits for its upload.\n{kept}")),
            "{alone}"
        );
    }

    #[test]
    fn the_summary_tells_bytes_rate_and_time_left() {
        let mut totals = Totals::default();
        totals.add(PendingState::Uploading, 1, 3_000_000, 1_000_000);
        totals.add(PendingState::Queued, 4320, 10_000_000, 0);
        assert_eq!(
            summary(&totals.at_rate(100_000)),
            "4,321 files to upload, 12.0 MB left, 100.0 kB/s, about 2 min more"
        );
        let mut parked = Totals::default();
        parked.add(PendingState::Parked, 2, 3_000_000, 1_000_000);
        let shown = summary(&parked.at_rate(100_000));
        assert_eq!(
            shown, "2 files to upload, 2.0 MB left, 100.0 kB/s",
            "it waits for a person"
        );
    }
}
