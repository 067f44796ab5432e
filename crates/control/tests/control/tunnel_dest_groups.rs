//! Tunnel destination groups.

use doorward_control::tunnel_dest_groups::{GROUPS_LIMIT, Location, TunnelDestGroupError, TunnelDestGroups};
use doorward_core::dest_group::{DestGroup, DestGroupName};
use doorward_wire::google_api::iap_admin::{PageQuery, TunnelDestGroup};
use serde_json::{Value, json};

use crate::{Stack, cause};

const EAST: Location<'static> = Location { project: "dev-project", location: "us-east1" };
const WEST: Location<'static> = Location { project: "123", location: "us-west1" };
const EVERYWHERE: Location<'static> = Location { project: "123", location: "-" };
const PROD: &str = "projects/123/iap_tunnel/locations/us-east1/destGroups/prod";

impl Stack {
    pub(crate) fn dest_groups(&self) -> TunnelDestGroups {
        TunnelDestGroups::new(self.store.clone(), self.publisher.clone(), self.changes.clone())
    }
}

fn group(value: Value) -> TunnelDestGroup {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn a_group_is_made_shown_changed_and_removed_and_all_of_it_is_recorded() {
    let stack = Stack::new().await;
    let (groups, admin) = (stack.dest_groups(), &stack.admin);
    let new = json!({"name": "prod", "cidrs": ["10.0.0.0/8"], "fqdns": ["*.Example.com"]});
    let made = groups.create(admin, EAST, "prod", group(new)).await.unwrap();
    let expected = json!({"name": PROD, "cidrs": ["10.0.0.0/8"], "fqdns": ["*.example.com"]});
    assert_eq!(serde_json::to_value(&made).unwrap(), expected);
    assert_eq!(groups.get(admin, EAST, "prod").await.unwrap(), made);

    let change = json!({"name": PROD, "cidrs": ["10.1.2.3"], "fqdns": ["passed.over.test"]});
    let changed = groups.update(admin, EAST, "prod", group(change), "cidrs").await.unwrap();
    let expected = json!({"name": PROD, "cidrs": ["10.1.2.3/32"], "fqdns": ["*.example.com"]});
    assert_eq!(serde_json::to_value(&changed).unwrap(), expected);
    let emptied = groups.update(admin, EAST, "prod", group(json!({})), "tunnelDestGroup.fqdns").await.unwrap();
    assert_eq!(serde_json::to_value(&emptied).unwrap(), json!({"name": PROD, "cidrs": ["10.1.2.3/32"]}));
    let whole = groups.update(admin, EAST, "prod", group(json!({"fqdns": ["a.test"]})), "").await.unwrap();
    assert_eq!(serde_json::to_value(&whole).unwrap(), json!({"name": PROD, "fqdns": ["a.test"]}));
    groups.delete(admin, EAST, "prod").await.unwrap();
    assert_eq!(cause(&groups.get(admin, EAST, "prod").await.unwrap_err()), "NotFound");

    let recorded: Vec<_> = stack.admin_events().into_iter().filter(|event| event.code == 0).collect();
    let short = |name: &str| name.rsplit('.').next().unwrap().to_owned();
    let shown: Vec<_> =
        recorded.iter().map(|it| (short(&it.method), it.before.is_some(), it.after.is_some())).collect();
    #[rustfmt::skip]
    let expected = [
        ("CreateTunnelDestGroup", false, true),
        ("GetTunnelDestGroup",    false, false),
        ("UpdateTunnelDestGroup", true,  true),
        ("UpdateTunnelDestGroup", true,  true),
        ("UpdateTunnelDestGroup", true,  true),
        ("DeleteTunnelDestGroup", true,  false),
    ];
    assert_eq!(shown, expected.map(|(name, before, after)| (name.to_owned(), before, after)));
    assert!(recorded.iter().all(|event| event.resource == PROD), "{recorded:?}");
    assert_eq!(recorded[2].before, serde_json::to_value(&made).ok());
    assert_eq!(recorded[2].after, serde_json::to_value(&changed).ok());
}

#[tokio::test]
async fn what_cannot_be_a_group_is_refused_and_changes_nothing() {
    let stack = Stack::new().await;
    let (groups, admin) = (stack.dest_groups(), &stack.admin);
    groups.create(admin, EAST, "taken", group(json!({}))).await.unwrap();
    let elsewhere = Location { project: "other", location: "us-east1" };
    let slash = Location { project: "123", location: "a/b" };
    let many = vec!["10.0.0.0/8"; 1001];
    #[rustfmt::skip]
    let cases = [
        (EAST,       "taken", json!({}),                             "Exists"),
        (EAST,       "abc",   json!({}),                             "Group"),
        (EAST,       "",      json!({}),                             "Group"),
        (EAST,       "a/bcd", json!({}),                             "Group"),
        (EVERYWHERE, "free",  json!({}),                             "Group"),
        (slash,      "free",  json!({}),                             "Malformed"),
        (elsewhere,  "free",  json!({}),                             "NotFound"),
        (EAST,       "free",  json!({"name": "other"}),              "AnotherName"),
        (EAST,       "free",  json!({"name": PROD}),                 "AnotherName"),
        (EAST,       "free",  json!({"cidrs": ["10.0.0.1/8"]}),      "Group"),
        (EAST,       "free",  json!({"cidrs": many}),                "Group"),
        (EAST,       "free",  json!({"fqdns": ["host"]}),            "Group"),
    ];
    for (at, id, value, expected) in cases {
        let outcome = groups.create(admin, at, id, group(value.clone())).await;
        assert_eq!(outcome.map_err(|error| cause(&error)), Err(expected.to_owned()), "{at:?} {id} {value}");
    }
    #[rustfmt::skip]
    let cases = [
        ("none",    json!({}),                           "",          "NotFound"),
        ("N",       json!({}),                           "",          "NotFound"),
        ("taken:x", json!({}),                           "",          "NotFound"),
        ("taken",   json!({"name": "other"}),            "",          "AnotherName"),
        ("taken",   json!({"cidrs": ["x"]}),             "cidrs",     "Group"),
        ("taken",   json!({"cidrs": ["x"]}),             "",          "Group"),
        ("taken",   json!({"cidrs": ["10.0.0.0/8"]}),    "cidrs,ids", "Mask"),
    ];
    for (id, value, mask, expected) in cases {
        let outcome = groups.update(admin, EAST, id, group(value.clone()), mask).await;
        assert_eq!(outcome.map_err(|error| cause(&error)), Err(expected.to_owned()), "{id} {value} {mask}");
    }
    let all = groups.list(admin, EVERYWHERE, &PageQuery::default()).await.unwrap().tunnel_dest_groups;
    assert_eq!(serde_json::to_value(all).unwrap(), json!([{"name": PROD.replace("prod", "taken")}]));
    for id in ["none", "N"] {
        assert_eq!(cause(&groups.delete(admin, EAST, id).await.unwrap_err()), "NotFound");
    }
}

#[tokio::test]
async fn a_list_has_pages_of_a_hundred_unless_asked_and_every_location_has_its_own() {
    let stack = Stack::new().await;
    let (groups, admin) = (stack.dest_groups(), &stack.admin);
    let id = |n: usize| format!("group-{}{}", char::from(b'a' + (n / 26) as u8), char::from(b'a' + (n % 26) as u8));
    for n in 0..120 {
        groups.create(admin, WEST, &id(n), group(json!({}))).await.unwrap();
    }
    groups.create(admin, EAST, "prod", group(json!({}))).await.unwrap();
    let page = async |at: Location<'static>, size: Option<i64>, token: Option<String>| {
        let query = PageQuery { page_size: size, page_token: token };
        groups.list(admin, at, &query).await.map(|it| (it.tunnel_dest_groups, it.next_page_token))
    };
    // (location, size) => sizes of the pages
    #[rustfmt::skip]
    let cases: [(_, _, &[usize]); 6] = [
        (WEST,       None,       &[100, 20]),
        (WEST,       Some(0),    &[100, 20]),
        (WEST,       Some(60),   &[60, 60]),
        (WEST,       Some(5000), &[120]),
        (EAST,       None,       &[1]),
        (EVERYWHERE, None,       &[100, 21]),
    ];
    for (at, size, expected) in cases {
        let (mut seen, mut sizes, mut token) = (Vec::new(), Vec::new(), None);
        loop {
            let (items, next) = page(at, size, token).await.unwrap();
            sizes.push(items.len());
            seen.extend(items.into_iter().map(|it| it.name));
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(sizes, expected, "{at:?} {size:?}");
        assert!(seen.is_sorted() && seen.windows(2).all(|pair| pair[0] != pair[1]), "{at:?} {size:?}");
    }
    let failed = async |size, token: &str| cause(&page(WEST, size, Some(token.to_owned())).await.unwrap_err());
    assert_eq!(
        [failed(Some(-1), "").await, failed(None, "x").await, failed(None, "-/prod").await],
        ["PageSize", "PageToken", "PageToken"]
    );
    let nowhere = Location { project: "123", location: "nowhere" };
    assert_eq!(page(nowhere, None, None).await.unwrap(), (vec![], None));
}

#[tokio::test]
async fn there_are_so_many_groups_and_no_more() {
    let stack = Stack::new().await;
    let letters = |mut n: usize| {
        let mut id = String::from("g-");
        for _ in 0..3 {
            id.push(char::from(b'a' + (n % 26) as u8));
            n /= 26;
        }
        id
    };
    for n in 0..GROUPS_LIMIT {
        let name = DestGroupName::new("us-west1", &letters(n)).unwrap();
        assert!(stack.store.add_dest_group(&DestGroup::read(name, &[], &[]).unwrap()).await.unwrap());
    }
    let outcome = stack.dest_groups().create(&stack.admin, EAST, "more", group(json!({}))).await;
    assert_eq!(cause(&outcome.unwrap_err()), "TooMany");
}

#[tokio::test]
async fn a_group_goes_with_its_policy_and_the_next_of_its_name_has_nothing_of_it() {
    let stack = Stack::new().await;
    let groups = stack.dest_groups();
    groups.create(&stack.admin, EAST, "prod", group(json!({}))).await.unwrap();
    let editor = stack.holding("editor", "roles/iap.tunnelDestGroupEditor", PROD).await;
    groups.update(&editor, EAST, "prod", group(json!({"fqdns": ["a.test"]})), "fqdns").await.unwrap();
    groups.delete(&stack.admin, EAST, "prod").await.unwrap();
    groups.create(&stack.admin, EAST, "prod", group(json!({}))).await.unwrap();
    assert_eq!(cause(&groups.get(&editor, EAST, "prod").await.unwrap_err()), "Forbidden");
    assert!(stack.get_policy(PROD).await.unwrap().bindings.is_empty());
}

#[tokio::test]
async fn groups_demand_their_permissions_where_they_are() {
    let stack = Stack::new().await;
    let groups = stack.dest_groups();
    groups.create(&stack.admin, EAST, "prod", group(json!({}))).await.unwrap();
    let east = "projects/123/iap_tunnel/locations/us-east1";
    #[rustfmt::skip]
    let cases = [
        // (name, role, on)                                                          => list all, list, get, create, update, delete
        ("viewer",   "roles/iap.tunnelDestGroupViewer",    "projects/123",            [true,  true,  true,  false, false, false]),
        ("editor",   "roles/iap.tunnelDestGroupEditor",    "projects/123/iap_tunnel", [true,  true,  true,  true,  true,  true]),
        ("east",     "roles/iap.tunnelDestGroupEditor",    east,                      [false, true,  true,  true,  true,  true]),
        ("one",      "roles/iap.tunnelDestGroupEditor",    PROD,                      [false, false, true,  false, true,  true]),
        ("tunneler", "roles/iap.tunnelResourceAccessor",   "projects/123",            [false, false, false, false, false, false]),
        ("web",      "roles/iap.httpsResourceAccessor",    "projects/123",            [false, false, false, false, false, false]),
    ];
    for (name, role, on, expected) in cases {
        let admin = &stack.holding(name, role, on).await;
        let may =
            |outcome: Result<(), TunnelDestGroupError>| !matches!(&outcome, Err(error) if cause(error) == "Forbidden");
        let query = PageQuery::default();
        let found = [
            may(groups.list(admin, EVERYWHERE, &query).await.map(drop)),
            may(groups.list(admin, EAST, &query).await.map(drop)),
            may(groups.get(admin, EAST, "prod").await.map(drop)),
            may(groups.create(admin, EAST, "N", group(json!({}))).await.map(drop)),
            may(groups.update(admin, EAST, "prod", group(json!({})), "none").await.map(drop)),
            // Last, of what is there: the next one makes it anew.
            may(groups.delete(admin, EAST, "prod").await),
        ];
        assert_eq!(found, expected, "{name}");
        let _ = groups.create(&stack.admin, EAST, "prod", group(json!({}))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn masked_changes_of_two_instances_lose_nothing() {
    let stack = Stack::new().await;
    let other = stack.other().await;
    let changes = stack.changes_at(&other);
    let (first, second) = (stack.dest_groups(), TunnelDestGroups::new(stack.store.clone(), other, changes));
    first.create(&stack.admin, EAST, "prod", group(json!({}))).await.unwrap();
    for round in 0..30 {
        let (cidr, fqdn) = (format!("10.0.{round}.0/24"), format!("host{round}.test"));
        let (one, two) = tokio::join!(
            first.update(&stack.admin, EAST, "prod", group(json!({"cidrs": [cidr]})), "cidrs"),
            second.update(&stack.admin, EAST, "prod", group(json!({"fqdns": [fqdn]})), "fqdns"),
        );
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        let shown = serde_json::to_value(first.get(&stack.admin, EAST, "prod").await.unwrap()).unwrap();
        assert_eq!(shown, json!({"name": PROD, "cidrs": [cidr], "fqdns": [fqdn]}));
    }
}
