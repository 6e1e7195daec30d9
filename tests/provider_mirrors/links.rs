//! Files that the services fetch from a link.

use lockerfs::provider::{ProviderError, Publication};

use super::*;
use crate::contract::{Manner, Source};

async fn refusal(provider: &Arc<dyn Provider>, request: &UploadRequest, source: &Source) -> ProviderError {
    let refused = provider.upload_from_link(request, &source.link).await;
    refused.expect_err("a refused link")
}

fn published(progress: UploadProgress) -> Publication {
    match progress {
        UploadProgress::Published(publication) => publication,
        progress => panic!("{progress:?}"),
    }
}

#[tokio::test]
async fn a_link_goes_with_all_fields_of_an_upload() {
    let target = mirrorace(1_000).await;
    let provider = target.provider();
    // Larger than a chunk, of which the service's own fetching knows nothing.
    let content = Content::random(20, 5_000);
    let source = Source::serve(&content, Manner::File).await;
    let request = content.request(&provider.root(), "linked.bin");
    let progress = provider.upload_from_link(&request, &source.link).await.unwrap();
    let publication = published(progress);
    let id = publication.entry.id.as_str();
    assert!(publication.url.unwrap().contains(id));
    let note = &target.published().await[id];
    assert_eq!(note["password"], "the file's password");
    assert_eq!(note["mirrors"], json!(["1", "2", "3"]), "as set in the account");
    assert_eq!(target.calls().await, 2);
}

#[tokio::test]
async fn nothing_of_the_same_name_is_sent_while_a_link_is_fetched() {
    let target = mirrorace(1_000).await;
    let provider = target.provider();
    let content = Content::random(21, 500);
    let source = Source::serve(&content, Manner::File).await;
    let ours = content.request(&FolderId::new("a"), "ours.bin");
    target
        .post(
            "faults",
            json!([{ "match": "mirrorace/upload/remote", "fault": "delay", "milliseconds": 2_000, "times": 1 }]),
        )
        .await;
    let fetching = {
        let (provider, ours, link) = (provider.clone(), ours.clone(), source.link.clone());
        tokio::spawn(async move { provider.upload_from_link(&ours, &link).await })
    };
    while target.count("mirrorace/upload/remote").await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // Under the name that it has here, and under the link's, which the service may give it.
    for name in ["ours.bin", "linked.bin"] {
        let other = content.request(&FolderId::new("b"), name);
        let error = provider.upload_begin(&other).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Busy, "{name}: {error}");
    }
    published(fetching.await.unwrap().unwrap());
    for name in ["ours.bin", "linked.bin"] {
        let other = content.request(&FolderId::new("b"), name);
        contract::upload(&provider, &other, &content).await;
    }
    assert_eq!(target.files().await.len(), 3);
}

#[tokio::test]
async fn what_a_link_gave_is_not_taken_for_a_file_of_another_size() {
    let target = mirrorace(1_000).await;
    let provider = target.provider();
    let content = Content::random(22, 500);
    let source = Source::serve(&content, Manner::File).await;
    let mut request = content.request(&provider.root(), "linked.bin");
    request.size = 501;
    let error = refusal(&provider, &request, &source).await;
    assert_eq!(
        (error.kind, error.retry),
        (ErrorKind::Corrupt, Retry::Never),
        "{error}"
    );
    request.size = target.account.max_upload_size + 1;
    let error = refusal(&provider, &request, &source).await;
    assert_eq!(
        (error.kind, error.retry),
        (ErrorKind::TooLarge, Retry::Never),
        "{error}"
    );
    assert_eq!(source.asked(), 1);
}

