//! Backups: what one store held is in another, on either engine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the server is that of all files")]
mod postgres;
#[expect(dead_code, reason = "the samples are those of all files")]
mod samples;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use doorward_core::audit::verify_chain;
use doorward_core::entropy::SystemEntropy;
use doorward_core::group::Group;
use doorward_core::keys::KeyPurpose;
use doorward_core::policy::Etag;
use doorward_core::store::*;
use doorward_store::{Age, Backup, BackupError, RestoreError, Sealer, SqlStore};
use postgres::Cluster;
use samples::*;

fn sealer(folder: &Path) -> Sealer {
    Sealer::from_file_or_new(&folder.join("key"), &SystemEntropy).unwrap()
}

async fn sqlite(folder: &Path, name: &str) -> SqlStore {
    SqlStore::open_sealed(&folder.join(name), sealer(folder)).await.unwrap()
}

async fn write_something(store: &SqlStore) {
    assert!(store.add_service_account(&account("1", "robot")).await.unwrap());
    assert!(store.add_managed_key(&managed_key("managed", "1", 6), None).await.unwrap());
    assert!(store.add_user(&user("2", "alice@example.com")).await.unwrap());
    assert!(store.add_oauth_client(&client("c")).await.unwrap());
    let grant = person_grant("g", "c");
    store.add_code(&hash("code"), &code_grant(&grant, 100), at(1)).await.unwrap();
    assert!(store.add_refresh_token(&hash("rt"), &grant.id).await.unwrap());
    store.add_keys(&[key("k", KeyPurpose::Assertion, 7)]).await.unwrap();
    written(store.replace_policy("projects/1", &bindings(&["domain:example.com"]), None, &[]).await.unwrap());
    assert!(store.replace_settings("projects/1", &Default::default(), &settings(&["c"])).await.unwrap());
    let mut app = application("app", "777", "c");
    app.routes = vec![route("https://app.example.com/x")];
    store.add_application(&app).await.unwrap().unwrap();
    store.add_deny_policy(&deny_policy("deny", &[rule(&["allUsers"], &[])])).await.unwrap().unwrap();
    let group = Group {
        email: "eng@example.com".parse().unwrap(),
        display_name: "\u{0}Zo\u{eb}\n'".replace('\u{0}', ""),
        description: String::new(),
        etag: Etag(0),
    };
    store.add_group(&group).await.unwrap().unwrap();
    // More than one page.
    for n in 0..1100 {
        let member = format!("user:u{n}@example.com").parse().unwrap();
        assert!(store.add_group_member(&group.email, &member).await.unwrap());
    }
    let events: Vec<_> = (0..2100).map(|n| admin(&format!("{n}"), n)).collect();
    store.append(&events, 2050).await.unwrap();
}

