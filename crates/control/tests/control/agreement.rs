//! In worlds made by chance: what is explained, listed and tried is what is decided.

use doorward_core::audit::{AuditEvent, Decision, Outcome, Reason};
use doorward_core::clock::Timestamp;
use doorward_core::member::Member;
use doorward_core::policy::path::{RequestPath, check_path};
use doorward_core::policy::request::{HttpRequest, RequestContext, ResourceAttributes};
use doorward_core::policy::{Permission, Principal, Question, Verdict, principal_of};
use doorward_wire::doorward_api::{GroupResource, Verdict as Told, WhatCanRequest};
use doorward_wire::google_api::iam_deny;
use serde_json::{Value, json};

use crate::{Stack, app_host};

const ROLE: &str = "roles/iap.httpsResourceAccessor";
const ENTER: &str = "iap.googleapis.com/webServiceVersions.accessViaIAP";
const NODES: [&str; 7] = [
    "organizations/1",
    "folders/21",
    "projects/123",
    "projects/123/iap_web",
    "projects/123/iap_web/compute",
    "projects/123/iap_web/compute/services/777",
    "projects/123/iap_web/compute/services/777/versions/bs_0",
];
const MEMBERS: [&str; 6] = [
    "user:ann@x.com",
    "user:bob@y.com",
    "serviceAccount:robot1@dev-project.iam.gserviceaccount.com",
    "group:g@x.com",
    "group:h@x.com",
    "domain:x.com",
];
const CALLERS: [Option<&str>; 4] = [
    None,
    Some("user:ann@x.com"),
    Some("user:bob@y.com"),
    Some("serviceAccount:robot1@dev-project.iam.gserviceaccount.com"),
];
const CONDITIONS: [&str; 5] = [
    "request.path.startsWith('/a')",
    "request.method == 'POST'",
    "request.host == 'app.test'",
    "request.auth.principal == 'user:ann@x.com'",
    "request.time < timestamp('2020-01-01T00:00:00Z')",
];
const PATHS: [&str; 4] = ["/a", "/b", "/a/../b", "/a/..;/b"];

/// A small generator (xorshift64): every run makes the same worlds.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    fn members(&mut self) -> Vec<&'static str> {
        let mut members: Vec<&str> = (0..1 + self.roll(3)).map(|_| self.pick(&MEMBERS)).collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    fn condition(&mut self) -> Value {
        json!({"title": "t", "expression": self.pick(&CONDITIONS)})
    }
}

/// Writes a world through the use cases, as an administrator would.
async fn fill(stack: &Stack, dice: &mut Dice) {
    stack.create_account("robot1").await;
    for group in ["h@x.com", "g@x.com"] {
        // The outer one is made second, and may have the inner one.
        let members = dice.members().into_iter().filter(|it| !it.starts_with("group:") || group == "g@x.com");
        let members = members.filter(|it| *it != "group:g@x.com").map(str::to_owned).collect();
        let given = GroupResource { email: group.to_owned(), members, ..GroupResource::default() };
        stack.groups.create(&stack.admin, given).await.unwrap();
    }
    for node in NODES {
        let mut bindings = Vec::new();
        for _ in 0..dice.roll(3) {
            let mut binding = json!({"role": ROLE, "members": dice.members()});
            match dice.roll(8) {
                0 if node.contains("/services/") => binding["members"] = json!(["allUsers"]),
                0..=3 => {}
                _ => binding["condition"] = dice.condition(),
            }
            bindings.push(binding);
        }
        let policy = serde_json::from_value(json!({"version": 3, "bindings": bindings})).unwrap();
        stack.set_policy(node, policy).await.unwrap();
    }
    for place in ["organizations%2F1", "projects%2F123"] {
        if dice.roll(2) == 0 {
            continue;
        }
        let mut rule = json!({"deniedPrincipals": dice.members(), "deniedPermissions": [ENTER]});
        if dice.roll(2) == 0 {
            rule["exceptionPrincipals"] = json!(dice.members());
        }
        if dice.roll(2) == 0 {
            rule["denialCondition"] = dice.condition();
        }
        let given: iam_deny::Policy = serde_json::from_value(json!({"rules": [{"denyRule": rule}]})).unwrap();
        let attachment = format!("cloudresourcemanager.googleapis.com%2F{place}");
        stack.deny.create(&stack.admin, &attachment, "some", given).await.unwrap();
    }
}

/// What the proxy would decide. The path has passed its check.
fn decided(stack: &Stack, caller: Option<&str>, method: &str, path: &str) -> Told {
    let snapshot = stack.publisher.cell().current();
    let (host, member) = (app_host(), caller.map(|it| it.parse::<Member>().unwrap()));
    let (_, served) = snapshot.served_at(&host, path).unwrap();
    let principal = member.as_ref().map_or(Principal::Anonymous, principal_of);
    let mut context = RequestContext::new(stack.now()).with_access_levels(&snapshot.access_levels);
    context.http = Some(HttpRequest { host: &host, path: RequestPath::new(path), method, headers: None });
    context.principal = member.as_ref().map(|it| it as _);
    let kind = served.lineage.resource.type_name();
    let service = served.lineage.resource.service();
    context.resource = Some(ResourceAttributes { name: &served.version_name, kind, service });
    let question = Question { principal, permission: Permission::AccessViaIap, context: &context };
    match snapshot.decide(&served.lineage, &question) {
        Verdict::Allowed(_) => Told::Allowed,
        Verdict::Denied(_) => Told::Denied,
        Verdict::NotGranted => Told::NotGranted,
    }
}

