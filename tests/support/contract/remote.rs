//! Files that the service fetches from a link by itself.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// How a link answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    File,
    /// With 404.
    Missing,
    /// With a web page and success, as a link that ran out.
    Page,
    /// It breaks off before the length that it told.
    Short,
}

/// A server of one file, whose link ends with `linked.bin`.
pub struct Source {
    pub link: url::Url,
    asked: Arc<AtomicU64>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Source {
    pub async fn serve(content: &Content, manner: Manner) -> Source {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let link = format!(
            "http://{}/d/a%20secret/linked.bin",
            listener.local_addr().unwrap()
        );
        let asked = Arc::new(AtomicU64::new(0));
        let (status, kind, length) = match manner {
            Manner::File => ("200 OK", "application/octet-stream", content.bytes.len()),
            Manner::Short => ("200 OK", "application/octet-stream", content.bytes.len() + 1),
            Manner::Missing => ("404 Not Found", "text/plain", content.bytes.len()),
            Manner::Page => ("200 OK", "text/html; charset=UTF-8", content.bytes.len()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        let answer = [head.as_bytes(), &content.bytes].concat();
        let count = asked.clone();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                count.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            }
        });
        Source {
            link: link.parse().unwrap(),
            asked,
            server,
        }
    }

    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Where a linked file is to go.
async fn place(provider: &Arc<dyn Provider>) -> FolderId {
    match has(provider, Capability::CreateFolder) {
        true => folder(provider, "linked").await.id,
        false => provider.root(),
    }
}

fn sha256(content: &Content) -> String {
    hex::encode(Sha256::digest(&content.bytes))
}

/// The file at the end of an upload.
fn ended(progress: UploadProgress) -> FileEntry {
    match progress {
        UploadProgress::Done(file) => file,
        UploadProgress::Published(publication) => publication.entry,
        progress => panic!("the upload did not end in a file: {progress:?}"),
    }
}

pub async fn a_link_becomes_a_file_without_its_bytes_passing_here(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, RemoteUpload);
    let place = place(&provider).await;
    let content = Content::random(40, 1 << 20);
    let source = Source::serve(&content, Manner::File).await;
    let mut request = content.request(&place, "linked.bin");
    // As where the content was never here.
    request.sha256 = None;
    let sent = target.bytes_sent().await;
    let progress = provider.upload_from_link(&request, &source.link).await.unwrap();
    if let UploadProgress::Processing(ticket) = &progress {
        for secret in ["secret", &source.link[url::Position::BeforeHost..]] {
            assert!(!ticket.as_str().contains(secret), "{ticket}");
        }
    }
    let file = ended(polled(&provider, progress).await);
    assert_eq!((file.name.as_str(), file.size), ("linked.bin", 1 << 20));
    assert_eq!(target.contents().await, [sha256(&content)]);
    assert_eq!(source.asked(), 1);
    for step in [Step::UploadWhole, Step::UploadUnit] {
        assert_eq!(target.calls_of(step).await, 0, "{step:?}");
    }
    let sent = target.bytes_sent().await - sent;
    assert!(sent < 64 << 10, "{sent} bytes were sent");
    if has(&provider, Capability::ModificationTime) {
        assert_eq!(file.mtime, Some(an_earlier_time()));
    }
    if has(&provider, Capability::ContentHash) {
        assert_eq!(file.hash.map(ContentHash::to_hex), Some(sha256(&content)));
        assert_eq!(files(&provider, &place).await.len(), 1);
    }
}

pub async fn the_name_of_a_linked_file_is_told(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, RemoteUpload);
    let place = place(&provider).await;
    let content = Content::random(41, 1_000);
    let source = Source::serve(&content, Manner::File).await;
    let request = content.request(&place, "ä name of ours.bin");
    let progress = provider.upload_from_link(&request, &source.link).await.unwrap();
    let file = ended(polled(&provider, progress).await);
    if has(&provider, Capability::List) {
        assert_eq!(file.name, request.name);
        assert_eq!(names(&provider, &place).await, [request.name]);
    } else {
        assert_eq!(file.name, "linked.bin", "the service was not told another");
    }
}

