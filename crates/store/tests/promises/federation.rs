//! Pools of identities from elsewhere, their providers, and the tokens that hang on those.

use doorward_core::federation::{
    FederatedIdentity, FederationId, Generation, MappingText, POOLS_LIMIT, PROVIDERS_LIMIT, Pool, Provider,
};
use doorward_core::grant::{AccessGrant, Subject};
use doorward_core::policy::Etag;
use doorward_core::store::{Added, Named, PolicyWrite};

use super::{AnyStore, at_once};
use crate::samples::*;

fn pool(pool_id: &str) -> Pool {
    let (display_name, description) = ("A 'pool'".to_owned(), "For tests".to_owned());
    Pool { id: pool_id.parse().unwrap(), display_name, description, disabled: false }
}

fn provider(pool_id: &str, provider_id: &str) -> Provider {
    let mapping = [("google.subject", "assertion.sub"), ("attribute.repo", "assertion.repo")];
    let attributes = mapping.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Provider {
        pool: pool_id.parse().unwrap(),
        id: provider_id.parse().unwrap(),
        generation: Generation("first".to_owned()),
        display_name: "A 'provider'".to_owned(),
        description: "For tests".to_owned(),
        disabled: true,
        mapping: MappingText { attributes, condition: Some("attribute.repo == 'a/b'".to_owned()) },
        issuer: "https://issuer.example".to_owned(),
        allowed_audiences: vec!["one".to_owned(), "t'wo".to_owned()],
        jwks: Some("{\"keys\":[]}".into()),
        insecure_loopback: true,
    }
}

/// An access token's grant of an identity that a provider vouched for.
fn federated(provider: &Provider, expires: i64) -> AccessGrant {
    let identity = FederatedIdentity {
        pool: provider.pool.clone(),
        provider: provider.id.clone(),
        generation: provider.generation.clone(),
        subject: "repo:a/b'".to_owned(),
        groups: vec!["g".to_owned()],
        attributes: [("repo".to_owned(), "a/b".to_owned())].into(),
    };
    let subject = Subject::Federated(Box::new(identity));
    AccessGrant { subject, scopes: scopes(), expires: at(expires), person_grant: None }
}

fn named(id: &str) -> FederationId {
    id.parse().unwrap()
}

/// Two pools, the first with two providers and the second with one that has the first one's id.
async fn fill(store: &AnyStore) -> [Provider; 3] {
    for id in ["pool-a", "pool-b"] {
        assert_eq!(store.add_pool(&pool(id)).await.unwrap(), Added::Yes);
    }
    let providers = [provider("pool-a", "one1"), provider("pool-a", "two2"), provider("pool-b", "one1")];
    for provider in &providers {
        assert_eq!(store.add_provider(provider).await.unwrap(), Added::Yes);
        let token = format!("{}/{}", provider.pool.as_str(), provider.id.as_str());
        assert!(store.add_access_token(&hash(&token), &federated(provider, 100), at(1)).await.unwrap());
    }
    assert!(store.add_access_token(&hash("account"), &grant("1", 100), at(1)).await.unwrap());
    providers
}

/// Which of the tokens of [`fill`] are there.
async fn tokens(store: &AnyStore) -> Vec<&'static str> {
    let mut found = Vec::new();
    for token in ["pool-a/one1", "pool-a/two2", "pool-b/one1", "account"] {
        if store.access_token(&hash(token), at(2)).await.unwrap().is_some() {
            found.push(token);
        }
    }
    found
}

pub(crate) async fn a_pool_and_a_provider_are_listed_as_they_were_written(store: AnyStore) {
    let providers = fill(&store).await;
    assert_eq!(store.pools().await.unwrap(), [pool("pool-a"), pool("pool-b")]);
    assert_eq!(store.providers().await.unwrap(), providers);
    let read = store.access_token(&hash("pool-a/one1"), at(2)).await.unwrap();
    assert_eq!(read, Some(federated(&providers[0], 100)));

    let changed = Pool { display_name: "Other".into(), disabled: true, ..pool("pool-a") };
    for other in [
        Pool { display_name: "x".into(), ..pool("pool-a") },
        Pool { description: "x".into(), ..pool("pool-a") },
        Pool { disabled: !pool("pool-a").disabled, ..pool("pool-a") },
    ] {
        assert!(!store.replace_pool(&changed, &other).await.unwrap(), "{other:?}");
    }
    assert!(store.replace_pool(&changed, &pool("pool-a")).await.unwrap());
    assert!(!store.replace_pool(&pool("pool-c"), &pool("pool-c")).await.unwrap());
    assert_eq!(store.pools().await.unwrap(), [changed, pool("pool-b")]);

    let first = &providers[0].generation;
    let changed = Provider {
        jwks: None,
        disabled: false,
        allowed_audiences: vec![],
        generation: Generation("second".to_owned()),
        mapping: MappingText { attributes: [].into(), condition: None },
        ..provider("pool-a", "one1")
    };
    assert!(store.replace_provider(&changed, first).await.unwrap());
    assert!(!store.replace_provider(&provider("pool-b", "two2"), first).await.unwrap());
    assert_eq!(store.providers().await.unwrap()[0], changed);
}

