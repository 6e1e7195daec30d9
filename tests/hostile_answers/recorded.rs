//! Good answers: the targets' own scripts, run against the sandbox through a proxy that writes down what it answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use lockerfs::sandbox::{Account, Options, Sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::provider_of::provider_of;
use crate::{calls, host};

const ACCOUNT: &str = "media";

type Answers = Arc<Mutex<Vec<Vec<u8>>>>;

pub fn mediafire() -> Vec<Vec<u8>> {
    of_all_scripts(crate::mediafire::LOGIN, &Account::mediafire(ACCOUNT))
}

pub fn yetishare() -> Vec<Vec<u8>> {
    of_all_scripts(crate::yetishare::LOGIN, &Account::yetishare(ACCOUNT))
}

pub fn mirrors() -> Vec<Vec<u8>> {
    let mut seeds = of_all_scripts(0, &Account::mirrorace(ACCOUNT));
    let of_other = Account::mirrored_to(ACCOUNT);
    seeds.extend(of_all_scripts(crate::mirrors::MIRRORED_TO, &of_other));
    seeds
}

/// A seed for each script, and one without the login where `login` is the bit of the first byte that stands for it.
fn of_all_scripts(head: u8, account: &Account) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for script in 0..calls::SCRIPTS {
        let answers = recorded(account, script);
        seeds.push(seed(head | script, &answers));
        if answers.len() > 1 {
            seeds.push(seed(script, &answers[1..]));
        }
    }
    let told = seeds.iter().filter(|seed| seed.len() > 100).count();
    assert!(told >= 4, "the sandbox answered next to nothing");
    seeds
}

fn seed(head: u8, answers: &[Vec<u8>]) -> Vec<u8> {
    [&[head], answers.join(&host::SEPARATOR).as_slice()].concat()
}

fn recorded(account: &Account, script: u8) -> Vec<Vec<u8>> {
    let data = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let answers = Answers::default();
    let of_proxy = Arc::clone(&answers);
    runtime.block_on(async {
        let mut options = Options::new(data.path());
        options.accounts = vec![account.clone()];
        options.quirks.processing = std::time::Duration::ZERO;
        let sandbox = Sandbox::start(options).await.expect("a sandbox");
        let files = sandbox.files_dir(ACCOUNT);
        std::fs::create_dir_all(files.join("album")).expect("a folder");
        for name in ["a.txt", "größe.bin", "album/b.txt"] {
            std::fs::write(files.join(name), name).expect("a file");
        }
        sandbox.rescan().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut base_url: Url = sandbox.base_url(ACCOUNT).parse().expect("a URL");
        base_url
            .set_port(listener.local_addr().ok().map(|address| address.port()))
            .expect("a URL with a port");
        let target = sandbox.address();
        let proxy = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // One after the other, so that they are written down in order.
                drop(pass_on(stream, target, &of_proxy).await);
            }
        });
        let provider = provider_of(account, base_url, calls::client());
        calls::run(provider.as_ref(), script).await;
        proxy.abort();
        sandbox.stop().await;
    });
    let answers = answers.lock().expect("no test panicked");
    answers.iter().map(|answer| plain(answer)).collect()
}

/// The body alone of an answer that needs no head of its own.
fn plain(answer: &[u8]) -> Vec<u8> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    match end.filter(|_| answer.starts_with(b"HTTP/1.1 200 ")) {
        Some(end) => answer[end + 4..].to_vec(),
        None => answer.to_vec(),
    }
}

async fn pass_on(mut stream: TcpStream, target: SocketAddr, answers: &Answers) -> std::io::Result<()> {
    let request = whole_request(&mut stream).await?;
    let answer = exchange(target, &request).await?;
    answers.lock().expect("no test panicked").push(answer.clone());
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

/// Sends a request whose answer ends with its connection.
async fn exchange(target: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(target).await?;
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// A request with its body, which asks for the end of the connection.
async fn whole_request(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
            if bytes.len() >= end + 4 + length {
                bytes.splice(end..end, *b"\r\nconnection: close");
                return Ok(bytes);
            }
        }
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&piece[..read]);
    }
}
