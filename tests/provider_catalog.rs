//! The catalog over the services that publish only: the promises of all providers on listings, names and folders,
//! and what it promises beyond.

// Only a part of the contract suite is used here.
#[allow(dead_code, unused_imports, unused_macros)]
#[path = "support/contract.rs"]
mod contract;
#[path = "support/mirror_target.rs"]
mod mirror_target;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use contract::{Content, Fault, Manner, Source, Step, Target};
use lockerfs::provider::{
    Capability, Catalog, DeleteMode, Entry, ErrorKind, FileEntry, FolderId, ItemId, ListHint, Provider,
    PublishedState, Retry, UploadPlan, UploadProgress,
};
use lockerfs::sandbox::Account;
use lockerfs::state::Database;
use mirror_target::MirrorTarget;

/// A service with its catalog, which outlives the clients.
struct WithCatalog {
    service: MirrorTarget,
    state: tempfile::TempDir,
    database: Database,
}

impl WithCatalog {
    async fn start(account: fn(&str) -> Account) -> WithCatalog {
        let state = tempfile::tempdir().unwrap();
        let database = Database::open(&state.path().join("state.db")).unwrap();
        let mut service = MirrorTarget::start(account, |_| {}).await;
        service.counter = Some(database.clone());
        WithCatalog {
            service,
            state,
            database,
        }
    }

    fn over(&self, provider: Arc<dyn Provider>) -> Arc<dyn Provider> {
        let ahead = self.service.ahead.clone();
        let clock = move || SystemTime::now() + Duration::from_secs(ahead.load(Ordering::Relaxed));
        Catalog::over(provider, "account", self.database.clone(), None, Arc::new(clock))
    }
}

#[async_trait]
impl Target for WithCatalog {
    fn provider(&self) -> Arc<dyn Provider> {
        self.over(self.service.provider())
    }

    fn refused_provider(&self) -> Arc<dyn Provider> {
        self.over(self.service.refused_provider())
    }

    async fn seed(&self, files: Vec<(String, Vec<u8>)>) {
        self.service.seed(files).await;
    }

    async fn inject(&self, faults: &[(Step, Fault)]) {
        self.service.inject(faults).await;
    }

    async fn calls(&self) -> u64 {
        self.service.calls().await
    }

    async fn calls_of(&self, step: Step) -> u64 {
        self.service.calls_of(step).await
    }

    async fn bytes_sent(&self) -> u64 {
        self.service.bytes_sent().await
    }

    async fn contents(&self) -> Vec<String> {
        self.service.contents().await
    }

    fn quota(&self) -> u64 {
        self.service.quota()
    }

    async fn stop(self: Box<Self>) {
        let WithCatalog {
            service,
            state,
            database,
        } = *self;
        Box::new(service).stop().await;
        database.close().await;
        drop(state);
    }
}

async fn mirrorace() -> Box<dyn Target> {
    Box::new(WithCatalog::start(|name| Account::mirrorace(name)).await)
}

async fn mirrored_to() -> Box<dyn Target> {
    Box::new(WithCatalog::start(|name| Account::mirrored_to(name)).await)
}

macro_rules! promises {
    ($($promise:ident)*) => {
        mod mirrorace_promises {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let target = crate::mirrorace().await;
                    crate::contract::$promise(target.as_ref()).await;
                    target.stop().await;
                }
            )*
        }
        mod mirrored_to_promises {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let target = crate::mirrored_to().await;
                    crate::contract::$promise(target.as_ref()).await;
                    target.stop().await;
                }
            )*
        }
    };
}

// Those on faults of calls that a catalog does not make are no matter of it.
promises! {
    names_come_back_as_they_went_in
    making_a_folder_again_returns_the_same
    renaming_and_moving_may_be_repeated
    deleting_what_is_gone_is_a_success
    deleting_a_folder_takes_its_content
    file_info_leaves_out_what_is_gone
    a_modification_time_is_kept
    empty_content_is_refused_without_a_call
    a_full_account_is_told_before_bytes_are_sent
    a_missing_folder_is_not_found
    a_missing_file_has_no_page_and_the_others_keep_theirs
    what_it_lacks_is_unsupported_without_a_call
    a_link_becomes_a_file_without_its_bytes_passing_here
    the_name_of_a_linked_file_is_told
    a_link_that_gives_no_file_is_refused_for_good
    a_service_that_takes_no_links_now_is_asked_later
}

async fn listed(provider: &Arc<dyn Provider>, folder: &FolderId) -> Vec<FileEntry> {
    let listing = provider.list(folder, ListHint::default()).await.unwrap();
    let files = listing.entries.into_iter().filter_map(|entry| match entry {
        Entry::File(file) => Some(file),
        Entry::Folder(_) => None,
    });
    files.collect()
}

