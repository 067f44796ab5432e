//! What is particular to a database of a PostgreSQL server: how it is opened, who else uses it, and what happens when it is away.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod postgres;
#[expect(dead_code, reason = "the samples are those of all files")]
mod samples;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorward_core::entropy::SystemEntropy;
use doorward_core::keys::KeyPurpose;
use doorward_core::policy::Etag;
use doorward_core::store::*;
use doorward_store::{Damage, OpenError, PostgresOptions, Sealer, SqlStore};
use postgres::{Cluster, Database};
use samples::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

async fn refusal(database: &Database<'_>, options: &PostgresOptions) -> OpenError {
    let error = SqlStore::open_postgres(options, database.sealer()).await.err().expect("a refusal");
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

#[tokio::test]
async fn what_one_instance_wrote_is_there_for_another_and_after_closing() {
    let database = Cluster::shared().database().await;
    let (first, second) = (database.open().await, database.open().await);
    assert!(first.add_service_account(&account("1", "robot")).await.unwrap());
    assert!(first.add_managed_key(&managed_key("managed", "1", 6), None).await.unwrap());
    first.add_keys(&[key("k", KeyPurpose::Assertion, 7)]).await.unwrap();
    first.append(&[allowed("a"), token_event("b")], 10).await.unwrap();
    first.close().await;
    assert!(first.users().await.is_err());
    for store in [second, database.open().await] {
        assert_eq!(store.managed_key(&id("1")).await.unwrap(), Some(managed_key("managed", "1", 6)));
        assert_eq!(store.keys().await.unwrap(), [key("k", KeyPurpose::Assertion, 7)]);
        assert_eq!(store.latest_events(9).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn instances_that_start_at_once_on_an_empty_database_make_its_schema_once() {
    let database = Cluster::shared().database().await;
    let mut opening = JoinSet::new();
    for _ in 0..8 {
        let (options, sealer) = (database.options(), database.sealer());
        opening.spawn(async move { SqlStore::open_postgres(&options, sealer).await.unwrap() });
    }
    let stores = opening.join_all().await;
    assert!(stores[0].add_user(&user("1", "alice@example.com")).await.unwrap());
    assert_eq!(stores[7].users().await.unwrap().len(), 1);
    assert_eq!(database.number("SELECT version FROM doorward_schema").await, 5);
}

#[tokio::test]
async fn a_token_that_one_instance_forgot_is_good_at_no_other() {
    let database = Cluster::shared().database().await;
    let (first, second) = (database.open().await, database.open().await);
    assert!(first.add_access_token(&hash("a"), &grant("1", 100), at(1)).await.unwrap());
    assert!(second.access_token(&hash("a"), at(1)).await.unwrap().is_some());
    assert!(first.remove_access_token(&hash("a")).await.unwrap());
    assert_eq!(second.access_token(&hash("a"), at(1)).await.unwrap(), None);
}

#[tokio::test]
async fn names_are_in_the_order_of_their_bytes_whatever_the_language_of_the_database() {
    let database = Cluster::shared().database().await;
    assert_eq!(
        database.number("SELECT COUNT(*) FROM (SELECT 1 WHERE 'a' COLLATE \"en-US-x-icu\" < 'B') AS x").await,
        1
    );
    let store = database.open().await;
    for (n, name) in ["a", "B", "\u{e9}", "z"].into_iter().enumerate() {
        assert!(store.add_oauth_client(&client(name)).await.unwrap(), "{n}");
    }
    let names: Vec<_> = store.oauth_clients().await.unwrap().into_iter().map(|client| client.id.0).collect();
    assert_eq!(names, ["B", "a", "z", "\u{e9}"]);
}

#[tokio::test]
async fn a_database_of_another_version_or_of_another_program_is_refused_and_left_as_it_is() {
    // (what was done to a database of ours, or to an empty one) => how it is refused
    let ours = [
        ("UPDATE doorward_schema SET version = 1000", None),
        ("UPDATE doorward_schema SET version = 3", Some(Damage::HalfMade)),
        ("UPDATE doorward_schema SET version = 0", Some(Damage::HalfMade)),
        ("DELETE FROM doorward_schema", Some(Damage::HalfMade)),
        ("INSERT INTO doorward_schema VALUES (5)", Some(Damage::HalfMade)),
        ("DROP TABLE doorward_schema", Some(Damage::HalfMade)),
        ("DROP TABLE audit_head", Some(Damage::HalfMade)),
        ("DELETE FROM sealing", Some(Damage::HalfMade)),
    ];
    for (statement, damage) in ours {
        let database = Cluster::shared().database().await;
        database.open().await.close().await;
        database.execute(statement).await;
        let before = database.number("SELECT COUNT(*) FROM pg_tables").await;
        match refusal(&database, &database.options()).await {
            OpenError::Newer { found: 1000, known: 5, .. } => assert_eq!(damage, None, "{statement}"),
            OpenError::Damaged { damage: found, .. } => assert_eq!(Some(found), damage, "{statement}"),
            other => panic!("{statement}: {other}"),
        }
        assert_eq!(database.number("SELECT COUNT(*) FROM pg_tables").await, before, "{statement}");
    }

    let database = Cluster::shared().database().await;
    database.execute("CREATE TABLE policy (insurance TEXT)").await;
    let error = refusal(&database, &database.options()).await;
    assert!(matches!(error, OpenError::Damaged { damage: Damage::HalfMade, .. }), "{error}");
    assert_eq!(database.number("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'").await, 1);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing() {
    let database = Cluster::shared().database().await;
    // An index has the name of one of ours: found only when the second migration is half done.
    database.execute("CREATE TABLE note (text TEXT); CREATE INDEX device_code_by_grant ON note (text)").await;
    let error = refusal(&database, &database.options()).await;
    assert!(error.to_string().contains("device_code_by_grant"), "{error}");
    assert_eq!(database.number("SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'").await, 1);
    database.execute("DROP TABLE note").await;
    database.open().await;
}

#[tokio::test]
async fn secrets_are_sealed_with_a_key_that_the_database_does_not_hold() {
    let database = Cluster::shared().database().await;
    let store = database.open().await;
    store.add_keys(&[key("k", KeyPurpose::Assertion, 7)]).await.unwrap();
    let shown = "SELECT COUNT(*) FROM signing_key WHERE position('\\x00ff2707'::bytea IN secret) > 0";
    assert_eq!(database.number(shown).await, 0);

    let other = tempfile::tempdir().unwrap();
    let other = Sealer::from_file_or_new(&other.path().join("key"), &SystemEntropy).unwrap();
    let error = SqlStore::open_postgres(&database.options(), other).await.err().expect("a refusal");
    assert!(matches!(error, OpenError::WrongKey { .. }), "{error}");
    assert_eq!(database.open().await.keys().await.unwrap(), [key("k", KeyPurpose::Assertion, 7)]);
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_is_told_from_one_that_is_not_there_and_no_message_has_the_password() {
    let database = Cluster::shared().database().await;
    let user = format!("{}_guarded", database.name);
    database
        .execute(&format!("CREATE ROLE guarded; CREATE ROLE {user} LOGIN PASSWORD 'open sesame' IN ROLE guarded"))
        .await;
    let guarded = PostgresOptions::from_url(&database.url(&user)).unwrap();
    let absent = PostgresOptions::from_url("postgres://me:wr0ng@127.0.0.1:1/there").unwrap();
    let no_database = database.url("postgres").replace(&database.name, "absent");
    let no_database = PostgresOptions::from_url(&no_database).unwrap();
    // (how) => part of the message
    let cases = [
        (guarded.clone().password("wr0ng"), "password authentication failed"),
        (no_database, "\"absent\" does not exist"),
        (absent, "127.0.0.1:1/there"),
    ];
    for (options, part) in cases {
        let error = refusal(&database, &options).await;
        assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
        let everything = format!("{error} {error:?} {options:?}");
        assert!(!everything.contains("wr0ng"), "{everything}");
    }

    let file = database.key_file().with_file_name("password");
    std::fs::write(&file, "open sesame\n").unwrap();
    let allowed = guarded.password_file(&file).unwrap();
    // PostgreSQL 15 lets nobody make tables who was not allowed to.
    let error = refusal(&database, &allowed).await;
    assert!(matches!(error, OpenError::Unwritable { .. }), "{error:?}");
    database.execute(&format!("GRANT CREATE ON SCHEMA public TO {user}")).await;
    let store = SqlStore::open_postgres(&allowed, database.sealer()).await.unwrap();
    assert_eq!(store.users().await.unwrap(), []);
}

#[tokio::test]
async fn a_database_that_cannot_be_written_or_keeps_other_letters_is_refused() {
    let database = Cluster::shared().database().await;
    let latin = format!("{}_latin", database.name);
    database.execute(&format!("CREATE DATABASE {latin} TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")).await;
    let options = PostgresOptions::from_url(&database.url("postgres").replace(&database.name, &latin)).unwrap();
    let error = refusal(&database, &options).await;
    assert!(error.to_string().contains("UTF8"), "{error}");

    database.execute(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name)).await;
    let error = refusal(&database, &database.options()).await;
    assert!(matches!(error, OpenError::Unwritable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_statement_that_waits_too_long_is_an_error_and_the_next_one_works() {
    let database = Cluster::shared().database().await;
    let options = database.options().statement_timeout(Duration::from_millis(200));
    let store = SqlStore::open_postgres(&options, database.sealer()).await.unwrap();
    let mut other = Cluster::shared().connect(&database.name).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE policy").execute(&mut other).await.unwrap();
    assert!(matches!(store.policies().await, Err(StoreError::Unavailable(_))));
    let written = store.replace_policy("projects/1", &[], None, &[]).await;
    assert!(matches!(written, Err(StoreError::Unavailable(_))));
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(store.policies().await.unwrap(), []);
    assert_eq!(store.replace_policy("projects/1", &[], None, &[]).await.unwrap(), PolicyWrite::Written(Etag(1)));
}

/// Stands between a store and the server. Once a statement is asked that has `deadly` in it, the connection stays open and
/// nothing passes it any more, as with a cable that was pulled.
async fn silent_after(deadly: &'static [u8], server: PathBuf, folder: &Path) {
    let listener = UnixListener::bind(folder.join(".s.PGSQL.5432")).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = UnixStream::connect(&server).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            tokio::spawn(async move {
                let mut buffer = [0; 8192];
                while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                    if buffer[..length].windows(deadly.len()).any(|part| part == deadly) {
                        return std::future::pending().await;
                    }
                    to_server.write_all(&buffer[..length]).await.unwrap();
                }
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_falls_silent_costs_a_call_its_answer_and_the_pool_no_connection() {
    let (database, folder) = (Cluster::shared().database().await, tempfile::tempdir().unwrap());
    silent_after(b"FROM person WHERE email", Cluster::shared().socket(), folder.path()).await;
    let socket = folder.path().to_str().unwrap().replace('/', "%2F");
    let options = PostgresOptions::from_url(&format!("postgres://postgres@{socket}/{}", database.name)).unwrap();
    let options = options.connections(1).statement_timeout(Duration::from_millis(100));
    let store = SqlStore::open_postgres(&options, database.sealer()).await.unwrap();
    for round in 0..2 {
        let email = "alice@example.com".parse().unwrap();
        assert!(matches!(store.user_by_email(&email).await, Err(StoreError::Unavailable(_))), "{round}");
        assert_eq!(store.users().await.unwrap(), [], "{round}: another connection takes its place");
    }
}

/// Reads the record as a follower does: what it sees has no gap, and nothing appears before what it has seen.
async fn follow(store: &SqlStore, until: i64) {
    let mut seen = 0;
    while seen < until {
        for stored in store.events_after(seen, 1000).await.unwrap() {
            assert_eq!(stored.sequence, seen + 1);
            seen = stored.sequence;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_follows_the_record_misses_nothing_however_many_instances_append() {
    let database = Cluster::shared().database().await;
    let (instances, batches, size) = (4, 25, 7);
    let mut appending = JoinSet::new();
    for instance in 0..instances {
        let store = database.open().await;
        appending.spawn(async move {
            for batch in 0..batches {
                let events: Vec<_> = (0..size).map(|n| allowed(&format!("{instance}-{batch}-{n}"))).collect();
                store.append(&events, 1_000_000).await.unwrap();
                // One that fails takes no number: a text that PostgreSQL does not keep.
                if batch % 5 == 0 {
                    assert!(store.replace_policy("\0", &[], None, &[]).await.is_err());
                }
            }
        });
    }
    let reader = database.open().await;
    follow(&reader, instances * batches * size).await;
    appending.join_all().await;
    assert_eq!(database.number("SELECT COUNT(*) FROM audit_event").await, instances * batches * size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_of_one_client_at_once_from_two_instances_end_nobody() {
    let database = Cluster::shared().database().await;
    let instances = [Arc::new(database.open().await), Arc::new(database.open().await)];
    for round in 0..12 {
        assert!(instances[0].add_oauth_client(&client("c")).await.unwrap());
        let now = at(round * 10_000);
        for n in 0..8 {
            let grant = person_grant(&format!("{round}-{n}"), "c");
            let ends = code_grant(&grant, round * 10_000 + 100);
            instances[0].add_code(&hash(&format!("code {round}-{n}")), &ends, now).await.unwrap();
            assert!(instances[0].add_refresh_token(&hash(&format!("rt {round}-{n}")), &grant.id).await.unwrap());
            let (device, user_code) = (hash(&format!("d {round}-{n}")), hash(&format!("u {round}-{n}")));
            let question = device_grant("c", round * 10_000 + 100);
            assert!(instances[0].add_device_code(&device, &user_code, &question, now).await.unwrap());
        }
        let mut changing = JoinSet::new();
        for n in 0..8 {
            for (which, store) in instances.iter().enumerate() {
                let store = store.clone();
                changing.spawn(async move {
                    let name = format!("{round}-{n}");
                    let grant = person_grant(&name, "c");
                    let fresh = |kind: &str| hash(&format!("{kind} {name} {which}"));
                    let access = access(&grant, round * 10_000 + 50);
                    store.add_access_token(&fresh("at"), &access, now).await?;
                    store.rotate_refresh_token(&hash(&format!("rt {name}")), &fresh("new")).await?;
                    store.add_refresh_token(&fresh("rt"), &grant.id).await?;
                    store.take_code(&hash(&format!("code {name}")), &client_id("c"), now).await?;
                    store.poll_device(&hash(&format!("d {name}")), &client_id("c"), now).await?;
                    let decided = person_grant(&format!("{name} of {which}"), "c");
                    store.decide_device(&hash(&format!("u {name}")), Some(&decided), now).await?;
                    store.revoke_grant(&person_grant(&format!("{round}-{}", (n + 1) % 8), "c").id).await?;
                    store.poll_device(&hash(&format!("d {name}")), &client_id("c"), now).await.map(drop)
                });
            }
        }
        let remover = instances[1].clone();
        changing.spawn(async move { remover.remove_oauth_client(&client_id("c")).await.map(drop) });
        for answer in changing.join_all().await {
            answer.unwrap();
        }
        let left = "SELECT COUNT(*) FROM person_grant WHERE client = 'c'";
        assert_eq!(database.number(left).await, 0, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_grants_that_are_kept_at_once_no_more_than_a_hundred_stay() {
    let database = Cluster::shared().database().await;
    let instances = [Arc::new(database.open().await), Arc::new(database.open().await)];
    assert!(instances[0].add_oauth_client(&client("c")).await.unwrap());
    let mut keeping = JoinSet::new();
    for n in 0..120 {
        let store = instances[n % 2].clone();
        keeping.spawn(async move {
            let grant = person_grant(&format!("{n}"), "c");
            store.add_code(&hash(&format!("code {n}")), &code_grant(&grant, 100), at(1)).await.unwrap();
            store.add_refresh_token(&hash(&format!("rt {n}")), &grant.id).await.unwrap();
        });
    }
    keeping.join_all().await;
    assert_eq!(database.number("SELECT COUNT(*) FROM person_grant WHERE ends IS NULL").await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_taken_anew_is_not_forgotten_with_what_ended() {
    let database = Cluster::shared().database().await;
    let instances = [Arc::new(database.open().await), Arc::new(database.open().await)];
    for round in 0..30 {
        let (start, end) = (at(round * 1000), at(round * 1000 + 100));
        let mut taking = JoinSet::new();
        for n in 0..16 {
            let store = instances[n % 2].clone();
            // Each is taken by two, who also forget those of the round before.
            taking.spawn(async move {
                store.take_assertion_id(&id("1"), &format!("j{}", n / 2), end, start).await.unwrap()
            });
        }
        assert_eq!(taking.join_all().await.into_iter().filter(|taken| *taken).count(), 8, "round {round}");
        for n in 0..8 {
            let again = instances[0].take_assertion_id(&id("1"), &format!("j{n}"), end, start).await.unwrap();
            assert!(!again, "j{n} in round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_killed_takes_nothing_that_was_answered_and_calls_work_again_when_it_is_back() {
    let cluster = Cluster::start();
    let database = cluster.database().await;
    let options = database.options().connect_timeout(Duration::from_secs(1));
    let store = Arc::new(SqlStore::open_postgres(&options, database.sealer()).await.unwrap());
    let killed = Arc::new(AtomicBool::new(false));
    let mut writing = JoinSet::new();
    for writer in 0..4 {
        let (store, killed) = (store.clone(), killed.clone());
        writing.spawn(async move {
            let (mut answered, mut n) = (Vec::new(), 0);
            loop {
                let name = format!("{writer}-{n}");
                let appended = store.append(&[allowed(&name), refused(&name)], 1_000_000).await;
                let added = store.add_user(&user(&name, &format!("u{name}@example.com"))).await;
                match (appended, added) {
                    (Ok(()), Ok(true)) => answered.push(name),
                    (Err(StoreError::Unavailable(_)), _) | (_, Err(StoreError::Unavailable(_))) => {
                        assert!(killed.load(Ordering::SeqCst), "an error without a cause");
                        return answered;
                    }
                    other => panic!("{other:?}"),
                }
                n += 1;
            }
        });
    }
    follow(&store, 200).await;
    killed.store(true, Ordering::SeqCst);
    cluster.stop();
    let answered: Vec<String> = writing.join_all().await.into_iter().flatten().collect();
    assert!(answered.len() > 50, "{}", answered.len());
    assert!(matches!(store.users().await, Err(StoreError::Unavailable(_))), "it is away");

    cluster.start_again();
    // The same store, without a restart of ours; and the first calls, all at once.
    let everybody = bindings(&["allUsers"]);
    let (users, events, written) = tokio::join!(
        store.users(),
        store.events_after(0, 1_000_000),
        store.replace_policy("projects/1", &everybody, None, &[])
    );
    assert!(matches!(written, Ok(PolicyWrite::Written(_))), "{written:?}");
    let emails: Vec<_> = users.unwrap().into_iter().map(|user| user.email.to_string()).collect();
    let events = events.unwrap();
    assert!(events.iter().zip(1..).all(|(stored, sequence)| stored.sequence == sequence), "there is a gap");
    for name in answered {
        assert!(emails.contains(&format!("u{name}@example.com")), "{name}");
        let (first, second) = (allowed(&name), refused(&name));
        let pair = events.windows(2).any(|pair| pair[0].event == first && pair[1].event == second);
        assert!(pair, "{name}");
    }
    store.append(&[allowed("after")], 1_000_000).await.unwrap();
    assert_eq!(store.latest_events(1).await.unwrap()[0].sequence, i64::try_from(events.len()).unwrap() + 1);
}

/// Two instances of which neither looks by itself: what one is told, the server told.
async fn listening(database: &Database<'_>) -> [Arc<SqlStore>; 2] {
    let options = database.options().poll(Duration::from_secs(3600));
    let open = async || Arc::new(SqlStore::open_postgres(&options, database.sealer()).await.unwrap());
    let stores = [open().await, open().await];
    let listening =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%FROM revision%'";
    while database.number(listening).await < 2 {
        tokio::task::yield_now().await;
    }
    stores
}

/// Waits at an instance for a change that comes after it began to wait.
async fn told(store: &Arc<SqlStore>, after: Revision, change: impl Future<Output = ()>) {
    let waiting = tokio::spawn({
        let store = store.clone();
        // A connection that is cut in the middle of the first look is an error, and whoever waits begins again.
        async move { while store.wait_for_change(after, Duration::from_secs(3600)).await.is_err() {} }
    });
    tokio::task::yield_now().await;
    change.await;
    let in_time = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    in_time.expect("it is told").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_instance_writes_the_server_tells_the_other() {
    let database = Cluster::shared().database().await;
    let [first, second] = listening(&database).await;
    for n in 0..20 {
        let after = second.revision().await.unwrap();
        told(&second, after, async {
            assert!(first.add_user(&user(&format!("{n}"), &format!("u{n}@example.com"))).await.unwrap());
        })
        .await;
        assert_eq!(second.changes_after(after, 9).await.unwrap().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_call_says_is_not_believed() {
    let database = Cluster::shared().database().await;
    let [first, second] = listening(&database).await;
    // Whoever may use the database may call; what was called before the write arrives before it.
    for said in ["9223372036854775807", "", "x"] {
        database.execute(&format!("SELECT pg_notify('doorward_revision', '{said}')")).await;
    }
    let after = second.revision().await.unwrap();
    told(&second, after, async {
        assert!(first.add_user(&user("1", "u1@example.com")).await.unwrap());
    })
    .await;
    let newest = second.revision().await.unwrap();
    let waiting = second.wait_for_change(newest, Duration::from_secs(3600));
    tokio::time::timeout(Duration::from_millis(200), waiting).await.expect_err("nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_instance_whose_connection_was_cut_is_told_of_what_it_missed_and_of_what_follows() {
    let database = Cluster::shared().database().await;
    let [first, second] = listening(&database).await;
    let cut = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for n in 0..3 {
        let after = second.revision().await.unwrap();
        told(&second, after, async {
            assert!(database.number(cut).await >= 2, "all connections, those that listen among them");
            // The server ends them when it gets to it: one may be ended in the middle of a call.
            while first.add_user(&user(&format!("{n}"), &format!("u{n}@example.com"))).await.is_err() {}
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_of_which_nobody_told_is_found_by_looking() {
    let database = Cluster::shared().database().await;
    let store = Arc::new(database.open().await);
    told(&store, Revision::default(), async {
        database.execute("UPDATE revision SET value = value + 1").await;
    })
    .await;
    assert_eq!(store.revision().await.unwrap().number, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_make_and_remove_what_policies_name_end_nobody() {
    let database = Cluster::shared().database().await;
    let instances = [Arc::new(database.open().await), Arc::new(database.open().await)];
    let eng: doorward_core::member::Email = "eng@example.com".parse().unwrap();
    for round in 0..12 {
        let mut changing = JoinSet::new();
        for n in 0..16_usize {
            let (store, eng) = (instances[n % 2].clone(), eng.clone());
            changing.spawn(async move {
                let group = doorward_core::group::Group {
                    email: eng.clone(),
                    display_name: String::new(),
                    description: String::new(),
                    etag: Etag(0),
                };
                let robot = account(&format!("{round}{n}"), "robot");
                let app = application("app", &format!("{round}{n}"), "c");
                let project = doorward_core::resource::Project::default();
                let everybody = bindings(&["group:eng@example.com", &format!("serviceAccount:{}", robot.email)]);
                match n % 8 {
                    0 => store.add_group(&group).await.map(drop)?,
                    1 => store.add_group_member(&eng, &"user:a@example.com".parse().unwrap()).await.map(drop)?,
                    2 => store.add_service_account(&robot).await.map(drop)?,
                    3 => store.add_application(&app).await.map(drop)?,
                    4 => store.replace_policy("projects/1", &everybody, None, &[]).await.map(drop)?,
                    5 => store.remove_group(&eng).await.map(drop)?,
                    6 => store
                        .add_service_account_key(&account_key(&format!("k{round}{n}"), &format!("{round}2"), 1))
                        .await
                        .map(drop)?,
                    _ => store.remove_application(&format!("{round}3"), &project).await.map(drop)?,
                }
                let user = user(&format!("{round}{n}"), &format!("u{n}@example.com"));
                store.add_user(&user).await?;
                store.add_group_member(&eng, &"user:b@example.com".parse().unwrap()).await?;
                store.remove_user(&user.unique_id).await?;
                store.remove_service_account(&robot.unique_id).await?;
                store.remove_group(&eng).await.map(drop)
            });
        }
        for answer in changing.join_all().await {
            answer.unwrap();
        }
    }
    let policy = instances[0].policy("projects/1").await.unwrap();
    assert!(policy.bindings.len() <= 1, "{policy:?}");
}