/// What two stores must have in common, and what is a promise of each.
async fn expect_same(store: &SqlStore, other: &SqlStore) {
    assert_eq!(store.managed_key(&id("1")).await.unwrap(), other.managed_key(&id("1")).await.unwrap());
    assert_eq!(other.managed_key(&id("1")).await.unwrap(), Some(managed_key("managed", "1", 6)));
    assert_eq!(store.users().await.unwrap(), other.users().await.unwrap());
    assert_eq!(store.keys().await.unwrap(), other.keys().await.unwrap());
    assert_eq!(store.policies().await.unwrap(), other.policies().await.unwrap());
    assert_eq!(store.every_settings().await.unwrap(), other.every_settings().await.unwrap());
    assert_eq!(store.applications().await.unwrap(), other.applications().await.unwrap());
    assert_eq!(store.deny_policies().await.unwrap(), other.deny_policies().await.unwrap());
    assert_eq!(store.groups(None, 9).await.unwrap(), other.groups(None, 9).await.unwrap());
    let members = store.every_group_member(None, 5000).await.unwrap();
    assert_eq!((members.len(), &members), (1100, &other.every_group_member(None, 5000).await.unwrap()));
    assert!(other.refresh_token(&hash("rt")).await.unwrap().is_some());
    let events = store.raw_events_after(0, 5000).await.unwrap();
    assert_eq!((events.len(), &events), (2050, &other.raw_events_after(0, 5000).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_either_engine_is_restored_into_either() {
    let folder = tempfile::tempdir().unwrap();
    let database = Cluster::shared().database().await;
    let open = async |database: &postgres::Database<'_>| {
        SqlStore::open_postgres(&database.options(), sealer(folder.path())).await.unwrap()
    };
    let first = sqlite(folder.path(), "first.db").await;
    write_something(&first).await;
    let file = |n: usize| folder.path().join(format!("backup {n}"));
    first.backup(&file(0)).await.unwrap();
    assert_eq!(fs::metadata(file(0)).unwrap().permissions().mode() & 0o777, 0o600);

    let second = open(&database).await;
    second.restore(&file(0)).await.unwrap();
    expect_same(&first, &second).await;
    second.backup(&file(1)).await.unwrap();
    let third = sqlite(folder.path(), "third.db").await;
    third.restore(&file(1)).await.unwrap();
    expect_same(&first, &third).await;
    third.backup(&file(2)).await.unwrap();
    // All that differs is how often each was written.
    let lines = |n: usize| fs::read_to_string(file(n)).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(0)[1..lines(0).len() - 1], lines(2)[1..lines(2).len() - 1]);

    for store in [second, third] {
        // Readers of what was there before read everything; numbers, states and the chain go on.
        let before = first.revision().await.unwrap();
        assert!(store.revision().await.unwrap().number > before.number);
        assert_eq!(store.changes_after(before, 10).await.unwrap(), None);
        store.append(&[allowed("next")], 10_000).await.unwrap();
        let start = store.chain_start().await.unwrap();
        let end = verify_chain(start.clone(), store.raw_events_after(0, 5000).await.unwrap()).unwrap();
        assert_eq!((start.sequence, end.sequence), (50, 2101));
        let revision = store.revision().await.unwrap();
        assert!(store.add_user(&user("3", "bob@example.com")).await.unwrap());
        assert_eq!(store.changes_after(revision, 10).await.unwrap().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn whoever_read_what_a_store_lost_reads_everything_however_often_it_is_written_since() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path(), "store.db").await;
    assert!(store.add_user(&user("1", "a@example.com")).await.unwrap());
    let common = store.revision().await.unwrap();
    store.close().await;
    // What takes over does not have the last writes.
    fs::copy(folder.path().join("store.db"), folder.path().join("standby.db")).unwrap();
    let (store, standby) = (sqlite(folder.path(), "store.db").await, sqlite(folder.path(), "standby.db").await);
    let mut lost = Vec::new();
    for n in 2..4 {
        assert!(store.add_user(&user(&n.to_string(), &format!("u{n}@example.com"))).await.unwrap());
        lost.push(store.revision().await.unwrap());
    }
    for n in 4..8 {
        for seen in &lost {
            assert_eq!(standby.changes_after(*seen, 10).await.unwrap(), None, "{n} {seen:?}");
        }
        assert!(standby.add_user(&user(&n.to_string(), &format!("u{n}@example.com"))).await.unwrap());
    }
    assert_eq!(standby.changes_after(common, 10).await.unwrap().unwrap().len(), 4, "what both have was not lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_is_of_one_moment_while_others_write() {
    let folder = tempfile::tempdir().unwrap();
    let database = Cluster::shared().database().await;
    let stores = [sqlite(folder.path(), "busy.db").await, database.open().await];
    for (n, store) in stores.into_iter().enumerate() {
        let store = Arc::new(store);
        let stop = Arc::new(AtomicBool::new(false));
        let writing = tokio::spawn({
            let (store, stop) = (store.clone(), stop.clone());
            async move {
                let mut written = 0;
                while !stop.load(Ordering::SeqCst) {
                    let number = format!("{written}");
                    // In this order: no backup has a policy without the one before, and none a person without their number.
                    assert!(store.add_user(&user(&number, &format!("u{number}@example.com"))).await.unwrap());
                    let name = format!("projects/{number}");
                    self::written(store.replace_policy(&name, &bindings(&["allUsers"]), None, &[]).await.unwrap());
                    written += 1;
                }
                written
            }
        });
        while store.users().await.unwrap().len() < 20 {
            tokio::task::yield_now().await;
        }
        for round in 0..5 {
            let file = folder.path().join(format!("busy {n} {round}"));
            store.backup(&file).await.unwrap();
            let text = fs::read_to_string(&file).unwrap();
            let rows = |table: &str| {
                let lines = text.lines().skip_while(|line| !line.contains(&format!("\"table\":\"{table}\"")));
                lines.skip(1).take_while(|line| line.starts_with('[')).count()
            };
            let (people, policies) = (rows("person"), rows("policy"));
            assert!(people == policies || people == policies + 1, "{people} {policies}");
            assert!(people >= 20);
        }
        stop.store(true, Ordering::SeqCst);
        assert!(writing.await.unwrap() >= 20);
    }
}

#[tokio::test]
async fn a_backup_that_is_not_whole_or_does_not_belong_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path(), "store.db").await;
    assert!(store.add_user(&user("2", "alice@example.com")).await.unwrap());
    store.add_keys(&[key("k", KeyPurpose::Assertion, 7)]).await.unwrap();
    let file = folder.path().join("backup");
    store.backup(&file).await.unwrap();
    assert!(matches!(store.backup(&file).await, Err(BackupError::File(_))), "it is there already");
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("AP8nBw"), "a secret is sealed");

    let empty = sqlite(folder.path(), "empty.db").await;
    let lines: Vec<&str> = text.lines().collect();
    let without = |line: usize| [&lines[..line], &lines[line + 1..]].concat().join("\n");
    let damaged = [
        String::new(),
        "no backup".to_owned(),
        without(lines.len() - 1),
        without(1),
        without(7),
        text.replace("alice", "alicf"),
        text.replace("\"rows\":", "\"rows\":1"),
        text[..text.len() / 2].to_owned(),
        format!("{text}[]\n"),
    ];
    for (n, damaged) in damaged.into_iter().enumerate() {
        let file = folder.path().join(format!("damaged {n}"));
        fs::write(&file, damaged).unwrap();
        let refused = empty.restore(&file).await;
        assert!(matches!(refused, Err(RestoreError::Damaged)), "{n}: {refused:?}");
    }
    assert!(matches!(empty.restore(&folder.path().join("none")).await, Err(RestoreError::File(_))));
    assert!(matches!(store.restore(&file).await, Err(RestoreError::NotEmpty("person"))));
    let other = tempfile::tempdir().unwrap();
    let stranger = sqlite(other.path(), "store.db").await;
    let refused = stranger.restore(&file).await.unwrap_err();
    assert!(matches!(&refused, RestoreError::WrongKey(key) if key.contains("key")), "{refused}");

    for untouched in [&empty, &stranger] {
        assert_eq!(untouched.users().await.unwrap(), []);
        assert_eq!(untouched.revision().await.unwrap(), Revision::default());
    }
    empty.restore(&file).await.unwrap();
    assert_eq!(empty.users().await.unwrap(), store.users().await.unwrap());
}

