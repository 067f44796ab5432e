//! What a decision costs in a large world: `cargo bench -p doorward-core --bench decide` prints the median of one decision, the
//! allocations on the common path, the time of a snapshot after one change, and the memory of a snapshot.
//!
//! The world: 10,000 applications, 100,000 bindings of which every second is conditional, 1,000,000 people in groups, each in five.
//! Without `--bench` it is a small one, for `cargo test --benches`.

use std::alloc::System;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::clock::Timestamp;
use doorward_core::issuer::TrustedIssuers;
use doorward_core::keys::KeyRing;
use doorward_core::member::{Email, Member};
use doorward_core::policy::condition::{Condition, HeaderAllowList, Schema};
use doorward_core::policy::path::RequestPath;
use doorward_core::policy::request::{HttpRequest, RequestContext};
use doorward_core::policy::{Binding, ConditionText, Etag, Permission, Policy, Principal, Question};
use doorward_core::resource::{
    Application, ClientId, Host, Origin, PathPrefix, Project, Resource, Route, Scheme, ServiceKind, ServiceType,
};
use doorward_core::settings::{Defaults, EmailClaim};
use doorward_core::snapshot::{Fixed, ProtectedResource, Snapshot, Update};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// How large the world is.
struct Size {
    applications: usize,
    people: usize,
    groups: usize,
}

const BINDINGS: usize = 10;
const MEMBERSHIPS: usize = 5;
/// From the group of a binding to that of the next.
const STEP: usize = 37;
const ROUNDS: usize = 101;
/// A round is timed in so many parts: one takes less than a process may run before others do, so that the median of the parts is
/// the time of decisions and not of waiting for a processor. All questions come before one comes again.
const CHUNKS: usize = 64;

fn main() {
    // `cargo bench` says so; `cargo test --benches` does not.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let size = match quick {
        true => Size { applications: 100, people: 1000, groups: 50 },
        false => Size { applications: 10_000, people: 1_000_000, groups: 20_000 },
    };
    let calls = if quick { CHUNKS } else { 4096 };
    let before = held();
    let start = stopwatch();
    let snapshot = world(&size);
    println!("building all: {:.1} s", start.elapsed().as_secs_f64());
    println!("memory of the snapshot: {} MiB", (held() - before) >> 20);

    let people: Vec<Email> = (0..size.people).step_by((size.people / 4096).max(1)).map(person).collect();
    let hosts: Vec<Host> = (0..size.applications).step_by((size.applications / 512).max(1)).map(host).collect();
    let decisions = |name: &str, own: Option<usize>| {
        let mut allowed = 0;
        let mut turn = 0;
        let mut decide = || {
            let person = &people[turn * 7919 % people.len()];
            let host = match own {
                Some(binding) => host(home(turn * 7919 % people.len(), binding, &people, &size)),
                None => hosts[turn * 104_729 % hosts.len()].clone(),
            };
            turn += 1;
            (person.clone(), host)
        };
        let found = |host: Host| {
            let resource = snapshot.served_at(&host, "/admin/page").expect("an application").1.clone();
            (host, resource)
        };
        let questions: Vec<_> = (0..calls).map(|_| decide()).map(|(person, host)| (person, found(host))).collect();
        let mut rounds = Vec::with_capacity(ROUNDS * CHUNKS);
        let mut asked = 0;
        for _ in 0..ROUNDS {
            let counted = allocations();
            for some in questions.chunks_exact(calls / CHUNKS) {
                let start = stopwatch();
                for (person, place) in some {
                    allowed += usize::from(decide_one(&snapshot, person, place));
                }
                rounds.push(start.elapsed());
            }
            asked = allocations() - counted;
        }
        let each = (calls / CHUNKS) as f64;
        let nanoseconds = median(&mut rounds).as_secs_f64() * 1e9 / each;
        println!(
            "{name}: median {nanoseconds:.0} ns, fastest {:.0} ns, {:.3} allocations, {} % let in",
            rounds[0].as_secs_f64() * 1e9 / each,
            asked as f64 / calls as f64,
            allowed * 100 / (calls * ROUNDS),
        );
    };
    decisions("a decision, by a group, without a condition", Some(0));
    decisions("a decision, by a group, with a condition that does not hold", Some(1));
    decisions("a decision, anybody anywhere", None);
    conditions(calls);

    type Change = fn(usize, &Size) -> Update;
    let changes: [(&str, Change); 4] = [
        ("a policy of a service", |turn, size| service_policy(turn % size.applications, size, Etag(2))),
        ("a policy of the project", |turn, _| {
            let role = "roles/viewer".parse().expect("a role");
            let binding = Binding { role, members: vec![Member::User(person(turn))], condition: None };
            Update::Policy(Resource::Project, Policy { bindings: vec![binding], etag: Etag(2) })
        }),
        ("a member of a group", |turn, size| Update::GroupMember {
            group: group(turn % size.groups),
            member: Member::User(person(turn * 31 % size.people)),
            present: turn % 2 == 0,
        }),
        ("an application", |turn, size| application(turn % size.applications)),
    ];
    for (name, change) in changes {
        let mut now = snapshot.clone();
        let mut rounds: Vec<Duration> = (0..if quick { 3 } else { ROUNDS })
            .map(|turn| {
                let update = change(turn, &size);
                let start = stopwatch();
                let next = now.with(now.version + 1, [update]);
                let took = start.elapsed();
                now = next;
                took
            })
            .collect();
        let longest = rounds.iter().max().copied().unwrap_or_default();
        println!("a snapshot after {name}: median {:.2?}, longest {longest:.2?}", median(&mut rounds));
    }
}

