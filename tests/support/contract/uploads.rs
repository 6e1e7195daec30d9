//! Uploads: whole, in units, resumed, repeated, replacing.

use super::*;

pub async fn files_of_any_size_arrive_whole(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, Read);
    let place = folder(&provider, "sizes").await;
    for size in [0, 1, 4_097, 4 << 20, (4 << 20) + 1, 5 * (1 << 20) + 12_345] {
        if size == 0 && !has(&provider, Capability::EmptyFiles) {
            continue;
        }
        let content = Content::random(size as u64, size);
        let file = upload(
            &provider,
            &content.request(&place.id, &format!("{size} bytes.bin")),
            &content,
        )
        .await;
        assert_eq!(file.size, size as u64);
        match file.hash {
            Some(ContentHash::Sha256(hash)) => {
                assert_eq!(hash, <[u8; 32]>::from(Sha256::digest(&content.bytes)));
            }
            Some(ContentHash::Md5(hash)) => {
                assert_eq!(hash, <[u8; 16]>::from(md5::Md5::digest(&content.bytes)));
            }
            None => assert!(!has(&provider, Capability::ContentHash)),
        }
        assert!(
            download(&provider, &file.id, content.bytes.len() as u64).await == content.bytes,
            "{size} bytes came back changed"
        );
    }
}

pub async fn content_that_the_service_holds_is_not_sent(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, ContentHash);
    let place = folder(&provider, "repeated").await;
    let content = Content::random(1, 1 << 20);
    let first = upload(&provider, &content.request(&place.id, "first.bin"), &content).await;
    let (calls, bytes) = (target.calls().await, target.bytes_sent().await);
    let UploadPlan::Done(second) = provider
        .upload_begin(&content.request(&place.id, "second.bin"))
        .await
        .unwrap()
    else {
        panic!("the content is to be sent again")
    };
    assert!(target.calls().await - calls <= 2);
    assert!(target.bytes_sent().await - bytes < 8192);
    assert_ne!(second.id, first.id);
    assert_eq!((second.name.as_str(), second.size), ("second.bin", 1 << 20));
}

pub async fn a_resumed_upload_sends_only_what_is_missing(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, Read);
    let place = folder(&provider, "resumed").await;
    // More units than a word of a bitmap holds.
    let content = Content::random(2, 36 * (1 << 20) + 1);
    let request = content.request(&place.id, "big.bin");
    let UploadPlan::Units {
        unit_size, missing, ..
    } = provider.upload_begin(&request).await.unwrap()
    else {
        return;
    };
    assert_eq!(missing, (0..missing.len() as u32).collect::<Vec<_>>());
    let (sent, left): (Vec<u32>, Vec<u32>) = missing.into_iter().partition(|index| index % 3 == 1);
    for index in sent {
        let (range, sha256) = content.unit(index, unit_size);
        let progress = provider
            .upload_unit(&request, index, &sha256, range)
            .await
            .unwrap();
        assert_eq!(progress, UploadProgress::UnitTaken);
    }
    // Another client, as after a crash.
    let provider = target.provider();
    let plan = provider.upload_begin(&request).await.unwrap();
    let UploadPlan::Units { missing, .. } = &plan else {
        panic!("{plan:?}")
    };
    assert_eq!(*missing, left);
    let file = carry_out(&provider, &request, &content, plan).await;
    assert!(download(&provider, &file.id, content.bytes.len() as u64).await == content.bytes);
}

pub async fn an_upload_whose_bytes_are_there_is_only_polled(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, List);
    let place = folder(&provider, "crashed").await;
    let content = Content::random(3, 5 << 20);
    let request = content.request(&place.id, "big.bin");
    let UploadPlan::Units {
        unit_size, missing, ..
    } = provider.upload_begin(&request).await.unwrap()
    else {
        return;
    };
    for index in missing {
        let (range, sha256) = content.unit(index, unit_size);
        provider
            .upload_unit(&request, index, &sha256, range)
            .await
            .unwrap();
    }
    let bytes = target.bytes_sent().await;
    let provider = target.provider();
    let file = upload(&provider, &request, &content).await;
    assert!(target.bytes_sent().await - bytes < 1 << 20);
    assert_eq!(files(&provider, &place.id).await.len(), 1);
    assert_eq!(file.size, 5 << 20);
}

pub async fn replacing_keeps_the_id(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, ReplaceKeepsId, Read, List);
    let place = folder(&provider, "replaced").await;
    let old = small_file(&provider, &place.id, "name.bin").await;
    for (seed, size) in [(4, 1_000), (5, 5 << 20), (6, 0)] {
        let content = Content::random(seed, size);
        let mut request = content.request(&place.id, "name.bin");
        request.replaces = Some(old.id.clone());
        let file = upload(&provider, &request, &content).await;
        assert_eq!(file.id, old.id, "{size} bytes");
        assert!(
            download(&provider, &old.id, content.bytes.len() as u64).await == content.bytes,
            "{size} bytes"
        );
        let listed = files(&provider, &place.id).await;
        assert_eq!(
            listed
                .iter()
                .map(|file| (file.name.as_str(), file.size))
                .collect::<Vec<_>>(),
            [("name.bin", size as u64)]
        );
    }
}

