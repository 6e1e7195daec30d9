//! What a mount asks of a provider, in small scripts that go on with what the answers told.

use std::fs::File;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockerfs::http::{ApiClient, ApiOptions, FileRange};
use lockerfs::provider::services::{OneTimeTerms, Privacy, WebLink, ZipTerms};
use lockerfs::provider::{
    ChangeCursor, DeleteMode, Entry, FileId, FolderId, ItemId, ListHint, Provider, Result, SentUpload,
    UploadPlan, UploadProgress, UploadRequest, UploadTicket,
};

use crate::contract;

/// The scripts of [`run`].
pub const SCRIPTS: u8 = 9;

const FILE: &str = "aaaaaaaaaaaaaaa";
const FOLDER: &str = "bbbbbbbbbbbbb";
/// Bytes of the larger upload, which is more than services want to have in one request.
const LARGE: u64 = (4 << 20) + 70_000;
const SMALL: u64 = 50_000;
/// Bytes sent of a part.
const SENT: u64 = 64 << 10;
const POLLS: usize = 4;

/// No byte is on the disk.
static CONTENT: LazyLock<Arc<File>> = LazyLock::new(|| {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(LARGE).expect("its size");
    Arc::new(file)
});

/// A client whose answers are small and come soon.
pub fn client() -> ApiClient {
    thread_local! {
        static CLIENT: ApiClient = ApiClient::new(ApiOptions {
            answer_timeout: Duration::from_secs(3),
            max_answer: 1 << 20,
            ..ApiOptions::default()
        })
        .expect("a client");
    }
    CLIENT.with(Clone::clone)
}

fn checked<T>(result: Result<T>) -> Option<T> {
    result.inspect_err(contract::error).ok()
}

/// Runs one script against a provider and checks all that comes out.
pub async fn run(provider: &dyn Provider, script: u8) {
    match script % SCRIPTS {
        0 => drop(checked(provider.account_info().await)),
        1 => browse(provider).await,
        2 => follow(provider).await,
        3 => change(provider).await,
        4 => upload(provider, SMALL).await,
        5 => upload(provider, LARGE).await,
        6 => hand_on(provider).await,
        7 => look_closer(provider).await,
        _ => manage(provider).await,
    }
    provider.close().await;
}

async fn list(provider: &dyn Provider, folder: &FolderId) -> Vec<Entry> {
    let listed = checked(provider.list(folder, ListHint::default()).await);
    let entries = listed.map(|listing| listing.entries).unwrap_or_default();
    let rules = provider.name_rules();
    entries.iter().for_each(|entry| contract::entry(entry, &rules));
    entries
}

async fn browse(provider: &dyn Provider) {
    let (mut files, mut folders) = (vec![FileId::new(FILE)], vec![FolderId::new(FOLDER)]);
    for entry in list(provider, &provider.root()).await.into_iter().take(6) {
        match entry {
            Entry::File(file) => files.insert(0, file.id),
            Entry::Folder(folder) => folders.insert(0, folder.id),
        }
    }
    list(provider, &folders[0]).await;
    let rules = provider.name_rules();
    let told = checked(provider.file_info(&files).await).unwrap_or_default();
    told.iter().for_each(|file| contract::file(file, &rules));
    let links = checked(provider.links(&files).await).unwrap_or_default();
    assert!(
        links.is_empty() || links.len() == files.len(),
        "{} links",
        links.len()
    );
    for link in links.into_iter().filter_map(checked) {
        contract::link(&link.url);
    }
    let pages = checked(provider.share_links(&files).await).unwrap_or_default();
    assert!(
        pages.is_empty() || pages.len() == files.len(),
        "{} pages",
        pages.len()
    );
    for page in pages.into_iter().filter_map(checked) {
        contract::link(&page.url);
        page.short_url.iter().for_each(contract::link);
    }
    checked(provider.folder_states(&folders).await);
    checked(provider.published(&files).await);
}

async fn follow(provider: &dyn Provider) {
    let now = checked(provider.changes(None).await).map(|changes| changes.cursor);
    for cursor in now.into_iter().chain([ChangeCursor::new("3")]) {
        let Some(changes) = checked(provider.changes(Some(&cursor)).await) else {
            continue;
        };
        let folders: Vec<_> = changes
            .folders
            .into_iter()
            .take(6)
            .map(|folder| folder.id)
            .collect();
        let files: Vec<_> = changes.files.into_iter().take(6).map(|file| file.id).collect();
        checked(provider.folder_states(&folders).await);
        checked(provider.file_info(&files).await);
    }
}

async fn change(provider: &dyn Provider) {
    let rules = provider.name_rules();
    let mtime = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let made = checked(provider.create_folder(&provider.root(), "made").await);
    if let Some(folder) = &made {
        contract::name(&folder.name, folder.id.as_str(), &rules);
    }
    let folder = made.map_or_else(|| FolderId::new(FOLDER), |folder| folder.id);
    let file = FileId::new(FILE);
    let copy = checked(provider.copy_file(&file, &folder).await).unwrap_or_else(|| file.clone());
    let items = [ItemId::File(copy.clone()), ItemId::Folder(folder.clone())];
    for item in &items {
        checked(provider.rename(item, "renamed", Some(mtime)).await);
        checked(provider.set_mtime(item, mtime).await);
    }
    checked(provider.move_to(&items, &provider.root()).await);
    checked(provider.replace_content(&copy, &file).await);
    checked(provider.delete(&items, DeleteMode::Trash).await);
    checked(provider.delete(&items, DeleteMode::Purge).await);
}

