//! A slow link in front of a web server on this machine: what lies behind it answers as from far away.
//!
//! `slow_link BACKEND LATENCY_MS PER_CONNECTION TOTAL` prints the address that it listens on. An answer begins
//! `LATENCY_MS` after the last byte of its request; a connection carries `PER_CONNECTION` bytes a second each way,
//! and all together `TOTAL`, both ways. A line `counts` on standard input is answered with a line of JSON, `reset`
//! counts from zero, and the end of the input ends the program. Loopback only.
//!
//! Each request goes to the backend on a connection of its own, so that the end of an answer is the end of its stream.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most that passes in one step, so that connections share the link evenly.
const STEP: usize = 16 * 1024;
const LONGEST_HEAD: usize = 64 * 1024;

/// An even pace in bytes a second.
struct Pace {
    rate: f64,
    paid: Mutex<Instant>,
}

impl Pace {
    fn new(rate: f64) -> Self {
        Self { rate, paid: Mutex::new(Instant::now()) }
    }

    /// When these bytes will have passed.
    fn spend(&self, bytes: usize) -> Instant {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        *paid = (*paid).max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / self.rate);
        *paid
    }
}

fn sleep_until(moment: Instant) {
    std::thread::sleep(moment.saturating_duration_since(Instant::now()));
}

struct Link {
    backend: String,
    latency: Duration,
    per_connection: f64,
    total: Pace,
    calls: Mutex<BTreeMap<String, u64>>,
    sent: AtomicU64,
    fetched: AtomicU64,
}

impl Link {
    fn count(&self, method: &str) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(method.to_owned()).or_default() += 1;
    }

    fn counts(&self) -> String {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let calls: Vec<String> = calls.iter().map(|(method, count)| format!("{method:?}:{count}")).collect();
        let (sent, fetched) = (self.sent.load(Relaxed), self.fetched.load(Relaxed));
        format!("{{\"calls\":{{{}}},\"sent\":{sent},\"fetched\":{fetched}}}", calls.join(","))
    }

    fn reset(&self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.sent.store(0, Relaxed);
        self.fetched.store(0, Relaxed);
    }
}

/// One direction of one connection: writes at the link's pace, and counts.
struct Lane<'a> {
    link: &'a Link,
    pace: Pace,
    counter: &'a AtomicU64,
}

impl Lane<'_> {
    fn write(&self, to: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(STEP) {
            sleep_until(self.pace.spend(part.len()).max(self.link.total.spend(part.len())));
            to.write_all(part)?;
            self.counter.fetch_add(part.len() as u64, Relaxed);
        }
        Ok(())
    }

    /// Passes bytes on until the stream ends, or `length` of them.
    fn pass(&self, from: &mut impl Read, to: &mut TcpStream, length: Option<u64>) -> io::Result<()> {
        let mut buffer = vec![0; STEP];
        let mut left = length.unwrap_or(u64::MAX);
        while left > 0 {
            let most = left.min(STEP as u64) as usize;
            let read = from.read(&mut buffer[..most])?;
            if read == 0 {
                return if length.is_some() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) };
            }
            self.write(to, &buffer[..read])?;
            left -= read as u64;
        }
        Ok(())
    }

    /// Passes a body in chunks on as it stands, up to and with its last line.
    fn pass_chunks(&self, from: &mut impl BufRead, to: &mut TcpStream) -> io::Result<()> {
        loop {
            let line = read_line(from)?;
            self.write(to, line.as_bytes())?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            if size == 0 {
                break;
            }
            self.pass(from, to, Some(size + 2))?;
        }
        loop {
            let line = read_line(from)?;
            self.write(to, line.as_bytes())?;
            if line.trim_end().is_empty() {
                return Ok(());
            }
        }
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.take(LONGEST_HEAD as u64).read_line(&mut line)? == 0 || !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

/// The first line and the headers of a request or an answer.
struct Head(Vec<String>);

impl Head {
    /// `None`: the other side has closed the connection.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        if from.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut lines = Vec::new();
        let mut length = 0;
        loop {
            let line = read_line(from)?;
            length += line.len();
            if length > LONGEST_HEAD {
                return Err(io::ErrorKind::InvalidData.into());
            }
            match line.trim_end() {
                "" => return Ok(Some(Self(lines))),
                line => lines.push(line.to_owned()),
            }
        }
    }

    fn word(&self, at: usize) -> &str {
        let first = self.0.first().map_or("", String::as_str);
        first.split(' ').nth(at).unwrap_or_default()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
    }

    fn length(&self) -> Option<u64> {
        self.get("content-length")?.parse().ok()
    }

    /// As bytes, without the headers that hold for one connection, and with one that says whether it ends.
    fn bytes(&self, ends: bool) -> Vec<u8> {
        let is_passed_on = |line: &&String| {
            let key = line.split(':').next().unwrap_or_default();
            !["connection", "keep-alive", "expect"].iter().any(|own| key.eq_ignore_ascii_case(own))
        };
        let mut text: String = self.0.iter().filter(is_passed_on).map(|line| format!("{line}\r\n")).collect();
        text.push_str(if ends { "Connection: close\r\n\r\n" } else { "\r\n" });
        text.into_bytes()
    }
}