pub(crate) async fn ids_are_given_once_and_a_provider_needs_its_pool(store: AnyStore) {
    assert_eq!(store.add_provider(&provider("pool-a", "one1")).await.unwrap(), Added::NoPool);
    let providers = fill(&store).await;
    assert_eq!(store.add_pool(&Pool { disabled: true, ..pool("pool-a") }).await.unwrap(), Added::Taken);
    let again = Provider { disabled: false, ..provider("pool-a", "one1") };
    assert_eq!(store.add_provider(&again).await.unwrap(), Added::Taken);
    assert_eq!(
        (store.pools().await.unwrap()[0].disabled, &store.providers().await.unwrap()[0]),
        (false, &providers[0])
    );
    let added = at_once(20, |_| {
        let store = store.clone();
        async move { store.add_provider(&provider("pool-b", "wanted")).await.unwrap() }
    });
    assert_eq!(added.await.iter().filter(|added| **added == Added::Yes).count(), 1);
}

pub(crate) async fn a_change_of_a_provider_ends_its_tokens_and_no_others(store: AnyStore) {
    let providers = fill(&store).await;
    assert_eq!(tokens(&store).await, ["pool-a/one1", "pool-a/two2", "pool-b/one1", "account"]);
    assert!(store.replace_provider(&providers[0], &providers[0].generation).await.unwrap());
    assert_eq!(tokens(&store).await, ["pool-a/two2", "pool-b/one1", "account"]);
    assert!(store.remove_provider(&named("pool-b"), &named("one1")).await.unwrap());
    assert!(!store.remove_provider(&named("pool-b"), &named("one1")).await.unwrap());
    assert_eq!(tokens(&store).await, ["pool-a/two2", "account"]);
}

pub(crate) async fn a_pool_goes_with_its_providers_and_their_tokens_and_takes_no_others(store: AnyStore) {
    let providers = fill(&store).await;
    tokens(&store).await;
    assert!(store.remove_pool(&named("pool-a")).await.unwrap());
    assert!(!store.remove_pool(&named("pool-a")).await.unwrap());
    assert_eq!(store.pools().await.unwrap(), [pool("pool-b")]);
    assert_eq!(store.providers().await.unwrap(), [providers[2].clone()]);
    assert_eq!(tokens(&store).await, ["pool-b/one1", "account"]);
}

pub(crate) async fn nothing_is_kept_for_a_provider_that_is_no_more(store: AnyStore) {
    let [gone, ..] = fill(&store).await;
    assert!(store.remove_provider(&gone.pool, &gone.id).await.unwrap());
    assert!(!store.add_access_token(&hash("late"), &federated(&gone, 100), at(1)).await.unwrap());
    assert_eq!(store.access_token(&hash("late"), at(2)).await.unwrap(), None);
}

pub(crate) async fn nothing_is_kept_for_what_a_provider_was_before(store: AnyStore) {
    let [first, ..] = fill(&store).await;
    let second = Provider { generation: Generation("second".to_owned()), ..first.clone() };
    let kept = async |token: &str, provider: &Provider| {
        let added = store.add_access_token(&hash(token), &federated(provider, 100), at(1)).await.unwrap();
        assert_eq!(store.access_token(&hash(token), at(2)).await.unwrap().is_some(), added, "{token}");
        added
    };
    assert!(!kept("early", &second).await);
    assert!(store.replace_provider(&second, &first.generation).await.unwrap());
    assert_eq!([kept("old", &first).await, kept("new", &second).await], [false, true]);

    // Made again, it is another, whatever it says.
    assert!(store.remove_provider(&first.pool, &first.id).await.unwrap());
    let third = Provider { generation: Generation("third".to_owned()), ..first.clone() };
    assert_eq!(store.add_provider(&third).await.unwrap(), Added::Yes);
    assert_eq!([kept("older", &first).await, kept("late", &second).await], [false, false]);
    assert!(kept("good", &third).await);
}

pub(crate) async fn of_writers_who_saw_one_state_of_a_pool_one_wins(store: AnyStore) {
    fill(&store).await;
    let answers = at_once(20, |n| {
        let (store, new) = (store.clone(), Pool { description: format!("{n}"), ..pool("pool-a") });
        async move { store.replace_pool(&new, &pool("pool-a")).await.unwrap().then_some(new) }
    });
    let winners: Vec<Pool> = answers.await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.pools().await.unwrap()[0], winners[0]);
}

pub(crate) async fn a_provider_is_changed_only_in_the_state_that_the_writer_saw(store: AnyStore) {
    let [first, ..] = fill(&store).await;
    let changed = |n: usize| Provider {
        generation: Generation(format!("changed {n}")),
        display_name: n.to_string(),
        ..provider("pool-a", "one1")
    };
    assert!(!store.replace_provider(&changed(0), &Generation("other".to_owned())).await.unwrap());
    assert_eq!(tokens(&store).await.len(), 4, "nothing was changed");
    let answers = at_once(20, |n| {
        let (store, seen, changed) = (store.clone(), first.generation.clone(), changed(n));
        async move { store.replace_provider(&changed, &seen).await.unwrap().then_some(changed) }
    });
    let winners: Vec<Provider> = answers.await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.providers().await.unwrap()[0], winners[0]);
}