pub async fn a_name_held_by_an_unknown_file_is_told(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, ContentHash);
    let place = folder(&provider, "taken").await;
    let holder = small_file(&provider, &place.id, "name.txt").await;
    let other = small_file(&provider, &place.id, "other.txt").await;
    let content = Content::random(7, 100);
    let mut request = content.request(&place.id, "name.txt");
    assert_eq!(
        provider.upload_begin(&request).await.unwrap(),
        UploadPlan::NameTaken(holder.id.clone())
    );
    request.replaces = Some(other.id);
    assert_eq!(
        provider.upload_begin(&request).await.unwrap(),
        UploadPlan::NameTaken(holder.id)
    );
}

pub async fn the_same_upload_announced_again_makes_no_twin(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, ContentHash, List);
    let place = folder(&provider, "again").await;
    for (name, size) in [("empty.bin", 0), ("small.bin", 10)] {
        let content = Content::random(8, size);
        let request = content.request(&place.id, name);
        let first = upload(&provider, &request, &content).await;
        let UploadPlan::Done(second) = target.provider().upload_begin(&request).await.unwrap() else {
            panic!("{name} is to be sent again")
        };
        assert_eq!((second.id, second.name.as_str()), (first.id, name));
    }
    assert_eq!(files(&provider, &place.id).await.len(), 2);
}

pub async fn a_modification_time_is_kept(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, ModificationTime, Write, CreateFolder, List);
    let place = folder(&provider, "times").await;
    for (name, size) in [("empty.bin", 0), ("small.bin", 10), ("units.bin", 5 << 20)] {
        if size == 0 && !has(&provider, Capability::EmptyFiles) {
            continue;
        }
        let content = Content::random(9, size);
        let file = upload(&provider, &content.request(&place.id, name), &content).await;
        assert_eq!(
            file.mtime,
            Some(an_earlier_time()),
            "{name} as told after its upload"
        );
    }
    for file in files(&provider, &place.id).await {
        assert_eq!(file.mtime, Some(an_earlier_time()), "{} as listed", file.name);
        let later = an_earlier_time() + Duration::from_secs(3600);
        provider
            .set_mtime(&ItemId::File(file.id.clone()), later)
            .await
            .unwrap();
        assert_eq!(
            provider.file_info(&[file.id]).await.unwrap().remove(0).mtime,
            Some(later)
        );
    }
}

pub async fn a_full_account_is_told_before_bytes_are_sent(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write);
    let content = Content::random(11, 100);
    let mut request = content.request(&provider.root(), "too big.bin");
    request.size = target.quota() + 1;
    let error = provider.upload_begin(&request).await.unwrap_err();
    assert!(
        matches!(error.kind, ErrorKind::QuotaExceeded | ErrorKind::TooLarge),
        "{error}"
    );
    assert_eq!(error.retry, Retry::Never);
}

pub async fn lost_content_is_announced_again(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, List);
    target.inject(&[(Step::UploadWhole, Fault::ContentLost)]).await;
    let content = Content::random(12, 1_000);
    let mut request = content.request(&provider.root(), "lost.bin");
    if provider.upload_begin(&request).await.unwrap() != UploadPlan::Whole {
        return;
    }
    let sent = provider.upload_whole(&request, content.range(0, 1_000)).await;
    if has(&provider, Capability::ContentHash) {
        assert_eq!(polled(&provider, sent.unwrap()).await, UploadProgress::StartAgain);
    } else {
        assert_eq!(sent.unwrap_err().retry, Retry::OutcomeUnknown);
        request.sent_before = true;
    }
    let file = upload(&provider, &request, &content).await;
    assert_eq!(
        files(&provider, &provider.root())
            .await
            .iter()
            .map(|file| &file.id)
            .collect::<Vec<_>>(),
        [&file.id]
    );
}

pub async fn an_upload_sent_again_after_a_lost_reply_makes_no_twin(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, ContentHash, List);
    let place = folder(&provider, "lost").await;
    let content = Content::random(14, 1_000);
    let request = content.request(&place.id, "once.bin");
    if provider.upload_begin(&request).await.unwrap() != UploadPlan::Whole {
        return;
    }
    target.inject(&[(Step::UploadWhole, Fault::LostReply)]).await;
    provider
        .upload_whole(&request, content.whole())
        .await
        .unwrap_err();
    // At once, while the service may still work on the first.
    let mut progress = provider.upload_whole(&request, content.whole()).await.unwrap();
    progress = polled(&provider, progress).await;
    let file = match progress {
        UploadProgress::Done(file) => file,
        _ => upload(&provider, &request, &content).await,
    };
    let listed = files(&provider, &place.id).await;
    assert_eq!(
        listed.iter().map(|file| &file.id).collect::<Vec<_>>(),
        [&file.id],
        "{listed:?}"
    );
    assert_eq!((file.name.as_str(), file.size), ("once.bin", 1_000));
}

