//! Nasty answers, and mutations of any, the same each time.

use std::io::Write as _;

use crate::host::SEPARATOR;

/// Answers that no service should give, whatever was asked.
pub const API: &[&str] = &[
    "",
    "{}",
    "null",
    "[]",
    "\"\"",
    "<html>busy</html>",
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 503 Busy\r\nretry-after: 18446744073709551615\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 429 Slow\r\nretry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
    "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 9\r\n\r\nnot gzip!",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    "HTTP/1.1 999 \r\n\r\n",
    "HTTP/9.9 200 OK\r\n\r\n{}",
];

pub const MEDIAFIRE: &[&str] = &[
    r#"{"response":{"result":"Success"}}"#,
    r#"{"response":{"result":"Error","error":105,"message":"session\u001b[31m"}}"#,
    r#"{"response":{"result":"Error","error":18446744073709551615,"message":""}}"#,
    r#"{"response":{"result":"Error","error":110,"message":"gone"}}"#,
    r#"{"response":{"result":"Success","new_key":"yes","secret_key":"18446744073709551616","session_token":"t","time":"x","ekey":""}}"#,
    r#"{"response":{"result":"Success","folder_content":{"revision":"1","more_chunks":"yes","folders":[{"folderkey":"../..","name":".."},{"folderkey":"a","name":"a/b\u0000c"}],"files":[{"quickkey":"q/1","filename":"../../x","size":"18446744073709551615"},{"quickkey":"q","filename":"\u0000","size":"9223372036854775808"},{"quickkey":"q2","filename":".","size":"1e308"},{"quickkey":"q3","filename":"x","size":"-1"},{"quickkey":"\u0007\n","filename":"x","size":"1"}]}}}"#,
    r#"{"response":{"result":"Success","device_revision":"18446744073709551615","updated":{"files":[{"quickkey":"a","parent_folderkey":"b"}]}}}"#,
    r#"{"response":{"result":"Success","device_revision":"1000000000000"}}"#,
    r#"{"response":{"result":"Success","links":[{"quickkey":"aaaaaaaaaaaaaaa","direct_download":"file:///etc/passwd","normal_download":"javascript:alert(1)"},{"direct_download":"http://127.0.0.1:1@evil.example/x"}]}}"#,
    r#"{"response":{"result":"Success","action_token":"t","resumable_upload":{"all_units_ready":"yes","unit_size":"65536","number_of_units":"18446744073709551615","upload_key":"{\"web_upload\":\"k\",\"folder\":\"f\",\"size\":1,\"mtime\":\"x\",\"since\":18446744073709551615,\"found\":false}"},"web_uploads":[{"uploadkey":"k","status_code":"1"}]}}"#,
    r#"{"response":{"result":"Success","action_token":"t","resumable_upload":{"all_units_ready":"no","unit_size":"65536","bitmap":{"words":["18446744073709551615","0"]}},"doupload":{"key":"k","result":"0","quickkey":"q","filename":"..","size":"9223372036854775808"}}}"#,
    r#"{"response":{"result":"Success","action_token":"t","upload_key":"k","web_uploads":{"web_upload":{"uploadkey":"k","status_code":"99","quickkey":"q","filename":"sent.bin"}},"file_info":{"quickkey":"q","filename":"sent.bin","size":"50000","parent_folderkey":"trash"}}}"#,
    r#"{"response":{"result":"Success","user_info":{"storage_limit":"-1","used_storage_size":"1e308","max_upload_size":18446744073709551616}}}"#,
    concat!(
        r#"{"response":{"result":"Success","resumable_upload":{"all_units_ready":"yes","unit_size":"65536","upload_key":"k"}}}"#,
        "\u{1e}",
        r#"{"response":{"result":"Success","device_revision":"18446744073709551615"}}"#
    ),
];

