//! JSON as services send it, read within a bound of memory.
//!
//! What a text becomes in memory may be eighty times its size, as with a list of objects of one short field. The answers
//! of services come to a few times theirs, so what goes far beyond that is refused. Of texts that are not small one at a
//! time is in memory as a value, in all of the process. It knows no service.

use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut};

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of a text that any number of are read at a time. Whoever holds the value of a larger one may ask for nothing
/// that may be as large: only listings are.
pub(super) const SMALL: usize = 2 << 20;
/// Bytes that any answer may take.
const BASE: usize = 1 << 20;
/// Bytes in memory for each byte of the answer up to [`LONG`], and for those after it: what is so long has fields in it
/// that nobody reads, which are left out.
const FACTOR: usize = 12;
const FACTOR_OF_LONG: usize = 3;
const LONG: usize = 8 << 20;
/// Bytes that a value takes.
const VALUE: usize = size_of::<Value>();
/// Bytes that an object takes for its first fields and for each few more, and how many those are.
const FIELDS: usize = 700;
const FIRST_FIELDS: usize = 11;
const MORE_FIELDS: usize = 5;
/// Bytes that a text takes beside its own, or at least.
const TEXT: usize = 8;
const SHORTEST_TEXT: usize = 24;

static TURN: Semaphore = Semaphore::const_new(1);

/// The right to make a value of a text.
pub(super) struct Turn {
    _held: Option<SemaphorePermit<'static>>,
}

/// Waits until a text may become a value.
pub(super) async fn turn(text: &[u8]) -> Turn {
    if text.len() <= SMALL {
        return Turn { _held: None };
    }
    // It is never closed.
    let held = TURN.acquire().await.ok();
    Turn { _held: held }
}

impl Turn {
    /// For texts that are known to be small.
    #[cfg(test)]
    pub fn not_needed() -> Self {
        Turn { _held: None }
    }
}

/// The value of an answer. Where the answer was not small no other such value is made as long as this one is there.
pub(super) struct Parsed {
    value: Value,
    turn: Turn,
}

impl Parsed {
    /// What `part` takes out of it.
    pub fn part(self, part: impl FnOnce(Value) -> Option<Value>) -> Option<Self> {
        let Parsed { value, turn } = self;
        part(value).map(|value| Parsed { value, turn })
    }

    /// The value alone, of an answer that can only be small.
    pub fn into_value(self) -> Value {
        self.value
    }
}

impl Deref for Parsed {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.value
    }
}

impl DerefMut for Parsed {
    fn deref_mut(&mut self) -> &mut Value {
        &mut self.value
    }
}

impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// Which fields of an answer's objects are read; numbered ones always are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fields {
    All,
    Named(&'static [&'static str]),
}

impl Fields {
    fn has(self, key: &str) -> bool {
        match self {
            Fields::All => true,
            Fields::Named(names) => names.contains(&key) || key.bytes().all(|byte| byte.is_ascii_digit()),
        }
    }
}

/// A JSON text as a value.
pub(super) fn read(text: &[u8], turn: Turn, fields: Fields) -> serde_json::Result<Parsed> {
    let long = text.len().saturating_sub(LONG);
    let room = BASE + (text.len() - long).saturating_mul(FACTOR);
    let left = Cell::new(room.saturating_add(long.saturating_mul(FACTOR_OF_LONG)));
    let mut reader = serde_json::Deserializer::from_slice(text);
    let within = Within { left: &left, fields };
    let value = within.deserialize(&mut reader)?;
    reader.end()?;
    Ok(Parsed { value, turn })
}

/// Makes values as long as there is room.
#[derive(Clone, Copy)]
struct Within<'a> {
    left: &'a Cell<usize>,
    fields: Fields,
}

impl Within<'_> {
    fn take<E: Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(bytes);
        self.left
            .set(left.ok_or_else(|| E::custom("it would take too much memory"))?);
        Ok(())
    }

    fn take_text<E: Error>(self, text: &str) -> Result<(), E> {
        self.take(text.len().max(SHORTEST_TEXT) + TEXT)
    }
}

