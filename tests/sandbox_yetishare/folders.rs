//! Folders, with their ghosts and circles.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::yetishare_caller::{HOST, header, start};
use crate::{NO_FILE, NO_FOLDER};

#[tokio::test]
async fn deleted_files_vanish_and_deleted_folders_show_up_in_the_root() {
    let host = start(|options| options.quirks.yetishare.folder_status = true).await;
    let outer = host.folder("outer", "").await;
    let inner = host.folder("inner", &outer).await;
    let file = host.file("deep.txt", b"deep", &inner).await;
    let link = host.link(&file).await;
    let root = host.listing("").await;
    assert_eq!(
        (&root["folders"][0]["totalSize"], &root["folders"][0]["status"]),
        (&json!("4"), &json!("active"))
    );
    assert_eq!(root["folders"][0]["child_folder_count"], 1);
    assert_eq!(host.listing(&outer).await["folders"][0]["file_count"], 1);

    assert_eq!(
        host.call("folder/delete", &[("folder_id", &inner)]).await["_status"],
        "success"
    );
    assert_eq!(host.names("folders", &outer).await, Vec::<String>::new());
    let root = host.listing("").await;
    let ghost = &root["folders"][0];
    assert_eq!(
        (&ghost["id"], &ghost["parentId"], &ghost["status"]),
        (&json!(inner), &Value::Null, &json!("trash"))
    );
    assert_eq!(host.names("files", &inner).await, Vec::<String>::new());
    let info = host.call("file/info", &[("file_id", &file)]).await;
    assert_eq!(
        (&info["data"]["file_status"], &info["data"]["folderId"]),
        (&json!("trash"), &Value::Null)
    );
    assert_eq!(
        host.call("file/download", &[("file_id", &file)]).await["response"],
        NO_FILE
    );
    let dead = host.get(&link, None).await;
    assert_eq!(dead.status(), StatusCode::FOUND);
    let page = header(&dead, "location").unwrap();
    assert!(page.contains("/1cloudfile/error?e="), "{page}");
    let page = host.get(&page, None).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(header(&page, "content-type").unwrap().starts_with("text/html"));

    let host = start(|_| {}).await;
    let gone = host.folder("gone", "").await;
    host.call("folder/delete", &[("folder_id", &gone)]).await;
    let ghost = host.listing("").await["folders"][0].take();
    assert_eq!(ghost["id"], json!(gone));
    assert!(ghost.get("status").is_none(), "{ghost}");
    assert!(!host.sandbox.files_dir(HOST).join("gone").exists());
}

#[tokio::test]
async fn a_folder_moved_into_its_own_subtree_is_lost_until_it_is_moved_out() {
    let host = start(|_| {}).await;
    let outer = host.folder("outer", "").await;
    let inner = host.folder("inner", &outer).await;
    host.file("a.txt", b"abc", &inner).await;
    let to = async |target: &str| {
        let params = [("folder_id", outer.as_str()), ("new_parent_folder_id", target)];
        host.call("folder/move", &params).await
    };
    assert_eq!(to(&outer).await["_status"], "error");
    assert_eq!(to("0").await["_status"], "error");
    assert_eq!(to(&inner).await["data"]["parentId"], json!(inner));
    assert_eq!(host.names("folders", "").await, Vec::<String>::new());
    let info = host
        .call(
            "folder/info",
            &[("folder_id", &inner), ("parent_folder_id", &inner)],
        )
        .await;
    assert_eq!(
        (&info["data"]["totalSize"], &info["data"]["accessPassword"]),
        (&json!("3"), &Value::Null)
    );
    let docs = host.call("folder/info", &[("parent_folder_id", &inner)]).await;
    assert_eq!(docs["response"], "Please provide the folder_id param.");
    assert!(!host.sandbox.files_dir(HOST).join("outer").exists());
    assert_eq!(to("null").await["data"]["parentId"], Value::Null);
    assert_eq!(host.names("folders", "").await, ["outer"]);
    let plain = host.sandbox.files_dir(HOST).join("outer/inner/a.txt");
    assert_eq!(std::fs::read(plain).unwrap(), b"abc");
    assert_eq!(
        host.call("folder/info", &[("folder_id", "1")]).await["response"],
        NO_FOLDER
    );
}

#[tokio::test]
async fn folders_may_have_equal_names_and_can_be_edited() {
    let host = start(|_| {}).await;
    let (a, b) = (host.folder("same", "").await, host.folder("same", "0").await);
    assert_ne!(a, b);
    let password = "d9729feb74992cc3482b350163a1a010";
    let params = [
        ("folder_id", b.as_str()),
        ("folder_name", "other"),
        ("parent_id", &a),
        ("is_public", "2"),
        ("access_password", password),
    ];
    let edited = host.call("folder/edit", &params).await["data"].take();
    assert_eq!(
        (&edited["folderName"], &edited["parentId"]),
        (&json!("other"), &json!(a))
    );
    assert_eq!(
        (&edited["isPublic"], &edited["accessPassword"]),
        (&json!("2"), &json!(password))
    );
    let params = [
        ("folder_id", b.as_str()),
        ("parent_id", "null"),
        ("access_password", "null"),
    ];
    let edited = host.call("folder/edit", &params).await["data"].take();
    assert_eq!(
        (&edited["folderName"], &edited["parentId"]),
        (&json!("other"), &Value::Null)
    );
    assert_eq!(
        (&edited["isPublic"], &edited["accessPassword"]),
        (&json!("2"), &Value::Null)
    );
    let nowhere = host.folder("nowhere", "999999").await;
    assert!(!nowhere.is_empty());
    assert_eq!(host.names("folders", "").await, ["other", "same"]);
}

#[tokio::test]
async fn a_host_may_show_the_subfolders_of_a_deleted_folder_in_the_root() {
    let host = start(|options| options.quirks.yetishare.trash_flattens = true).await;
    let outer = host.folder("outer", "").await;
    let inner = host.folder("inner", &outer).await;
    host.folder("innermost", &inner).await;
    host.call("folder/delete", &[("folder_id", &outer)]).await;
    assert_eq!(host.names("folders", "").await, ["inner", "innermost", "outer"]);
    let root = host.listing("").await;
    assert_eq!(root["folders"][0]["parentId"], Value::Null);
    assert_eq!(host.names("folders", &outer).await, Vec::<String>::new());
}
