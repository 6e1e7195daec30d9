//! The promises of `Provider`, as tests that run on any provider.
//!
//! A [`Target`] is one account of one service that tests may fill and disturb. `contract_suite!` makes a module
//! of one test for each promise. A promise about a capability that the provider lacks holds when its method
//! answers [`ErrorKind::Unsupported`] without a call, which a promise of its own checks.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use lockerfs::http::{DataClient, DataRequest, FileRange};
use lockerfs::provider::{
    Capability, ChangeCursor, ContentHash, DeleteMode, DownloadLink, Entry, ErrorKind, FileEntry, FileId,
    FolderEntry, FolderId, ItemId, ListHint, Provider, PublishedState, Retry, UploadPlan, UploadProgress,
    UploadRequest,
};
use sha2::{Digest, Sha256};

/// An account that a promise is tried on, fresh and empty for each.
#[async_trait]
pub trait Target: Send + Sync + 'static {
    /// A new client with a login of its own.
    fn provider(&self) -> Arc<dyn Provider>;
    /// A new client whose credentials the service refuses.
    fn refused_provider(&self) -> Arc<dyn Provider>;
    /// Puts files into the account, not through a client. Paths are below the account's top folder.
    async fn seed(&self, files: Vec<(String, Vec<u8>)>);
    /// Lets faults befall the next calls of these steps, in place of any set before.
    async fn inject(&self, faults: &[(Step, Fault)]);
    /// Calls so far, logins included.
    async fn calls(&self) -> u64;
    /// Calls of one step so far.
    async fn calls_of(&self, step: Step) -> u64;
    /// Body bytes that clients sent so far.
    async fn bytes_sent(&self) -> u64;
    /// SHA-256 of each file that the account holds.
    async fn contents(&self) -> Vec<String>;
    /// Bytes that the account holds at most.
    fn quota(&self) -> u64;
    /// Ends the service.
    async fn stop(self: Box<Self>);
}

/// What a call is for, in terms of all services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Login,
    List,
    CreateFolder,
    Copy,
    DeleteFiles,
    UploadWhole,
    UploadUnit,
    UploadRemote,
}

/// What befalls a call, once.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It takes effect and is not answered.
    LostReply,
    /// It is answered with 503.
    Unavailable { retry_after: Option<u64> },
    /// It is answered with a web page.
    WebPage,
    /// Its answer ends half way.
    Truncated,
    /// Its token is not known any more.
    DeadToken,
    /// The content that it brings is lost while the service works on it.
    ContentLost,
}

/// Makes a module of tests, one for each promise. `$target` is an async expression that gives a `Box<dyn Target>`.
#[macro_export]
macro_rules! contract_suite {
    ($module:ident, $target:path) => {
        $crate::contract_suite!(@tests $module, $target,
            a_listing_is_complete_over_chunks
            a_part_known_to_be_empty_costs_no_call
            names_come_back_as_they_went_in
            twins_are_both_listed
            making_a_folder_again_returns_the_same
            renaming_and_moving_may_be_repeated
            a_copy_has_the_content_and_an_id_of_its_own
            a_copy_beside_its_original_is_a_file_of_its_own
            deleting_what_is_gone_is_a_success
            deleting_a_folder_takes_its_content
            file_info_leaves_out_what_is_gone
            files_of_any_size_arrive_whole
            content_that_the_service_holds_is_not_sent
            a_resumed_upload_sends_only_what_is_missing
            an_upload_whose_bytes_are_there_is_only_polled
            replacing_keeps_the_id
            a_name_held_by_an_unknown_file_is_told
            the_same_upload_announced_again_makes_no_twin
            an_upload_sent_again_after_a_lost_reply_makes_no_twin
            an_upload_whose_reply_is_lost_is_among_the_candidates
            a_twin_is_kept_beside_under_a_name_that_is_told
            empty_content_is_refused_without_a_call
            a_modification_time_is_kept
            changes_tell_what_happened
            links_serve_the_content
            a_link_of_a_missing_file_is_an_error_beside_the_others
            pages_to_hand_on_are_told_in_few_calls
            a_missing_file_has_no_page_and_the_others_keep_theirs
            a_lost_reply_is_an_unknown_outcome
            what_is_idempotent_may_follow_its_own_lost_reply
            a_copy_whose_reply_is_lost_may_be_there
            an_unavailable_service_says_when_to_come_back
            a_web_page_is_an_error_that_says_so
            a_truncated_answer_is_an_error
            refused_credentials_stop_all_calls
            a_dead_token_costs_one_login
            calls_in_a_row_need_one_login
            calls_side_by_side_all_succeed
            a_cancelled_call_harms_no_later_one
            a_full_account_is_told_before_bytes_are_sent
            lost_content_is_announced_again
            quota_and_use_are_told
            a_missing_folder_is_not_found
            a_link_becomes_a_file_without_its_bytes_passing_here
            the_name_of_a_linked_file_is_told
            a_link_that_gives_no_file_is_refused_for_good
            a_service_that_takes_no_links_now_is_asked_later
            a_link_told_again_after_a_lost_reply_makes_no_twin
            a_published_file_is_told_with_its_link
            what_is_published_is_never_sent_by_refused_credentials
            what_it_lacks_is_unsupported_without_a_call
        );
    };
    (@tests $module:ident, $target:path, $($promise:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let target: Box<dyn $crate::contract::Target> = $target().await;
                    $crate::contract::$promise(target.as_ref()).await;
                    target.stop().await;
                }
            )*
        }
    };
}

