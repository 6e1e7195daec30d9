//! The emulated YetiShare hosts seen from outside, over plain HTTP.

mod files;
mod folders;
mod links;
mod login;
#[path = "../support/sandbox_caller.rs"]
mod sandbox_caller;
#[path = "../support/yetishare_caller.rs"]
mod yetishare_caller;

const EXPIRED: &str = "Could not validate access_token and account_id, please reauthenticate or try again.";
const LOGIN_REFUSED: &str = "Could not authenticate user. The key pair may be invalid or your account may be \
    locked from too many failed logins.";
const NO_FILE: &str = "Could not find file based on file_id.";
const NO_FOLDER: &str = "Could not find folder based on folder_id.";
