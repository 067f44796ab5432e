use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use doorward_control::sign_in::{NewSession, SignInError, Visitor, hash_password};
use doorward_core::account::{PasswordHash, UniqueId};
use doorward_core::audit::TokenMethod;
use doorward_core::entropy::SeededEntropy;
use doorward_core::grant::TokenHash;

use crate::{PEER, Stack, cause};

const PASSWORD: &str = "correct horse";
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 8));

/// Made once: it takes its time.
static HASH: LazyLock<PasswordHash> = LazyLock::new(|| hash_password(PASSWORD, &SeededEntropy::default()).unwrap());

fn browser(cookie: Option<&str>) -> Visitor<'_> {
    Visitor { cookie, peer: PEER.into() }
}

impl Stack {
    async fn add_with_password(&self, email: &str, disabled: bool) -> UniqueId {
        let id = self.add_user(email, disabled).await;
        assert!(self.store.set_password(&id, &HASH).await.unwrap());
        id
    }

    async fn try_password(&self, email: &str, password: &str, peer: IpAddr) -> String {
        let visitor = Visitor { cookie: None, peer: peer.into() };
        let outcome = self.sign_in.with_password(visitor, email, password).await;
        outcome.map_or_else(|error| cause(&error), |session| session.person.email().to_string())
    }

    async fn enter(&self, cookie: Option<&str>, email: &str) -> Result<NewSession, SignInError> {
        self.sign_in.with_password(browser(cookie), email, PASSWORD).await
    }

    /// The names of those who are signed in, latest first.
    async fn names(&self, visitor: Visitor<'_>) -> String {
        let people = self.sign_in.people(visitor).await.unwrap();
        let names: Vec<_> = people.iter().map(|person| person.email().as_str().split('@').next().unwrap()).collect();
        names.join(" ")
    }
}

#[tokio::test]
async fn an_address_in_any_spelling_and_its_password_sign_in_and_all_else_looks_the_same() {
    let stack = Stack::new().await;
    stack.add_with_password("alice@example.com", false).await;
    stack.add_with_password("gone@example.com", true).await;
    stack.add_person("bob").await;
    let robot = stack.create_account("robot1").await.email;
    let long = "x".repeat(1025);
    // (address, password) => who, and the account in the record
    #[rustfmt::skip]
    let cases = [
        ("alice@example.com",   PASSWORD,        "alice@example.com", "alice@example.com"),
        (" Alice@Example.COM ", PASSWORD,        "alice@example.com", "alice@example.com"),
        ("alice@example.com",   "Correct horse", "Rejected",          "alice@example.com"),
        ("alice@example.com",   "",              "Rejected",          "alice@example.com"),
        ("alice@example.com",   &long,           "Rejected",          "alice@example.com"),
        ("bob@example.com",     PASSWORD,        "Rejected",          "bob@example.com"),
        ("bob@example.com",     "",              "Rejected",          "bob@example.com"),
        ("nobody@example.com",  PASSWORD,        "Rejected",          "nobody@example.com"),
        ("gone@example.com",    PASSWORD,        "Rejected",          "gone@example.com"),
        (robot.as_str(),        PASSWORD,        "Rejected",          robot.as_str()),
        // It may be a password, in the wrong field.
        ("correct horse",       "",              "Rejected",          ""),
        ("",                    "",              "Rejected",          ""),
    ];
    for (row, (email, password, expected, recorded)) in cases.into_iter().enumerate() {
        assert_eq!(stack.try_password(email, password, PEER).await, expected, "row {row}");
        let event = stack.last_event();
        let account = event.account.as_deref().unwrap_or_default();
        assert_eq!((event.method, account), (TokenMethod::SignIn, recorded), "row {row}");
        let reason = if expected == "Rejected" { "wrong_password" } else { "" };
        assert_eq!(stack.last_reason(), reason, "row {row}");
        assert_eq!(event.issued.as_deref(), reason.is_empty().then_some("session"), "row {row}");
        assert_eq!(event.peer, Some(PEER.to_string()));
    }
    let recorded = serde_json::to_string(&stack.audit.events()).unwrap().to_lowercase();
    assert!(!recorded.contains(PASSWORD));
}

