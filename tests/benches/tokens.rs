//! What a token costs the server: `cargo xtask bench`.
//!
//! Beside each other, in one run: the CPU time of the library's own RSA-2048 signature and verification in this process, and the
//! CPU time of the whole server for each ID token, by the jwt-bearer grant and by `generateIdToken`. The ratio of the two says
//! what everything else costs: HTTP, the check of the claims, the policy, the store and the record.
//!
//! Then the same again with ten thousand service accounts and a million refresh tokens in the store.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use doorward_tests::{Dev, PATIENCE, Request, run};
use serde_json::json;

const CONNECTIONS: usize = 16;
const ROUNDS: usize = 11;
const REQUESTS: usize = 1_600;
const RAW_SIGNATURES: usize = 1_000;
const MANY_ACCOUNTS: usize = 10_000;
const MANY_REFRESH_TOKENS: usize = 1_000_000;

fn main() {
    // `cargo test --benches` runs this too, and asks for nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let dirs = [tempfile::tempdir().expect("a temporary directory"), tempfile::tempdir().expect("another")];
    for dir in &dirs {
        drop(Dev::start_in(dir.path(), &[]).stop("TERM"));
    }
    fill(dirs[1].path());
    let servers = dirs.each_ref().map(|dir| Dev::start_in(dir.path(), &[]));
    // Side by side in each round, so that what else the machine does meets all of them.
    let mut measured = servers.each_ref().map(Measured::new);
    let mut raw = Vec::new();
    for round in 0..=ROUNDS {
        let cost = raw_cost();
        for (measured, dev) in measured.iter_mut().zip(&servers) {
            measured.round(dev);
        }
        if round == 0 {
            // The first is for warmth.
            measured.iter_mut().for_each(Measured::forget);
        } else {
            raw.push(cost);
            eprintln!("round {round} of {ROUNDS}");
        }
    }
    println!("{CONNECTIONS} keep-alive connections, every answer checked to be 200 with a token");
    println!(
        "CPU microseconds per token, user + system, median of {ROUNDS} rounds [min-max]; beside it the median of the rounds'"
    );
    println!("ratios of raw to it\n");
    println!("raw sign + verify       {}", shown(&raw));
    let [few, many] = &measured;
    few.print("fixtures only", &raw);
    many.print(&format!("{MANY_ACCOUNTS} service accounts, {MANY_REFRESH_TOKENS} refresh tokens"), &raw);
    println!("\nWhat the many change: median of the rounds' ratios, in per cent");
    let change = |few: &[f64], many: &[f64]| 100.0 * (median(&ratios(many, few)) - 1.0);
    println!("  jwt-bearer            {:+.1}", change(&few.grants, &many.grants));
    println!("  generateIdToken       {:+.1}", change(&few.impersonations, &many.impersonations));
}

/// One server under load, and what its tokens cost it, round by round.
struct Measured {
    load: Load,
    grant: Vec<u8>,
    impersonation: Vec<u8>,
    grants: Vec<f64>,
    impersonations: Vec<f64>,
}

impl Measured {
    fn new(dev: &Dev) -> Self {
        Measured {
            load: Load::open(dev),
            grant: grant_request(dev),
            impersonation: impersonation_request(dev),
            grants: Vec::new(),
            impersonations: Vec::new(),
        }
    }

    fn round(&mut self, dev: &Dev) {
        let Measured { load, grant, impersonation, grants, impersonations } = self;
        grants.push(cost(dev, || load.drive(grant, REQUESTS)));
        impersonations.push(cost(dev, || load.drive(impersonation, REQUESTS)));
    }

    fn forget(&mut self) {
        self.grants.clear();
        self.impersonations.clear();
    }

    fn print(&self, what: &str, raw: &[f64]) {
        println!("{what}");
        for (name, costs) in [("jwt-bearer      ", &self.grants), ("generateIdToken ", &self.impersonations)] {
            let (rate, of_raw) = (1_000_000.0 / median(costs), 100.0 * median(&ratios(raw, costs)));
            println!("  {name}      {}  {rate:.0} per CPU second, {of_raw:.0} % of raw", shown(costs));
        }
    }
}

fn ratios(these: &[f64], those: &[f64]) -> Vec<f64> {
    these.iter().zip(those).map(|(this, that)| this / that).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn shown(values: &[f64]) -> String {
    let (least, greatest) =
        (values.iter().copied().fold(f64::MAX, f64::min), values.iter().copied().fold(0.0, f64::max));
    format!("{:.1} [{least:.1}-{greatest:.1}]", median(values))
}

/// CPU microseconds for one signature and one verification of a message as long as a token's claims. All cores are busy with it, as
/// they are with the server and its callers: two threads that share a core's parts cost each other time.
fn raw_cost() -> f64 {
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get());
    let costs: Vec<f64> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(raw_cost_of_one)).collect();
        running.into_iter().map(|thread| thread.join().expect("it measures")).collect()
    });
    costs.iter().sum::<f64>() / threads as f64
}

