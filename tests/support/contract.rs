//! The promises of `Provider`, as tests that run on any provider.
//!
//! A [`Target`] is one account of one service that tests may fill and disturb. `contract_suite!` makes a module
//! of one test for each promise. A promise about a capability that the provider lacks holds when its method
//! answers [`ErrorKind::Unsupported`] without a call, which a promise of its own checks.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use lockerfs::http::FileRange;
use lockerfs::provider::{
    Capability, ChangeCursor, ContentHash, DeleteMode, Entry, ErrorKind, FileEntry, FileId, FolderEntry,
    FolderId, ItemId, ListHint, Provider, Retry, UploadPlan, UploadProgress, UploadRequest,
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
            a_modification_time_is_kept
            changes_tell_what_happened
            links_serve_the_content
            a_link_of_a_missing_file_is_an_error_beside_the_others
            a_lost_reply_is_an_unknown_outcome
            an_unavailable_service_says_when_to_come_back
            a_web_page_is_an_error_that_says_so
            a_truncated_answer_is_an_error
            refused_credentials_stop_all_calls
            a_dead_token_costs_one_login
            calls_side_by_side_all_succeed
            a_cancelled_call_harms_no_later_one
            a_full_account_is_told_before_bytes_are_sent
            lost_content_is_announced_again
            quota_and_use_are_told
            a_missing_folder_is_not_found
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
struct Content {
    file: Arc<File>,
    bytes: Vec<u8>,
}

impl Content {
    fn new(bytes: Vec<u8>) -> Self {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        Content {
            file: Arc::new(file),
            bytes,
        }
    }

    /// Bytes that no other seed repeats.
    fn random(seed: u64, size: usize) -> Self {
        let mut bytes = vec![0; size];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        Content::new(bytes)
    }

    fn request(&self, folder: &FolderId, name: &str) -> UploadRequest {
        UploadRequest {
            folder: folder.clone(),
            name: name.to_owned(),
            size: self.bytes.len() as u64,
            sha256: Sha256::digest(&self.bytes).into(),
            mtime: an_earlier_time(),
            replaces: None,
        }
    }

    fn range(&self, offset: u64, length: u64) -> FileRange {
        FileRange {
            file: Arc::clone(&self.file),
            offset,
            length,
        }
    }

    fn unit(&self, index: u32, unit_size: u64) -> (FileRange, [u8; 32]) {
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
        plan => panic!("not a way to upload: {plan:?}"),
    };
    match polled(provider, progress).await {
        UploadProgress::Done(file) => file,
        progress => panic!("the upload did not end in a file: {progress:?}"),
    }
}

async fn upload(provider: &Arc<dyn Provider>, request: &UploadRequest, content: &Content) -> FileEntry {
    let plan = provider.upload_begin(request).await.unwrap();
    carry_out(provider, request, content, plan).await
}

/// A small file of its own content in a folder.
async fn small_file(provider: &Arc<dyn Provider>, folder: &FolderId, name: &str) -> FileEntry {
    let content = Content::new(format!("the content of {name}").into_bytes());
    upload(provider, &content.request(folder, name), &content).await
}

async fn download(provider: &Arc<dyn Provider>, file: &FileId) -> Vec<u8> {
    let link = provider
        .links(std::slice::from_ref(file))
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert!(link.expires > SystemTime::now());
    reqwest::get(link.url)
        .await
        .unwrap()
        .error_for_status()
        .unwrap()
        .bytes()
        .await
        .unwrap()
        .to_vec()
}

pub async fn a_listing_is_complete_over_chunks(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List);
    let name = |i: usize| format!("file {i:04}.txt");
    let seeds = (0..2_101)
        .map(|i| (format!("many/{}", name(i)), i.to_string().into_bytes()))
        .collect();
    target.seed(seeds).await;
    let root = provider
        .list(&provider.root(), ListHint::default())
        .await
        .unwrap();
    let [Entry::Folder(many)] = root.entries.as_slice() else {
        panic!("{root:?}")
    };
    let found = names(&provider, &many.id).await;
    assert_eq!(found, (0..2_101).map(name).collect::<Vec<_>>());
}

