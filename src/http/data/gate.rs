//! The response gate: whether an answer's head fits what was asked for.
//!
//! It decides on heads alone and reads no body. A server that knows no ranges, or cuts them, passes where the
//! wanted bytes can still be told; whatever leaves a doubt about them is refused.

use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::{DataRequest, text};
use crate::http::{HttpErrorKind, retry_after};

/// The most bytes thrown away to use a server that ignores `Range`.
const MAX_SKIP: u64 = 64 * 1024 * 1024;

/// The parts of an answer's head that the gate looks at.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub status: u16,
    html: bool,
    encoding: Option<String>,
    length: Option<u64>,
    /// First byte, end (exclusive) and total.
    content_range: Option<(u64, u64, u64)>,
    pub retry_after: Option<Duration>,
}

impl Head {
    pub fn of(response: &Response) -> Self {
        let headers = response.headers();
        let media_type = text(headers, CONTENT_TYPE)
            .unwrap_or_default()
            .to_ascii_lowercase();
        Head {
            status: response.status().as_u16(),
            html: media_type.starts_with("text/html") || media_type.starts_with("application/xhtml"),
            encoding: text(headers, CONTENT_ENCODING)
                .filter(|encoding| !encoding.eq_ignore_ascii_case("identity"))
                .map(str::to_owned),
            length: text(headers, CONTENT_LENGTH).and_then(|length| length.trim().parse().ok()),
            content_range: text(headers, CONTENT_RANGE).and_then(parse_content_range),
            retry_after: text(headers, RETRY_AFTER)
                .and_then(|wait| retry_after::parse(wait, SystemTime::now())),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// Bytes of the body before the range.
    pub skip: u64,
    /// Bytes of the range that the body holds.
    pub length: u64,
    /// Whether the body must end after them.
    pub ends_with_file: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub kind: HttpErrorKind,
    pub message: String,
}

fn refuse<T>(kind: HttpErrorKind, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        kind,
        message: message.into(),
    })
}

/// Decides whether a body may be used as the bytes that were asked for.
pub(super) fn gate(head: &Head, want: &DataRequest) -> Result<Passed, Refusal> {
    if head.status != 200 && head.status != 206 {
        let reason = StatusCode::from_u16(head.status)
            .ok()
            .and_then(|s| s.canonical_reason())
            .unwrap_or("");
        let message = format!("answered {} {reason}", head.status);
        return refuse(HttpErrorKind::Status(head.status), message.trim_end());
    }
    if head.html && !want.may_be_html {
        return refuse(HttpErrorKind::NotData, "sent an HTML page in place of the file");
    }
    if let Some(encoding) = &head.encoding {
        return refuse(
            HttpErrorKind::NotData,
            format!("sent the file in an encoding not asked for, {encoding}"),
        );
    }
    if head.status == 206 {
        gate_partial(head, want)
    } else {
        gate_whole(head, want)
    }
}

fn gate_partial(head: &Head, want: &DataRequest) -> Result<Passed, Refusal> {
    let Some((start, end, total)) = head.content_range else {
        return refuse(
            HttpErrorKind::WrongRange,
            "sent a part of the file without saying which",
        );
    };
    if total != want.total {
        let message = format!("says that the file has {total} bytes, not {}", want.total);
        return refuse(HttpErrorKind::WrongRange, message);
    }
    let open_ended = want.habits.open_ended_ranges;
    let last_end = if open_ended { total } else { want.range.end };
    if start != want.range.start || end <= start || end > last_end {
        let message = format!("sent bytes {start}..{end} in place of {:?}", want.range);
        return refuse(HttpErrorKind::WrongRange, message);
    }
    // A shorter body is noticed at its end; a longer one may be another part, for instance the whole file.
    let wrong_length = |length| length > end - start || (length < end - start && !open_ended);
    if let Some(length) = head.length.filter(|length| wrong_length(*length)) {
        let message = format!("sent {length} bytes and calls them {start}..{end}");
        return refuse(HttpErrorKind::WrongRange, message);
    }
    Ok(Passed {
        skip: 0,
        length: end.min(want.range.end) - start,
        ends_with_file: false,
    })
}