pub async fn a_link_that_gives_no_file_is_refused_for_good(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, RemoteUpload);
    let place = place(&provider).await;
    let content = Content::random(42, 1_000);
    for manner in [Manner::Missing, Manner::Page, Manner::Short] {
        let source = Source::serve(&content, manner).await;
        let request = content.request(&place, &format!("{manner:?}.bin"));
        let (retry, told) = match provider.upload_from_link(&request, &source.link).await {
            Err(error) => (error.retry, format!("{error} {error:?}")),
            Ok(progress) => match polled(&provider, progress).await {
                UploadProgress::GivenUp(refusal) => (refusal.retry, refusal.message),
                progress => panic!("{manner:?}: {progress:?}"),
            },
        };
        assert_eq!(retry, Retry::Never, "{manner:?}: {told}");
        assert!(source.asked() > 0, "{manner:?}");
        assert!(!told.contains("secret"), "{manner:?}: the link is told: {told}");
    }
    assert!(target.contents().await.is_empty());
    // The same content goes as that of any upload.
    let request = content.request(&place, "Missing.bin");
    upload(&provider, &request, &content).await;
    assert_eq!(target.contents().await, [sha256(&content)]);
}

pub async fn a_service_that_takes_no_links_now_is_asked_later(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, RemoteUpload);
    let place = place(&provider).await;
    let content = Content::random(43, 1_000);
    let source = Source::serve(&content, Manner::File).await;
    let request = content.request(&place, "linked.bin");
    let busy = Fault::Unavailable { retry_after: Some(7) };
    target.inject(&[(Step::UploadRemote, busy)]).await;
    let error = provider
        .upload_from_link(&request, &source.link)
        .await
        .unwrap_err();
    assert_eq!(
        error.retry,
        Retry::AfterWait(Some(Duration::from_secs(7))),
        "{error}"
    );
    assert_eq!(source.asked(), 0);
    let progress = provider.upload_from_link(&request, &source.link).await.unwrap();
    ended(polled(&provider, progress).await);
    assert_eq!(target.contents().await, [sha256(&content)]);
}

pub async fn a_link_told_again_after_a_lost_reply_makes_no_twin(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, RemoteUpload);
    if !has(&provider, Capability::ContentHash) {
        return;
    }
    let place = place(&provider).await;
    let content = Content::random(44, 1_000);
    let source = Source::serve(&content, Manner::File).await;
    let mut request = content.request(&place, "linked.bin");
    target.inject(&[(Step::UploadRemote, Fault::LostReply)]).await;
    let error = provider
        .upload_from_link(&request, &source.link)
        .await
        .unwrap_err();
    assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");
    request.sent_before = true;
    // While the service works on the first, and when it is done with it.
    let mut ids = Vec::new();
    for _ in 0..2 {
        let progress = target
            .provider()
            .upload_from_link(&request, &source.link)
            .await
            .unwrap();
        ids.push(ended(polled(&provider, progress).await).id);
    }
    assert_eq!(ids[0], ids[1]);
    let listed = files(&provider, &place).await;
    assert_eq!(listed.iter().map(|file| &file.id).collect::<Vec<_>>(), [&ids[0]]);
    assert_eq!(target.calls_of(Step::UploadRemote).await, 1);
    // One of the same name that went elsewhere is another's.
    let elsewhere = folder(&provider, "elsewhere").await.id;
    request.folder = elsewhere.clone();
    let progress = provider.upload_from_link(&request, &source.link).await.unwrap();
    let other = ended(polled(&provider, progress).await);
    assert_ne!(other.id, ids[0]);
    assert_eq!(names(&provider, &elsewhere).await, ["linked.bin"]);
}
