//! Pools of identities from elsewhere, their providers, and the tokens that hang on those.

use std::sync::Arc;

use doorward_core::federation::{AttributeMapping, FederatedIdentity, FederationId, Pool, Provider};
use doorward_core::grant::{AccessGrant, Subject};

use super::{AnyStore, at_once};
use crate::samples::*;

fn pool(pool_id: &str) -> Pool {
    let (display_name, description) = ("A 'pool'".to_owned(), "For tests".to_owned());
    Pool { id: pool_id.parse().unwrap(), display_name, description, disabled: false }
}

fn provider(pool_id: &str, provider_id: &str) -> Provider {
    let mapping = [("google.subject", "assertion.sub"), ("attribute.repo", "assertion.repo")];
    let text = mapping.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    Provider {
        pool: pool_id.parse().unwrap(),
        id: provider_id.parse().unwrap(),
        display_name: "A 'provider'".to_owned(),
        description: "For tests".to_owned(),
        disabled: true,
        mapping: Arc::new(AttributeMapping::compile(text, Some("attribute.repo == 'a/b'".to_owned())).unwrap()),
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
        assert!(store.add_pool(&pool(id)).await.unwrap());
    }
    let providers = [provider("pool-a", "one1"), provider("pool-a", "two2"), provider("pool-b", "one1")];
    for provider in &providers {
        assert!(store.add_provider(provider).await.unwrap());
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
    assert!(store.replace_pool(&changed).await.unwrap());
    assert!(!store.replace_pool(&pool("pool-c")).await.unwrap());
    assert_eq!(store.pools().await.unwrap(), [changed, pool("pool-b")]);

    let changed = Provider { jwks: None, disabled: false, allowed_audiences: vec![], ..provider("pool-a", "one1") };
    assert!(store.replace_provider(&changed).await.unwrap());
    assert!(!store.replace_provider(&provider("pool-b", "two2")).await.unwrap());
    assert_eq!(store.providers().await.unwrap()[0], changed);
}

pub(crate) async fn ids_are_given_once_and_a_provider_needs_its_pool(store: AnyStore) {
    assert!(!store.add_provider(&provider("pool-a", "one1")).await.unwrap(), "there is no such pool");
    fill(&store).await;
    assert!(!store.add_pool(&Pool { disabled: true, ..pool("pool-a") }).await.unwrap());
    assert!(!store.add_provider(&Provider { disabled: false, ..provider("pool-a", "one1") }).await.unwrap());
    let added = at_once(20, |_| {
        let store = store.clone();
        async move { store.add_provider(&provider("pool-b", "wanted")).await.unwrap() }
    });
    assert_eq!(added.await.iter().filter(|added| **added).count(), 1);
}

pub(crate) async fn a_change_of_a_provider_ends_its_tokens_and_no_others(store: AnyStore) {
    let providers = fill(&store).await;
    assert_eq!(tokens(&store).await, ["pool-a/one1", "pool-a/two2", "pool-b/one1", "account"]);
    assert!(store.replace_provider(&providers[0]).await.unwrap());
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
