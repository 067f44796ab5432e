//! Applications.

use doorward_core::policy::Etag;
use doorward_core::resource::{Application, Project, ServiceKind};
use doorward_core::settings::Settings;
use doorward_core::store::{ApplicationRefused, Named, PolicyWrite};

use super::{AnyStore, at_once};
use crate::samples::*;

async fn add(store: &AnyStore, application: &Application) -> Result<Etag, ApplicationRefused> {
    store.add_application(application).await.unwrap()
}

fn placed(name: &str, service_id: &str, urls: &[&str]) -> Application {
    Application { routes: urls.iter().map(|url| route(url)).collect(), ..application(name, service_id, "c") }
}

fn app_engine(name: &str, service_id: &str, service: &str, version: &str) -> Application {
    let kind = ServiceKind::AppEngine { service: service.into(), version: version.into() };
    Application { kind, ..application(name, service_id, "c") }
}

fn project() -> Project {
    Project { id: "dev-project".into(), number: "123".into(), ancestors: vec![] }
}

pub(crate) async fn an_application_is_read_as_it_was_written(store: AnyStore) {
    let kinds = [
        ServiceKind::BackendService { region: None },
        ServiceKind::BackendService { region: Some("europe-west1".into()) },
        ServiceKind::AppEngine { service: "default".into(), version: "v1".into() },
        ServiceKind::CloudRun { region: "europe-west1".into() },
    ];
    let mut expected = Vec::new();
    for (n, kind) in kinds.into_iter().enumerate() {
        let mut written = Application {
            kind,
            iap_enabled: n % 2 == 0,
            upstreams: vec!["http://10.0.0.1:8080".into(), "http://10.0.0.2:8080/'".into()],
            description: "For \"tests\"'; --".into(),
            labels: [("team".into(), "wiki".into()), ("a".into(), String::new())].into(),
            // One name for all: they are of different kinds and regions. One client, too.
            ..placed(
                "wiki",
                &format!("77{n}"),
                &[&format!("https://a{n}.example.com/x"), &format!("http://a{n}.test:8080/")],
            )
        };
        written.etag = add(&store, &written).await.unwrap();
        assert_eq!(store.application(&written.service_id).await.unwrap().as_ref(), Some(&written));
        expected.push(written);
    }
    assert_eq!(store.applications().await.unwrap(), expected);
    assert_eq!(store.application("778").await.unwrap(), None);
}

pub(crate) async fn a_name_a_number_and_a_place_are_given_to_one_application(store: AnyStore) {
    use ApplicationRefused as R;
    let first = placed("app", "777", &["https://a.test/", "http://a.test/", "https://a.test/deep"]);
    add(&store, &first).await.unwrap();
    add(&store, &app_engine("ae", "900", "default", "v1")).await.unwrap();
    let regional =
        |it: Application| Application { kind: ServiceKind::BackendService { region: Some("r1".into()) }, ..it };
    #[rustfmt::skip]
    let cases = [
        (application("other", "777", "c"),                       Err(R::NumberTaken)),
        (application("app", "1", "c"),                           Err(R::NameTaken)),
        (regional(application("app", "2", "c")),                 Ok(())),
        (app_engine("ae2", "3", "default", "v1"),                Err(R::NameTaken)),
        (app_engine("ae", "3", "default", "v2"),                 Err(R::NameTaken)),
        (app_engine("ae2", "4", "default", "v2"),                Ok(())),
        (placed("b", "5", &["https://b.test/", "https://a.test/"]), Err(R::PlaceTaken(route("https://a.test/")))),
        (placed("b", "5", &["https://a.test/deep"]),             Err(R::PlaceTaken(route("https://a.test/deep")))),
        // The request says `a.test:443`, and not the scheme.
        (placed("b", "5", &["http://a.test:443/"]),              Err(R::PlaceTaken(route("http://a.test:443/")))),
        (placed("b", "5", &["https://a.test/deep/er", "https://b.test/"]), Ok(())),
    ];
    for (n, (application, expected)) in cases.into_iter().enumerate() {
        assert_eq!(add(&store, &application).await.map(drop), expected, "{n}");
    }
    assert_eq!(store.applications().await.unwrap().len(), 5, "who was refused is not there");

    let b = store.application("5").await.unwrap().unwrap();
    let wants = Application { routes: vec![route("https://a.test/")], ..b.clone() };
    let refused = store.replace_application(&wants, None).await.unwrap();
    assert_eq!(refused, Err(R::PlaceTaken(route("https://a.test/"))));
    assert_eq!(store.application("5").await.unwrap().as_ref(), Some(&b), "nothing was changed");
    assert!(store.remove_application("777", &project()).await.unwrap());
    assert!(store.replace_application(&wants, Some(b.etag)).await.unwrap().is_ok(), "the place is free");
    assert_eq!(add(&store, &placed("c", "6", &["https://b.test/"])).await.map(drop), Ok(()), "so is the old one");
}

