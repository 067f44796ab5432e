//! What must hold for every world: explaining is deciding, and a snapshot made step by step is the one made at once.

use doorward_core::member::Member;
use doorward_core::policy::request::RequestContext;
use doorward_core::policy::{
    ConditionOutcome, Permission, Question, RuleOutcome, Standing, Verdict, WhyNot, principal_of,
};
use doorward_core::resource::Host;
use doorward_core::snapshot::{Snapshot, Update};

use crate::world::{Caller, application, deny, empty, member, policy, request, resource};

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
}

const NODES: [&str; 8] = ["org", "folder", "project", "web", "type", "wiki", "wiki:bs_0", "blog"];
const ROLES: [&str; 5] = ["httpsResourceAccessor", "admin", "roles/viewer", "roles/owner", "projects/1/roles/door"];
const MEMBERS: [&str; 9] = [
    "user:a@x.com",
    "user:b@y.com",
    "serviceAccount:r@p.co",
    "group:g@x.com",
    "group:h@x.com",
    "group:i@x.com",
    "domain:x.com",
    "principalSet://doorward/trustedIssuers/corp/*",
    "principal://doorward/trustedIssuers/corp/subject/s",
];
const GROUPS: [&str; 3] = ["g@x.com", "h@x.com", "i@x.com"];
const CONDITIONS: [&str; 4] = [
    "request.path.startsWith('/a')",
    "request.method == 'POST'",
    "request.headers['origin'] == 'x'",
    "request.host == 'app.example'",
];
const PERMISSIONS: [&str; 3] =
    ["iap.googleapis.com/*.accessViaIAP", "iap.googleapis.com/*.*", "iap.googleapis.com/webServices.setIamPolicy"];

fn update(dice: &mut Dice) -> Update {
    let members = |dice: &mut Dice| -> String {
        let mut members: Vec<&str> = (0..1 + dice.roll(3)).map(|_| dice.pick(&MEMBERS)).collect();
        members.sort_unstable();
        members.dedup();
        members.join(" ")
    };
    match dice.roll(8) {
        0..=2 => {
            let bindings: Vec<String> = (0..dice.roll(4))
                .map(|_| {
                    let binding = format!("{}: {}", dice.pick(&ROLES), members(dice));
                    let public = dice.roll(12) == 0;
                    match dice.roll(2) {
                        _ if public => format!("{} allUsers", binding),
                        0 => binding,
                        _ => format!("{binding} if {}", dice.pick(&CONDITIONS)),
                    }
                })
                .collect();
            policy(dice.pick(&NODES), &bindings.iter().map(String::as_str).collect::<Vec<_>>())
        }
        3 => {
            let mut rule = format!("{}: {}", dice.pick(&PERMISSIONS), members(dice));
            if dice.roll(2) == 0 {
                rule += &format!(" except {}", members(dice));
            }
            if dice.roll(2) == 0 {
                rule += &format!(" if {}", dice.pick(&CONDITIONS));
            }
            let update = deny(dice.pick(&NODES[..3]), dice.pick(&["abc", "abd"]), &rule);
            match (update, dice.roll(3)) {
                (Update::DenyPolicy(name, _), 0) => Update::DenyPolicy(name, None),
                (update, _) => update,
            }
        }
        4 => Update::Group(dice.pick(&GROUPS).parse().unwrap(), dice.roll(3) > 0),
        5 | 6 => member(dice.pick(&GROUPS), dice.pick(&MEMBERS), dice.roll(3) > 0),
        _ => match (
            application(dice.pick(&["wiki", "blog"]), &["app.example/", "app.example/a"][..1 + dice.roll(2)]),
            dice.roll(4),
        ) {
            (Update::Application(number, _), 0) => Update::Application(number, None),
            (update, _) => update,
        },
    }
}

const CALLERS: [&str; 6] = [
    "nobody",
    "user:a@x.com",
    "user:b@y.com",
    "serviceAccount:r@p.co",
    "principal://doorward/trustedIssuers/corp/subject/s+principalSet://doorward/trustedIssuers/corp/*",
    "principal://doorward/trustedIssuers/corp/subject/t+principalSet://doorward/trustedIssuers/corp/*",
];

