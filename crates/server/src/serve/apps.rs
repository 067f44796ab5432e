//! The applications of the file: at each start they are registered, or changed to match, and who may enter is what `allow` says.
//!
//! To be called on a store whose keys are in order, before the first snapshot is read.

use std::collections::BTreeMap;

use doorward_control::oauth_clients::new_client_id;
use doorward_core::audit::{AdminEvent, AdminKind, AuditEvent};
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError, random_base64url, random_digits};
use doorward_core::member::Member;
use doorward_core::policy::{Binding, Etag, RoleName};
use doorward_core::resource::{Application, Project};
use doorward_core::store::{ApplicationRefused, Named, PolicyWrite, Store, StoreError};
use serde_json::{Value, json};

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
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// It cannot be registered.
    #[error("[[app]] at line {line}, {name}: {cause}")]
    Refused {
        /// Where it stands in the file.
        line: usize,
        /// Its name.
        name: String,
        /// Why.
        cause: ApplicationRefused,
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
    /// Others write the same all the time.
    #[error("the applications are being changed by others; start again")]
    Busy,
}

/// What is needed to put applications in order.
pub struct Ordering<'a> {
    /// Where they are kept.
    pub store: &'a dyn Store,
    /// Randomness.
    pub entropy: &'a dyn Entropy,
    /// The one project.
    pub project: &'a Project,
    /// How many events the record keeps.
    pub keep_events: u64,
    /// The time.
    pub now: Timestamp,
}