pub(crate) async fn of_those_who_want_one_name_number_or_place_at_once_one_gets_it(store: AnyStore) {
    for round in 0..3 {
        let added = at_once(18, |n| {
            let store = store.clone();
            let name = |same: bool| if same { format!("n{round}") } else { format!("n{round}-{n}") };
            let number = if n % 3 == 1 { format!("{round}") } else { format!("1{round}{n}") };
            let place =
                if n % 3 == 2 { format!("https://r{round}.test/") } else { format!("https://r{round}n{n}.test/") };
            let wanted = placed(&name(n % 3 == 0), &number, &[&place]);
            async move { store.add_application(&wanted).await.unwrap().is_ok().then_some(n % 3) }
        });
        let mut winners: Vec<usize> = added.await.into_iter().flatten().collect();
        winners.sort_unstable();
        assert_eq!(winners, [0, 1, 2], "round {round}");
    }
}

pub(crate) async fn an_application_is_replaced_only_in_the_state_that_the_writer_saw(store: AnyStore) {
    use ApplicationRefused as R;
    let first = placed("app", "777", &["https://a.test/"]);
    assert_eq!(store.replace_application(&first, None).await.unwrap(), Err(R::NotFound));
    let etag = add(&store, &first).await.unwrap();
    let changed = Application {
        name: "other".parse().unwrap(),
        kind: ServiceKind::CloudRun { region: "r".into() },
        iap_enabled: false,
        client_id: client_id("new"),
        ..first.clone()
    };
    assert_eq!(store.replace_application(&changed, Some(Etag(etag.0 + 1))).await.unwrap(), Err(R::Stale));
    let second = store.replace_application(&changed, Some(etag)).await.unwrap().unwrap();
    assert!(second > etag);
    let expected = Application { iap_enabled: false, client_id: client_id("new"), etag: second, ..first.clone() };
    assert_eq!(store.application("777").await.unwrap(), Some(expected), "kind and name stay");

    let answers = at_once(12, |n| {
        let store = store.clone();
        let mine = Application { description: n.to_string(), ..first.clone() };
        async move { store.replace_application(&mine, Some(second)).await.unwrap().ok().map(|_| n.to_string()) }
    });
    let winners: Vec<String> = answers.await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.application("777").await.unwrap().unwrap().description, winners[0]);

    let last = store.application("777").await.unwrap().unwrap().etag;
    assert!(store.remove_application("777", &project()).await.unwrap());
    let again = add(&store, &first).await.unwrap();
    assert!(again > last, "whoever saw the old one does not take the new one for it");
}

