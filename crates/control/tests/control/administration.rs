//! Who may administer what, and what is recorded of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorward_control::admin::{Admin, AdminError, Changes, Failure, Gate, Method};
use doorward_control::policies::Policies;
use doorward_control::tunnel_dest_groups::Location;
use doorward_core::account::UniqueId;
use doorward_core::audit::{AdminEvent, AdminKind, AuditClosed, AuditEvent, AuditSink, RecordedEvents};
use doorward_core::policy::Permission;
use doorward_core::resource::Resource;
use doorward_wire::google_api::audit_log::{AuditLogName, IAP_ADMIN_METHODS, IAP_ADMIN_SERVICE};
use doorward_wire::google_api::{IapSettings, Policy, SetIamPolicyRequest, Status};
use serde_json::json;

use crate::robots::{CLOUD, ROBOT};
use crate::{PEER, Stack, cause};

const HOST: &str = "iam.googleapis.com";
const APP: &str = "projects/dev-project/iap_web/compute/services/app";

impl Stack {
    /// A person as an administrator.
    pub(crate) async fn administers(&self, person: &UniqueId) -> Admin {
        let token = self.access_token(person, CLOUD).await;
        self.callers().admin(Some(&token), HOST, PEER, Some("gcloud/1\n")).await.unwrap()
    }

    /// A person who holds a role on a resource, beside those who hold something there.
    pub(crate) async fn holding(&self, name: &str, role: &str, on: &str) -> Admin {
        let id = self.add_person(name).await;
        let mut policy = self.get_policy(on).await.unwrap();
        let binding = json!({"role": role, "members": [format!("user:{name}@example.com")]});
        policy.bindings.push(serde_json::from_value(binding).unwrap());
        self.set_policy(on, policy).await.unwrap();
        self.administers(&id).await
    }
}

/// A policy that nobody can write.
pub(crate) fn not_a_policy() -> SetIamPolicyRequest {
    SetIamPolicyRequest { policy: Policy { version: Some(2), ..Policy::default() }, update_mask: None }
}

#[tokio::test]
async fn what_is_not_there_and_what_one_may_not_are_told_alike_to_whoever_has_no_right_above() {
    let stack = Stack::new().await;
    stack.create_account("robot1").await;
    let stranger = stack.add_person("stranger").await;
    let stranger = stack.administers(&stranger).await;
    let owner = stack.holding("owner", "roles/owner", "projects/123").await;
    let operator = Admin::local_operator();
    #[rustfmt::skip]
    let cases = [
        // name, stranger, owner, operator
        (APP.to_owned(),                                                 "Forbidden", "ok",        "ok"),
        ("projects/123/iap_web/compute/services/none".to_owned(),        "Forbidden", "NotFound",  "NotFound"),
        ("projects/other/iap_web/compute/services/app".to_owned(),       "Forbidden", "Forbidden", "NotFound"),
        ("projects/other".to_owned(),                                    "Forbidden", "Forbidden", "NotFound"),
        ("organizations/1".to_owned(),                                   "Forbidden", "Forbidden", "ok"),
        ("organizations/9".to_owned(),                                   "Forbidden", "Forbidden", "NotFound"),
        (format!("projects/-/serviceAccounts/{ROBOT}"),                  "Forbidden", "ok",        "ok"),
        ("projects/-/serviceAccounts/x@y.com".to_owned(),                "Forbidden", "NotFound",  "NotFound"),
        (format!("projects/other/serviceAccounts/{ROBOT}"),              "Forbidden", "Forbidden", "NotFound"),
        ("projects/123/topics/x".to_owned(),                             "Malformed", "Malformed", "Malformed"),
        ("projects/123\n".to_owned(),                                    "Malformed", "Malformed", "Malformed"),
    ];
    for (name, of_stranger, of_owner, of_operator) in cases {
        for (admin, expected) in [(&stranger, of_stranger), (&owner, of_owner), (&operator, of_operator)] {
            let outcome = stack.policies.get(admin, &name, 3).await;
            let outcome = outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned());
            assert_eq!(outcome, expected, "{name} {}", admin.member());
        }
    }
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let here = stack.policies.get(&stranger, APP, 3).await.unwrap_err();
    let gone = stack.policies.get(&stranger, "projects/dev-project/iap_web/compute/services/apq", 3).await.unwrap_err();
    assert_eq!(told(&here).replace("/app,", "/apq,"), told(&gone));
}

