//! The one file in a `multipart/form-data` body, while it streams.

/// A boundary line and the headers of a part are not longer than this.
const MAX_HEAD: usize = 16 * 1024;

enum At {
    Head,
    Data,
    End,
}

/// Finds the first part that is a file and lets its bytes through.
pub struct Multipart {
    boundary: Vec<u8>,
    at: At,
    held: Vec<u8>,
    /// The part's own file name.
    pub filename: Option<String>,
}

impl Multipart {
    /// The reader for a body of this content type; none when it is no multipart body.
    pub fn of(content_type: &str) -> Option<Self> {
        let rest = content_type.strip_prefix("multipart/form-data")?;
        let boundary = rest
            .split(';')
            .find_map(|part| part.trim().strip_prefix("boundary="))?;
        let boundary = format!("\r\n--{}", boundary.trim_matches('"')).into_bytes();
        // The first boundary stands at the very start, without a line end before it.
        Some(Self {
            boundary,
            at: At::Head,
            held: b"\r\n".to_vec(),
            filename: None,
        })
    }

    /// Takes in bytes of the body and gives out bytes of the file. `None`: the body is not well formed.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.held.extend_from_slice(bytes);
        loop {
            match self.at {
                At::Head => {
                    let Some(start) = find(&self.held, &self.boundary) else {
                        return (self.held.len() <= MAX_HEAD).then(Vec::new);
                    };
                    let head = start + self.boundary.len();
                    let Some(end) = find(self.held.get(head..)?, b"\r\n\r\n") else {
                        return (self.held.len() <= MAX_HEAD).then(Vec::new);
                    };
                    let headers = String::from_utf8_lossy(self.held.get(head..head + end)?).into_owned();
                    if let Some(name) = filename(&headers) {
                        self.held.drain(..head + end + 4);
                        // An empty file's boundary follows on the headers' own last line end.
                        self.filename = Some(name);
                        self.at = At::Data;
                    } else {
                        self.held.drain(..head + end + 2);
                    }
                }
                At::Data => {
                    if let Some(end) = find(&self.held, &self.boundary) {
                        let data = self.held.drain(..end).collect();
                        self.held.clear();
                        self.at = At::End;
                        return Some(data);
                    }
                    let sure = self.held.len().saturating_sub(self.boundary.len());
                    return Some(self.held.drain(..sure).collect());
                }
                At::End => {
                    self.held.clear();
                    return Some(Vec::new());
                }
            }
        }
    }

    pub fn is_complete(&self) -> bool {
        matches!(self.at, At::End)
    }
}

fn filename(headers: &str) -> Option<String> {
    let line = headers
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))?;
    let (_, rest) = line.split_once("filename=\"")?;
    rest.split('"').next().map(str::to_owned)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut from = 0;
    while let Some(at) = haystack.get(from..)?.iter().position(|byte| byte == first) {
        if haystack.get(from + at..)?.starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_out_whole_however_the_body_is_cut() {
        let data = b"one\r\n--not the boundary\r\ntwo";
        let mut body = b"--b0\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nplain\r\n".to_vec();
        body.extend(b"--b0\r\ncontent-disposition: form-data; name=\"file\"; filename=\"chunk\"\r\n");
        body.extend(b"Content-Type: application/octet-stream\r\n\r\n");
        body.extend(data);
        body.extend(b"\r\n--b0--\r\n");
        for step in [1, 3, 7, body.len()] {
            let mut reader = Multipart::of("multipart/form-data; boundary=b0").unwrap();
            let mut out = Vec::new();
            for part in body.chunks(step) {
                out.extend(reader.feed(part).unwrap());
            }
            assert_eq!(out, data, "in steps of {step}");
            assert!(reader.is_complete());
            assert_eq!(reader.filename.as_deref(), Some("chunk"));
        }
    }
}