#[tokio::test]
async fn a_backup_of_another_schema_or_with_a_table_that_is_not_known_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path(), "store.db").await;
    assert!(store.add_user(&user("2", "alice@example.com")).await.unwrap());
    let file = folder.path().join("backup");
    store.backup(&file).await.unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let empty = sqlite(folder.path(), "empty.db").await;
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    let person = line("{\"table\":\"person\"");
    let (head, brand) = (line("{\"table\":\"audit_head\""), line("{\"table\":\"brand\""));
    let head_row = text.trim_end().rsplit_once('\n').unwrap().0.rsplit_once(&head).unwrap().1;
    let end = "{\"rows\":0,\"sha256\":\"\"}";
    // (what is changed, and summed up anew) => how it is refused
    let cases = [
        (brand.as_str(), "{\"other\":1}", "is not understood"),
        (&brand, "17", "is not understood"),
        (&brand, end, "is not understood"),
        (&brand, "", "is not understood"),
        (&format!("{brand}\n"), "", "has no table brand"),
        (&brand, &format!("{brand}\n{brand}"), "is not understood"),
        (&brand, &format!("{brand}\n{person}"), "is not understood"),
        (&format!("{head}\n"), &format!("{end}\n{head}\n"), "is not understood"),
        (&format!("{head}\n["), &format!("{head}\n{end}\n["), "is not understood"),
        (&format!("\n{head}{head_row}"), "", "has no table audit_head"),
        (head_row, "", "has no table audit_head"),
        ("\"schema\":5", "\"schema\":4", "is of schema 4"),
        ("\"table\":\"person\"", "\"table\":\"persons\"", "is not understood"),
        ("\"table\":\"person\"", "\"table\":\"name_lock\"", "is not understood"),
        ("\"disabled\",\"password\"", "\"disabled\"", "is not understood"),
        ("\"alice@example.com\"", "17", "cannot be written"),
        ("\"alice@example.com\",", "", "is not understood"),
    ];
    for (old, new, expected) in cases {
        assert!(text.contains(old), "{old}");
        let (body, _) = text.trim_end().rsplit_once('\n').unwrap();
        fs::write(&file, summed(&format!("{}\n", body.replacen(old, new, 1)))).unwrap();
        let Err(refused) = empty.restore(&file).await else { panic!("{old} => {new}") };
        let refused = refused.to_string();
        assert!(refused.contains(expected), "{new}: {refused}");
        assert_eq!(empty.users().await.unwrap(), []);
    }
}

