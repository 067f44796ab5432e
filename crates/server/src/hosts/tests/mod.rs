//! The API as clients and browsers see it, on a store in memory.

mod administration;
mod apis;
mod bad_input;
mod endpoints;
mod federation;
mod sign_in;
mod tokens;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use doorward_control::applications::OwnHosts;
use doorward_control::keys::ensure_keys;
use doorward_control::sign_in::hash_password;
use doorward_core::account::{ServiceAccount, UniqueId, User};
use doorward_core::audit::{AdminEvent, AuditEvent, TokenEvent, TokenReason};
use doorward_core::client::{ClientKind, OAuthClient};
use doorward_core::clock::{Clock, ManualClock, Timestamp};
use doorward_core::entropy::{Entropy, SystemEntropy};
use doorward_core::grant::{AccessGrant, Subject, TokenHash};
use doorward_core::outbound::Reach;
use doorward_core::policy::condition::HeaderAllowList;
use doorward_core::policy::{Binding, Etag};
use doorward_core::resource::{
    Ancestor, Application, ClientId, Host, Origin, PathPrefix, Project, Resource, Route, Scheme, ServiceKind,
};
use doorward_core::settings::{Defaults, EmailClaim};
use doorward_core::store::{
    ApplicationStore as _, GrantStore as _, OAuthClientStore as _, PolicyStore as _, ServiceAccountStore as _, Store,
    UserStore as _,
};
use doorward_store::SqliteStore;
use doorward_wire::oauth::Scopes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{Api, Services};
use crate::dev::names::{Addressing, reserved_hosts};
use crate::listen::Connection;
use crate::outbound::Fetcher;
use crate::wiring::{self, Outside, StackConfig};

const HOST: &str = "localhost:8081";
const ADMIN: &str = "admin-token";
const SECRET: &str = "desktop-secret";
const DESKTOP: &str = "123-desktop.apps.googleusercontent.com";
const GCLOUD: &str = "32555940559.apps.googleusercontent.com";
const APPLICATION: &str = "123-app.apps.googleusercontent.com";
const CALLER: &str = "caller@p.iam.gserviceaccount.com";
const TARGET: &str = "target@p.iam.gserviceaccount.com";
const CLOUD_TOKEN: &str = "doorward_at_cloud";
const NARROW_TOKEN: &str = "doorward_at_narrow";
const PASSWORD: &str = "correct horse";
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));

/// An API with two people, two service accounts, an application and three clients.
struct World {
    api: Api,
    services: Arc<Services>,
    clock: Arc<ManualClock>,
    _background: tokio::task::JoinSet<()>,
}

/// Names and values, in the order in which they are sent.
type Fields<'a> = Vec<(&'a str, &'a str)>;

/// An answer, whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn location(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }

    fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

