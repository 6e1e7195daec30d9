//! A host that serves one file by a script that misreads ranges, and the provider that gives links to it.
//!
//! It counts what is open at a time, refuses what is too many, and lets links die.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use lockerfs::provider::{
    AccountInfo, Capabilities, DownloadLink, ErrorKind, FileId, FolderId, NameRules, Provider, ProviderError,
    Result, Retry, ServerHabits,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const PIECE: usize = 64 * 1024;

/// What the host does, to be changed at any time.
pub struct Script {
    /// Connections served at a time.
    pub limit: usize,
    /// Seconds, told with a refusal.
    pub retry_after: Option<u64>,
    /// For each 64 KiB.
    pub pace: Duration,
    /// What a dead link's error page says.
    pub error: String,
    /// All links are dead, new ones too.
    pub refuse_all: bool,
    /// Bodies that break off after so many bytes, in order.
    pub broken: Vec<usize>,
    /// How long a client may leave its body unread.
    pub patience: Duration,
    /// Added to the length told of a part.
    pub length_off: isize,
    /// Sent in place of the file.
    pub page: Option<&'static str>,
}

#[derive(Default)]
struct Seen {
    /// The `Range` of each request for the file.
    ranges: Vec<Option<String>>,
    refusals: usize,
    error_pages: usize,
    links: usize,
    open: usize,
    most_open: usize,
    bytes: u64,
    /// The link that is alive.
    token: usize,
}

struct Shared {
    content: Vec<u8>,
    script: Mutex<Script>,
    seen: Mutex<Seen>,
    base: String,
}

/// The host and its provider in one.
pub struct FileHost {
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Drop for FileHost {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FileHost {
    pub async fn start(content: Vec<u8>) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            content,
            script: Mutex::new(Script {
                limit: usize::MAX,
                retry_after: None,
                pace: Duration::ZERO,
                error: "File+has+expired.".to_owned(),
                refuse_all: false,
                broken: Vec::new(),
                patience: Duration::from_secs(600),
                length_off: 0,
                page: None,
            }),
            seen: Mutex::default(),
            base: format!("http://{}", listener.local_addr().unwrap()),
        });
        let host = Arc::clone(&shared);
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(Arc::clone(&host).serve(stream));
            }
        });
        Arc::new(FileHost { shared, server })
    }

    pub fn content(&self) -> &[u8] {
        &self.shared.content
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap()
    }

    /// From now on the links given so far lead to the error page.
    pub fn expire_links(&self) {
        self.shared.seen().token += 1;
    }

    pub fn ranges(&self) -> Vec<Option<String>> {
        self.shared.seen().ranges.clone()
    }

    pub fn refusals(&self) -> usize {
        self.shared.seen().refusals
    }

    pub fn error_pages(&self) -> usize {
        self.shared.seen().error_pages
    }

    /// Calls for links.
    pub fn links(&self) -> usize {
        self.shared.seen().links
    }

    pub fn open(&self) -> usize {
        self.shared.seen().open
    }

    /// The most connections open at a time since the last call of this.
    pub fn most_open(&self) -> usize {
        let mut seen = self.shared.seen();
        let open = seen.open;
        std::mem::replace(&mut seen.most_open, open)
    }

    /// Bytes of content handed to the network.
    pub fn bytes(&self) -> u64 {
        self.shared.seen().bytes
    }
}

struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.seen().open -= 1;
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let Some((path, range)) = request(&mut stream).await else {
            return;
        };
        // A client that has gone is no fault of the host.
        let _ = self.answer(&mut stream, &path, range).await;
    }

    async fn answer(
        self: &Arc<Self>,
        stream: &mut TcpStream,
        path: &str,
        range: Option<String>,
    ) -> std::io::Result<()> {
        if path.starts_with("/error") {
            self.seen().error_pages += 1;
            return reply(
                stream,
                "200 OK",
                "content-type: text/html\r\n",
                "<html>gone</html>",
            )
            .await;
        }
        let (page, pace, error, refuse_all, limit, retry_after) = {
            let script = self.script.lock().unwrap();
            (
                script.page,
                script.pace,
                script.error.clone(),
                script.refuse_all,
                script.limit,
                script.retry_after,
            )
        };
        let (dead, open) = {
            let mut seen = self.seen();
            seen.ranges.push(range.clone());
            seen.open += 1;
            (path != format!("/film/{}", seen.token), seen.open)
        };
        let _counted = Counted(Arc::clone(self));
        if dead || refuse_all {
            let location = format!("location: /error?e={error}\r\n");
            return reply(stream, "302 Found", &location, "").await;
        }
        if open > limit {
            self.seen().refusals += 1;
            let wait = retry_after.map_or(String::new(), |wait| format!("retry-after: {wait}\r\n"));
            let text = "Error: Too many concurrent download requests.";
            return reply(stream, "429 Too Many Requests", &wait, text).await;
        }
        {
            let mut seen = self.seen();
            seen.most_open = seen.most_open.max(open);
        }
        if let Some(page) = page {
            return reply(stream, "200 OK", "content-type: text/html\r\n", page).await;
        }
        let total = self.content.len();
        let (start, end) = parse(range.as_deref());
        if end == Some(1) {
            let head = format!("content-range: bytes 0-1/{total}\r\n");
            return reply(stream, "206 Partial Content", &head, "?").await;
        }
        let last = end.unwrap_or(total - 1).min(total - 1);
        let head = if start == 0 {
            format!("HTTP/1.1 200 OK\r\ncontent-length: {total}\r\n")
        } else {
            let off = self.script.lock().unwrap().length_off;
            let length = (last + 1 - start).saturating_add_signed(off);
            let part = format!("content-range: bytes {start}-{last}/{total}\r\n");
            format!("HTTP/1.1 206 Partial Content\r\ncontent-length: {length}\r\n{part}")
        };
        let head = format!("{head}content-type: application/octet-stream\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let (broken, patience) = {
            let mut script = self.script.lock().unwrap();
            (script.broken.pop(), script.patience)
        };
        let stop = broken.map_or(total, |after| (start + after).min(total));
        for piece in self.content[start..stop].chunks(PIECE) {
            tokio::time::timeout(patience, stream.write_all(piece)).await??;
            self.seen().bytes += piece.len() as u64;
            if !pace.is_zero() {
                tokio::time::sleep(pace).await;
            }
        }
        stream.shutdown().await
    }
}

async fn reply(stream: &mut TcpStream, status: &str, headers: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Path and `Range` of a request.
async fn request(stream: &mut TcpStream) -> Option<(String, Option<String>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read_buf(&mut head).await.ok()?;
        if read == 0 {
            return None;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let range = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("range"))
        .map(|(_, range)| range.to_owned());
    Some((path, range))
}

fn parse(range: Option<&str>) -> (usize, Option<usize>) {
    let Some((start, end)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return (0, None);
    };
    (start.parse().unwrap(), end.parse().ok())
}

#[async_trait]
impl Provider for FileHost {
    fn kind(&self) -> &'static str {
        "file host"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
    }

    fn name_rules(&self) -> NameRules {
        NameRules {
            max_chars: 255,
            forbidden: "",
            edge_blanks: true,
            leading_dot: true,
            numbered_twins: true,
        }
    }

    fn root(&self) -> FolderId {
        FolderId::new("root")
    }

    async fn links(&self, files: &[FileId]) -> Result<Vec<Result<DownloadLink>>> {
        let mut seen = self.shared.seen();
        seen.links += 1;
        let link = DownloadLink {
            url: format!("{}/film/{}", self.shared.base, seen.token)
                .parse()
                .unwrap(),
            expires: SystemTime::now() + Duration::from_secs(3600),
            habits: ServerHabits {
                open_ended_ranges: true,
                error_path: Some("error"),
                crowded_words: &["concurrent"],
            },
        };
        Ok(files.iter().map(|_| Ok(link.clone())).collect())
    }

    async fn account_info(&self) -> Result<AccountInfo> {
        let message = "it gives links alone";
        Err(ProviderError::new(
            ErrorKind::Unsupported,
            Retry::Never,
            "account_info",
            message,
        ))
    }
}