/// These lines, with the last one of a backup that holds them.
fn summed(body: &str) -> String {
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
    let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let rows = body.lines().filter(|line| line.starts_with('[')).count();
    format!("{body}{{\"rows\":{rows},\"sha256\":\"{sum}\"}}\n")
}

#[tokio::test]
async fn what_cannot_be_restored_makes_no_database_and_what_can_makes_it_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let store = sqlite(folder.path(), "old").await;
    write_something(&store).await;
    store.backup(&file("backup")).await.unwrap();
    let cluster = Cluster::shared();
    let database = cluster.database().await;

    let whole = fs::read(file("backup")).unwrap();
    fs::write(file("half"), &whole[..whole.len() / 2]).unwrap();
    // Good by its sum, and not what any store holds: found when the tables are there.
    let text = String::from_utf8(whole).unwrap();
    let (body, _) = text.trim_end().rsplit_once('\n').unwrap();
    fs::write(file("strange"), summed(&format!("{}\n", body.replace("\"person\"", "\"people\"")))).unwrap();
    let other = Sealer::from_file_or_new(&file("other.key"), &SystemEntropy).unwrap();
    for (name, sealer) in [("gone", sealer(folder.path())), ("half", sealer(folder.path())), ("backup", other)] {
        assert!(Backup::read(&file(name), &sealer).is_err(), "{name}");
    }
    let sealer = sealer(folder.path());
    let strange = || Backup::read(&file("strange"), &sealer).unwrap();
    let told = SqlStore::restore_sqlite(&file("new"), &sealer, strange()).await;
    assert!(matches!(told, Err(RestoreError::Line(_))), "{told:?}");
    let told = SqlStore::restore_postgres(&database.options(), &sealer, strange()).await;
    assert!(matches!(told, Err(RestoreError::Line(_))), "{told:?}");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().starts_with("new")), "{left:?}");
    assert_eq!(SqlStore::age(&file("new")).await.unwrap(), Age::New);
    assert_eq!(SqlStore::postgres_age(&database.options()).await.unwrap(), Age::New);

    let good = || Backup::read(&file("backup"), &sealer).unwrap();
    SqlStore::restore_sqlite(&file("new"), &sealer, good()).await.unwrap();
    expect_same(&store, &sqlite(folder.path(), "new").await).await;
    assert!(SqlStore::restore_sqlite(&file("new"), &sealer, good()).await.is_err(), "it is there now");
    SqlStore::restore_postgres(&database.options(), &sealer, good()).await.unwrap();
    let sealer = Sealer::from_file(&file("key")).unwrap();
    let restored = SqlStore::open_postgres(&database.options(), sealer).await.unwrap();
    expect_same(&store, &restored).await;
    restored.close().await;
}