#[tokio::test]
async fn what_the_service_says_against_a_link_leaves_the_other_way_and_hides_the_link() {
    for target in [mirrorace(1_000).await, mirrored_to(|_| {}).await] {
        let provider = target.provider();
        let content = Content::random(23, 500);
        let source = Source::serve(&content, Manner::File).await;
        let request = content.request(&provider.root(), "linked.bin");
        let says = format!("The link {} has expired.", source.link);
        let rules = ["mirrorace/upload/remote", "mirrored_to/api_remote_upload"]
            .map(|call| json!({ "match": call, "fault": "say", "text": says, "times": 1 }));
        target.post("faults", json!(rules)).await;
        let error = refusal(&provider, &request, &source).await;
        assert_eq!(error.retry, Retry::Never, "{error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("expired") && !shown.contains("secret"), "{shown}");
        assert_eq!(source.asked(), 0);
        contract::upload(&provider, &request, &content).await;
        assert_eq!(target.files().await.len(), 1);
    }
}

#[tokio::test]
async fn a_dead_upload_key_is_no_word_against_the_link() {
    let target = mirrorace(1_000).await;
    let provider = target.provider();
    let content = Content::random(24, 500);
    let source = Source::serve(&content, Manner::File).await;
    let request = content.request(&provider.root(), "linked.bin");
    let dead = json!([{ "match": "mirrorace/upload/remote", "fault": "expire_token", "times": 1 }]);
    target.post("faults", dead).await;
    let error = refusal(&provider, &request, &source).await;
    assert!(matches!(error.retry, Retry::AfterWait(_)), "{error}");
    published(provider.upload_from_link(&request, &source.link).await.unwrap());
}

#[tokio::test]
async fn a_link_costs_the_calls_of_an_upload_and_a_look_and_its_last_step_outlives_the_process() {
    let target = mirrored_to(|_| {}).await;
    let provider = target.provider();
    let content = Content::random(25, 1_000);
    let source = Source::serve(&content, Manner::File).await;
    let request = content.request(&provider.root(), "ours.bin");
    let sent = provider.upload_from_link(&request, &source.link).await.unwrap();
    let UploadProgress::Processing(ticket) = sent else {
        panic!("{sent:?}")
    };
    assert_eq!(provider.daily_calls().await.unwrap().spent, 4);
    drop(provider);
    let done = published(target.provider().upload_poll(&ticket).await.unwrap());
    assert_eq!((done.entry.name.as_str(), done.entry.size), ("linked.bin", 1_000));
    assert_eq!(target.files().await, [("linked.bin".to_owned(), hash(&request))]);
    assert_eq!(target.calls().await, 4);
}

#[tokio::test]
async fn a_page_that_was_published_in_place_of_a_linked_film_is_not_taken_for_it() {
    let target = mirrored_to(|_| {}).await;
    let provider = target.provider();
    let page = Content::random(27, 3_000);
    let source = Source::serve(&page, Manner::File).await;
    let mut request = page.request(&provider.root(), "film.bin");
    request.size = 3 << 20;
    let sent = provider.upload_from_link(&request, &source.link).await.unwrap();
    let UploadProgress::Processing(ticket) = sent else {
        panic!("{sent:?}")
    };
    let UploadProgress::GivenUp(refusal) = provider.upload_poll(&ticket).await.unwrap() else {
        panic!("a page counts as the film")
    };
    assert_eq!((refusal.kind, refusal.retry), (ErrorKind::Corrupt, Retry::Never));
    assert!(refusal.message.contains("2.93 KB"), "{}", refusal.message);
    // A look that fails tells nothing against the file.
    let fault = json!([{ "match": "mirrored_to/get_file_info", "fault": "html", "times": 1 }]);
    target.post("faults", fault).await;
    request.size = 3_000;
    let sent = provider.upload_from_link(&request, &source.link).await.unwrap();
    let UploadProgress::Processing(ticket) = sent else {
        panic!("{sent:?}")
    };
    published(provider.upload_poll(&ticket).await.unwrap());
    assert_eq!(provider.daily_calls().await.unwrap().spent, 8);
}

#[tokio::test]
async fn a_link_that_is_refused_gives_the_calls_of_later_steps_back() {
    let target = mirrored_to(|_| {}).await;
    let provider = target.provider();
    let content = Content::random(26, 1_000);
    let source = Source::serve(&content, Manner::Missing).await;
    let request = content.request(&provider.root(), "linked.bin");
    let error = refusal(&provider, &request, &source).await;
    assert_eq!(error.retry, Retry::Never, "{error}");
    assert_eq!(provider.daily_calls().await.unwrap().spent, 2);
    assert_eq!(target.calls().await, 2);
}