fn raw_cost_of_one() -> f64 {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    let (random, message) = (SystemRandom::new(), [b'a'; 600]);
    let mut signature = vec![0; key.public_modulus_len()];
    let before = run_time_nanos("/proc/thread-self/schedstat");
    for _ in 0..RAW_SIGNATURES {
        key.sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature).expect("a signature");
        public.verify(&message, &signature).expect("it verifies");
    }
    (run_time_nanos("/proc/thread-self/schedstat") - before) / 1000.0 / RAW_SIGNATURES as f64
}

/// CPU microseconds per request while `work` runs.
fn cost(dev: &Dev, work: impl FnOnce()) -> f64 {
    let all = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", dev.id())).expect("Linux, and a running process");
        tasks.map(|task| run_time_nanos(task.expect("a thread").path().join("schedstat"))).sum::<f64>()
    };
    let before = all();
    work();
    (all() - before) / 1000.0 / REQUESTS as f64
}

fn run_time_nanos(schedstat: impl AsRef<Path>) -> f64 {
    let statistics = std::fs::read_to_string(schedstat).expect("a thread");
    statistics.split(' ').next().and_then(|field| field.parse::<f64>().ok()).expect("nanoseconds")
}

fn head(dev: &Dev, path: &str, extra: &str, body: &str) -> Vec<u8> {
    let host = authority(dev);
    let length = body.len();
    format!("POST /{path} HTTP/1.1\r\nHost: {host}\r\n{extra}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn authority(dev: &Dev) -> &str {
    dev.text("/api_url").trim_start_matches("http://")
}

fn grant_request(dev: &Dev) -> Vec<u8> {
    let robot = dev.account("robot");
    let assertion = robot.sign(&robot.claims("target_audience", dev.text("/app/client_id")));
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
        .append_pair("assertion", &assertion)
        .finish();
    let extra = "Content-Type: application/x-www-form-urlencoded\r\n";
    head(dev, "oauth2.googleapis.com/token", extra, &body)
}

fn impersonation_request(dev: &Dev) -> Vec<u8> {
    let caller = dev.account("caller");
    let claims = caller.claims("scope", "https://www.googleapis.com/auth/cloud-platform");
    let token = caller.exchange(&claims).expect(200).json();
    let token = token["access_token"].as_str().expect("an access token");
    let target = dev.text("/service_accounts/target/email");
    let body = json!({"audience": dev.text("/app/client_id"), "includeEmail": true}).to_string();
    let extra = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let path = format!("iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{target}:generateIdToken");
    // Asked once in the open, so that a refusal is told in full.
    let url = dev.google(&path);
    Request::post(&url, "application/json", br#"{"audience": "a", "includeEmail": true}"#)
        .bearer(token)
        .send()
        .expect(200);
    head(dev, &path, &extra, &body)
}

/// Open connections to the API.
struct Load(Vec<TcpStream>);

impl Load {
    fn open(dev: &Dev) -> Self {
        let open = |_| {
            let stream = TcpStream::connect(authority(dev)).expect("the server listens");
            stream.set_nodelay(true).expect("an open connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("an open connection");
            stream
        };
        Load((0..CONNECTIONS).map(open).collect())
    }

    /// Sends a request `count` times, one at a time on each connection.
    fn drive(&mut self, request: &[u8], count: usize) {
        thread::scope(|scope| {
            for stream in &mut self.0 {
                scope.spawn(move || {
                    for _ in 0..count / CONNECTIONS {
                        stream.write_all(request).expect("the server reads");
                        read_answer(stream);
                    }
                });
            }
        });
    }
}

fn read_answer(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let length = stream.read(&mut buffer).expect("the server answers");
        assert_ne!(length, 0, "the server closed");
        answer.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let announced =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if announced.is_some_and(|announced: usize| body.len() >= announced) {
            assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("token\":\"ey"), "{text}");
            return;
        }
    }
}

/// Fills the store of a server that is stopped, by SQL: one by one and durable, a million would take hours.
fn fill(dir: &Path) {
    const SCRIPT: &str = "
import sqlite3, sys, json
path, accounts, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
db = sqlite3.connect(path)
def columns(table):
    return [row[1] for row in db.execute(f'PRAGMA table_info({table})')]
def copies(table, n, change):
    names = columns(table)
    row = dict(zip(names, db.execute(f'SELECT * FROM {table} LIMIT 1').fetchone()))
    marks = ','.join('?' * len(names))
    rows = ([{**row, **change(i)}[name] for name in names] for i in range(n))
    db.executemany(f'INSERT INTO {table} VALUES ({marks})', rows)
copies('service_account', accounts, lambda i: {'unique_id': f'2{i:020d}', 'email': f'many-{i:05d}@doorward-dev.iam.gserviceaccount.com'})
copies('service_account_key', accounts, lambda i: {'id': f'{i:040x}', 'account': f'2{i:020d}'})
copies('person_grant', tokens, lambda i: {'id': f'many-{i}'})
copies('refresh_token', tokens, lambda i: {'hash': f'many-{i}', 'grant_id': f'many-{i}'})
db.commit()
";
    let finished = run(Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(dir.join("doorward.db"))
        .args([MANY_ACCOUNTS.to_string(), MANY_REFRESH_TOKENS.to_string()]));
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}
