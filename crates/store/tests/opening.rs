//! What opening a database finds, makes and leaves alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the samples are those of all files")]
mod samples;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use doorward_core::access_level::{AccessLevel, Definition};
use doorward_core::account::{ServiceAccount, User};
use doorward_core::audit::{AuditEvent, ChainLink, StoredEvent, TokenMethod, verify_chain};
use doorward_core::entropy::SystemEntropy;
use doorward_core::grant::{RefreshGrant, TakenCode};
use doorward_core::keys::{KeyPurpose, StoredKey};
use doorward_core::policy::{CustomRole, Etag, LaunchStage, Permission, PermissionSet, Policy};
use doorward_core::resource::Application;
use doorward_core::store::*;
use doorward_store::{Damage, KeyFileError, OpenError, Sealer, SqliteStore};
use samples::*;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

const NAME: &str = "store.db";

const LEVEL: &str = "accessPolicies/1/accessLevels/a";

fn role() -> CustomRole {
    CustomRole {
        name: "projects/1/roles/abc".parse().unwrap(),
        title: "t".into(),
        description: String::new(),
        stage: LaunchStage::Ga,
        permissions: PermissionSet::of(&[Permission::GetProject]),
        deleted: false,
        etag: Etag(1),
    }
}

async fn write_everything(store: &SqliteStore) {
    assert!(store.add_service_account(&account("1", "robot")).await.unwrap());
    assert!(store.add_service_account_key(&account_key("aa", "1", 5)).await.unwrap());
    assert!(store.add_managed_key(&managed_key("managed", "1", 6), None).await.unwrap());
    assert!(store.add_user(&user("2", "alice@example.com")).await.unwrap());
    assert!(store.set_password(&id("2"), &password("x")).await.unwrap());
    assert!(store.add_oauth_client(&client("c")).await.unwrap());
    store.put_session(None, &hash("session"), &session(&["2"], 100), at(1)).await.unwrap();
    assert!(store.replace_settings("projects/1", &Default::default(), &settings(&["c"])).await.unwrap());
    let grant = person_grant("g", "c");
    store.add_code(&hash("code"), &code_grant(&grant, 100), at(1)).await.unwrap();
    assert!(matches!(store.take_code(&hash("code"), &grant.client, at(1)).await.unwrap(), TakenCode::Taken(_)));
    assert!(store.add_refresh_token(&hash("old"), &grant.id).await.unwrap());
    assert!(store.rotate_refresh_token(&hash("old"), &hash("rt")).await.unwrap());
    assert!(store.add_access_token(&hash("at"), &access(&grant, 100), at(1)).await.unwrap());
    assert!(store.add_device_code(&hash("d"), &hash("u"), &device_grant("c", 100), at(1)).await.unwrap());
    store.add_application(&application("app", "777", "c1")).await.unwrap().unwrap();
    let policy = store.replace_policy("projects/1", &bindings(&["domain:example.com"]), None, &[]).await.unwrap();
    assert_ne!(written(policy), Etag::UNWRITTEN);
    store.add_deny_policy(&deny_policy("deny", &[rule(&["allUsers"], &[])])).await.unwrap().unwrap();
    let definition = Definition::Expression("true".into());
    let level = AccessLevel::new(LEVEL.parse().unwrap(), "t".into(), String::new(), definition).unwrap();
    assert!(store.add_access_level(&level, &[]).await.unwrap());
    store.add_role(&role()).await.unwrap().unwrap();
    store.add_keys(&[key("k", KeyPurpose::Assertion, 7)]).await.unwrap();
    assert!(store.add_access_token(&hash("a"), &samples::grant("1", 100), at(1)).await.unwrap());
    assert!(store.take_assertion_id(&id("1"), "j", at(100), at(1)).await.unwrap());
    store.append(&[allowed("a"), token_event("b"), refused("c")], 1).await.unwrap();
}

