//! HTTP: the only room that knows reqwest.
//!
//! Two clients: [`ApiClient`] for calls (small bodies, compression), [`DataClient`] for file content
//! (streams, no compression, a response gate before the first byte). Neither follows a redirect with a
//! credential, and neither speaks plain HTTP to anything but loopback. This room knows no service.

mod api;
mod client;
mod data;
mod date;
mod error;
mod file_range;
mod retry_after;

pub use api::*;
pub use client::{InsecureUrl, check_url};
pub use data::*;
pub use date::date_of;
pub use error::{HttpError, HttpErrorKind};
pub use file_range::{FileRange, Taken};