pub const YETISHARE: &[&str] = &[
    r#"{"_status":"success"}"#,
    r#"{"_status":"success","data":{"access_token":"t","account_id":1e308}}"#,
    r#"{"_status":"error","response":"Could not validate access_token and account_id, please reauthenticate or try again."}"#,
    r#"{"_status":"error","response":"Could not find\u0000 \u001b[2J file based on file_id."}"#,
    r#"{"_status":"success","data":{"folders":{"1":{"id":"1","folderName":"..","totalSize":1e308},"2":{"id":"0","folderName":"x"}},"files":[{"id":"../1","filename":"a/b","fileSize":1.7e19},{"id":1,"filename":"\u0000","fileSize":"18446744073709551615"},{"id":-1,"filename":".","fileSize":-1},{"id":"9\u001b","filename":" ","size":1}]}}"#,
    r#"{"_status":"success","data":{"id":"1","file_id":"1","filename":"renamed","fileSize":"9223372036854775808","folderId":null,"url_file":"javascript:x","shortUrl":"","download_url":"gopher://x/","uploadedDate":"9999-12-31 23:59:59"},"new_file":{"id":"1"}}"#,
    r#"{"_status":"success","_datetime":"9999-12-31 23:59:59","data":{"storageLimitOverride":"18446744073709551615","max_upload_size":1,"max_storage_bytes":-1}}"#,
    r#"{"_status":"success","data":[{"name":"sent.bin","size":"18446744073709551615","error":null,"file_id":"1","url":"x"}]}"#,
    r#""Invalid endpoint""#,
];

pub const MIRRORS: &[&str] = &[
    r#"{"status":"success","result":{"server_file":"http://127.0.0.1:1/up","server_remote":"file:///x","cTracker":"t","upload_key":"k","max_chunk_size":"1","max_file_size":"18446744073709551615","mirrors":{"1":true},"default_mirrors":["1"],"max_mirrors":"0"}}"#,
    r#"{"status":"success","result":{"server_file":"https://host.example/up","cTracker":"t","upload_key":"k","max_chunk_size":"18446744073709551615","max_file_size":0,"mirrors":[],"default_mirrors":["1","1"]}}"#,
    r#"{"status":"success","result":{"slug":"../x","name":"..","size":"18446744073709551615","url":"javascript:x"}}"#,
    r#"{"status":"success","result":[{"slug":"s","status":"active\u001b"}]}"#,
    r#"{"status":"error","result":"API key\u0000\n is wrong"}"#,
    r#"{"status":true,"message":{"upload_id":"u","file_upload_url":"http://127.0.0.1:1/x","max_filesize":"1e308","filehosts":[],"nid":"../1","url":"x","calls":"18446744073709551615","daily_limit":"18446744073709551615"}}"#,
    r#"{"status":true,"message":{"max_filesize":"99999999999999999999 MB","upload_id":"\n","files":[{"nid":"1","size":"9.9e300 GB"}]}}"#,
    r#"{"status":false,"message":"You have exceeded your daily API calls limit."}"#,
    r#"{"status":false,"message":"The upload_id has expired."}"#,
];

const DATA: &[&str] = &[
    "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-9/20\r\ncontent-length: 10\r\n\r\n0123456789",
    "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-9/20\r\n\r\n0123456789extra",
    "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 5-18446744073709551615/20\r\n\r\n0",
    "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 18446744073709551614-18446744073709551614/18446744073709551615\r\n\r\n0",
    "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n01234567890123456789",
    "HTTP/1.1 200 OK\r\n\r\n01234567890123456789",
    "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n0123",
    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 20\r\n\r\n<html>busy</html>   ",
    "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n01234567890123456789",
    "HTTP/1.1 302 Found\r\nlocation: /error?e=Too+many+concurrent%0A%1b\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 302 Found\r\nlocation: file:///etc/passwd\r\n\r\n",
    "HTTP/1.1 302 Found\r\nlocation: http://distant.example/\r\n\r\n",
    "HTTP/1.1 302 Found\r\nlocation: //:@/\r\n\r\n",
    "HTTP/1.1 302 Found\r\n\r\n",
    "HTTP/1.1 416 No\r\ncontent-range: bytes */20\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n14\r\n01234567890123456789\r\n0\r\n\r\n",
];

const NAMES: &[&str] = &[
    "",
    ".",
    "..",
    "../../x",
    "a/b",
    "\0",
    "a\0b/c",
    "\u{1b}[31m",
    " edge ",
    ".hidden",
    "‛",
    "‛‛",
    "␀",
    "．",
    "．．",
    "‛␀",
    "‛．",
    "‛／",
    "／",
    "＼＜＞：＂＇｜？＊＃％＆",
    "␠",
    "␡",
    "x‛",
    "‛x",
    "e\u{301}",
    "é",
    "日本語.txt",
    "a.b.c",
    "\u{202e}txt.exe",
    "name (2).txt",
    "con",
    "\u{FEFF}x",
    "\u{10FFFF}",
];

