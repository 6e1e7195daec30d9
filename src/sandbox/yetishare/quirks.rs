//! What YetiShare hosts do each in their own way, and what nobody knows for sure about them.

use std::time::Duration;

/// How the hosts of a sandbox behave, all alike.
#[derive(Clone)]
pub struct YetiShareQuirks {
    /// How long a token lives without being used.
    pub token_life: Duration,
    /// A login ends all other tokens of the account.
    pub one_token: bool,
    /// So many refused logins in a row lock the account; 0 for never.
    pub failed_logins: u32,
    /// How long an account stays locked.
    pub lock: Duration,
    /// Life of a download link.
    pub link_life: Duration,
    /// Ranges are answered exactly, as web servers do it. Otherwise the script itself streams, and its answers
    /// often are not what was asked for.
    pub strict_ranges: bool,
    /// So many downloads may run at once; one more is refused with 429.
    pub concurrent_downloads: Option<u32>,
    /// The largest body of a call in bytes, beyond which all its fields are lost.
    pub post_limit: Option<u64>,
    /// The silence from an upload's last byte to its answer, while the host hands the file on to a file server.
    pub second_hop: Duration,
    /// What is neither an ASCII letter, digit, blank nor one of `._-()` becomes `_` in the name of an upload.
    pub names_altered: bool,
    /// A copy whose name is taken in its folder is numbered as an upload is; otherwise it is a twin.
    pub numbered_copies: bool,
    /// Folders tell their status, so that one in the trash shows as such.
    pub folder_status: bool,
    /// The subfolders of a deleted folder show up in the root, too.
    pub trash_flattens: bool,
    /// Numbers are JSON numbers; otherwise strings, but for the counters of a folder.
    pub plain_numbers: bool,
    /// Minutes by which the host's clock is ahead of UTC.
    pub zone_minutes: i32,
    /// What the hosts lack: `file/copy` for one method, `account` or `authorize` for an endpoint.
    pub missing: Vec<String>,
    pub error_shape: ErrorShape,
}

impl Default for YetiShareQuirks {
    fn default() -> Self {
        Self {
            token_life: Duration::from_secs(60 * 60),
            one_token: true,
            failed_logins: 5,
            lock: Duration::from_secs(15 * 60),
            link_life: Duration::from_secs(24 * 60 * 60),
            strict_ranges: false,
            concurrent_downloads: None,
            post_limit: None,
            second_hop: Duration::ZERO,
            names_altered: false,
            numbered_copies: false,
            folder_status: false,
            trash_flattens: false,
            plain_numbers: false,
            zone_minutes: 0,
            missing: Vec::new(),
            error_shape: ErrorShape::Underscored,
        }
    }
}

/// How an error looks. All come with the HTTP status 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorShape {
    /// `"response"` and `"_status": "error"`.
    Underscored,
    /// `"response"` and `"status": "error"`.
    Plain,
    /// `"message"` and `"result": false`.
    ResultFalse,
    /// `"message"` and `"success": false`.
    SuccessFalse,
}
