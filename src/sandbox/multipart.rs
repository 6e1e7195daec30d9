//! `multipart/form-data` bodies, taken apart while they stream.
//!
//! Headers are read as PHP reads them: parameters in quotes, where `\"` and `\\` stand for `"` and `\`.
//! `filename*` is not known, so a part that has it alone is a field, not a file.

/// A boundary line and the headers of a part are not longer than this.
const MAX_HEAD: usize = 16 * 1024;

enum At {
    /// Before a boundary, with nothing of interest until then.
    Between,
    /// Behind a boundary.
    Head,
    Data,
    End,
}

/// The head of one part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    /// There is one where the part is a file; it may be empty.
    pub file_name: Option<String>,
    pub content_type: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    Part(Part),
    /// Bytes of the part that came last.
    Data(Vec<u8>),
}

pub struct Multipart {
    boundary: Vec<u8>,
    at: At,
    held: Vec<u8>,
}

impl Multipart {
    /// The reader for a body of this content type; none when it is no multipart body.
    pub fn of(content_type: &str) -> Option<Self> {
        let rest = content_type.strip_prefix("multipart/form-data")?;
        let boundary = rest
            .split(';')
            .find_map(|part| part.trim().strip_prefix("boundary="))?;
        // The first boundary stands at the very start, without a line end before it.
        Some(Self {
            boundary: format!("\r\n--{}", boundary.trim_matches('"')).into_bytes(),
            at: At::Between,
            held: b"\r\n".to_vec(),
        })
    }

    /// Takes in bytes of the body and gives out what they complete. `None`: the body is not well formed.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Vec<Piece>> {
        self.held.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        loop {
            let small = self.held.len() <= MAX_HEAD;
            match self.at {
                At::Between => {
                    let Some(start) = find(&self.held, &self.boundary) else {
                        return small.then_some(pieces);
                    };
                    self.held.drain(..start + self.boundary.len());
                    self.at = At::Head;
                }
                At::Head if self.held.starts_with(b"--") => {
                    self.at = At::End;
                }
                At::Head => {
                    let Some(end) = find(&self.held, b"\r\n\r\n") else {
                        return small.then_some(pieces);
                    };
                    let head: Vec<u8> = self.held.drain(..end + 4).collect();
                    pieces.push(Piece::Part(Part::read(&String::from_utf8_lossy(&head))));
                    self.at = At::Data;
                }
                At::Data => {
                    let end = find(&self.held, &self.boundary);
                    let sure = self.held.len().saturating_sub(self.boundary.len());
                    let data: Vec<u8> = self.held.drain(..end.unwrap_or(sure)).collect();
                    if !data.is_empty() {
                        pieces.push(Piece::Data(data));
                    }
                    if end.is_none() {
                        return Some(pieces);
                    }
                    self.held.drain(..self.boundary.len());
                    self.at = At::Head;
                }
                At::End => {
                    self.held.clear();
                    return Some(pieces);
                }
            }
        }
    }

    pub fn is_complete(&self) -> bool {
        matches!(self.at, At::End)
    }
}

impl Part {
    fn read(head: &str) -> Self {
        let mut part = Self::default();
        for line in head.lines() {
            let Some((header, value)) = line.split_once(':') else {
                continue;
            };
            match header.trim().to_ascii_lowercase().as_str() {
                "content-disposition" => {
                    part.name = parameter(value, "name").unwrap_or_default();
                    part.file_name = parameter(value, "filename");
                }
                "content-type" => part.content_type = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        part
    }
}

/// The parameter of a header's value.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value;
    while let Some(at) = rest.find(';') {
        rest = rest.get(at + 1..)?;
        let (name, value) = rest.split_once('=')?;
        // A semicolon before the equals sign ends a parameter without a value.
        if name.contains(';') {
            continue;
        }
        let (text, after) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (text, _) = value.split_once(';').unwrap_or((value, ""));
                (text.trim().to_owned(), value.get(text.len()..)?)
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = after;
    }
    None
}

/// What stands up to the closing quote, and what follows on it.
fn unquote(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (text, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => match chars.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => text.push(escaped),
                None => text.push(c),
            },
            _ => text.push(c),
        }
    }
    (text, "")
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
    fn parts_come_out_whole_however_the_body_is_cut() {
        let data = b"one\r\n--not the boundary\r\ntwo";
        let mut body = b"--b0\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nplain\r\n".to_vec();
        body.extend(b"--b0\r\ncontent-disposition: form-data; name=\"file\"; filename=\"chunk\"\r\n");
        body.extend(b"Content-Type: application/octet-stream\r\n\r\n");
        body.extend(data);
        body.extend(b"\r\n--b0\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n--b0--\r\n");
        for step in [1, 3, 7, body.len()] {
            let mut reader = Multipart::of("multipart/form-data; boundary=b0").unwrap();
            let mut parts: Vec<(Part, Vec<u8>)> = Vec::new();
            for piece in body.chunks(step).flat_map(|bytes| reader.feed(bytes).unwrap()) {
                match piece {
                    Piece::Part(part) => parts.push((part, Vec::new())),
                    Piece::Data(data) => parts.last_mut().unwrap().1.extend(data),
                }
            }
            assert!(reader.is_complete());
            let [(x, plain), (file, chunk), (empty, nothing)] = parts.try_into().unwrap();
            assert_eq!(
                (x.name.as_str(), x.file_name, plain.as_slice()),
                ("x", None, b"plain".as_slice())
            );
            assert_eq!(
                (file.name.as_str(), file.file_name.as_deref()),
                ("file", Some("chunk"))
            );
            assert_eq!(chunk, data, "in steps of {step}");
            assert_eq!((empty.name.as_str(), nothing.len()), ("empty", 0));
        }
    }

    #[test]
    fn quoted_names_are_read_as_php_reads_them() {
        let read = |head: &str| Part::read(head).file_name;
        let quoted = r#"Content-Disposition: form-data; name="f"; filename="a\"b; \\c\d.txt""#;
        assert_eq!(read(quoted).as_deref(), Some(r#"a"b; \c\d.txt"#));
        let starred = "Content-Disposition: form-data; name=\"f\"; filename*=utf-8''a.txt";
        assert_eq!(read(starred), None);
        assert_eq!(Part::read(quoted).name, "f");
    }
}
