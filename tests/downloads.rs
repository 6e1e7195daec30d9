//! Reading files of an account in the sandbox.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use lockerfs::download::{DownloadError, Downloads, Options, Reader, Source};
use lockerfs::http::{ApiClient, ApiOptions, DataClient};
use lockerfs::provider::mediafire::{Credentials, MediaFire, Settings, TokenVersion};
use lockerfs::provider::{ContentHash, Entry, ErrorKind, FileEntry, FileId, ListHint, Provider};
use lockerfs::sandbox::{self, Account, Sandbox};
use lockerfs::upload::{Base, BaseContent};
use serde_json::{Value, json};
use tempfile::TempDir;

const ACCOUNT: &str = "media";
const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

struct Service {
    sandbox: Sandbox,
    provider: Arc<dyn Provider>,
    downloads: Arc<Downloads>,
    files: HashMap<String, FileEntry>,
    admin: reqwest::Client,
    _data: TempDir,
}

fn content(size: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

impl Service {
    /// A sandbox that holds these files, and what reads them. Counts begin after the listing.
    async fn with(files: &[(&str, &[u8])], adjust: impl FnOnce(&mut sandbox::Options)) -> Self {
        let data = TempDir::new().unwrap();
        let live: PathBuf = data.path().join(ACCOUNT).join("files");
        std::fs::create_dir_all(&live).unwrap();
        for (name, bytes) in files {
            std::fs::write(live.join(name), bytes).unwrap();
        }
        let account = Account::mediafire(ACCOUNT);
        let mut options = sandbox::Options::new(data.path());
        options.accounts = vec![account.clone()];
        adjust(&mut options);
        let client = ApiClient::new(ApiOptions::default()).unwrap();
        let sandbox = Sandbox::start(options).await.unwrap();
        let settings = Settings {
            base_url: sandbox.base_url(ACCOUNT).parse().unwrap(),
            credentials: Credentials::Password {
                email: account.email,
                password: account.password.into(),
            },
            application_id: "42511".to_owned(),
            api_key: None,
            token_version: TokenVersion::V2,
        };
        let provider: Arc<dyn Provider> = Arc::new(MediaFire::new(settings, client).unwrap());
        let listing = provider
            .list(&provider.root(), ListHint::default())
            .await
            .unwrap();
        let files = listing.entries.into_iter().filter_map(|entry| match entry {
            Entry::File(file) => Some((file.name.clone(), file)),
            Entry::Folder(_) => None,
        });
        let options = Options {
            stall_timeout: Duration::from_secs(20),
            ..Options::default()
        };
        let service = Service {
            files: files.collect(),
            sandbox,
            downloads: Downloads::new(DataClient::new().unwrap(), options),
            provider,
            admin: reqwest::Client::new(),
            _data: data,
        };
        service.post("calls/reset", Value::Null).await;
        service
    }

    async fn post(&self, page: &str, body: Value) {
        let url = format!("http://{}/sandbox/{page}", self.sandbox.address());
        let answer = self.admin.post(url).body(body.to_string()).send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{page}: {}",
            answer.text().await.unwrap()
        );
    }

    async fn faults(&self, rules: Value) {
        self.post("faults", rules).await;
    }

    async fn counts(&self) -> Value {
        let url = format!("http://{}/sandbox/calls", self.sandbox.address());
        serde_json::from_str(&self.admin.get(url).send().await.unwrap().text().await.unwrap()).unwrap()
    }

    /// Link calls and GETs since the listing.
    async fn calls(&self) -> (u64, u64) {
        let counts = self.counts().await;
        let count = |name: &str| counts["calls"][name].as_u64().unwrap_or(0);
        (count("file/get_links"), count("download"))
    }

    fn source(&self, name: &str) -> Source {
        let file = &self.files[name];
        Source {
            account: ACCOUNT.to_owned(),
            provider: Arc::clone(&self.provider),
            file: file.id.clone(),
            name: name.to_owned(),
            size: file.size,
            hash: file.hash,
            revision: file.revision.clone(),
        }
    }

    fn open(&self, name: &str) -> Arc<Reader> {
        self.downloads.open(self.source(name))
    }
}

async fn read_whole(reader: &Reader, step: usize) -> Result<Vec<u8>, DownloadError> {
    let mut all = Vec::new();
    loop {
        let bytes = reader.read(all.len() as u64, step).await?;
        if bytes.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&bytes);
    }
}

