//! When tokens are asked for: once for all who wait, ahead of their end, and again where that may help.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use doorward_client::{Credentials, Token, TokenError, TransportError};
use serde_json::json;

use crate::support::{Reply, Server, parameter};
use crate::{NOW, USER, builder, clock, until};

fn numbered(number: usize) -> Reply {
    Reply::new(200, json!({"access_token": format!("token-{number}"), "expires_in": 3600}))
}

/// A token endpoint whose tokens are numbered, with a status that can be changed.
fn counting() -> (Server, Arc<AtomicU16>) {
    let (count, status) = (AtomicUsize::new(0), Arc::new(AtomicU16::new(200)));
    let current = status.clone();
    let server = Server::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        match current.load(Ordering::SeqCst) {
            200 => numbered(number),
            400 => Reply::new(400, json!({"error": "invalid_grant", "error_description": "Ended."})),
            status => Reply::new(status, ""),
        }
    });
    (server, status)
}

async fn text(credentials: &Credentials) -> String {
    credentials.access_token(&[]).await.unwrap().as_str().to_owned()
}

#[tokio::test]
async fn a_token_is_kept_replaced_behind_its_callers_back_and_waited_for_only_at_its_end() {
    let clock = clock();
    let (server, _) = counting();
    let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
    assert_eq!(text(&credentials).await, "token-0");
    clock.set(*NOW + Duration::from_secs(3374));
    assert_eq!((text(&credentials).await.as_str(), server.asked().len()), ("token-0", 1));
    // 225 s before its end it is still given, and a new one is under way.
    clock.set(*NOW + Duration::from_secs(3375));
    assert_eq!(text(&credentials).await, "token-0");
    until(async || text(&credentials).await == "token-1").await;
    assert_eq!(server.asked().len(), 2);
    // Long after, there is nothing to give, and the caller waits.
    clock.advance(Duration::from_secs(7200));
    assert_eq!((text(&credentials).await.as_str(), server.asked().len()), ("token-2", 3));
    // A clock that is set back does not make a token bad, but its end is not to be relied upon.
    clock.set(*NOW);
    assert_eq!(text(&credentials).await, "token-2");
    until(async || text(&credentials).await == "token-3").await;
    clock.advance(Duration::from_secs(3374));
    assert_eq!((text(&credentials).await.as_str(), server.asked().len()), ("token-3", 4));
}

#[tokio::test]
async fn a_token_that_ends_while_its_replacement_fails_is_not_given() {
    let (release, gate) = mpsc::channel::<Reply>();
    let gate = Mutex::new(gate);
    let server = Server::start(move |_| gate.lock().unwrap().recv().unwrap());
    let clock = clock();
    let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
    release.send(numbered(0)).unwrap();
    assert_eq!(text(&credentials).await, "token-0");
    clock.set(*NOW + Duration::from_secs(3595));
    let waiting = tokio::spawn({
        let credentials = credentials.clone();
        async move { credentials.access_token(&[]).await }
    });
    until(async || server.asked().len() == 2).await;
    clock.set(*NOW + Duration::from_secs(3600));
    release.send(Reply::new(400, json!({"error": "invalid_grant"}))).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().code(), Some("invalid_grant"));
}

#[tokio::test]
async fn all_who_wait_for_one_audience_wait_for_one_request_and_share_its_error() {
    let (release, gate) = mpsc::channel::<Reply>();
    let gate = Mutex::new(gate);
    let server = Server::start(move |_| gate.lock().unwrap().recv().unwrap());
    let clock = clock();
    let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
    let ask = || async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let credentials = credentials.clone();
            tasks.spawn(async move { credentials.access_token(&["s"]).await });
        }
        tasks
    };
    let tasks = ask().await;
    until(async || !server.asked().is_empty()).await;
    release.send(Reply::new(400, json!({"error": "invalid_grant", "error_description": "Ended."}))).unwrap();
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap_err().code() == Some("invalid_grant")), "{answers:?}");
    let tasks = ask().await;
    until(async || server.asked().len() == 2).await;
    release.send(numbered(7)).unwrap();
    let answers: Vec<Token> = tasks.join_all().await.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|token| token.as_str() == "token-7"));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn another_audience_does_not_wait_and_a_caller_who_gives_up_stops_nobody() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let server = Server::start(move |asked| {
        if parameter(&asked.body, "scope").as_deref() == Some("slow") {
            gate.lock().unwrap().recv().unwrap();
        }
        numbered(0)
    });
    let clock = clock();
    let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
    let slow = tokio::spawn({
        let credentials = credentials.clone();
        async move { credentials.access_token(&["slow"]).await }
    });
    until(async || server.asked().len() == 1).await;
    credentials.access_token(&["fast"]).await.unwrap();
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    release.send(()).unwrap();
    credentials.access_token(&["slow"]).await.unwrap();
    assert_eq!(server.asked().len(), 2, "the request of the one who gave up was of use");
}

#[tokio::test]
async fn a_good_token_outlives_the_failure_of_its_replacement_until_its_last_second() {
    let clock = clock();
    let (server, status) = counting();
    let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
    assert_eq!(text(&credentials).await, "token-0");
    status.store(400, Ordering::SeqCst);
    clock.set(*NOW + Duration::from_secs(3400));
    assert_eq!(text(&credentials).await, "token-0");
    until(async || server.asked().len() == 2).await;
    // No other attempt within 15 s, however many calls there are.
    for _ in 0..100 {
        assert_eq!(text(&credentials).await, "token-0");
    }
    assert_eq!(server.asked().len(), 2);
    clock.advance(Duration::from_secs(15));
    until(async || {
        assert_eq!(text(&credentials).await, "token-0");
        server.asked().len() == 3
    })
    .await;
    // With less than ten seconds left callers wait for a new one, and get the old one if there is none.
    clock.set(*NOW + Duration::from_secs(3599));
    until(async || {
        assert_eq!(text(&credentials).await, "token-0");
        server.asked().len() == 4
    })
    .await;
    clock.set(*NOW + Duration::from_secs(3600));
    let error = credentials.access_token(&[]).await.unwrap_err();
    assert_eq!(error.code(), Some("invalid_grant"));
}