impl World {
    async fn new() -> Self {
        let sqlite = SqliteStore::in_memory().await.unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_800_000_000)));
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let now = clock.now();
        ensure_keys(&sqlite, &entropy, now).await.unwrap();
        let ancestors = vec![Ancestor::Folder("21".into()), Ancestor::Organization("1".into())];
        let project = Project { id: "p".into(), number: "123".into(), ancestors };
        let application = Application {
            name: "app".parse().unwrap(),
            service_id: "777".into(),
            kind: ServiceKind::BackendService { region: None },
            client_id: ClientId(APPLICATION.into()),
            iap_enabled: true,
            routes: vec![Route {
                origin: Origin::new(Scheme::Https, &Host::parse("app.test").unwrap()),
                prefix: PathPrefix::root(),
            }],
            upstreams: vec!["http://127.0.0.1:3000".into()],
            description: String::new(),
            labels: BTreeMap::new(),
            etag: Etag::UNWRITTEN,
        };
        sqlite.add_application(&application).await.unwrap().unwrap();
        let password = hash_password(PASSWORD, &*entropy).unwrap();
        for (id, email) in [("1001", "alice@example.com"), ("1002", "bob@example.com")] {
            let user = User { unique_id: UniqueId(id.into()), email: email.parse().unwrap(), disabled: false };
            sqlite.add_user(&user).await.unwrap();
            sqlite.set_password(&user.unique_id, &password).await.unwrap();
        }
        for (id, email) in [("2001", CALLER), ("2002", TARGET)] {
            let account = ServiceAccount {
                unique_id: UniqueId(id.into()),
                email: email.parse().unwrap(),
                display_name: String::new(),
                description: String::new(),
                disabled: false,
            };
            sqlite.add_service_account(&account).await.unwrap();
        }
        let target = Resource::ServiceAccount { unique_id: UniqueId("2002".into()) };
        let binding = Binding {
            role: "roles/iam.serviceAccountTokenCreator".parse().unwrap(),
            members: vec![format!("serviceAccount:{CALLER}").parse().unwrap()],
            condition: None,
        };
        sqlite.replace_policy(&target.name(&project), &[binding], None, &[]).await.unwrap();
        let scopes = [
            (CLOUD_TOKEN, "https://www.googleapis.com/auth/cloud-platform"),
            (NARROW_TOKEN, "openid https://www.googleapis.com/auth/userinfo.email"),
        ];
        for (token, scopes) in scopes {
            let grant = AccessGrant {
                subject: Subject::Account(UniqueId("2001".into())),
                scopes: Scopes::parse(scopes).unwrap(),
                expires: Timestamp::from_seconds(1_900_000_000),
                person_grant: None,
            };
            sqlite.add_access_token(&TokenHash::of(token), &grant, now).await.unwrap();
        }
        let code_page = vec!["https://sdk.cloud.google.com/authcode.html".to_owned()];
        let clients = [
            (DESKTOP, "123", "Desk <b>top</b>", ClientKind::Desktop { redirect_uris: vec![] }),
            (GCLOUD, "32555940559", "gcloud", ClientKind::Desktop { redirect_uris: code_page }),
        ];
        for (id, project, name, kind) in clients {
            let client = OAuthClient {
                id: ClientId(id.into()),
                project: project.into(),
                display_name: name.into(),
                kind,
                secret: Some(TokenHash::of(SECRET)),
                created: now,
            };
            sqlite.add_oauth_client(&client).await.unwrap();
        }
        let config = StackConfig {
            addressing: Addressing::OwnOrigin,
            project,
            issuer: "https://accounts.google.com".into(),
            api_url: "http://127.0.0.1:8081".into(),
            api_https_url: Some("https://127.0.0.1:8444".into()),
            reserved_hosts: reserved_hosts(OwnHosts::Ports(api_hosts())),
            api_hosts: api_hosts(),
            admin_token: Some(TokenHash::of(ADMIN)),
            trusted_issuers: Default::default(),
            reach: Reach::Loopback,
            defaults: Defaults { email_claim: EmailClaim::Optional, forward_credential: true },
            condition_headers: HeaderAllowList::default(),
            contact: None,
            staleness_limit: std::time::Duration::from_secs(60),
            keep_events: 10_000,
            keep_for: std::time::Duration::from_secs(86_400),
        };
        let store: Arc<dyn Store> = Arc::new(sqlite);
        let stack = wiring::build(
            Outside { store, clock: clock.clone(), entropy, fetch: Arc::new(Fetcher::default()) },
            config,
        )
        .await
        .unwrap();
        World { api: Api::new(stack.services.clone()), services: stack.services, clock, _background: stack.background }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.api.handle(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn call(&self, method: Method, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        self.send(request(method, path, fields, body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], "").await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        self.call(Method::POST, path, fields, body).await
    }

    /// The newest event of a token endpoint or of its kin.
    async fn last_event(&self) -> TokenEvent {
        let events = self.services.audit.latest(1).await.unwrap();
        match events.into_iter().next().map(|stored| stored.event) {
            Some(AuditEvent::Token(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    /// The newest event of administration.
    async fn last_admin_event(&self) -> AdminEvent {
        let events = self.services.audit.latest(1).await.unwrap();
        match events.into_iter().next().map(|stored| stored.event) {
            Some(AuditEvent::Admin(event)) => *event,
            other => panic!("{other:?}"),
        }
    }

    async fn last_reason(&self) -> Option<TokenReason> {
        self.last_event().await.reason
    }
}

/// Our own, on the API's listener.
fn api_hosts() -> Vec<Host> {
    [HOST, "127.0.0.1:8081", "localhost:8444"].map(|host| Host::parse(host).unwrap()).into()
}

fn request(method: Method, path: &str, fields: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    if !fields.iter().any(|(name, _)| *name == "host") {
        builder = builder.header("host", HOST);
    }
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.extension(Connection { peer: PEER.into(), tls: false }).body(Body::from(body.to_owned())).unwrap()
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The parameters of an address.
fn query(address: &str) -> BTreeMap<String, String> {
    let query = address.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// A browser: it keeps cookies, and sends the forms that it was shown.
struct Visit<'a> {
    world: &'a World,
    cookies: BTreeMap<String, String>,
    tls: bool,
}

/// A form as it stands on a page.
struct Form {
    action: String,
    flow: String,
}

impl Form {
    fn on(page: &Answer) -> Self {
        let between = |before: &str| {
            let (_, rest) = page.body.split_once(before).unwrap_or_else(|| panic!("{before} {}", page.body));
            rest.split('"').next().unwrap().to_owned()
        };
        Form { action: between("action=\""), flow: between("name=\"flow\" value=\"") }
    }
}

impl<'a> Visit<'a> {
    fn to(world: &'a World) -> Self {
        Visit { world, cookies: BTreeMap::new(), tls: false }
    }

    fn cookie_header(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    async fn send(&mut self, method: Method, path: &str, body: &str) -> Answer {
        let cookies = self.cookie_header();
        let (host, origin) =
            if self.tls { ("localhost:8444", "https://localhost:8444") } else { (HOST, "http://localhost:8081") };
        let mut fields = vec![("host", host)];
        if !cookies.is_empty() {
            fields.push(("cookie", &cookies));
        }
        if method == Method::POST {
            fields.extend([("origin", origin), ("sec-fetch-site", "same-origin")]);
        }
        let mut request = request(method, path, &fields, body);
        request.extensions_mut().insert(Connection { peer: PEER.into(), tls: self.tls });
        let answer = self.world.send(request).await;
        for cookie in answer.set_cookies() {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            match value {
                "" => drop(self.cookies.remove(name)),
                value => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
        answer
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, "").await
    }

    async fn submit(&mut self, page: &Answer, fields: &[(&str, &str)]) -> Answer {
        let Form { action, flow } = Form::on(page);
        let fields = [&[("flow", flow.as_str())], fields].concat();
        self.send(Method::POST, &action, &form(&fields)).await
    }

    async fn sign_in(&mut self, page: &Answer, email: &str) -> Answer {
        self.submit(page, &[("email", email), ("password", PASSWORD)]).await
    }
}

/// A request of the desktop client, with more parameters or other ones.
fn authorize_path(more: &[(&str, &str)]) -> String {
    let mut parameters = BTreeMap::from([
        ("client_id", DESKTOP),
        ("response_type", "code"),
        ("scope", "openid email"),
        ("redirect_uri", "http://localhost:4444"),
        ("state", "s"),
    ]);
    parameters.extend(more.iter().copied());
    let pairs: Vec<_> = parameters.into_iter().collect();
    format!("/accounts.google.com/o/oauth2/v2/auth?{}", form(&pairs))
}
