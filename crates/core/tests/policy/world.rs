//! A world in words: what tests say instead of structures.

use std::sync::Arc;

use doorward_core::clock::Timestamp;
use doorward_core::issuer::TrustedIssuers;
use doorward_core::keys::KeyRing;
use doorward_core::member::{Email, Member};
use doorward_core::policy::condition::{HeaderAllowList, Schema};
use doorward_core::policy::path::RequestPath;
use doorward_core::policy::request::{HttpRequest, RequestContext};
use doorward_core::policy::{
    Binding, ConditionText, DenyPolicy, DenyPolicyName, DenyRule, Etag, Policy, Principal, read_principal_v2,
};
use doorward_core::resource::{
    Ancestor, Application, ClientId, Host, Origin, Project, Resource, Route, Scheme, ServiceKind, ServiceType,
};
use doorward_core::settings::{Defaults, EmailClaim};
use doorward_core::snapshot::{Fixed, Snapshot, Update};

pub(crate) fn project() -> Project {
    let ancestors = vec![Ancestor::Folder("20".into()), Ancestor::Organization("10".into())];
    Project { id: "dev-project".into(), number: "1".into(), ancestors }
}

pub(crate) fn empty() -> Snapshot {
    Snapshot::empty(Fixed {
        project: project(),
        schema: Arc::new(Schema::policy(HeaderAllowList::default())),
        defaults: Defaults { email_claim: EmailClaim::Required, forward_credential: false },
        keys: Arc::new(KeyRing::new(&[]).unwrap()),
        trusted_issuers: Arc::new(TrustedIssuers::default()),
    })
}

/// `org`, `folder`, `project`, `web`, `type`, the name of an application, `NAME:version`, or a canonical name.
pub(crate) fn resource(name: &str) -> Resource {
    let compute = || ServiceType::Compute { region: None };
    match name {
        "org" => Resource::Organization("10".into()),
        "folder" => Resource::Folder("20".into()),
        "project" => Resource::Project,
        "web" => Resource::Web,
        "type" => Resource::WebType(compute()),
        _ if name.contains('/') => Resource::from_canonical(name, &project()).unwrap(),
        _ => match name.split_once(':') {
            Some((app, _)) => Resource::WebServiceVersion(compute(), number(app), "bs_0".into()),
            None => Resource::WebService(compute(), number(name)),
        },
    }
}

/// The number of an application is made of its name.
pub(crate) fn number(name: &str) -> String {
    name.bytes().map(|byte| byte.to_string()).collect()
}

/// An application at `HOST/PREFIX` places.
pub(crate) fn application(name: &str, places: &[&str]) -> Update {
    let route = |place: &&str| {
        let (host, prefix) = place.split_at(place.find('/').unwrap());
        let origin = Origin::new(Scheme::Https, &Host::parse(host).unwrap());
        Route { origin, prefix: prefix.parse().unwrap() }
    };
    let application = Application {
        name: name.parse().unwrap(),
        service_id: number(name),
        kind: ServiceKind::BackendService { region: None },
        client_id: ClientId("client".into()),
        iap_enabled: true,
        routes: places.iter().map(route).collect(),
        upstreams: vec![],
        description: String::new(),
        labels: Default::default(),
        etag: Etag(1),
    };
    Update::Application(number(name), Some(application))
}

/// `ROLE: MEMBER MEMBER` or `ROLE: MEMBER if CONDITION`; a role without a slash is `roles/iap.ROLE`.
pub(crate) fn binding(text: &str) -> Binding {
    let (text, condition) = text.split_once(" if ").map_or((text, None), |(text, condition)| (text, Some(condition)));
    let (role, members) = text.split_once(": ").unwrap();
    let role = if role.contains('/') { role.to_owned() } else { format!("roles/iap.{role}") };
    Binding {
        role: role.parse().unwrap(),
        members: members.split(' ').map(|member| member.parse().unwrap()).collect(),
        condition: condition.map(condition_text),
    }
}

fn condition_text(expression: &str) -> ConditionText {
    ConditionText { expression: expression.to_owned(), title: "when".into(), ..ConditionText::default() }
}

pub(crate) fn policy(node: &str, bindings: &[&str]) -> Update {
    let bindings = bindings.iter().map(|text| binding(text)).collect();
    Update::Policy(resource(node), Policy { bindings, etag: Etag(1) })
}

pub(crate) fn member(group: &str, member: &str, present: bool) -> Update {
    Update::GroupMember { group: group.parse().unwrap(), member: member.parse().unwrap(), present }
}

/// `PERMISSIONS: MEMBERS except MEMBERS if CONDITION`, of which all but the first two may be missing.
pub(crate) fn deny(node: &str, id: &str, rule: &str) -> Update {
    let name = DenyPolicyName { attachment: resource(node), id: id.to_owned() };
    let (rule, condition) = rule.split_once(" if ").map_or((rule, None), |(text, condition)| (text, Some(condition)));
    let (rule, exceptions) = rule.split_once(" except ").unwrap_or((rule, ""));
    let (permissions, denied) = rule.split_once(": ").unwrap();
    let members = |text: &str| text.split_whitespace().map(|text| read_principal_v2(text).unwrap()).collect();
    let rule = DenyRule {
        description: String::new(),
        denied_principals: members(denied),
        exception_principals: members(exceptions),
        denied_permissions: permissions.split(' ').map(|text| text.parse().unwrap()).collect(),
        exception_permissions: vec![],
        condition: condition.map(condition_text),
    };
    let at = Timestamp::from_seconds(1);
    let policy = DenyPolicy {
        name: name.clone(),
        uid: id.to_owned(),
        display_name: String::new(),
        rules: vec![rule],
        created: at,
        updated: at,
        etag: Etag(1),
    };
    Update::DenyPolicy(name, Some(policy))
}

/// Somebody who asks: `nobody`, `user:…`, `serviceAccount:…`, or members from elsewhere joined by `+`.
pub(crate) enum Caller {
    Nobody,
    User(Email),
    ServiceAccount(Email),
    Foreign(Vec<Member>),
}

impl Caller {
    pub(crate) fn new(text: &str) -> Self {
        match text.split_once(':') {
            None => Caller::Nobody,
            Some(("user", email)) => Caller::User(email.parse().unwrap()),
            Some(("serviceAccount", email)) => Caller::ServiceAccount(email.parse().unwrap()),
            Some(_) => Caller::Foreign(text.split('+').map(|member| member.parse().unwrap()).collect()),
        }
    }

    pub(crate) fn principal(&self) -> Principal<'_> {
        match self {
            Caller::Nobody => Principal::Anonymous,
            Caller::User(email) => Principal::User(email),
            Caller::ServiceAccount(email) => Principal::ServiceAccount(email),
            Caller::Foreign(members) => Principal::Foreign(members),
        }
    }
}

/// A request for a path of `app.example`.
pub(crate) fn request<'a>(host: &'a Host, path: &'a str) -> RequestContext<'a> {
    let mut context = RequestContext::new(Timestamp::from_seconds(1_800_000_000));
    context.http = Some(HttpRequest { host, path: RequestPath::new(path), method: "GET", headers: None });
    context
}