#[tokio::test]
async fn a_condition_and_a_deny_policy_hold_for_administration_too() {
    let stack = Stack::new().await;
    let condition = |expression: &str| json!({"title": "t", "expression": expression});
    let id = stack.add_person("ann").await;
    let ann = stack.administers(&id).await;
    let from = format!("source.ip == '{PEER}'");
    #[rustfmt::skip]
    let cases = [
        ("resource.type == 'iap.googleapis.com/WebService'",      "ok"),
        ("resource.service == 'iap.googleapis.com'",              "ok"),
        ("resource.name.endsWith('/services/777')",               "ok"),
        ("resource.type == 'iap.googleapis.com/Web'",             "Forbidden"),
        (from.as_str(),                                           "ok"),
        ("source.ip == '192.0.2.8'",                              "Forbidden"),
        ("request.auth.principal == 'user:ann@example.com'",      "ok"),
        ("request.time < timestamp('2000-01-01T00:00:00Z')",      "Forbidden"),
        // A call of administration has no path.
        ("request.path != '/'",                                   "Forbidden"),
    ];
    for (expression, expected) in cases {
        let policy = json!({"version": 3, "bindings": [
            {"role": "roles/iap.admin", "members": ["user:ann@example.com"], "condition": condition(expression)},
        ]});
        stack.set_policy("projects/123", serde_json::from_value(policy).unwrap()).await.unwrap();
        let outcome = stack.policies.get(&ann, APP, 3).await;
        assert_eq!(outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned()), expected, "{expression}");
    }
    let policy = json!({"bindings": [{"role": "roles/iap.admin", "members": ["user:ann@example.com"]}]});
    stack.set_policy("projects/123", serde_json::from_value(policy).unwrap()).await.unwrap();
    stack.policies.get(&ann, APP, 3).await.unwrap();
    let deny = json!({"rules": [{"denyRule": {
        "deniedPrincipals": ["principalSet://goog/public:all"], "deniedPermissions": ["iap.googleapis.com/*.getIamPolicy"],
    }}]});
    let at = "cloudresourcemanager.googleapis.com%2Forganizations%2F1";
    stack.deny.create(&stack.admin, at, "none", serde_json::from_value(deny).unwrap()).await.unwrap();
    assert_eq!(cause(&stack.policies.get(&ann, APP, 3).await.unwrap_err()), "Forbidden");
    stack.policies.get(&stack.admin, APP, 3).await.unwrap();
}

#[tokio::test]
async fn somebody_may_give_only_the_roles_that_a_condition_names() {
    let stack = Stack::new().await;
    let expression =
        "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(['roles/iap.httpsResourceAccessor'])";
    let policy = json!({"version": 3, "bindings": [{"role": "roles/iap.admin", "members": ["user:ann@example.com"],
        "condition": {"title": "t", "expression": expression}}]});
    stack.set_policy("projects/123", serde_json::from_value(policy).unwrap()).await.unwrap();
    let id = stack.add_person("ann").await;
    let ann = stack.administers(&id).await;
    for (role, expected) in [("roles/iap.httpsResourceAccessor", "ok"), ("roles/iap.admin", "Forbidden")] {
        let policy = json!({"bindings": [{"role": role, "members": ["user:bob@example.com"]}]});
        let request = SetIamPolicyRequest { policy: serde_json::from_value(policy).unwrap(), update_mask: None };
        let outcome = stack.policies.replace(&ann, APP, request).await;
        assert_eq!(outcome.map_or_else(|error| cause(&error), |_| "ok".to_owned()), expected, "{role}");
    }
}

