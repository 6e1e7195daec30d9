//! Login, the token and who shares it.

use super::*;

#[tokio::test]
async fn a_token_is_shared_through_its_directory_also_after_it_was_renewed() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let (first, second) = (sharing(&host, place.path()), sharing(&host, place.path()));
    listed(&first).await;
    listed(&second).await;
    assert_eq!(host.calls("authorize").len(), 1);

    host.expire();
    listed(&first).await;
    // The token that it holds is dead; the one that the other got is not.
    listed(&second).await;
    assert_eq!(host.calls("authorize").len(), 2);
    listed(&sharing(&host, place.path())).await;
    assert_eq!(host.calls("authorize").len(), 2);
}

#[tokio::test]
async fn a_token_out_of_the_directory_that_is_dead_too_costs_no_call() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let (first, second) = (sharing(&host, place.path()), sharing(&host, place.path()));
    listed(&first).await;
    listed(&second).await;
    host.expire();
    listed(&first).await;
    host.expire();
    // Both its own and that of the directory are dead.
    listed(&second).await;
    assert_eq!(host.calls("authorize").len(), 3);
}

#[tokio::test]
async fn a_dead_token_in_the_directory_costs_one_login_however_many_find_it() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let providers: Vec<_> = (0..4).map(|_| sharing(&host, place.path())).collect();
    futures_util::future::join_all(providers.iter().map(listed)).await;
    assert_eq!(host.calls("authorize").len(), 1);
    host.expire();
    futures_util::future::join_all(providers.iter().map(listed)).await;
    assert_eq!(host.calls("authorize").len(), 2);
}

#[tokio::test]
async fn only_the_last_user_disables_the_token() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let (first, second) = (sharing(&host, place.path()), sharing(&host, place.path()));
    listed(&first).await;
    listed(&second).await;
    first.close().await;
    assert_eq!(host.calls("disable_access_token").len(), 0);
    listed(&second).await;
    assert_eq!(host.calls("authorize").len(), 1);
    second.close().await;
    let disabled = host.calls("disable_access_token");
    assert_eq!(disabled.len(), 1);
    assert_eq!(disabled[0]["access_token"], "token0");
    let kept = std::fs::read_dir(place.path().join("tokens")).unwrap();
    let tokens = kept.filter(|entry| entry.as_ref().unwrap().path().extension().unwrap() == "token");
    assert_eq!(tokens.count(), 0);
}

#[tokio::test]
async fn a_token_of_its_own_is_disabled_at_the_end() {
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let provider = host.provider();
    provider.close().await;
    assert!(host.names().is_empty(), "no token was ever got");
    listed(&provider).await;
    provider.close().await;
    assert_eq!(host.calls("disable_access_token").len(), 1);
}

#[tokio::test]
async fn a_token_that_dies_at_once_is_not_replaced_by_one_login_after_the_other() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "folder/listing" => error("Could not validate access_token, please reauthenticate or try again."),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    for _ in 0..3 {
        let failure = provider
            .list(&root(&provider), ListHint::default())
            .await
            .unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Unavailable, "{failure}");
        let Retry::AfterWait(Some(wait)) = failure.retry else {
            panic!("{failure:?}")
        };
        assert!(
            wait > Duration::from_secs(3) && wait <= Duration::from_secs(5),
            "{wait:?}"
        );
        // The other calls go on with it.
        provider.file_info(&[FileId::new("1")]).await.unwrap_err();
    }
    assert_eq!(host.calls("authorize").len(), 1);
}

#[tokio::test]
async fn one_call_that_never_takes_a_token_does_not_cost_a_login_each_time() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/copy" => (401, String::new()),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let top = root(&provider);
    for _ in 0..5 {
        listed(&provider).await;
        provider.copy_file(&FileId::new("1"), &top).await.unwrap_err();
    }
    listed(&provider).await;
    assert_eq!(host.calls("authorize").len(), 2);
}

