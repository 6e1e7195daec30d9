//! `system/*`: facts about the service, for anybody.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::envelope::{Reply, fields, text};
use super::{Context, MAX_DEPTH, MAX_KEYS, shape};

fn extensions(kinds: &[&str]) -> Value {
    shape::types()
        .filter(|(_, _, kind)| kinds.contains(kind))
        .map(|(extension, _, _)| extension)
        .collect()
}

pub fn get_info(_: &mut Context<'_>) -> Reply {
    Ok(fields(json!({
        "timezone": "America/Chicago",
        "timezone_offset": "-6",
        "max_keys": text(MAX_KEYS),
        "max_objects": "6000",
        "max_image_size": "26214400",
        "image_sizes": ["0", "1", "2", "3", "4", "5", "6"],
        "viewable": { "extensions": extensions(&["document", "image", "presentation", "spreadsheet"]) },
        "editable": { "extensions": extensions(&["development"]) },
        "terms_of_service": { "revision": "13", "date": "2014-01-01" },
    })))
}

pub fn get_limits(_: &mut Context<'_>) -> Reply {
    Ok(fields(json!({ "limits": {
        "max_objects": "6000",
        "max_keys": text(MAX_KEYS),
        "max_image_size": "26214400",
        "zip_max_filesize": "314572800",
        "zip_max_total_filesize": "2147483647",
        "folder_content_chunk_size": "100",
        "folder_depth_limit": text(MAX_DEPTH),
        "limit_search_results": "100",
        "daily_shares_limit": "100",
        "device_changes_list_limit": "500",
        "total_folder_items_limit": "100",
    }})))
}

pub fn get_status(_: &mut Context<'_>) -> Reply {
    Ok(fields(
        json!({ "status": { "database": "on", "memcache": "on" } }),
    ))
}

pub fn get_version(_: &mut Context<'_>) -> Reply {
    Ok(fields(json!({ "current_api_version": "1.5" })))
}

pub fn get_supported_media(context: &mut Context<'_>) -> Reply {
    let media = if context.params.says_yes("group_by_filetype") {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (extension, _, kind) in shape::types() {
            groups.entry(kind).or_default().push(extension);
        }
        json!(groups)
    } else {
        json!({ "extensions": shape::types().map(|(extension, _, _)| extension).collect::<Vec<_>>() })
    };
    Ok(fields(json!({ "viewable": media })))
}

pub fn get_mime_types(_: &mut Context<'_>) -> Reply {
    let types: Vec<Value> = shape::types()
        .map(|(extension, mime, kind)| json!({ "extension": extension, "mimetype": mime, "filetype": kind }))
        .collect();
    Ok(fields(json!({ "mime_types": types })))
}
