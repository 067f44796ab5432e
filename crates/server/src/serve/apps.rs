//! The applications of the file: at each start they are registered, or changed to match, and who may enter is what `allow` says.
//!
//! All of it by the use cases that everybody else calls, as the operator: what they refuse is refused here, and what they do is recorded.

use std::collections::{BTreeMap, BTreeSet};

use doorward_control::admin::Admin;
use doorward_control::applications::{ApplicationError, Applications, written_kind};
use doorward_control::policies::{Policies, PolicyError};
use doorward_core::member::Member;
use doorward_core::policy::{Binding, RoleName};
use doorward_core::resource::{ApplicationName, Project};
use doorward_core::store::{Store, StoreError};
use doorward_wire::doorward_api::ApplicationResource;
use doorward_wire::google_api::{self as wire, SetIamPolicyRequest, WITH_CONDITIONS};

use crate::config::AppConfig;

/// The label of an application that belongs to the file.
const LABEL: &str = "doorward-config";
/// How often a write is tried that another instance's start may cross.
const ATTEMPTS: u32 = 5;

/// Why the applications are not as the file says. Nothing may be served.
#[derive(Debug, thiserror::Error)]
pub enum AppsError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be registered, or changed.
    #[error("[[app]] at line {line}, {name}: {cause}")]
    Refused {
        /// Where it stands in the file.
        line: usize,
        /// Its name.
        name: String,
        /// Why.
        cause: ApplicationError,
    },
    /// It is registered as something else.
    #[error(
        "[[app]] at line {line}, {name}: it is registered as another kind; its resource follows from that, and so do policies: give it another name"
    )]
    Kind {
        /// Where it stands in the file.
        line: usize,
        /// Its name.
        name: String,
    },
    /// Who may enter cannot be as it says.
    #[error("[[app]] at line {line}, {name}: allow: {cause}")]
    Allow {
        /// Where it stands in the file.
        line: usize,
        /// Its name.
        name: String,
        /// Why.
        cause: PolicyError,
    },
    /// One that the file had and has no more is served still.
    #[error("the application {name}, which is no longer in the file, cannot be taken from where it is served: {cause}")]
    Gone {
        /// Its name.
        name: String,
        /// Why.
        cause: ApplicationError,
    },
    /// An application has a client that cannot be registered.
    #[error("the clients of the applications cannot be registered: {0}")]
    Clients(ApplicationError),
}

/// A member that `allow` names and that is not there: it is given nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The application.
    pub application: ApplicationName,
    /// The member.
    pub member: Member,
}

/// What is needed to put applications in order.
pub struct Ordering<'a> {
    /// Where they are read. What is as the file says is not written again: each write is a line of the record.
    pub store: &'a dyn Store,
    /// The one project.
    pub project: &'a Project,
    /// By which they are written.
    pub applications: &'a Applications,
    /// By which is written who may enter.
    pub policies: &'a Policies,
}

