//! Conditions, deny policies, custom roles, access levels, the brand and destination groups.

use doorward_core::access_level::{AccessLevel, Definition, Simple};
use doorward_core::dest_group::{DestGroup, DestGroupName};
use doorward_core::policy::{
    Binding, ConditionText, CustomRole, DenyPolicy, Etag, LaunchStage, Permission, PermissionSet, RoleName,
};
use doorward_core::resource::Resource;
use doorward_core::store::{Brand, Changed, PolicyWrite, Replaced};

use super::{AnyStore, at_once};
use crate::samples::*;

pub(crate) async fn a_policy_of_any_resource_keeps_its_roles_members_and_conditions(store: AnyStore) {
    let condition = ConditionText {
        expression: "request.path.startsWith(\"/'\\u00e9\")".into(),
        title: "Zo\u{eb}'s".into(),
        description: String::new(),
        location: "here".into(),
    };
    let bindings = vec![
        Binding {
            role: "roles/owner".parse().unwrap(),
            members: vec!["group:eng@example.com".parse().unwrap(), "deleted:user:a@b.test?uid=7".parse().unwrap()],
            condition: None,
        },
        Binding {
            role: "projects/123/roles/mine".parse().unwrap(),
            members: vec!["user:ann@example.com".parse().unwrap()],
            condition: Some(condition),
        },
        Binding {
            role: RoleName::https_resource_accessor(),
            members: vec!["allUsers".parse().unwrap()],
            condition: Some(ConditionText { expression: "true".into(), ..ConditionText::default() }),
        },
    ];
    for name in ["organizations/1", "folders/2", "projects/123/iap_tunnel/zones/z/instances/i"] {
        written(store.replace_policy(name, &bindings, None, &[]).await.unwrap());
        assert_eq!(store.policy(name).await.unwrap().bindings, bindings, "{name}");
    }
}

pub(crate) async fn a_deny_policy_is_written_in_the_state_that_the_writer_saw(store: AnyStore) {
    let rules = [
        rule(&["allUsers", "principalSet://doorward/trustedIssuers/corp/*"], &["user:ann@example.com"]),
        doorward_core::policy::DenyRule {
            condition: Some(ConditionText {
                expression: "false".into(),
                title: "n'o".into(),
                ..ConditionText::default()
            }),
            ..rule(&["domain:x.test"], &[])
        },
    ];
    let mut first = deny_policy("deny-b", &rules);
    first.etag = store.add_deny_policy(&first).await.unwrap().unwrap();
    assert_eq!(store.add_deny_policy(&first).await.unwrap(), None, "its name is taken");
    let elsewhere = [Resource::Folder("7".into()), Resource::Organization("7".into())];
    for attachment in elsewhere {
        let mut other = deny_policy("deny-b", &rules[..1]);
        other.name.attachment = attachment;
        other.etag = store.add_deny_policy(&other).await.unwrap().unwrap();
        assert_eq!(store.deny_policy(&other.name).await.unwrap(), Some(other));
    }
    store.add_deny_policy(&deny_policy("deny-a", &[])).await.unwrap().unwrap();
    assert_eq!(store.deny_policy(&first.name).await.unwrap().as_ref(), Some(&first));
    let all = store.deny_policies().await.unwrap();
    assert_eq!(all.len(), 4);
    assert!(all.is_sorted_by_key(|policy| policy.name.clone()));

    let changed = |n: usize| DenyPolicy {
        uid: "other".into(),
        created: at(99),
        updated: at(50),
        display_name: n.to_string(),
        rules: vec![],
        ..first.clone()
    };
    let stale = Some(Etag(first.etag.0 + 1));
    assert_eq!(store.replace_deny_policy(&changed(0), stale).await.unwrap(), Replaced::Stale);
    assert_eq!(store.replace_deny_policy(&deny_policy("none", &[]), None).await.unwrap(), Replaced::NotFound);
    let answers = at_once(12, |n| {
        let (store, seen, changed) = (store.clone(), Some(first.etag), changed(n));
        async move { (changed.clone(), store.replace_deny_policy(&changed, seen).await.unwrap()) }
    });
    let done = answers.await.into_iter().filter_map(|(changed, replaced)| match replaced {
        Replaced::Done(etag) => Some(DenyPolicy { etag, uid: first.uid.clone(), created: first.created, ..changed }),
        Replaced::Stale | Replaced::NotFound => None,
    });
    let winners: Vec<DenyPolicy> = done.collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.deny_policy(&first.name).await.unwrap().as_ref(), winners.first(), "number and making stay");

    let last = winners[0].etag;
    assert_eq!(store.remove_deny_policy(&first.name, Some(first.etag)).await.unwrap(), Replaced::Stale);
    assert_eq!(store.remove_deny_policy(&first.name, Some(last)).await.unwrap(), Replaced::Done(last));
    assert_eq!(store.remove_deny_policy(&first.name, None).await.unwrap(), Replaced::NotFound);
    assert!(store.add_deny_policy(&first).await.unwrap().unwrap() > last, "the next is not taken for the old one");
}