fn serve(client: TcpStream, link: &Link) -> io::Result<()> {
    client.set_nodelay(true)?;
    let up = Lane { link, pace: Pace::new(link.per_connection), counter: &link.sent };
    let down = Lane { link, pace: Pace::new(link.per_connection), counter: &link.fetched };
    let mut to_client = client.try_clone()?;
    let mut from_client = BufReader::with_capacity(STEP, client);
    while let Some(request) = Head::read(&mut from_client)? {
        link.count(request.word(0));
        let mut to_backend = TcpStream::connect(&link.backend)?;
        to_backend.set_nodelay(true)?;
        let mut from_backend = BufReader::with_capacity(STEP, to_backend.try_clone()?);
        up.write(&mut to_backend, &request.bytes(true))?;
        if request.is("expect", "100-continue") {
            std::thread::sleep(link.latency);
            to_client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if request.is("transfer-encoding", "chunked") {
            up.pass_chunks(&mut from_client, &mut to_backend)?;
        } else if let Some(length) = request.length() {
            up.pass(&mut from_client, &mut to_backend, Some(length))?;
        }
        let due = Instant::now() + link.latency;
        let answer = loop {
            let head = Head::read(&mut from_backend)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if !head.word(1).starts_with('1') {
                break head;
            }
        };
        let is_empty = request.word(0) == "HEAD" || matches!(answer.word(1), "204" | "304");
        let is_framed = is_empty || answer.length().is_some() || answer.is("transfer-encoding", "chunked");
        let ends = !is_framed || request.is("connection", "close");
        sleep_until(due);
        down.write(&mut to_client, &answer.bytes(ends))?;
        let length = if is_empty { Some(0) } else { answer.length() };
        down.pass(&mut from_backend, &mut to_client, length)?;
        if ends {
            break;
        }
    }
    Ok(())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [backend, latency, per_connection, total] = arguments.as_slice() else {
        return Err("usage: slow_link BACKEND LATENCY_MS PER_CONNECTION TOTAL".into());
    };
    let link = Arc::new(Link {
        backend: backend.clone(),
        latency: Duration::from_millis(latency.parse()?),
        per_connection: per_connection.parse()?,
        total: Pace::new(total.parse()?),
        calls: Mutex::default(),
        sent: AtomicU64::new(0),
        fetched: AtomicU64::new(0),
    });
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let shared = Arc::clone(&link);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let link = Arc::clone(&shared);
            // A connection that breaks is the two sides' business; both see it closed.
            std::thread::spawn(move || drop(serve(client, &link)));
        }
    });
    for line in io::stdin().lines() {
        match line?.trim() {
            "counts" => println!("{}", link.counts()),
            "reset" => link.reset(),
            other => return Err(format!("no such command: {other}").into()),
        }
    }
    Ok(())
}

fn main() {
    if let Err(error) = run() {
        eprintln!("slow_link: {error}");
        std::process::exit(1);
    }
}
