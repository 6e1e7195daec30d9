//! What the client for calls promises, against a server that says exactly what the test wants.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lockerfs::http::{ApiClient, ApiOptions, ApiRequest, FileRange, HttpErrorKind, Multipart};
use url::Url;

/// Serves one connection with `serve` and gives what that returns.
fn server<T: Send + 'static>(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> (Url, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    (
        url,
        std::thread::spawn(move || serve(listener.accept().unwrap().0)),
    )
}

/// Reads head and body of one request.
fn read_request(stream: &mut TcpStream) -> (Vec<u8>, Vec<u8>) {
    let (mut bytes, mut piece) = (Vec::new(), [0; 65536]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = bytes[..end].to_vec();
            let text = String::from_utf8_lossy(&head).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return (head, bytes[end + 4..].to_vec());
            }
        }
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the request broke off");
        bytes.extend_from_slice(&piece[..read]);
    }
}

fn answer(stream: &mut TcpStream, head: &str, body: &[u8]) {
    let head = format!(
        "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
}

fn client() -> ApiClient {
    ApiClient::new(ApiOptions::default()).unwrap()
}

fn file_of(bytes: &[u8]) -> Arc<std::fs::File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Arc::new(file)
}

#[tokio::test]
async fn query_and_form_arrive_byte_for_byte() {
    let (url, served) = server(|mut stream| {
        let request = read_request(&mut stream);
        answer(&mut stream, "200 OK", b"{}");
        request
    });
    let mut request = ApiRequest::form(url, "b=1%20%2B~&a=%C3%BC&signature=ab");
    request.query = "z=%27&y=1".to_owned();
    let got = client().send(request).await.unwrap();
    assert_eq!((got.status, &got.body[..]), (200, &b"{}"[..]));
    let (head, body) = served.join().unwrap();
    assert!(head.starts_with(b"POST /api?z=%27&y=1 HTTP/1.1"));
    assert_eq!(body, b"b=1%20%2B~&a=%C3%BC&signature=ab");
}

#[tokio::test]
async fn a_part_of_a_file_is_sent_with_its_length_and_raw_headers() {
    let bytes: Vec<u8> = (0..700_000_u32).map(|i| (i % 251) as u8).collect();
    let (url, served) = server(|mut stream| {
        let request = read_request(&mut stream);
        answer(
            &mut stream,
            "503 Busy\r\nretry-after: 7\r\ncontent-type: text/html",
            b"<html>",
        );
        request
    });
    let range = FileRange::new(file_of(&bytes), 1_000, 600_000);
    let request = ApiRequest::file(url, "a=b", range).with_header("x-filename", "größe 日本.txt");
    let got = client().send(request).await.unwrap();
    assert_eq!((got.status, got.retry_after), (503, Some(Duration::from_secs(7))));
    assert_eq!(got.content_type.as_deref(), Some("text/html"));
    let (head, body) = served.join().unwrap();
    let wanted = "x-filename: größe 日本.txt\r\n".as_bytes();
    assert!(head.windows(wanted.len()).any(|window| window == wanted));
    assert!(
        !String::from_utf8_lossy(&head)
            .to_lowercase()
            .contains("transfer-encoding")
    );
    assert!(body == bytes[1_000..601_000]);
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_refused() {
    let (url, served) = server(|mut stream| {
        read_request(&mut stream);
        answer(&mut stream, "200 OK", &[b' '; 2_000]);
    });
    let client = ApiClient::new(ApiOptions {
        max_answer: 1_000,
        ..ApiOptions::default()
    })
    .unwrap();
    assert_eq!(
        client.send(ApiRequest::get(url, "")).await.unwrap_err().kind,
        HttpErrorKind::AnswerTooLarge
    );
    served.join().unwrap();
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let (url, served) = server(|mut stream| {
        read_request(&mut stream);
        answer(
            &mut stream,
            "302 Found\r\nlocation: http://127.0.0.1:1/elsewhere",
            b"",
        );
    });
    assert_eq!(
        client()
            .send(ApiRequest::get(url, "token=secret"))
            .await
            .unwrap()
            .status,
        302
    );
    served.join().unwrap();
}

#[tokio::test]
async fn a_file_shorter_than_announced_is_a_local_error() {
    let (url, served) = server(|mut stream| {
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink);
    });
    let range = FileRange::new(file_of(b"short"), 0, 1 << 20);
    let error = client().send(ApiRequest::file(url, "", range)).await.unwrap_err();
    assert_eq!(error.kind, HttpErrorKind::LocalFile, "{error}");
    served.join().unwrap();
}