pub(crate) async fn a_role_is_replaced_and_deleted_and_keeps_its_name(store: AnyStore) {
    let role = |name: &str| CustomRole {
        name: name.parse().unwrap(),
        title: "Zo\u{eb}'s".into(),
        description: "x".into(),
        stage: LaunchStage::Deprecated,
        permissions: PermissionSet::of(&[Permission::GetProject, Permission::ListServiceAccounts]),
        deleted: false,
        etag: Etag::UNWRITTEN,
    };
    let mut first = role("projects/123/roles/bbb");
    first.etag = store.add_role(&first).await.unwrap().unwrap();
    let mut other = role("organizations/1/roles/bbb");
    other.etag = store.add_role(&other).await.unwrap().unwrap();
    assert_eq!(store.roles().await.unwrap(), [other, first.clone()]);
    assert_eq!(store.role(&"projects/123/roles/none".parse().unwrap()).await.unwrap(), None);

    let deleted = CustomRole { deleted: true, permissions: PermissionSet::EMPTY, ..first.clone() };
    assert_eq!(store.replace_role(&deleted, Some(Etag(first.etag.0 + 1))).await.unwrap(), Replaced::Stale);
    assert_eq!(store.replace_role(&role("projects/123/roles/none"), None).await.unwrap(), Replaced::NotFound);
    let Replaced::Done(second) = store.replace_role(&deleted, Some(first.etag)).await.unwrap() else { panic!() };
    let deleted = CustomRole { etag: second, ..deleted };
    assert_eq!(store.role(&first.name).await.unwrap(), Some(deleted));
    assert_eq!(store.add_role(&first).await.unwrap(), None, "its name is taken");
    let answers = at_once(12, |_| {
        let (store, first) = (store.clone(), first.clone());
        async move { matches!(store.replace_role(&first, Some(second)).await.unwrap(), Replaced::Done(_)) }
    });
    assert_eq!(answers.await.into_iter().filter(|done| *done).count(), 1);
    assert!(!store.role(&first.name).await.unwrap().unwrap().deleted);
}

pub(crate) async fn access_levels_are_kept_as_they_were_written(store: AnyStore) {
    let name = |id: &str| format!("accessPolicies/123/accessLevels/{id}").parse().unwrap();
    let level = |id: &str, definition| AccessLevel::new(name(id), "Zo\u{eb}'s".into(), "x".into(), definition).unwrap();
    let expression = level("b", Definition::Expression("request.auth.strength >= 2".into()));
    let simple = level(
        "a",
        Definition::Simple(Simple {
            ip_subnetworks: vec!["10.0.0.0/8".into()],
            required_access_levels: vec![name("b")],
            members: vec!["user:ann@example.com".parse().unwrap()],
        }),
    );
    assert!(!store.replace_access_level(&expression, &[]).await.unwrap());
    let mut seen = Vec::new();
    for level in [&expression, &simple] {
        assert!(store.add_access_level(level, &seen).await.unwrap());
        seen.insert(0, level.clone());
        assert!(!store.add_access_level(level, &seen).await.unwrap(), "its name is taken");
    }
    assert_eq!(store.access_levels().await.unwrap(), [simple.clone(), expression.clone()]);
    let changed = level("b", Definition::Expression("false".into()));
    assert!(store.replace_access_level(&changed, &seen).await.unwrap());
    let seen = [changed, simple.clone()];
    assert_eq!(store.access_levels().await.unwrap(), [simple.clone(), seen[0].clone()]);
    assert!(store.remove_access_level(expression.name(), &seen).await.unwrap());
    let seen = [simple];
    assert!(!store.remove_access_level(expression.name(), &seen).await.unwrap());
    assert_eq!(store.access_levels().await.unwrap(), seen);
}

