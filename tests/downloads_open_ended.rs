//! Reading from a host that misreads ranges, tells failures by redirects and bears few connections.

#[path = "support/file_host.rs"]
mod file_host;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use file_host::FileHost;
use futures_util::future::join_all;
use lockerfs::download::{DownloadError, Downloads, Options, Reader, Source};
use lockerfs::http::DataClient;
use lockerfs::provider::{ErrorKind, FileId, Provider};

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;
/// What the buffers of both ends of a connection may hold.
const BUFFERS: u64 = 16 << 20;

fn content(size: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn downloads(connections: usize) -> Arc<Downloads> {
    let options = Options {
        stall_timeout: Duration::from_secs(20),
        connections: NonZeroUsize::new(connections).unwrap(),
        ..Options::default()
    };
    Downloads::new(DataClient::new().unwrap(), options)
}

fn open(downloads: &Arc<Downloads>, host: &Arc<FileHost>, name: &str) -> Arc<Reader> {
    downloads.open(Source {
        account: "a".to_owned(),
        provider: Arc::clone(host) as Arc<dyn Provider>,
        file: FileId::new(name),
        name: name.to_owned(),
        size: host.content().len() as u64,
        hash: None,
        revision: None,
    })
}

async fn read_whole(reader: &Reader) -> Result<Vec<u8>, DownloadError> {
    let mut all = Vec::new();
    loop {
        let bytes = reader.read(all.len() as u64, 128 * KIB).await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

async fn check_at(reader: &Reader, host: &FileHost, at: usize, len: usize) {
    let read = reader.read(at as u64, len).await.unwrap();
    let end = (at + len).min(host.content().len());
    assert!(read == host.content()[at..end], "other bytes at {at}");
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "never {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_read_in_order_costs_one_request_without_a_range() {
    let host = FileHost::start(content(20 * MIB, 1)).await;
    let reader = open(&downloads(8), &host, "film.mkv");
    assert!(read_whole(&reader).await.unwrap() == host.content());
    assert_eq!(host.ranges(), [None]);
    assert_eq!(host.links(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_at_random_cost_one_request_each_and_never_tell_an_end() {
    let host = FileHost::start(content(8 * MIB, 2)).await;
    let reader = open(&downloads(8), &host, "disk.img");
    let places = [6 * MIB, MIB, 3 * MIB, 8 * MIB - 32 * KIB, 5 * MIB];
    for at in places {
        check_at(&reader, &host, at, 4 * KIB).await;
    }
    let asked: Vec<_> = places.iter().map(|at| Some(format!("bytes={at}-"))).collect();
    assert_eq!(host.ranges(), asked);
    check_at(&reader, &host, 0, 2).await;
    assert_eq!(host.ranges().last(), Some(&None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_pauses_takes_no_more_than_its_window() {
    let host = FileHost::start(content(40 * MIB, 3)).await;
    let reader = open(&downloads(8), &host, "film.mkv");
    check_at(&reader, &host, 0, 4 * KIB).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        host.bytes() < BUFFERS + (1 << 20),
        "{} bytes for a head",
        host.bytes()
    );
    for at in 0..64 {
        check_at(&reader, &host, at * 128 * KIB, 128 * KIB).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // 8 MiB read and 24 MiB ahead.
    let most = BUFFERS + (33 << 20);
    assert!(host.bytes() < most, "{} bytes sent", host.bytes());
    drop(reader);
    eventually("let go", || host.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_is_taken_up_by_its_start() {
    let host = FileHost::start(content(6 * MIB, 4)).await;
    host.script().broken = vec![MIB, 100, 3 * MIB + 7];
    let reader = open(&downloads(8), &host, "film.mkv");
    assert!(read_whole(&reader).await.unwrap() == host.content());
    let ranges = host.ranges();
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    assert!(ranges[1..].iter().flatten().all(|range| range.ends_with('-')));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_pauses_longer_than_the_host_bears_goes_on_where_it_was() {
    let host = FileHost::start(content(32 * MIB, 14)).await;
    host.script().patience = Duration::from_millis(200);
    let reader = open(&downloads(8), &host, "film.mkv");
    check_at(&reader, &host, 0, 128 * KIB).await;
    eventually("hung up", || host.open() == 0).await;
    host.script().patience = Duration::from_secs(600);
    assert!(read_whole(&reader).await.unwrap() == host.content());
    assert_eq!(host.ranges().len(), 2, "{:?}", host.ranges());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_wrong_length_is_never_read_wrong_or_short() {
    let host = FileHost::start(content(MIB, 13)).await;
    let options = Options {
        stall_timeout: Duration::from_secs(2),
        ..Options::default()
    };
    let downloads = Downloads::new(DataClient::new().unwrap(), options);
    let tail = host.content().len() - 500;
    host.script().length_off = -1000;
    check_at(&open(&downloads, &host, "film.mkv"), &host, 50_000, KIB).await;
    if let Ok(read) = open(&downloads, &host, "film.mkv").read(tail as u64, 500).await {
        assert!(
            read == host.content()[tail..],
            "other bytes than those of the file"
        );
    }
    host.script().length_off = 1000;
    let error = open(&downloads, &host, "film.mkv")
        .read(200_000, KIB)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_to_the_error_page_is_renewed_once_for_all_readers() {
    let host = FileHost::start(content(4 * MIB, 5)).await;
    let downloads = downloads(8);
    let readers: Vec<_> = (0..4).map(|_| open(&downloads, &host, "film.mkv")).collect();
    check_at(&readers[0], &host, 2 * MIB, KIB).await;
    assert_eq!(host.links(), 1);
    host.expire_links();
    join_all(readers.iter().map(|reader| check_at(reader, &host, MIB, KIB))).await;
    assert_eq!(host.links(), 2);
    assert_eq!(host.error_pages(), 0, "the error page was fetched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_link_that_is_refused_as_well_tells_what_the_host_said() {
    let host = FileHost::start(content(MIB, 6)).await;
    host.script().refuse_all = true;
    host.script().error = "File+removed%0Aby%20the%20owner".to_owned();
    let downloads = downloads(8);
    let error = read_whole(&open(&downloads, &host, "film.mkv"))
        .await
        .unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("film.mkv") && told.contains("File removed by the owner"),
        "{told}"
    );
    assert!(told.contains("new link"), "{told}");
    assert_eq!((host.links(), host.ranges().len()), (2, 2));
    host.script().refuse_all = false;
    assert!(read_whole(&open(&downloads, &host, "film.mkv")).await.unwrap() == host.content());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_downloads_told_by_the_error_page_are_waited_for_under_the_same_link() {
    let host = FileHost::start(content(MIB, 6)).await;
    host.script().refuse_all = true;
    host.script().error = "Too+many%20Concurrent+downloads.".to_owned();
    let reader = open(&downloads(8), &host, "film.mkv");
    let room = async {
        eventually("refused twice", || host.ranges().len() > 1).await;
        host.script().refuse_all = false;
    };
    let (read, ()) = tokio::join!(read_whole(&reader), room);
    assert!(read.unwrap() == host.content());
    assert_eq!(host.links(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_never_passes_for_a_file() {
    let host = FileHost::start(content(MIB, 7)).await;
    host.script().page = Some("<html>File has expired.</html>");
    for name in ["film.mkv", "page.html"] {
        for at in [0, 1000] {
            let reader = open(&downloads(8), &host, name);
            let error = reader.read(at, 10).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_too_many_connections_gets_fewer_and_all_is_read() {
    let host = FileHost::start(content(3 * MIB, 8)).await;
    host.script().limit = 3;
    host.script().pace = Duration::from_millis(5);
    let downloads = downloads(8);
    let readers: Vec<_> = (0..8)
        .map(|n| open(&downloads, &host, &format!("{n}.mkv")))
        .collect();
    for read in join_all(readers.iter().map(|reader| read_whole(reader))).await {
        assert!(read.unwrap() == host.content());
    }
    assert!(host.refusals() > 0);

    // What was learnt holds: far fewer than the configured eight are tried from now on.
    host.script().limit = usize::MAX;
    host.most_open();
    let readers: Vec<_> = (0..8)
        .map(|n| open(&downloads, &host, &format!("{n}.mkv")))
        .collect();
    for read in join_all(readers.iter().map(|reader| read_whole(reader))).await {
        assert!(read.unwrap() == host.content());
    }
    let most = host.most_open();
    // One that is given up may overlap with its successor for the host.
    assert!(most <= 5, "{most} connections at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_waited_for_as_long_as_the_host_says() {
    let host = FileHost::start(content(100 * KIB, 9)).await;
    host.script().limit = 0;
    host.script().retry_after = Some(2);
    let reader = open(&downloads(8), &host, "a.bin");
    let start = Instant::now();
    let opens = async {
        eventually("refused", || host.refusals() > 0).await;
        host.script().limit = 8;
    };
    let (read, ()) = tokio::join!(read_whole(&reader), opens);
    assert!(read.unwrap() == host.content());
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert_eq!(host.ranges().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stays_crowded_is_an_error_within_the_time_of_a_read() {
    let host = FileHost::start(content(100 * KIB, 10)).await;
    host.script().limit = 0;
    let options = Options {
        stall_timeout: Duration::from_secs(2),
        ..Options::default()
    };
    let downloads = Downloads::new(DataClient::new().unwrap(), options);
    let error = open(&downloads, &host, "a.bin").read(0, 10).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::Timeout)
            && error.to_string().contains("429"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_reader_does_not_keep_the_only_connection_from_others() {
    let host = FileHost::start(content(32 * MIB, 11)).await;
    let downloads = downloads(1);
    let paused = open(&downloads, &host, "film.mkv");
    check_at(&paused, &host, 0, 128 * KIB).await;
    assert_eq!(host.open(), 1, "the host still sends the paused reader's file");
    let other = open(&downloads, &host, "other.mkv");
    check_at(&other, &host, 9 * MIB, KIB).await;
    // Nor does a reader keep it from itself.
    check_at(&paused, &host, 20 * MIB, KIB).await;
    for at in 1..200 {
        check_at(&paused, &host, at * 128 * KIB, 128 * KIB).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_never_pause_share_the_only_connection() {
    let host = FileHost::start(content(12 * MIB, 12)).await;
    // About 5 s for a file: longer than a turn.
    host.script().pace = Duration::from_millis(25);
    let downloads = downloads(1);
    let first = open(&downloads, &host, "1.mkv");
    let second = open(&downloads, &host, "2.mkv");
    let start = Instant::now();
    let head = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        check_at(&second, &host, 0, KIB).await;
        start.elapsed()
    };
    let whole = async {
        assert!(read_whole(&first).await.unwrap() == host.content());
        start.elapsed()
    };
    let (head, whole) = tokio::join!(head, whole);
    assert!(
        head < whole,
        "one waited for the other to end: {head:?}, {whole:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_readers_gets_along_with_few_connections() {
    let host = FileHost::start(content(16 * MIB, 15)).await;
    let downloads = downloads(2);
    let paused: Vec<_> = (0..6)
        .map(|n| open(&downloads, &host, &format!("paused {n}")))
        .collect();
    join_all(paused.iter().map(|reader| check_at(reader, &host, 0, 64 * KIB))).await;
    let jumps = async |seed| {
        let reader = open(&downloads, &host, "disk.img");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..12 {
            let at = random.usize(..15 * MIB);
            check_at(&reader, &host, at, 4 * KIB).await;
            check_at(&reader, &host, at + 4 * KIB, 200 * KIB).await;
        }
    };
    let in_order = async |seed| {
        let reader = open(&downloads, &host, &format!("film {seed}"));
        assert!(read_whole(&reader).await.unwrap() == host.content());
    };
    tokio::join!(jumps(1), jumps(2), jumps(3), in_order(4), in_order(5));
    join_all(
        paused
            .iter()
            .map(|reader| check_at(reader, &host, 64 * KIB, 128 * KIB)),
    )
    .await;
    drop(paused);
    eventually("let go", || host.open() == 0).await;
}
