use doorward_control::oauth_clients::CLIENTS_LIMIT;
use doorward_core::client::ClientKind;
use doorward_core::grant::TokenHash;
use serde_json::json;

use crate::people::kinds;
use crate::{Stack, cause};

fn web(uris: &[&str]) -> ClientKind {
    ClientKind::Web { redirect_uris: uris.iter().map(|uri| (*uri).to_owned()).collect() }
}

#[tokio::test]
async fn a_new_client_has_googles_form_of_id_and_its_secret_is_shown_once() {
    let stack = Stack::new().await;
    let made = stack.clients.create(&stack.admin, "My client", Ok(web(&["https://a.example/cb"]))).await.unwrap();
    let (id, secret) = (made.client.id.0.clone(), made.secret.unwrap());
    let random = id.strip_prefix("123-").unwrap().strip_suffix(".apps.googleusercontent.com").unwrap();
    assert!(random.len() == 32 && random.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
    assert_eq!(secret.strip_prefix("doorward_cs_").unwrap().len(), 43);
    assert_eq!(made.client.secret, Some(TokenHash::of(&secret)));
    assert_eq!((made.client.project.as_str(), made.client.created), ("123", stack.now()));
    assert_eq!(stack.clients.get(&stack.admin, &id).await.unwrap(), made.client);

    let android = stack.android().await;
    assert_eq!(android.secret, None, "what is shipped to phones has none");
    let mut ids = vec![id, android.id, stack.desktop().await.id];
    ids.sort();
    let listed = stack.clients.list(&stack.admin).await.unwrap();
    assert_eq!(listed.into_iter().map(|client| client.id.0).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn a_client_that_could_not_be_shown_or_restricted_is_not_made() {
    let stack = Stack::new().await;
    let good = || web(&["https://a.example/cb"]);
    let many: Vec<String> = (0..101).map(|number| format!("https://a.example/{number}")).collect();
    let sha1 = || vec!["0a"; 20].join(":");
    let android = |package: &str, sha1: String| ClientKind::Android { package: package.to_owned(), sha1 };
    #[rustfmt::skip]
    let cases = [
        ("Name",            good(),                                              ""),
        (&"n".repeat(100),  good(),                                              ""),
        (&"n".repeat(101),  good(),                                              "DisplayName"),
        ("",                good(),                                              "DisplayName"),
        ("   ",             good(),                                              "DisplayName"),
        ("a\nb",            good(),                                              "DisplayName"),
        ("Name",            web(&[]),                                            "Restriction"),
        ("Name",            web(&["http://a.example/cb"]),                       "Restriction"),
        ("Name",            web(&["https://a.example/cb#x"]),                    "Restriction"),
        ("Name",            ClientKind::Web { redirect_uris: many },             "TooManyRedirectUris"),
        ("Name",            android("com.example.app", sha1()),                  ""),
        ("Name",            android("app", sha1()),                              "Restriction"),
        ("Name",            android("com.example.app", "0a:0b".to_owned()),      "Restriction"),
        ("Name",            ClientKind::Ios { bundle_id: "x y.z".to_owned() },   "Restriction"),
    ];
    for (row, (name, kind, expected)) in cases.into_iter().enumerate() {
        let outcome = stack.clients.create(&stack.admin, name, Ok(kind)).await;
        assert_eq!(outcome.err().as_ref().map(cause).unwrap_or_default(), expected, "row {row}");
    }
}

#[tokio::test]
async fn a_reset_secret_ends_the_old_one_and_nothing_else() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let client = stack.desktop().await;
    let refresh = stack.tokens_for(&client, &alice).await.refresh.unwrap();
    let made = stack.clients.reset_secret(&stack.admin, &client.id).await.unwrap();
    assert_eq!(kinds(&stack.refresh(client.refreshes(&refresh)).await), "ClientSecret");
    let mut renewed = client.clone();
    renewed.secret = made.secret;
    assert_ne!(renewed.secret, client.secret);
    assert_eq!(kinds(&stack.refresh(renewed.refreshes(&refresh)).await), "access id");

    let android = stack.android().await;
    assert_eq!(cause(&stack.clients.reset_secret(&stack.admin, &android.id).await.err().unwrap()), "Public");
    for nobody in ["", "nobody"] {
        assert_eq!(cause(&stack.clients.reset_secret(&stack.admin, nobody).await.err().unwrap()), "NotFound");
        assert_eq!(cause(&stack.clients.get(&stack.admin, nobody).await.unwrap_err()), "NotFound");
        assert_eq!(cause(&stack.clients.delete(&stack.admin, nobody).await.unwrap_err()), "NotFound");
    }
    stack.clients.delete(&stack.admin, &android.id).await.unwrap();
    assert_eq!(cause(&stack.clients.get(&stack.admin, &android.id).await.unwrap_err()), "NotFound");
}

#[tokio::test]
async fn a_client_that_an_application_has_is_not_deleted() {
    let stack = Stack::new().await;
    let made = stack.register(json!({"name": "wiki", "hosts": [], "upstreams": []})).await.unwrap();
    let id = made["clientId"].as_str().unwrap();
    let refused = stack.clients.delete(&stack.admin, id).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("client {id} is that of application wiki"));
    assert_eq!(stack.admin_events().last().unwrap().message, refused.to_string());
    assert_eq!(stack.clients.get(&stack.admin, id).await.unwrap().id.0, id);
    stack.applications().delete(&stack.admin, "wiki", None).await.unwrap();
    stack.clients.delete(&stack.admin, id).await.unwrap();
}

#[tokio::test]
async fn there_are_only_so_many_clients_that_no_application_has() {
    let stack = Stack::new().await;
    let kind = || web(&["https://a.example/cb"]);
    let there = stack.clients.list(&stack.admin).await.unwrap().len();
    let mut last = String::new();
    for _ in there..CLIENTS_LIMIT {
        last = stack.clients.create(&stack.admin, "Name", Ok(kind())).await.unwrap().client.id.0;
    }
    let more = stack.clients.create(&stack.admin, "Name", Ok(kind())).await;
    assert_eq!(more.err().map(|error| cause(&error)).as_deref(), Some("TooMany"));
    stack.clients.delete(&stack.admin, &last).await.unwrap();
    assert!(stack.clients.create(&stack.admin, "Name", Ok(kind())).await.is_ok());
}
