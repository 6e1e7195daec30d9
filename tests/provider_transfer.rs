//! From one service to another by a direct link: what is stored there arrives, and no byte of it passes here.

#[path = "support/provider_of.rs"]
mod provider_of;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lockerfs::http::{ApiClient, ApiOptions};
use lockerfs::provider::{Entry, ListHint, Provider, UploadProgress, UploadRequest};
use lockerfs::sandbox::{Account, Options, Sandbox};
use serde_json::Value;
use sha2::{Digest, Sha256};

use provider_of::provider_of;

const SIZE: usize = 3 << 20;
const NAME: &str = "a film (1).bin";

/// All services in one sandbox.
struct World {
    sandbox: Sandbox,
    admin: reqwest::Client,
    accounts: [Account; 4],
    _data: tempfile::TempDir,
}

impl World {
    async fn start() -> World {
        let data = tempfile::tempdir().unwrap();
        let mut options = Options::new(data.path());
        let accounts = [
            Account::mediafire("media"),
            Account::yetishare("yeti"),
            Account::mirrorace("ace"),
            Account::mirrored_to("to"),
        ];
        options.accounts = accounts.to_vec();
        options.quirks.processing = Duration::from_millis(30);
        options.quirks.redirect_links = true;
        ApiClient::new(ApiOptions::default()).unwrap();
        World {
            sandbox: Sandbox::start(options).await.unwrap(),
            admin: reqwest::Client::new(),
            accounts,
            _data: data,
        }
    }

    fn provider(&self, name: &str) -> Arc<dyn Provider> {
        let client = ApiClient::new(ApiOptions::default()).unwrap();
        let base_url = self.sandbox.base_url(name).parse().unwrap();
        let account = self.accounts.iter().find(|account| account.name == name).unwrap();
        provider_of(account, base_url, client)
    }

    async fn get(&self, page: &str) -> Value {
        let url = format!("http://{}/sandbox/{page}", self.sandbox.address());
        let text = self.admin.get(url).send().await.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap()
    }

    async fn holds(&self, account: &str, sha256: &str) -> bool {
        let files = self.get(&format!("files?account={account}")).await;
        let mut files = files.as_array().unwrap().iter();
        files.any(|file| file["sha256"] == sha256 && file["path"] == NAME)
    }
}

/// Bytes that nothing repeats.
fn content() -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    fastrand::Rng::with_seed(5).fill(&mut bytes);
    bytes
}

async fn finished(provider: &Arc<dyn Provider>, progress: UploadProgress) -> u64 {
    let began = Instant::now();
    let mut progress = progress;
    loop {
        progress = match progress {
            UploadProgress::Processing(ticket) => provider.upload_poll(&ticket).await.unwrap(),
            UploadProgress::Done(entry) => return entry.size,
            UploadProgress::Published(publication) => return publication.entry.size,
            progress => panic!("{progress:?}"),
        };
        assert!(began.elapsed() < Duration::from_secs(60), "{progress:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Has `to` fetch what stands in `from`, and looks at what went where.
async fn transfer(from: &str, to: &str) {
    let world = World::start().await;
    let bytes = content();
    let sha256 = hex::encode(Sha256::digest(&bytes));
    std::fs::write(world.sandbox.files_dir(from).join(NAME), bytes).unwrap();
    world.sandbox.rescan().await;
    let (source, target) = (world.provider(from), world.provider(to));
    let listing = source.list(&source.root(), ListHint::default()).await.unwrap();
    let Some(Entry::File(file)) = listing.entries.into_iter().next() else {
        panic!("{from} lists nothing")
    };
    let links = source.links(&[file.id]).await.unwrap();
    let link = links.into_iter().next().unwrap().unwrap();
    let request = UploadRequest {
        folder: target.root(),
        name: NAME.to_owned(),
        size: SIZE as u64,
        sha256: None,
        mtime: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000),
        replaces: None,
        sent_before: false,
    };
    let began = target.upload_from_link(&request, &link.url).await.unwrap();
    assert_eq!(finished(&target, began).await, SIZE as u64);
    assert!(world.holds(to, &sha256).await, "{from} to {to}");
    let calls = world.get("calls").await;
    assert_eq!(calls["fetched"], SIZE, "{calls}");
    let sent = calls["bytes_in"].as_u64().unwrap();
    assert!(sent < 64 << 10, "{from} to {to}: {sent} bytes were sent");
    let bodies = calls["bodies"].as_object().unwrap().values();
    let largest = bodies.filter_map(Value::as_u64).max().unwrap();
    assert!(largest < 16 << 10, "{calls}");
    // All that came out beside what the service fetched is answers.
    let out = calls["bytes_out"].as_u64().unwrap();
    assert!(out < SIZE as u64 + (256 << 10), "{calls}");
    world.sandbox.stop().await;
}

#[tokio::test]
async fn mediafire_to_mirrorace() {
    transfer("media", "ace").await;
}

#[tokio::test]
async fn mediafire_to_mirrored_to() {
    transfer("media", "to").await;
}

#[tokio::test]
async fn yetishare_to_mirrorace() {
    transfer("yeti", "ace").await;
}

#[tokio::test]
async fn yetishare_to_mirrored_to() {
    transfer("yeti", "to").await;
}

#[tokio::test]
async fn yetishare_to_mediafire() {
    transfer("yeti", "media").await;
}