pub async fn a_part_known_to_be_empty_costs_no_call(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, CreateFolder);
    let top = folder(&provider, "empty").await;
    let before = target.calls_of(Step::List).await;
    let hint = ListHint {
        files: Some(0),
        folders: Some(0),
    };
    assert!(provider.list(&top.id, hint).await.unwrap().entries.is_empty());
    assert_eq!(target.calls_of(Step::List).await, before);
}

pub async fn names_come_back_as_they_went_in(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, Write, CreateFolder);
    let rules = provider.name_rules();
    let wanted = [
        "plain.txt",
        "two words.txt",
        "grüße.txt",
        "日本語.txt",
        "emoji 🦀.txt",
        "a&b=c+d%20.txt",
        "quo'te\".txt",
        "semi;colon#hash?.txt",
        "back\\slash.txt",
        ".hidden",
    ];
    let usable = |name: &&str| {
        !name.contains(|c| rules.forbidden.contains(c)) && (rules.leading_dot || !name.starts_with('.'))
    };
    let wanted: Vec<_> = wanted.into_iter().filter(usable).collect();
    let place = folder(&provider, "ordner mit ümlaut & zeichen").await;
    for name in &wanted {
        let file = small_file(&provider, &place.id, name).await;
        assert_eq!(file.name, *name);
        provider
            .create_folder(&place.id, &format!("{name} folder"))
            .await
            .unwrap();
    }
    let mut expected: Vec<String> = wanted
        .iter()
        .flat_map(|name| [(*name).to_owned(), format!("{name} folder")])
        .collect();
    expected.sort();
    assert_eq!(names(&provider, &place.id).await, expected);
}

pub async fn twins_are_both_listed(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, Write, CreateFolder, Rename);
    let place = folder(&provider, "twins").await;
    let (a, b) = (
        small_file(&provider, &place.id, "a.txt").await,
        small_file(&provider, &place.id, "b.txt").await,
    );
    match provider.rename(&ItemId::File(b.id.clone()), "a.txt").await {
        Ok(()) => {
            let ids: HashSet<_> = files(&provider, &place.id)
                .await
                .into_iter()
                .map(|file| file.id)
                .collect();
            assert_eq!(ids, HashSet::from([a.id, b.id]));
        }
        // A service without twins must say that the name is taken.
        Err(error) => assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}"),
    }
}

pub async fn making_a_folder_again_returns_the_same(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, CreateFolder, List);
    let first = folder(&provider, "once").await;
    assert_eq!(first.name, "once");
    assert_eq!(folder(&provider, "once").await.id, first.id);
    assert_eq!(names(&provider, &provider.root()).await, ["once"]);
}

pub async fn renaming_and_moving_may_be_repeated(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, Write, CreateFolder, Rename, Move);
    let (from, to) = (folder(&provider, "from").await, folder(&provider, "to").await);
    let file = small_file(&provider, &from.id, "old.txt").await;
    let sub = provider.create_folder(&from.id, "old sub").await.unwrap();
    let items = [ItemId::File(file.id.clone()), ItemId::Folder(sub.id.clone())];
    for _ in 0..2 {
        provider.rename(&items[0], "new.txt").await.unwrap();
        provider.rename(&items[1], "new sub").await.unwrap();
    }
    assert_eq!(names(&provider, &from.id).await, ["new sub", "new.txt"]);
    for _ in 0..2 {
        provider.move_to(&items, &to.id).await.unwrap();
    }
    assert!(names(&provider, &from.id).await.is_empty());
    assert_eq!(names(&provider, &to.id).await, ["new sub", "new.txt"]);
    let info = provider.file_info(std::slice::from_ref(&file.id)).await.unwrap();
    assert_eq!(info.first().and_then(|info| info.parent.clone()), Some(to.id));
}

pub async fn a_copy_has_the_content_and_an_id_of_its_own(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Copy, Write, CreateFolder);
    let (from, to) = (folder(&provider, "from").await, folder(&provider, "to").await);
    let file = small_file(&provider, &from.id, "original.txt").await;
    let copy = provider.copy_file(&file.id, &to.id).await.unwrap();
    assert_ne!(copy, file.id);
    let info = provider.file_info(&[copy]).await.unwrap().remove(0);
    assert_eq!(
        (info.name, info.size, info.hash),
        (file.name, file.size, file.hash)
    );
    assert_eq!(info.parent, Some(to.id));
}

