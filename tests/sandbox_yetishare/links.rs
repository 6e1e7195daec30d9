//! Download links and ranges.

use std::time::Duration;

use reqwest::StatusCode;

use crate::sandbox_caller::wait_for;
use crate::yetishare_caller::{header, start};

#[tokio::test]
async fn the_script_streams_ranges_wrong_where_a_web_server_does_not() {
    let content: Vec<u8> = (0..200).collect();
    let host = start(|_| {}).await;
    let link = host.link(&host.file("range.bin", &content, "").await).await;
    let ask = async |range: &str| {
        let reply = host.get(&link, Some(range)).await;
        let told = (
            reply.status().as_u16(),
            header(&reply, "content-range"),
            header(&reply, "content-length"),
        );
        (told.0, told.1, told.2, reply.bytes().await.unwrap().to_vec())
    };
    let whole = (200, None, Some("200".to_owned()), content.clone());
    for range in ["bytes=0-9", "bytes=0-", "bytes=-10", "bytes=200-"] {
        assert_eq!(ask(range).await, whole, "{range}");
    }
    let open = (
        206,
        Some("bytes 50-199/200".to_owned()),
        Some("150".to_owned()),
        content[50..].to_vec(),
    );
    assert_eq!(ask("bytes=50-").await, open);
    let runaway = (
        206,
        Some("bytes 50-59/200".to_owned()),
        None,
        content[50..].to_vec(),
    );
    assert_eq!(ask("bytes=50-59").await, runaway);
    let (status, _, _, wrong) = ask("bytes=0-1").await;
    assert_eq!((status, wrong.len()), (206, 1));
    let tags = [host.get(&link, None).await, host.get(&link, None).await].map(|reply| header(&reply, "etag"));
    assert_ne!(tags[0], tags[1]);

    let host = start(|options| options.quirks.yetishare.strict_ranges = true).await;
    let link = host.link(&host.file("range.bin", &content, "").await).await;
    for (range, from, to) in [
        ("bytes=0-1", 0, 2),
        ("bytes=50-59", 50, 60),
        ("bytes=-10", 190, 200),
    ] {
        let reply = host.get(&link, Some(range)).await;
        assert_eq!(reply.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(
            reply.bytes().await.unwrap().as_ref(),
            &content[from..to],
            "{range}"
        );
    }
    assert_eq!(
        host.get(&link, Some("bytes=200-")).await.status(),
        StatusCode::RANGE_NOT_SATISFIABLE
    );
}

#[tokio::test]
async fn links_are_reusable_until_they_run_out() {
    let host = start(|options| options.quirks.yetishare.link_life = Duration::from_secs(2)).await;
    let file = host.file("a b.txt", b"again", "").await;
    let link = host.link(&file).await;
    assert!(link.contains("/a%20b.txt?download_token="), "{link}");
    for _ in 0..2 {
        assert_eq!(host.get(&link, None).await.text().await.unwrap(), "again");
    }
    assert_eq!(host.listing("").await["files"][0]["downloads"], "2");
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert_eq!(host.get(&link, None).await.status(), StatusCode::FOUND);
    let forged = host.get(&link.replace("token=", "token=0"), None).await;
    assert_eq!(forged.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn one_download_too_many_is_refused_while_the_others_run() {
    let host = start(|options| {
        options.quirks.yetishare.concurrent_downloads = Some(1);
        options.per_connection = Some(1 << 20);
    })
    .await;
    let link = host.link(&host.file("slow.bin", &[7; 900_000], "").await).await;
    let running = host.get(&link, None).await;
    let refused = host.get(&link, None).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        refused.text().await.unwrap(),
        "Error: Too many concurrent download requests."
    );
    assert_eq!(running.bytes().await.unwrap().len(), 900_000);
    wait_for("the first download to end", async || {
        host.get(&link, None).await.status() == StatusCode::OK
    })
    .await;
}
