//! The MediaFire client with its wrappers, while every tenth call of the service goes wrong.

#[path = "support/contract.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "only a part of the suite's tools is used here"
)]
mod contract;
#[path = "support/mediafire_target.rs"]
mod mediafire_target;

use std::sync::Arc;
use std::time::Duration;

use contract::{Content, Target};
use lockerfs::provider::mediafire::TokenVersion;
use lockerfs::provider::wrap::{Options, standard};
use lockerfs::provider::{
    Entry, FileEntry, FolderId, ListHint, Provider, ProviderError, UploadPlan, UploadProgress, UploadRequest,
};
use mediafire_target::MediaFireTarget;

/// One try from the announcement on, as an uploader makes it.
async fn try_upload(
    provider: &Arc<dyn Provider>,
    request: &UploadRequest,
    content: &Content,
) -> Result<Option<FileEntry>, ProviderError> {
    let mut progress = match provider.upload_begin(request).await? {
        UploadPlan::Done(file) => return Ok(Some(file)),
        UploadPlan::Whole => provider.upload_whole(request, content.whole()).await?,
        UploadPlan::Units {
            unit_size,
            missing,
            ticket,
        } => {
            let mut last = ticket.map_or(UploadProgress::StartAgain, UploadProgress::Processing);
            for index in missing {
                let (range, sha256) = content.unit(index, unit_size);
                last = provider.upload_unit(request, index, &sha256, range).await?;
            }
            last
        }
        plan => panic!("{} cannot be uploaded: {plan:?}", request.name),
    };
    for _ in 0..200 {
        match progress {
            UploadProgress::Processing(ticket) => progress = provider.upload_poll(&ticket).await?,
            UploadProgress::Done(file) => return Ok(Some(file)),
            _ => return Ok(None),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(None)
}

async fn arrive(provider: Arc<dyn Provider>, folder: FolderId, number: u64) -> (String, FileEntry) {
    let size = if number % 10 == 9 { 5 << 20 } else { 100 };
    let content = Content::random(number + 1, size);
    let name = format!("file {number}");
    let request = content.request(&folder, &name);
    for _ in 0..100 {
        match try_upload(&provider, &request, &content).await {
            Ok(Some(file)) => return (name, file),
            // Time for what may have been taken to come to light, as an uploader allows it.
            Ok(None) | Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    panic!("{name} never arrives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_upload_arrives_once_and_right_through_a_storm_of_faults() {
    for version in [TokenVersion::V1, TokenVersion::V2] {
        let target = MediaFireTarget::start_with(version, |options| {
            options.fail_rate = 0.1;
            options.seed = 7;
        })
        .await;
        let options = Options {
            backoff: Duration::from_millis(10),
            ..Options::default()
        };
        let provider = standard(target.provider(), "storm", &options);
        let mut folder = None;
        for _ in 0..10 {
            folder = provider.create_folder(&provider.root(), "storm").await.ok();
            if folder.is_some() {
                break;
            }
        }
        let folder = folder.unwrap().id;
        let mut files = Vec::new();
        for start in (0..60).step_by(6) {
            let batch =
                (start..start + 6).map(|number| arrive(Arc::clone(&provider), folder.clone(), number));
            files.extend(futures_util::future::join_all(batch).await);
        }
        let mut listing = provider.list(&folder, ListHint::default()).await;
        for _ in 0..10 {
            if listing.is_ok() {
                break;
            }
            listing = provider.list(&folder, ListHint::default()).await;
        }
        let entries = listing.unwrap().entries;
        let mut names: Vec<_> = entries.iter().map(|entry| entry.name().to_owned()).collect();
        names.sort();
        let mut expected: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
        expected.sort();
        assert_eq!(names, expected, "{version:?}");
        for (name, file) in &files {
            let listed = entries.iter().find_map(|entry| match entry {
                Entry::File(listed) if listed.id == file.id => Some(listed),
                _ => None,
            });
            assert_eq!(
                listed.map(|listed| (&listed.name, listed.hash)),
                Some((name, file.hash))
            );
        }
    }
}
