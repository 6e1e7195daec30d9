//! `account/*`: who the account is, and what its package allows. Nothing tells how much is used.

use serde_json::{Value, json};

use super::Context;
use super::envelope::{Reply, fields};
use super::session::account_id;
use super::shape::{date, number};

/// When the made-up account began: 2024-03-01 12:00:00 UTC.
const BEGAN: i64 = 1_709_294_400;

pub fn info(context: &mut Context<'_>) -> Reply {
    let (config, quirks) = (&context.account.config, context.quirks());
    Ok(fields(json!({
        "data": {
            "id": number(account_id(&config.name), quirks),
            "username": config.username,
            "level_id": number(2, quirks),
            "email": config.email,
            "lastlogindate": date(context.now, quirks),
            "lastloginip": "127.0.0.1",
            "status": "active",
            "title": "",
            "firstname": "Demo",
            "lastname": "User",
            "languageId": number(1, quirks),
            "datecreated": date(BEGAN, quirks),
            "lastPayment": null,
            "paidExpiryDate": null,
            "storageLimitOverride": null,
        },
    })))
}

pub fn package(context: &mut Context<'_>) -> Reply {
    let (config, quirks) = (&context.account.config, context.quirks());
    let number = |value: u64| number(value, quirks);
    let downloads = quirks.concurrent_downloads.unwrap_or(0);
    let data: Value = json!({
        "id": number(2),
        "label": "Premium Account",
        "max_upload_size": number(config.max_upload_size),
        "can_upload": number(1),
        "wait_between_downloads": number(0),
        "download_speed": number(0),
        "max_storage_bytes": number(config.storage_limit),
        "show_site_adverts": number(0),
        "show_upgrade_screen": number(1),
        "days_to_keep_inactive_files": number(60),
        "concurrent_uploads": number(100),
        "concurrent_downloads": number(u64::from(downloads)),
        "downloads_per_24_hours": number(0),
        "max_download_filesize_allowed": number(0),
        "max_remote_download_urls": number(50),
        "level_type": "paid user",
        "on_upgrade_page": number(0),
    });
    Ok(fields(json!({ "data": data })))
}