#[tokio::test]
async fn a_guesser_is_slowed_whatever_the_spelling_and_others_are_not_locked_out() {
    let stack = Stack::new().await;
    stack.add_with_password("alice@example.com", false).await;
    stack.add_with_password("bob@example.com", false).await;
    let spellings =
        ["alice@example.com", "ALICE@example.com", " alice@example.com", "alice@EXAMPLE.com\t", "Alice@Example.Com"];
    for email in spellings {
        assert_eq!(stack.try_password(email, "guess", PEER).await, "Rejected");
    }
    for email in spellings {
        assert_eq!(stack.try_password(email, PASSWORD, PEER).await, "Throttled", "not even the right one is looked at");
        assert_eq!(stack.last_reason(), "throttled");
    }
    assert_eq!(stack.try_password("alice@example.com", PASSWORD, ELSEWHERE).await, "alice@example.com");
    assert_eq!(stack.try_password("bob@example.com", PASSWORD, PEER).await, "bob@example.com");
    assert_eq!(
        stack.try_password("alice@example.com", PASSWORD, PEER).await,
        "Throttled",
        "an own account is no way round"
    );
    stack.clock.advance(Duration::from_secs(1));
    assert_eq!(stack.try_password("alice@example.com", PASSWORD, PEER).await, "alice@example.com");
    assert_eq!(stack.try_password("alice@example.com", "guess", PEER).await, "Rejected", "and it counts anew");
    for _ in 0..5 {
        assert_eq!(stack.try_password("nobody@example.com", "guess", PEER).await, "Rejected");
    }
    assert_eq!(stack.try_password("nobody@example.com", "guess", PEER).await, "Throttled", "as if there were one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_guesses_at_once_is_let_in_only_by_the_few() {
    let stack = std::sync::Arc::new(Stack::new().await);
    stack.add_with_password("alice@example.com", false).await;
    let guesses: Vec<_> = (0..30)
        .map(|_| {
            let stack = stack.clone();
            tokio::spawn(async move { stack.try_password("alice@example.com", "guess", PEER).await })
        })
        .collect();
    let mut looked_at = 0;
    for guess in guesses {
        looked_at += u32::from(guess.await.unwrap() == "Rejected");
    }
    // Five are free, and one more may have had its turn at the desk beside the fifth.
    assert!((5..=6).contains(&looked_at), "{looked_at}");
}

#[tokio::test]
async fn a_sign_in_makes_a_new_session_and_keeps_whoever_was_there() {
    let stack = Stack::new().await;
    let alice = stack.add_with_password("alice@example.com", false).await;
    stack.add_with_password("bob@example.com", false).await;
    // Planted by somebody before the sign-in.
    let planted = "planted";
    let first = stack.enter(Some(planted), "alice@example.com").await.unwrap();
    assert_eq!((first.cookie.len(), first.person.subject()), (43, &alice));
    assert_eq!(first.person.auth_time(), stack.now());
    assert_eq!(stack.names(browser(Some(planted))).await, "");
    assert_eq!(stack.names(browser(Some(&first.cookie))).await, "alice");

    stack.clock.advance(Duration::from_secs(60));
    let second = stack.enter(Some(&first.cookie), "bob@example.com").await.unwrap();
    assert_ne!(second.cookie, first.cookie);
    assert_eq!(stack.names(browser(Some(&first.cookie))).await, "", "the old one is worth nothing");
    assert_eq!(stack.names(browser(Some(&second.cookie))).await, "bob alice");
    let again = stack.enter(Some(&second.cookie), "alice@example.com").await.unwrap();
    assert_eq!(stack.names(browser(Some(&again.cookie))).await, "alice bob");
    let person = stack.sign_in.person(browser(Some(&again.cookie)), &alice).await.unwrap().unwrap();
    assert_eq!(person.auth_time(), stack.now(), "the newer proof counts");
    let separate = stack.enter(None, "bob@example.com").await.unwrap();
    assert_eq!(stack.names(browser(Some(&separate.cookie))).await, "bob");

    // A wrong password changes nothing.
    let wrong = stack.sign_in.with_password(browser(Some(&again.cookie)), "bob@example.com", "guess").await;
    assert!(wrong.is_err());
    assert_eq!(stack.names(browser(Some(&again.cookie))).await, "alice bob");
    stack.sign_in.sign_out(browser(Some(&again.cookie))).await.unwrap();
    assert_eq!(stack.last_event().issued.as_deref(), Some("sign_out"));
    for cookie in [Some(again.cookie.as_str()), None, Some(""), Some(&TokenHash::of(&separate.cookie).0)] {
        assert_eq!(stack.names(browser(cookie)).await, "", "{cookie:?}");
        stack.sign_in.sign_out(browser(cookie)).await.unwrap();
    }
    assert_eq!(stack.names(browser(Some(&separate.cookie))).await, "bob");
}

#[tokio::test]
async fn a_session_ends_after_two_weeks_and_no_proof_in_it_is_older() {
    let stack = Stack::new().await;
    stack.add_with_password("alice@example.com", false).await;
    stack.add_with_password("bob@example.com", false).await;
    let day = Duration::from_secs(24 * 3600);
    let first = stack.enter(None, "alice@example.com").await.unwrap();
    stack.clock.advance(day * 13);
    let second = stack.enter(Some(&first.cookie), "bob@example.com").await.unwrap();
    assert_eq!(stack.names(browser(Some(&second.cookie))).await, "bob alice");
    stack.clock.advance(day * 2);
    let third = stack.enter(Some(&second.cookie), "bob@example.com").await.unwrap();
    assert_eq!(stack.names(browser(Some(&third.cookie))).await, "bob", "alice's proof is older");
    stack.clock.advance(day * 14);
    assert_eq!(stack.names(browser(Some(&third.cookie))).await, "");
}

#[tokio::test]
async fn disabled_and_removed_people_are_not_signed_in() {
    let stack = Stack::new().await;
    let alice = stack.add_person("alice").await;
    let gone = stack.add_user("gone@example.com", true).await;
    let robot = stack.create_account("robot1").await.unique_id;
    let cookie = stack.signed_in(&[&gone, &UniqueId("999".to_owned()), &robot, &alice], false).await;
    assert_eq!(stack.names(browser(Some(&cookie))).await, "alice");
    assert_eq!(stack.sign_in.person(browser(Some(&cookie)), &gone).await.unwrap(), None);
    assert!(stack.sign_in.person(browser(Some(&cookie)), &alice).await.unwrap().is_some());
}

#[tokio::test]
async fn a_ready_made_session_serves_this_machine_only_and_stays() {
    let stack = Stack::new().await;
    let alice = stack.add_person("alice").await;
    stack.add_with_password("bob@example.com", false).await;
    let cookie = stack.signed_in(&[&alice], true).await;
    #[rustfmt::skip]
    let peers = [
        ("127.0.0.1",        "alice"),
        ("127.8.9.10",       "alice"),
        ("::1",              "alice"),
        ("::ffff:127.0.0.1", "alice"),
        ("192.0.2.7",        ""),
        ("::ffff:192.0.2.7", ""),
        ("::",               ""),
        ("0.0.0.0",          ""),
    ];
    for (peer, expected) in peers {
        let visitor = Visitor { cookie: Some(&cookie), peer: peer.parse::<std::net::IpAddr>().unwrap().into() };
        assert_eq!(stack.names(visitor).await, expected, "{peer}");
    }
    // A stranger with the cookie can neither take it over nor end it.
    stack.sign_in.sign_out(browser(Some(&cookie))).await.unwrap();
    let taken = stack.enter(Some(&cookie), "bob@example.com").await.unwrap();
    assert_eq!(stack.names(browser(Some(&taken.cookie))).await, "bob");
    let here = Visitor { cookie: Some(&cookie), peer: std::net::IpAddr::from([127, 0, 0, 1]).into() };
    assert_eq!(stack.names(here).await, "alice");

    let both = stack.sign_in.with_password(here, "bob@example.com", PASSWORD).await.unwrap();
    assert_eq!(stack.names(Visitor { cookie: Some(&both.cookie), ..here }).await, "bob alice");
    assert_eq!(stack.names(browser(Some(&both.cookie))).await, "", "what it holds was not proven by a password");
    assert_eq!(stack.names(here).await, "alice", "it stays for the next test");
}
