//! What opening a database finds, makes and leaves alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod samples;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use doorward_core::keys::KeyPurpose;
use doorward_core::policy::PolicyEtag;
use doorward_core::store::*;
use doorward_store::{Damage, OpenError, SqliteStore};
use samples::*;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

const NAME: &str = "store.db";

async fn write_everything(store: &SqliteStore) {
    assert!(store.add_service_account(&account("1", "robot")).await.unwrap());
    assert!(store.add_service_account_key(&account_key("aa", "1", 5)).await.unwrap());
    assert!(store.add_user(&user("2", "alice@example.com")).await.unwrap());
    assert!(store.add_application(&application("app", "777", "c1")).await.unwrap());
    let policy = store.replace_policy("projects/1", &bindings(&["domain:example.com"]), None).await.unwrap();
    assert_eq!(policy, Some(PolicyEtag(1)));
    store.add_keys(&[key("k", KeyPurpose::Assertion, 7)]).await.unwrap();
    store.add_access_token(&hash("a"), &grant("1", 100), at(1)).await.unwrap();
    assert!(store.take_assertion_id(&id("1"), "j", at(100), at(1)).await.unwrap());
    store.append(&[allowed("a"), token_event("b"), refused("c")], 1).await.unwrap();
}

async fn expect_everything(store: &SqliteStore) {
    assert_eq!(store.service_accounts(None, 9).await.unwrap(), [account("1", "robot")]);
    assert_eq!(store.service_account_keys(&id("1")).await.unwrap(), [account_key("aa", "1", 5)]);
    assert_eq!(store.users().await.unwrap(), [user("2", "alice@example.com")]);
    assert_eq!(store.applications().await.unwrap(), [application("app", "777", "c1")]);
    assert_eq!(store.policy("projects/1").await.unwrap().bindings, bindings(&["domain:example.com"]));
    assert_eq!(store.keys().await.unwrap(), [key("k", KeyPurpose::Assertion, 7)]);
    assert_eq!(store.access_token(&hash("a"), at(1)).await.unwrap(), Some(grant("1", 100)));
    assert!(!store.take_assertion_id(&id("1"), "j", at(100), at(1)).await.unwrap());
    let events = store.events_after(0, 9).await.unwrap();
    assert_eq!(
        events.iter().map(|stored| (stored.sequence, stored.event.clone())).collect::<Vec<_>>(),
        [(3, refused("c"))]
    );
}

/// Every file of a directory with its bytes and its mode.
fn contents(directory: &Path) -> BTreeMap<String, (Vec<u8>, u32)> {
    let entry = |entry: fs::DirEntry| {
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        (entry.file_name().into_string().unwrap(), (fs::read(entry.path()).unwrap(), mode))
    };
    fs::read_dir(directory).unwrap().map(|found| entry(found.unwrap())).collect()
}

/// A directory as a killed process leaves it: the files of a database that is open and was written.
async fn killed() -> tempfile::TempDir {
    let (living, dead) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = SqliteStore::open(&living.path().join(NAME)).await.unwrap();
    write_everything(&store).await;
    for file in contents(living.path()).keys() {
        fs::copy(living.path().join(file), dead.path().join(file)).unwrap();
    }
    assert!(fs::metadata(dead.path().join("store.db-wal")).unwrap().len() > 0);
    store.close().await;
    dead
}

/// A directory with a database that was closed.
async fn closed() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join(NAME)).await.unwrap();
    write_everything(&store).await;
    store.close().await;
    directory
}

async fn execute(path: &Path, statement: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Opens and must fail, changing nothing in the directory.
async fn refusal(directory: &Path) -> OpenError {
    let before = contents(directory);
    let error = SqliteStore::open(&directory.join(NAME)).await.err().expect("a refusal");
    assert_eq!(contents(directory), before, "{error}");
    assert!(!error.to_string().contains('\n'));
    error
}

#[tokio::test]
async fn a_new_database_and_the_files_beside_it_are_for_their_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join(NAME)).await.unwrap();
    write_everything(&store).await;
    expect_everything(&store).await;
    let modes: Vec<_> = contents(directory.path()).into_iter().map(|(name, (_, mode))| (name, mode)).collect();
    let expected = [("store.db", 0o600), ("store.db-shm", 0o600), ("store.db-wal", 0o600)];
    assert_eq!(modes, expected.map(|(name, mode)| (name.to_owned(), mode)));
    store.close().await;
    assert_eq!(contents(directory.path()).keys().collect::<Vec<_>>(), ["store.db"]);
    assert!(store.users().await.is_err());
    assert!(store.add_user(&user("3", "carol@example.com")).await.is_err());
}