fn shape(event: &AdminEvent) -> (String, String, AdminKind, i32, Vec<(String, bool)>) {
    let method = event.method.rsplit('.').next().unwrap().to_owned();
    let asked = event.permissions.iter().map(|it| (it.permission.clone(), it.granted)).collect();
    (event.service.clone(), method, event.kind, event.code, asked)
}

#[tokio::test]
async fn a_change_is_recorded_with_before_and_after_a_refusal_with_what_was_lacking_and_a_look_when_google_does() {
    let stack = Stack::new().await;
    let owner = stack.holding("owner", "roles/owner", "projects/123").await;
    let nobody = stack.add_person("nobody").await;
    let nobody = stack.administers(&nobody).await;
    let seen = stack.admin_events().len();
    let admitting = |member: &str| {
        let bindings = json!({"bindings": [{"role": "roles/iap.httpsResourceAccessor", "members": [member]}]});
        SetIamPolicyRequest { policy: serde_json::from_value(bindings).unwrap(), update_mask: None }
    };
    stack.policies.replace(&owner, APP, admitting("user:a@x.com")).await.unwrap();
    stack.policies.replace(&nobody, APP, admitting("user:b@x.com")).await.unwrap_err();
    stack.policies.get(&owner, APP, 3).await.unwrap();
    stack.accounts.list(&owner, "123", None, None).await.unwrap();
    stack.accounts.list(&nobody, "123", None, None).await.unwrap_err();
    stack.policies.replace(&owner, APP, not_a_policy()).await.unwrap_err();
    let events = stack.admin_events().split_off(seen);
    let shapes: Vec<_> = events.iter().map(shape).collect();
    let (iap, iam) = ("iap.googleapis.com", "iam.googleapis.com");
    let of = |service: &str, method: &str, kind, code, asked: &[(&str, bool)]| {
        let asked = asked.iter().map(|(name, granted)| ((*name).to_owned(), *granted)).collect::<Vec<_>>();
        (service.to_owned(), method.to_owned(), kind, code, asked)
    };
    let set = "iap.webServices.setIamPolicy";
    #[rustfmt::skip]
    assert_eq!(shapes, [
        of(iap, "SetIamPolicy",        AdminKind::Write, 0, &[(set, true)]),
        of(iap, "SetIamPolicy",        AdminKind::Write, 7, &[(set, false)]),
        of(iap, "GetIamPolicy",        AdminKind::Read,  0, &[("iap.webServices.getIamPolicy", true)]),
        of(iam, "ListServiceAccounts", AdminKind::Read,  7, &[("iam.serviceAccounts.list", false)]),
        of(iap, "SetIamPolicy",        AdminKind::Write, 3, &[(set, true)]),
    ]);
    let change = &events[0];
    assert_eq!(change.caller.as_deref(), Some("user:owner@example.com"));
    assert_eq!((change.peer.as_deref(), change.user_agent.as_deref()), (Some("192.0.2.7"), Some("gcloud/1\\n")));
    assert_eq!(change.resource, "projects/123/iap_web/compute/services/777");
    assert_eq!(change.before, Some(json!({"etag": "ACAB"})));
    let after = change.after.clone().unwrap();
    assert_eq!(after["bindings"][0]["members"], json!(["user:a@x.com"]));
    assert_eq!(events[1].after, None, "nothing came of it");
    assert!(events.iter().all(|event| event.id.len() == 22 && event.time == stack.now()));
}

/// A record that is full.
struct Closed;

#[async_trait]
impl AuditSink for Closed {
    async fn record(&self, _: AuditEvent) -> Result<(), AuditClosed> {
        Err(AuditClosed)
    }

    async fn record_durably(&self, _: AuditEvent) -> Result<(), AuditClosed> {
        Err(AuditClosed)
    }

    async fn written(&self) -> Result<(), AuditClosed> {
        Err(AuditClosed)
    }