pub async fn deleting_what_is_gone_is_a_success(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, List);
    for (mode, capability) in [
        (DeleteMode::Trash, Capability::Trash),
        (DeleteMode::Purge, Capability::Purge),
    ] {
        if !has(&provider, capability) {
            continue;
        }
        let place = folder(&provider, &format!("{mode:?}")).await;
        let mut items = Vec::new();
        for name in ["a.txt", "b.txt", "c.txt"] {
            items.push(ItemId::File(small_file(&provider, &place.id, name).await.id));
        }
        for name in ["x", "y"] {
            items.push(ItemId::Folder(
                provider.create_folder(&place.id, name).await.unwrap().id,
            ));
        }
        provider
            .delete(&[items[0].clone(), items[3].clone()], mode)
            .await
            .unwrap();
        assert_eq!(names(&provider, &place.id).await, ["b.txt", "c.txt", "y"]);
        // Among the living, and then all gone.
        provider.delete(&items, mode).await.unwrap();
        assert!(names(&provider, &place.id).await.is_empty());
        provider.delete(&items, mode).await.unwrap();
        provider.delete(&items[..1], mode).await.unwrap();
    }
}

pub async fn deleting_a_folder_takes_its_content(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, Trash, List);
    let place = folder(&provider, "full").await;
    let inner = provider.create_folder(&place.id, "inner").await.unwrap();
    small_file(&provider, &inner.id, "deep.txt").await;
    provider
        .delete(&[ItemId::Folder(place.id)], DeleteMode::Trash)
        .await
        .unwrap();
    assert!(names(&provider, &provider.root()).await.is_empty());
}

pub async fn file_info_leaves_out_what_is_gone(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, Trash);
    let place = folder(&provider, "place").await;
    let kept = small_file(&provider, &place.id, "kept.txt").await;
    let gone = small_file(&provider, &place.id, "gone.txt").await;
    provider
        .delete(&[ItemId::File(gone.id.clone())], DeleteMode::Trash)
        .await
        .unwrap();
    let never = FileId::new("zzzzzzzzzzzzzzz");
    let info = provider
        .file_info(&[kept.id.clone(), gone.id.clone(), never.clone()])
        .await
        .unwrap();
    assert_eq!(info.iter().map(|file| &file.id).collect::<Vec<_>>(), [&kept.id]);
    assert!(provider.file_info(&[gone.id]).await.unwrap().is_empty());
    assert!(provider.file_info(&[never]).await.unwrap().is_empty());
    assert!(provider.file_info(&[]).await.unwrap().is_empty());
}

pub async fn files_of_any_size_arrive_whole(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, Read);
    let place = folder(&provider, "sizes").await;
    for size in [0, 1, 4_097, 4 << 20, (4 << 20) + 1, 5 * (1 << 20) + 12_345] {
        if size == 0 && !has(&provider, Capability::EmptyFiles) {
            continue;
        }
        let content = Content::random(size as u64, size);
        let file = upload(
            &provider,
            &content.request(&place.id, &format!("{size} bytes.bin")),
            &content,
        )
        .await;
        assert_eq!(file.size, size as u64);
        if let Some(ContentHash::Sha256(hash)) = file.hash {
            assert_eq!(hash, <[u8; 32]>::from(Sha256::digest(&content.bytes)));
        }
        assert!(
            download(&provider, &file.id).await == content.bytes,
            "{size} bytes came back changed"
        );
    }
}

pub async fn content_that_the_service_holds_is_not_sent(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, ContentHash);
    let place = folder(&provider, "repeated").await;
    let content = Content::random(1, 1 << 20);
    let first = upload(&provider, &content.request(&place.id, "first.bin"), &content).await;
    let (calls, bytes) = (target.calls().await, target.bytes_sent().await);
    let UploadPlan::Done(second) = provider
        .upload_begin(&content.request(&place.id, "second.bin"))
        .await
        .unwrap()
    else {
        panic!("the content is to be sent again")
    };
    assert!(target.calls().await - calls <= 2);
    assert!(target.bytes_sent().await - bytes < 8192);
    assert_ne!(second.id, first.id);
    assert_eq!((second.name.as_str(), second.size), ("second.bin", 1 << 20));
}