/// What a condition costs, when one has to be evaluated.
fn conditions(calls: usize) {
    const LEVEL: &str = "accessPolicies/1/accessLevels/office";
    let schema = Schema::policy(HeaderAllowList::default());
    let levels = [LEVEL.to_owned()];
    let host = Host::parse("app-1.example.com").expect("a host");
    let principal = Member::User(person(1));
    // One for each evaluation, as each request has its own: what conditions may spend is counted for a request.
    let context = || {
        let now = Timestamp::from_seconds(1_800_000_000);
        let mut context = RequestContext::new(now).with_known_access_levels(&levels);
        let path = RequestPath::new("/admin/page");
        context.http = Some(HttpRequest { host: &host, path, method: "GET", headers: None });
        context.principal = Some(&principal);
        context
    };
    for expression in [
        "request.path.startsWith('/admin/')",
        "request.path.startsWith('/admin/') && request.host == 'app-1.example.com'",
        "request.time < timestamp('2040-01-01T00:00:00Z')",
        "request.time.getHours('Europe/Berlin') >= 0",
        "'accessPolicies/1/accessLevels/office' in request.auth.access_levels",
        "request.path.matches('^/(admin|team)/[a-z]+$')",
        "request.path.extract('/admin/{name}') == 'page'",
        "['/a', '/b', '/admin/page'].exists(path, request.path == path)",
    ] {
        let condition = Condition::compile(expression, &schema).expect("a condition");
        assert_eq!(condition.holds(&context()), Ok(true), "{expression}");
        let mut rounds = Vec::with_capacity(ROUNDS);
        let counted = allocations();
        for _ in 0..ROUNDS {
            let start = stopwatch();
            for _ in 0..calls / CHUNKS {
                let _ = black_box(black_box(&condition).holds(black_box(&context())));
            }
            rounds.push(start.elapsed());
        }
        let each = (calls / CHUNKS) as f64;
        println!(
            "a condition, {expression}: median {:.0} ns, {:.0} allocations",
            median(&mut rounds).as_secs_f64() * 1e9 / each,
            (allocations() - counted) as f64 / (each * ROUNDS as f64),
        );
    }
}

/// One decision with all that belongs to it. A function of its own, so that its instructions can be counted.
#[inline(never)]
fn decide_one(snapshot: &Snapshot, person: &Email, (host, resource): &(Host, Arc<ProtectedResource>)) -> bool {
    let mut context = RequestContext::new(Timestamp::from_seconds(1_800_000_000));
    context.http = Some(HttpRequest { host, path: RequestPath::new("/admin/page"), method: "GET", headers: None });
    let (principal, permission) = (Principal::User(person), Permission::AccessViaIap);
    let question = Question { principal, permission, context: &context };
    black_box(snapshot.decide(&resource.lineage, black_box(&question))).is_allowed()
}