#[tokio::test]
async fn a_linked_file_is_noted_under_our_name_without_a_hash_and_found_by_its_ticket() {
    for target in [
        WithCatalog::start(|name| Account::mirrorace(name)).await,
        WithCatalog::start(|name| Account::mirrored_to(name)).await,
    ] {
        let provider = target.provider();
        let content = Content::random(30, 1_000);
        let source = Source::serve(&content, Manner::File).await;
        let place = provider.create_folder(&provider.root(), "films").await.unwrap();
        let mut request = content.request(&place.id, "ours.bin");
        request.sha256 = None;
        let mut progress = provider.upload_from_link(&request, &source.link).await.unwrap();
        if let UploadProgress::Processing(ticket) = progress.clone() {
            drop(provider);
            let next = target.provider();
            progress = next.upload_poll(&ticket).await.unwrap();
            let calls = target.calls().await;
            // Its end was not heard of.
            assert_eq!(next.upload_poll(&ticket).await.unwrap(), progress);
            assert_eq!(target.calls().await, calls);
        }
        let UploadProgress::Done(entry) = progress else {
            panic!("{progress:?}")
        };
        assert_eq!(
            (entry.name.as_str(), entry.size, entry.hash),
            ("ours.bin", 1_000, None)
        );
        assert_eq!(entry.mtime, Some(request.mtime));
        assert_eq!(listed(&target.provider(), &place.id).await, [entry]);
    }
}

#[tokio::test]
async fn an_upload_ends_with_its_entry_and_an_end_that_was_not_heard_of_is_found() {
    let accounts: [fn(&str) -> Account; 2] =
        [|name| Account::mirrorace(name), |name| Account::mirrored_to(name)];
    for account in accounts {
        let target = WithCatalog::start(account).await;
        let provider = target.provider();
        let folder = provider
            .create_folder(&provider.root(), "films")
            .await
            .unwrap()
            .id;
        let content = Content::random(1, 1_000);
        let mut request = content.request(&folder, "x.bin");
        // The same process, and then others that know nothing of it.
        let plan = provider.upload_begin(&request).await.unwrap();
        let ticket = match plan {
            UploadPlan::Whole => match provider.upload_whole(&request, content.whole()).await.unwrap() {
                UploadProgress::Processing(ticket) => Some(ticket),
                progress => panic!("{progress:?}"),
            },
            UploadPlan::Ranges { session, .. } => {
                let done = provider
                    .upload_range(&request, &session, content.whole())
                    .await
                    .unwrap();
                assert!(matches!(done, UploadProgress::Done(_)), "{done:?}");
                None
            }
            plan => panic!("{plan:?}"),
        };
        if let Some(ticket) = &ticket {
            let done = target.provider().upload_poll(ticket).await.unwrap();
            assert!(matches!(done, UploadProgress::Done(_)), "{done:?}");
        }
        let entry = listed(&target.provider(), &folder).await.remove(0);
        assert_eq!(
            (entry.name.as_str(), entry.size, &entry.parent),
            ("x.bin", 1_000, &Some(folder))
        );
        assert_eq!(entry.mtime, Some(request.mtime));
        let calls = target.calls().await;
        if let Some(ticket) = &ticket {
            let again = target.provider().upload_poll(ticket).await.unwrap();
            assert_eq!(again, UploadProgress::Done(entry.clone()));
        }
        request.sent_before = true;
        let again = target.provider().upload_begin(&request).await.unwrap();
        assert_eq!(again, UploadPlan::Done(entry.clone()));
        assert_eq!(target.calls().await, calls, "no call for it");
        assert_eq!(target.service.files().await.len(), 1);
        // Other content, or another place, is another upload.
        request.name = "y.bin".to_owned();
        let other = target.provider().upload_begin(&request).await.unwrap();
        assert!(!matches!(other, UploadPlan::Done(_)), "{other:?}");
        Box::new(target).stop().await;
    }
}

#[tokio::test]
async fn links_are_those_that_the_service_told_and_cost_no_call() {
    let mirrorace = WithCatalog::start(|name| Account::mirrorace(name)).await;
    let mirrored_to = WithCatalog::start(|name| Account::mirrored_to(name)).await;
    for (target, has_short) in [(mirrorace, false), (mirrored_to, true)] {
        let provider = target.provider();
        let content = Content::random(9, 10);
        let request = content.request(&provider.root(), "my film.bin");
        let file = contract::upload(&provider, &request, &content).await.id;
        provider
            .rename(&ItemId::File(file.clone()), "other.bin", None)
            .await
            .unwrap();
        let calls = target.calls().await;
        let next = target.provider();
        let links = next
            .share_links(std::slice::from_ref(&file))
            .await
            .unwrap()
            .remove(0);
        let links = links.unwrap();
        assert!(links.url.path().contains(file.as_str()), "{links:?}");
        assert_eq!(links.short_url.is_some(), has_short, "{links:?}");
        assert_eq!(target.calls().await, calls);
        Box::new(target).stop().await;
    }
}