#[tokio::test]
async fn failures_of_the_server_are_tried_again_within_bounds_and_refusals_never() {
    // statuses in turn => requests, and what comes of it
    #[rustfmt::skip]
    let cases: [(&[u16], usize, Result<(), &str>); 8] = [
        (&[500, 200],       2, Ok(())),
        (&[503, 429, 200],  3, Ok(())),
        (&[408, 200],       2, Ok(())),
        (&[0, 200],         2, Ok(())),
        (&[503, 503, 503],  3, Err("failed with HTTP 503 Service Unavailable: try again later")),
        (&[429, 0, 429],    3, Err("failed with HTTP 429")),
        (&[400],            1, Err("refused: it gave no reason (x)")),
        (&[404],            1, Err("refused: it gave no reason (x)")),
    ];
    for metadata in [false, true] {
        for (statuses, requests, expected) in cases {
            let (count, owned) = (AtomicUsize::new(0), statuses.to_vec());
            let server = Server::start(move |_| match owned[count.fetch_add(1, Ordering::SeqCst)] {
                200 => numbered(0).header("metadata-flavor", "Google"),
                // Not HTTP: the connection is of no more use.
                0 => Reply { status: 200, headers: "no header\r\n".into(), body: String::new() },
                status => Reply::new(status, json!({"error": "x"})).header("retry-after", "0"),
            });
            let clock = clock();
            let built = builder(&server.origin, &clock);
            let credentials = if metadata { built.metadata(server.address()) } else { built.from_json(USER) }.unwrap();
            let answer = credentials.access_token(&[]).await;
            match (&answer, expected) {
                (Ok(_), Ok(())) => {}
                (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{statuses:?}: {error}"),
                _ => panic!("{statuses:?}: {answer:?}"),
            }
            assert_eq!(server.asked().len(), requests, "{statuses:?}");
        }
    }
}

#[tokio::test]
async fn a_closed_port_is_named_with_what_to_do() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let credentials = builder(&origin, &clock()).from_json(USER).unwrap();
    let error = credentials.id_token("a").await.unwrap_err();
    assert!(matches!(error, TokenError::Transport(TransportError::Connect { .. })), "{error}");
    assert!(error.to_string().starts_with(&format!("cannot connect to {origin} (")), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_before_tls_is_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream.unwrap());
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let credentials = builder(&origin, &clock()).from_json(USER).unwrap();
    let error = credentials.id_token("a").await.unwrap_err();
    assert!(matches!(error, TokenError::Transport(TransportError::Broken { .. })), "{error}");
    until(async || tries.load(Ordering::SeqCst) == 3).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up() {
    let (_hold, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let server = Server::start(move |_| {
        // Until the other end is gone.
        let _ = gate.lock().unwrap().recv();
        Reply::new(200, "")
    });
    let credentials = builder(&server.origin, &clock()).timeout(Duration::from_millis(20)).retry(2, Duration::ZERO);
    let error = credentials.from_json(USER).unwrap().id_token("a").await.unwrap_err();
    assert!(matches!(error, TokenError::Transport(TransportError::Timeout { .. })), "{error}");
    assert!(error.to_string().contains("did not answer within 0.02 seconds"), "{error}");
}

#[tokio::test]
async fn a_token_that_was_refused_is_forgotten_and_a_newer_one_stays() {
    let clock = clock();
    let (server, _) = counting();
    let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
    let first = credentials.access_token(&[]).await.unwrap();
    credentials.forget(&first);
    assert_eq!(text(&credentials).await, "token-1");
    credentials.forget(&first);
    assert_eq!((text(&credentials).await.as_str(), server.asked().len()), ("token-1", 2));
}

#[tokio::test]
async fn of_more_audiences_than_are_kept_those_are_forgotten_whose_tokens_end_first() {
    let clock = clock();
    let (server, _) = counting();
    let credentials = builder(&server.origin, &clock).from_json(USER).unwrap();
    for number in 0..1030 {
        credentials.access_token(&[&format!("scope-{number}")]).await.unwrap();
        clock.advance(Duration::from_secs(1));
    }
    // At the 1,025th, half of those before it went.
    for (number, asked) in [(512, 1030), (1023, 1030), (1029, 1030), (511, 1031), (0, 1032)] {
        credentials.access_token(&[&format!("scope-{number}")]).await.unwrap();
        assert_eq!(server.asked().len(), asked, "{number}");
    }
}

#[test]
fn a_flight_of_a_runtime_that_is_gone_is_no_end_of_all_flights() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let server = Server::start(move |_| {
        // Until the other end is gone.
        let _ = gate.lock().unwrap().recv();
        numbered(0)
    });
    let credentials = builder(&server.origin, &clock()).from_json(USER).unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    first.block_on(async {
        let credentials = credentials.clone();
        drop(tokio::spawn(async move { credentials.access_token(&[]).await }));
        until(async || server.asked().len() == 1).await;
    });
    drop(first);
    drop(release);
    assert_eq!(runtime().block_on(text(&credentials)), "token-0");
}
