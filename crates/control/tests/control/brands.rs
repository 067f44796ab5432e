//! The brand and the clients under it.

use doorward_control::brands::{BrandError, Brands, ClientPath};
use doorward_wire::google_api::iap_admin::{Brand, PageQuery};
use serde_json::json;

use crate::{Stack, cause};

impl Stack {
    pub(crate) fn brands(&self) -> Brands {
        Brands::new(self.store.clone(), self.publisher.clone(), self.entropy.clone(), self.changes.clone())
    }
}

#[tokio::test]
async fn there_is_one_brand_and_clients_under_it() {
    let stack = Stack::new().await;
    let (brands, admin) = (stack.brands(), &stack.admin);
    assert!(brands.list(admin, "123").await.unwrap().brands.is_empty());
    assert_eq!(cause(&brands.create_client(admin, "123", "123", "D").await.unwrap_err()), "NoBrand");
    let new = |title: &str, email: &str| Brand {
        application_title: title.to_owned(),
        support_email: email.to_owned(),
        ..Brand::default()
    };
    for (title, email, expected) in [("", "a@x.com", "Title"), ("T", "nobody", "SupportEmail")] {
        assert_eq!(cause(&brands.create(admin, "123", new(title, email)).await.unwrap_err()), expected);
    }
    let made = brands.create(admin, "dev-project", new("T", "help@example.com")).await.unwrap();
    let expected = json!({
        "name": "projects/123/brands/123", "supportEmail": "help@example.com", "applicationTitle": "T", "orgInternalOnly": true,
    });
    assert_eq!(serde_json::to_value(&made).unwrap(), expected);
    assert_eq!(stack.publisher.cell().current().support_email.as_ref().unwrap().as_str(), "help@example.com");
    assert_eq!(cause(&brands.create(admin, "123", new("T", "help@example.com")).await.unwrap_err()), "Exists");
    assert_eq!(brands.get(admin, "123", "123").await.unwrap(), made);
    assert_eq!(cause(&brands.get(admin, "123", "124").await.unwrap_err()), "NoBrand");

    let client = brands.create_client(admin, "123", "123", "D").await.unwrap();
    let id = client.name.strip_prefix("projects/123/brands/123/identityAwareProxyClients/").unwrap();
    let at = ClientPath { project: "123", brand: "123", client: id };
    assert!(client.secret.is_some());
    assert_eq!(brands.client(admin, at).await.unwrap().secret, None, "shown once");
    let reset = brands.reset_secret(admin, at).await.unwrap();
    assert_ne!(reset.secret, client.secret);
    let list = brands.clients(admin, "123", "123", &PageQuery::default()).await.unwrap();
    assert_eq!(list.identity_aware_proxy_clients.len(), 1);
    // An application that has it keeps it.
    let app = json!({"name": "wiki", "hosts": [], "upstreams": [], "clientId": id});
    stack.register(app).await.unwrap();
    assert!(matches!(brands.delete_client(admin, at).await, Err(BrandError::InUse { .. })));
    stack.applications().delete(admin, "wiki", None).await.unwrap();
    brands.delete_client(admin, at).await.unwrap();
    assert_eq!(cause(&brands.client(admin, at).await.unwrap_err()), "NoClient");
    let secret = client.secret.unwrap().0;
    assert!(stack.admin_events().iter().all(|event| !serde_json::to_string(event).unwrap().contains(&secret)));
}

#[tokio::test]
async fn a_right_to_brands_that_another_instance_took_away_is_gone_at_the_next_call() {
    let stack = Stack::new().await;
    let brands = stack.brands();
    let at = ClientPath { project: "123", brand: "123", client: "c" };
    for (number, call) in ["list", "create", "get", "clients", "create_client", "client"].into_iter().enumerate() {
        let admin = stack.holding(&format!("editor{number}"), "roles/oauthconfig.editor", "projects/123").await;
        // Past this instance, as another one writes.
        stack.store.replace_policy("projects/123", &[], None, &[]).await.unwrap();
        let outcome = match call {
            "list" => brands.list(&admin, "123").await.map(drop),
            "create" => brands.create(&admin, "123", Brand::default()).await.map(drop),
            "get" => brands.get(&admin, "123", "123").await.map(drop),
            "clients" => brands.clients(&admin, "123", "123", &PageQuery::default()).await.map(drop),
            "create_client" => brands.create_client(&admin, "123", "123", "D").await.map(drop),
            _ => brands.client(&admin, at).await.map(drop),
        };
        assert_eq!(cause(&outcome.unwrap_err()), "Forbidden", "{call}");
    }
}

#[tokio::test]
async fn brands_and_clients_demand_their_permissions() {
    let stack = Stack::new().await;
    let (brands, new) = (stack.brands(), Brand::default);
    let viewer = stack.holding("viewer", "roles/oauthconfig.viewer", "projects/123").await;
    let user = stack.holding("user", "roles/iap.admin", "projects/123").await;
    let at = ClientPath { project: "123", brand: "123", client: "c" };
    for (admin, sees) in [(&viewer, true), (&user, false)] {
        let denied = |outcome: Result<(), BrandError>| matches!(&outcome, Err(error) if cause(error) == "Forbidden");
        assert_eq!(denied(brands.list(admin, "123").await.map(drop)), !sees);
        assert_eq!(denied(brands.get(admin, "123", "123").await.map(drop)), !sees);
        assert_eq!(denied(brands.clients(admin, "123", "123", &PageQuery::default()).await.map(drop)), !sees);
        assert_eq!(denied(brands.client(admin, at).await.map(drop)), !sees);
        assert!(denied(brands.create(admin, "123", new()).await.map(drop)));
        assert!(denied(brands.create_client(admin, "123", "123", "D").await.map(drop)));
        assert!(denied(brands.reset_secret(admin, at).await.map(drop)));
        assert!(denied(brands.delete_client(admin, at).await));
    }
}
