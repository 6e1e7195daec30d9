//! The answers of servers of files. The first four bytes of an input say what is wanted: habits, start, length, and
//! how much of the file comes afterwards.

use lockerfs::http::{DataClient, DataRequest, HttpError, ServerHabits};

use crate::host;

/// Characters of an error's text.
const WORDIEST: usize = 1000;

fn client() -> DataClient {
    thread_local! {
        static CLIENT: DataClient = DataClient::new().expect("a client");
    }
    CLIENT.with(Clone::clone)
}

pub fn run(input: &[u8]) {
    let Some((&[habits, start, length, after], answers)) = input.split_first_chunk() else {
        return;
    };
    let [start, length, after] = [start, length, after].map(u64::from);
    let end = start + length;
    let want = DataRequest {
        range: start..end,
        total: end + after,
        may_be_html: habits & 1 != 0,
        habits: ServerHabits {
            open_ended_ranges: habits & 2 != 0,
            error_path: (habits & 4 != 0).then_some("error"),
            crowded_words: &["concurrent"],
        },
    };
    host::served(answers, &[], |address| async move {
        let url = format!("http://me:hunter2@{address}/a/film.mkv?token=hunter2")
            .parse()
            .expect("a URL");
        let mut body = match client().get(&url, &want).await {
            Ok(body) => body,
            Err(error) => return check(&error),
        };
        let mut got = 0;
        loop {
            match body.chunk().await {
                Ok(Some(bytes)) => {
                    assert!(!bytes.is_empty(), "a chunk without bytes");
                    got += bytes.len() as u64;
                    assert!(got <= length, "{got} bytes of {length}");
                }
                Ok(None) => {
                    assert_eq!(got, length, "it ends with other bytes than were asked for");
                    return;
                }
                Err(error) => return check(&error),
            }
        }
    });
}

fn check(error: &HttpError) {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.chars().count() <= WORDIEST, "{} characters", text.len());
    assert!(!text.contains("hunter2"), "{text}");
}