pub async fn a_resumed_upload_sends_only_what_is_missing(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, Read);
    let place = folder(&provider, "resumed").await;
    // More units than a word of a bitmap holds.
    let content = Content::random(2, 36 * (1 << 20) + 1);
    let request = content.request(&place.id, "big.bin");
    let UploadPlan::Units {
        unit_size, missing, ..
    } = provider.upload_begin(&request).await.unwrap()
    else {
        return;
    };
    assert_eq!(missing, (0..missing.len() as u32).collect::<Vec<_>>());
    let (sent, left): (Vec<u32>, Vec<u32>) = missing.into_iter().partition(|index| index % 3 == 1);
    for index in sent {
        let (range, sha256) = content.unit(index, unit_size);
        let progress = provider
            .upload_unit(&request, index, &sha256, range)
            .await
            .unwrap();
        assert_eq!(progress, UploadProgress::UnitTaken);
    }
    // Another client, as after a crash.
    let provider = target.provider();
    let plan = provider.upload_begin(&request).await.unwrap();
    let UploadPlan::Units { missing, .. } = &plan else {
        panic!("{plan:?}")
    };
    assert_eq!(*missing, left);
    let file = carry_out(&provider, &request, &content, plan).await;
    assert!(download(&provider, &file.id).await == content.bytes);
}

pub async fn an_upload_whose_bytes_are_there_is_only_polled(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, List);
    let place = folder(&provider, "crashed").await;
    let content = Content::random(3, 5 << 20);
    let request = content.request(&place.id, "big.bin");
    let UploadPlan::Units {
        unit_size, missing, ..
    } = provider.upload_begin(&request).await.unwrap()
    else {
        return;
    };
    for index in missing {
        let (range, sha256) = content.unit(index, unit_size);
        provider
            .upload_unit(&request, index, &sha256, range)
            .await
            .unwrap();
    }
    let bytes = target.bytes_sent().await;
    let provider = target.provider();
    let file = upload(&provider, &request, &content).await;
    assert!(target.bytes_sent().await - bytes < 1 << 20);
    assert_eq!(files(&provider, &place.id).await.len(), 1);
    assert_eq!(file.size, 5 << 20);
}

pub async fn replacing_keeps_the_id(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, ReplaceKeepsId, Read, List);
    let place = folder(&provider, "replaced").await;
    let old = small_file(&provider, &place.id, "name.bin").await;
    for (seed, size) in [(4, 1_000), (5, 5 << 20), (6, 0)] {
        let content = Content::random(seed, size);
        let mut request = content.request(&place.id, "name.bin");
        request.replaces = Some(old.id.clone());
        let file = upload(&provider, &request, &content).await;
        assert_eq!(file.id, old.id, "{size} bytes");
        assert!(
            download(&provider, &old.id).await == content.bytes,
            "{size} bytes"
        );
        let listed = files(&provider, &place.id).await;
        assert_eq!(
            listed
                .iter()
                .map(|file| (file.name.as_str(), file.size))
                .collect::<Vec<_>>(),
            [("name.bin", size as u64)]
        );
    }
}

pub async fn a_name_held_by_an_unknown_file_is_told(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, ContentHash);
    let place = folder(&provider, "taken").await;
    let holder = small_file(&provider, &place.id, "name.txt").await;
    let other = small_file(&provider, &place.id, "other.txt").await;
    let content = Content::random(7, 100);
    let mut request = content.request(&place.id, "name.txt");
    assert_eq!(
        provider.upload_begin(&request).await.unwrap(),
        UploadPlan::NameTaken(holder.id.clone())
    );
    request.replaces = Some(other.id);
    assert_eq!(
        provider.upload_begin(&request).await.unwrap(),
        UploadPlan::NameTaken(holder.id)
    );
}

pub async fn the_same_upload_announced_again_makes_no_twin(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, ContentHash, List);
    let place = folder(&provider, "again").await;
    for (name, size) in [("empty.bin", 0), ("small.bin", 10)] {
        let content = Content::random(8, size);
        let request = content.request(&place.id, name);
        let first = upload(&provider, &request, &content).await;
        let UploadPlan::Done(second) = target.provider().upload_begin(&request).await.unwrap() else {
            panic!("{name} is to be sent again")
        };
        assert_eq!((second.id, second.name.as_str()), (first.id, name));
    }
    assert_eq!(files(&provider, &place.id).await.len(), 2);
}

