//! Listings that do not end, or that cannot be read in full.

use super::*;

#[tokio::test]
async fn a_listing_with_something_new_in_each_chunk_without_end_is_given_up() {
    let service = OddService::start(|call, params, _| {
        if call != "folder/get_content" {
            return as_usual();
        }
        let chunk = &params["chunk"];
        let name = "n".repeat(4000);
        let files: Vec<_> = (0..1000)
            .map(|key| json!({"quickkey": format!("{chunk}-{key}"), "filename": name, "size": "1"}))
            .collect();
        ok(json!({"folder_content": {"more_chunks": "yes", "files": files}}))
    })
    .await;
    let error = service.provider().list(&root(), FILES_ONLY).await.unwrap_err();
    assert_eq!(
        (error.kind, error.retry),
        (ErrorKind::Unexpected, Retry::Never),
        "{error}"
    );
    let asked = service.calls("folder/get_content").len();
    assert!((10..200).contains(&asked), "{asked} chunks");
}

#[tokio::test]
async fn a_folder_with_an_entry_that_makes_no_sense_is_not_told_to_be_complete() {
    let service = OddService::start(|call, params, _| match call {
        "folder/get_content" if params["content_type"] == "files" => {
            let longest = "n".repeat(5000);
            let size = "9223372036854775808";
            ok(json!({"folder_content": {"more_chunks": "no", "files": [
                file(1), {"quickkey": "a", "filename": longest, "size": "1"}, {"quickkey": "b", "filename": "b", "size": size},
            ]}}))
        }
        _ => as_usual(),
    })
    .await;
    let listing = service.provider().list(&root(), FILES_ONLY).await.unwrap();
    assert_eq!(listing.entries.len(), 1);
    assert!(
        listing.incomplete,
        "it would be taken for empty once that entry goes"
    );
}
