use std::sync::Arc;
use std::time::Duration;

use doorward_control::issuer_keys::CachedIssuerKeys;
use doorward_core::clock::{ManualClock, Timestamp};
use doorward_core::outbound::{FetchError, IssuerKeys, KeySource, Reach};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{ELSEWHERE, Key, Web, key_document, settle};
use crate::{START, cause};

const DISCOVERY: &str = "https://token.ci.example/.well-known/openid-configuration";
const JWKS: &str = "https://token.ci.example/jwks";

struct Cache {
    web: Arc<Web>,
    clock: Arc<ManualClock>,
    keys: Arc<CachedIssuerKeys>,
    key: Key,
}

impl Cache {
    /// An issuer that publishes `k1`, good for this long.
    fn new(max_age: Option<u64>) -> Self {
        let (web, key) = (Web::new(), Key::es256("k1"));
        web.publish(ELSEWHERE, &[&key], max_age);
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(START)));
        let keys = Arc::new(CachedIssuerKeys::new(web.clone(), clock.clone(), Handle::current()));
        Cache { web, clock, keys, key }
    }

    /// Which key id is found, or the cause of there being no keys.
    async fn ask(&self, kid: &str) -> String {
        match self.keys.keys(&source(), kid).await {
            Ok(keys) => found(keys.find(kid).is_some()).to_owned(),
            Err(error) => cause(&error),
        }
    }

    fn at_hand(&self, kid: &str) -> bool {
        self.keys.at_hand(&source(), kid).is_some()
    }

    fn at(&self, seconds: i64) {
        self.clock.set(Timestamp::from_seconds(START + seconds));
    }

    fn lose(&self) {
        self.web.fail(DISCOVERY, FetchError::TooSlow);
    }
}

fn found(found: bool) -> &'static str {
    if found { "found" } else { "not there" }
}