pub async fn a_modification_time_is_kept(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, ModificationTime, Write, CreateFolder, List);
    let place = folder(&provider, "times").await;
    for (name, size) in [("empty.bin", 0), ("small.bin", 10), ("units.bin", 5 << 20)] {
        let content = Content::random(9, size);
        let file = upload(&provider, &content.request(&place.id, name), &content).await;
        assert_eq!(
            file.mtime,
            Some(an_earlier_time()),
            "{name} as told after its upload"
        );
    }
    for file in files(&provider, &place.id).await {
        assert_eq!(file.mtime, Some(an_earlier_time()), "{} as listed", file.name);
        let later = an_earlier_time() + Duration::from_secs(3600);
        provider
            .set_mtime(&ItemId::File(file.id.clone()), later)
            .await
            .unwrap();
        assert_eq!(
            provider.file_info(&[file.id]).await.unwrap().remove(0).mtime,
            Some(later)
        );
    }
}

pub async fn changes_tell_what_happened(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, ChangeFeed, Write, CreateFolder, Trash, Rename);
    let place = folder(&provider, "watched").await;
    let file = small_file(&provider, &place.id, "file.txt").await;
    let mut cursor = provider.changes(None).await.unwrap().cursor;
    let calls = target.calls().await;
    let still = provider.changes(Some(&cursor)).await.unwrap();
    assert_eq!((still.folders.len(), still.files.len()), (0, 0));
    assert_eq!(target.calls().await - calls, 1);

    let mut told = async |what: &str| {
        let changes = provider.changes(Some(&cursor)).await.unwrap();
        assert_ne!(changes.cursor, cursor, "{what}");
        cursor = changes.cursor.clone();
        changes
    };
    provider
        .rename(&ItemId::File(file.id.clone()), "renamed.txt")
        .await
        .unwrap();
    let changes = told("renamed").await;
    assert!(
        changes.files.contains(&file.id) || changes.folders.contains(&place.id),
        "{changes:?}"
    );
    let new = small_file(&provider, &provider.root(), "in root.txt").await;
    let changes = told("uploaded").await;
    assert!(changes.folders.contains(&provider.root()), "{changes:?}");
    provider
        .delete(&[ItemId::File(new.id.clone())], DeleteMode::Trash)
        .await
        .unwrap();
    let changes = told("deleted").await;
    assert!(changes.files.contains(&new.id), "{changes:?}");
    // More changes than the feed tells in one answer.
    let seeds = (0..600)
        .map(|i| (format!("watched/seed {i}"), i.to_string().into_bytes()))
        .collect();
    target.seed(seeds).await;
    let mut seen = HashSet::new();
    for _ in 0..10 {
        let changes = provider.changes(Some(&cursor)).await.unwrap();
        seen.extend(changes.files);
        if changes.cursor == cursor {
            break;
        }
        cursor = changes.cursor;
    }
    assert!(seen.len() >= 600, "{} files told", seen.len());
    assert!(
        provider
            .changes(Some(&ChangeCursor::new("not a cursor")))
            .await
            .is_err()
    );
}

pub async fn links_serve_the_content(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Read, List);
    target
        .seed(
            (0..20)
                .map(|i| (format!("f{i}.txt"), format!("content {i}").into_bytes()))
                .collect(),
        )
        .await;
    let files = files(&provider, &provider.root()).await;
    let ids: Vec<_> = files.iter().map(|file| file.id.clone()).collect();
    let calls = target.calls().await;
    let links = provider.links(&ids).await.unwrap();
    assert_eq!(target.calls().await - calls, 1);
    for (file, link) in files.iter().zip(links) {
        let number = file.name.trim_start_matches('f').trim_end_matches(".txt");
        let body = reqwest::get(link.unwrap().url)
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert_eq!(body, format!("content {number}"));
    }
}

