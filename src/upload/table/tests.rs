//! Whatever is changed in whichever order: what the table answers from its index is what a walk over all files finds.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime};

use crate::provider::{ErrorKind, FileId, FolderId};
use crate::state::AttemptRow;
use crate::upload::staging::Staging;
use crate::upload::status::{Overview, PendingFile, Stage, Sums, Trace};

use super::*;

const ACCOUNTS: [&str; 2] = ["a", "b"];
const STATES: [RowState; 8] = [
    RowState::Staged,
    RowState::Queued,
    RowState::Uploading,
    RowState::Verifying,
    RowState::Parked,
    RowState::Kept,
    RowState::Local,
    RowState::Removed,
];

struct Random(fastrand::Rng);

impl Random {
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.usize(..all.len())]
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.0.usize(..count) == 0
    }

    fn name(&mut self, kind: &str) -> String {
        format!("{kind}{}", self.0.usize(..4))
    }

    fn maybe(&mut self, kind: &str) -> Option<String> {
        self.one_in(3).then(|| self.name(kind))
    }

    fn attempt(&mut self) -> AttemptRow {
        AttemptRow {
            generation: 1,
            folder: self.name("folder"),
            name: self.name("name"),
            size: self.0.u64(..9),
            mtime: SystemTime::UNIX_EPOCH,
            sha256: Some([0; 32]),
            replaces: None,
            sent_after: None,
            unclear: None,
            ticket: None,
            file: self.maybe("file"),
        }
    }

    fn row(&mut self, id: i64, account: &str) -> JournalRow {
        let far = SystemTime::now() + Duration::from_secs(3000);
        JournalRow {
            id,
            account: account.to_owned(),
            folder: self.name("folder"),
            name: self.name("name"),
            size: self.of(&[0, 1, 5, LARGE + 1]),
            mtime: SystemTime::UNIX_EPOCH,
            mode: None,
            staging: self.maybe("staged"),
            generation: self.0.u64(1..3),
            replaces: self.maybe("file"),
            superseded: (0..self.0.usize(..3)).map(|_| self.name("file")).collect(),
            state: self.of(&STATES),
            tries: 0,
            next_try: self.one_in(4).then_some(far),
            last_error: None,
            base: None,
            missing: Vec::new(),
            attempt: self.one_in(2).then(|| self.attempt()),
        }
    }
}

fn items(table: &Table) -> impl Iterator<Item = (PendingId, &Item)> + Clone {
    let all: Vec<_> = table.items.after(PendingId::from_i64(i64::MIN)).collect();
    all.into_iter()
}

fn shown(table: &Table, which: impl Fn(&Item) -> bool) -> Vec<PendingFile> {
    let shown = items(table).filter(|(_, item)| !item.is_removed() && which(item));
    shown.map(|(_, item)| item.snapshot()).collect()
}

fn sorted(mut files: Vec<PendingFile>) -> Vec<PendingFile> {
    files.sort_by_key(|file| file.id);
    files
}

fn known_files(row: &JournalRow) -> Vec<&str> {
    let made = row.attempt.as_ref().and_then(|sent| sent.file.as_ref());
    let known = row.replaces.iter().chain(&row.superseded).chain(made);
    known.map(String::as_str).collect()
}

/// Sums, and the first files of each stage, by a walk.
fn walked(table: &Table, rows: usize) -> Overview {
    let mut stages: BTreeMap<Stage, Sums> = BTreeMap::new();
    let mut chosen: BTreeMap<Stage, Vec<PendingId>> = BTreeMap::new();
    for (id, item) in items(table).filter(|(_, item)| !item.is_removed()) {
        let sums = stages.entry(item.stage()).or_default();
        sums.files += 1;
        sums.bytes += item.size();
        sums.sent += item.sent().min(item.size());
        if item.stage() != Stage::Local {
            chosen.entry(item.stage()).or_default().push(id);
        }
    }
    let files = chosen
        .into_values()
        .flat_map(|ids| ids.into_iter().take(rows))
        .filter_map(|id| table.snapshot(id));
    Overview {
        stages,
        files: files.collect(),
        rate: table.meter.rate(),
    }
}

fn check(table: &mut Table) {
    table.items.check();
    check_order(table);
    assert_eq!(table.overview(2), walked(table, 2));
    assert_eq!(table.overview(0), walked(table, 0));
    let all = items(table);
    let stays = |item: &Item| matches!(item.row.state, RowState::Kept | RowState::Local);
    let unfinished = all.clone().filter(|(_, item)| !item.is_removed() && !stays(item));
    assert_eq!(table.unfinished(), unfinished.count());
    let is_local = |item: &Item| item.row.state == RowState::Local;
    assert_eq!(sorted(table.local_snapshots()), shown(table, is_local));
    let parked = |(id, item): (PendingId, &Item)| (item.row.state == RowState::Parked).then_some(id);
    let found: HashSet<_> = table.parked().into_iter().collect();
    assert_eq!(found, all.clone().filter_map(parked).collect());
    for name in (0..4).map(|number| format!("staged{number}")) {
        let uses = |item: &Item| item.row.staging.as_deref() == Some(&name);
        assert_eq!(table.uses(&name), all.clone().any(|(_, item)| uses(item)));
    }
    for draft in all.clone().filter_map(|(_, item)| item.draft.as_ref()) {
        assert!(table.uses(draft.name()));
    }
    check_busy(table);
    ACCOUNTS
        .into_iter()
        .for_each(|account| check_account(table, account));
}

