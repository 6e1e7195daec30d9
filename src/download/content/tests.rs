use std::num::NonZeroUsize;
use std::time::Duration;

use sha2::Digest;
use tempfile::TempDir;

use super::*;
use crate::download::{Downloads, Options, Source};
use crate::http::{ApiClient, ApiOptions, DataClient};
use crate::provider::mediafire::{Credentials, MediaFire, Settings, TokenVersion};
use crate::provider::{ContentHash, FileId};

/// Blocks of the content.
const BLOCKS: u64 = 40;

fn bytes_of(block: u64) -> Bytes {
    Bytes::from(vec![block as u8; BLOCK as usize])
}

fn right(blocks: Range<u64>) -> Vec<(u64, Bytes)> {
    blocks.map(|block| (block * BLOCK, bytes_of(block))).collect()
}

fn wrong(block: u64) -> Vec<(u64, Bytes)> {
    vec![(block * BLOCK, bytes_of(200))]
}

/// A content whose service is never asked.
async fn content(cache: Option<Arc<BlockCache>>) -> Arc<Content> {
    let settings = Settings {
        base_url: "http://127.0.0.1:9".parse().unwrap(),
        credentials: Credentials::Password {
            email: "a@example.org".to_owned(),
            password: "secret".to_owned().into(),
        },
        application_id: "1".to_owned(),
        api_key: None,
        token_version: TokenVersion::V2,
    };
    let client = ApiClient::new(ApiOptions::default()).unwrap();
    let mut digest = sha2::Sha256::new();
    for (_, block) in right(0..BLOCKS) {
        digest.update(&block);
    }
    let source = Source {
        account: "a".to_owned(),
        provider: Arc::new(MediaFire::new(settings, client).unwrap()),
        file: FileId::new("file"),
        name: "film.mkv".to_owned(),
        size: BLOCKS * BLOCK,
        hash: Some(ContentHash::Sha256(digest.finalize().into())),
        revision: None,
    };
    let options = Options {
        connections: NonZeroUsize::new(8).unwrap(),
        cache,
        ..Options::default()
    };
    let content = Downloads::new(DataClient::new().unwrap(), options).content(source);
    content.prepare().await;
    content
}

fn cache(dir: &TempDir) -> Option<Arc<BlockCache>> {
    Some(BlockCache::open(&dir.path().join("blocks"), 64 << 20).unwrap())
}

#[tokio::test]
async fn what_a_flight_still_brings_once_all_was_thrown_away_is_not_kept() {
    let dir = TempDir::new().unwrap();
    let content = content(cache(&dir)).await;
    let before = content.epoch();
    content.throw_away();
    assert!(!content.put(&wrong(0), before));
    content.keep(wrong(0), before).await;
    assert!(!content.is_at_hand(0));
    assert!(content.put(&right(0..1), content.epoch()));
    content.keep(right(0..1), content.epoch()).await;
    assert_eq!(content.block_at_hand(0), Some(bytes_of(0)));
}

#[tokio::test]
async fn what_is_checked_is_what_lies_on_the_disk() {
    let dir = TempDir::new().unwrap();
    let content = content(cache(&dir)).await;
    content.keep(wrong(3), content.epoch()).await;
    let all = right(0..BLOCKS);
    content.put(&all, content.epoch());
    content.keep(all, content.epoch()).await;
    let disk = content.on_disk().unwrap();
    assert!(!disk.is_verified(), "a wrong block is on it");
}

#[tokio::test]
async fn bytes_found_wrong_are_gone_before_any_are_hashed_again() {
    let content = content(None).await;
    let mut blocks = right(0..BLOCKS);
    blocks[7] = wrong(7).remove(0);
    content.put(&blocks, content.epoch());
    assert!(!content.hash_on(u64::MAX));
    assert!(content.wrong().is_none() && !content.is_at_hand(0));
    assert_eq!(
        lock(&content.check).standing(content.size()),
        Standing::HashFrom(0)
    );
    content.put(&right(0..BLOCKS), content.epoch());
    content.keep(right(0..BLOCKS), content.epoch()).await;
    assert_eq!(lock(&content.check).standing(content.size()), Standing::HandOut);
}

#[tokio::test]
async fn a_flight_waits_for_the_hash_of_little_more_than_it_brought() {
    let content = content(None).await;
    content.put(&right(0..BLOCKS), content.epoch());
    assert!(content.hash_on(HASHED_ALONG * BLOCK), "there is more");
    let hashed = HASHED_ALONG * BLOCK;
    assert_eq!(
        lock(&content.check).standing(content.size()),
        Standing::HashFrom(hashed)
    );
    content.keep(right(0..1), content.epoch()).await;
    let all_hashed = async {
        while lock(&content.check).standing(content.size()) != Standing::HandOut {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, all_hashed)
        .await
        .expect("the rest is hashed by itself");
}

#[tokio::test]
async fn a_reader_counts_among_those_who_share_connections_while_a_flight_serves_it() {
    let content = content(None).await;
    let connections = Arc::clone(&content.fetcher().connections);
    let other = connections.join();
    let flight = content.bring(0..BLOCK, BLOCK, u64::MAX).remove(0);
    let interest = Arc::new(connections.join());
    flight.progress().count(&interest);
    flight.progress().count(&interest);
    drop(interest);
    assert_eq!(connections.readers(), 2);
    drop(flight);
    let one_is_left = async {
        while connections.readers() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, one_is_left)
        .await
        .expect("it goes with its flight");
    drop(other);
}

#[tokio::test]
async fn a_read_far_into_what_is_on_its_way_is_brought_by_one_flight() {
    let content = content(None).await;
    let _first = content.bring(0..BLOCK, content.size(), u64::MAX);
    let at = 36 * BLOCK;
    assert!(at > NEAR);
    let flights = content.bring(at..at + BLOCK, at + 3 * BLOCK, u64::MAX);
    assert_eq!(flights.len(), 1);
    assert_eq!(flights[0].progress().to_come(), at..at + 3 * BLOCK);
}

#[tokio::test]
async fn what_another_reader_has_brought_is_not_fetched_ahead() {
    let content = content(None).await;
    let permit = || content.fetcher().connections.try_acquire().unwrap();
    let first = content.fetch_ahead(0, 4 * BLOCK, permit()).unwrap();
    assert!(content.fetch_ahead(0, 4 * BLOCK, permit()).is_none());
    assert_eq!(content.first_gap(0, 8 * BLOCK), Some(4 * BLOCK));
    drop(first);
}

#[tokio::test]
async fn where_the_disk_keeps_nothing_no_more_is_fetched_ahead_than_memory_holds() {
    let dir = TempDir::new().unwrap();
    let full = BlockCache::open(&dir.path().join("blocks"), 256 << 20).unwrap();
    full.keep_free(u64::MAX);
    let content = content(Some(full)).await;
    content.keep(right(0..1), content.epoch()).await;
    assert_eq!(content.room(), content.memory.budget() / 2);
}