impl Ordering<'_> {
    /// Makes the applications what the file says. What the file had and has no more is registered still, and served nowhere.
    ///
    /// # Errors
    /// [`AppsError`]. What was done until then stays, and is recorded; the next start does the rest.
    pub async fn put_in_order(&self, apps: &[AppConfig]) -> Result<(), AppsError> {
        // Places are given up first: another application of the file may be the one that takes them.
        for application in self.store.applications().await? {
            let own = application.labels.contains_key(LABEL);
            if own && !apps.iter().any(|app| app.name == application.name) && !application.routes.is_empty() {
                let gone = Application { routes: Vec::new(), ..application.clone() };
                if let Ok(etag) = self.store.replace_application(&gone, Some(application.etag)).await? {
                    let now = Application { etag, ..gone };
                    self.record_application("doorward.serve.UpdateApplication", Some(&application), &now).await?;
                    tracing::warn!(
                        application = %now.name,
                        "it is no longer in the file: it is registered, with its policy, and served nowhere"
                    );
                }
            }
        }
        for app in apps {
            let application = self.register(app).await?;
            if let Some(allow) = &app.allow {
                self.allow(&application, allow).await?;
            }
        }
        Ok(())
    }

    async fn register(&self, app: &AppConfig) -> Result<Application, AppsError> {
        let refused = |cause| AppsError::Refused { line: app.line, name: app.name.to_string(), cause };
        for _ in 0..ATTEMPTS {
            let known = self.store.applications().await?.into_iter().find(|known| known.name == app.name);
            let Some(known) = known else {
                let new = Application {
                    name: app.name.clone(),
                    service_id: random_digits(self.entropy, 19)?,
                    kind: app.kind.clone(),
                    client_id: new_client_id(self.entropy, self.project)?,
                    iap_enabled: true,
                    routes: app.routes.clone(),
                    upstreams: app.upstreams.clone(),
                    description: String::new(),
                    labels: BTreeMap::from([(LABEL.to_owned(), "serve".to_owned())]),
                    etag: Etag::UNWRITTEN,
                };
                match self.store.add_application(&new).await? {
                    Ok(etag) => {
                        let new = Application { etag, ..new };
                        self.record_application("doorward.serve.RegisterApplication", None, &new).await?;
                        return Ok(new);
                    }
                    // Another instance was faster, or the number is taken: look again.
                    Err(ApplicationRefused::NameTaken | ApplicationRefused::NumberTaken) => continue,
                    Err(cause) => return Err(refused(cause)),
                }
            };
            if known.kind != app.kind {
                return Err(AppsError::Kind { line: app.line, name: app.name.to_string() });
            }
            let mut wanted = known.clone();
            wanted.routes.clone_from(&app.routes);
            wanted.upstreams.clone_from(&app.upstreams);
            wanted.labels.insert(LABEL.to_owned(), "serve".to_owned());
            if wanted == known {
                return Ok(known);
            }
            match self.store.replace_application(&wanted, Some(known.etag)).await? {
                Ok(etag) => {
                    let wanted = Application { etag, ..wanted };
                    self.record_application("doorward.serve.UpdateApplication", Some(&known), &wanted).await?;
                    return Ok(wanted);
                }
                Err(ApplicationRefused::Stale | ApplicationRefused::NotFound) => {}
                Err(cause) => return Err(refused(cause)),
            }
        }
        Err(AppsError::Busy)
    }

    /// Sets who may enter always. Bindings of other roles, and those under a condition, stay.
    async fn allow(&self, application: &Application, allow: &[Member]) -> Result<(), AppsError> {
        let name = application.service().name(self.project);
        let role = RoleName::https_resource_accessor();
        let mut allow = allow.to_vec();
        for _ in 0..ATTEMPTS {
            let policy = self.store.policy(&name).await?;
            let ours = |binding: &Binding| binding.role == role && binding.condition.is_none();
            let mut bindings: Vec<Binding> = policy.bindings.iter().filter(|it| !ours(it)).cloned().collect();
            if !allow.is_empty() {
                bindings.push(Binding { role: role.clone(), members: allow.clone(), condition: None });
            }
            if same(&bindings, &policy.bindings) {
                return Ok(());
            }
            let mut named = vec![Named::Application(application.service_id.clone())];
            named.extend(allow.iter().filter_map(|member| self.named(member)));
            match self.store.replace_policy(&name, &bindings, Some(policy.etag), &named).await? {
                PolicyWrite::Written(_) => {
                    let method = "google.cloud.iap.v1.IdentityAwareProxyAdminService.SetIamPolicy";
                    let (before, after) = (shown(&policy.bindings), shown(&bindings));
                    return self.record("iap.googleapis.com", method, name, (Some(before), after)).await;
                }
                PolicyWrite::Conflict => {}
                // Whoever made it afterwards would have what was meant for somebody else: until it is there, it is given nothing.
                PolicyWrite::Missing(missing) => {
                    let before = allow.len();
                    allow.retain(|member| self.named(member).as_ref() != Some(&missing));
                    tracing::error!(
                        application = %application.name, ?missing,
                        "`allow` names what is not there, and it is left out: make it, then start again"
                    );
                    if allow.len() == before {
                        return Err(AppsError::Busy);
                    }
                }
            }
        }
        Err(AppsError::Busy)
    }

    /// What has to be there for a member to be named.
    fn named(&self, member: &Member) -> Option<Named> {
        let own = format!("{}.iam.gserviceaccount.com", self.project.id);
        match member {
            Member::ServiceAccount(email) if email.domain() == own => Some(Named::ServiceAccount(email.clone())),
            Member::Group(email) => Some(Named::Group(email.clone())),
            Member::ServiceAccount(_)
            | Member::User(_)
            | Member::Domain(_)
            | Member::Principal(_)
            | Member::PrincipalSet(_)
            | Member::Deleted(_)
            | Member::AllAuthenticatedUsers
            | Member::AllUsers => None,
        }
    }

    async fn record_application(
        &self,
        method: &str,
        before: Option<&Application>,
        after: &Application,
    ) -> Result<(), AppsError> {
        let show = |application: &Application| {
            let hosts: Vec<String> =
                application.routes.iter().map(|it| format!("{}{}", it.origin, it.prefix.as_str())).collect();
            json!({"name": application.name.as_str(), "hosts": hosts, "upstreams": application.upstreams})
        };
        let name = after.service().name(self.project);
        self.record("doorward", method, name, (before.map(show), show(after))).await
    }

    async fn record(
        &self,
        service: &str,
        method: &str,
        resource: String,
        (before, after): (Option<Value>, Value),
    ) -> Result<(), AppsError> {
        let event = AdminEvent {
            id: random_base64url(self.entropy, 16)?,
            time: self.now,
            service: service.to_owned(),
            method: method.to_owned(),
            kind: AdminKind::Write,
            resource,
            caller: Some("operator".to_owned()),
            peer: None,
            user_agent: Some("doorward serve".to_owned()),
            permissions: Vec::new(),
            before,
            after: Some(after),
            code: 0,
            message: String::new(),
        };
        Ok(self.store.append(&[AuditEvent::Admin(Box::new(event))], self.keep_events).await?)
    }
}