pub async fn an_upload_whose_reply_is_lost_is_among_the_candidates(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, List, Read);
    if has(&provider, Capability::ContentHash) {
        return;
    }
    let place = folder(&provider, "lost").await;
    let content = Content::random(15, 1_000);
    let mut request = content.request(&place.id, "once.bin");
    request.sent_before = true;
    assert_eq!(
        provider.upload_begin(&request).await.unwrap(),
        UploadPlan::Whole,
        "nothing was sent yet"
    );
    target.inject(&[(Step::UploadWhole, Fault::LostReply)]).await;
    let error = provider
        .upload_whole(&request, content.whole())
        .await
        .unwrap_err();
    assert_eq!(error.retry, Retry::OutcomeUnknown, "{error}");

    let UploadPlan::Candidates(candidates) = provider.upload_begin(&request).await.unwrap() else {
        panic!("what was sent is not found")
    };
    let [first] = candidates.as_slice() else {
        panic!("{candidates:?}")
    };
    assert!(download(&provider, &first.id, 1_000).await == content.bytes);
    assert_eq!(first.parent.as_ref(), Some(&place.id));

    // One more of the same name and size, the newest first; one of another size is none.
    let second = upload(
        &provider,
        &Content::random(16, 1_000).request(&place.id, "once.bin"),
        &Content::random(16, 1_000),
    )
    .await;
    upload(
        &provider,
        &Content::random(17, 999).request(&place.id, "once.bin"),
        &Content::random(17, 999),
    )
    .await;
    let UploadPlan::Candidates(both) = provider.upload_begin(&request).await.unwrap() else {
        panic!("what was sent is not found any more")
    };
    let ids = |files: &[FileEntry]| files.iter().map(|file| file.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&both), [second.id.clone(), first.id.clone()]);
    // The file that is to be replaced is not its own replacement.
    request.replaces = Some(first.id.clone());
    let UploadPlan::Candidates(others) = provider.upload_begin(&request).await.unwrap() else {
        panic!("the other one is not found")
    };
    assert_eq!(ids(&others), [second.id]);
}

pub async fn a_twin_is_kept_beside_under_a_name_that_is_told(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, List);
    if !provider.name_rules().numbered_twins {
        return;
    }
    let place = folder(&provider, "twins").await;
    let first = small_file(&provider, &place.id, "name.txt").await;
    let second = small_file(&provider, &place.id, "name.txt").await;
    assert_ne!(first.id, second.id);
    assert_eq!(
        (first.name.as_str(), second.name.as_str()),
        ("name.txt", "name (2).txt")
    );
    assert_eq!(names(&provider, &place.id).await, ["name (2).txt", "name.txt"]);
}

pub async fn empty_content_is_refused_without_a_call(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write);
    if has(&provider, Capability::EmptyFiles) {
        return;
    }
    let content = Content::new(Vec::new());
    let request = content.request(&provider.root(), "empty.bin");
    let calls = target.calls().await;
    for error in [
        provider.upload_begin(&request).await.unwrap_err(),
        provider
            .upload_whole(&request, content.whole())
            .await
            .unwrap_err(),
    ] {
        assert_eq!(
            (error.kind, error.retry),
            (ErrorKind::Unsupported, Retry::Never),
            "{error}"
        );
    }
    assert_eq!(target.calls().await, calls);
}

pub async fn a_published_file_is_told_with_its_link(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write);
    if has(&provider, Capability::List) {
        return;
    }
    let content = Content::random(18, 1_000);
    let request = content.request(&provider.root(), "a file (1).bin");
    let UploadProgress::Published(publication) = publish(&provider, &request, &content).await else {
        panic!("an upload that does not end in a publication")
    };
    assert_eq!(
        (publication.entry.name.as_str(), publication.entry.size),
        ("a file (1).bin", 1_000)
    );
    let url: url::Url = publication.url.unwrap().parse().unwrap();
    assert!(url.path().contains(publication.entry.id.as_str()), "{url}");
    assert!(!publication.mirrors.is_empty());
    let states = provider.published(&[publication.entry.id]).await.unwrap();
    assert_eq!(states, [PublishedState::Active]);
    let nobody = provider.published(&[FileId::new("zzzzzzzz")]).await.unwrap();
    assert_eq!(nobody, [PublishedState::Removed("not found".to_owned())]);
}

pub async fn what_is_published_is_never_sent_by_refused_credentials(target: &dyn Target) {
    let provider = target.refused_provider();
    need!(provider, Write);
    if has(&provider, Capability::List) {
        return;
    }
    let content = Content::random(19, 100);
    let request = content.request(&provider.root(), "refused.bin");
    for error in [
        provider.upload_begin(&request).await.unwrap_err(),
        provider.account_info().await.unwrap_err(),
    ] {
        assert_eq!(
            (error.kind, error.retry),
            (ErrorKind::LoginRefused, Retry::Never),
            "{error}"
        );
    }
    assert_eq!(target.calls_of(Step::UploadWhole).await, 0);
}