    fn is_open(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn nothing_is_changed_that_cannot_be_recorded() {
    let stack = Stack::new().await;
    let gate = Gate::new(stack.publisher.cell(), stack.clock.clone());
    let changes = Changes::new(gate, Arc::new(Closed), stack.entropy.clone());
    let policies = Policies::new(stack.store.clone(), stack.publisher.clone(), changes);
    let before = stack.get_policy(APP).await.unwrap();
    let request = SetIamPolicyRequest { policy: Policy::default(), update_mask: None };
    assert_eq!(cause(&policies.replace(&stack.admin, APP, request).await.unwrap_err()), "AuditClosed");
    assert_eq!(stack.get_policy(APP).await.unwrap(), before);
}

/// A failure of some status.
#[derive(Debug)]
struct Failed(Status);

impl std::fmt::Display for Failed {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

impl From<AdminError> for Failed {
    fn from(error: AdminError) -> Self {
        Failed(error.status())
    }
}

impl Failure for Failed {
    fn status(&self) -> Status {
        self.0
    }
}

/// A record that keeps apart what had to be written before the answer.
#[derive(Default)]
struct Apart {
    durable: RecordedEvents,
    others: RecordedEvents,
}

#[async_trait]
impl AuditSink for Apart {
    async fn record(&self, event: AuditEvent) -> Result<(), AuditClosed> {
        self.others.record(event).await
    }

    async fn record_durably(&self, event: AuditEvent) -> Result<(), AuditClosed> {
        self.durable.record(event).await
    }

    async fn written(&self) -> Result<(), AuditClosed> {
        Ok(())
    }

    fn is_open(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_change_that_may_stand_is_recorded_before_the_answer_with_what_it_may_have_made() {
    let stack = Stack::new().await;
    let (write, data) = (Method::write("s", "Change"), Method::write_data("s", "Change"));
    #[rustfmt::skip]
    let cases = [
        // method, outcome => recorded before the answer, what is there now
        (write,                      None,                        true,  true),
        (data,                       None,                        true,  true),
        (write,                      Some(Status::Internal),      true,  true),
        (data,                       Some(Status::Internal),      true,  true),
        (write,                      Some(Status::Aborted),       false, false),
        (data,                       Some(Status::AlreadyExists), false, false),
        (Method::read("s", "Read"),  Some(Status::Internal),      false, true),
    ];
    for (method, failed, durably, with_after) in cases {
        let apart = Arc::new(Apart::default());
        let gate = Gate::new(stack.publisher.cell(), stack.clock.clone());
        let changes = Changes::new(gate, apart.clone(), stack.entropy.clone());
        let mut call = changes.begin(&stack.admin, method, "x").unwrap();
        call.changes(Some(&"old"), Some(&"new"));
        let outcome = call.finish::<(), Failed>(failed.map_or(Ok(()), |status| Err(Failed(status)))).await;
        assert_eq!(outcome.err().map(|error| error.0), failed);
        let (now, later) = (apart.durable.events(), apart.others.events());
        assert_eq!((now.len(), later.len()), if durably { (1, 0) } else { (0, 1) }, "{method:?} {failed:?}");
        let Some(AuditEvent::Admin(event)) = now.into_iter().chain(later).next() else { panic!("no event") };
        assert_eq!(event.code, failed.map_or(0, Status::number), "{method:?}");
        assert_eq!((event.before, event.after), (Some(json!("old")), with_after.then(|| json!("new"))), "{method:?}");
    }
}

#[tokio::test]
async fn each_method_of_iap_has_an_entry_in_the_log_in_which_google_writes_it() {
    let stack = Stack::new().await;
    let (admin, groups, page) = (&stack.admin, stack.dest_groups(), Default::default());
    let at = |location| Location { project: "123", location };
    stack.policies.get(admin, APP, 3).await.unwrap();
    let request = SetIamPolicyRequest { policy: Policy::default(), update_mask: None };
    stack.policies.replace(admin, APP, request).await.unwrap();
    stack.policies.test_permissions(admin, APP, &[]).await.unwrap();
    stack.settings.get(admin, APP).await.unwrap();
    stack.settings.update(admin, APP, IapSettings::default(), None).await.unwrap();
    stack.settings.validate_expression(admin, APP, "attributes.iap_attributes").await.unwrap();
    groups.create(admin, at("l"), "prod", Default::default()).await.unwrap();
    groups.get(admin, at("l"), "prod").await.unwrap();
    groups.list(admin, at("l"), &page).await.unwrap();
    groups.update(admin, at("l"), "prod", Default::default(), "").await.unwrap();
    groups.delete(admin, at("l"), "prod").await.unwrap();
    let mut found: Vec<(String, String)> = Vec::new();
    for event in stack.admin_events() {
        assert_eq!((event.service.as_str(), event.code), ("iap.googleapis.com", 0), "{}", event.method);
        let log = match event.kind {
            AdminKind::Write => AuditLogName::Activity,
            AdminKind::Read | AdminKind::DataWrite => AuditLogName::DataAccess,
        };
        found.push((event.method, format!("{log:?}")));
    }
    let google = IAP_ADMIN_METHODS.map(|(name, log)| (format!("{IAP_ADMIN_SERVICE}.{name}"), format!("{log:?}")));
    let mut google = Vec::from(google);
    found.sort();
    google.sort();
    assert_eq!(found, google);
    let writes = stack.admin_events().into_iter().filter(|event| event.kind == AdminKind::DataWrite);
    let names: Vec<String> = writes.map(|it| it.method.rsplit('.').next().unwrap().to_owned()).collect();
    let expected = [
        "UpdateIapSettings",
        "ValidateIapAttributeExpression",
        "CreateTunnelDestGroup",
        "UpdateTunnelDestGroup",
        "DeleteTunnelDestGroup",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_call_whose_client_hangs_up_is_recorded_as_one_of_which_nothing_is_known() {
    let stack = Stack::new().await;
    for (method, recorded) in
        [(Method::write("s", "Change"), 1), (Method::look("s", "Look"), 0), (Method::read("s", "Read"), 1)]
    {
        let before = stack.admin_events().len();
        let mut call = stack.changes.begin(&stack.admin, method, "x").unwrap();
        call.demand(Permission::ListKeys, &Resource::Project).unwrap();
        drop(call);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let events = stack.admin_events().split_off(before);
        assert_eq!(events.iter().map(|event| event.code).collect::<Vec<_>>(), vec![2; recorded], "{method:?}");
        let call = stack.changes.begin(&stack.admin, method, "x").unwrap();
        call.finish::<(), Failed>(Ok(())).await.unwrap();
        assert_eq!(stack.admin_events().len(), before + 2 * recorded, "{method:?}");
    }
    stack.clock.advance(Duration::ZERO);
}

/// A record whose queue is full until it is opened.
struct Behind {
    room: tokio::sync::Semaphore,
    events: RecordedEvents,
}

#[async_trait]
impl AuditSink for Behind {
    async fn record(&self, event: AuditEvent) -> Result<(), AuditClosed> {
        let _room = self.room.acquire().await.map_err(|_| AuditClosed)?;
        self.events.record(event).await
    }

    async fn record_durably(&self, event: AuditEvent) -> Result<(), AuditClosed> {
        self.record(event).await
    }

    async fn written(&self) -> Result<(), AuditClosed> {
        Ok(())
    }

    fn is_open(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_change_whose_client_hangs_up_while_the_record_is_behind_is_recorded_with_what_came_of_it() {
    let stack = Stack::new().await;
    let behind = Arc::new(Behind { room: tokio::sync::Semaphore::new(0), events: Default::default() });
    let gate = Gate::new(stack.publisher.cell(), stack.clock.clone());
    let changes = Changes::new(gate, behind.clone(), stack.entropy.clone());
    let call = changes.begin(&stack.admin, Method::write("s", "Change"), "x").unwrap();
    let mut finishing = Box::pin(call.finish::<(), Failed>(Ok(())));
    assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(finishing.as_mut().poll(cx).is_pending())).await);
    drop(finishing);
    behind.room.add_permits(1);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let events = behind.events.events();
    let [AuditEvent::Admin(event)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((event.code, event.method.as_str()), (0, "Change"));
}
