//! What a token costs that is there: `cargo bench -p doorward-client --bench hot_path` prints the median in nanoseconds of asking
//! for an ID token, and of the check of a signed header with its key there.
//!
//! With `--test` it only runs, for `cargo test --benches`.

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "it belongs to the tests")]
mod support;

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use doorward_client::{Clock as _, Credentials, IdTokenHeader, SystemClock, Verifier};
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

const AUDIENCE: &str = "123-app.apps.googleusercontent.com";
const ROUNDS: usize = 101;

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let calls = if quick { 10 } else { 20_000 };
    let google = support::google(Arc::new(SystemClock));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let credentials = Credentials::metadata(google.address()).expect("an address");
    let header = IdTokenHeader::new(credentials.clone(), AUDIENCE).allow("https://app.example.com").expect("an origin");
    let verifier = Verifier::builder()
        .audience("/projects/1/global/backendServices/2")
        .key_url(&format!("{}/iap/verify/public_key-jwk", google.origin))
        .build()
        .expect("an audience");
    let claims = Value::Object(support::assertion_claims(SystemClock.now()));
    let assertion = support::sign(support::signing_key(), &claims);
    let mut signed = HeaderMap::new();
    signed.insert("x-goog-iap-jwt-assertion", HeaderValue::try_from(assertion).expect("a header"));
    runtime.block_on(async {
        credentials.id_token(AUDIENCE).await.expect("a token");
        verifier.verify(&signed).await.expect("an identity");
    });
    let (uri, none) = ("https://app.example.com/orders".parse().expect("an address"), HeaderMap::new());
    report("id_token, in the cache", calls, || drop(black_box(now(credentials.id_token(black_box(AUDIENCE))))));
    report("header_for an allowed origin", calls, || drop(black_box(now(header.header_for(black_box(&uri), &none)))));
    report("verify an assertion", calls / 10, || drop(black_box(now(verifier.verify(black_box(&signed))))));
}

/// The value of a future that waits for nothing: what is measured is never a wait.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn report(name: &str, calls: usize, call: impl Fn()) {
    let calls = calls.max(1);
    let mut rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = stopwatch();
            (0..calls).for_each(|_| call());
            start.elapsed()
        })
        .collect();
    rounds.sort();
    let nanoseconds = rounds[ROUNDS / 2].as_secs_f64() * 1e9 / calls as f64;
    println!("{name}: median {nanoseconds:.0} ns");
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the time itself")]
fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}
