//! JSON as services send it, read within a bound of memory.
//!
//! What a text becomes in memory may be eighty times its size, as with a list of objects of one short field. The answers
//! of services come to a few times theirs, so what goes far beyond that is refused. It knows no service.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Bytes that any answer may take.
const BASE: usize = 4 << 20;
/// Bytes in memory for each byte of the answer.
const FACTOR: usize = 12;
/// Bytes that a value takes.
const VALUE: usize = size_of::<Value>();
/// Bytes that some fields of an object take together, and how many those are.
const FIELDS: usize = 700;
const FIELDS_TOGETHER: usize = 6;

/// A JSON text as a value.
pub(super) fn read(text: &[u8]) -> serde_json::Result<Value> {
    let left = Cell::new(BASE.saturating_add(text.len().saturating_mul(FACTOR)));
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Within(&left).deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Makes values as long as there is room.
#[derive(Clone, Copy)]
struct Within<'a>(&'a Cell<usize>);

impl Within<'_> {
    fn take<E: Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(bytes);
        self.0
            .set(left.ok_or_else(|| E::custom("it would take too much memory"))?);
        Ok(())
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
        self.take(text.len())?;
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
        let mut count = 0;
        while let Some(key) = fields.next_key::<String>()? {
            if count % FIELDS_TOGETHER == 0 {
                self.take(FIELDS)?;
            }
            count += 1;
            self.take(key.len())?;
            let value = fields.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_serde_json_reads() {
        for text in [
            r#"{"a":[1,-2,3.5,1e308,null,true,"x\u0000"],"b":{"c":{}},"a":2}"#,
            "18446744073709551615",
            "\"\"",
            "[]",
        ] {
            let wanted: Value = serde_json::from_str(text).unwrap();
            assert_eq!(read(text.as_bytes()).unwrap(), wanted, "{text}");
        }
        for text in ["", "{", "1 2", "[1,]", "1e999", &"[".repeat(100_000)] {
            assert!(read(text.as_bytes()).is_err(), "{text:.20}");
        }
    }

    #[test]
    fn an_answer_that_swells_is_refused_and_a_listing_is_not() {
        let list = |item: &str| format!("[{}]", vec![item; (4 << 20) / (item.len() + 1)].join(","));
        for item in [r#"{"a":0}"#, "0", "[[]]"] {
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
}