/// An application of which this binding names a group of the person: the first has no condition, the second has one.
fn home(nth: usize, binding: usize, people: &[Email], size: &Size) -> usize {
    let number: usize = people[nth].as_str()[1..8].parse().unwrap_or_default();
    let named = |group: usize| (group + size.groups - binding * STEP) % size.groups;
    let own = groups_of(number, size).into_iter().map(named).find(|application| *application < size.applications);
    own.unwrap_or(number % size.applications)
}

fn groups_of(person: usize, size: &Size) -> [usize; MEMBERSHIPS] {
    std::array::from_fn(|nth| (person + nth * nth * 7 + nth * 4001) % size.groups)
}

fn world(size: &Size) -> Snapshot {
    let project = Project { id: "dev-project".into(), number: "1".into(), ancestors: vec![] };
    let snapshot = Snapshot::empty(Fixed {
        project,
        schema: Arc::new(Schema::policy(HeaderAllowList::default())),
        defaults: Defaults { email_claim: EmailClaim::Required, forward_credential: false },
        keys: Arc::new(KeyRing::new(&[]).expect("no keys")),
        trusted_issuers: Arc::new(TrustedIssuers::default()),
    });
    let applications = (0..size.applications).map(application);
    let policies = (0..size.applications).map(|it| service_policy(it, size, Etag(1)));
    let members = (0..size.people).flat_map(|it| {
        let member = Member::User(person(it));
        groups_of(it, size).map(|number| Update::GroupMember {
            group: group(number),
            member: member.clone(),
            present: true,
        })
    });
    snapshot.with(1, applications.chain(policies).chain(members))
}

fn person(number: usize) -> Email {
    format!("p{number:07}@example.com").parse().expect("an address")
}

fn group(number: usize) -> Email {
    format!("group-{number}@example.com").parse().expect("an address")
}

fn host(number: usize) -> Host {
    Host::parse(&format!("app-{number}.example.com")).expect("a host")
}

fn application(number: usize) -> Update {
    let origin = Origin::new(Scheme::Https, &host(number));
    let application = Application {
        name: format!("app-{number}").parse().expect("a name"),
        service_id: number.to_string(),
        kind: ServiceKind::BackendService { region: None },
        client_id: ClientId(format!("1-{number}.apps.googleusercontent.com")),
        iap_enabled: true,
        routes: vec![Route { origin, prefix: PathPrefix::root() }],
        upstreams: vec![format!("http://10.0.0.1:{number}")],
        description: String::new(),
        labels: Default::default(),
        etag: Etag(1),
    };
    Update::Application(number.to_string(), Some(application))
}

/// Ten bindings of three members each, half of them conditional: groups, people and service accounts.
fn service_policy(number: usize, size: &Size, etag: Etag) -> Update {
    let bindings = (0..BINDINGS).map(|nth| {
        let condition = (nth % 2 == 1).then(|| ConditionText {
            expression: format!("request.path.startsWith('/team-{}/') && request.host == 'a'", (number + nth) % 500),
            title: "team".into(),
            ..ConditionText::default()
        });
        let role = if nth < 8 { "roles/iap.httpsResourceAccessor" } else { "roles/iap.admin" };
        let account = format!("robot-{}@dev-project.iam.gserviceaccount.com", number + nth);
        Binding {
            role: role.parse().expect("a role"),
            members: vec![
                Member::Group(group((number + nth * STEP) % size.groups)),
                Member::User(person((number * 100 + nth) % size.people)),
                Member::ServiceAccount(account.parse().expect("an address")),
            ],
            condition,
        }
    });
    let resource = Resource::WebService(ServiceType::Compute { region: None }, number.to_string());
    Update::Policy(resource, Policy { bindings: bindings.collect(), etag })
}

fn median(rounds: &mut [Duration]) -> Duration {
    rounds.sort();
    rounds[rounds.len() / 2]
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the time itself")]
fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
}

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often memory was asked for.
fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// How much of it is held, in bytes.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated)
}