/// Every answer of a snapshot, with the binding or the rule.
fn answers(snapshot: &Snapshot) -> Vec<String> {
    let host = Host::parse("app.example").unwrap();
    let mut answers = Vec::new();
    for node in NODES {
        let lineage = snapshot.lineage(&resource(node));
        for permission in [Permission::AccessViaIap, Permission::SetWebServiceIamPolicy] {
            for path in ["/a", "/b", "/a/../b"] {
                for caller in CALLERS {
                    let context = request(&host, path);
                    let caller = Caller::new(caller);
                    let question = Question { principal: caller.principal(), permission, context: &context };
                    let decided = snapshot.decide(&lineage, &question);
                    let explained = snapshot.explain(&lineage, &question);
                    let told = told(&decided);
                    assert_eq!(told, self::told(&explained.verdict), "{node} {permission} {path}");
                    let some = explained.bindings.iter().any(|it| it.outcome == WhyNot::Matched);
                    match decided {
                        Verdict::Allowed(_) => assert!(some && explained.remedies.is_empty()),
                        Verdict::NotGranted => assert!(!some && !explained.remedies.is_empty()),
                        Verdict::Denied(_) => assert!(!explained.remedies.is_empty()),
                    }
                    answers.push(told);
                }
            }
        }
        who_can_is_what_is_decided(snapshot, node, &host);
    }
    what_can_is_what_is_decided(snapshot, &host);
    for path in ["/", "/a", "/a/b", "/b/../a", "/%61", "//a"] {
        let served = snapshot.served_at(&host, path).map(|(origin, it)| format!("{origin} {}", it.name));
        answers.push(format!("{path} {served:?}"));
    }
    for it in snapshot.applications() {
        let held: Vec<&str> = it.lineage.allow().iter().map(|node| &*node.name).collect();
        let fresh = snapshot.lineage(&it.lineage.resource);
        let now: Vec<&str> = fresh.allow().iter().map(|node| &*node.name).collect();
        assert_eq!(held, now, "an application has an older lineage");
        assert!(it.lineage.allow().iter().zip(fresh.allow()).all(|(a, b)| std::sync::Arc::ptr_eq(a, b)));
        assert_eq!(it.lineage.deny().len(), fresh.deny().len());
    }
    answers
}

/// Whoever is let in is named by those who can, as they stand there; and nobody stands there otherwise than decisions say.
fn who_can_is_what_is_decided(snapshot: &Snapshot, node: &str, host: &Host) {
    let (lineage, permission) = (snapshot.lineage(&resource(node)), Permission::AccessViaIap);
    for path in ["/a", "/b", "/a/../b"] {
        let context = request(host, path);
        let holders = snapshot.who_can(&lineage, permission, &context);
        for caller in CALLERS {
            let caller = Caller::new(caller);
            let question = Question { principal: caller.principal(), permission, context: &context };
            if let Verdict::Allowed(granted) = snapshot.decide(&lineage, &question) {
                let named = holders.iter().find(|it| it.member == *granted.member);
                assert!(named.is_some(), "{node} {path}: {} is missing", granted.member);
            }
        }
        for holder in &holders {
            let principal = principal_of(&holder.member);
            let question = Question { principal, permission, context: &context };
            let explained = snapshot.explain(&lineage, &question);
            let holds = Some(RuleOutcome::Condition(ConditionOutcome::Holds));
            let expected = match snapshot.decide(&lineage, &question) {
                Verdict::Allowed(_) => Standing::Allowed,
                Verdict::Denied(_) if explained.rules.iter().any(|it| it.outcome == holds) => Standing::Denied,
                Verdict::Denied(_) | Verdict::NotGranted => Standing::Depends,
            };
            assert_eq!(holder.standing, expected, "{node} {path} {}", holder.member);
            assert!(!holder.by.is_empty(), "{node} {path} {}", holder.member);
        }
    }
}

/// What somebody can is where they are let in, and where it depends on what is not known.
fn what_can_is_what_is_decided(snapshot: &Snapshot, host: &Host) {
    let (permission, nothing) = (Permission::AccessViaIap, RequestContext::new(request(host, "/").time));
    for member in MEMBERS.into_iter().chain(["allUsers"]) {
        let member: Member = member.parse().unwrap();
        let reachable = snapshot.what_can(&member, permission, &nothing);
        for it in snapshot.applications() {
            let found =
                reachable.iter().find(|(found, _)| found.name == it.name).map(|(_, holder)| holder.standing.clone());
            let decided = |context: &RequestContext<'_>| {
                let question = Question { principal: principal_of(&member), permission, context };
                snapshot.decide(&it.lineage, &question).is_allowed()
            };
            let mut allowed = false;
            for path in ["/a", "/b", "/a/../b"] {
                allowed |= decided(&request(host, path));
            }
            let told = format!("{} {member} {found:?}", it.name);
            assert_eq!(decided(&nothing), found == Some(Standing::Allowed), "{told}");
            // Whoever is let in somewhere is not told that they may not.
            assert!(!allowed || matches!(found, Some(Standing::Allowed | Standing::Depends)), "{told}");
        }
    }
}

fn told(verdict: &Verdict<'_>) -> String {
    match verdict {
        Verdict::Allowed(it) => format!("{} {} {}", it.node.name, it.binding, it.member),
        Verdict::Denied(it) => format!("! {} {} {} {}", it.node.name, it.rule, it.member, it.unevaluated),
        Verdict::NotGranted => "-".to_owned(),
    }
}

#[test]
fn deciding_and_explaining_agree_and_steps_lead_where_one_step_leads() {
    for seed in 1..=60 {
        let mut dice = Dice(0x9e37_79b9 * seed);
        let mut rolled = Dice(dice.0);
        let steps = 4 + dice.roll(24);
        rolled.roll(24);
        let mut stepwise = empty();
        for version in 0..steps {
            stepwise = stepwise.with(version as u64 + 1, [update(&mut dice)]);
        }
        let at_once = empty().with(1, (0..steps).map(|_| update(&mut rolled)));
        assert_eq!(answers(&stepwise), answers(&at_once), "seed {seed}");
    }
}
