//! What one request costs the proxy: `cargo xtask bench`.
//!
//! The process under test is the binary of the profile `dist` (`DOORWARD_BIN`); callers and the application are threads of
//! this process, and their cost is not counted. Three figures, of which only the last two are the same on a busy machine:
//!
//! * CPU microseconds per request: the run time of all threads of the proxy, user and system, from
//!   `/proc/PID/task/*/schedstat`. That is what `/proc/PID/stat` adds up in hundredths of a second, in nanoseconds. Median of
//!   the rounds, with the range.
//! * User instructions per request, by callgrind, and
//! * system calls per request, by strace: each the difference of two runs of unequal length, so that start and end cancel out.
//!
//! **First-seen tokens.** A token is remembered, and two tokens of one account and one second are the same (RS256 is
//! deterministic). So there are many accounts, each with a key, admitted by `allAuthenticatedUsers`; their tokens are collected
//! over some seconds from the token endpoint; and the server is started again before each round, which empties its memory and
//! leaves the tokens valid.
//!
//! **A foreign token** is one of a trusted issuer, which this process is. Once it is remembered it must cost what our own costs.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use doorward_tests::{Account, Dev, Issuer, PATIENCE, now_seconds, run};
use doorward_wire::jose::{Algorithm, decode_base64url};
use serde_json::json;

const CONNECTIONS: usize = 64;
const ROUNDS: usize = 7;
const CACHED_REQUESTS: usize = 32_000;
const ACCOUNTS: usize = 80;
const FIRST_SEEN_REQUESTS: usize = 1_280;
/// Lengths of the two runs that are compared under an instrument.
const SHORT: usize = 128;
const LONG: usize = 1_152;
const ANSWER: usize = 1024;

fn main() {
    // `cargo test --benches` runs this too, and asks for nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let application = application();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let issuer = Issuer::start("", Algorithm::Rs256);
    let list = dir.path().join("issuers.toml");
    std::fs::write(&list, trusted(&issuer)).expect("the directory is ours");
    let dir = dir.path().join("state");
    let flags = ["--to", application.as_str(), "--trusted-issuers", list.to_str().expect("text")];
    let tokens = prepare(&Dev::start_in(&dir, &flags));
    let (warm, tokens) = tokens.split_first().expect("there are tokens");

    let foreign = foreign(&issuer);

    let (mut cached, mut first_seen, mut of_issuer) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let dev = Dev::start_in(&dir, &flags);
        let mut load = Load::open(&dev);
        let (warm, foreign) = ([load.request(warm)], [load.request(&foreign)]);
        load.drive(&warm, CONNECTIONS);
        load.drive(&foreign, CONNECTIONS);
        let new: Vec<_> = tokens.iter().map(|token| load.request(token)).collect();
        first_seen.push(cost(&dev, new.len(), || load.drive(&new, new.len())));
        cached.push(cost(&dev, CACHED_REQUESTS, || load.drive(&warm, CACHED_REQUESTS)));
        of_issuer.push(cost(&dev, CACHED_REQUESTS, || load.drive(&foreign, CACHED_REQUESTS)));
        eprintln!("round {round} of {ROUNDS}");
    }
    println!("{CONNECTIONS} keep-alive connections, answers of {ANSWER} bytes, every answer checked to be 200\n");
    println!("CPU microseconds per request, user + system, median of {ROUNDS} rounds [min-max]");
    let mut ratios: Vec<f64> = of_issuer.iter().zip(&cached).map(|(foreign, own)| foreign / own).collect();
    println!("  cached token          {}", summary(&mut cached));
    println!("  cached foreign token  {}", summary(&mut of_issuer));
    println!("  first-seen token      {}", summary(&mut first_seen));
    ratios.sort_by(f64::total_cmp);
    println!("  foreign to our own, median of the rounds' ratios: {:.3}", ratios[ratios.len() / 2]);
    for instrument in [CALLGRIND, STRACE] {
        println!("\n{}", instrument.what);
        if !instrument.is_present() {
            println!("  not measured: {} is not installed", instrument.words[0]);
            continue;
        }
        let per_request = |warm: &str, repeat: bool| instrument.per_request(&dir, &flags, warm, tokens, repeat);
        println!("  cached token          {:.1}", per_request(warm, true));
        println!("  cached foreign token  {:.1}", per_request(&foreign, true));
        println!("  first-seen token      {:.1}", per_request(warm, false));
    }
}