#[tokio::test]
async fn removing_an_entry_makes_no_call_and_leaves_the_file_on_the_service() {
    let target = WithCatalog::start(|name| Account::mirrorace(name)).await;
    let provider = target.provider();
    let content = Content::random(2, 1_000);
    let file = contract::upload(&provider, &content.request(&provider.root(), "x.bin"), &content).await;
    let calls = target.calls().await;
    let item = ItemId::File(file.id);
    provider
        .move_to(std::slice::from_ref(&item), &provider.root())
        .await
        .unwrap();
    provider.rename(&item, "y.bin", None).await.unwrap();
    provider.delete(&[item], DeleteMode::Purge).await.unwrap();
    assert!(listed(&provider, &provider.root()).await.is_empty());
    assert_eq!(target.calls().await, calls);
    assert_eq!(target.service.files().await.len(), 1);
    Box::new(target).stop().await;
}

#[tokio::test]
async fn nothing_can_be_read_and_the_reason_is_told() {
    let target = WithCatalog::start(|name| Account::mirrored_to(name)).await;
    let provider = target.provider();
    assert!(!provider.capabilities().has(Capability::Read));
    let content = Content::random(3, 10);
    let file = contract::upload(&provider, &content.request(&provider.root(), "x.bin"), &content).await;
    let error = provider.links(&[file.id]).await.unwrap_err();
    assert_eq!((error.kind, error.retry), (ErrorKind::Unsupported, Retry::Never));
    assert!(error.to_string().contains("publishes only"), "{error}");
    Box::new(target).stop().await;
}

#[tokio::test]
async fn files_are_asked_after_once_a_day_in_batches_and_marked() {
    let target = WithCatalog::start(|name| Account::mirrorace(name)).await;
    let provider = target.provider();
    let content = Content::random(4, 10);
    let mut files = Vec::new();
    for number in 0..60 {
        let request = content.request(&provider.root(), &format!("{number}.bin"));
        files.push(contract::upload(&provider, &request, &content).await.id);
    }
    assert_eq!(
        provider.check_published(50).await.unwrap(),
        0,
        "fresh from the service"
    );
    target.service.go_ahead(25 * 3600).await;
    target.service.withdraw(files[7].as_str(), "user removed").await;
    assert_eq!(provider.check_published(50).await.unwrap(), 50);
    assert_eq!(provider.check_published(50).await.unwrap(), 10);
    assert_eq!(provider.check_published(50).await.unwrap(), 0);
    assert_eq!(target.service.count("mirrorace/file/info").await, 2);
    let removed = PublishedState::Removed("user removed".to_owned());
    assert_eq!(provider.published_state(&files[7]), Some(removed.clone()));
    assert_eq!(provider.published_state(&files[8]), Some(PublishedState::Active));
    // It is listed still, and marked in another process too.
    let next = target.provider();
    assert_eq!(listed(&next, &next.root()).await.len(), 60);
    assert_eq!(next.published_state(&files[7]), Some(removed));
    // What is gone there is not taken for an upload that ended.
    let mut request = content.request(&next.root(), "7.bin");
    request.sent_before = true;
    assert!(!matches!(
        next.upload_begin(&request).await.unwrap(),
        UploadPlan::Done(_)
    ));
    Box::new(target).stop().await;
}

#[tokio::test]
async fn uploads_come_before_questions_within_the_calls_of_a_day() {
    let target = WithCatalog::start(|name| Account::mirrored_to(name)).await;
    let provider = target.provider();
    let content = Content::random(5, 10);
    let request = content.request(&provider.root(), "x.bin");
    contract::upload(&provider, &request, &content).await;
    target.service.go_ahead(25 * 3600).await;
    for number in 0..33 {
        let request = content.request(&provider.root(), &format!("{number}.bin"));
        contract::upload(&provider, &request, &content).await;
    }
    assert_eq!(provider.daily_calls().await.unwrap().spent, 99);
    assert_eq!(provider.check_published(1).await.unwrap(), 1);
    let request = content.request(&provider.root(), "last.bin");
    contract::upload(&provider, &request, &content).await;
    assert_eq!(provider.daily_calls().await.unwrap().spent, 103);
    // A question is not worth a call that uploads may need.
    target.service.go_ahead(25 * 3600).await;
    for number in 0..34 {
        let request = content.request(&provider.root(), &format!("next {number}.bin"));
        contract::upload(&provider, &request, &content).await;
    }
    assert_eq!(provider.daily_calls().await.unwrap().spent, 102);
    assert_eq!(
        provider.check_published(1).await.unwrap_err().kind,
        ErrorKind::RateLimited
    );
    assert_eq!(target.service.count("mirrored_to/get_file_info").await, 1);
    Box::new(target).stop().await;
}
