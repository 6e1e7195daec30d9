//! Fetching a file by its URL, as services do it for remote uploads. From loopback only: a sandbox reaches
//! nothing else, whatever it is asked for or sent on to. A fetch is bounded in time and size, and a web page is no
//! file.
//!
//! Speaks HTTP/1.0, so that a body is plain bytes up to its length or the connection's end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;
use url::{Host, Url};

use super::blobs::Receiver;
use super::state::Shared;

const MAX_REDIRECTS: usize = 5;
const MAX_HEAD: u64 = 64 * 1024;
/// For each step of a fetch.
const TIMEOUT: Duration = Duration::from_secs(30);
/// For all of it.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);
const BUFFER: usize = 64 * 1024;

/// Streams what stands at `url` into the store, if it is of `most` bytes at most; the error is
/// [`io::ErrorKind::FileTooLarge`] where it is more.
pub async fn fetch(shared: &Shared, url: &Url, most: u64) -> io::Result<Receiver> {
    open(url).await?.store(shared, most, |_| {}).await
}

/// A file whose body is still to come.
pub struct Incoming {
    reader: BufReader<TcpStream>,
    pub length: Option<u64>,
    until: Instant,
}

/// Asks for what stands at `url`.
pub async fn open(url: &Url) -> io::Result<Incoming> {
    let until = Instant::now() + LONGEST;
    let mut url = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let mut reader = BufReader::new(timely(TcpStream::connect(address(&url)?)).await?);
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let host = url.host_str().unwrap_or_default();
        let request = format!("GET {target} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        timely(reader.get_mut().write_all(request.as_bytes())).await?;
        let head = Head::read(&mut reader).await?;
        match head.status {
            200 if head.is_page && !head.is_attachment => {
                return Err(refused("a web page in place of a file"));
            }
            200 => {
                return Ok(Incoming {
                    reader,
                    length: head.length,
                    until,
                });
            }
            301 | 302 | 303 | 307 | 308 => {
                let location = head.location.ok_or_else(|| refused("a redirect to nowhere"))?;
                url = url.join(&location).map_err(|_| refused("a redirect to no URL"))?;
            }
            status => return Err(refused(&format!("HTTP status {status}"))),
        }
    }
    Err(refused("too many redirects"))
}

/// The loopback address that a URL names; everything else is refused.
pub fn address(url: &Url) -> io::Result<SocketAddr> {
    let ip = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip),
        Some(Host::Domain("localhost")) => IpAddr::from([127, 0, 0, 1]),
        _ => return Err(refused("not on loopback")),
    };
    if url.scheme() != "http" || !ip.is_loopback() {
        return Err(refused("not plain HTTP on loopback"));
    }
    Ok(SocketAddr::new(ip, url.port().unwrap_or(80)))
}

fn refused(why: &str) -> io::Error {
    io::Error::other(why.to_owned())
}

async fn timely<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(TIMEOUT, work)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[derive(Default)]
struct Head {
    status: u16,
    length: Option<u64>,
    location: Option<String>,
    is_page: bool,
    /// Told to be a file, whatever its kind.
    is_attachment: bool,
}

impl Head {
    async fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Self> {
        let mut head = Self::default();
        let mut lines = reader.take(MAX_HEAD);
        let mut line = String::new();
        timely(lines.read_line(&mut line)).await?;
        let status = line
            .split_whitespace()
            .nth(1)
            .and_then(|status| status.parse().ok());
        head.status = status.ok_or_else(|| refused("no HTTP answer"))?;
        loop {
            line.clear();
            if timely(lines.read_line(&mut line)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some((name, value)) = line.trim_end().split_once(':') else {
                return Ok(head);
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.trim().parse().ok(),
                "location" => head.location = Some(value.trim().to_owned()),
                "content-type" => head.is_page = value.trim().starts_with("text/html"),
                "content-disposition" => head.is_attachment = value.trim().starts_with("attachment"),
                _ => {}
            }
        }
    }
}

impl Incoming {
    /// Streams the body into the store, telling how much of it came.
    pub async fn store(
        mut self,
        shared: &Shared,
        most: u64,
        mut came: impl FnMut(u64),
    ) -> io::Result<Receiver> {
        let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "the file is too large");
        if self.length.is_some_and(|length| length > most) {
            return Err(too_large());
        }
        let mut receiver = shared.blobs.receive().await?;
        let mut buffer = vec![0; BUFFER];
        loop {
            if Instant::now() > self.until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let read = timely(self.reader.read(&mut buffer)).await?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            receiver.write(bytes).await?;
            shared.calls.count_fetched(bytes.len() as u64);
            came(receiver.size());
            if receiver.size() > most {
                return Err(too_large());
            }
        }
        if self.length.is_some_and(|length| length != receiver.size()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(receiver)
    }
}