fn gate_whole(head: &Head, want: &DataRequest) -> Result<Passed, Refusal> {
    if let Some(length) = head.length
        && length != want.total
    {
        let kind = if head.html {
            HttpErrorKind::NotData
        } else {
            HttpErrorKind::WrongRange
        };
        return refuse(kind, format!("sent {length} bytes for a file of {}", want.total));
    }
    let to_the_end = want.range.end == want.total;
    // Who asks without an end asks for the end of the file each time, which then says nothing.
    let told_by_its_end = to_the_end && !head.html && !want.habits.open_ended_ranges;
    if head.length.is_none() && !told_by_its_end {
        return refuse(HttpErrorKind::WrongRange, "sent a body of unknown length");
    }
    if want.range.start > MAX_SKIP {
        return refuse(
            HttpErrorKind::WrongRange,
            "sent the file from its start although a later part was asked for",
        );
    }
    let length = want.range.end - want.range.start;
    Ok(Passed {
        skip: want.range.start,
        length,
        ends_with_file: to_the_end,
    })
}

/// Reads `bytes 0-99/1000`; the end comes back exclusive. A total of `*` tells too little to be of use.
fn parse_content_range(text: &str) -> Option<(u64, u64, u64)> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    Some((
        first.trim().parse().ok()?,
        last.trim().parse::<u64>().ok()?.checked_add(1)?,
        total.trim().parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::http::ServerHabits;

    fn want(range: Range<u64>, total: u64) -> DataRequest {
        DataRequest {
            range,
            total,
            may_be_html: false,
            habits: ServerHabits::default(),
        }
    }

    fn partial(start: u64, end: u64, total: u64) -> Head {
        Head {
            status: 206,
            content_range: Some((start, end, total)),
            length: Some(end - start),
            ..Head::default()
        }
    }

    fn whole(length: Option<u64>) -> Head {
        Head {
            status: 200,
            length,
            ..Head::default()
        }
    }

    fn refused(head: &Head, want: &DataRequest) -> HttpErrorKind {
        gate(head, want).expect_err("must be refused").kind
    }

    #[test]
    fn a_fitting_part_passes() {
        let passed = gate(&partial(10, 20, 100), &want(10..20, 100)).expect("fits");
        assert_eq!(
            passed,
            Passed {
                skip: 0,
                length: 10,
                ends_with_file: false
            }
        );
    }

    #[test]
    fn a_part_cut_by_the_server_passes_with_its_own_length() {
        assert_eq!(
            gate(&partial(10, 15, 100), &want(10..20, 100))
                .expect("fits")
                .length,
            5
        );
    }

    #[test]
    fn a_part_of_another_place_or_total_is_refused() {
        assert_eq!(
            refused(&partial(11, 20, 100), &want(10..20, 100)),
            HttpErrorKind::WrongRange
        );
        assert_eq!(
            refused(&partial(10, 30, 100), &want(10..20, 100)),
            HttpErrorKind::WrongRange
        );
        assert_eq!(
            refused(&partial(10, 20, 101), &want(10..20, 100)),
            HttpErrorKind::WrongRange
        );
        let unlabelled = Head {
            status: 206,
            ..Head::default()
        };
        assert_eq!(
            refused(&unlabelled, &want(10..20, 100)),
            HttpErrorKind::WrongRange
        );
    }

    fn open_ended(range: Range<u64>, total: u64) -> DataRequest {
        DataRequest {
            habits: ServerHabits {
                open_ended_ranges: true,
                error_path: None,
                crowded_words: &[],
            },
            ..want(range, total)
        }
    }

    #[test]
    fn a_part_that_runs_on_passes_only_where_no_end_was_asked_for() {
        let on = partial(10, 100, 100);
        assert_eq!(refused(&on, &want(10..20, 100)), HttpErrorKind::WrongRange);
        let passed = gate(&on, &open_ended(10..20, 100)).expect("fits");
        assert_eq!((passed.skip, passed.length), (0, 10));
        let whole = gate(&partial(0, 100, 100), &open_ended(0..20, 100)).expect("fits");
        assert_eq!((whole.skip, whole.length), (0, 20));
        for wrong in [
            partial(11, 100, 100),
            partial(10, 101, 100),
            partial(10, 100, 101),
        ] {
            assert_eq!(
                refused(&wrong, &open_ended(10..20, 100)),
                HttpErrorKind::WrongRange
            );
        }
    }

    #[test]
    fn a_body_longer_than_its_label_is_refused_and_a_shorter_one_is_left_to_its_end() {
        let labelled = |length| Head {
            length: Some(length),
            ..partial(10, 100, 100)
        };
        assert_eq!(
            refused(&labelled(100), &open_ended(10..20, 100)),
            HttpErrorKind::WrongRange
        );
        let passed = gate(&labelled(5), &open_ended(10..20, 100)).expect("fits");
        assert_eq!(passed.length, 10);
    }

    #[test]
    fn a_whole_file_without_its_length_is_refused_where_no_end_was_asked_for() {
        assert_eq!(
            refused(&whole(None), &open_ended(0..100, 100)),
            HttpErrorKind::WrongRange
        );
        let passed = gate(&whole(Some(100)), &open_ended(0..30, 100)).expect("fits");
        assert_eq!(
            passed,
            Passed {
                skip: 0,
                length: 30,
                ends_with_file: false
            }
        );
    }

    #[test]
    fn a_whole_file_serves_an_early_range_only() {
        let early = gate(&whole(Some(9 << 20)), &want(4096..8192, 9 << 20)).expect("fits");
        assert_eq!(
            early,
            Passed {
                skip: 4096,
                length: 4096,
                ends_with_file: false
            }
        );
        let late = want(65 << 20..66 << 20, 99 << 20);
        assert_eq!(refused(&whole(Some(99 << 20)), &late), HttpErrorKind::WrongRange);
    }

    #[test]
    fn a_whole_file_of_another_size_is_refused() {
        assert_eq!(
            refused(&whole(Some(99)), &want(0..100, 100)),
            HttpErrorKind::WrongRange
        );
    }

    #[test]
    fn a_body_of_unknown_length_serves_the_whole_file_only() {
        assert!(
            gate(&whole(None), &want(0..100, 100))
                .expect("fits")
                .ends_with_file
        );
        assert_eq!(
            refused(&whole(None), &want(0..50, 100)),
            HttpErrorKind::WrongRange
        );
    }

    #[test]
    fn an_html_page_passes_only_for_an_html_file_of_its_size() {
        let page = Head {
            html: true,
            ..whole(Some(100))
        };
        assert_eq!(refused(&page, &want(0..100, 100)), HttpErrorKind::NotData);
        let html_file = DataRequest {
            may_be_html: true,
            habits: ServerHabits::default(),
            ..want(0..100, 100)
        };
        assert!(gate(&page, &html_file).is_ok());
        assert_eq!(
            refused(
                &Head {
                    html: true,
                    ..whole(Some(77))
                },
                &html_file
            ),
            HttpErrorKind::NotData
        );
        assert_eq!(
            refused(
                &Head {
                    html: true,
                    ..whole(None)
                },
                &html_file
            ),
            HttpErrorKind::WrongRange
        );
    }

    #[test]
    fn another_status_is_told() {
        let gone = Head {
            status: 410,
            ..Head::default()
        };
        assert_eq!(refused(&gone, &want(0..100, 100)), HttpErrorKind::Status(410));
    }

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(parse_content_range("bytes 0-99/1000"), Some((0, 100, 1000)));
        assert_eq!(parse_content_range("bytes */1000"), None);
        assert_eq!(parse_content_range("bytes 0-99/*"), None);
        assert_eq!(parse_content_range("bytes 0-18446744073709551615/1"), None);
    }
}