impl<'de> DeserializeSeed<'de> for Within<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.take_text(text)?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            // A list doubles its room as it grows.
            self.take(2 * VALUE)?;
            list.push(item);
        }
        list.shrink_to_fit();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if !self.fields.has(&key) {
                fields.next_value::<IgnoredAny>()?;
                continue;
            }
            let more = map.len().checked_sub(FIRST_FIELDS);
            if map.is_empty() || more.is_some_and(|more| more.is_multiple_of(MORE_FIELDS)) {
                self.take(FIELDS)?;
            }
            self.take_text(&key)?;
            let value = fields.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> serde_json::Result<Parsed> {
        super::read(text, Turn::not_needed(), Fields::All)
    }

    /// So many bytes of a list of the same.
    fn list(item: &str, bytes: usize) -> String {
        format!("[{}]", vec![item; bytes / (item.len() + 1)].join(","))
    }

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        for text in [
            r#"{"a":[1,-2,3.5,1e308,null,true,"x\u0000"],"b":{"c":{}},"a":2}"#,
            "18446744073709551615",
            "\"\"",
            "[]",
        ] {
            let wanted: Value = serde_json::from_str(text).unwrap();
            assert_eq!(*read(text.as_bytes()).unwrap(), wanted, "{text}");
        }
        for text in ["", "{", "1 2", "[1,]", "1e999", &"[".repeat(100_000)] {
            assert!(read(text.as_bytes()).is_err(), "{text:.20}");
        }
    }

    #[test]
    fn an_answer_that_swells_is_refused_and_a_listing_is_not() {
        let list = |item| list(item, 4 << 20);
        for item in [r#"{"a":0}"#, "0", "[[]]", r#""""#] {
            assert!(read(list(item).as_bytes()).is_err(), "{item}");
        }
        let file = r#"{"quickkey":"aaaaaaaaaaaaaaa","hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "filename":"a.txt","size":"12","created":"2015-05-07 16:07:05","created_utc":"2015-05-07T16:07:05Z",
            "privacy":"private","mimetype":"text/plain","flag":"1","permissions":{"value":"2","read":"1","write":"0"},
            "links":{"normal_download":"https://www.mediafire.com/file/aaaaaaaaaaaaaaa/a.txt/file"}}"#;
        assert!(read(list(file).as_bytes()).is_ok());
        let short = r#"{"folderkey":"aaaaaaaaaaaaa","name":"a","description":"","tags":"","privacy":"private",
            "created":"2015-05-07 16:07:05","revision":"1","file_count":"0","folder_count":"0","dropbox_enabled":"no"}"#;
        assert!(read(list(short).as_bytes()).is_ok());
    }

    #[test]
    fn fields_that_nobody_reads_take_no_memory() {
        let fields = Fields::Named(&["id", "files"]);
        let text = br#"{"files":{"0":{"id":1,"other":{"id":2}},"x1":[]},"id":[{"id":3},[]]}"#;
        let value = super::read(text, Turn::not_needed(), fields).unwrap();
        assert_eq!(
            *value,
            serde_json::json!({"files": {"0": {"id": 1}}, "id": [{"id": 3}, []]})
        );
        let file = r#"{"id":"12345678","many":{"a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":"","i":""},
            "even more":{"a":"","b":"","c":"","d":"","e":"","f":"","g":"","h":"","i":"","j":"","k":""}}"#;
        let long = list(file, 2 * LONG);
        assert!(super::read(long.as_bytes(), Turn::not_needed(), Fields::All).is_err());
        assert!(super::read(long.as_bytes(), Turn::not_needed(), fields).is_ok());
    }

    #[tokio::test]
    async fn of_large_answers_one_at_a_time_is_in_memory_and_small_ones_wait_for_none() {
        let large = list("\"some text or other\"", SMALL + 100);
        let first = super::read(large.as_bytes(), turn(large.as_bytes()).await, Fields::All).unwrap();
        let first = first.part(|mut list| list.get_mut(0).map(Value::take)).unwrap();
        let mut second = std::pin::pin!(turn(large.as_bytes()));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        super::read(b"{}", turn(b"{}").await, Fields::All).unwrap();
        drop(first);
        // One that is refused is in nobody's way.
        super::read(b"[", second.await, Fields::All).unwrap_err();
        turn(large.as_bytes()).await;
    }
}