pub(crate) async fn several_applications_are_replaced_together_or_not_at_all(store: AnyStore) {
    use ApplicationRefused as R;
    let seen = |etag, it: &Application| Application { etag, ..it.clone() };
    let (one, two) = (app_engine("one", "1", "default", "v1"), app_engine("two", "2", "default", "v2"));
    let one = seen(add(&store, &one).await.unwrap(), &one);
    let two = seen(add(&store, &two).await.unwrap(), &two);
    add(&store, &placed("app", "777", &["https://a.test/"])).await.unwrap();
    let off = |it: &Application| Application { iap_enabled: false, ..it.clone() };
    #[rustfmt::skip]
    let cases = [
        (Application { etag: Etag(two.etag.0 + 1), ..off(&two) },               R::Stale),
        (Application { service_id: "3".into(), ..off(&two) },                   R::NotFound),
        (Application { routes: vec![route("https://a.test/")], ..off(&two) },   R::PlaceTaken(route("https://a.test/"))),
    ];
    for (second, expected) in cases {
        let refused = store.replace_applications(&[off(&one), second]).await.unwrap();
        assert_eq!(refused, Err(expected));
        for it in [&one, &two] {
            assert_eq!(store.application(&it.service_id).await.unwrap().as_ref(), Some(it), "nothing was changed");
        }
    }
    let etags = store.replace_applications(&[off(&one), off(&two)]).await.unwrap().unwrap();
    assert!(etags[0] > one.etag && etags[1] > two.etag);
    for (it, etag) in [&one, &two].into_iter().zip(etags) {
        assert_eq!(store.application(&it.service_id).await.unwrap(), Some(seen(etag, &off(it))));
    }
}

pub(crate) async fn an_application_goes_with_what_stands_on_it_and_takes_nothing_else(store: AnyStore) {
    let web = "projects/123/iap_web";
    for it in [
        application("app", "777", "c"),
        application("longer", "7770", "c"),
        app_engine("v1", "1", "default", "v1"),
        app_engine("v2", "2", "default", "v2"),
    ] {
        add(&store, &it).await.unwrap();
    }
    let names = [
        "/compute",
        "/compute/services/777",
        "/compute/services/777/versions/bs_0",
        "/compute/services/7770",
        "/appengine-dev-project/services/default",
        "/appengine-dev-project/services/default/versions/v1",
        "/appengine-dev-project/services/default/versions/v2",
    ]
    .map(|name| format!("{web}{name}"));
    for name in &names {
        written(store.replace_policy(name, &bindings(&["allUsers"]), None, &[]).await.unwrap());
        assert!(store.replace_settings(name, &Settings::default(), &settings(&["c"])).await.unwrap());
    }
    let left = async || {
        let policies: Vec<String> = store.policies().await.unwrap().into_iter().map(|(name, _)| name).collect();
        let set: Vec<String> = store.every_settings().await.unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(policies, set);
        let place = |name: &String| names.iter().position(|known| known == name).unwrap();
        let mut places: Vec<usize> = policies.iter().map(place).collect();
        places.sort_unstable();
        places
    };
    // (what goes) => what is left
    let steps: [(&str, &[usize]); 3] = [("777", &[0, 3, 4, 5, 6]), ("1", &[0, 3, 4, 6]), ("2", &[0, 3])];
    for (number, expected) in steps {
        assert!(store.remove_application(number, &project()).await.unwrap());
        assert!(!store.remove_application(number, &project()).await.unwrap());
        assert_eq!(left().await, expected, "{number}");
        assert_eq!(store.settings(&names[1]).await.unwrap(), Settings::default());
    }
}

pub(crate) async fn no_policy_stands_on_an_application_that_is_no_more_whoever_writes_at_once(store: AnyStore) {
    let on_it = "projects/123/iap_web/compute/services/777";
    let named = [Named::Application("777".into())];
    let write =
        async |store: &AnyStore| store.replace_policy(on_it, &bindings(&["allUsers"]), None, &named).await.unwrap();
    assert_eq!(write(&store).await, PolicyWrite::Missing(named[0].clone()));
    for round in 0..10 {
        add(&store, &application("app", "777", "c")).await.unwrap();
        at_once(8, |n| {
            let (store, named) = (store.clone(), named.clone());
            async move {
                if n == 4 {
                    assert!(store.remove_application("777", &project()).await.unwrap());
                } else {
                    store.replace_policy(on_it, &bindings(&["allUsers"]), None, &named).await.unwrap();
                }
            }
        })
        .await;
        assert_eq!(store.policies().await.unwrap(), [], "round {round}");
    }
}
