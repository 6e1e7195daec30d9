//! The envelope around every answer, in JSON or XML, and the errors it tells.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Answered;
use super::params::Params;
use crate::sandbox::front;
use crate::sandbox::state::Shared;

/// What a successful call puts into its envelope.
pub type Reply = Result<Map<String, Value>, Fail>;

/// An API error. `extra` goes into the envelope beside it.
#[derive(Debug)]
pub struct Fail {
    pub code: i64,
    pub extra: Map<String, Value>,
}

impl Fail {
    pub fn new(code: i64) -> Self {
        Self {
            code,
            extra: Map::new(),
        }
    }

    fn message(&self) -> &'static str {
        match self.code {
            100 => "Internal server error",
            104 => "The supplied Session Token is missing",
            105 => "The supplied Session Token is expired or invalid",
            106 => "The file extension may not be changed",
            107 => "The Credentials you entered are invalid",
            109 => "The supplied Application ID is invalid",
            110 => "Unknown or Invalid QuickKey",
            111 => "QuickKey is missing",
            112 => "Unknown or Invalid FolderKey",
            113 => "FolderKey is missing",
            114 => "Access denied",
            115 => "You cannot move or copy a folder into itself or one of its own sub-folders",
            116 => "The Date specified is not a valid date",
            117 => "The Folder Name is missing",
            118 => "The File Name specified is invalid",
            125 => "The API version specified was removed",
            127 => "The Signature you supplied is invalid",
            128 => "One or more required parameters for this request are missing",
            129 => "One or more parameters for this request are invalid",
            142 => "The file type is not supported for this operation",
            151 => "The item you selected contained no files. You must select at least one file to zip",
            162 => "The account has exceeded its storage limit",
            163 => "The request limit has been reached",
            167 => "The folder depth limit has been reached",
            169 => "Upload Failed",
            174 => "The URL specified is invalid",
            175 => "Invalid Upload Key",
            185 => "The Folder Name specified is invalid",
            208 => "Another job of this account is still running",
            209 => "The folder is already deleted",
            210 => "The file is already deleted",
            211 => "Deleted items cannot be changed",
            214 => "Unknown or invalid filedrop key",
            215 => "The signature is missing",
            223 => "The revision you requested is invalid or cannot be restored",
            238 => "There was nothing to change",
            243 => "The account is temporarily locked",
            253 => "The API you called is unknown",
            259 => "Invalid folder path",
            260 => "Invalid file path",
            261 => "Rate limit exceeded",
            264 => "The hash is missing",
            265 => "The hash is invalid",
            282 => "The file is too big",
            304 => "Upload failed: the hash does not match",
            _ => "The request could not be carried out",
        }
    }
}

/// Numbers are strings in nearly every place of the service's JSON.
pub fn text(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

pub fn yes(flag: bool) -> Value {
    Value::from(if flag { "yes" } else { "no" })
}

/// Fields of an answer from a `json!` object.
pub fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

pub fn render(call: &str, params: &Params, answered: Answered, shared: &Shared) -> Response {
    let outcome = answered.outcome();
    let mut body = Map::new();
    let mut status = StatusCode::OK;
    body.insert("action".to_owned(), json!(call));
    match answered.reply {
        Ok(fields) => {
            body.extend(fields);
            body.insert("result".to_owned(), json!("Success"));
        }
        Err(fail) => {
            status = match fail.code {
                104 | 105 | 107 | 109 | 127 | 215 => StatusCode::FORBIDDEN,
                _ => StatusCode::from_u16(shared.options.quirks.error_status).unwrap_or(StatusCode::OK),
            };
            body.insert("message".to_owned(), json!(fail.message()));
            body.insert("error".to_owned(), json!(fail.code));
            body.extend(fail.extra);
            body.insert("result".to_owned(), json!("Error"));
        }
    }
    if answered.new_key {
        body.insert("new_key".to_owned(), json!("yes"));
    }
    body.insert("current_api_version".to_owned(), json!("1.5"));
    let (kind, text) = if params.get("response_format") == Some("json") {
        (
            "application/json",
            json!({ "response": body }).to_string().replace('/', "\\/"),
        )
    } else {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n");
        write_xml(&mut xml, "response", &Value::Object(body));
        ("text/xml; charset=utf-8", xml)
    };
    front::told_as(kind, status, text, Some(outcome))
}

fn write_xml(xml: &mut String, name: &str, value: &Value) {
    xml.push_str(&format!("<{name}>"));
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, value)| write_xml(xml, name, value)),
        Value::Array(items) => {
            let item = name.strip_suffix('s').unwrap_or(name);
            items.iter().for_each(|value| write_xml(xml, item, value));
        }
        Value::String(text) => {
            for c in text.chars() {
                match c {
                    '<' => xml.push_str("&lt;"),
                    '>' => xml.push_str("&gt;"),
                    '&' => xml.push_str("&amp;"),
                    c => xml.push(c),
                }
            }
        }
        Value::Null => {}
        other => xml.push_str(&other.to_string()),
    }
    xml.push_str(&format!("</{name}>"));
}
