//! Items: rename, move, copy, delete, facts and links.

use super::*;

pub async fn renaming_and_moving_may_be_repeated(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, List, Write, CreateFolder, Rename, Move);
    let (from, to) = (folder(&provider, "from").await, folder(&provider, "to").await);
    let file = small_file(&provider, &from.id, "old.txt").await;
    let sub = provider.create_folder(&from.id, "old sub").await.unwrap();
    let items = [ItemId::File(file.id.clone()), ItemId::Folder(sub.id.clone())];
    for _ in 0..2 {
        provider.rename(&items[0], "new.txt", None).await.unwrap();
        provider.rename(&items[1], "new sub", None).await.unwrap();
    }
    assert_eq!(names(&provider, &from.id).await, ["new sub", "new.txt"]);
    for _ in 0..2 {
        provider.move_to(&items, &to.id).await.unwrap();
    }
    assert!(names(&provider, &from.id).await.is_empty());
    assert_eq!(names(&provider, &to.id).await, ["new sub", "new.txt"]);
    let info = provider.file_info(std::slice::from_ref(&file.id)).await.unwrap();
    assert_eq!(info.first().and_then(|info| info.parent.clone()), Some(to.id));
}

pub async fn a_copy_has_the_content_and_an_id_of_its_own(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Copy, Write, CreateFolder);
    let (from, to) = (folder(&provider, "from").await, folder(&provider, "to").await);
    let file = small_file(&provider, &from.id, "original.txt").await;
    let copy = provider.copy_file(&file.id, &to.id).await.unwrap();
    assert_ne!(copy, file.id);
    let info = provider.file_info(&[copy]).await.unwrap().remove(0);
    assert_eq!((info.name, info.size), (file.name, file.size));
    if has(&provider, Capability::ContentHash) {
        assert_eq!(info.hash, file.hash);
    }
    assert_eq!(info.parent, Some(to.id));
}

pub async fn a_copy_beside_its_original_is_a_file_of_its_own(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Copy, Write, CreateFolder, List);
    let place = folder(&provider, "place").await;
    let file = small_file(&provider, &place.id, "name.txt").await;
    let copy = provider.copy_file(&file.id, &place.id).await.unwrap();
    assert_ne!(copy, file.id);
    let both = [file.id.clone(), copy.clone()];
    let info = provider.file_info(&both).await.unwrap();
    let of = |id| info.iter().find(|file| file.id == id).unwrap();
    let (original, copied) = (of(file.id.clone()), of(copy));
    assert_eq!(original.name, "name.txt");
    // Either a twin, or under a number of the service's own.
    let copied_name = copied.name.as_str();
    assert!(
        ["name.txt", "name(2).txt", "name (2).txt"].contains(&copied_name),
        "{copied_name}"
    );
    assert_eq!(
        (copied.size, copied.parent.as_ref()),
        (file.size, Some(&place.id))
    );
    assert_eq!(files(&provider, &place.id).await.len(), 2);
}

pub async fn deleting_what_is_gone_is_a_success(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, List);
    for (mode, capability) in [
        (DeleteMode::Trash, Capability::Trash),
        (DeleteMode::Purge, Capability::Purge),
    ] {
        if !has(&provider, capability) {
            continue;
        }
        let place = folder(&provider, &format!("{mode:?}")).await;
        let mut items = Vec::new();
        for name in ["a.txt", "b.txt", "c.txt"] {
            items.push(ItemId::File(small_file(&provider, &place.id, name).await.id));
        }
        for name in ["x", "y"] {
            items.push(ItemId::Folder(
                provider.create_folder(&place.id, name).await.unwrap().id,
            ));
        }
        provider
            .delete(&[items[0].clone(), items[3].clone()], mode)
            .await
            .unwrap();
        assert_eq!(names(&provider, &place.id).await, ["b.txt", "c.txt", "y"]);
        // Among the living, and then all gone.
        provider.delete(&items, mode).await.unwrap();
        assert!(names(&provider, &place.id).await.is_empty());
        provider.delete(&items, mode).await.unwrap();
        provider.delete(&items[..1], mode).await.unwrap();
    }
}