fn same(read: &[u8], expected: &[u8]) {
    assert_eq!(read.len(), expected.len());
    assert!(read == expected, "other bytes than those of the file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_costs_one_link_call_and_one_get() {
    let bytes = content(250 * KIB, 1);
    let service = Service::with(&[("small.bin", &bytes)], |_| {}).await;
    let reader = service.open("small.bin");
    assert_eq!(
        service.calls().await,
        (0, 0),
        "a call before the first byte is wanted"
    );
    same(&read_whole(&reader, 4 * KIB).await.unwrap(), &bytes);
    assert_eq!(reader.read(1 << 40, 10).await.unwrap(), Bytes::new());
    assert_eq!(service.calls().await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_costs_no_call() {
    let service = Service::with(&[("empty.bin", b"")], |_| {}).await;
    assert!(
        read_whole(&service.open("empty.bin"), KIB)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(service.calls().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_read_in_growing_ranges() {
    let bytes = content(12 * MIB, 2);
    let service = Service::with(&[("large.bin", &bytes)], |_| {}).await;
    same(
        &read_whole(&service.open("large.bin"), 128 * KIB).await.unwrap(),
        &bytes,
    );
    let (links, gets) = service.calls().await;
    assert_eq!(links, 1);
    assert!(gets <= 16, "{gets} GETs for 12 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_of_several_files_are_asked_for_together() {
    let files: Vec<(String, Vec<u8>)> = (0..20).map(|n| (format!("{n}.bin"), content(1000, n))).collect();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let service = Service::with(&files, |_| {}).await;
    let readers: Vec<_> = files.iter().map(|(name, _)| service.open(name)).collect();
    let read = join_all(readers.iter().map(|reader| reader.read(0, MIB))).await;
    for (read, (_, bytes)) in read.into_iter().zip(&files) {
        same(&read.unwrap(), bytes);
    }
    let (links, gets) = service.calls().await;
    assert!(links <= 2, "{links} link calls for 20 files");
    assert_eq!(gets, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_side_by_side_and_out_of_order_share_one_stream() {
    let bytes = content(6 * MIB, 3);
    let service = Service::with(&[("video.bin", &bytes)], |_| {}).await;
    let reader = service.open("video.bin");
    let mut at = 0;
    while at < bytes.len() {
        // As the kernel's read-ahead asks: several at once, not always in order.
        let parts: Vec<usize> = [1, 0, 3, 2].iter().map(|n| at + n * 128 * KIB).collect();
        if at == 0 {
            reader.read(0, 4 * KIB).await.unwrap();
        }
        let read = join_all(parts.iter().map(|part| reader.read(*part as u64, 128 * KIB))).await;
        for (part, read) in parts.iter().zip(read) {
            same(&read.unwrap(), &bytes[*part..part + 128 * KIB]);
        }
        at += 512 * KIB;
    }
    let (links, gets) = service.calls().await;
    assert_eq!(links, 1);
    assert!(gets <= 16, "{gets} GETs for 6 MiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_read_out_of_order_is_one_get() {
    let bytes = content(250 * KIB, 16);
    let service = Service::with(&[("small.bin", &bytes)], |_| {}).await;
    let reader = service.open("small.bin");
    let parts = [128 * KIB, 0];
    for (part, read) in parts
        .iter()
        .zip(join_all(parts.iter().map(|at| reader.read(*at as u64, 128 * KIB))).await)
    {
        same(&read.unwrap(), &bytes[*part..(part + 128 * KIB).min(bytes.len())]);
    }
    assert_eq!(service.calls().await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_failed_reads_again_once_the_service_is_well() {
    let bytes = content(2 * MIB, 17);
    let service = Service::with(&[("a.bin", &bytes)], |_| {}).await;
    let reader = service.open("a.bin");
    service
        .faults(json!([{"match": "download", "fault": "html"}]))
        .await;
    assert!(reader.read(0, 64 * KIB).await.is_err());
    service.faults(json!([])).await;
    same(&read_whole(&reader, 64 * KIB).await.unwrap(), &bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_reads_fetch_little_more_than_they_ask_for() {
    let bytes = content(16 * MIB, 4);
    let service = Service::with(&[("disk.img", &bytes)], |_| {}).await;
    let reader = service.open("disk.img");
    let mut random = fastrand::Rng::with_seed(4);
    for _ in 0..20 {
        let at = random.usize(MIB..bytes.len() - 4 * KIB);
        same(
            &reader.read(at as u64, 4 * KIB).await.unwrap(),
            &bytes[at..at + 4 * KIB],
        );
    }
    let tail = bytes.len() - 100;
    same(&reader.read(tail as u64, 4 * KIB).await.unwrap(), &bytes[tail..]);
    let sent = service.counts().await["bytes_out"].as_u64().unwrap();
    assert!(sent < 2 * MIB as u64, "{sent} bytes sent for 21 small reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_read_at_the_head_does_not_fetch_the_file() {
    let service = Service::with(&[("disk.img", &content(8 * MIB, 5))], |_| {}).await;
    let reader = service.open("disk.img");
    reader.read(0, 4 * KIB).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = service.counts().await["bytes_out"].as_u64().unwrap();
    assert!(sent < MIB as u64, "{sent} bytes sent for a head");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_or_goes_holds_the_service_no_longer() {
    let service = Service::with(&[("disk.img", &content(24 * MIB, 6))], |_| {}).await;
    let reader = service.open("disk.img");
    for at in 0..40 {
        reader.read(at * 128 * KIB as u64, 128 * KIB).await.unwrap();
    }
    drop(reader);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = service.counts().await["bytes_out"].as_u64().unwrap();
    // 5 MiB read, 4 ahead, and what lies in the buffers of both ends.
    assert!(sent < 20 * MIB as u64, "{sent} bytes sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_ran_out_is_renewed_where_the_read_stands() {
    let bytes = content(8 * MIB, 7);
    let short = |options: &mut sandbox::Options| options.quirks.link_life = Duration::from_millis(400);
    let service = Service::with(&[("film.bin", &bytes), ("page.html", &bytes)], short).await;
    for name in ["film.bin", "page.html"] {
        let reader = service.open(name);
        same(&reader.read(0, 64 * KIB).await.unwrap(), &bytes[..64 * KIB]);
        tokio::time::sleep(Duration::from_millis(600)).await;
        same(
            &reader.read(5 << 20, 64 * KIB).await.unwrap(),
            &bytes[5 << 20..(5 << 20) + 64 * KIB],
        );
    }
    assert_eq!(service.calls().await.0, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_fails_again_when_it_is_new_is_an_error_after_one_renewal() {
    let service = Service::with(&[("a.bin", &content(1000, 8))], |_| {}).await;
    for (fault, kind) in [
        (json!({"match": "download", "fault": "html"}), ErrorKind::Corrupt),
        (
            json!({"match": "download", "fault": "status", "status": 403}),
            ErrorKind::PermissionDenied,
        ),
        (
            json!({"match": "download", "fault": "status", "status": 410}),
            ErrorKind::NotFound,
        ),
    ] {
        service.faults(json!([fault])).await;
        service.post("calls/reset", Value::Null).await;
        let error = service.open("a.bin").read(0, 100).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains("a.bin"), "{error}");
        let (links, gets) = service.calls().await;
        assert!(links <= 2 && gets == 2, "{links} link calls, {gets} GETs");
    }
    service.faults(json!([])).await;
    assert_eq!(service.open("a.bin").read(0, 100).await.unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_is_taken_up_where_it_broke() {
    let bytes = content(5 * MIB, 9);
    let service = Service::with(&[("film.bin", &bytes)], |_| {}).await;
    for fault in ["truncate", "reset", "lost_reply"] {
        service
            .faults(json!([{"match": "download", "fault": fault, "times": 4, "rate": 0.5}]))
            .await;
        let read = read_whole(&service.open("film.bin"), 128 * KIB).await;
        same(&read.unwrap_or_else(|error| panic!("{fault}: {error}")), &bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_service_is_asked_again_when_it_says() {
    let bytes = content(1000, 10);
    let service = Service::with(&[("a.bin", &bytes)], |_| {}).await;
    let busy = json!({"match": "download", "fault": "status", "status": 503, "retry_after": 1, "times": 1});
    service.faults(json!([busy])).await;
    let start = Instant::now();
    same(&service.open("a.bin").read(0, 1000).await.unwrap(), &bytes);
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_size_than_told_is_refused() {
    let service = Service::with(&[("a.bin", &content(100_000, 11))], |_| {}).await;
    for size in [99_999, 100_001] {
        let reader = service.downloads.open(Source {
            size,
            hash: None,
            ..service.source("a.bin")
        });
        let error = reader.read(0, 100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_another_hash_fails_at_its_last_bytes() {
    let bytes = content(3 * MIB, 12);
    let service = Service::with(&[("a.bin", &bytes)], |_| {}).await;
    let hash = Some(ContentHash::Sha256([7; 32]));
    let reader = service.downloads.open(Source {
        hash,
        ..service.source("a.bin")
    });
    let head = reader.read(0, MIB).await.unwrap();
    same(&head, &bytes[..MIB]);
    let error = read_whole(&reader, 128 * KIB).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_ignores_ranges_is_read_in_few_requests() {
    let bytes = content(4 * MIB, 13);
    let service = Service::with(&[("a.bin", &bytes)], |options| {
        options.quirks.ignore_ranges = true
    })
    .await;
    let reader = service.open("a.bin");
    same(&reader.read(0, 64 * KIB).await.unwrap(), &bytes[..64 * KIB]);
    same(
        &reader.read(700_000, 64 * KIB).await.unwrap(),
        &bytes[700_000..700_000 + 64 * KIB],
    );
    let far = service.open("a.bin").read(3 << 20, 64 * KIB).await.unwrap();
    same(&far, &bytes[3 * MIB..3 * MIB + 64 * KIB]);
    let before = service.calls().await.1;
    let whole = read_whole(&service.open("a.bin"), 128 * KIB).await.unwrap();
    same(&whole, &bytes);
    // The first answer shows what the service does; the second goes to the end.
    let gets = service.calls().await.1 - before;
    assert!(gets <= 2, "{gets} GETs");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed() {
    let bytes = content(1000, 14);
    let service = Service::with(&[("a.bin", &bytes)], |options| {
        options.quirks.redirect_links = true
    })
    .await;
    same(&service.open("a.bin").read(0, 1000).await.unwrap(), &bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_not_found() {
    let service = Service::with(&[("a.bin", b"x")], |_| {}).await;
    let file = FileId::new("abcdefghijklmno");
    let reader = service.downloads.open(Source {
        file,
        ..service.source("a.bin")
    });
    let error = reader.read(0, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_gets_the_parts_of_its_base() {
    let bytes = content(3 * MIB, 15);
    let service = Service::with(&[("a.bin", &bytes)], |_| {}).await;
    let file = &service.files["a.bin"];
    let base = Base {
        file: file.id.clone(),
        size: file.size,
        hash: file.hash,
        revision: None,
        account: None,
    };
    let unknown = service.downloads.read(ACCOUNT, &base, 0..10).await.unwrap_err();
    assert_eq!(unknown.kind, ErrorKind::Unsupported);
    service.downloads.register(ACCOUNT, Arc::clone(&service.provider));
    let middle = service
        .downloads
        .read(ACCOUNT, &base, 1000..2_000_000)
        .await
        .unwrap();
    same(&middle, &bytes[1000..2_000_000]);
    assert_eq!(service.calls().await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_readers_need_no_more_connections_than_are_allowed() {
    let bytes = content(5 * MIB, 18);
    let service = Service::with(&[("a.bin", &bytes)], |_| {}).await;
    for connections in [1, 2] {
        let options = Options {
            connections: NonZeroUsize::new(connections).unwrap(),
            ..Options::default()
        };
        let downloads = Downloads::new(DataClient::new().unwrap(), options);
        let readers: Vec<_> = (0..5).map(|_| downloads.open(service.source("a.bin"))).collect();
        for read in join_all(readers.iter().map(|reader| read_whole(reader, 128 * KIB))).await {
            same(&read.unwrap(), &bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_under_a_look_ahead_needs_no_second_one() {
    let bytes = content(12 * MIB, 19);
    let service = Service::with(&[("a.bin", &bytes)], |_| {}).await;
    let options = Options {
        connections: NonZeroUsize::new(2).unwrap(),
        ..Options::default()
    };
    let downloads = Downloads::new(DataClient::new().unwrap(), options);
    service
        .faults(json!([{"match": "download", "fault": "truncate", "times": 6, "rate": 0.5}]))
        .await;
    let readers: Vec<_> = (0..3).map(|_| downloads.open(service.source("a.bin"))).collect();
    for read in join_all(readers.iter().map(|reader| read_whole(reader, 128 * KIB))).await {
        same(&read.unwrap(), &bytes);
    }
}
