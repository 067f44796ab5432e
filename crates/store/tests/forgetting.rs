//! What a SQLite store forgets, and how much of it at once. Backends may differ in this.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the samples are those of all files")]
mod samples;

use doorward_core::grant::DevicePoll;
use doorward_core::store::*;
use doorward_store::SqliteStore;
use samples::*;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};

const HOUR: i64 = 3600;

async fn with_clients() -> (SqliteStore, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join("store.db")).await.unwrap();
    for id in ["c", "other"] {
        assert!(store.add_oauth_client(&client(id)).await.unwrap());
    }
    (store, directory)
}

async fn rows(directory: &tempfile::TempDir, table: &str) -> i64 {
    let options = SqliteConnectOptions::new().filename(directory.path().join("store.db")).read_only(true);
    let count = format!("SELECT COUNT(*) FROM {table}");
    sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut options.connect().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_grant_of_which_nothing_is_left_is_forgotten_with_its_rows() {
    let (store, directory) = with_clients().await;
    for id in ["untaken", "taken", "accessed", "refreshed"] {
        let grant = person_grant(id, "c");
        store.add_code(&hash(id), &code_grant(&grant, 600), at(1)).await.unwrap();
    }
    store.take_code(&hash("taken"), &client_id("c"), at(2)).await.unwrap();
    let accessed = access(&person_grant("accessed", "c"), HOUR);
    assert!(store.add_access_token(&hash("at"), &accessed, at(2)).await.unwrap());
    assert!(store.add_refresh_token(&hash("rt"), &person_grant("refreshed", "c").id).await.unwrap());
    let undelivered = person_grant("undelivered", "c");
    assert!(store.add_device_code(&hash("d"), &hash("u"), &device_grant("c", 600), at(1)).await.unwrap());
    assert!(store.decide_device(&hash("u"), Some(&undelivered), at(2)).await.unwrap());

    // (now, grants that are left beside the new one)
    let steps = [
        (1000, vec!["accessed", "refreshed", "taken", "undelivered", "untaken"]),
        (2000, vec!["accessed", "refreshed"]),
        (2 * HOUR, vec!["refreshed"]),
        (1_000_000 * HOUR, vec!["refreshed"]),
    ];
    for (step, (now, expected)) in steps.into_iter().enumerate() {
        let fresh = code_grant(&person_grant(&format!("fresh {step}"), "other"), now + 600);
        store.add_code(&hash(&format!("fresh {step}")), &fresh, at(now)).await.unwrap();
        let left = rows(&directory, "person_grant WHERE client = 'c'").await;
        assert_eq!(left, i64::try_from(expected.len()).unwrap(), "at {now}");
        for id in &expected {
            let found = rows(&directory, &format!("person_grant WHERE id = '{id}'")).await;
            assert_eq!(found, 1, "{id} at {now}");
        }
    }
    assert_eq!(rows(&directory, "authorization_code").await, 1);
    assert_eq!(rows(&directory, "device_code").await, 0);
    assert_eq!(rows(&directory, "access_token").await, 0);
    assert!(store.refresh_token(&hash("rt")).await.unwrap().is_some());
}

#[tokio::test]
async fn grants_of_devices_are_forgotten_where_nobody_uses_codes() {
    let (store, directory) = with_clients().await;
    for n in 0..3 {
        let now = n * HOUR;
        let (device, user_code, grant) = (hash(&format!("d{n}")), hash(&format!("u{n}")), format!("g{n}"));
        assert!(store.add_device_code(&device, &user_code, &device_grant("c", now + 600), at(now)).await.unwrap());
        assert!(store.decide_device(&user_code, Some(&person_grant(&grant, "c")), at(now)).await.unwrap());
        store.poll_device(&device, &client_id("c"), at(now)).await.unwrap();
        assert_eq!(rows(&directory, "person_grant").await, 1, "after {n}");
        assert_eq!(rows(&directory, "device_code").await, 0, "after {n}");
    }
}

#[tokio::test]
async fn a_late_device_is_told_so_for_a_while() {
    let (store, _directory) = with_clients().await;
    assert!(store.add_device_code(&hash("d"), &hash("u"), &device_grant("c", 600), at(1)).await.unwrap());
    for (n, (now, expected)) in
        [(600, DevicePoll::Expired), (1199, DevicePoll::Expired), (1200, DevicePoll::Unknown)].into_iter().enumerate()
    {
        let (device, user_code) = (hash(&format!("d{n}")), hash(&format!("u{n}")));
        assert!(store.add_device_code(&device, &user_code, &device_grant("c", 9000), at(now)).await.unwrap());
        assert_eq!(store.poll_device(&hash("d"), &client_id("c"), at(now)).await.unwrap(), expected, "at {now}");
    }
}

#[tokio::test]
async fn ten_rows_are_forgotten_at_once_so_that_nobody_waits_for_the_rest() {
    let (store, directory) = with_clients().await;
    for n in 0..15 {
        let name = format!("{n}");
        assert!(store.add_access_token(&hash(&name), &grant("1", 100), at(1)).await.unwrap());
        assert!(store.take_assertion_id(&id("1"), &name, at(100), at(1)).await.unwrap());
        store.put_session(None, &hash(&name), &session(&["1"], 100), at(1)).await.unwrap();
    }
    for (call, left) in [(0, 6), (1, 2), (2, 3)] {
        let name = format!("later {call}");
        assert!(store.add_access_token(&hash(&name), &grant("1", 900), at(100)).await.unwrap());
        assert!(store.take_assertion_id(&id("1"), &name, at(900), at(100)).await.unwrap());
        store.put_session(None, &hash(&name), &session(&["1"], 900), at(100)).await.unwrap();
        for table in ["access_token", "used_assertion", "sign_in_session"] {
            assert_eq!(rows(&directory, table).await, left, "{table} after call {call}");
        }
        assert_eq!(store.access_token(&hash("14"), at(100)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_the_newest_ten_thousand_writes_touched_is_known_and_what_was_before_is_not() {
    let store = SqliteStore::in_memory().await.unwrap();
    let write = async |n: i64| {
        let password = password(&n.to_string());
        assert!(store.set_password(&id("1"), &password).await.unwrap());
    };
    assert!(store.add_user(&user("1", "a@example.com")).await.unwrap());
    let mut points = vec![Revision::default(), store.revision().await.unwrap()];
    for n in 2..=10_200 {
        write(n).await;
        points.push(store.revision().await.unwrap());
    }
    assert_eq!(points[10_200].number, 10_200);
    for (after, known) in [(0, false), (199, false), (200, true), (10_199, true), (10_200, true)] {
        let changes = store.changes_after(points[usize::try_from(after).unwrap()], 20_000).await.unwrap();
        let expected = usize::try_from(10_200 - after).unwrap();
        assert_eq!(changes.map(|changes| changes.len()), known.then_some(expected), "{after}");
    }
    // Some are forgotten at once, now and then.
    write(10_201).await;
    assert!(store.changes_after(points[200], 1).await.unwrap().is_some());
}
