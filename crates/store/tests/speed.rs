//! How fast the store is on both engines. Not part of the suite: `cargo test -p doorward-store --test speed -- --ignored --nocapture`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "time is what is measured")]

#[expect(dead_code, reason = "the server is that of all files")]
mod postgres;
#[expect(dead_code, reason = "the samples are those of all files")]
mod samples;

use std::time::Instant;

use doorward_core::store::*;
use doorward_store::SqlStore;
use samples::*;

async fn measure(engine: &str, store: &SqlStore) {
    let rounds = 400;
    for size in [1, 64, 512] {
        let events: Vec<_> = (0..size).map(|n| allowed(&format!("{n}"))).collect();
        let start = Instant::now();
        for _ in 0..rounds {
            store.append(&events, 10_000).await.unwrap();
        }
        let each = start.elapsed() / rounds;
        println!("{engine}: append of {size}: {each:?}, {:.0} events a second", f64::from(size) / each.as_secs_f64());
    }
    let everybody = bindings(&["allUsers", "user:alice@example.com"]);
    let start = Instant::now();
    for n in 0..rounds {
        store.replace_policy(&format!("projects/{}", n % 10), &everybody, None, &[]).await.unwrap();
    }
    println!("{engine}: replace_policy: {:?}", start.elapsed() / rounds);
    let start = Instant::now();
    for n in 0..rounds {
        store.policy(&format!("projects/{}", n % 10)).await.unwrap();
    }
    println!("{engine}: policy: {:?}", start.elapsed() / rounds);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn how_long_the_record_and_a_policy_take() {
    let directory = tempfile::tempdir().unwrap();
    measure("SQLite", &SqlStore::open(&directory.path().join("store.db")).await.unwrap()).await;
    let database = postgres::Cluster::shared().database().await;
    measure("PostgreSQL", &database.open().await).await;
}