#[tokio::test]
async fn an_upload_that_stalls_ends_and_one_that_creeps_does_not() {
    let options = ApiOptions {
        stall_timeout: Duration::from_millis(400),
        ..ApiOptions::default()
    };
    let client = ApiClient::new(options).unwrap();
    let bytes = vec![1; 16 << 20];
    let range = FileRange::new(file_of(&bytes), 0, bytes.len() as u64);

    let (url, stalled) = server(|stream| stream);
    let error = client
        .send(ApiRequest::file(url, "", range.clone()))
        .await
        .unwrap_err();
    assert_eq!(error.kind, HttpErrorKind::Timeout, "{error}");
    drop(stalled.join().unwrap());

    let (url, creeping) = server(|mut stream| {
        let (mut left, mut piece) = (16 << 20, vec![0; 1 << 20]);
        while left > 0 {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0);
            left -= read.min(left);
            std::thread::sleep(Duration::from_millis(if read > 500_000 { 60 } else { 10 }));
        }
        answer(&mut stream, "200 OK", b"{}");
    });
    assert_eq!(
        client
            .send(ApiRequest::file(url, "", range))
            .await
            .unwrap()
            .status,
        200
    );
    creeping.join().unwrap();
}

/// A form with this part of a file, as a file of this name.
fn form(file: Arc<std::fs::File>, offset: u64, length: u64, name: &str) -> Multipart {
    Multipart {
        fields: vec![("access_token", "a&b=ü".to_owned()), ("folder_id", String::new())],
        file_field: "upload_file",
        file_name: name.to_owned(),
        file: FileRange::new(file, offset, length),
    }
}

fn content_length(head: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(head).to_lowercase();
    assert!(!text.contains("transfer-encoding"), "{text}");
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.expect("a length").parse().unwrap()
}

#[tokio::test]
async fn a_form_arrives_with_its_length_its_fields_and_its_file() {
    let bytes: Vec<u8> = (0..700_000_u32).map(|i| (i % 251) as u8).collect();
    let (url, served) = server(|mut stream| {
        let request = read_request(&mut stream);
        answer(&mut stream, "200 OK", b"{}");
        request
    });
    let name = "größe 100% 日本's.txt";
    let request = ApiRequest::multipart(url, form(file_of(&bytes), 1_000, 600_000, name));
    assert_eq!(client().send(request).await.unwrap().status, 200);

    let (head, body) = served.join().unwrap();
    assert_eq!(body.len() as u64, content_length(&head));
    let head = String::from_utf8(head).unwrap();
    let boundary = head
        .split_once("multipart/form-data; boundary=")
        .and_then(|(_, rest)| rest.lines().next())
        .expect("a boundary");
    let mut wanted = Vec::new();
    for (field, value) in [("access_token", "a&b=ü"), ("folder_id", "")] {
        let part =
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n");
        wanted.extend_from_slice(part.as_bytes());
    }
    let part = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"upload_file\"; filename=\"{name}\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    wanted.extend_from_slice(part.as_bytes());
    wanted.extend_from_slice(&bytes[1_000..601_000]);
    wanted.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(body == wanted, "{}", String::from_utf8_lossy(&body[..600]));
}

