//! The client against servers on loopback that answer what Google's were recorded to answer.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up must fail")]

#[path = "../support/mod.rs"]
mod support;

mod credentials;
#[cfg(feature = "reqwest")]
mod middleware;
mod outgoing;
mod refresh;
mod verifier;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use doorward_client::{Credentials, CredentialsBuilder, ManualClock};

/// When the tests begin.
static NOW: LazyLock<SystemTime> = LazyLock::new(|| UNIX_EPOCH + Duration::from_secs(1_800_000_000));

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(*NOW))
}

/// Asks `origin`, by this clock, again without a wait.
fn builder(origin: &str, clock: &Arc<ManualClock>) -> CredentialsBuilder {
    Credentials::builder().endpoint(origin).unwrap().clock(clock.clone()).retry(3, Duration::ZERO)
}

const USER: &str =
    r#"{"type":"authorized_user","client_id":"desktop","client_secret":"s3cret","refresh_token":"r3fresh"}"#;

/// Lets other tasks run until it is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("it never came to be so");
}
