//! How long a change takes to be in force on the instance that took it: `cargo xtask bench`.
//!
//! By the binary of the profile `dist` (`DOORWARD_BIN`), with its store in a file: from the first byte of `setIamPolicy` to the end of
//! the first request that is decided by it. What the snapshot of a large world adds is in the benchmark `decide` of `doorward-core`.

use std::time::Duration;

use doorward_tests::{Dev, Request};
use serde_json::json;

const ROUNDS: usize = 101;

/// What it may take.
const LIMIT: Duration = Duration::from_millis(100);

fn main() {
    // `cargo test --benches` runs this too, and asks for nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let dev = Dev::start(&[]);
    let token = dev.id_token("stranger");
    let member = format!("serviceAccount:{}", dev.text("/service_accounts/stranger/email"));
    let resource = format!("projects/{}/iap_web", dev.text("/project/number"));
    let status = || Request::get(&dev.app("/")).bearer(&token).send().status;
    let (mut answered, mut in_force) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (members, wanted) = if round % 2 == 0 { (vec![&member], 200) } else { (vec![], 403) };
        let binding = json!({"role": "roles/iap.httpsResourceAccessor", "members": members});
        let bindings = if members.is_empty() { json!([]) } else { json!([binding]) };
        let (first, last) = took(
            || drop(dev.policy(&resource, "setIamPolicy", &json!({"policy": {"bindings": bindings}})).expect(200)),
            || while status() != wanted {},
        );
        answered.push(first);
        in_force.push(last);
    }
    println!("Milliseconds after a policy is sent, median of {ROUNDS} rounds [min-max]");
    println!("  it is answered    {}", summary(&mut answered));
    println!("  it is in force    {}, limit {}", summary(&mut in_force), LIMIT.as_millis());
}

/// The time of the first, and of both.
#[expect(clippy::disallowed_methods, reason = "a measurement reads the time itself")]
fn took(first: impl FnOnce(), second: impl FnOnce()) -> (Duration, Duration) {
    let start = std::time::Instant::now();
    first();
    let between = start.elapsed();
    second();
    (between, start.elapsed())
}

fn summary(times: &mut [Duration]) -> String {
    times.sort();
    let millis = |place: usize| times[place].as_secs_f64() * 1000.0;
    format!("{:.1} [{:.1}-{:.1}]", millis(times.len() / 2), millis(0), millis(times.len() - 1))
}
