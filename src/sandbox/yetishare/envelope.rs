//! The envelope around every answer, and the errors it tells.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::quirks::{ErrorShape, YetiShareQuirks};
use super::shape;
use crate::sandbox::front::{self, Outcome};
use crate::sandbox::state::now;

/// What a successful call puts into its envelope.
pub type Reply = Result<Map<String, Value>, Fail>;

/// An error, by the text that the service tells: it has no numbers.
#[derive(Debug)]
pub struct Fail(pub String);

impl Fail {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A parameter that has to be there.
    pub fn missing(param: &str) -> Self {
        Self(format!("Please provide the {param} param."))
    }

    pub fn no_file() -> Self {
        Self::new("Could not find file based on file_id.")
    }

    pub fn no_folder() -> Self {
        Self::new("Could not find folder based on folder_id.")
    }

    pub fn no_destination() -> Self {
        Self::new("Could not find the destination folder id within your account.")
    }
}

/// Fields of an answer from a `json!` object.
pub fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

pub fn render(reply: Reply, account: &str, quirks: &YetiShareQuirks) -> Response {
    let datetime = shape::date(now(), quirks);
    let mut outcome = Outcome {
        account: Some(account.to_owned()),
        error: None,
    };
    let body = match reply {
        Ok(mut fields) => {
            fields.insert("_status".to_owned(), json!("success"));
            fields.insert("_datetime".to_owned(), json!(datetime));
            Value::Object(fields)
        }
        Err(Fail(text)) => {
            outcome.error = Some(text.clone());
            match quirks.error_shape {
                ErrorShape::Underscored => {
                    json!({ "response": text, "_status": "error", "_datetime": datetime })
                }
                ErrorShape::Plain => json!({ "response": text, "status": "error", "_datetime": datetime }),
                ErrorShape::ResultFalse => json!({ "message": text, "result": false }),
                ErrorShape::SuccessFalse => json!({ "message": text, "success": false }),
            }
        }
    };
    front::told(StatusCode::OK, escaped(&body), Some(outcome))
}

/// What the host lacks: a method, or an endpoint with all its methods.
pub fn render_missing(endpoint: &str, is_method: bool) -> Response {
    let body = if is_method {
        json!({ "0": format!("No method found for {endpoint}."), "_status": "error" })
    } else {
        json!(format!("No Endpoint: {endpoint}"))
    };
    send(StatusCode::NOT_FOUND, &body)
}

pub fn send(status: StatusCode, body: &Value) -> Response {
    front::told(status, escaped(body), None)
}

/// As PHP writes it.
fn escaped(body: &Value) -> String {
    body.to_string().replace('/', "\\/")
}