pub async fn deleting_a_folder_takes_its_content(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, Trash, List);
    let place = folder(&provider, "full").await;
    let inner = provider.create_folder(&place.id, "inner").await.unwrap();
    small_file(&provider, &inner.id, "deep.txt").await;
    provider
        .delete(&[ItemId::Folder(place.id)], DeleteMode::Trash)
        .await
        .unwrap();
    assert!(names(&provider, &provider.root()).await.is_empty());
}

pub async fn file_info_leaves_out_what_is_gone(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Write, CreateFolder, Trash);
    let place = folder(&provider, "place").await;
    let kept = small_file(&provider, &place.id, "kept.txt").await;
    let gone = small_file(&provider, &place.id, "gone.txt").await;
    provider
        .delete(&[ItemId::File(gone.id.clone())], DeleteMode::Trash)
        .await
        .unwrap();
    let never = FileId::new("zzzzzzzzzzzzzzz");
    let info = provider
        .file_info(&[kept.id.clone(), gone.id.clone(), never.clone()])
        .await
        .unwrap();
    assert_eq!(info.iter().map(|file| &file.id).collect::<Vec<_>>(), [&kept.id]);
    assert!(provider.file_info(&[gone.id]).await.unwrap().is_empty());
    assert!(provider.file_info(&[never]).await.unwrap().is_empty());
    assert!(provider.file_info(&[]).await.unwrap().is_empty());
}

pub async fn links_serve_the_content(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Read, List);
    target
        .seed(
            (0..20)
                .map(|i| (format!("f{i}.txt"), format!("content {i}").into_bytes()))
                .collect(),
        )
        .await;
    let files = files(&provider, &provider.root()).await;
    let ids: Vec<_> = files.iter().map(|file| file.id.clone()).collect();
    let calls = target.calls().await;
    let links = provider.links(&ids).await.unwrap();
    let batched = has(&provider, Capability::Batches);
    let expected = if batched { 1 } else { ids.len() as u64 };
    assert_eq!(target.calls().await - calls, expected);
    for (file, link) in files.iter().zip(links) {
        let number = file.name.trim_start_matches('f').trim_end_matches(".txt");
        let body = fetch(link.unwrap(), file.size).await;
        assert_eq!(body, format!("content {number}").into_bytes());
    }
}

pub async fn a_link_of_a_missing_file_is_an_error_beside_the_others(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, Read, Write, CreateFolder);
    let file = small_file(&provider, &provider.root(), "here.txt").await;
    let ids = [FileId::new("zzzzzzzzzzzzzzz"), file.id];
    let links = provider.links(&ids).await.unwrap();
    assert!(links[0].is_err());
    assert!(links[1].is_ok(), "{links:?}");
    assert!(provider.links(&ids[..1]).await.unwrap()[0].is_err());
}

