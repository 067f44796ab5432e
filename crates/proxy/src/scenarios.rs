//! Whole requests, byte by byte, through a proxy to an application that keeps what it gets.

mod bypass;
mod places;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorward_core::access_level::{AccessLevel, AccessLevelName, AccessLevels, Definition};
use doorward_core::account::UniqueId;
use doorward_core::audit::{AuditEvent, Decision, Outcome, Reason, RecordedEvents};
use doorward_core::clock::{ManualClock, Timestamp};
use doorward_core::entropy::SeededEntropy;
use doorward_core::freshness::Freshness;
use doorward_core::keys::KeyPurpose;
use doorward_core::outbound::FixedIssuerKeys;
use doorward_core::policy::{ConditionText, DenyPolicy, DenyPolicyName, DenyRule, Etag, Policy};
use doorward_core::resource::{Application, ClientId, Host, Origin, Resource, Scheme, ServiceKind};
use doorward_core::settings::{PropagationOutput, Settings};
use doorward_core::snapshot::{Snapshot, SnapshotCell, Update};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::pipeline::{Inputs, Proxy, Shared};
use crate::testing::{
    self, CLIENT_ID, ISSUER, NOW, TestWorld, application, binding, claims_of, granting, policy, settings,
};

const ALICE: &str = "user:alice@example.com";
const HTML: &str = "accept: text/html,*/*;q=0.8\r\n";
const JSON: &str = "accept: application/json\r\n";

/// An application on loopback: what it gets, head by head. Ends its listening when dropped.
struct Upstream {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
    listening: JoinHandle<()>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = seen.clone();
        let listening = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = read_head(&mut stream).await;
                let dies = head.starts_with("GET /dies ");
                kept.lock().unwrap().push(head);
                if !dies {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                    stream.write_all(answer).await.unwrap();
                }
            }
        });
        Upstream { url, seen, listening }
    }

    /// What it got since it was last asked.
    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn read_head(stream: &mut tokio::net::TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// An address at which nothing listens.
async fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A proxy in a world.
struct Stage {
    world: TestWorld,
    proxy: Proxy,
    snapshots: Arc<SnapshotCell>,
    audit: Arc<RecordedEvents>,
    clock: Arc<ManualClock>,
    freshness: Arc<Freshness>,
}

impl Stage {
    /// One that serves this application.
    fn new(application: Application, updates: impl IntoIterator<Item = Update>) -> Self {
        let application = Update::Application(application.service_id.clone(), Some(application));
        let world = TestWorld::new(&[]).changed([application]);
        Self::of(world.changed(updates))
    }

    fn of(world: TestWorld) -> Self {
        let now = Timestamp::from_seconds(NOW);
        let snapshots = Arc::new(SnapshotCell::new(Snapshot::clone(&world.snapshot)));
        let audit = Arc::new(RecordedEvents::default());
        let clock = Arc::new(ManualClock::at(now));
        let freshness = Arc::new(Freshness::new(now, Duration::from_secs(600)));
        let inputs = Inputs {
            snapshots: snapshots.clone(),
            freshness: freshness.clone(),
            audit: audit.clone(),
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::default()),
            issuer_keys: Arc::new(FixedIssuerKeys::default()),
        };
        let proxy = Proxy::new(Arc::new(Shared::new(testing::config(), inputs)));
        Stage { world, proxy, snapshots, audit, clock, freshness }
    }

    /// Puts changes in force.
    fn change(&mut self, updates: impl IntoIterator<Item = Update>) {
        self.world = self.world.changed(updates);
        self.snapshots.publish(Snapshot::clone(&self.world.snapshot));
    }

    /// `Authorization` of Alice's ID token, as a line.
    fn alice(&self) -> String {
        let claims = json!({
            "iss": ISSUER, "aud": CLIENT_ID, "sub": "2001", "email": "alice@example.com", "email_verified": true,
            "iat": NOW - 10, "exp": NOW + 3590,
        });
        format!("Authorization: Bearer {}\r\n", self.world.sign(KeyPurpose::IdToken, &claims))
    }

    /// The answer to these bytes, on a connection of their own.
    async fn send(&self, request: &[u8]) -> Answer {
        self.send_with(request, |_| {}).await
    }

    /// The same, with what the listener knows besides.
    async fn send_with(&self, request: &[u8], prepare: impl Fn(&mut Request<Incoming>)) -> Answer {
        let (mut client, server) = tokio::io::duplex(256 * 1024);
        let service = service_fn(async |mut request: Request<Incoming>| {
            prepare(&mut request);
            let client = SocketAddr::from((std::net::Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped(), 5000));
            Ok::<_, Infallible>(self.proxy.handle(request, client).await)
        });
        let served =
            hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service);
        let exchange = async {
            client.write_all(request).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            String::from_utf8(answer).unwrap()
        };
        let (_, text) = tokio::join!(served, exchange);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        Answer { head: head.to_owned(), body: body.to_owned() }
    }

    /// The answer to a request of Alice's at the first origin.
    async fn get(&self, path: &str, fields: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n{}{fields}\r\n", self.alice());
        self.send(request.as_bytes()).await
    }

    /// The decision that was recorded last.
    fn decision(&self) -> Decision {
        match self.audit.events().pop() {
            Some(AuditEvent::Decision(decision)) => decision,
            other => panic!("{other:?}"),
        }
    }
}

struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The status, and the reason of a refusal.
    fn outcome(&self) -> (u16, Option<&str>) {
        (self.status(), self.header("x-doorward-reason"))
    }
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().filter_map(|line| line.split_once(": ")).find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|it| it.1)
}

/// The claims of the signed header that an application got.
fn assertion(stage: &Stage, head: &str) -> Map<String, Value> {
    claims_of(&stage.world.snapshot, KeyPurpose::Assertion, header(head, "x-goog-iap-jwt-assertion").unwrap())
}

/// The application of the tests at these addresses.
fn running_at(upstreams: &[&str]) -> Application {
    Application { upstreams: upstreams.iter().map(|url| (*url).to_owned()).collect(), ..application() }
}

/// The propagation of this expression to these outputs.
fn propagating(expression: &str, outputs: &[PropagationOutput]) -> Settings {
    Settings {
        propagation_expression: Some(expression.to_owned()),
        propagation_outputs: Some(outputs.to_vec()),
        propagation_enabled: Some(true),
        ..Settings::default()
    }
}

fn deny(rules: Vec<DenyRule>) -> Update {
    let name = DenyPolicyName { attachment: Resource::Project, id: "no-entry".to_owned() };
    let policy = DenyPolicy {
        name: name.clone(),
        uid: "1".to_owned(),
        display_name: String::new(),
        rules,
        created: Timestamp::from_seconds(0),
        updated: Timestamp::from_seconds(0),
        etag: Etag(1),
    };
    Update::DenyPolicy(name, Some(policy))
}

fn rule(members: &[&str], condition: Option<&str>) -> DenyRule {
    DenyRule {
        denied_principals: members.iter().map(|member| member.parse().unwrap()).collect(),
        denied_permissions: vec!["iap.googleapis.com/webServiceVersions.accessViaIAP".parse().unwrap()],
        condition: condition.map(|expression| ConditionText {
            expression: expression.to_owned(),
            title: "t".to_owned(),
            ..ConditionText::default()
        }),
        ..DenyRule::default()
    }
}

#[tokio::test]
async fn an_application_gets_a_propagated_header_from_us_only_whatever_a_caller_sends() {
    let upstream = Upstream::start().await;
    let expression = "[attributes.iap_attributes.selectByName('user_email').emitAs('x_mail').strict(),
        attributes.iap_attributes.selectByName('user_id').emitAs('X-Number').strict(),
        attributes.iap_attributes.selectByName('hosted_domain')]";
    let (admitted, set) = (granting(&[ALICE]), propagating(expression, &[PropagationOutput::Header]));
    let off = Settings { propagation_enabled: Some(false), ..set.clone() };
    let mut stage = Stage::new(running_at(&[&upstream.url]), [admitted, settings(set)]);
    let attacks: [&[u8]; 14] = [
        b"x_mail: forged\r\n",
        b"X_MAIL: forged\r\nx-mail: forged\r\n",
        b"x-mail: forged\r\n",
        b"x.mail: forged\r\n",
        b"X~Mail: forged\r\nx!number: forged\r\n",
        b"x-number: forged\r\nX-Number: forged\r\n",
        b"x_NUMBER: forged\r\n",
        b"Connection: x_mail\r\nx_mail: forged\r\n",
        b"Connection: x-number, x-goog-iap-attr-hosted_domain\r\n",
        b"x-goog-iap-attr-hosted_domain: forged\r\n",
        b"x_goog_iap_attr_hosted_domain: forged\r\n",
        b"X-Goog.Iap-Attr-Anything: forged\r\n",
        b"x-mail: \xff\xfe forged\r\n",
        b"x-goog-iap-attr-: forged\r\n",
    ];
    for enabled in [true, false] {
        if !enabled {
            stage.change([settings(off.clone())]);
        }
        for attack in attacks {
            let shown = String::from_utf8_lossy(attack);
            let head = [b"GET / HTTP/1.1\r\nHost: app.test\r\n", stage.alice().as_bytes(), attack, b"\r\n"].concat();
            let answer = stage.send(&head).await;
            assert_eq!(answer.status(), 200, "{shown}");
            let seen = upstream.seen().pop().unwrap();
            assert!(!seen.contains("forged"), "{shown}: {seen}");
            let ours = [
                ("x_mail", "alice@example.com"),
                ("x-number", "2001"),
                ("x-goog-iap-attr-hosted_domain", "example.com"),
            ];
            for (name, value) in ours {
                assert_eq!(header(&seen, name), enabled.then_some(value), "{shown}: {name}");
                let folded = |it: &str| it.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_ascii_lowercase();
                let same = |line: &&str| line.split(':').next().is_some_and(|it| folded(it) == folded(name));
                assert_eq!(seen.lines().filter(same).count(), usize::from(enabled), "{shown}: {name}");
            }
        }
    }
    // Another setting, another name: what was ours is anybody's.
    stage.change([settings(Settings::default())]);
    stage.get("/", "x_mail: mine\r\n").await;
    assert_eq!(header(&upstream.seen()[0], "x_mail"), Some("mine"));
}

