//! Failures: what is told of them, and that they stay small.

use super::*;

pub async fn a_lost_reply_is_an_unknown_outcome(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, CreateFolder, List, Write);
    provider.account_info().await.unwrap();
    target
        .inject(&[
            (Step::CreateFolder, Fault::LostReply),
            (Step::UploadWhole, Fault::LostReply),
        ])
        .await;
    let error = provider
        .create_folder(&provider.root(), "made")
        .await
        .unwrap_err();
    assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");
    assert_eq!(names(&provider, &provider.root()).await, ["made"]);
    folder(&provider, "made").await;
    let content = Content::random(10, 10);
    let request = content.request(&provider.root(), "file");
    if provider.upload_begin(&request).await.unwrap() == UploadPlan::Whole {
        let error = provider
            .upload_whole(&request, content.range(0, 10))
            .await
            .unwrap_err();
        assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");
    }
}

pub async fn an_unavailable_service_says_when_to_come_back(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List);
    provider.account_info().await.unwrap();
    for retry_after in [Some(7), None] {
        target
            .inject(&[(Step::List, Fault::Unavailable { retry_after })])
            .await;
        let error = provider
            .list(
                &provider.root(),
                ListHint {
                    folders: Some(0),
                    files: None,
                },
            )
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert_eq!(
            error.retry,
            Retry::AfterWait(retry_after.map(Duration::from_secs))
        );
        provider
            .list(&provider.root(), ListHint::default())
            .await
            .unwrap();
    }
}

pub async fn a_web_page_is_an_error_that_says_so(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List);
    provider.account_info().await.unwrap();
    target.inject(&[(Step::List, Fault::WebPage)]).await;
    let error = provider
        .list(
            &provider.root(),
            ListHint {
                folders: Some(0),
                files: None,
            },
        )
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("web page"), "{error}");
    provider
        .list(&provider.root(), ListHint::default())
        .await
        .unwrap();
}

pub async fn a_truncated_answer_is_an_error(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List);
    provider.account_info().await.unwrap();
    target.inject(&[(Step::List, Fault::Truncated)]).await;
    let error = provider
        .list(
            &provider.root(),
            ListHint {
                folders: Some(0),
                files: None,
            },
        )
        .await
        .unwrap_err();
    assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");
    provider
        .list(&provider.root(), ListHint::default())
        .await
        .unwrap();
}

pub async fn refused_credentials_stop_all_calls(target: &dyn Target) {
    let provider = target.refused_provider();
    need!(provider, List);
    let (root, hint) = (provider.root(), ListHint::default());
    let attempts = futures_util::future::join_all((0..10).map(|_| provider.list(&root, hint))).await;
    for attempt in attempts {
        let error = attempt.unwrap_err();
        assert_eq!(
            (error.kind, error.retry),
            (ErrorKind::LoginRefused, Retry::Never),
            "{error}"
        );
    }
    assert_eq!(target.calls().await, 1);
    assert_eq!(
        provider.list(&root, hint).await.unwrap_err().kind,
        ErrorKind::LoginRefused
    );
    assert_eq!(target.calls().await, 1);
    // A person who asks gets an answer of the service.
    assert_eq!(
        provider.account_info().await.unwrap_err().kind,
        ErrorKind::LoginRefused
    );
    assert_eq!(target.calls().await, 2);
}

pub async fn a_dead_token_costs_one_login(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, CreateFolder);
    provider.account_info().await.unwrap();
    let logins = target.calls_of(Step::Login).await;
    target.inject(&[(Step::CreateFolder, Fault::DeadToken)]).await;
    folder(&provider, "made").await;
    assert_eq!(target.calls_of(Step::Login).await, logins + 1);
    assert_eq!(names(&provider, &provider.root()).await, ["made"]);
}

pub async fn calls_side_by_side_all_succeed(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, CreateFolder);
    let root = provider.root();
    let made: Vec<String> = (0..30).map(|i| format!("folder {i:02}")).collect();
    let calls = made.iter().map(|name| provider.create_folder(&root, name));
    for result in futures_util::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(names(&provider, &root).await, made);
    assert!(target.calls_of(Step::Login).await <= 8);
}

pub async fn a_cancelled_call_harms_no_later_one(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, CreateFolder);
    let root = provider.root();
    provider.account_info().await.unwrap();
    for round in 0..20_u64 {
        let call = provider.create_folder(&root, "cancelled");
        let _ = tokio::time::timeout(Duration::from_micros(150 * round), call).await;
        provider.list(&root, ListHint::default()).await.unwrap();
    }
}

pub async fn what_is_idempotent_may_follow_its_own_lost_reply(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, Trash, List);
    let place = folder(&provider, "place").await;
    let file = small_file(&provider, &place.id, "file.txt").await;
    let content = Content::random(13, 5 << 20);
    let request = content.request(&place.id, "units.bin");
    target
        .inject(&[
            (Step::DeleteFiles, Fault::LostReply),
            (Step::UploadUnit, Fault::LostReply),
        ])
        .await;

    let items = [ItemId::File(file.id)];
    let error = provider.delete(&items, DeleteMode::Trash).await.unwrap_err();
    assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");
    provider.delete(&items, DeleteMode::Trash).await.unwrap();
    assert!(names(&provider, &place.id).await.is_empty());

    let plan = provider.upload_begin(&request).await.unwrap();
    if let UploadPlan::Units { unit_size, .. } = plan {
        let (range, sha256) = content.unit(0, unit_size);
        let error = provider
            .upload_unit(&request, 0, &sha256, range.clone())
            .await
            .unwrap_err();
        assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");
        provider.upload_unit(&request, 0, &sha256, range).await.unwrap();
    }
    let file = carry_out(&provider, &request, &content, plan).await;
    assert_eq!(file.size, 5 << 20);
}

pub async fn a_copy_whose_reply_is_lost_may_be_there(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, Copy, List);
    let (from, to) = (folder(&provider, "from").await, folder(&provider, "to").await);
    let file = small_file(&provider, &from.id, "file.txt").await;
    target.inject(&[(Step::Copy, Fault::LostReply)]).await;
    let error = provider.copy_file(&file.id, &to.id).await.unwrap_err();
    assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");
    assert_eq!(names(&provider, &to.id).await, ["file.txt"]);
}

pub async fn calls_in_a_row_need_one_login(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, CreateFolder);
    for i in 0..10 {
        folder(&provider, &format!("folder {i}")).await;
    }
    // An error of the service must not put the session out of step.
    let nowhere = FolderId::new("zzzzzzzzzzzzz");
    provider.create_folder(&nowhere, "n").await.unwrap_err();
    folder(&provider, "last").await;
    assert_eq!(target.calls_of(Step::Login).await, 1);
}