#[tokio::test]
async fn everything_is_there_again_after_closing() {
    let directory = closed().await;
    let store = SqliteStore::open(&directory.path().join(NAME)).await.unwrap();
    expect_everything(&store).await;
    store.close().await;
}

#[tokio::test]
async fn everything_is_there_again_after_the_process_was_killed() {
    for with_index in [true, false] {
        let directory = killed().await;
        if !with_index {
            fs::remove_file(directory.path().join("store.db-shm")).unwrap();
        }
        let store = SqliteStore::open(&directory.path().join(NAME)).await.unwrap();
        expect_everything(&store).await;
        store.close().await;
    }
}

#[tokio::test]
async fn everything_is_there_again_for_a_store_that_was_dropped_without_closing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    write_everything(&SqliteStore::open(&path).await.unwrap()).await;
    for _ in 0..100 {
        // Closes in the background, at the same time as the next one opens.
        drop(SqliteStore::open(&path).await.unwrap());
    }
    expect_everything(&SqliteStore::open(&path).await.unwrap()).await;
}

#[tokio::test]
async fn everything_is_there_for_a_second_store_on_a_database_that_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let first = SqliteStore::open(&path).await.unwrap();
    write_everything(&first).await;
    let second = SqliteStore::open(&path).await.unwrap();
    expect_everything(&second).await;
    second.close().await;
    expect_everything(&first).await;
}

#[tokio::test]
async fn what_a_creation_left_that_was_killed_is_not_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    for left in ["store.db.new", "store.db.new-journal"] {
        fs::write(directory.path().join(left), "half a page").unwrap();
    }
    let store = SqliteStore::open(&directory.path().join(NAME)).await.unwrap();
    write_everything(&store).await;
    store.close().await;
    assert_eq!(contents(directory.path()).keys().collect::<Vec<_>>(), ["store.db"]);
}

#[tokio::test]
async fn a_name_that_is_special_to_sqlite_is_only_a_name() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["file:memory?mode=memory", ":memory:", "sp ace%41#?.db", "caf\u{e9}.db"] {
        let path = directory.path().join(name);
        let store = SqliteStore::open(&path).await.unwrap();
        write_everything(&store).await;
        assert!(fs::metadata(&path).unwrap().len() > 0, "{name}");
        // With the log, whose reading goes through a URI.
        expect_everything(&SqliteStore::open(&path).await.unwrap()).await;
        store.close().await;
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_of_ours_is_refused_and_left_as_it_is() {
    let whole = fs::read(closed().await.path().join(NAME)).unwrap();
    let mut torn = whole.clone();
    torn[4096..3 * 4096].fill(0xa5);
    let mut wrong_header = whole.clone();
    wrong_header[0] = b'X';
    let foreign = {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("foreign.db");
        fs::write(&path, "").unwrap();
        execute(&path, "CREATE TABLE note (text TEXT)").await;
        fs::read(&path).unwrap()
    };
    #[rustfmt::skip]
    let cases: [(&str, &[u8], Damage); 10] = [
        ("an empty file",          b"",                    Damage::Empty),
        ("one byte",               b"x",                   Damage::NotADatabase),
        ("a text",                 &[b'a'; 10_000],        Damage::NotADatabase),
        ("zeros",                  &[0; 8192],             Damage::NotADatabase),
        ("a wrong first byte",     &wrong_header,          Damage::NotADatabase),
        ("a header, no more",      &whole[..100],          Damage::NotADatabase),
        ("a page, no more",        &whole[..4096],         Damage::Inconsistent),
        ("half of it",             &whole[..whole.len() / 8192 * 4096], Damage::Inconsistent),
        ("pages overwritten",      &torn,                  Damage::Inconsistent),
        ("another program's",      &foreign,               Damage::Foreign),
    ];
    for (what, bytes, expected) in cases {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), bytes).unwrap();
        match refusal(directory.path()).await {
            OpenError::Damaged { damage, .. } => assert_eq!(damage, expected, "{what}"),
            other => panic!("{what}: {other}"),
        }
    }
}