pub(crate) async fn of_writers_who_fitted_a_level_to_the_same_levels_one_wins(store: AnyStore) {
    let level = |id: &str, n: usize| {
        let definition = Definition::Expression(format!("request.auth.strength >= {n}"));
        let name = format!("accessPolicies/123/accessLevels/{id}").parse().unwrap();
        AccessLevel::new(name, "t".into(), String::new(), definition).unwrap()
    };
    let mut seen = vec![];
    for round in 0..6 {
        // Some write one that is there, some add one, and some remove one.
        let answers = at_once(12, |n| {
            let (store, seen) = (store.clone(), seen.clone());
            async move {
                match n % 3 {
                    0 => store.add_access_level(&level(&format!("a{round}x{n}"), 1), &seen).await.unwrap(),
                    1 => store.replace_access_level(&level("a", 10 * round + n), &seen).await.unwrap(),
                    _ => store.remove_access_level(level("a", 0).name(), &seen).await.unwrap(),
                }
            }
        });
        assert_eq!(answers.await.into_iter().filter(|won| *won).count(), 1, "round {round}");
        let left = store.access_levels().await.unwrap();
        assert_ne!(left, seen, "round {round}");
        for stale in [&seen[..], &[level("other", 1)]] {
            assert!(!store.add_access_level(&level("new", 1), stale).await.unwrap(), "others are there by now");
        }
        seen = left;
        if !seen.iter().any(|old| *old.name() == *level("a", 0).name()) {
            assert!(store.add_access_level(&level("a", 100 + round), &seen).await.unwrap());
            seen = store.access_levels().await.unwrap();
        }
    }
}

pub(crate) async fn there_is_one_brand_at_most(store: AnyStore) {
    assert_eq!(store.brand().await.unwrap(), None);
    let brand = |n: usize| Brand {
        application_title: format!("Zo\u{eb}'s {n}"),
        support_email: "help@example.com".parse().unwrap(),
        org_internal_only: n < 6,
    };
    let added = at_once(12, |n| {
        let store = store.clone();
        async move { store.add_brand(&brand(n)).await.unwrap().then(|| brand(n)) }
    });
    let winners: Vec<Brand> = added.await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.brand().await.unwrap().as_ref(), winners.first());
}

fn dest_group(location: &str, id: &str, cidrs: &[&str], fqdns: &[&str]) -> DestGroup {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    DestGroup::read(DestGroupName::new(location, id).unwrap(), &texts(cidrs), &texts(fqdns)).unwrap()
}

fn dest_group_resource(name: &DestGroupName) -> String {
    format!("projects/123/iap_tunnel/locations/{}/destGroups/{}", name.location(), name.id())
}