pub async fn a_link_of_a_missing_file_is_an_error_beside_the_others(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Read, Write, CreateFolder);
    let file = small_file(&provider, &provider.root(), "here.txt").await;
    let ids = [FileId::new("zzzzzzzzzzzzzzz"), file.id];
    let links = provider.links(&ids).await.unwrap();
    assert!(links[0].is_err());
    assert!(links[1].is_ok(), "{links:?}");
    assert!(provider.links(&ids[..1]).await.unwrap()[0].is_err());
}

pub async fn a_lost_reply_is_an_unknown_outcome(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, CreateFolder, List, Write);
    provider.account_info().await.unwrap();
    target
        .inject(&[
            (Step::CreateFolder, Fault::LostReply),
            (Step::UploadWhole, Fault::LostReply),
        ])
        .await;
    let error = provider
        .create_folder(&provider.root(), "made")
        .await
        .unwrap_err();
    assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");
    assert_eq!(names(&provider, &provider.root()).await, ["made"]);
    folder(&provider, "made").await;
    let content = Content::random(10, 10);
    let request = content.request(&provider.root(), "file");
    if provider.upload_begin(&request).await.unwrap() == UploadPlan::Whole {
        let error = provider
            .upload_whole(&request, content.range(0, 10))
            .await
            .unwrap_err();
        assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");
    }
}

pub async fn an_unavailable_service_says_when_to_come_back(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List);
    provider.account_info().await.unwrap();
    for retry_after in [Some(7), None] {
        target
            .inject(&[(Step::List, Fault::Unavailable { retry_after })])
            .await;
        let error = provider
            .list(
                &provider.root(),
                ListHint {
                    folders: Some(0),
                    files: None,
                },
            )
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert_eq!(
            error.retry,
            Retry::AfterWait(retry_after.map(Duration::from_secs))
        );
        provider
            .list(&provider.root(), ListHint::default())
            .await
            .unwrap();
    }
}

pub async fn a_web_page_is_an_error_that_says_so(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List);
    provider.account_info().await.unwrap();
    target.inject(&[(Step::List, Fault::WebPage)]).await;
    let error = provider
        .list(
            &provider.root(),
            ListHint {
                folders: Some(0),
                files: None,
            },
        )
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("web page"), "{error}");
    provider
        .list(&provider.root(), ListHint::default())
        .await
        .unwrap();
}

pub async fn a_truncated_answer_is_an_error(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List);
    provider.account_info().await.unwrap();
    target.inject(&[(Step::List, Fault::Truncated)]).await;
    let error = provider
        .list(
            &provider.root(),
            ListHint {
                folders: Some(0),
                files: None,
            },
        )
        .await
        .unwrap_err();
    assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");
    provider
        .list(&provider.root(), ListHint::default())
        .await
        .unwrap();
}

pub async fn refused_credentials_stop_all_calls(target: &dyn Target) {
    let provider = target.refused_provider();
    need!(provider, List);
    let (root, hint) = (provider.root(), ListHint::default());
    let attempts = futures_util::future::join_all((0..10).map(|_| provider.list(&root, hint))).await;
    for attempt in attempts {
        let error = attempt.unwrap_err();
        assert_eq!(
            (error.kind, error.retry),
            (ErrorKind::LoginRefused, Retry::Never),
            "{error}"
        );
    }
    assert_eq!(target.calls().await, 1);
    assert_eq!(
        provider.list(&root, hint).await.unwrap_err().kind,
        ErrorKind::LoginRefused
    );
    assert_eq!(target.calls().await, 1);
    // A person who asks gets an answer of the service.
    assert_eq!(
        provider.account_info().await.unwrap_err().kind,
        ErrorKind::LoginRefused
    );
    assert_eq!(target.calls().await, 2);
}

pub async fn a_dead_token_costs_one_login(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, CreateFolder);
    provider.account_info().await.unwrap();
    let logins = target.calls_of(Step::Login).await;
    target.inject(&[(Step::CreateFolder, Fault::DeadToken)]).await;
    folder(&provider, "made").await;
    assert_eq!(target.calls_of(Step::Login).await, logins + 1);
    assert_eq!(names(&provider, &provider.root()).await, ["made"]);
}

pub async fn calls_side_by_side_all_succeed(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, CreateFolder);
    let root = provider.root();
    let made: Vec<String> = (0..30).map(|i| format!("folder {i:02}")).collect();
    let calls = made.iter().map(|name| provider.create_folder(&root, name));
    for result in futures_util::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(names(&provider, &root).await, made);
    assert!(target.calls_of(Step::Login).await <= 8);
}