#[tokio::test]
async fn damage_is_refused_beside_a_log_too_and_the_log_is_left_as_it_is() {
    for with_index in [true, false] {
        let directory = killed().await;
        if !with_index {
            fs::remove_file(directory.path().join("store.db-shm")).unwrap();
        }
        let path = directory.path().join(NAME);
        for (bytes, expected) in [(&b""[..], Damage::Empty), (&[b'a'; 8192], Damage::NotADatabase)] {
            fs::write(&path, bytes).unwrap();
            let OpenError::Damaged { damage, .. } = refusal(directory.path()).await else { panic!() };
            assert_eq!(damage, expected);
        }
        fs::remove_file(&path).unwrap();
        let OpenError::Damaged { damage, .. } = refusal(directory.path()).await else { panic!() };
        assert_eq!(damage, Damage::Missing, "an old log must not be played into a new database");
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_as_it_is() {
    let directory = closed().await;
    execute(&directory.path().join(NAME), "PRAGMA user_version = 1000").await;
    assert!(matches!(refusal(directory.path()).await, OpenError::Newer { found: 1000, known: 1, .. }));
}

#[tokio::test]
async fn a_newer_version_that_was_killed_is_recognised_by_its_log() {
    for with_index in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        SqliteStore::open(&path).await.unwrap().close().await;
        let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        sqlx::raw_sql("PRAGMA user_version = 1000").execute(&mut connection).await.unwrap();
        let dead = tempfile::tempdir().unwrap();
        for file in contents(directory.path()).keys().filter(|name| with_index || !name.ends_with("-shm")) {
            fs::copy(directory.path().join(file), dead.path().join(file)).unwrap();
        }
        assert!(fs::metadata(dead.path().join("store.db-wal")).unwrap().len() > 0);
        assert!(matches!(refusal(dead.path()).await, OpenError::Newer { found: 1000, .. }));
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "").unwrap();
    fs::create_dir(directory.path().join("directory")).unwrap();
    for place in ["absent/store.db", "file/store.db", "directory"] {
        let path = directory.path().join(place);
        let error = SqliteStore::open(&path).await.err().expect("a refusal");
        assert!(matches!(error, OpenError::Unwritable { .. }), "{place}: {error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    let left = fs::read_dir(directory.path()).unwrap().count()
        + fs::read_dir(directory.path().join("directory")).unwrap().count();
    assert_eq!(left, 2);
}

#[tokio::test]
async fn a_stored_value_that_cannot_be_read_is_damage_and_not_an_empty_answer() {
    let stored = |statement| async move {
        let directory = closed().await;
        execute(&directory.path().join(NAME), statement).await;
        (SqliteStore::open(&directory.path().join(NAME)).await.unwrap(), directory)
    };
    for statement in [
        r#"UPDATE policy SET bindings = '[{"role":"roles/owner","members":[]}]'"#,
        r#"UPDATE policy SET bindings = '[{"role":"roles/iap.httpsResourceAccessor","members":["robot"]}]'"#,
        r#"UPDATE policy SET bindings = '[{"role":"roles/iap.httpsResourceAccessor","members":[],"condition":{}}]'"#,
        "UPDATE policy SET bindings = ''",
        "UPDATE policy SET bindings = x'ff'",
    ] {
        let (store, _directory) = stored(statement).await;
        assert!(matches!(store.policy("projects/1").await, Err(StoreError::Damaged { .. })), "{statement}");
        assert!(matches!(store.policies().await, Err(StoreError::Damaged { .. })), "{statement}");
    }
    let (store, _directory) = stored("UPDATE service_account SET email = 'robot'").await;
    assert!(matches!(store.service_accounts(None, 1).await, Err(StoreError::Damaged { .. })));
    let (store, _directory) = stored("UPDATE service_account_key SET public_jwk = '{}'").await;
    assert!(matches!(store.service_account_key("aa").await, Err(StoreError::Damaged { .. })));
    let (store, _directory) = stored("UPDATE signing_key SET purpose = 'other'").await;
    assert!(matches!(store.keys().await, Err(StoreError::Damaged { .. })));
    let (store, _directory) = stored("UPDATE access_token SET scopes = 'everything'").await;
    assert!(matches!(store.access_token(&hash("a"), at(1)).await, Err(StoreError::Damaged { .. })));
    let (store, _directory) = stored("UPDATE audit_event SET event = '{}'").await;
    assert!(matches!(store.latest_events(1).await, Err(StoreError::Damaged { .. })));
}