/// Each answer alone, behind each of these first bytes.
pub fn with_head(heads: &[u8], general: &[&str], own: &[&str]) -> Vec<Vec<u8>> {
    let answers = || general.iter().chain(own);
    let seeds = heads
        .iter()
        .flat_map(|head| answers().map(|answer| [&[*head], answer.as_bytes()].concat()));
    let deep = heads
        .iter()
        .map(|head| [&[*head], "[".repeat(100_000).as_bytes()].concat());
    let deep_object = heads
        .iter()
        .map(|head| [&[*head], r#"{"response":"#.repeat(9_000).as_bytes()].concat());
    seeds.chain(deep).chain(deep_object).collect()
}

pub fn data() -> Vec<Vec<u8>> {
    let wants = [
        [0, 0, 10, 10],
        [0, 5, 10, 5],
        [1, 0, 20, 0],
        [2, 5, 10, 5],
        [7, 0, 10, 10],
        [6, 10, 10, 0],
    ];
    let seeds = wants
        .iter()
        .flat_map(|want: &[u8; 4]| DATA.iter().map(|answer| [want, answer.as_bytes()].concat()));
    seeds.collect()
}

pub fn names() -> Vec<Vec<u8>> {
    let long = [1, 3, 4].map(|bytes| match bytes {
        1 => "x".repeat(300),
        3 => "日".repeat(255),
        _ => "\u{1F600}".repeat(2000),
    });
    let all = NAMES.iter().map(|name| (*name).to_owned()).chain(long);
    all.flat_map(|name| (0..4_u8).map(move |rules| [&[rules], name.as_bytes()].concat()))
        .collect()
}

/// An answer of a few bytes that says it is 64 MiB of blanks.
pub fn gzip_bomb() -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..64 {
        packed.write_all(&vec![b' '; 1 << 20]).expect("room");
    }
    let packed = packed.finish().expect("room");
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        packed.len()
    );
    // A separator in it would end the answer, which is as good a bomb until there.
    [head.as_bytes(), &packed].concat()
}

/// Makes inputs out of others.
pub struct Mutator {
    random: fastrand::Rng,
    seeds: Vec<Vec<u8>>,
}

/// What parsers stumble over.
const TOKENS: &[&str] = &[
    "18446744073709551615",
    "9223372036854775808",
    "-1",
    "1e308",
    "0",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "[[",
    "{\"",
    "\\u0000",
    "\\ud800",
    "../",
    "/",
    "\0",
    "\u{1b}",
    "\n",
    "\r\n\r\n",
    "\u{1e}",
    "\"",
    "yes",
    "no",
    "‛",
    "／",
    "␀",
    "．",
    "HTTP/1.1 200 OK\r\n\r\n",
    "content-length: 0\r\n",
    "trash",
    "99",
    "175",
    "9999-12-31T23:59:59Z",
];

impl Mutator {
    pub fn new(target: &str, seeds: Vec<Vec<u8>>) -> Self {
        let seed = target.bytes().fold(7, |seed: u64, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        Mutator {
            random: fastrand::Rng::with_seed(seed),
            // Long ones are tried as they are; mutations of them take long and teach little.
            seeds: seeds.into_iter().filter(|seed| seed.len() < 20_000).collect(),
        }
    }

    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.pick();
        for _ in 0..self.random.usize(1..6) {
            self.change(&mut input);
        }
        input.truncate(20_000);
        input
    }

    fn pick(&mut self) -> Vec<u8> {
        self.random.choice(&self.seeds).cloned().unwrap_or_default()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.usize(0..=input.len());
        let end = self.random.usize(at..=input.len().min(at + 40));
        match self.random.u8(0..9) {
            0 if at < input.len() => input[at] ^= 1 << self.random.u8(0..8),
            1 if at < input.len() => input[at] = self.random.u8(..),
            2 => drop(input.drain(at..end)),
            3 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            4 => input.truncate(at),
            5 => {
                let other = self.pick();
                input.push(SEPARATOR);
                input.extend_from_slice(other.get(1..).unwrap_or_default());
            }
            6 => {
                // Another value in the place of one between quotes or of digits.
                let digits = |byte: &u8| byte.is_ascii_digit();
                let from = at + input[at..].iter().position(digits).unwrap_or(0);
                let to = from + input[from..].iter().take_while(|byte| digits(byte)).count();
                let token = self.token();
                input.splice(from..to, token);
            }
            _ => {
                let token = self.token();
                input.splice(at..if self.random.bool() { at } else { end }, token);
            }
        }
    }

    fn token(&mut self) -> Vec<u8> {
        let token = self.random.choice(TOKENS).copied().unwrap_or_default();
        token.as_bytes().to_vec()
    }
}