/// A set of identities of a pool.
fn everybody_of(pool: &str) -> String {
    format!("principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/{pool}/*")
}

pub(crate) async fn a_policy_names_no_pool_that_is_not_there(store: AnyStore) {
    let all = everybody_of("pool-a");
    let one = all.replace("principalSet:", "principal:").replace("/*", "/subject/s");
    let (longer, shorter) = (everybody_of("pool-a2"), everybody_of("a-pool-a"));
    let others = [longer.as_str(), &shorter, "user:alice@example.com"];
    let members = [&[one.as_str(), &all][..], &others].concat();
    let write =
        async |named: &[Named]| store.replace_policy("projects/1", &bindings(&members), None, named).await.unwrap();
    let named = Named::Pool(named("pool-a"));
    assert_eq!(write(std::slice::from_ref(&named)).await, PolicyWrite::Missing(named.clone()));
    assert_eq!(store.policies().await.unwrap(), [], "nothing was written");

    fill(&store).await;
    let before = written(write(std::slice::from_ref(&named)).await);
    assert!(store.remove_pool(&self::named("pool-a")).await.unwrap());
    let left = store.policy("projects/1").await.unwrap();
    assert_eq!((left.bindings, left.etag), (bindings(&others), Etag(before.0 + 1)), "its identities go, and no others");

    // What an older version left behind is not for the next pool of the id.
    written(write(&[]).await);
    assert_eq!(store.add_pool(&pool("pool-b")).await.unwrap(), Added::Taken);
    assert_eq!(store.policy("projects/1").await.unwrap().bindings, bindings(&members));
    assert_eq!(store.add_pool(&pool("pool-a")).await.unwrap(), Added::Yes);
    assert_eq!(store.policy("projects/1").await.unwrap().bindings, bindings(&others));
}

pub(crate) async fn no_policy_outlives_a_pool_that_it_names_whoever_writes_at_once(store: AnyStore) {
    for round in 0..10 {
        assert_eq!(store.add_pool(&pool("pool-a")).await.unwrap(), Added::Yes);
        at_once(12, |n| {
            let store = store.clone();
            async move {
                if n == 6 {
                    assert!(store.remove_pool(&named("pool-a")).await.unwrap());
                    return;
                }
                let (bindings, named) = (bindings(&[&everybody_of("pool-a")]), [Named::Pool(named("pool-a"))]);
                store.replace_policy(&format!("projects/{}", n % 3), &bindings, None, &named).await.unwrap();
            }
        })
        .await;
        for (resource, policy) in store.policies().await.unwrap() {
            assert_eq!(policy.bindings, [], "round {round}: {resource}");
        }
    }
}

pub(crate) async fn there_are_a_hundred_pools_at_most_whoever_adds_them_at_once(store: AnyStore) {
    let added = at_once(110, |n| {
        let store = store.clone();
        async move { store.add_pool(&pool(&format!("pool-{n}"))).await.unwrap() }
    });
    let added = added.await;
    let count = |outcome| added.iter().filter(|it| **it == outcome).count();
    assert_eq!((count(Added::Yes), count(Added::Full)), (POOLS_LIMIT as usize, 10));
    let pools = store.pools().await.unwrap();
    assert_eq!(pools.len(), POOLS_LIMIT as usize);
    assert_eq!(store.add_pool(&pools[7]).await.unwrap(), Added::Taken);
    assert!(store.remove_pool(&pools[7].id).await.unwrap());
    assert_eq!(store.add_pool(&pools[7]).await.unwrap(), Added::Yes, "one place is free again");
}

pub(crate) async fn there_are_two_hundred_providers_at_most_in_all_pools_together(store: AnyStore) {
    for id in ["pool-a", "pool-b"] {
        assert_eq!(store.add_pool(&pool(id)).await.unwrap(), Added::Yes);
    }
    let added = at_once(210, |n| {
        let store = store.clone();
        let provider = provider(["pool-a", "pool-b"][n % 2], &format!("provider-{n}"));
        async move { store.add_provider(&provider).await.unwrap() }
    });
    let added = added.await;
    let count = |outcome| added.iter().filter(|it| **it == outcome).count();
    assert_eq!((count(Added::Yes), count(Added::Full)), (PROVIDERS_LIMIT as usize, 10));
    let providers = store.providers().await.unwrap();
    assert_eq!(providers.len(), PROVIDERS_LIMIT as usize);
    assert_eq!(store.add_provider(&providers[7]).await.unwrap(), Added::Taken);
    assert!(store.remove_provider(&providers[7].pool, &providers[7].id).await.unwrap());
    assert_eq!(store.add_provider(&providers[7]).await.unwrap(), Added::Yes, "one place is free again");
}