pub async fn pages_to_hand_on_are_told_in_few_calls(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, ShareLinks, List);
    target
        .seed((0..20).map(|i| (format!("f {i}.txt"), vec![i])).collect())
        .await;
    let files = files(&provider, &provider.root()).await;
    let ids: Vec<_> = files.iter().map(|file| file.id.clone()).collect();
    let calls = target.calls().await;
    let pages = provider.share_links(&ids).await.unwrap();
    let batched = has(&provider, Capability::Batches);
    let expected = if batched { 1 } else { ids.len() as u64 };
    assert_eq!(target.calls().await - calls, expected);
    let pages: Vec<_> = pages.into_iter().map(Result::unwrap).collect();
    for (file, page) in files.iter().zip(&pages) {
        let name = file.name.replace(' ', "%20");
        let (url, bare) = (page.url.as_str(), name.replace('.', "%2E"));
        assert!(
            url.contains(&name) || url.contains(&bare),
            "{url} of {}",
            file.name
        );
        assert_eq!(page.short_url.is_some(), has(&provider, Capability::ShortLinks));
        if let Some(short) = &page.short_url {
            assert!(short.as_str().len() < url.len(), "{short} for {url}");
            assert!(url.starts_with(short.as_str()), "{short} for {url}");
        }
    }
    for links in [
        pages.iter().map(|page| Some(&page.url)).collect::<Vec<_>>(),
        pages.iter().map(|page| page.short_url.as_ref()).collect(),
    ] {
        let told: Vec<_> = links.into_iter().flatten().collect();
        let distinct: std::collections::HashSet<_> = told.iter().collect();
        assert_eq!(distinct.len(), told.len(), "each file has its own: {told:?}");
    }
    let again = provider.share_links(&ids).await.unwrap();
    assert_eq!(again.into_iter().map(Result::unwrap).collect::<Vec<_>>(), pages);
    assert!(provider.share_links(&[]).await.unwrap().is_empty());
}

pub async fn a_missing_file_has_no_page_and_the_others_keep_theirs(target: &dyn Target) {
    let provider = target.provider();
    need!(provider, ShareLinks, Write, CreateFolder, Trash);
    let here = small_file(&provider, &provider.root(), "here.txt").await;
    let gone = small_file(&provider, &provider.root(), "gone.txt").await;
    provider
        .delete(&[ItemId::File(gone.id.clone())], DeleteMode::Trash)
        .await
        .unwrap();
    let ids = [FileId::new("zzzzzzzzzzzzzzz"), here.id];
    let links = provider.share_links(&ids).await.unwrap();
    let missing = links[0].as_ref().unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound, "{missing}");
    assert!(links[1].is_ok(), "{links:?}");
    assert!(provider.share_links(&ids[..1]).await.unwrap()[0].is_err());
}

pub async fn what_it_lacks_is_unsupported_without_a_call(target: &dyn Target) {
    let provider = target.provider();
    let (file, folder) = (FileId::new("f"), FolderId::new("d"));
    let item = ItemId::File(file.clone());
    let content = Content::new(Vec::new());
    let request = content.request(&folder, "n");
    let calls = target.calls().await;
    let mut wrong = Vec::new();
    let mut check = |capability: Capability, error: Option<lockerfs::provider::ProviderError>| {
        if error.is_none_or(|error| error.kind != ErrorKind::Unsupported) {
            wrong.push(capability);
        }
    };
    macro_rules! lacks {
        ($capability:ident, $call:expr) => {
            if !has(&provider, Capability::$capability) {
                check(Capability::$capability, $call.await.err());
            }
        };
    }
    lacks!(List, provider.list(&folder, ListHint::default()));
    lacks!(Read, provider.links(std::slice::from_ref(&file)));
    lacks!(ShareLinks, provider.share_links(std::slice::from_ref(&file)));
    lacks!(Write, provider.upload_begin(&request));
    lacks!(CreateFolder, provider.create_folder(&folder, "n"));
    lacks!(Rename, provider.rename(&item, "n", None));
    lacks!(Move, provider.move_to(std::slice::from_ref(&item), &folder));
    lacks!(Copy, provider.copy_file(&file, &folder));
    lacks!(
        Trash,
        provider.delete(std::slice::from_ref(&item), DeleteMode::Trash)
    );
    lacks!(
        Purge,
        provider.delete(std::slice::from_ref(&item), DeleteMode::Purge)
    );
    lacks!(ChangeFeed, provider.changes(None));
    lacks!(EmptyFiles, provider.upload_begin(&request));
    lacks!(ModificationTime, provider.set_mtime(&item, an_earlier_time()));
    lacks!(ReplaceKeepsId, provider.replace_content(&file, &file));
    let link = "https://host.example/f".parse().unwrap();
    lacks!(RemoteUpload, provider.upload_from_link(&request, &link));
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(target.calls().await, calls);
}