#[tokio::test]
async fn explaining_is_deciding_and_a_policy_that_stays_changes_nothing() {
    let (mut allowed, mut denied, mut refused) = (0, 0, 0);
    for seed in 1..=12 {
        let stack = Stack::new().await;
        fill(&stack, &mut Dice(0x9e37_79b9 * seed)).await;
        let mut events = Vec::new();
        for (caller, path) in CALLERS.into_iter().flat_map(|caller| PATHS.map(|path| (caller, path))) {
            for method in ["GET", "POST"] {
                let url = format!("http://app.test{path}");
                let asked = json!({"principal": caller, "question": {"method": method, "url": url}});
                let request = serde_json::from_value(asked).unwrap();
                let told = stack.explanations().explain(&stack.admin, request).await.unwrap().verdict;
                if check_path(path).is_err() {
                    assert_eq!(told, Told::Refused, "seed {seed}: {path}");
                    continue;
                }
                let decided = decided(&stack, caller, method, path);
                assert_eq!(told, decided, "seed {seed}: {caller:?} {method} {path}");
                match decided {
                    Told::Allowed => allowed += 1,
                    Told::Denied => denied += 1,
                    Told::NotGranted | Told::Refused => refused += 1,
                }
                events.push(recorded(caller, method, path, decided, stack.now(), events.len()));
            }
        }
        stack.store.append(&events, 1000).await.unwrap();
        // The decisions again, by their records.
        for event in &events {
            let AuditEvent::Decision(decision) = event else { continue };
            let request = serde_json::from_value(json!({"decisionId": decision.id})).unwrap();
            let told = stack.explanations().explain(&stack.admin, request).await.unwrap();
            let was = matches!(decision.outcome, Outcome::Allowed { .. });
            assert_eq!(told.verdict == Told::Allowed, was, "seed {seed}: {}", decision.id);
        }
        // What is there, proposed: nothing, and the whole.
        let whole = stack.world().export(&stack.admin).await.unwrap();
        for proposed in [json!({}), serde_json::to_value(whole).unwrap()] {
            let request = serde_json::from_value(json!({"proposed": proposed})).unwrap();
            let tried = stack.simulations().simulate(&stack.admin, request).await.unwrap();
            assert!(!tried.changes_anything(), "seed {seed}: {tried:?}");
            assert_eq!((tried.replayed, tried.unknown, tried.skipped), (events.len() as u64, 0, 0), "seed {seed}");
        }
        what_can_is_where_one_is_let_in(&stack, seed).await;
    }
    assert!(allowed > 50 && denied > 20 && refused > 50, "{allowed} {denied} {refused}");
}

async fn what_can_is_where_one_is_let_in(stack: &Stack, seed: u64) {
    for caller in CALLERS.into_iter().flatten() {
        let request = WhatCanRequest { member: caller.to_owned() };
        let can = stack.explanations().what_can(&stack.admin, request).await.unwrap();
        let paths = ["/a", "/b"].into_iter().flat_map(|path| [("GET", path), ("POST", path)]);
        let somewhere =
            paths.into_iter().any(|(method, path)| decided(stack, Some(caller), method, path) == Told::Allowed);
        let told = can.applications.iter().any(|it| it.application == "app");
        assert!(told || !somewhere, "seed {seed}: {caller} is let in, and not told so");
    }
}

fn recorded(
    caller: Option<&str>,
    method: &str,
    path: &str,
    decided: Told,
    time: Timestamp,
    number: usize,
) -> AuditEvent {
    const APP: &str = "projects/123/iap_web/compute/services/777";
    let refused = |reason| Outcome::Refused { reason, detail: String::new(), denied_by: None };
    let outcome = match decided {
        Told::Allowed => Outcome::Allowed {
            binding_resource: APP.to_owned(),
            role: ROLE.to_owned(),
            member: caller.unwrap_or("allUsers").to_owned(),
            condition: None,
        },
        Told::Denied => refused(Reason::DeniedByRule),
        Told::NotGranted | Told::Refused => refused(Reason::PermissionDenied),
    };
    AuditEvent::Decision(Decision {
        id: format!("d{number}"),
        time,
        resource: Some(APP.to_owned()),
        version: Some(format!("{APP}/versions/bs_0")),
        caller: caller.map(str::to_owned),
        members: caller.into_iter().map(str::to_owned).collect(),
        outcome,
        method: method.to_owned(),
        host: "app.test".to_owned(),
        path: path.to_owned(),
        client: "192.0.2.1".to_owned(),
        ..Decision::default()
    })
}
