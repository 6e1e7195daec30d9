//! `user/*`: the account and its limits.

use serde_json::json;

use super::Context;
use super::envelope::{Fail, Reply, fields, text, yes};
use super::shape::utc_time;

/// What a free account starts with; the rest of its limit is told as bonus.
const BASE_STORAGE: u64 = 10_739_515_392;

struct Storage {
    limit: u64,
    used: u64,
    base: u64,
    bonus: u64,
}

fn storage(context: &mut Context<'_>) -> Result<Storage, Fail> {
    let used = context.tree()?.used();
    let account = context
        .world
        .accounts
        .get(context.account()?)
        .ok_or(Fail::new(104))?;
    let limit = account.config.storage_limit;
    let base = BASE_STORAGE.min(limit);
    Ok(Storage {
        limit,
        used,
        base,
        bonus: limit - base,
    })
}

pub fn get_info(context: &mut Context<'_>) -> Reply {
    let storage = storage(context)?;
    let account = context
        .world
        .accounts
        .get(context.account()?)
        .ok_or(Fail::new(104))?;
    Ok(fields(json!({ "user_info": {
        "ekey": "demo0000000",
        "email": account.config.email,
        "first_name": "Demo",
        "last_name": "",
        "display_name": "Demo",
        "gender": "none",
        "birth_date": "0000-00-00",
        "location": "",
        "website": "",
        "premium": "no",
        "bandwidth": "53687091200",
        "created": utc_time(context.now).split('T').next(),
        "validated": "yes",
        "tos_accepted": "1",
        "used_storage_size": text(storage.used),
        "base_storage": text(storage.base),
        "bonus_storage": text(storage.bonus),
        "storage_limit": text(storage.limit),
        "storage_limit_exceeded": yes(storage.used > storage.limit),
        "options": "0",
        "one_time_key_request_max_count": "100",
        "max_upload_size": text(context.shared.options.quirks.max_upload_size),
        "max_instant_upload_size": text(context.shared.options.quirks.max_upload_size),
    }})))
}

pub fn get_limits(context: &mut Context<'_>) -> Reply {
    let storage = storage(context)?;
    Ok(fields(json!({ "limits": {
        "storage_base": text(storage.base),
        "storage_bonus": text(storage.bonus),
        "storage_limit": text(storage.limit),
        "storage_used": text(storage.used),
        "bandwidth_limit": "53687091200",
        "bandwidth_used": "0",
        "collaboration_limit": "150",
        "collaboration_today": "0",
        "one_time_downloads_limit": "100",
        "one_time_downloads_today": "0",
        "streaming_bandwidth_limit": "0",
        "upload_size_limit": text(context.shared.options.quirks.max_upload_size),
    }})))
}

pub fn get_settings(context: &mut Context<'_>) -> Reply {
    let storage = storage(context)?;
    Ok(fields(json!({ "settings": {
        "validated": "yes",
        "instant_uploads_enabled": "yes",
        "show_download_page": { "me_from_me": "yes", "me_from_others": "yes" },
        "auto_bandwidth": { "enabled": "no" },
        "used_storage_size": text(storage.used),
        "storage_limit": text(storage.limit),
        "storage_limit_exceeded": yes(storage.used > storage.limit),
        "previous_file_versions": "yes",
        "share_link_status": "inherit",
        "collect_metadata": "no",
    }})))
}
