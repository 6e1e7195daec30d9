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
async fn a_token_that_dies_at_once_costs_no_second_replay() {
    let host = ScriptedHost::start(|call, _, _| match call {
        "folder/listing" => error("Could not validate access_token, please reauthenticate or try again."),
        _ => as_usual(),
    })
    .await;
    let provider = host.provider();
    let failure = provider
        .list(&root(&provider), ListHint::default())
        .await
        .unwrap_err();
    assert_eq!(failure.retry, Retry::AfterLogin, "{failure}");
    assert_eq!(host.calls("authorize").len(), 2);
    assert_eq!(host.calls("folder/listing").len(), 2);
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
async fn a_kept_token_that_cannot_be_read_is_no_reason_to_log_in() {
    let place = tempfile::tempdir().unwrap();
    let host = ScriptedHost::start(|_, _, _| as_usual()).await;
    let provider = sharing(&host, place.path());
    // It makes the files.
    listed(&provider).await;
    let tokens = place.path().join("tokens");
    let kept = std::fs::read_dir(&tokens)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let token = kept
        .into_iter()
        .find(|path| path.extension().unwrap() == "token")
        .unwrap();
    std::fs::remove_file(&token).unwrap();
    std::fs::create_dir(&token).unwrap();
    host.expire();
    let failure = provider
        .list(&root(&provider), ListHint::default())
        .await
        .unwrap_err();
    assert!(failure.to_string().contains("token"), "{failure}");
    assert_eq!(host.calls("authorize").len(), 1, "it may be alive");
}