impl Ordering<'_> {
    /// Makes the applications what the file says. What the file had and has no more is registered still, and served nowhere. Gives the
    /// members of `allow` that are not there.
    ///
    /// # Errors
    /// [`AppsError`]. What was done until then stays, and is recorded; the next start does the rest.
    pub async fn put_in_order(&self, apps: &[AppConfig]) -> Result<Vec<LeftOut>, AppsError> {
        let operator = Admin::local_operator();
        self.applications.register_clients(&operator).await.map_err(AppsError::Clients)?;
        // Places are given up first: another application of the file may be the one that takes them.
        for application in self.store.applications().await? {
            let own = application.labels.contains_key(LABEL);
            if own && !apps.iter().any(|app| app.name == application.name) && !application.routes.is_empty() {
                let (id, nowhere) = (&application.service_id, ApplicationResource::default());
                match self.applications.update(&operator, id, nowhere, Some("hosts,pathPrefixes")).await {
                    Ok(now) => tracing::warn!(
                        application = %now.name,
                        "it is no longer in the file: it is registered, with its policy, and served nowhere"
                    ),
                    // Another instance was faster.
                    Err(ApplicationError::Stale | ApplicationError::NotFound(_)) => {}
                    Err(cause) => return Err(AppsError::Gone { name: application.name.to_string(), cause }),
                }
            }
        }
        let mut left_out = Vec::new();
        for app in apps {
            let resource = self.register(app).await?;
            if let Some(allow) = &app.allow {
                let gone = self.allow(app, &resource, allow).await?;
                left_out.extend(gone.into_iter().map(|member| LeftOut { application: app.name.clone(), member }));
            }
        }
        Ok(left_out)
    }

    /// Gives the name of the resource.
    async fn register(&self, app: &AppConfig) -> Result<String, AppsError> {
        let operator = Admin::local_operator();
        let mut tried = 0;
        loop {
            tried += 1;
            let known = self.store.applications().await?.into_iter().find(|known| known.name == app.name);
            let written = match known {
                None => self.applications.create(&operator, wanted(app, BTreeMap::new())).await,
                Some(known) if known.kind != app.kind => {
                    return Err(AppsError::Kind { line: app.line, name: app.name.to_string() });
                }
                Some(known) => {
                    let same = known.routes == app.routes && known.upstreams == app.upstreams;
                    if same && known.labels.contains_key(LABEL) {
                        return Ok(known.service().name(self.project));
                    }
                    let (id, mask) = (known.service_id, "hosts,pathPrefixes,upstreams,labels");
                    self.applications.update(&operator, &id, wanted(app, known.labels), Some(mask)).await
                }
            };
            match written {
                Ok(written) => return Ok(written.resource),
                // Another instance was faster, or the number is taken: look again.
                Err(
                    ApplicationError::NameTaken(_)
                    | ApplicationError::NumberTaken(_)
                    | ApplicationError::Stale
                    | ApplicationError::NotFound(_),
                ) if tried < ATTEMPTS => {}
                Err(cause) => return Err(AppsError::Refused { line: app.line, name: app.name.to_string(), cause }),
            }
        }
    }

    /// Sets who may enter always. Bindings of other roles, and those under a condition, stay. Gives those who are not there.
    async fn allow(&self, app: &AppConfig, resource: &str, allow: &[Member]) -> Result<Vec<Member>, AppsError> {
        let operator = Admin::local_operator();
        let role = RoleName::https_resource_accessor();
        let mut allow = allow.to_vec();
        let mut left_out = Vec::new();
        let mut tried = 0;
        loop {
            let mut stored = self.store.policy(resource).await?.bindings;
            let mut bindings = stored.clone();
            bindings.retain(|it| it.role != role || it.condition.is_some());
            if !allow.is_empty() {
                bindings.push(Binding { role: role.clone(), members: allow.clone(), condition: None });
            }
            if same(&bindings, &stored) {
                return Ok(left_out);
            }
            match self.write_allow(&operator, resource, &role, &allow).await {
                Ok(()) => {
                    stored.retain(|it| it.role == role && it.condition.is_none());
                    tell(app, &stored, &allow);
                    return Ok(left_out);
                }
                Err(PolicyError::Conflict) if tried < ATTEMPTS => tried += 1,
                // Whoever made it afterwards would have what was meant for somebody else: until it is there, it is given nothing.
                Err(PolicyError::UnknownMember { member, .. }) if allow.contains(&member) => {
                    allow.retain(|it| *it != member);
                    tracing::error!(
                        "`allow` of the application {} names {member}, which is not there and is not let in: make it, then send SIGHUP",
                        app.name
                    );
                    left_out.push(member);
                }
                Err(cause) => return Err(AppsError::Allow { line: app.line, name: app.name.to_string(), cause }),
            }
        }
    }

    async fn write_allow(
        &self,
        operator: &Admin,
        resource: &str,
        role: &RoleName,
        allow: &[Member],
    ) -> Result<(), PolicyError> {
        let mut policy = self.policies.get(operator, resource, WITH_CONDITIONS).await?;
        policy.version = Some(WITH_CONDITIONS);
        policy.bindings.retain(|it| it.role != role.as_str() || it.condition.is_some());
        if !allow.is_empty() {
            let members = allow.iter().map(ToString::to_string).collect();
            policy.bindings.push(wire::Binding { role: role.as_str().to_owned(), members, condition: None });
        }
        self.policies.replace(operator, resource, SetIamPolicyRequest { policy, update_mask: None }).await.map(drop)
    }
}

/// Tells of each member that was let in, or is let in no more: somebody else may have written it, and wonder.
fn tell(app: &AppConfig, before: &[Binding], allow: &[Member]) {
    let before: BTreeSet<&Member> = before.iter().flat_map(|binding| &binding.members).collect();
    for member in before.iter().filter(|member| !allow.contains(member)) {
        tracing::warn!("{member} may not enter {} any more: `allow` in the file does not name them", app.name);
    }
    for member in allow.iter().filter(|member| !before.contains(member)) {
        tracing::info!("{member} may enter {}, as `allow` in the file says", app.name);
    }
}