async fn expect_everything(store: &SqliteStore) {
    assert_eq!(store.service_accounts(None, 9).await.unwrap(), [account("1", "robot")]);
    let managed = managed_key("managed", "1", 6);
    assert_eq!(store.managed_key(&id("1")).await.unwrap().as_ref(), Some(&managed));
    assert_eq!(store.service_account_keys(&id("1")).await.unwrap(), [account_key("aa", "1", 5), managed.key]);
    let alice = user("2", "alice@example.com");
    assert_eq!(store.users().await.unwrap(), std::slice::from_ref(&alice));
    assert_eq!(store.user_by_email(&alice.email).await.unwrap(), Some((alice, Some(password("x")))));
    assert_eq!(store.oauth_clients().await.unwrap(), [client("c")]);
    assert_eq!(store.session(&hash("session"), at(1)).await.unwrap(), Some(session(&["2"], 100)));
    assert_eq!(store.settings("projects/1").await.unwrap(), settings(&["c"]));
    let grant = person_grant("g", "c");
    let code = store.take_code(&hash("code"), &grant.client, at(1)).await.unwrap();
    assert_eq!(code, TakenCode::Reused(grant.id.clone()));
    for (token, rotated) in [("old", true), ("rt", false)] {
        let expected = RefreshGrant { grant: grant.clone(), rotated };
        assert_eq!(store.refresh_token(&hash(token)).await.unwrap(), Some(expected));
    }
    assert_eq!(store.access_token(&hash("at"), at(1)).await.unwrap(), Some(access(&grant, 100)));
    assert_eq!(store.device_grant(&hash("u"), at(1)).await.unwrap(), Some(device_grant("c", 100)));
    let applications = store.applications().await.unwrap();
    let expected = Application { etag: applications[0].etag, ..application("app", "777", "c1") };
    assert_eq!(applications, [expected]);
    assert_eq!(store.policy("projects/1").await.unwrap().bindings, bindings(&["domain:example.com"]));
    assert_eq!(store.roles().await.unwrap(), [role()]);
    assert_eq!(store.deny_policies().await.unwrap()[0].rules, [rule(&["allUsers"], &[])]);
    assert_eq!(store.access_levels().await.unwrap()[0].name().as_str(), LEVEL);
    assert_eq!(store.keys().await.unwrap(), [key("k", KeyPurpose::Assertion, 7)]);
    assert_eq!(store.access_token(&hash("a"), at(1)).await.unwrap(), Some(samples::grant("1", 100)));
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
    let expected = ["store.db", "store.db-shm", "store.db-wal", "store.db.key"].map(|name| (name, 0o600));
    assert_eq!(modes, expected.map(|(name, mode)| (name.to_owned(), mode)));
    store.close().await;
    assert_eq!(contents(directory.path()).keys().collect::<Vec<_>>(), ["store.db", "store.db.key"]);
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
    assert_eq!(contents(directory.path()).keys().collect::<Vec<_>>(), ["store.db", "store.db.key"]);
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
    assert!(matches!(refusal(directory.path()).await, OpenError::Newer { found: 1000, known: 5, .. }));
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

/// What the first schema's version wrote.
const FIRST_ROWS: &str = r#"
INSERT INTO service_account VALUES ('1', 'robot@dev-project.iam.gserviceaccount.com', 'Robot', 'text', FALSE);
INSERT INTO service_account_key VALUES ('aa', '1', '{"kty":"RSA","alg":"RS256","use":"sig","kid":"aa",
    "n":"sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4","e":"AQAB"}', 5000001);
INSERT INTO person VALUES ('2', 'alice@example.com', TRUE);
INSERT INTO application VALUES ('app', '777', 'c1');
INSERT INTO policy VALUES ('projects/1',
    '[{"role":"roles/iap.httpsResourceAccessor","members":["domain:example.com"]}]', 3);
INSERT INTO signing_key VALUES ('k', 'assertion', x'00ff2707', 7000000), ('l', 'id-token', x'01', 8000000);
INSERT INTO access_token VALUES
    ('ypeBEsobvcr6wjGzmiPcTaeG7_gUfE5yuYB3ha_uSLs', '1', 'openid https://www.googleapis.com/auth/cloud-platform', 100000000);
INSERT INTO used_assertion VALUES ('1', 'j', 100000000);
INSERT INTO audit_event VALUES (4, '{"type":"token","id":"b","time":1700000000000000,"account":null,"issued":"id_token",
    "audience":"c1","refused":null}');
"#;

/// A database of schema 1.
async fn first_schema(path: &Path) {
    let mut connection = SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    for statements in [
        include_str!("../migrations/0001_initial.sql"),
        FIRST_ROWS,
        "PRAGMA application_id = 1148352356; PRAGMA user_version = 1; PRAGMA journal_mode = WAL",
    ] {
        sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_database_of_the_first_schema_is_opened_without_loss() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    first_schema(&path).await;
    // The second time there is nothing left to do.
    for _ in 0..2 {
        let store = SqliteStore::open(&path).await.unwrap();
        let robot =
            ServiceAccount { display_name: "Robot".into(), description: "text".into(), ..account("1", "robot") };
        assert_eq!(store.service_accounts(None, 9).await.unwrap(), [robot]);
        assert_eq!(store.service_account_keys(&id("1")).await.unwrap(), [account_key("aa", "1", 5)]);
        assert_eq!(store.managed_key(&id("1")).await.unwrap(), None);
        let alice = User { disabled: true, ..user("2", "alice@example.com") };
        assert_eq!(store.user_by_email(&alice.email).await.unwrap(), Some((alice, None)));
        assert_eq!(store.applications().await.unwrap(), [application("app", "777", "c1")]);
        let policy = Policy { bindings: bindings(&["domain:example.com"]), etag: Etag(3) };
        assert_eq!(store.policies().await.unwrap(), [("projects/1".to_owned(), policy)]);
        let keys: Vec<_> = store.keys().await.unwrap();
        let expected = [("k", KeyPurpose::Assertion, vec![0, 255, 39, 7], 7), ("l", KeyPurpose::IdToken, vec![1], 8)];
        let expected = expected.map(|(id, purpose, secret, made)| StoredKey {
            id: id.to_owned(),
            purpose,
            secret,
            created: at(made),
            signs_from: at(made),
        });
        assert_eq!(keys, expected, "a key signs from when it was made");
        assert_eq!(store.access_token(&hash("a"), at(1)).await.unwrap(), Some(samples::grant("1", 100)));
        assert!(!store.take_assertion_id(&id("1"), "j", at(100), at(1)).await.unwrap());
        let events = store.events_after(0, 9).await.unwrap();
        let [StoredEvent { sequence: 4, event: AuditEvent::Token(event), .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((event.method, event.issued.as_deref()), (TokenMethod::JwtBearer, Some("id_token")));
        // It was chained when the database was opened: the oldest that remained begins the chain.
        let start = store.chain_start().await.unwrap();
        assert_eq!(start, ChainLink { sequence: 3, ..ChainLink::start() });
        let end = verify_chain(start, store.raw_events_after(0, 9).await.unwrap()).unwrap();
        assert_eq!((end.sequence, &end.hash), (4, &events[0].hash));
        assert_eq!(store.event("b").await.unwrap().as_ref(), Some(&events[0]));
        assert_eq!(store.sequence_before(event.time).await.unwrap(), 3);
        store.close().await;
    }
    let store = SqliteStore::open(&path).await.unwrap();
    assert!(store.add_managed_key(&managed_key("managed", "1", 6), None).await.unwrap());
    assert!(store.set_password(&id("2"), &password("x")).await.unwrap());
    assert!(store.remove_service_account(&id("1")).await.unwrap(), "its old key and token are still its own");
    assert_eq!(store.every_service_account_key(None, 9).await.unwrap(), []);
    assert_eq!(store.access_token(&hash("a"), at(1)).await.unwrap(), None);
    store.append(&[allowed("next")], 9).await.unwrap();
    let events = store.raw_events_after(0, 9).await.unwrap();
    assert_eq!(verify_chain(store.chain_start().await.unwrap(), events).unwrap().sequence, 5);
    let app = store.application("777").await.unwrap().unwrap();
    assert!(store.replace_application(&app, Some(app.etag)).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_database_of_the_first_schema_is_opened_with_the_log_of_a_killed_process() {
    let (living, dead) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = living.path().join(NAME);
    first_schema(&path).await;
    let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let late = "INSERT INTO person VALUES ('3', 'bob@example.com', FALSE)";
    sqlx::raw_sql(late).execute(&mut connection).await.unwrap();
    for file in contents(living.path()).keys() {
        fs::copy(living.path().join(file), dead.path().join(file)).unwrap();
    }
    connection.close().await.unwrap();
    let store = SqliteStore::open(&dead.path().join(NAME)).await.unwrap();
    let emails: Vec<_> = store.users().await.unwrap().into_iter().map(|user| user.email.to_string()).collect();
    assert_eq!(emails, ["alice@example.com", "bob@example.com"]);
}

#[tokio::test]
async fn a_database_that_cannot_be_brought_to_the_new_schema_stays_in_the_old_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    first_schema(&path).await;
    // Something of ours is there already: the migration fails near its end.
    execute(&path, "CREATE TABLE device_code (x TEXT)").await;
    assert!(SqliteStore::open(&path).await.is_err());
    let mut connection = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await.unwrap();
    let added: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'oauth_client'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!((version, added), (1, 0));
    connection.close().await.unwrap();
}

#[tokio::test]
async fn secrets_of_an_old_database_are_sealed_and_nothing_is_left_of_them_as_they_were() {
    const SECRET: &str = "a private key that nobody sealed";
    let holds_it = |directory: &Path| -> Vec<String> {
        let files = contents(directory).into_iter();
        let holds = |bytes: &[u8]| bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
        files.filter(|(_, (bytes, _))| holds(bytes)).map(|(name, _)| name).collect()
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    first_schema(&path).await;
    execute(&path, "UPDATE signing_key SET secret = CAST('a private key that nobody sealed' AS BLOB)").await;
    assert_eq!(holds_it(directory.path()), ["store.db"]);
    let store = SqliteStore::open(&path).await.unwrap();
    let secrets: Vec<_> = store.keys().await.unwrap().into_iter().map(|key| key.secret).collect();
    assert_eq!(secrets, [SECRET.as_bytes(), SECRET.as_bytes()]);
    assert_eq!(holds_it(directory.path()), [""; 0], "while it is open");
    store.close().await;
    assert_eq!(holds_it(directory.path()), [""; 0]);
}

#[tokio::test]
async fn new_secrets_are_nowhere_in_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&directory.path().join(NAME)).await.unwrap();
    let secret = b"thirty-two letters of a secret..".to_vec();
    let (signing, mut managed) = (key("k", KeyPurpose::Assertion, 7), managed_key("managed", "1", 6));
    managed.secret.clone_from(&secret);
    assert!(store.add_service_account(&account("1", "robot")).await.unwrap());
    assert!(store.add_managed_key(&managed, None).await.unwrap());
    store.add_keys(&[StoredKey { secret: secret.clone(), ..signing }]).await.unwrap();
    store.close().await;
    for (name, (bytes, _)) in contents(directory.path()) {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{name}");
    }
}

#[tokio::test]
async fn a_database_without_its_key_is_refused_and_left_as_it_is() {
    let directory = closed().await;
    let key_file = directory.path().join("store.db.key");
    let own = fs::read(&key_file).unwrap();
    fs::remove_file(&key_file).unwrap();
    let error = refusal(directory.path()).await;
    assert!(matches!(&error, OpenError::KeyFile { cause: KeyFileError::Missing, .. }), "{error:?}");
    assert!(error.to_string().contains("store.db.key"), "{error}");

    fs::write(&key_file, "no key").unwrap();
    assert!(matches!(refusal(directory.path()).await, OpenError::KeyFile { cause: KeyFileError::NotAKey, .. }));

    fs::copy(closed().await.path().join("store.db.key"), &key_file).unwrap();
    let error = refusal(directory.path()).await;
    assert!(matches!(error, OpenError::WrongKey { .. }), "{error:?}");
    assert!(error.to_string().contains("store.db.key"), "{error}");

    fs::write(&key_file, own).unwrap();
    expect_everything(&SqliteStore::open(&directory.path().join(NAME)).await.unwrap()).await;
}

#[tokio::test]
async fn a_key_may_be_kept_somewhere_else() {
    let (directory, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, key_file) = (directory.path().join(NAME), keys.path().join("key"));
    let sealer = || Sealer::from_file_or_new(&key_file, &SystemEntropy).unwrap();
    let store = SqliteStore::open_sealed(&path, sealer()).await.unwrap();
    write_everything(&store).await;
    store.close().await;
    assert_eq!(contents(directory.path()).keys().collect::<Vec<_>>(), ["store.db"]);
    expect_everything(&SqliteStore::open_sealed(&path, sealer()).await.unwrap()).await;
}

#[tokio::test]
async fn a_database_whose_tables_are_not_those_of_its_version_is_refused() {
    for statement in
        ["PRAGMA user_version = 3", "PRAGMA user_version = 1", "DROP TABLE audit_head", "DROP TABLE sealing"]
    {
        let directory = closed().await;
        execute(&directory.path().join(NAME), statement).await;
        let error = SqliteStore::open(&directory.path().join(NAME)).await.err().expect("a refusal");
        assert!(matches!(error, OpenError::Damaged { damage: Damage::HalfMade, .. }), "{statement}: {error:?}");
    }
}

#[tokio::test]
async fn a_secret_that_was_moved_to_another_row_does_not_open() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    let store = SqliteStore::open(&path).await.unwrap();
    store.add_keys(&[key("k", KeyPurpose::Assertion, 7), key("l", KeyPurpose::Assertion, 8)]).await.unwrap();
    store.close().await;
    execute(&path, "UPDATE signing_key SET secret = (SELECT secret FROM signing_key WHERE id = 'k')").await;
    let store = SqliteStore::open(&path).await.unwrap();
    assert!(matches!(store.keys().await, Err(StoreError::Damaged { what: "sealed secret" })));
}

#[tokio::test]
async fn a_stored_value_that_cannot_be_read_is_damage_and_not_an_empty_answer() {
    let stored = |statement| async move {
        let directory = closed().await;
        execute(&directory.path().join(NAME), statement).await;
        (SqliteStore::open(&directory.path().join(NAME)).await.unwrap(), directory)
    };
    for statement in [
        r#"UPDATE policy SET bindings = '[{"role":"owner","members":[]}]'"#,
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
    let (store, _directory) = stored("UPDATE access_token SET client = NULL").await;
    assert!(matches!(store.access_token(&hash("at"), at(1)).await, Err(StoreError::Damaged { .. })));
    for statement in [r#"UPDATE oauth_client SET kind = '{"type":"tv"}'"#, "UPDATE oauth_client SET kind = ''"] {
        let (store, _directory) = stored(statement).await;
        assert!(matches!(store.oauth_client(&client_id("c")).await, Err(StoreError::Damaged { .. })), "{statement}");
        assert!(matches!(store.oauth_clients().await, Err(StoreError::Damaged { .. })), "{statement}");
    }
    let (store, _directory) = stored("UPDATE sign_in_session SET accounts = '[2]'").await;
    assert!(matches!(store.session(&hash("session"), at(1)).await, Err(StoreError::Damaged { .. })));
    let (store, _directory) = stored(r#"UPDATE iap_settings SET settings = '{"reauth":{}}'"#).await;
    assert!(matches!(store.settings("projects/1").await, Err(StoreError::Damaged { .. })));
    assert!(matches!(store.every_settings().await, Err(StoreError::Damaged { .. })));
    for statement in ["UPDATE person_grant SET scopes = 'everything'", "UPDATE person_grant SET nonce = x'ff'"] {
        let (store, _directory) = stored(statement).await;
        assert!(matches!(store.refresh_token(&hash("rt")).await, Err(StoreError::Damaged { .. })), "{statement}");
    }
    let (store, _directory) =
        stored("UPDATE authorization_code SET taken = FALSE, challenge = '{\"method\":\"none\"}'").await;
    for _ in 0..2 {
        let taken = store.take_code(&hash("code"), &client_id("c"), at(1)).await;
        assert!(matches!(taken, Err(StoreError::Damaged { .. })), "and it is not taken");
    }
    let (store, _directory) = stored("UPDATE device_code SET scopes = ''").await;
    assert!(matches!(store.device_grant(&hash("u"), at(1)).await, Err(StoreError::Damaged { .. })));
    for statement in [
        "UPDATE registered_application SET kind = 'tv'",
        "UPDATE registered_application SET service = 'default'",
        "UPDATE registered_application SET name = 'App'",
        r#"UPDATE registered_application SET routes = '[{"origin":"ftp://a","prefix":"/"}]'"#,
        r#"UPDATE registered_application SET routes = '[{"origin":"http://a","prefix":"/","only":1}]'"#,
    ] {
        let (store, _directory) = stored(statement).await;
        assert!(matches!(store.applications().await, Err(StoreError::Damaged { .. })), "{statement}");
        assert!(matches!(store.application("777").await, Err(StoreError::Damaged { .. })), "{statement}");
    }
    for statement in [
        "UPDATE deny_policy SET attachment = 'projects/1/iap_web'",
        "UPDATE deny_policy SET rules = '[{}]'",
        "UPDATE deny_policy SET rules = REPLACE(rules, 'allUsers', 'robot')",
        "UPDATE deny_policy SET rules = REPLACE(rules, 'projects.get', 'projects.none')",
    ] {
        let (store, _directory) = stored(statement).await;
        assert!(matches!(store.deny_policies().await, Err(StoreError::Damaged { .. })), "{statement}");
    }
    for statement in [
        "UPDATE custom_role SET stage = 'NONE'",
        r#"UPDATE custom_role SET permissions = '["none.such"]'"#,
        "UPDATE custom_role SET name = 'mine'",
    ] {
        let (store, _directory) = stored(statement).await;
        assert!(matches!(store.roles().await, Err(StoreError::Damaged { .. })), "{statement}");
    }
    for statement in [
        r#"UPDATE access_level SET definition = '{"expression":"no such"}'"#,
        r#"UPDATE access_level SET definition = '{"simple":{}}'"#,
        "UPDATE access_level SET name = 'a'",
    ] {
        let (store, _directory) = stored(statement).await;
        assert!(matches!(store.access_levels().await, Err(StoreError::Damaged { .. })), "{statement}");
    }
    let (store, _directory) = stored("UPDATE change_log SET kind = 'other'").await;
    assert!(matches!(store.changes_after(Revision::default(), 9).await, Err(StoreError::Damaged { .. })));
    let (store, _directory) = stored("DELETE FROM name_lock").await;
    let refused = store.replace_policy("projects/1", &[], None, &[]).await;
    assert!(matches!(refused, Err(StoreError::Damaged { .. })));
    let (store, _directory) = stored("UPDATE audit_event SET event = '{}'").await;
    assert!(matches!(store.latest_events(1).await, Err(StoreError::Damaged { .. })));
}
