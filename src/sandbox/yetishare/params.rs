//! Parameters of a call: from the query and from a form, cleaned as the script does it.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::request::Parts;

use super::names;
use crate::sandbox::faults::Fault;
use crate::sandbox::form::{self, Reading, Sent};
use crate::sandbox::state::Shared;

/// The name of the part that carries an upload.
const FILE_FIELD: &str = "upload_file";

#[derive(Default)]
pub struct Params(HashMap<String, String>);

impl Params {
    /// Adds one; it wins over what is there already.
    fn put(&mut self, name: &str, value: &str) {
        self.0
            .insert(name.to_owned(), names::strip_tags(value).trim().to_owned());
    }

    /// The value, empty where there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// The value, if there is one and it is not empty.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub fn needed(&self, name: &str) -> Result<&str, super::envelope::Fail> {
        self.filled(name).ok_or(super::envelope::Fail::missing(name))
    }
}

/// All that a request brings.
pub struct Form {
    pub params: Params,
    pub sent: Option<Sent>,
}

impl Form {
    /// Reads a request to its end. `None`: its body broke off or is not well formed.
    pub async fn read(
        shared: &Shared,
        parts: &Parts,
        body: Body,
        takes_file: bool,
        fault: Option<&Fault>,
    ) -> Option<Self> {
        let reading = Reading {
            file_fields: if takes_file { &[FILE_FIELD] } else { &[] },
            fault,
            limit: shared.options.quirks.yetishare.post_limit,
            md5: true,
        };
        let form = form::Form::read(shared, parts, body, reading).await?;
        let mut params = Params::default();
        let query = parts.uri.query().unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            params.put(&name, &value);
        }
        for (name, value) in form.fields {
            params.put(&name, &value);
        }
        Some(Self {
            params,
            sent: form.sent,
        })
    }
}