fn source() -> KeySource {
    KeySource { entry: "entry".to_owned(), issuer: ELSEWHERE.to_owned(), inline: None, reach: Reach::Public }
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_fetch_which_goes_on_without_them() {
    let cache = Cache::new(None);
    cache.web.close();
    let ask = |kid: &'static str| {
        let keys = cache.keys.clone();
        tokio::spawn(async move { keys.keys(&source(), kid).await.map(|keys| keys.find(kid).is_some()) })
    };
    let gone = ask("k1");
    settle().await;
    let askers: Vec<_> = (0..20).map(|n| ask(if n % 2 == 0 { "k1" } else { "k2" })).collect();
    settle().await;
    gone.abort();
    assert!(!cache.at_hand("k1"));
    cache.web.open();
    for (n, asker) in askers.into_iter().enumerate() {
        assert_eq!(asker.await.unwrap(), Ok(n % 2 == 0));
    }
    assert_eq!(cache.web.asked(), [&DISCOVERY[8..], &JWKS[8..]]);
    assert!(cache.at_hand("k1") && !cache.at_hand("k2"));

    let alone = Cache::new(None);
    alone.web.close();
    let keys = alone.keys.clone();
    let gone = tokio::spawn(async move { keys.keys(&source(), "k1").await.is_ok() });
    settle().await;
    gone.abort();
    alone.web.open();
    settle().await;
    assert!(alone.at_hand("k1"), "nobody waited for it to the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_several_threads_too_there_is_one_fetch() {
    for _ in 0..50 {
        let cache = Cache::new(None);
        let askers: Vec<_> = (0..32)
            .map(|_| {
                let keys = cache.keys.clone();
                tokio::spawn(async move { keys.keys(&source(), "k1").await.is_ok() })
            })
            .collect();
        for asker in askers {
            assert!(asker.await.unwrap());
        }
        assert_eq!(cache.web.fetches(), 1);
    }
}

#[tokio::test]
async fn keys_live_as_long_as_the_issuer_says_within_bounds_and_are_refreshed_ahead_of_the_end() {
    #[rustfmt::skip]
    let cases = [
        // max-age            from here on a refresh   end
        (None,                2_700,                   3_600),
        (Some(1_000),         750,                     1_000),
        (Some(0),             225,                     300),
        (Some(299),           225,                     300),
        (Some(86_400),        64_800,                  86_400),
        (Some(31_536_000),    64_800,                  86_400),
        (Some(u64::MAX),      64_800,                  86_400),
    ];
    for (max_age, due, end) in cases {
        let cache = Cache::new(max_age);
        assert_eq!(cache.ask("k1").await, "found", "{max_age:?}");
        cache.web.asked();
        cache.at(due - 1);
        assert!(cache.at_hand("k1"));
        settle().await;
        assert_eq!(cache.web.fetches(), 0, "{max_age:?}: not due");

        // Whoever asks first is not kept waiting, and neither is anybody else.
        cache.at(due);
        cache.web.close();
        for _ in 0..3 {
            assert!(cache.at_hand("k1"), "{max_age:?}");
            assert_eq!(cache.ask("k1").await, "found", "{max_age:?}");
        }
        settle().await;
        assert_eq!(cache.web.fetches(), 1, "{max_age:?}");
        cache.at(end - 1);
        assert!(cache.at_hand("k1"), "{max_age:?}");
        cache.at(end);
        assert!(!cache.at_hand("k1"), "{max_age:?}: ended");

        // What comes late is counted from the time at which it was asked for.
        cache.web.open();
        settle().await;
        assert!(cache.at_hand("k1"), "{max_age:?}: the new ones");
        cache.at(due + end);
        assert!(!cache.at_hand("k1"), "{max_age:?}: they too have ended");
    }
}

#[tokio::test]
async fn a_key_id_that_nobody_knows_costs_one_fetch_a_minute() {
    let cache = Cache::new(None);
    assert_eq!(cache.ask("nonsense").await, "not there");
    assert_eq!(cache.web.fetches(), 1, "the first one fetches in any case");
    let mut fetched = Vec::new();
    for second in 0..200 {
        cache.at(second);
        for kid in ["nonsense", "x", ""] {
            assert_eq!(cache.ask(kid).await, "not there");
        }
        assert_eq!(cache.ask("k1").await, "found");
        if cache.web.fetches() > 0 {
            fetched.push(second);
        }
    }
    assert_eq!(fetched, [0, 60, 120, 180]);
    // A new key of the issuer is found with the next of them.
    let second = Key::es256("k2");
    cache.web.publish(ELSEWHERE, &[&cache.key, &second], None);
    cache.at(200);
    assert_eq!(cache.ask("k2").await, "not there");
    cache.at(240);
    assert_eq!(cache.ask("k2").await, "found");
    assert_eq!(cache.ask("k1").await, "found");
}

#[tokio::test]
async fn an_outage_is_survived_until_the_keys_end_and_is_not_made_worse() {
    let cache = Cache::new(Some(1_000));
    assert_eq!(cache.ask("k1").await, "found");
    cache.lose();
    cache.web.asked();
    let mut fetched = Vec::new();
    for second in 0..1_000 {
        cache.at(second);
        assert_eq!(cache.ask("k1").await, "found", "{second}");
        settle().await;
        if cache.web.fetches() > 0 {
            fetched.push(second);
        }
    }
    assert_eq!(fetched, [750, 760, 780, 820, 880, 940], "slower each time, and once a minute at last");
    let mut told = Vec::new();
    for second in 1_000..1_125 {
        cache.at(second);
        told.push(cache.ask("k1").await);
    }
    assert_eq!(cache.web.fetches(), 3);
    assert_eq!(told.iter().filter(|it| *it == "Fetch").count(), 3);
    assert_eq!(told.iter().filter(|it| *it == "Waiting").count(), 122);
    // The issuer is back: the next try finds it.
    cache.web.publish(ELSEWHERE, &[&cache.key], None);
    cache.at(1_180);
    assert_eq!(cache.ask("k1").await, "found");
}

#[tokio::test]
async fn whether_a_key_that_is_not_at_hand_exists_is_not_known_during_an_outage() {
    let cache = Cache::new(None);
    assert_eq!(cache.ask("k1").await, "found");
    cache.lose();
    cache.at(100);
    assert_eq!([cache.ask("k2").await, cache.ask("k2").await], ["Fetch", "Waiting"]);
    assert_eq!(cache.ask("k1").await, "found");
}

#[tokio::test]
async fn a_document_that_is_not_the_issuers_gives_no_keys() {
    let jwk = |key: &Key| serde_json::to_value(key.0.public_jwk()).unwrap();
    let (one, other) = (Key::es256("k1"), Key::es256("k1"));
    let twice = json!({"keys": [jwk(&one), jwk(&other)]});
    let twice_beside = json!({"keys": [jwk(&Key::es256("k2")), jwk(&one), jwk(&Key::es256("k2"))]});
    let keys = key_document(&[&one]);
    let discovery = |issuer: &str| json!({"issuer": issuer, "jwks_uri": JWKS});
    let good = discovery(ELSEWHERE);
    #[rustfmt::skip]
    let cases: [(Value, Value, &str); 14] = [
        (good.clone(),                                   keys.clone(),          "found"),
        (good.clone(),                                   json!({"keys": []}),   "not there"),
        (discovery("https://token.ci.example/"),         keys.clone(),          "Document"),
        (discovery("https://TOKEN.ci.example"),          keys.clone(),          "Document"),
        (discovery("https://other.example"),             keys.clone(),          "Document"),
        (json!({"jwks_uri": JWKS}),                      keys.clone(),          "Document"),
        (json!({"issuer": ELSEWHERE}),                   keys.clone(),          "Document"),
        (json!({"issuer": ELSEWHERE, "jwks_uri": [JWKS]}), keys.clone(),        "Document"),
        (json!([good]),                                  keys.clone(),          "Document"),
        (json!({"issuer": ELSEWHERE, "jwks_uri": "https://token.ci.example/gone"}), keys.clone(), "Fetch"),
        (good.clone(),                                   twice,                 "not there"),
        (good.clone(),                                   twice_beside,          "found"),
        (good.clone(),                                   json!([jwk(&one)]),    "Document"),
        (good.clone(),                                   json!("keys"),         "Document"),
    ];
    for (discovery, keys, expected) in cases {
        let cache = Cache::new(None);
        cache.web.put(DISCOVERY, &discovery, None);
        cache.web.put(JWKS, &keys, None);
        assert_eq!(cache.ask("k1").await, expected, "{discovery} {keys}");
    }
    let errors = [
        FetchError::Url,
        FetchError::Scheme,
        FetchError::Address,
        FetchError::Connect("refused".to_owned()),
        FetchError::Redirect,
        FetchError::Status(500),
        FetchError::TooLarge,
        FetchError::TooSlow,
        FetchError::Broken,
    ];
    for error in errors {
        for url in [DISCOVERY, JWKS] {
            let cache = Cache::new(None);
            cache.web.fail(url, error.clone());
            assert_eq!(cache.ask("k1").await, "Fetch", "{url} {error}");
        }
    }
}

#[tokio::test]
async fn a_key_that_was_withdrawn_is_good_no_more_after_the_next_fetch() {
    let cache = Cache::new(None);
    assert_eq!(cache.ask("k1").await, "found");
    let second = Key::es256("k2");
    cache.web.publish(ELSEWHERE, &[&second], None);
    assert!(cache.at_hand("k1"), "nobody knows yet");
    cache.at(2_700);
    assert!(cache.at_hand("k1"));
    settle().await;
    assert!(!cache.at_hand("k1") && cache.at_hand("k2"));
    assert_eq!(cache.ask("k1").await, "not there");
}

#[tokio::test]
async fn keys_that_the_operator_gave_are_never_fetched() {
    let cache = Cache::new(None);
    let inline = |document: &str| KeySource { inline: Some(document.into()), ..source() };
    let given = Key::es256("given");
    let good = inline(&key_document(&[&given]).to_string());
    for kid in ["given", "k1", "given"] {
        assert_eq!(cache.keys.keys(&good, kid).await.unwrap().find(kid).is_some(), kid == "given");
    }
    cache.at(10_000_000);
    assert!(cache.keys.at_hand(&good, "given").is_some() && cache.keys.at_hand(&good, "k1").is_none());
    assert_eq!(cause(&cache.keys.keys(&inline("{}"), "given").await.unwrap_err()), "Document");
    assert_eq!(cache.web.asked(), [""; 0]);
}

#[tokio::test]
async fn an_entry_whose_source_changed_does_not_have_the_keys_of_the_old_one() {
    let cache = Cache::new(None);
    assert_eq!(cache.ask("k1").await, "found");
    let changed = [
        KeySource { issuer: "https://other.example".to_owned(), ..source() },
        KeySource { reach: Reach::Loopback, ..source() },
        KeySource { entry: "another".to_owned(), ..source() },
    ];
    for source in &changed {
        assert!(cache.keys.at_hand(source, "k1").is_none(), "{source:?}");
    }
    assert_eq!(cause(&cache.keys.keys(&changed[0], "k1").await.unwrap_err()), "Fetch");
    assert!(!cache.at_hand("k1"), "one entry has one source");
}

#[tokio::test]
async fn a_slash_at_the_end_of_an_issuer_is_part_of_its_name_and_not_of_the_address() {
    let cache = Cache::new(None);
    let issuer = format!("{ELSEWHERE}/");
    cache.web.publish(&issuer, &[&cache.key], None);
    let named = KeySource { issuer, ..source() };
    assert!(cache.keys.keys(&named, "k1").await.unwrap().find("k1").is_some());
    assert_eq!(cache.web.asked(), [&DISCOVERY[8..], &JWKS[8..]]);
}

#[tokio::test]
async fn a_clock_that_goes_back_makes_no_key_younger_and_keeps_nobody_waiting() {
    let cache = Cache::new(None);
    assert_eq!(cache.ask("k1").await, "found");
    cache.at(-20);
    assert!(cache.at_hand("k1"), "clocks are corrected by a little");
    cache.at(-86_400);
    assert!(!cache.at_hand("k1"));
    cache.lose();
    assert_eq!([cache.ask("k1").await, cache.ask("k1").await], ["Fetch", "Waiting"]);
    cache.at(-100_000);
    cache.web.publish(ELSEWHERE, &[&cache.key], None);
    assert_eq!(cache.ask("k1").await, "found");
}

#[tokio::test]
async fn a_thousand_sources_are_remembered_and_the_oldest_makes_room() {
    let cache = Cache::new(Some(86_400));
    let entry = |n: i64| KeySource { entry: format!("entry{n}"), ..source() };
    for n in 0..=1_000 {
        cache.clock.advance(Duration::from_millis(1));
        cache.keys.keys(&entry(n), "k1").await.unwrap();
    }
    assert!(cache.keys.at_hand(&entry(0), "k1").is_none());
    assert!((1..=1_000).all(|n| cache.keys.at_hand(&entry(n), "k1").is_some()));
}

#[tokio::test]
async fn a_source_whose_keys_are_being_fetched_does_not_make_room() {
    let cache = Cache::new(Some(86_400));
    let entry = |n: i64| KeySource { entry: format!("entry{n}"), ..source() };
    let ask = |n: i64| {
        let (keys, source) = (cache.keys.clone(), entry(n));
        tokio::spawn(async move { keys.keys(&source, "k1").await.is_ok() })
    };
    cache.web.close();
    let mut askers: Vec<_> = (0..=1_000).map(ask).collect();
    settle().await;
    askers.extend((0..=1_000).map(ask));
    settle().await;
    assert_eq!(cache.web.fetches(), 1_001, "one for each, also of those that came first");
    cache.web.open();
    for asker in askers {
        assert!(asker.await.unwrap());
    }
    assert!((0..=1_000).all(|n| cache.keys.at_hand(&entry(n), "k1").is_some()));
    // With the next one there are a thousand again.
    cache.clock.advance(Duration::from_secs(1));
    assert!(ask(1_001).await.unwrap());
    assert_eq!((0..=1_001).filter(|n| cache.keys.at_hand(&entry(*n), "k1").is_some()).count(), 1_000);
}

#[tokio::test]
async fn a_source_that_failed_a_moment_ago_keeps_its_wait_when_others_come() {
    let cache = Cache::new(Some(86_400));
    let entry = |n: i64| KeySource { entry: format!("entry{n}"), ..source() };
    for n in 0..999 {
        cache.keys.keys(&entry(n), "k1").await.unwrap();
    }
    cache.at(1);
    let down = KeySource { issuer: "https://down.example".to_owned(), ..entry(999) };
    assert_eq!(cause(&cache.keys.keys(&down, "k1").await.unwrap_err()), "Fetch");
    for n in 1_000..1_010 {
        cache.keys.keys(&entry(n), "k1").await.unwrap();
    }
    assert_eq!(cause(&cache.keys.keys(&down, "k1").await.unwrap_err()), "Waiting");
}

#[tokio::test]
async fn a_discovery_document_leads_to_this_machine_only_from_this_machine() {
    let (here, there) = ("http://127.0.0.1:9000", ELSEWHERE);
    #[rustfmt::skip]
    let cases = [
        // Issuer, what its entry may reach => what is asked for the keys
        (here,                     Reach::Loopback, Reach::Loopback),
        ("http://localhost:9000/", Reach::Loopback, Reach::Loopback),
        (there,                    Reach::Loopback, Reach::Public),
        (there,                    Reach::Public,   Reach::Public),
        (here,                     Reach::Public,   Reach::Public),
    ];
    for (issuer, reach, expected) in cases {
        let cache = Cache::new(None);
        cache.web.publish(issuer, &[&cache.key], None);
        let named = KeySource { issuer: issuer.to_owned(), reach, ..source() };
        assert!(cache.keys.keys(&named, "k1").await.is_ok());
        let reached: Vec<Reach> = cache.web.asked.lock().unwrap().iter().map(|(_, reach)| *reach).collect();
        assert_eq!(reached, [reach, expected], "{issuer}");
    }
}