#[tokio::test]
async fn a_form_is_sent_while_its_file_is_read() {
    const SIZE: u64 = 1 << 38;
    let file = tempfile::tempfile().unwrap();
    // All hole: more than any memory holds, and nothing on the disk.
    file.set_len(SIZE).unwrap();
    let (url, served) = server(|mut stream| {
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 1 << 16]);
        while bytes.len() < 4 << 20 {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "the request broke off");
            bytes.extend_from_slice(&piece[..read]);
        }
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        content_length(&bytes[..end.unwrap()])
    });
    let request = ApiRequest::multipart(url, form(Arc::new(file), 0, SIZE, "large.bin"));
    let error = client().send(request).await.unwrap_err();
    assert_eq!(error.kind, HttpErrorKind::NoAnswer, "{error}");
    let length = served.join().unwrap();
    assert!((SIZE..SIZE + 2_000).contains(&length), "{length}");
}

#[tokio::test]
async fn a_form_whose_file_fails_on_its_way_is_a_local_error() {
    let (url, served) = server(|mut stream| {
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink);
        sink.len()
    });
    let request = ApiRequest::multipart(url, form(file_of(&[7; 1 << 20]), 0, 2 << 20, "a.bin"));
    let error = client().send(request).await.unwrap_err();
    assert_eq!(error.kind, HttpErrorKind::LocalFile, "{error}");
    assert!(served.join().unwrap() < 2 << 20, "the form looked whole");
}

#[tokio::test]
async fn a_form_that_stalls_ends() {
    let options = ApiOptions {
        stall_timeout: Duration::from_millis(400),
        ..ApiOptions::default()
    };
    let (url, stalled) = server(|stream| stream);
    let request = ApiRequest::multipart(url, form(file_of(&vec![1; 16 << 20]), 0, 16 << 20, "a.bin"));
    let error = ApiClient::new(options).unwrap().send(request).await.unwrap_err();
    assert_eq!(error.kind, HttpErrorKind::Timeout, "{error}");
    drop(stalled.join().unwrap());
}