pub async fn a_cancelled_call_harms_no_later_one(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, CreateFolder);
    let root = provider.root();
    provider.account_info().await.unwrap();
    for round in 0..20_u64 {
        let call = provider.create_folder(&root, "cancelled");
        let _ = tokio::time::timeout(Duration::from_micros(150 * round), call).await;
        provider.list(&root, ListHint::default()).await.unwrap();
    }
}

pub async fn a_full_account_is_told_before_bytes_are_sent(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write);
    let content = Content::random(11, 100);
    let mut request = content.request(&provider.root(), "too big.bin");
    request.size = target.quota() + 1;
    let error = provider.upload_begin(&request).await.unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::QuotaExceeded | ErrorKind::TooLarge),
        "{error}"
    );
    assert_eq!(error.retry, Retry::Never);
}

pub async fn lost_content_is_announced_again(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, List);
    target.inject(&[(Step::UploadWhole, Fault::ContentLost)]).await;
    let content = Content::random(12, 1_000);
    let request = content.request(&provider.root(), "lost.bin");
    if provider.upload_begin(&request).await.unwrap() != UploadPlan::Whole {
        return;
    }
    let progress = provider
        .upload_whole(&request, content.range(0, 1_000))
        .await
        .unwrap();
    assert_eq!(polled(&provider, progress).await, UploadProgress::StartAgain);
    let file = upload(&provider, &request, &content).await;
    assert_eq!(
        files(&provider, &provider.root())
            .await
            .iter()
            .map(|file| &file.id)
            .collect::<Vec<_>>(),
        [&file.id]
    );
}

pub async fn quota_and_use_are_told(target: &dyn Target) {
    let provider = target.provider();
    let before = provider.account_info().await.unwrap();
    assert_eq!(before.storage_limit, Some(target.quota()));
    need!(provider, Write);
    small_file(&provider, &provider.root(), "file.txt").await;
    assert!(provider.account_info().await.unwrap().storage_used > before.storage_used);
}

pub async fn a_missing_folder_is_not_found(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List);
    let error = provider
        .list(&FolderId::new("zzzzzzzzzzzzz"), ListHint::default())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.retry),
        (ErrorKind::NotFound, Retry::Never),
        "{error}"
    );
}

pub async fn what_it_lacks_is_unsupported_without_a_call(target: &dyn Target) {
    let provider = target.provider();
    let (file, folder) = (FileId::new("f"), FolderId::new("d"));
    let item = ItemId::File(file.clone());
    let content = Content::new(Vec::new());
    let request = content.request(&folder, "n");
    let calls = target.calls().await;
    let mut wrong = Vec::new();
    let mut check = |capability: Capability, error: Option<lockerfs::provider::ProviderError>| {
        if error.is_none_or(|error| error.kind != ErrorKind::Unsupported) {
            wrong.push(capability);
        }
    };
    macro_rules! lacks {
        ($capability:ident, $call:expr) => {
            if !has(&provider, Capability::$capability) {
                check(Capability::$capability, $call.await.err());
            }
        };
    }
    lacks!(List, provider.list(&folder, ListHint::default()));
    lacks!(Read, provider.links(std::slice::from_ref(&file)));
    lacks!(Write, provider.upload_begin(&request));
    lacks!(CreateFolder, provider.create_folder(&folder, "n"));
    lacks!(Rename, provider.rename(&item, "n"));
    lacks!(Move, provider.move_to(std::slice::from_ref(&item), &folder));
    lacks!(Copy, provider.copy_file(&file, &folder));
    lacks!(
        Trash,
        provider.delete(std::slice::from_ref(&item), DeleteMode::Trash)
    );
    lacks!(
        Purge,
        provider.delete(std::slice::from_ref(&item), DeleteMode::Purge)
    );
    lacks!(ChangeFeed, provider.changes(None));
    lacks!(EmptyFiles, provider.upload_begin(&request));
    lacks!(ModificationTime, provider.set_mtime(&item, an_earlier_time()));
    lacks!(ReplaceKeepsId, provider.replace_content(&file, &file));
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(target.calls().await, calls);
}