pub(crate) async fn a_destination_group_is_replaced_only_in_the_state_that_the_writer_saw(store: AnyStore) {
    let first = dest_group("us-east1", "prod", &["10.0.0.0/8", "2001:db8::/32"], &["*.example.com", "db.example.com"]);
    let others = [dest_group("us-east1", "a-test", &[], &[]), dest_group("europe-west1", "prod", &[], &["a.test"])];
    assert_eq!((store.dest_group(&first.name).await.unwrap(), store.dest_groups(None).await.unwrap()), (None, vec![]));
    let before = store.revision().await.unwrap();
    for group in [&first, &others[0], &others[1]] {
        assert!(store.add_dest_group(group).await.unwrap());
    }
    let taken = dest_group("us-east1", "prod", &[], &[]);
    assert!(!store.add_dest_group(&taken).await.unwrap());
    assert_eq!(store.dest_group(&first.name).await.unwrap().as_ref(), Some(&first));
    assert_eq!(store.dest_groups(None).await.unwrap(), [others[1].clone(), others[0].clone(), first.clone()]);
    assert_eq!(store.dest_groups(Some("us-east1")).await.unwrap(), [others[0].clone(), first.clone()]);
    assert_eq!(store.dest_groups(Some("nowhere")).await.unwrap(), []);

    let second = dest_group("us-east1", "prod", &["10.0.0.1"], &[]);
    assert!(store.replace_dest_group(&first, &second).await.unwrap());
    assert!(!store.replace_dest_group(&first, &taken).await.unwrap(), "it is in another state");
    assert_eq!(store.dest_group(&first.name).await.unwrap().as_ref(), Some(&second));
    let none = dest_group("us-east1", "none", &[], &[]);
    assert!(!store.replace_dest_group(&none, &none).await.unwrap());
    assert_eq!(store.revision().await.unwrap(), before, "no snapshot has them");
}

pub(crate) async fn of_those_who_make_or_change_one_destination_group_at_once_one_wins(store: AnyStore) {
    let group = |n: usize| dest_group("r", "prod", &[&format!("10.0.{n}.0/24")], &[]);
    let added = at_once(8, |n| {
        let store = store.clone();
        async move { store.add_dest_group(&group(n)).await.unwrap().then(|| group(n)) }
    });
    let added: Vec<DestGroup> = added.await.into_iter().flatten().collect();
    assert_eq!(store.dest_groups(None).await.unwrap(), added, "exactly one");
    let seen = added[0].clone();
    let changed = at_once(8, |n| {
        let (store, seen) = (store.clone(), seen.clone());
        async move { store.replace_dest_group(&seen, &group(100 + n)).await.unwrap().then(|| group(100 + n)) }
    });
    let changed: Vec<DestGroup> = changed.await.into_iter().flatten().collect();
    assert_eq!(store.dest_groups(None).await.unwrap(), changed, "exactly one");
}

pub(crate) async fn a_destination_group_goes_with_the_policy_on_it_and_takes_no_others(store: AnyStore) {
    // Names that one that is less exact would take for the first.
    let groups = ["prod", "pro-", "prod-a", "a-prod"].map(|id| dest_group("r", id, &[], &[]));
    let members = bindings(&["user:ann@example.com"]);
    let mut states = Vec::new();
    for group in &groups {
        assert!(store.add_dest_group(group).await.unwrap());
        let name = dest_group_resource(&group.name);
        states.push(written(store.replace_policy(&name, &members, None, &[]).await.unwrap()));
    }
    let (name, resource) = (&groups[0].name, dest_group_resource(&groups[0].name));
    let before = store.revision().await.unwrap();
    assert!(store.remove_dest_group(name, &resource).await.unwrap());
    let touched: Vec<Changed> =
        store.changes_after(before, 10).await.unwrap().unwrap().into_iter().map(|change| change.what).collect();
    assert_eq!(touched, [Changed::Policy(resource.clone())]);
    assert_eq!(store.policy(&resource).await.unwrap().etag, Etag::UNWRITTEN);
    assert_eq!(store.policies().await.unwrap().len(), groups.len() - 1);
    assert_eq!(store.dest_groups(None).await.unwrap().len(), groups.len() - 1);
    // Whoever saw the policy of the one that is gone does not write that of the next.
    assert!(store.add_dest_group(&groups[0]).await.unwrap());
    let late = store.replace_policy(&resource, &members, Some(states[0]), &[]).await.unwrap();
    assert_eq!(late, PolicyWrite::Conflict);

    // Without a policy nobody has to be told.
    let before = store.revision().await.unwrap();
    assert!(store.remove_dest_group(name, &resource).await.unwrap());
    assert!(!store.remove_dest_group(name, &resource).await.unwrap());
    assert_eq!(store.revision().await.unwrap(), before);
}