/// An application of the file, with the labels that it has already.
fn wanted(app: &AppConfig, mut labels: BTreeMap<String, String>) -> ApplicationResource {
    labels.insert(LABEL.to_owned(), "serve".to_owned());
    let (mut hosts, mut path_prefixes): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for route in &app.routes {
        let (host, prefix) = (route.origin.to_string(), route.prefix.as_str());
        if !hosts.contains(&host) {
            hosts.push(host);
        }
        if !path_prefixes.iter().any(|it| it == prefix) {
            path_prefixes.push(prefix.to_owned());
        }
    }
    let kind = written_kind(&app.kind);
    ApplicationResource {
        name: app.name.to_string(),
        kind: kind.kind,
        region: kind.region.map(str::to_owned),
        service: kind.service.map(str::to_owned),
        version: kind.version.map(str::to_owned),
        hosts,
        path_prefixes,
        upstreams: app.upstreams.clone(),
        labels,
        ..ApplicationResource::default()
    }
}

/// Whether two lists of bindings say the same; the order of members and bindings says nothing.
fn same(one: &[Binding], other: &[Binding]) -> bool {
    let sorted = |bindings: &[Binding]| {
        let mut texts: Vec<(RoleName, Vec<Member>, Option<_>)> = bindings
            .iter()
            .map(|binding| {
                let mut members = binding.members.clone();
                members.sort();
                (binding.role.clone(), members, binding.condition.clone())
            })
            .collect();
        texts.sort();
        texts
    };
    sorted(one) == sorted(other)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::outbound::Fetcher;
    use crate::serve::stack_config;
    use crate::wiring::{self, Outside, Stack};
    use doorward_control::keys::ensure_keys;
    use doorward_core::audit::AuditEvent;
    use doorward_core::clock::{Clock as _, SystemClock};
    use doorward_core::entropy::{Entropy, SystemEntropy};
    use doorward_core::policy::ConditionText;
    use doorward_core::resource::{Application, ClientId, Host, Origin, PathPrefix, Route, Scheme, ServiceKind};
    use doorward_core::store::{ApplicationStore as _, OAuthClientStore as _, PolicyStore as _};
    use doorward_store::SqliteStore;

    fn app(name: &str, host: &str, allow: Option<&[&str]>) -> AppConfig {
        let origin = Origin::new(Scheme::Https, &Host::parse(host).unwrap());
        AppConfig {
            name: name.parse().unwrap(),
            kind: ServiceKind::BackendService { region: None },
            routes: vec![Route { origin, prefix: PathPrefix::root() }],
            upstreams: vec!["http://10.0.0.7:3000".into()],
            allow: allow.map(|allow| allow.iter().map(|it| it.parse().unwrap()).collect()),
            settings: None,
            line: 6,
        }
    }

    struct Bench {
        store: Arc<SqliteStore>,
        project: Project,
        stack: Stack,
    }

    impl Bench {
        async fn new() -> Self {
            let project = Project { id: "ops-prod".into(), number: "123".into(), ancestors: Vec::new() };
            let store = Arc::new(SqliteStore::in_memory().await.unwrap());
            let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
            ensure_keys(&*store, &entropy, SystemClock.now()).await.unwrap();
            let outside = Outside {
                store: store.clone(),
                clock: Arc::new(SystemClock),
                entropy,
                fetch: Arc::new(Fetcher::default()),
            };
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("doorward.toml");
            let text = "[server]\napi_url = 'http://127.0.0.1:8081'\napi = { listen = '127.0.0.1:8081' }\n\
                        apps = { listen = '127.0.0.1:8080' }\n[project]\nid = 'ops-prod'\nnumber = '123'\n";
            std::fs::write(&path, text).unwrap();
            let config = crate::config::read(&path, &|_| None).unwrap();
            let stack = wiring::build(outside, stack_config(&config)).await.unwrap();
            Bench { store, project, stack }
        }

        async fn start(&self, apps: &[AppConfig]) -> Result<Vec<LeftOut>, AppsError> {
            let services = &self.stack.services;
            let (applications, policies) = (&services.applications, services.policies());
            Ordering { store: &*self.store, project: &self.project, applications, policies }.put_in_order(apps).await
        }

        async fn application(&self, name: &str) -> Application {
            self.store.applications().await.unwrap().into_iter().find(|it| it.name.as_str() == name).unwrap()
        }

        async fn bindings(&self, name: &str) -> Vec<Binding> {
            let resource = self.application(name).await.service().name(&self.project);
            self.store.policy(&resource).await.unwrap().bindings
        }

        /// What was recorded, all of it of the operator, with the code.
        async fn recorded(&self) -> Vec<(String, i32)> {
            let events = self.stack.services.audit.latest(100).await.unwrap();
            let method = |event: &AuditEvent| match event {
                AuditEvent::Admin(event) => {
                    assert_eq!(event.caller.as_deref(), Some("operator"));
                    (event.method.rsplit('.').next().unwrap().to_owned(), event.code)
                }
                other => panic!("{other:?}"),
            };
            events.iter().map(|stored| method(&stored.event)).collect()
        }

        async fn allowed(&self, name: &str) -> String {
            let bindings = self.bindings(name).await;
            bindings.iter().flat_map(|it| &it.members).map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
    }

    #[tokio::test]
    async fn applications_are_what_the_file_says_at_each_start() {
        let bench = Bench::new().await;
        let first = [app("wiki", "wiki.test", Some(&["domain:example.com"]))];
        bench.start(&first).await.unwrap();
        let made = bench.application("wiki").await;
        assert_eq!((made.routes.len(), made.iap_enabled), (1, true));
        bench.start(&first).await.unwrap();
        assert_eq!(bench.application("wiki").await, made, "nothing to do, nothing done");
        let said = ["CreateApplication", "GetIamPolicy", "SetIamPolicy"].map(|method| (method.to_owned(), 0));
        assert_eq!(bench.recorded().await, said);
        let client = bench.store.oauth_client(&made.client_id).await.unwrap();
        assert!(client.is_some(), "nobody can register another one under its id");

        bench.start(&[app("wiki", "docs.test", Some(&["user:a@example.com"]))]).await.unwrap();
        let changed = bench.application("wiki").await;
        assert_eq!((changed.service_id, changed.client_id), (made.service_id, made.client_id));
        assert_eq!(changed.routes[0].origin.to_string(), "https://docs.test");
        assert_eq!(bench.bindings("wiki").await[0].members, ["user:a@example.com".parse().unwrap()]);

        bench.start(&[app("other", "docs.test", None)]).await.unwrap();
        assert!(bench.application("wiki").await.routes.is_empty());
        assert!(bench.bindings("other").await.is_empty());
        assert_eq!(bench.bindings("wiki").await.len(), 1);
    }

    #[tokio::test]
    async fn only_the_unconditional_binding_of_the_one_role_belongs_to_the_file() {
        let bench = Bench::new().await;
        bench.start(&[app("wiki", "wiki.test", None)]).await.unwrap();
        let resource = bench.application("wiki").await.service().name(&bench.project);
        let bind = |role: &str, member: &str, conditional: bool| Binding {
            role: role.parse().unwrap(),
            members: vec![member.parse().unwrap()],
            condition: conditional.then(|| ConditionText {
                expression: "request.path == '/'".into(),
                title: "t".into(),
                ..ConditionText::default()
            }),
        };
        let access = "roles/iap.httpsResourceAccessor";
        let theirs = [bind("roles/iap.admin", "user:x@x.com", false), bind(access, "user:y@x.com", true)];
        let ours = bind(access, "user:old@x.com", false);
        let all = [theirs[0].clone(), ours, theirs[1].clone()];
        bench.store.replace_policy(&resource, &all, None, &[]).await.unwrap();
        bench.start(&[app("wiki", "wiki.test", None)]).await.unwrap();
        assert_eq!(bench.bindings("wiki").await, all, "without `allow` the file says nothing");
        bench.start(&[app("wiki", "wiki.test", Some(&["user:new@x.com"]))]).await.unwrap();
        let expected = [&theirs[..], &[bind(access, "user:new@x.com", false)]].concat();
        assert!(same(&bench.bindings("wiki").await, &expected));
        bench.start(&[app("wiki", "wiki.test", Some(&[]))]).await.unwrap();
        assert!(same(&bench.bindings("wiki").await, &theirs), "`allow = []` lets nobody in");
    }

    #[tokio::test]
    async fn whoever_is_not_there_is_given_nothing() {
        let bench = Bench::new().await;
        let gone = [
            "serviceAccount:gone@ops-prod.iam.gserviceaccount.com",
            "group:gone@x.com",
            "group:gone-too@x.com",
            "principalSet://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/none/*",
            "principalSet://iam.googleapis.com/projects/124/locations/global/workloadIdentityPools/none/*",
            "principalSet://doorward/trustedIssuers/none/*",
        ];
        let allow = [&gone[..], &["user:a@x.com"]].concat();
        bench.start(&[app("wiki", "wiki.test", Some(&allow))]).await.unwrap();
        assert_eq!(bench.allowed("wiki").await, "user:a@x.com");
        let refused: Vec<_> = bench.recorded().await.into_iter().filter(|(_, code)| *code != 0).collect();
        assert_eq!(refused, vec![("SetIamPolicy".to_owned(), 3); gone.len()], "each is recorded");
        let group = r#"{"email": "gone@x.com"}"#;
        let group = serde_json::from_str(group).unwrap();
        bench.stack.services.groups.create(&Admin::local_operator(), group).await.unwrap();
        bench.start(&[app("wiki", "wiki.test", Some(&allow))]).await.unwrap();
        assert_eq!(bench.allowed("wiki").await, "group:gone@x.com user:a@x.com");
    }

    #[tokio::test]
    async fn a_client_that_was_never_registered_is_at_the_next_start() {
        let bench = Bench::new().await;
        bench.start(&[app("wiki", "wiki.test", None)]).await.unwrap();
        // As the first versions wrote one.
        let mut wiki = bench.application("wiki").await;
        wiki.client_id = ClientId("123-old.apps.googleusercontent.com".into());
        wiki.etag = bench.store.replace_application(&wiki, None).await.unwrap().unwrap();
        let client = async || bench.store.oauth_client(&wiki.client_id).await.unwrap();
        assert_eq!(client().await, None);
        bench.start(&[app("wiki", "wiki.test", None)]).await.unwrap();
        let registered = client().await.unwrap();
        assert!(registered.secret.is_some() && registered.kind.name() == "web" && registered.project == "123");
        assert_eq!(bench.application("wiki").await, wiki);
        assert_eq!(bench.recorded().await.last().unwrap(), &("RegisterClient".to_owned(), 0));
        bench.start(&[app("wiki", "wiki.test", None)]).await.unwrap();
        assert_eq!(client().await, Some(registered), "once");
    }

    #[tokio::test]
    async fn what_the_use_case_refuses_is_refused_with_the_line() {
        let bench = Bench::new().await;
        let reserved = bench.start(&[app("wiki", "127.0.0.1:8081", None)]).await;
        let cause = |error| match error {
            Err(AppsError::Refused { line: 6, cause, .. }) => cause,
            other => panic!("{other:?}"),
        };
        assert!(matches!(cause(reserved), ApplicationError::ReservedHost(_)));
        let kind = ServiceKind::CloudRun { region: "eu-".to_owned() };
        let region = bench.start(&[AppConfig { kind, ..app("wiki", "wiki.test", None) }]).await;
        assert!(matches!(cause(region), ApplicationError::Word { field: "region", .. }));
        let everybody = (0..1501).map(|number| format!("user:u{number}@x.com").parse().unwrap()).collect();
        let crowd = bench.start(&[AppConfig { allow: Some(everybody), ..app("wiki", "wiki.test", None) }]).await;
        assert!(matches!(crowd, Err(AppsError::Allow { line: 6, cause: PolicyError::Policy(_), .. })), "{crowd:?}");
    }

    #[tokio::test]
    async fn a_place_that_is_taken_and_another_kind_are_refused_with_the_line() {
        let bench = Bench::new().await;
        bench.start(&[app("wiki", "wiki.test", None)]).await.unwrap();
        let mut application = bench.application("wiki").await;
        application.labels.clear();
        let etag = application.etag;
        bench.store.replace_application(&application, Some(etag)).await.unwrap().unwrap();
        let taken = bench.start(&[app("other", "wiki.test", None)]).await;
        let cause =
            |error| matches!(error, Err(AppsError::Refused { line: 6, cause: ApplicationError::PlaceTaken(_), .. }));
        assert!(cause(taken));
        let region = Some("eu-a1".to_owned());
        let kind = ServiceKind::BackendService { region };
        let other = bench.start(&[AppConfig { kind, ..app("wiki", "wiki.test", None) }]).await;
        assert!(matches!(other, Err(AppsError::Kind { line: 6, .. })), "{other:?}");
    }
}