#[tokio::test]
async fn attributes_go_where_the_settings_say_and_the_token_for_a_mesh_has_its_own_audience() {
    use PropagationOutput::{Header, Jwt, Rctoken};
    let upstream = Upstream::start().await;
    let mut stage = Stage::new(running_at(&[&upstream.url]), [granting(&[ALICE])]);
    const ONE: &str = "attributes.iap_attributes.selectByName('user_email').emitAs('mail')";
    let mail = || Some(json!({"mail": ["alice@example.com"]}));
    // (outputs, audience for the mesh) => header, additional_claims of the signed header, and of the mesh's token
    #[rustfmt::skip]
    let cases = [
        (vec![],             None,                  None,                      None,   None),
        (vec![Header],       None,                  Some("alice@example.com"), None,   None),
        (vec![Jwt],          None,                  None,                      mail(), None),
        (vec![Rctoken],      None,                  None,                      None,   None),
        (vec![Jwt],          Some("mesh"),          None,                      mail(), Some(None)),
        (vec![Rctoken],      Some("mesh"),          None,                      None,   Some(mail())),
        (vec![Header, Jwt, Rctoken], Some("mesh"),  Some("alice@example.com"), mail(), Some(mail())),
        // The audience of an application is nobody else's.
        (vec![Rctoken],      Some("/projects/123/global/backendServices/9"), None, None, None),
    ];
    for (outputs, audience, in_header, in_assertion, in_mesh) in cases {
        let set = Settings { rctoken_audience: audience.map(str::to_owned), ..propagating(ONE, &outputs) };
        stage.change([settings(set)]);
        stage.get("/", "ingress-authorization: Istio forged\r\n").await;
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(header(&seen, "x-goog-iap-attr-mail"), in_header, "{outputs:?}");
        assert_eq!(assertion(&stage, &seen).get("additional_claims"), in_assertion.as_ref(), "{outputs:?}");
        let mesh = header(&seen, "ingress-authorization").map(|value| {
            let token = value.strip_prefix("Istio ").unwrap();
            let claims = claims_of(&stage.world.snapshot, KeyPurpose::Assertion, token);
            assert_eq!(claims["aud"], audience.unwrap());
            assert_eq!(claims["email"], "alice@example.com");
            claims.get("additional_claims").cloned()
        });
        assert_eq!(mesh, in_mesh, "{outputs:?}");
    }
    // One who fails is told nothing, and let in; the operator reads why.
    let failing = "attributes.iap_attributes.filter(x, x.values[7] == 'a')";
    stage.change([settings(propagating(failing, &[Header, Jwt]))]);
    assert_eq!(stage.get("/", "").await.status(), 200);
    assert_eq!(assertion(&stage, &upstream.seen()[0]).get("additional_claims"), None);
    let note = stage.decision().note.unwrap();
    assert!(note.starts_with("nothing of the caller was propagated: "), "{note}");
}