/// Accounts with keys, everybody with an identity admitted, and as many different tokens as a round needs, and one more.
fn prepare(dev: &Dev) -> Vec<String> {
    let resource = dev.text("/app/resource");
    let etag = &dev.policy(resource, "getIamPolicy", &json!({})).expect(200).json()["etag"];
    let members = ["allAuthenticatedUsers", "principalSet://doorward/trustedIssuers/bench/*"];
    let binding = json!({"role": "roles/iap.httpsResourceAccessor", "members": members});
    dev.policy(resource, "setIamPolicy", &json!({"policy": {"bindings": [binding], "etag": etag}})).expect(200);

    let accounts = format!("iam.googleapis.com/v1/projects/{}/serviceAccounts", dev.text("/project/id"));
    let create = |number: usize| {
        let body = json!({"accountId": format!("bench-{number:03}")});
        let created = dev.admin("POST", &accounts, Some(&body)).send().expect(200).json();
        let email = created["email"].as_str().expect("an email");
        let key = dev.admin("POST", &format!("{accounts}/{email}/keys"), Some(&json!({}))).send().expect(200).json();
        let file = key["privateKeyData"].as_str().expect("a key file").replace('+', "-").replace('/', "_");
        Account::from_key_file(&decode_base64url(file.trim_end_matches('=')).expect("base64"))
    };
    let accounts: Vec<Account> = (0..ACCOUNTS).map(create).collect();
    let audience = dev.text("/app/client_id");
    let mut tokens = BTreeSet::new();
    let started = now_seconds();
    // Two sweeps in one second give the same tokens, which the set leaves out.
    while tokens.len() <= FIRST_SEEN_REQUESTS {
        tokens.extend(accounts.iter().map(|account| account.id_token(audience)));
    }
    eprintln!("{} tokens of {ACCOUNTS} accounts in {} seconds", tokens.len(), now_seconds() - started);
    tokens.into_iter().take(FIRST_SEEN_REQUESTS + 1).collect()
}

/// The list that trusts the issuer.
fn trusted(issuer: &Issuer) -> String {
    let url = issuer.url();
    format!(
        "[[trusted_issuer]]\nid = \"bench\"\nissuer = \"{url}\"\naudiences = [\"bench\"]\ninsecure_loopback = true\n"
    )
}

/// One of its tokens, with about as much in it as one of ours.
fn foreign(issuer: &Issuer) -> String {
    let now = now_seconds();
    issuer.sign(&json!({
        "iss": issuer.url(), "aud": "bench", "sub": "193269818748950883293", "iat": now, "exp": now + 6 * 3600,
        "email": "bench-000@doorward-bench.example", "email_verified": true,
        "azp": "bench-000@doorward-bench.example",
    }))
}

/// The application: answers whatever it is asked with the same kilobyte.
fn application() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {ANSWER}\r\n\r\n");
    let answer = [head.as_bytes(), &[b'a'; ANSWER]].concat();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut request = Vec::new();
                let mut buffer = [0; 8192];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    request.extend_from_slice(&buffer[..length]);
                    // Requests have no bodies here, and none comes before the last was answered.
                    if request.ends_with(b"\r\n\r\n") {
                        request.clear();
                        if stream.write_all(&answer).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    url
}

/// Open connections to the protected application.
struct Load {
    host: String,
    connections: Vec<TcpStream>,
}