#[tokio::test]
async fn a_service_may_be_silent_for_as_long_as_the_request_says() {
    let options = ApiOptions {
        connect_timeout: Duration::from_millis(200),
        answer_timeout: Duration::from_millis(200),
        ..ApiOptions::default()
    };
    let client = ApiClient::new(options).unwrap();
    for (patience, answered) in [(None, false), (Some(Duration::from_secs(20)), true)] {
        let (url, served) = server(|mut stream| {
            read_request(&mut stream);
            std::thread::sleep(Duration::from_millis(1_500));
            // Who no longer waits hears nothing.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        });
        let mut request = ApiRequest::multipart(url, form(file_of(&[1; 1_000]), 0, 1_000, "a.bin"));
        request.answer_timeout = patience;
        match client.send(request).await {
            Ok(got) => assert!(answered && got.status == 200),
            Err(error) => assert!(!answered && error.kind == HttpErrorKind::Timeout, "{error}"),
        }
        served.join().unwrap();
    }
}

#[tokio::test]
async fn a_file_name_that_servers_read_differently_is_refused_before_anything_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url: Url = format!("http://{}/api", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    for name in ["a\"b", "a\\b", "a\r\nb", "a\0b", "a\u{85}b"] {
        let request = ApiRequest::multipart(url.clone(), form(file_of(b"x"), 0, 1, name));
        let error = client().send(request).await.unwrap_err();
        assert_eq!(error.kind, HttpErrorKind::InsecureUrl, "{name:?}: {error}");
    }
    assert!(listener.accept().is_err(), "a connection was made");
}

#[tokio::test]
async fn bodies_pass_no_faster_than_the_rate_that_all_of_them_share() {
    const RATE: u64 = 400_000;
    let options = ApiOptions {
        max_rate: Some(RATE),
        stall_timeout: Duration::from_millis(1500),
        ..ApiOptions::default()
    };
    let client = ApiClient::new(options).unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| at as u8).collect();
    let file = file_of(&bytes);
    let began = std::time::Instant::now();
    let mut sent = Vec::new();
    for _ in 0..2 {
        let (url, server) = server(|mut stream| {
            let (_, body) = read_request(&mut stream);
            answer(&mut stream, "200 OK", b"taken");
            body
        });
        let range = FileRange::new(file.clone(), 0, bytes.len() as u64);
        let request = client.send(ApiRequest::file(url, "", range));
        sent.push(async move { (request.await.unwrap().status, server) });
    }
    for (status, server) in futures_util::future::join_all(sent).await {
        assert_eq!(status, 200);
        assert!(server.join().unwrap() == bytes);
    }
    // 600,000 bytes, of which the first pieces go at once.
    let elapsed = began.elapsed();
    assert!(elapsed >= Duration::from_millis(1200), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
}

#[tokio::test]
async fn an_opened_answer_comes_in_parts_and_may_be_larger_than_any_other() {
    let (url, served) = server(|mut stream| {
        read_request(&mut stream);
        answer(
            &mut stream,
            "418 Teapot\r\ncontent-type: application/zip",
            &[7; 300_000],
        );
    });
    let options = ApiOptions {
        max_answer: 1000,
        ..ApiOptions::default()
    };
    let client = ApiClient::new(options).unwrap();
    let mut opened = client.open(ApiRequest::form(url, "a=b")).await.unwrap();
    assert_eq!((opened.status, opened.length), (418, Some(300_000)));
    assert_eq!(opened.content_type.as_deref(), Some("application/zip"));
    let mut came = 0;
    while let Some(bytes) = opened.chunk().await.unwrap() {
        came += bytes.len();
    }
    assert_eq!(came, 300_000);
    served.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_large_answers_a_client_has_one_in_memory_at_a_time() {
    const LARGE: usize = 20 << 20;
    let sized = |size: usize| {
        server(move |mut stream| {
            read_request(&mut stream);
            // Whoever does not want it all hangs up.
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&vec![b' '; size]);
        })
    };
    let options = ApiOptions {
        max_answer: LARGE,
        ..ApiOptions::default()
    };
    let client = ApiClient::new(options).unwrap();
    let (url, served) = sized(LARGE);
    let first = client.send(ApiRequest::get(url, "")).await.unwrap();
    assert_eq!(first.body.len(), LARGE);
    served.join().unwrap();

    let (url, second_served) = sized(LARGE);
    let mut second = std::pin::pin!(client.send(ApiRequest::get(url, "")));
    let waited = tokio::time::timeout(Duration::from_secs(1), &mut second).await;
    assert!(waited.is_err(), "the second came beside the first: {waited:?}");
    let (url, served) = sized(1 << 20);
    let small = client.send(ApiRequest::get(url, "")).await.unwrap();
    assert_eq!(small.body.len(), 1 << 20);
    served.join().unwrap();

    drop(first);
    assert_eq!(second.await.unwrap().body.len(), LARGE);
    second_served.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opened_answer_that_breaks_off_or_stands_still_is_an_error() {
    for stands_still in [false, true] {
        let (url, served) = server(move |mut stream| {
            read_request(&mut stream);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                .unwrap();
            // Until the client has hung up, or at once.
            if stands_still {
                let _ = stream.read(&mut [0; 1]);
            }
        });
        let options = ApiOptions {
            stall_timeout: Duration::from_millis(200),
            ..ApiOptions::default()
        };
        let client = ApiClient::new(options).unwrap();
        let mut opened = client.open(ApiRequest::form(url, "token=hunter2")).await.unwrap();
        assert_eq!(&opened.chunk().await.unwrap().unwrap()[..], b"half");
        let error = opened.chunk().await.unwrap_err();
        assert_eq!(error.kind, HttpErrorKind::Body, "{error}");
        assert!(!error.to_string().contains("hunter2"));
        drop(opened);
        served.join().unwrap();
    }
}
