//! A host on loopback that answers with the fuzzer's bytes.
//!
//! An input is a list of answers, with [`SEPARATOR`] between them. An answer that begins with `HTTP/` is sent as it
//! stands, and the connection ends; any other is the body of an answer that is well formed. After the last answer
//! that one comes again and again. A client that asks without an end is cut off.

use std::cell::OnceCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

pub const SEPARATOR: u8 = 0x1E;

/// Requests after which a client counts as one that would never end.
const MOST_REQUESTS: usize = 4000;
/// How long an input may take, on a machine that is busy with other things.
const LONGEST: Duration = Duration::from_secs(120);

/// What the answers to requests whose path ends so are, whatever the input says.
pub type Fixed = &'static [(&'static str, &'static str)];

#[derive(Default)]
struct Script {
    answers: Vec<Vec<u8>>,
    next: usize,
    requests: usize,
    fixed: Fixed,
}

/// The host and the runtime that it lives in, one for each thread.
pub struct Lab {
    runtime: Runtime,
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

thread_local! {
    static LAB: OnceCell<Lab> = const { OnceCell::new() };
}

/// Serves the answers of `input` while `work` lasts. It panics where the work asks without an end, or hangs.
pub fn served<W: Future<Output = ()>>(input: &[u8], fixed: Fixed, work: impl FnOnce(SocketAddr) -> W) {
    LAB.with(|lab| {
        let lab = lab.get_or_init(Lab::start);
        *script(&lab.script) = Script {
            answers: input
                .split(|byte| *byte == SEPARATOR)
                .map(<[u8]>::to_vec)
                .collect(),
            fixed,
            ..Script::default()
        };
        let ended = lab
            .runtime
            .block_on(async { tokio::time::timeout(LONGEST, work(lab.address)).await });
        assert!(ended.is_ok(), "it hangs");
        let requests = script(&lab.script).requests;
        assert!(requests <= MOST_REQUESTS, "it asks without an end");
    });
}

fn script(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lab {
    fn start() -> Lab {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Mutex::new(Script::default()));
        let of_host = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&of_host);
                // A client that hangs up is no fault.
                tokio::spawn(async move { drop(serve(stream, &script).await) });
            }
        });
        Lab {
            runtime,
            address,
            script: shared,
        }
    }
}

async fn serve(stream: TcpStream, shared: &Mutex<Script>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(path) = request(&mut stream).await? {
        let Some(answer) = answer(&mut script(shared), &path) else {
            return Ok(());
        };
        if answer.starts_with(b"HTTP/") {
            stream.write_all(&answer).await?;
            return stream.shutdown().await;
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(&[head.as_bytes(), &answer].concat()).await?;
    }
    Ok(())
}

/// Reads a request to its end and tells its path.
async fn request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let (mut path, mut length) = (None, 0);
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if path.is_none() {
            path = line
                .split(' ')
                .nth(1)
                .map(|target| target.split('?').next().unwrap_or("").to_owned());
            continue;
        }
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await?;
    Ok(path)
}

fn answer(script: &mut Script, path: &str) -> Option<Vec<u8>> {
    script.requests += 1;
    if script.requests > MOST_REQUESTS {
        return None;
    }
    if let Some((_, body)) = script.fixed.iter().find(|(end, _)| path.ends_with(end)) {
        return Some(body.as_bytes().to_vec());
    }
    let answer = script
        .answers
        .get(script.next.min(script.answers.len().saturating_sub(1)))
        .cloned();
    script.next += 1;
    answer
}