impl Load {
    fn open(dev: &Dev) -> Self {
        let host = dev.app_authority().to_owned();
        let open = |_| {
            let stream = TcpStream::connect(&host).expect("the proxy listens");
            stream.set_nodelay(true).expect("an open connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("an open connection");
            stream
        };
        Load { connections: (0..CONNECTIONS).map(open).collect(), host }
    }

    fn request(&self, token: &str) -> Vec<u8> {
        format!("GET /bench HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", self.host).into_bytes()
    }

    /// Sends `count` requests, each of `requests` in turn, one at a time on each connection.
    fn drive(&mut self, requests: &[Vec<u8>], count: usize) {
        thread::scope(|scope| {
            for (first, stream) in self.connections.iter_mut().enumerate() {
                scope.spawn(move || {
                    let mut buffer = [0; 16 * 1024];
                    for index in (first..count).step_by(CONNECTIONS) {
                        stream.write_all(&requests[index % requests.len()]).expect("the proxy reads");
                        read_answer(stream, &mut buffer);
                    }
                });
            }
        });
    }
}

fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    let body = loop {
        let length = stream.read(&mut buffer[filled..]).expect("the proxy answers");
        assert_ne!(length, 0, "the proxy closed");
        filled += length;
        if let Some(end) = buffer[..filled].windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
    };
    assert!(buffer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&buffer[..filled]));
    stream.read_exact(&mut buffer[filled..body + ANSWER]).expect("the whole answer");
}

/// CPU microseconds per request while `work` runs.
fn cost(dev: &Dev, requests: usize, work: impl FnOnce()) -> f64 {
    let before = run_time_nanos(dev.id());
    work();
    (run_time_nanos(dev.id()) - before) / 1000.0 / requests as f64
}

fn run_time_nanos(process: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("Linux, and a running process");
    let nanos = tasks.map(|task| {
        let statistics = std::fs::read_to_string(task.expect("a thread").path().join("schedstat")).expect("a thread");
        statistics.split(' ').next().and_then(|field| field.parse::<f64>().ok()).expect("nanoseconds")
    });
    nanos.sum()
}

fn summary(values: &mut [f64]) -> String {
    values.sort_by(f64::total_cmp);
    format!("{:.1} [{:.1}-{:.1}]", values[values.len() / 2], values[0], values[values.len() - 1])
}

/// A program that counts what another one does.
struct Instrument {
    what: &'static str,
    words: &'static [&'static str],
    /// A command that begins the counting, given the process id; none if it counts from the start.
    begin: &'static [&'static str],
    /// Finds the count in what it writes at the end.
    total: fn(&str) -> Option<f64>,
}

const CALLGRIND: Instrument = Instrument {
    what: "User instructions per request (callgrind)",
    words: &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--instr-atstart=no"],
    // The start gathers entropy out of timing, for a different number of instructions each time.
    begin: &["callgrind_control", "-i", "on"],
    // `==123== Collected : 456`
    total: |text| text.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok()),
};

const STRACE: Instrument = Instrument {
    what: "System calls per request (strace)",
    // Detached, so that signals reach the server; it writes to standard error, which ends when it does.
    words: &["strace", "-D", "-f", "-c", "-U", "calls,name"],
    begin: &[],
    // `   456 total`
    total: |text| text.lines().find_map(|line| line.trim().strip_suffix(" total")?.trim().parse().ok()),
};

impl Instrument {
    fn is_present(&self) -> bool {
        Command::new(self.words[0]).arg("--version").output().is_ok_and(|output| output.status.success())
    }

    fn per_request(&self, dir: &Path, flags: &[&str], warm: &str, tokens: &[String], repeat: bool) -> f64 {
        let total = |count: usize| {
            let dev = Dev::start_under(self.words, dir, flags);
            let mut load = Load::open(&dev);
            let warm = [load.request(warm)];
            load.drive(&warm, CONNECTIONS);
            if let Some((program, arguments)) = self.begin.split_first() {
                let begun = run(Command::new(program).args(arguments).arg(dev.id().to_string()));
                assert_eq!(begun.code, Some(0), "{program}: {}", begun.stderr);
            }
            let new: Vec<_> = tokens.iter().take(count).map(|token| load.request(token)).collect();
            load.drive(if repeat { &warm } else { &new }, count);
            let finished = dev.stop("TERM");
            (self.total)(&finished.stderr).unwrap_or_else(|| panic!("no total in {}", finished.stderr))
        };
        (total(LONG) - total(SHORT)) / (LONG - SHORT) as f64
    }
}
