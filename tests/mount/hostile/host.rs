//! A MediaFire on loopback that answers as it should, but for what a test has it answer instead, byte by byte. It writes
//! down what it gets.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub const TOKEN: &str = "token-that-nobody-else-may-see";

/// What is sent in place of the right answer.
#[derive(Clone)]
pub enum Act {
    /// Sent as it is, before the connection ends.
    Raw(Vec<u8>),
    /// A head, and then these bytes again and again.
    Endless(&'static str, Vec<u8>),
    /// A head, and then a byte each second.
    Drip(&'static str),
    /// Nothing, ever.
    Silence,
}

impl Act {
    /// An answer in JSON.
    pub fn json(text: impl AsRef<[u8]>) -> Act {
        Act::Raw(whole("content-type: application/json", text.as_ref()))
    }

    /// A redirect.
    pub fn redirect(to: &str) -> Act {
        // The connection ends with it: a client that is not told takes the end for one of the next answer.
        let head =
            format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        Act::Raw(head.into_bytes())
    }
}

/// A good head and a body.
pub fn whole(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\n{headers}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[derive(Default)]
struct Shared {
    /// By the end of the path that is asked for.
    acts: Mutex<HashMap<&'static str, Act>>,
    /// Head and body of each request.
    requests: Mutex<Vec<String>>,
    /// What a file is read from, by key.
    links: Mutex<HashMap<&'static str, String>>,
    files: Mutex<String>,
    ended: AtomicBool,
}

pub struct Host {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Whoever waits for a connection gets one.
        drop(TcpStream::connect(self.address));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    pub fn start() -> Host {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                // A client that hangs up is no fault of the host.
                std::thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Host { address, shared }
    }

    /// The account of this host, as it stands in a config.
    pub fn config(&self) -> String {
        format!(
            "deadline = \"5s\"\nread_timeout = \"2s\"\npoll_interval = \"1h\"\nlisting_age = \"0s\"\n\
             calls_per_second = 999\nburst = 1000\n\n\
             [accounts.media]\nkind = \"mediafire\"\nbase_url = \"http://{}/\"\nsession_token = \"{TOKEN}\"\n",
            self.address
        )
    }

    /// From now on, requests whose path ends so are answered thus; `None` for the right answer.
    pub fn act(&self, path: &'static str, act: Option<Act>) {
        match act {
            Some(act) => lock(&self.shared.acts).insert(path, act),
            None => lock(&self.shared.acts).remove(path),
        };
    }

    /// The files of the top folder, as JSON objects with commas between.
    pub fn files(&self, files: &str) {
        files.clone_into(&mut lock(&self.shared.files));
    }

    /// Where a file is to be read from.
    pub fn link(&self, key: &'static str, url: String) {
        lock(&self.shared.links).insert(key, url);
    }

    pub fn requests(&self) -> Vec<String> {
        lock(&self.shared.requests).clone()
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while let Some((path, text)) = request(&mut reader)? {
            lock(&self.requests).push(text.clone());
            let act = lock(&self.acts)
                .iter()
                .find(|(end, _)| path.ends_with(*end))
                .map(|(_, act)| act.clone());
            match act {
                None => stream.write_all(&self.right(&path, &text))?,
                Some(Act::Raw(bytes)) => return stream.write_all(&bytes),
                Some(Act::Endless(head, bytes)) => {
                    stream.write_all(head.as_bytes())?;
                    while !self.ended.load(Ordering::Relaxed) {
                        stream.write_all(&bytes)?;
                    }
                }
                Some(Act::Drip(head)) => {
                    stream.write_all(head.as_bytes())?;
                    while !self.ended.load(Ordering::Relaxed) {
                        stream.write_all(b" ")?;
                        std::thread::sleep(Duration::from_secs(1));
                    }
                }
                Some(Act::Silence) => {
                    while !self.ended.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            }
        }
        Ok(())
    }

    fn right(&self, path: &str, text: &str) -> Vec<u8> {
        let fields = match path.rsplit('/').next().unwrap_or_default() {
            "renew_session_token.php" => format!(r#""session_token":"{TOKEN}""#),
            "get_info.php" if path.contains("/user/") => {
                r#""user_info":{"email":"me@example.org","storage_limit":"1000000000","used_storage_size":"0"}"#.to_owned()
            }
            "get_status.php" => r#""device_revision":"1""#.to_owned(),
            "get_content.php" => {
                let files = match text.contains("content_type=files") {
                    true => lock(&self.files).clone(),
                    false => String::new(),
                };
                format!(r#""folder_content":{{"more_chunks":"no","files":[{files}],"folders":[]}}"#)
            }
            "get_links.php" => {
                let link = |(key, url): (&&str, &String)| {
                    format!(r#"{{"quickkey":"{key}","direct_download":"{url}"}}"#)
                };
                let links: Vec<_> = lock(&self.links).iter().map(link).collect();
                format!(r#""links":[{}]"#, links.join(","))
            }
            _ => return whole("content-type: text/html", b"<html>no such page</html>"),
        };
        let body = format!(r#"{{"response":{{"result":"Success",{fields}}}}}"#);
        whole("content-type: application/json", body.as_bytes())
    }
}

/// The path of a request, and its text.
fn request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<(String, String)>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        head.push_str(&line);
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    let target = head.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok(Some((path, head + &body)))
}