fn shown(bindings: &[Binding]) -> Value {
    let show = |binding: &Binding| {
        let members: Vec<String> = binding.members.iter().map(ToString::to_string).collect();
        let mut shown = json!({"role": binding.role.as_str(), "members": members});
        if let Some(condition) = &binding.condition {
            shown["condition"] = json!({"title": condition.title, "expression": condition.expression});
        }
        shown
    };
    json!({"bindings": bindings.iter().map(show).collect::<Vec<_>>()})
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
    use super::*;
    use doorward_core::entropy::SeededEntropy;
    use doorward_core::policy::ConditionText;
    use doorward_core::resource::{Host, Origin, PathPrefix, Route, Scheme, ServiceKind};
    use doorward_core::store::{ApplicationStore as _, AuditStore as _, PolicyStore as _};
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
        store: SqliteStore,
        entropy: SeededEntropy,
        project: Project,
    }

    impl Bench {
        async fn new() -> Self {
            let project = Project { id: "ops-prod".into(), number: "123".into(), ancestors: Vec::new() };
            Bench { store: SqliteStore::in_memory().await.unwrap(), entropy: SeededEntropy::default(), project }
        }

        async fn start(&self, apps: &[AppConfig]) -> Result<(), AppsError> {
            let (store, entropy, project) = (&self.store, &self.entropy, &self.project);
            let now = Timestamp::from_seconds(7);
            Ordering { store, entropy, project, keep_events: 1000, now }.put_in_order(apps).await
        }

        async fn application(&self, name: &str) -> Application {
            self.store.applications().await.unwrap().into_iter().find(|it| it.name.as_str() == name).unwrap()
        }

        async fn bindings(&self, name: &str) -> Vec<Binding> {
            let resource = self.application(name).await.service().name(&self.project);
            self.store.policy(&resource).await.unwrap().bindings
        }

        async fn methods(&self) -> Vec<String> {
            let events = self.store.latest_events(100).await.unwrap();
            let method = |event: &AuditEvent| match event {
                AuditEvent::Admin(event) => {
                    assert_eq!(event.caller.as_deref(), Some("operator"));
                    event.method.rsplit('.').next().unwrap().to_owned()
                }
                other => panic!("{other:?}"),
            };
            events.iter().map(|stored| method(&stored.event)).collect()
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
        assert_eq!(bench.methods().await, ["RegisterApplication", "SetIamPolicy"]);

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
        let allow = ["serviceAccount:gone@ops-prod.iam.gserviceaccount.com", "group:gone@x.com", "user:a@x.com"];
        bench.start(&[app("wiki", "wiki.test", Some(&allow))]).await.unwrap();
        assert_eq!(bench.bindings("wiki").await[0].members, ["user:a@x.com".parse().unwrap()]);
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
            |error| matches!(error, Err(AppsError::Refused { line: 6, cause: ApplicationRefused::PlaceTaken(_), .. }));
        assert!(cause(taken));
        let region = Some("eu-a1".to_owned());
        let kind = ServiceKind::BackendService { region };
        let other = bench.start(&[AppConfig { kind, ..app("wiki", "wiki.test", None) }]).await;
        assert!(matches!(other, Err(AppsError::Kind { line: 6, .. })), "{other:?}");
    }
}
