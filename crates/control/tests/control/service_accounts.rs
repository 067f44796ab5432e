use doorward_control::service_accounts::ServiceAccountError;
use doorward_core::account::UniqueId;
use doorward_core::snapshot::AccountKind;
use doorward_wire::google_api::{CreateKeyRequest, CreateServiceAccountRequest, NewServiceAccount};
use doorward_wire::jose::{Algorithm, SigningKey};
use serde_json::json;

use crate::{START, Stack, cause, named};

const ROBOT: &str = "robot1@dev-project.iam.gserviceaccount.com";

#[tokio::test]
async fn a_new_account_is_known_at_once_and_found_by_address_number_and_every_name_of_its_project() {
    let stack = Stack::new().await;
    let request = CreateServiceAccountRequest {
        account_id: "robot1".to_owned(),
        service_account: NewServiceAccount { display_name: "Robot".to_owned(), description: "Beeps.".to_owned() },
    };
    let made = stack.accounts.create(&stack.admin, "123", request).await.unwrap();
    assert_eq!((made.email.as_str(), made.unique_id.0.len()), (ROBOT, 21));
    assert_eq!((made.display_name.as_str(), made.description.as_str(), made.disabled), ("Robot", "Beeps.", false));
    let snapshot = stack.publisher.cell().current();
    let known = snapshot.account(&made.unique_id).unwrap();
    assert_eq!((known.email.as_str(), known.kind), (ROBOT, AccountKind::ServiceAccount));

    let number = made.unique_id.0.as_str();
    #[rustfmt::skip]
    let cases = [
        ("dev-project", ROBOT,                                         true),
        ("123",         "Robot1@dev-project.iam.gserviceaccount.com",  true),
        ("-",           number,                                        true),
        ("-",           ROBOT,                                         true),
        ("other",       ROBOT,                                         false),
        ("",            ROBOT,                                         false),
        ("dev-project", "robot2@dev-project.iam.gserviceaccount.com",  false),
        ("dev-project", "robot1",                                      false),
        ("dev-project", "1",                                           false),
        ("dev-project", "",                                            false),
    ];
    for (project, name, found) in cases {
        let got = stack.accounts.get(&stack.admin, project, name).await;
        match got {
            Ok(account) => assert!(found && account == made, "{project}/{name}"),
            Err(error) => assert!(!found && cause(&error) == "NotFound", "{project}/{name}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn what_cannot_be_an_account_is_refused() {
    let stack = Stack::new().await;
    stack.create_account("robot1").await;
    let with = |id: &str, name: usize, description: usize| CreateServiceAccountRequest {
        account_id: id.to_owned(),
        service_account: NewServiceAccount { display_name: "n".repeat(name), description: "d".repeat(description) },
    };
    #[rustfmt::skip]
    let cases = [
        ("dev-project", with("robot1", 0, 0),     "AlreadyExists"),
        ("dev-project", with("Robot2", 0, 0),     "AccountIdMalformed"),
        ("dev-project", with("robo", 0, 0),       "AccountIdMalformed"),
        ("dev-project", with("robot2", 101, 0),   "TextTooLong"),
        ("dev-project", with("robot2", 0, 257),   "TextTooLong"),
        ("other",       with("robot2", 0, 0),     "NotFound"),
        ("dev-project", with("robot2", 100, 256), ""),
    ];
    for (project, request, expected) in cases {
        let shown = format!("{project} {request:?}");
        let error = stack.accounts.create(&stack.admin, project, request).await.err();
        assert_eq!(error.as_ref().map(cause).unwrap_or_default(), expected, "{shown}");
    }
}

#[tokio::test]
async fn pages_hold_every_account_once_in_order() {
    let stack = Stack::new().await;
    for id in ["robot3", "robot1", "robot5", "robot2", "robot4"] {
        stack.create_account(id).await;
    }
    let list = async |size, token: Option<String>| {
        let page = stack.accounts.list(&stack.admin, "dev-project", size, token.as_deref()).await.unwrap();
        let ids = page.accounts.iter().map(|a| a.email.as_str()[..6].to_owned()).collect::<Vec<_>>();
        (ids.join(" "), page.next_page_token)
    };
    let (first, token) = list(Some(2), None).await;
    let (second, token) = list(Some(2), token).await;
    let (third, end) = list(Some(2), token).await;
    assert_eq!([first.as_str(), &second, &third], ["robot1 robot2", "robot3 robot4", "robot5"]);
    assert_eq!(end, None);
    let all = "robot1 robot2 robot3 robot4 robot5".to_owned();
    assert_eq!(list(Some(5), None).await, (all.clone(), None), "a full last page has no successor");
    assert_eq!(list(Some(0), Some(String::new())).await, (all.clone(), None));
    assert_eq!(list(Some(u32::MAX), None).await, (all, None));
    for token in ["!", "AA", "bm9ib2R5"] {
        let error = stack.accounts.list(&stack.admin, "-", None, Some(token)).await.unwrap_err();
        assert_eq!(cause(&error), "BadPageToken", "{token}");
    }
}

#[tokio::test]
async fn a_key_file_has_googles_fields_and_its_private_key_is_the_half_of_the_key_that_is_kept() {
    let stack = Stack::new().await;
    let account = stack.create_account("robot1").await;
    let made = stack.accounts.create_key(&stack.admin, "-", ROBOT, &CreateKeyRequest::default()).await.unwrap();
    let file = serde_json::to_value(&made.file).unwrap();
    let pem = made.file.private_key.as_str();
    let expected = json!({
        "type": "service_account",
        "project_id": "dev-project",
        "private_key_id": made.key.id,
        "private_key": pem,
        "client_email": ROBOT,
        "client_id": account.unique_id.0,
        "auth_uri": "http://api/accounts.google.com/o/oauth2/auth",
        "token_uri": "http://127.0.0.1:8081/oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "http://api/www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url":
            "http://api/www.googleapis.com/robot/v1/metadata/x509/robot1%40dev-project.iam.gserviceaccount.com",
        "universe_domain": "googleapis.com",
    });
    assert_eq!(file, expected);
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && pem.ends_with("\n-----END PRIVATE KEY-----\n"));
    assert!(!pem.contains('\r') && pem.lines().all(|line| line.len() <= 64));
    let signing = SigningKey::from_pkcs8_pem(&made.key.id, Algorithm::Rs256, pem).unwrap();
    assert_eq!(signing.public_jwk(), made.key.public);
    assert_eq!((made.key.id.len(), made.key.created.seconds()), (40, START));
    assert!(made.key.id.bytes().all(|byte| byte.is_ascii_hexdigit()));

    let listed = stack.accounts.list_keys(&stack.admin, "-", &account.unique_id.0).await.unwrap();
    assert_eq!((listed.account, listed.keys), (account, vec![made.key]));
}

#[tokio::test]
async fn a_key_of_another_kind_or_of_nobody_is_not_made() {
    let stack = Stack::new().await;
    stack.create_account("robot1").await;
    let kind = |file: Option<&str>, algorithm: Option<&str>| CreateKeyRequest {
        private_key_type: file.map(str::to_owned),
        key_algorithm: algorithm.map(str::to_owned),
    };
    #[rustfmt::skip]
    let cases = [
        (ROBOT,                kind(Some("TYPE_PKCS12_FILE"), None),                                       "UnsupportedKeyType"),
        (ROBOT,                kind(None, Some("KEY_ALG_RSA_1024")),                                       "UnsupportedKeyType"),
        (ROBOT,                kind(Some(""), None),                                                       "UnsupportedKeyType"),
        ("nobody@example.com", kind(None, None),                                                           "NotFound"),
        (ROBOT,                kind(Some("TYPE_GOOGLE_CREDENTIALS_FILE"), Some("KEY_ALG_RSA_2048")),       ""),
    ];
    for (account, request, expected) in cases {
        let error = stack.accounts.create_key(&stack.admin, "-", account, &request).await.err();
        assert_eq!(error.as_ref().map(cause).unwrap_or_default(), expected, "{account} {request:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_has_ten_keys_at_most_and_a_deleted_one_makes_room() {
    let stack = Stack::new().await;
    stack.create_account("robot1").await;
    let create = async || stack.accounts.create_key(&stack.admin, "-", ROBOT, &CreateKeyRequest::default()).await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(create().await.unwrap().key.id);
    }
    assert!(matches!(create().await, Err(ServiceAccountError::KeyLimit)));
    stack.accounts.delete_key(&stack.admin, "-", ROBOT, &ids[0]).await.unwrap();
    let again = stack.accounts.delete_key(&stack.admin, "-", ROBOT, &ids[0]).await.unwrap_err();
    assert_eq!(cause(&again), "KeyNotFound");
    create().await.unwrap();
}

#[tokio::test]
async fn a_key_is_deleted_only_under_the_account_whose_it_is() {
    let stack = Stack::new().await;
    stack.create_account("robot1").await;
    let other = stack.create_account("robot2").await;
    let key = stack.accounts.create_key(&stack.admin, "-", ROBOT, &CreateKeyRequest::default()).await.unwrap().key;
    let error = stack.accounts.delete_key(&stack.admin, "-", other.email.as_str(), &key.id).await.unwrap_err();
    assert_eq!(cause(&error), "KeyNotFound");
    assert_eq!(stack.accounts.list_keys(&stack.admin, "-", ROBOT).await.unwrap().keys, [key]);
}

#[tokio::test]
async fn a_deleted_account_is_unknown_at_once_and_its_successor_has_another_number() {
    let stack = Stack::new().await;
    let account = stack.create_account("robot1").await;
    stack.accounts.delete(&stack.admin, "-", ROBOT).await.unwrap();
    let known = |id: &UniqueId| stack.publisher.cell().current().account(id).is_some();
    assert!(!known(&account.unique_id));
    assert_eq!(cause(&stack.accounts.delete(&stack.admin, "-", ROBOT).await.unwrap_err()), "NotFound");
    let successor = stack.accounts.create(&stack.admin, "-", named("robot1")).await.unwrap();
    assert_ne!(successor.unique_id, account.unique_id);
    assert!(known(&successor.unique_id) && !known(&account.unique_id));
}