/// A content on the local disk, and how it is announced.
pub struct Content {
    file: Arc<File>,
    bytes: Vec<u8>,
}

impl Content {
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        Content {
            file: Arc::new(file),
            bytes,
        }
    }

    /// Bytes that no other seed repeats.
    pub fn random(seed: u64, size: usize) -> Self {
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        Content::new(bytes)
    }

    pub fn request(&self, folder: &FolderId, name: &str) -> UploadRequest {
        UploadRequest {
            folder: folder.clone(),
            name: name.to_owned(),
            size: self.bytes.len() as u64,
            sha256: Some(Sha256::digest(&self.bytes).into()),
            mtime: an_earlier_time(),
            replaces: None,
            sent_before: false,
        }
    }

    pub fn whole(&self) -> FileRange {
        self.range(0, self.bytes.len() as u64)
    }

    fn range(&self, offset: u64, length: u64) -> FileRange {
        FileRange::new(Arc::clone(&self.file), offset, length)
    }

    pub fn unit(&self, index: u32, unit_size: u64) -> (FileRange, [u8; 32]) {
        let offset = u64::from(index) * unit_size;
        let length = unit_size.min(self.bytes.len() as u64 - offset);
        let bytes = &self.bytes[offset as usize..(offset + length) as usize];
        (self.range(offset, length), Sha256::digest(bytes).into())
    }
}

fn an_earlier_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_234_567_890)
}

fn has(provider: &Arc<dyn Provider>, capability: Capability) -> bool {
    provider.capabilities().has(capability)
}

/// Ends a promise early where the provider lacks the capability.
macro_rules! need {
    ($provider:expr, $($capability:ident),+) => {
        if !($(has(&$provider, Capability::$capability))&&+) {
            return;
        }
    };
}

#[path = "contract/admin.rs"]
mod admin;
#[path = "contract/failures.rs"]
mod failures;
#[path = "contract/folders.rs"]
mod folders;
#[path = "contract/items.rs"]
mod items;
#[path = "contract/remote.rs"]
mod remote;
#[path = "contract/uploads.rs"]
mod uploads;

pub use admin::Admin;
pub use failures::*;
pub use folders::*;
pub use items::*;
pub use remote::*;
pub use uploads::*;

async fn names(provider: &Arc<dyn Provider>, folder: &FolderId) -> Vec<String> {
    let listing = provider.list(folder, ListHint::default()).await.unwrap();
    let mut names: Vec<_> = listing
        .entries
        .iter()
        .map(|entry| entry.name().to_owned())
        .collect();
    names.sort();
    names
}

async fn files(provider: &Arc<dyn Provider>, folder: &FolderId) -> Vec<FileEntry> {
    let listing = provider.list(folder, ListHint::default()).await.unwrap();
    let file = |entry| match entry {
        Entry::File(file) => Some(file),
        Entry::Folder(_) => None,
    };
    listing.entries.into_iter().filter_map(file).collect()
}