fn check_order(table: &Table) {
    for (account, queue) in &table.queues {
        let could_run = items(table).filter(|(_, item)| {
            let free = item.run.is_none() && item.is_released() && !item.rests;
            item.row.account == *account && free
        });
        let expected: HashSet<_> = could_run.map(|(id, item)| (item.due, id)).collect();
        let order: HashSet<_> = queue.all().into_iter().map(|(_, due, id)| (due, id)).collect();
        assert_eq!(order, expected);
        for (kind, _, id) in queue.all() {
            assert_eq!(table.item(id).map(Item::kind), Some(kind));
        }
        for (id, place) in queue.left.all() {
            let (folder, name) = place;
            assert!(table.item(*id).is_some());
            assert!(table.is_place_held(account, folder, name, None));
        }
    }
}

fn check_busy(table: &Table) {
    let queue = |item: &Item| table.queues.get(&item.row.account);
    let is_busy = items(table).any(|(_, item)| {
        let paused = queue(item).is_some_and(|queue| queue.paused) && !item.is_removed();
        let idle = item.rests || !item.is_released() || paused;
        queue(item).is_some_and(|queue| queue.served) && (item.run.is_some() || !idle)
    });
    assert_eq!(table.is_busy(), is_busy);
    let is_held = items(table).any(|(_, item)| {
        queue(item).is_some_and(|queue| queue.served && !queue.paused) && !item.is_released() && !item.rests
    });
    assert_eq!(table.is_held(), is_held);
}

fn check_account(table: &Table, account: &str) {
    let of: Vec<_> = items(table)
        .filter(|(_, item)| item.row.account == account)
        .collect();
    let waits = |item: &&Item| !item.is_removed() && item.row.state != RowState::Local;
    let waiting = of.iter().map(|(_, item)| *item).filter(waits);
    assert_eq!(
        table.waiting_bytes(account),
        waiting.map(|item| item.row.size).sum::<u64>()
    );
    let lacks = |item: &Item| {
        let stopped = item.run.is_none() && (item.is_waiting() || item.row.state == RowState::Parked);
        stopped && item.failure == Some(ErrorKind::QuotaExceeded)
    };
    let lacking = of.iter().filter(|(_, item)| lacks(item)).map(|(id, _)| *id);
    assert_eq!(table.without_room(account), lacking.collect::<Vec<_>>());
    let files: Vec<_> = (0..4)
        .map(|number| FileId::new(format!("file{number}")))
        .collect();
    for folder in (0..4).map(|number| FolderId::new(format!("folder{number}"))) {
        let here = |item: &Item| item.row.account == account && item.row.folder == folder.as_str();
        assert_eq!(table.snapshots_in(account, &folder), shown(table, here));
        let traces = of.iter().filter_map(|(_, item)| {
            let (row, sent) = (&item.row, item.row.attempt.as_ref()?);
            let elsewhere = sent.folder != row.folder || sent.name != row.name;
            let rests = matches!(row.state, RowState::Parked | RowState::Kept | RowState::Local);
            let goes = elsewhere || item.is_removed();
            ((goes || !rests) && sent.folder == folder.as_str()).then(|| Trace::of(sent, goes))
        });
        assert_eq!(table.traces(account, &folder), traces.collect::<Vec<_>>());
        let remains = of.iter().flat_map(|(_, item)| {
            let row = &item.row;
            let made = row.attempt.as_ref().and_then(|sent| sent.file.as_ref());
            let in_place = row.attempt.as_ref().and_then(|sent| sent.replaces.as_ref());
            let made = made.filter(|made| !item.is_removed() || Some(*made) != in_place);
            let stood_for = (!item.is_removed()).then_some(row).into_iter();
            let stood_for = stood_for.flat_map(|row| {
                let replaced = row.replaces.as_ref().filter(|_| row.folder != folder.as_str());
                row.superseded.iter().chain(replaced)
            });
            made.into_iter().chain(stood_for)
        });
        let remains: HashSet<_> = remains.cloned().map(FileId::new).collect();
        for file in &files {
            let is_remains = table.is_remains(account, &folder, file);
            assert_eq!(is_remains, remains.contains(file));
        }
    }
    for file in &files {
        let me = PendingId::from_i64(1);
        let others =
            |(id, item): &&(PendingId, &Item)| *id != me && known_files(&item.row).contains(&file.as_str());
        let mut others = of.iter().filter(others);
        let works = |(_, item): &(PendingId, &Item)| item.row.state != RowState::Parked;
        assert_eq!(
            table.is_in_motion(account, file.as_str(), me),
            others.clone().any(works)
        );
        assert_eq!(
            table.is_of_another(account, file.as_str(), me),
            others.next().is_some()
        );
    }
}