#[tokio::test]
async fn a_path_must_satisfy_a_condition_as_it_was_sent_and_as_it_is_read() {
    let upstream = Upstream::start().await;
    let mut stage = Stage::new(running_at(&[&upstream.url]), []);
    // Google's examples, and those beside them: (condition, path) => allowed by a binding, passed by a deny rule
    #[rustfmt::skip]
    let cases = [
        ("request.path.startsWith('/internal/')",  "/internal/a",                 true,  false),
        ("request.path.startsWith('/internal/')",  "/external/a",                 false, true),
        // Raw it does not begin so, normal it does.
        ("request.path.startsWith('/internal/')",  "/internal;some_param/admin",  false, false),
        ("request.path.startsWith('/internal/')",  "/x/../internal/admin",        false, false),
        // Raw it does, normal it does not.
        ("request.path.startsWith('/internal/')",  "/internal/../b",              false, false),
        ("request.path.startsWith('/internal/')",  "/internal/./b",               true,  false),
        ("request.path == '/bar/baz'",             "/bar;p1/baz;baz;p2",          false, false),
        ("request.path == '/b'",                   "/a/../b",                     false, false),
        ("!request.path.startsWith('/admin')",     "/a/../admin",                 false, false),
        ("!request.path.startsWith('/admin')",     "/a/b",                        true,  false),
        ("request.host == 'app.test'",             "/",                           true,  false),
        ("request.host.endsWith('.test')",         "/",                           true,  false),
        ("request.method == 'GET'",                "/",                           true,  false),
        ("request.headers['user-agent'] == 'a'",   "/",                           true,  false),
        // A header that was not sent: a binding gives nothing, and a rule denies.
        ("request.headers['origin'] == 'a'",       "/",                           false, false),
        ("inIpRange(source.ip, ['192.0.2.0/24'])", "/",                           true,  false),
        ("inIpRange(source.ip, ['10.0.0.0/8'])",   "/",                           false, true),
        ("request.auth.claims.email == 'alice@example.com'", "/",                 true,  false),
        ("request.auth.principal == 'user:alice@example.com'", "/",               true,  false),
        ("resource.name == 'projects/123/iap_web/compute/services/777/versions/bs_0'", "/", true, false),
        ("request.time < timestamp('2020-01-01T00:00:00Z')", "/",                 false, true),
    ];
    let fields =
        "User-Agent: a\r\nx-forwarded-for: 10.1.1.1\r\nx-forwarded-host: else.test\r\nx-original-url: /internal/\r\n";
    for (condition, path, allowed, passed) in cases {
        let granted = policy(vec![binding(&[ALICE], Some(condition))]);
        stage.change([granted, deny(vec![rule(&["user:nobody@example.com"], None)])]);
        let expected = if allowed { (200, None) } else { (403, Some("permission_denied")) };
        assert_eq!(stage.get(path, fields).await.outcome(), expected, "{condition} {path}");
        match stage.decision().outcome {
            Outcome::Allowed { condition: title, .. } => assert_eq!(title, Some(format!("when {condition}"))),
            Outcome::Refused { detail, .. } => assert_eq!(detail, "nothing gives alice@example.com access here"),
        }
        stage.change([granting(&[ALICE]), deny(vec![rule(&[ALICE], Some(condition))])]);
        let expected = if passed { (200, None) } else { (403, Some("denied_by_rule")) };
        assert_eq!(stage.get(path, fields).await.outcome(), expected, "denied: {condition} {path}");
        // What is forwarded is what was decided on, byte for byte.
        for head in upstream.seen() {
            assert!(head.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{head}");
        }
    }
    assert_eq!(stage.get("/internal/..;bar/", "").await.outcome(), (400, Some("bad_path")));
}

#[tokio::test]
async fn a_deny_rule_comes_before_every_binding_and_the_record_names_it() {
    let upstream = Upstream::start().await;
    let everybody = || granting(&["allUsers", ALICE]);
    let except =
        |member: &str| DenyRule { exception_principals: vec![member.parse().unwrap()], ..rule(&["allUsers"], None) };
    let mut stage = Stage::new(running_at(&[&upstream.url]), [everybody()]);
    let other = || rule(&["user:bob@example.com"], None);
    let denied = (403, Some("denied_by_rule"));
    // (rules) => what Alice gets, what somebody without a credential gets, the place of the rule in the record
    #[rustfmt::skip]
    let cases = [
        (vec![other()],                                     (200, None), (200, None),                  None),
        (vec![other(), rule(&[ALICE], None)],               denied,      (200, None),                  Some(1)),
        (vec![rule(&["domain:example.com"], None)],         denied,      (200, None),                  Some(0)),
        // Whoever signs in may be excepted.
        (vec![except(ALICE)],                               (200, None), (401, Some("no_credential")), None),
        (vec![except("user:bob@example.com")],              denied,      (401, Some("no_credential")), Some(0)),
    ];
    for (rules, alice, nobody, place) in cases {
        stage.change([deny(rules.clone())]);
        let anonymous = stage.send(b"GET / HTTP/1.1\r\nHost: app.test\r\nAccept: a/b\r\n\r\n").await;
        assert_eq!(anonymous.outcome(), nobody, "{rules:?}");
        assert_eq!(stage.get("/", "").await.outcome(), alice, "{rules:?}");
        let decision = stage.decision();
        let denied_by = match decision.outcome {
            Outcome::Refused { denied_by, reason: Reason::DeniedByRule, .. } => denied_by,
            Outcome::Allowed { .. } => None,
            other => panic!("{other:?}"),
        };
        let name = "policies/cloudresourcemanager.googleapis.com%2Fprojects%2F123/denypolicies/no-entry";
        assert_eq!(denied_by, place.map(|place| (name.to_owned(), place)), "{rules:?}");
    }
    stage.change([deny(vec![rule(&[ALICE], Some("request.headers['origin'] == 'a'"))])]);
    stage.get("/", "").await;
    let Outcome::Refused { detail, .. } = stage.decision().outcome else { panic!("allowed") };
    assert!(detail.ends_with("; its condition could not be evaluated"), "{detail}");
}

#[tokio::test]
async fn a_change_is_in_force_for_the_next_request_whatever_was_remembered() {
    let upstream = Upstream::start().await;
    let mut stage = Stage::new(running_at(&[&upstream.url]), [granting(&[ALICE])]);
    let disabled = Application { iap_enabled: false, ..running_at(&[&upstream.url]) };
    let enabled = || Update::Application("777".to_owned(), Some(running_at(&[&upstream.url])));
    let elsewhere = Application { client_id: ClientId("other".into()), ..application() };
    let required = Settings { programmatic_clients: Some(vec![]), ..Settings::default() };
    let app = |it: Application| Update::Application("777".to_owned(), Some(it));
    #[rustfmt::skip]
    let steps = [
        (vec![],                                             (200, None)),
        (vec![granting(&[])],                 (403, Some("permission_denied"))),
        (vec![granting(&[ALICE])],            (200, None)),
        (vec![deny(vec![rule(&[ALICE], None)])],             (403, Some("denied_by_rule"))),
        (vec![deny(vec![])],                                 (200, None)),
        (vec![app(disabled)],                                (503, Some("iap_disabled"))),
        (vec![enabled()],                                    (200, None)),
        (vec![app(elsewhere)],                               (401, Some("wrong_audience"))),
        (vec![enabled(), settings(required)],        (200, None)),
        (vec![Update::User(UniqueId("2001".to_owned()), None)],        (401, Some("invalid_token"))),
        (vec![Update::Application("777".to_owned(), None)],  (421, Some("no_such_resource"))),
    ];
    for (nth, (updates, expected)) in steps.into_iter().enumerate() {
        stage.change(updates);
        assert_eq!(stage.get("/", "").await.outcome(), expected, "step {nth}");
        assert_eq!(upstream.seen().len(), usize::from(expected.0 == 200), "step {nth}");
    }
}

#[tokio::test]
async fn a_disabled_application_lets_nobody_in_and_tells_strangers_nothing() {
    let upstream = Upstream::start().await;
    let disabled = Application { iap_enabled: false, ..running_at(&[&upstream.url]) };
    let stage = Stage::new(disabled, [granting(&["allUsers"])]);
    for path in ["/", "/.well-known/oauth-protected-resource"] {
        for answer in [
            stage.get(path, "").await,
            stage.send(format!("GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n").as_bytes()).await,
        ] {
            assert_eq!(answer.outcome(), (503, Some("iap_disabled")));
            assert_eq!(answer.body, "The application is not available.");
            assert!(!answer.head.contains("777") && !answer.head.contains("123"), "{}", answer.head);
        }
    }
    let Outcome::Refused { detail, .. } = stage.decision().outcome else { panic!("allowed") };
    assert!(detail.contains("IAP is disabled for app") && detail.contains("gcloud iap web enable"), "{detail}");
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn grants_that_may_be_stale_let_nobody_in_until_the_store_is_read_again() {
    let upstream = Upstream::start().await;
    let stage = Stage::new(running_at(&[&upstream.url]), [granting(&["allUsers"])]);
    let at = |seconds: u64| Timestamp::from_seconds(NOW) + Duration::from_secs(seconds);
    // (now, when the store was read last) => let in
    for (now, read, fresh) in [(0, 0, true), (600, 0, true), (601, 0, false), (601, 1, true), (1300, 600, false)] {
        stage.clock.set(at(now));
        stage.freshness.note(at(read));
        let answer = stage.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        let expected = if fresh { (200, None) } else { (503, Some("stale_grants")) };
        assert_eq!(answer.outcome(), expected, "{now} {read}");
        assert_eq!(upstream.seen().len(), usize::from(fresh));
    }
}

#[tokio::test]
async fn each_application_at_a_host_describes_itself_at_an_address_of_its_own() {
    let mut routes = application().routes;
    routes.truncate(1);
    routes[0].prefix = "/admin/ui".parse().unwrap();
    let client_id = ClientId("admin-client".to_owned());
    let below =
        Application { name: "admin".parse().unwrap(), service_id: "778".into(), client_id, routes, ..application() };
    let stage = Stage::new(application(), [Update::Application("778".to_owned(), Some(below))]);
    let send = async |path: &str| {
        stage.send(format!("GET {path} HTTP/1.1\r\nHost: app.test\r\nAccept: a/b\r\n\r\n").as_bytes()).await
    };
    const AT: &str = "http://app.test/.well-known/oauth-protected-resource";
    for (path, address, resource, audience) in [
        ("/", AT.to_owned(), "http://app.test", CLIENT_ID),
        ("/admin", AT.to_owned(), "http://app.test", CLIENT_ID),
        ("/admin/ui/x", format!("{AT}/admin/ui"), "http://app.test/admin/ui", "admin-client"),
    ] {
        let refused = send(path).await;
        let challenge = format!("Bearer resource_metadata=\"{address}\"");
        assert_eq!((refused.status(), refused.header("www-authenticate")), (401, Some(challenge.as_str())), "{path}");
        let described = send(address.strip_prefix("http://app.test").unwrap()).await;
        assert_eq!(described.status(), 200, "{path}");
        let described: Value = serde_json::from_str(&described.body).unwrap();
        assert_eq!((&described["resource"], &described["audience"]), (&json!(resource), &json!(audience)), "{path}");
    }
    // What is nobody's description is a path like any other.
    for path in ["/admin", "/admin/ui/x", "/admin/ui/", "/", "x"] {
        assert_eq!(send(&format!("/.well-known/oauth-protected-resource{path}")).await.status(), 401, "{path}");
    }
}

#[tokio::test]
async fn the_levels_that_a_request_meets_are_in_the_signed_header_and_in_the_record() {
    let upstream = Upstream::start().await;
    let name = |id: &str| format!("accessPolicies/123/accessLevels/{id}");
    let level = |id: &str, expression: &str| {
        let parsed: AccessLevelName = name(id).parse().unwrap();
        let definition = Definition::Expression(expression.to_owned());
        AccessLevel::new(parsed, id.to_owned(), String::new(), definition).unwrap()
    };
    let levels = AccessLevels::new(vec![
        level("near", "inIpRange(source.ip, ['192.0.2.0/24'])"),
        level("first", &format!("request.time < timestamp('{}')", doorward_wire::time::rfc3339(NOW + 30))),
        level("never", "request.auth.strength >= 2"),
    ])
    .unwrap();
    let near = format!("'{}' in request.auth.access_levels", name("near"));
    let mut stage = Stage::new(
        running_at(&[&upstream.url]),
        [policy(vec![binding(&[ALICE], Some(&near))]), Update::AccessLevels(Arc::new(levels))],
    );
    // The same caller within the minute of one signature: what is met is part of what is signed.
    for (seconds, met) in [(0, vec!["first", "near"]), (31, vec!["near"]), (1, vec!["first", "near"])] {
        stage.clock.set(Timestamp::from_seconds(NOW + seconds));
        assert_eq!(stage.get("/", "").await.status(), 200);
        let met: Vec<String> = met.into_iter().map(name).collect();
        let claims = assertion(&stage, &upstream.seen()[0]);
        assert_eq!(claims.get("google"), Some(&json!({"access_levels": met})), "{seconds}");
        assert_eq!(stage.decision().access_levels, met, "{seconds}");
    }
    // A refusal is recorded with them too: another policy can then be tried on it.
    stage.change([policy(vec![])]);
    assert_eq!(stage.get("/", "").await.status(), 403);
    assert_eq!(stage.decision().access_levels, ["first", "near"].map(name));
    // Without any, the claim is left out.
    stage.change([granting(&[ALICE]), Update::AccessLevels(Arc::default())]);
    stage.get("/", "").await;
    assert_eq!(assertion(&stage, &upstream.seen()[0]).get("google"), None);
}

#[tokio::test]
async fn the_credential_reaches_an_application_only_if_its_settings_say_so() {
    let upstream = Upstream::start().await;
    let mut stage = Stage::new(running_at(&[&upstream.url]), [granting(&[ALICE, "allUsers"])]);
    let bearer = stage.alice();
    let by_proxy = format!("Proxy-{bearer}");
    let own = "Authorization: Basic x\r\n";
    let token = bearer.trim_end().split_once(": ").unwrap().1.to_owned();
    // (forwarded, sent) => Authorization that the application gets
    #[rustfmt::skip]
    let cases = [
        (true,  bearer.clone(),                   Some(token.as_str())),
        (false, bearer.clone(),                   None),
        (true,  format!("{by_proxy}{own}"),       Some("Basic x")),
        (false, format!("{by_proxy}{own}"),       Some("Basic x")),
        // The proxy's own field decided: the other is not its credential.
        (false, format!("{by_proxy}{bearer}"),    Some(token.as_str())),
        (false, own.to_owned(),                   Some("Basic x")),
        (false, format!("proxy-{own}{bearer}"),   None),
        (true,  by_proxy.clone(),                 None),
    ];
    for (forwarded, sent, expected) in cases {
        let set = Settings { forward_credential: Some(forwarded), ..Settings::default() };
        stage.change([settings(set)]);
        let request = format!("GET / HTTP/1.1\r\nHost: app.test\r\n{sent}\r\n");
        assert_eq!(stage.send(request.as_bytes()).await.status(), 200, "{sent}");
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(header(&seen, "authorization"), expected, "{forwarded} {sent}");
        assert_eq!(header(&seen, "proxy-authorization"), None, "{forwarded} {sent}");
    }
}

#[tokio::test]
async fn addresses_take_turns_and_one_that_cannot_be_reached_is_passed_over() {
    let (first, second, gone) = (Upstream::start().await, Upstream::start().await, nowhere().await);
    let count = || (first.seen().len(), second.seen().len());
    let mut stage = Stage::new(running_at(&[&first.url, &second.url]), [granting(&[ALICE])]);
    for _ in 0..6 {
        assert_eq!(stage.get("/", "").await.status(), 200);
    }
    assert_eq!(count(), (3, 3));
    // Another revision of the application, and nothing but its addresses changed.
    let moved = running_at(&[&gone, &first.url]);
    stage.change([Update::Application("777".to_owned(), Some(moved))]);
    for _ in 0..4 {
        assert_eq!(stage.get("/", "").await.status(), 200);
    }
    assert_eq!(count(), (4, 0));
    // What was sent is never sent again, to nobody.
    let both = running_at(&[&first.url, &second.url]);
    stage.change([Update::Application("777".to_owned(), Some(both))]);
    assert_eq!(stage.get("/dies", "").await.outcome(), (502, Some("upstream_failed")));
    assert_eq!(count(), (1, 0));
    for (upstreams, detail) in [
        (vec![gone.as_str(), gone.as_str()], "no connection to 127.0.0.1:"),
        (vec![], "no address is configured"),
        (vec!["http://[::1", &first.url], "not an address of an application"),
    ] {
        stage.change([Update::Application("777".to_owned(), Some(running_at(&upstreams)))]);
        assert_eq!(stage.get("/", "").await.outcome(), (502, Some("upstream_failed")), "{upstreams:?}");
        let Outcome::Refused { detail: recorded, .. } = stage.decision().outcome else { panic!("allowed") };
        assert!(recorded.starts_with(detail), "{recorded}");
    }
}

#[tokio::test]
async fn who_is_refused_is_told_who_they_are_what_they_tried_and_whom_to_ask_and_nothing_of_others() {
    let bob = granting(&["user:bob@example.com", "group:secret-project@example.com"]);
    let contact = Update::SupportEmail(Some("help@example.com".parse().unwrap()));
    let why = Settings { generate_troubleshooting_uri: Some(true), ..Settings::default() };
    let stage = Stage::new(application(), [bob, contact, settings(why)]);
    let tried = "/a'b&c\"d?token=secret";
    let sentence = "app: Access denied. For user alice@example.com.";

    let plain = stage.get(tried, "accept: */*\r\n").await;
    assert_eq!((plain.status(), plain.body.as_str()), (403, sentence), "Google's answer to who names no form");

    let json_answer = stage.get(tried, JSON).await;
    let id = json_answer.header("x-doorward-decision-id").unwrap().to_owned();
    assert_eq!(json_answer.header("content-type"), Some("application/json"));
    let told: Value = serde_json::from_str(&json_answer.body).unwrap();
    let expected = json!({"error": {
        "code": 403, "status": "PERMISSION_DENIED", "message": sentence, "reason": "permission_denied",
        "fix": "Ask for roles/iap.httpsResourceAccessor on this application for user:alice@example.com.",
        "caller": "alice@example.com", "method": "GET", "url": "http://app.test/a'b&c\"d", "decision_id": id,
        "contact": "help@example.com", "troubleshooting_url": format!("http://api.test/decisions/{id}"),
    }});
    assert_eq!(told, expected);

    let page = stage.get(tried, HTML).await;
    let id = page.header("x-doorward-decision-id").unwrap();
    assert_eq!(page.outcome(), (403, Some("permission_denied")));
    for (name, value) in [
        ("content-type", "text/html; charset=UTF-8"),
        ("cache-control", "no-store"),
        ("vary", "Accept"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-goog-iap-generated-response", "true"),
        (
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
        ),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    for part in [
        "<html lang=\"en\">",
        "<title>No access to app · Doorward</title>",
        "<h1>You have no access to app</h1>",
        "<dd>alice@example.com</dd>",
        "<code>GET http://app.test/a'b&amp;c&quot;d</code>",
        "<a href=\"mailto:help@example.com\">help@example.com</a>",
        &format!("<code>{id}</code>"),
        &format!("<a href=\"http://api.test/decisions/{id}\">Why?</a>"),
        "prefers-color-scheme: dark",
        "name=\"viewport\"",
    ] {
        assert!(page.body.contains(part), "{part}\n{}", page.body);
    }
    for answer in [&plain, &json_answer, &page] {
        let text = format!("{}{}", answer.head, answer.body);
        for hidden in ["bob", "secret", "777", "<script", "src=", "http-equiv"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
    // No page without a body: the answer to HEAD has its headers only.
    let head = format!("HEAD / HTTP/1.1\r\nHost: app.test\r\n{}{HTML}\r\n", stage.alice());
    let head = stage.send(head.as_bytes()).await;
    assert_eq!((head.status(), head.body.as_str(), head.header("content-length")), (403, "", Some("0")));
}

#[tokio::test]
async fn a_browser_is_sent_to_the_operators_page_unless_it_would_be_refused_there_too() {
    let mut routes = application().routes;
    routes.truncate(1);
    routes[0].origin = Origin::new(Scheme::Https, &Host::parse("help.test").unwrap());
    let help = Application { name: "help".parse().unwrap(), service_id: "778".into(), routes, ..application() };
    let service = help.service();
    let mut stage = Stage::new(application(), [Update::Application("778".to_owned(), Some(help))]);
    let open = |members: &[&str], condition| {
        let bindings = vec![binding(members, condition)];
        Update::Policy(service.clone(), Policy { bindings, etag: Etag(1) })
    };
    let page = |page: &str, why| Settings {
        access_denied_page: Some(page.to_owned()),
        generate_troubleshooting_uri: Some(why),
        ..Settings::default()
    };
    let elsewhere = || page("https://elsewhere.test/denied?lang=en", false);
    let ours = || page("https://help.test/denied", false);
    #[rustfmt::skip]
    let cases = [
        (elsewhere(), open(&[], None),                                        HTML, Some("https://elsewhere.test/denied?lang=en")),
        (elsewhere(), open(&[], None),                                        JSON, None),
        (elsewhere(), open(&[], None),                                        "accept: */*\r\n", None),
        (elsewhere(), open(&[], None),                                        "accept: text/html\r\nx-requested-with: XMLHttpRequest\r\n", None),
        (ours(),      open(&[], None),                                        HTML, None),
        (ours(),      open(&["allUsers"], None),                              HTML, Some("https://help.test/denied")),
        (ours(),      open(&[ALICE], None),                                   HTML, Some("https://help.test/denied")),
        (ours(),      open(&[ALICE], Some("request.path == '/denied'")),      HTML, Some("https://help.test/denied")),
        (ours(),      open(&[ALICE], Some("request.path == '/other'")),       HTML, None),
        (page("https://alias.test:8443/denied", false), open(&[], None),      HTML, None),
        (page("", false), open(&[], None),                                    HTML, None),
    ];
    for (set, policy, accept, expected) in cases {
        stage.change([settings(set.clone()), policy]);
        let answer = stage.get("/", accept).await;
        assert_eq!(answer.status(), if expected.is_some() { 302 } else { 403 }, "{set:?}");
        assert_eq!(answer.header("location"), expected, "{set:?}");
        assert_eq!(answer.header("x-doorward-reason"), Some("permission_denied"));
        let decision = stage.decision();
        assert!(matches!(decision.outcome, Outcome::Refused { reason: Reason::PermissionDenied, .. }));
    }
    stage.change([settings(page("https://elsewhere.test/denied", true))]);
    let answer = stage.get("/", HTML).await;
    let id = answer.header("x-doorward-decision-id").unwrap();
    let expected =
        format!("https://elsewhere.test/denied?troubleshooting_url=http%3A%2F%2Fapi.test%2Fdecisions%2F{id}");
    assert_eq!(answer.header("location"), Some(expected.as_str()));
    // What was sent with a form is not lost on the way to another page.
    let post = format!("POST / HTTP/1.1\r\nHost: app.test\r\ncontent-length: 0\r\n{}{HTML}\r\n", stage.alice());
    assert_eq!(stage.send(post.as_bytes()).await.status(), 403);
}

#[tokio::test]
async fn a_decision_is_recorded_with_all_that_is_needed_to_take_it_again() {
    let upstream = Upstream::start().await;
    let granted = policy(vec![binding(&[ALICE], Some("request.path == '/a'"))]);
    let stage = Stage::new(running_at(&[&upstream.url]), [granted]);
    stage.get("/a?q=1", "user-agent: curl/8 \x7f\r\n").await;
    let agent = stage.get("/a?q=1", "user-agent: curl/8\r\n").await;
    assert_eq!(agent.status(), 200);
    let decision = stage.decision();
    let expected = Decision {
        id: decision.id.clone(),
        time: Timestamp::from_seconds(NOW),
        resource: Some("projects/123/iap_web/compute/services/777".to_owned()),
        version: Some("projects/123/iap_web/compute/services/777/versions/bs_0".to_owned()),
        caller: Some(ALICE.to_owned()),
        members: vec![],
        access_levels: vec![],
        oauth_client: Some(CLIENT_ID.to_owned()),
        user_agent: Some("curl/8".to_owned()),
        scheme: Some("http".to_owned()),
        outcome: Outcome::Allowed {
            binding_resource: "projects/123/iap_web/compute/services/777".to_owned(),
            role: "roles/iap.httpsResourceAccessor".to_owned(),
            member: ALICE.to_owned(),
            condition: Some("when request.path == '/a'".to_owned()),
        },
        note: None,
        method: "GET".to_owned(),
        host: "app.test".to_owned(),
        path: "/a".to_owned(),
        status: 200,
        latency_micros: 0,
        client: "192.0.2.7".to_owned(),
    };
    assert_eq!(decision, expected);
}