async fn folder(provider: &Arc<dyn Provider>, name: &str) -> FolderEntry {
    provider.create_folder(&provider.root(), name).await.unwrap()
}

/// Uploads, and tells what the service said of the file in the end.
async fn publish(provider: &Arc<dyn Provider>, request: &UploadRequest, content: &Content) -> UploadProgress {
    match provider.upload_begin(request).await.unwrap() {
        UploadPlan::Whole => {
            let sent = provider.upload_whole(request, content.whole()).await.unwrap();
            polled(provider, sent).await
        }
        UploadPlan::Ranges { max_chunk, session } => {
            assert!(max_chunk >= request.size);
            provider
                .upload_range(request, &session, content.whole())
                .await
                .unwrap()
        }
        plan => panic!("not a way to publish: {plan:?}"),
    }
}

/// Polls until the upload is over.
async fn polled(provider: &Arc<dyn Provider>, progress: UploadProgress) -> UploadProgress {
    let mut progress = progress;
    for _ in 0..500 {
        let UploadProgress::Processing(ticket) = &progress else {
            return progress;
        };
        progress = provider.upload_poll(ticket).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the upload is never done");
}

/// Sends what the plan asks for; the file, once it is there.
async fn carry_out(
    provider: &Arc<dyn Provider>,
    request: &UploadRequest,
    content: &Content,
    plan: UploadPlan,
) -> FileEntry {
    let progress = match plan {
        UploadPlan::Done(file) => return file,
        UploadPlan::Whole => provider
            .upload_whole(request, content.range(0, request.size))
            .await
            .unwrap(),
        UploadPlan::Units {
            unit_size,
            missing,
            ticket,
        } => {
            let mut last = ticket.map(UploadProgress::Processing);
            for index in missing {
                let (range, sha256) = content.unit(index, unit_size);
                last = Some(
                    provider
                        .upload_unit(request, index, &sha256, range)
                        .await
                        .unwrap(),
                );
            }
            last.expect("a plan of units has units or a ticket")
        }
        UploadPlan::Ranges { max_chunk, session } => {
            let mut offset = 0;
            loop {
                let length = max_chunk.min(request.size - offset);
                let part = content.range(offset, length);
                let progress = provider.upload_range(request, &session, part).await.unwrap();
                offset += length;
                if offset == request.size {
                    break progress;
                }
                assert_eq!(progress, UploadProgress::UnitTaken);
            }
        }
        plan => panic!("not a way to upload: {plan:?}"),
    };
    match polled(provider, progress).await {
        UploadProgress::Done(file) => file,
        UploadProgress::Published(publication) => {
            assert!(!has(provider, Capability::List));
            publication.entry
        }
        progress => panic!("the upload did not end in a file: {progress:?}"),
    }
}

pub async fn upload(provider: &Arc<dyn Provider>, request: &UploadRequest, content: &Content) -> FileEntry {
    let plan = provider.upload_begin(request).await.unwrap();
    carry_out(provider, request, content, plan).await
}

/// A small file of its own content in a folder.
async fn small_file(provider: &Arc<dyn Provider>, folder: &FolderId, name: &str) -> FileEntry {
    let content = Content::new(format!("the content of {name}").into_bytes());
    upload(provider, &content.request(folder, name), &content).await
}

/// The content of a file through its direct link, by the client that readers use.
async fn download(provider: &Arc<dyn Provider>, file: &FileId, size: u64) -> Vec<u8> {
    let links = provider.links(std::slice::from_ref(file)).await.unwrap();
    fetch(links.into_iter().next().unwrap().unwrap(), size).await
}

async fn fetch(link: DownloadLink, size: u64) -> Vec<u8> {
    assert!(link.expires > SystemTime::now());
    let mut bytes = Vec::new();
    if size > 0 {
        let want = DataRequest {
            range: 0..size,
            total: size,
            may_be_html: false,
            habits: link.habits,
        };
        let mut body = DataClient::new().unwrap().get(&link.url, &want).await.unwrap();
        while let Some(piece) = body.chunk().await.unwrap() {
            bytes.extend_from_slice(&piece);
        }
    }
    bytes
}