fn change_something(table: &mut Table, random: &mut Random, staging: &Staging, next: &mut i64) {
    let known: Vec<_> = table.items.ids().collect();
    let chosen = (!known.is_empty()).then(|| random.of(&known));
    let Some(id) = chosen.filter(|_| !random.one_in(6) || known.len() > 30) else {
        *next += 1;
        let account = random.of(&ACCOUNTS);
        let row = random.row(*next, account);
        let staged = random.one_in(2).then(|| Arc::new(staging.create(None).unwrap()));
        return table.add(Item::new(row, staged, 0, Instant::now()));
    };
    let account = table.item(id).map(|item| item.row.account.clone()).unwrap();
    match random.0.usize(..16) {
        0..4 => {
            let row = random.row(id.as_i64(), &account);
            table.set_row(row);
        }
        4 => drop(table.change(id, |item| item.holds += 1)),
        5 => drop(table.change(id, |item| item.holds = 0)),
        6 => drop(table.change(id, |item| item.hurried = usize::from(item.hurried == 0))),
        7 => {
            let far = Instant::now() + Duration::from_secs(3000);
            table.change(id, |item| {
                item.due = if item.due > Instant::now() {
                    Instant::now()
                } else {
                    far
                };
            });
        }
        8 => drop(table.change(id, |item| item.failure = Some(ErrorKind::QuotaExceeded))),
        9 => {
            let draft = Arc::new(staging.create(None).unwrap());
            draft.write_at(0, b"draft").unwrap();
            table.change(id, |item| item.draft = item.draft.is_none().then_some(draft));
        }
        // What a writer does to its file is no change of the table; it has the file open.
        10 => {
            table.change(id, |item| item.holds += 1);
            if let Some(staged) = table.item(id).and_then(|item| item.staged.clone()) {
                staged.write_at(0, b"written").unwrap();
            }
            table.change(id, |item| item.holds -= 1);
        }
        11 => {
            let kind = random.of(&[Kind::Small, Kind::Large]);
            if let Pick::Run(picked) = table.pick(&account, kind) {
                assert!(table.item(picked).is_some_and(|item| item.run.is_some()));
            }
        }
        12 => {
            let running = items(table).find(|(_, item)| item.run.is_some());
            if let Some(id) = running.map(|(id, _)| id) {
                table.end_run(id, random.one_in(2).then(Instant::now));
            }
        }
        13 => {
            let paused = table.is_paused(&account);
            table.set_paused(&account, !paused);
        }
        14 => match random.one_in(2) {
            true => table.set_left(id, Some((random.name("folder"), random.name("name")))),
            false => {
                let (file, name) = (random.name("file"), random.name("name"));
                let listed = std::iter::once((file.as_str(), name.as_str())).collect();
                table.note_listed(&account, "folder1", &listed);
            }
        },
        _ => drop(table.remove(id, None)),
    }
}

#[tokio::test]
async fn what_the_table_answers_is_what_a_walk_over_all_files_finds() {
    let folder = tempfile::tempdir().unwrap();
    let staging = Staging::new(folder.path().to_owned(), 0, None);
    for seed in 0..6 {
        let mut random = Random(fastrand::Rng::with_seed(seed));
        let mut table = Table::new();
        table.serve(ACCOUNTS[0]);
        let mut next = 0;
        for _ in 0..300 {
            if random.one_in(50) {
                table.drains = 1 - table.drains;
                table.reschedule_all();
            }
            change_something(&mut table, &mut random, &staging, &mut next);
            check(&mut table);
        }
        let left: Vec<_> = table.items.ids().collect();
        left.into_iter().for_each(|id| drop(table.remove(id, None)));
        check(&mut table);
    }
}

#[tokio::test]
async fn while_nothing_is_to_be_sent_what_is_removed_goes_on() {
    let mut random = Random(fastrand::Rng::with_seed(1));
    let mut table = Table::new();
    for id in 1..=3 {
        let row = JournalRow {
            name: format!("{id}"),
            size: 1,
            state: if id == 2 {
                RowState::Removed
            } else {
                RowState::Queued
            },
            next_try: None,
            attempt: None,
            ..random.row(id, "a")
        };
        table.add(Item::new(row, None, 0, Instant::now()));
    }
    table.set_paused("a", true);
    assert!(matches!(table.pick("a", Kind::Small), Pick::Run(id) if id.as_i64() == 2));
    assert!(matches!(table.pick("a", Kind::Small), Pick::Sleep(None)));
    table.set_paused("a", false);
    assert!(matches!(table.pick("a", Kind::Small), Pick::Run(id) if id.as_i64() == 1));
}