fn request(provider: &dyn Provider, size: u64, sent_before: bool) -> UploadRequest {
    UploadRequest {
        folder: provider.root(),
        name: "sent.bin".to_owned(),
        size,
        sha256: Some([7; 32]),
        mtime: UNIX_EPOCH + Duration::from_secs(1_000_000_000),
        replaces: None,
        sent_before,
    }
}

async fn upload(provider: &dyn Provider, size: u64) {
    let rules = provider.name_rules();
    for sent_before in [false, true] {
        let request = request(provider, size, sent_before);
        let Some(plan) = checked(provider.upload_begin(&request).await) else {
            continue;
        };
        contract::plan(&plan, size, &rules);
        let body = |offset: u64, most: u64| {
            FileRange::new(CONTENT.clone(), offset, most.min(size - offset).min(SENT))
        };
        let progress = match plan {
            UploadPlan::Whole => checked(provider.upload_whole(&request, body(0, size)).await),
            UploadPlan::Units {
                unit_size,
                missing,
                ticket,
            } => match (missing.last(), ticket) {
                (Some(unit), _) => {
                    let part = body(u64::from(*unit) * unit_size, unit_size);
                    checked(provider.upload_unit(&request, *unit, &[7; 32], part).await)
                }
                (None, ticket) => ticket.map(UploadProgress::Processing),
            },
            UploadPlan::Ranges { max_chunk, session } => {
                // The last part, which ends the upload.
                let offset = size - size.min(max_chunk).min(SENT);
                checked(
                    provider
                        .upload_range(&request, &session, body(offset, max_chunk))
                        .await,
                )
            }
            _ => None,
        };
        poll(provider, &request, progress).await;
    }
}

async fn poll(provider: &dyn Provider, request: &UploadRequest, progress: Option<UploadProgress>) {
    let rules = provider.name_rules();
    let Some(mut progress) = progress else { return };
    contract::progress(&progress, &rules);
    for _ in 0..POLLS {
        let UploadProgress::Processing(ticket) = progress else {
            return;
        };
        let sent = SentUpload {
            ticket: ticket.clone(),
            request: request.clone(),
        };
        let many = checked(provider.upload_poll_many(&[sent]).await).unwrap_or_default();
        for answer in many.into_iter().filter_map(checked) {
            contract::progress(&answer, &rules);
        }
        let Some(next) = checked(provider.upload_poll(&ticket).await) else {
            return;
        };
        contract::progress(&next, &rules);
        progress = next;
    }
}

/// What a service fetches by itself.
async fn hand_on(provider: &dyn Provider) {
    let link = "https://files.example.org/a/sent.bin".parse().expect("a link");
    for sent_before in [false, true] {
        let request = request(provider, SMALL, sent_before);
        let progress = checked(provider.upload_from_link(&request, &link).await);
        poll(provider, &request, progress).await;
    }
    let ticket = UploadTicket::new("k");
    checked(provider.upload_poll(&ticket).await);
    checked(provider.check_published(3).await);
    let asked: SystemTime = UNIX_EPOCH;
    checked(
        provider
            .rename(&ItemId::File(FileId::new(FILE)), "again", Some(asked))
            .await,
    );
}

/// What a person asks for by name, and that changes nothing.
async fn look_closer(provider: &dyn Provider) {
    let services = provider.services();
    let rules = provider.name_rules();
    let (file, folder) = (FileId::new(FILE), FolderId::new(FOLDER));
    for item in [ItemId::File(file.clone()), ItemId::Folder(folder.clone())] {
        if let Some(details) = checked(services.details(&item).await) {
            for (_, url) in &details.links {
                contract::link(url);
            }
        }
    }
    for kind in [WebLink::View, WebLink::Edit, WebLink::Stream] {
        let files = std::slice::from_ref(&file);
        let links = checked(services.web_links(files, kind).await).unwrap_or_default();
        for link in links.into_iter().filter_map(checked) {
            contract::link(&link);
        }
    }
    checked(services.one_time_counts().await);
    checked(services.versions(&file).await);
    checked(services.trash().await);
    checked(services.works().await);
    for file in checked(services.recent(50).await).unwrap_or_default() {
        contract::file(&file, &rules);
    }
    checked(services.names_above(&folder).await);
}

/// What a person has changed by name.
async fn manage(provider: &dyn Provider) {
    let services = provider.services();
    let (file, folder) = (FileId::new(FILE), FolderId::new(FOLDER));
    let items = [ItemId::File(file.clone()), ItemId::Folder(folder.clone())];
    let terms = OneTimeTerms::default();
    if let Some(link) = checked(services.make_one_time_link(&file, &terms).await) {
        contract::link(&link.download);
        link.view.iter().for_each(contract::link);
        checked(services.change_one_time_link(&link.token, &terms).await);
    }
    checked(services.restore_version(&file, "1").await);
    checked(services.restore_from_trash(&items, &folder).await);
    checked(services.empty_trash().await);
    checked(services.check_zip(&items, ZipTerms::default()).await);
    if let Some(mut archive) = checked(services.zip(&items, ZipTerms::default()).await) {
        while let Some(bytes) = checked(archive.chunk().await).flatten() {
            assert!(!bytes.is_empty(), "a chunk without bytes");
        }
    }
    checked(services.set_artwork(&file, &file).await);
    for item in &items {
        checked(services.set_privacy(item, Privacy::Private, true).await);
        checked(services.set_description(item, "words").await);
    }
    checked(services.create_text_file(&folder, "new.txt").await);
}