#[tokio::test]
async fn an_unknown_user_is_a_dead_token_but_at_a_login() {
    let unknown = || {
        (
            200,
            json!({"message": "Username could not be found.", "result": false}).to_string(),
        )
    };
    let host = ScriptedHost::start(move |call, _, before| match call {
        "folder/listing" if before == 1 => unknown(),
        "authorize" if before == 2 => unknown(),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    listed(&provider).await;
    listed(&provider).await;
    assert_eq!(host.calls("authorize").len(), 2);
    host.expire();
    for _ in 0..2 {
        let failure = provider
            .list(&root(&provider), ListHint::default())
            .await
            .unwrap_err();
        assert_eq!(failure.kind, ErrorKind::LoginRefused, "{failure}");
    }
    assert_eq!(host.calls("authorize").len(), 3);
}

#[tokio::test]
async fn a_login_refused_in_any_words_is_not_repeated() {
    for answer in [
        error("Invalid username or password."),
        error("Zugang verweigert."),
        error("Too many failed logins."),
        (403, json!({"message": "Nope."}).to_string()),
        (200, json!({"_status": "failed", "response": "Nope."}).to_string()),
    ] {
        let told = answer.clone();
        let host = ScriptedHost::start(move |call, _, _| match call {
            "authorize" => told.clone(),
            _ => as_usual(),
        })
        .await;
        let provider = host.provider();
        for _ in 0..3 {
            let failure = provider
                .list(&root(&provider), ListHint::default())
                .await
                .unwrap_err();
            assert_eq!(
                (failure.kind, failure.retry),
                (ErrorKind::LoginRefused, Retry::Never),
                "{answer:?}: {failure}"
            );
        }
        assert_eq!(host.calls("authorize").len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn refused_credentials_are_tried_again_only_when_a_person_asks_and_then_rarely() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "authorize" => error(
            "Could not authenticate user. The key pair may be invalid or your account may be locked from too \
             many failed logins.",
        ),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    for logins in [1, 2, 2, 2] {
        let failure = provider.account_info().await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.retry),
            (ErrorKind::LoginRefused, Retry::Never),
            "{failure}"
        );
        assert_eq!(host.calls("authorize").len(), logins);
    }
}

#[tokio::test]
async fn a_token_that_could_not_be_issued_may_be_asked_for_again() {
    let host = ScriptedHost::start(|call, _, before| match call {
        "authorize" if before == 0 => error("Failed issuing access token."),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let failure = provider
        .list(&root(&provider), ListHint::default())
        .await
        .unwrap_err();
    assert_eq!(
        (failure.kind, failure.retry),
        (ErrorKind::Unavailable, Retry::AfterWait(None))
    );
    listed(&provider).await;
}

#[tokio::test]
async fn keys_and_addresses_that_cannot_be_right_are_refused_without_a_call() {
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let client = || ApiClient::new(ApiOptions::default()).unwrap();
    let short = Settings {
        credentials: Credentials::Keys {
            key1: KEY1.into(),
            key2: "hunter2".into(),
        },
        ..host.settings()
    };
    assert!(!format!("{short:?}").contains("hunter2"));
    let failure = YetiShare::new(short, client()).unwrap_err();
    assert!(
        failure
            .message
            .starts_with("key2 must have exactly 64 characters"),
        "{failure}"
    );
    assert!(!failure.to_string().contains("hunter2"));
    let plain = Settings {
        base_url: "http://example.org/api/v2/".parse().unwrap(),
        ..host.settings()
    };
    YetiShare::new(plain, client()).unwrap_err();
    assert!(host.names().is_empty());
}

#[tokio::test]
async fn secrets_are_never_in_a_url_nor_in_a_shown_value() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|call, _, _| match call {
        "file/upload" => ok(uploaded("1")),
        _ => as_usual(),
    })
    .await;
    for credentials in [
        Credentials::Keys {
            key1: KEY1.into(),
            key2: KEY2.into(),
        },
        Credentials::Password {
            username: "me".to_owned(),
            password: "hunter2".into(),
        },
    ] {
        let settings = Settings {
            credentials,
            token_dir: Some(place.path().join("tokens")),
            ..host.settings()
        };
        let shown = format!("{settings:?}");
        for secret in [KEY1, KEY2, "hunter2"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let provider = host.provider_with(settings);
        provider.account_info().await.unwrap();
        upload(&provider, "0", 10).await.unwrap();
        provider
            .delete(&[file_item("1")], DeleteMode::Trash)
            .await
            .unwrap_err();
        provider.close().await;
    }
    assert_eq!(host.faults(), Vec::<String>::new());
    let logins = host.calls("authorize");
    assert_eq!(
        (logins[0]["key1"].as_str(), logins[0]["key2"].as_str()),
        (KEY1, KEY2)
    );
    assert_eq!(
        (logins[1]["username"].as_str(), logins[1]["password"].as_str()),
        ("me", "hunter2")
    );
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_costs_one_login_and_no_call() {
    use std::os::unix::fs::PermissionsExt;

    let place = tempfile::tempdir().unwrap();
    let tokens = place.path().join("tokens");
    let spoil_token = || {
        let kept = std::fs::read_dir(&tokens).unwrap();
        let token = kept
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().unwrap() == "token")
            .unwrap();
        std::fs::remove_file(&token).unwrap();
        std::fs::create_dir(&token).unwrap();
    };
    let open_to_all = || std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o755)).unwrap();
    let take_away = || {
        std::fs::remove_dir_all(&tokens).unwrap();
        std::fs::write(&tokens, "in its place").unwrap();
    };
    for spoil in [&spoil_token as &dyn Fn(), &open_to_all, &take_away] {
        let host = ScriptedHost::start(|_, _, _| as_usual()).await;
        let provider = sharing(&host, place.path());
        // It makes the files.
        listed(&provider).await;
        spoil();
        host.expire();
        for _ in 0..3 {
            listed(&provider).await;
        }
        assert_eq!(host.calls("authorize").len(), 2);
        provider.close().await;
        assert_eq!(host.calls("disable_access_token")[0]["access_token"], "token1");
        if tokens.is_dir() {
            std::fs::remove_dir_all(&tokens).unwrap();
        }
    }
    // It was never there, and cannot be made.
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let provider = sharing(&host, place.path());
    listed(&provider).await;
    listed(&provider).await;
    assert_eq!(host.calls("authorize").len(), 1);
}
