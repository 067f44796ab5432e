//! Answers to *why*: one decision with everything that was considered, who can, and what somebody can. By the engine that decides.

mod own;
mod shown;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use doorward_core::audit::{Decision, Outcome, Reason};
use doorward_core::clock::Timestamp;
use doorward_core::member::{Member, MemberError};
use doorward_core::policy::condition::Budget;
use doorward_core::policy::path::{RequestPath, check_path};
use doorward_core::policy::request::{AuthenticationStrength, HttpRequest, RequestContext, ResourceAttributes};
use doorward_core::policy::{Holder, Lineage, Permission, Principal, Question, Standing, principal_of};
use doorward_core::resource::{Host, Resource};
use doorward_core::snapshot::{ProtectedResource, Snapshot};
use doorward_core::store::{Store, StoreError};
use doorward_wire::doorward_api::{
    Circumstances, ExplainRequest, ExplainResponse, ExplainedPrincipal, ExplainedResource, Grant,
    Question as AskedQuestion, ReachableApplication, RecordedDecision, Verdict, WhatCanRequest, WhatCanResponse,
    WhoCanRequest, WhoCanResponse,
};
use doorward_wire::google_api::Status;
use doorward_wire::time::{parse_rfc3339, rfc3339};
use serde_json::{Map, Value};

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method};
use crate::applications::hosts_of;
use crate::snapshots::{RefreshError, SnapshotPublisher};

pub use own::OwnDecision;

const OURS: &str = "doorward";
const EXPLAIN: Method = Method::look(OURS, "doorward.v1.Decisions.Explain");
const WHO_CAN: Method = Method::look(OURS, "doorward.v1.Decisions.WhoCan");
const WHAT_CAN: Method = Method::look(OURS, "doorward.v1.Decisions.WhatCan");

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The caller may not.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Neither a decision nor a question, or both.
    #[error("ask about a decision by its id, or about a principal and a question")]
    NoQuestion,
    /// Neither a URL nor a resource, or both.
    #[error("a question is about a URL or about a resource")]
    NoTarget,
    /// Not a member.
    #[error("{member:?}: {error}")]
    Member {
        /// As it was sent.
        member: String,
        /// Why.
        error: MemberError,
    },
    /// Not an absolute URL of http or https.
    #[error("{0:?} is no URL of an application: write https://HOST/PATH")]
    Url(String),
    /// Not a permission.
    #[error("there is no permission {0:?}")]
    Permission(String),
    /// Not a time.
    #[error("{0:?} is no time: write 2026-11-25T20:51:17Z")]
    Time(String),
    /// Not an address.
    #[error("{0:?} is no IP address")]
    SourceIp(String),
    /// There is no decision of that id, or it is no longer kept.
    #[error("there is no decision {0:?}, or it is no longer kept")]
    NoDecision(String),
    /// The store failed.
    #[error("could not read decisions or policies")]
    Store(#[from] StoreError),
    /// It is not known whether what is in force is what is stored.
    #[error("could not put in force what is stored")]
    Refresh(#[from] RefreshError),
}

impl Failure for ExplainError {
    fn status(&self) -> Status {
        use ExplainError as E;
        match self {
            E::Admin(error) => error.status(),
            E::NoQuestion
            | E::NoTarget
            | E::Member { .. }
            | E::Url(_)
            | E::Permission(_)
            | E::Time(_)
            | E::SourceIp(_) => Status::InvalidArgument,
            E::NoDecision(_) => Status::NotFound,
            E::Store(_) | E::Refresh(_) => Status::Internal,
        }
    }
}

/// Explains decisions.
pub struct Explanations {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
}

/// Who is asked about: the member, and what it is besides. Empty: nobody.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subject(Vec<Member>);

impl Subject {
    /// Somebody whom a policy could name. A principal from elsewhere is one of all of its pool or issuer besides.
    pub(crate) fn of(member: Member) -> Self {
        let all = match &member {
            Member::Principal(name) => name.rsplit_once("/subject/").map(|(of, _)| format!("{of}/*")),
            Member::User(_)
            | Member::ServiceAccount(_)
            | Member::Group(_)
            | Member::Domain(_)
            | Member::PrincipalSet(_)
            | Member::Deleted(_)
            | Member::AllAuthenticatedUsers
            | Member::AllUsers => None,
        };
        Subject(std::iter::once(member).chain(all.map(Member::PrincipalSet)).collect())
    }

    /// Whoever a decision was about, as it was recorded.
    pub(crate) fn recorded(decision: &Decision) -> Result<Self, MemberError> {
        let Some(caller) = &decision.caller else { return Ok(Subject::default()) };
        let texts = std::iter::once(caller).chain(&decision.members);
        let mut members: Vec<Member> = Vec::new();
        for text in texts {
            let member = text.parse()?;
            if !members.contains(&member) {
                members.push(member);
            }
        }
        Ok(match members.as_slice() {
            [Member::Principal(_)] => Subject::of(members.swap_remove(0)),
            _ => Subject(members),
        })
    }

    /// As decisions see them.
    pub(crate) fn principal(&self) -> Principal<'_> {
        match self.0.as_slice() {
            [] => Principal::Anonymous,
            [one] => principal_of(one),
            several => Principal::Foreign(several),
        }
    }

    /// The member that names them best.
    pub(crate) fn member(&self) -> Option<&Member> {
        self.0.first()
    }

    /// Everything that stands for them by itself, groups not counted.
    fn stands_for(&self) -> Vec<Member> {
        match self.principal() {
            Principal::User(email) => vec![Member::User(email.clone()), Member::Domain(email.domain().to_owned())],
            Principal::ServiceAccount(_) | Principal::Foreign(_) | Principal::Anonymous => self.0.clone(),
        }
    }

    /// Every member by which a policy names them.
    pub(crate) fn names(&self, snapshot: &Snapshot) -> Vec<Member> {
        let mut names = self.stands_for();
        names.extend(snapshot.groups.of_members(&names).into_iter().map(Member::Group));
        match self.principal() {
            Principal::User(_) | Principal::ServiceAccount(_) => names.push(Member::AllAuthenticatedUsers),
            Principal::Foreign(_) | Principal::Anonymous => {}
        }
        names.push(Member::AllUsers);
        names
    }

    fn explained(&self, snapshot: &Snapshot) -> ExplainedPrincipal {
        let groups = snapshot.groups.of_members(&self.stands_for());
        ExplainedPrincipal {
            member: self.member().map(Member::to_string).unwrap_or_default(),
            groups: groups.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What is known of a request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) time: Timestamp,
    pub(crate) method: String,
    pub(crate) place: Option<(Host, String)>,
    pub(crate) source_ip: Option<IpAddr>,
    pub(crate) headers: Option<BTreeMap<String, String>>,
    pub(crate) claims: Option<Map<String, Value>>,
}

impl Request {
    /// As it was recorded; `None` if the record has not all of it: what is escaped or cut is not what was sent.
    pub(crate) fn recorded(decision: &Decision) -> Option<Self> {
        const HOST_LIMIT: usize = 255;
        const PATH_LIMIT: usize = 1024;
        let whole = |text: &str, limit: usize| text.len() < limit && !text.contains('\\');
        let host = Host::parse(&decision.host).ok().filter(|_| whole(&decision.host, HOST_LIMIT))?;
        let path = Some(decision.path.clone()).filter(|path| whole(path, PATH_LIMIT))?;
        Some(Request {
            time: decision.time,
            method: decision.method.clone(),
            place: Some((host, path)),
            source_ip: decision.client.parse().ok(),
            headers: None,
            claims: None,
        })
    }

    fn supposed(question: &AskedQuestion, now: Timestamp) -> Result<Self, ExplainError> {
        let Circumstances { time, source_ip, headers, claims } = question.circumstances.clone();
        let time = match time {
            None => now,
            Some(text) => Timestamp::from_micros(parse_rfc3339(&text).ok_or(ExplainError::Time(text))?),
        };
        let source_ip = match source_ip {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| ExplainError::SourceIp(text))?),
        };
        let method = if question.method.is_empty() { "GET" } else { question.method.as_str() };
        let lower = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        Ok(Request {
            time,
            method: method.to_owned(),
            place: if question.url.is_empty() { None } else { Some(read_url(&question.url)?) },
            source_ip,
            headers: Some(lower.collect()).filter(|headers: &BTreeMap<_, _>| !headers.is_empty()),
            claims: Some(claims.into_iter().collect()).filter(|claims: &Map<_, _>| !claims.is_empty()),
        })
    }

    /// As conditions see it.
    pub(crate) fn context<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        subject: &'a Subject,
        resource: ResourceAttributes<'a>,
    ) -> RequestContext<'a> {
        let mut context = RequestContext::new(self.time).with_access_levels(&snapshot.access_levels);
        context.http = self.place.as_ref().map(|(host, path)| HttpRequest {
            host,
            path: RequestPath::new(path),
            method: &self.method,
            headers: self.headers.as_ref().map(|headers| headers as _),
        });
        context.source_ip = self.source_ip;
        context.principal = subject.member().map(|member| member as _);
        context.claims = self.claims.as_ref();
        let methods = self.claims.as_ref().and_then(|claims| claims.get("amr")).and_then(Value::as_array);
        context.strength =
            methods.and_then(|methods| AuthenticationStrength::of_methods(methods.iter().filter_map(Value::as_str)));
        context.resource = Some(resource);
        context
    }
}

/// Host and path of a URL. A query and a fragment are passed over: no condition reads them.
fn read_url(url: &str) -> Result<(Host, String), ExplainError> {
    let wrong = || ExplainError::Url(url.to_owned());
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).ok_or_else(wrong)?;
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let host = Host::parse(authority).map_err(|_| wrong())?;
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    Ok((host, path.to_owned()))
}

/// Where something is decided.
pub(crate) struct Target {
    pub(crate) name: Arc<str>,
    pub(crate) lineage: Lineage,
    pub(crate) application: Option<Arc<ProtectedResource>>,
}

impl Target {
    pub(crate) fn application(found: &Arc<ProtectedResource>) -> Self {
        Target { name: found.version_name.clone(), lineage: found.lineage.clone(), application: Some(found.clone()) }
    }

    fn resource(resource: &Resource, snapshot: &Snapshot) -> Self {
        let is_it = |it: &&Arc<ProtectedResource>| it.service == *resource || *it.lineage.resource == *resource;
        Target {
            name: resource.name(&snapshot.project).into(),
            lineage: snapshot.lineage(resource),
            application: snapshot.applications().find(is_it).cloned(),
        }
    }

    pub(crate) fn attributes(&self) -> ResourceAttributes<'_> {
        let resource = &self.lineage.resource;
        ResourceAttributes { name: &self.name, kind: resource.type_name(), service: resource.service() }
    }

    fn explained(&self, snapshot: &Snapshot) -> ExplainedResource {
        let above = self.lineage.resource.lineage(&snapshot.project).into_iter().skip(1);
        ExplainedResource {
            name: self.name.to_string(),
            application: self.application.as_ref().map(|it| it.application.name.to_string()),
            ancestors: above.map(|node| node.name(&snapshot.project)).collect(),
        }
    }
}

impl Explanations {
    /// Explains by what is in force, and by the record in `store`.
    pub fn new(store: Arc<dyn Store>, publisher: Arc<SnapshotPublisher>, changes: Changes) -> Self {
        Explanations { store, publisher, changes }
    }

    /// Says why somebody may or may not do something: a decision that was recorded, decided again by what is in force now, or a
    /// question.
    pub async fn explain(&self, admin: &Admin, request: ExplainRequest) -> Result<ExplainResponse, ExplainError> {
        let about = match (&request.decision_id, &request.question) {
            (Some(id), _) => id.clone(),
            (None, Some(question)) if question.resource.is_empty() => question.url.clone(),
            (None, Some(question)) => question.resource.clone(),
            (None, None) => String::new(),
        };
        let mut call = self.changes.begin(admin, EXPLAIN, &about)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            match request {
                ExplainRequest { decision_id: Some(id), principal: None, question: None } => {
                    self.explain_recorded(&mut call, &id).await
                }
                ExplainRequest { decision_id: None, principal, question: Some(question) } => {
                    self.explain_supposed(&mut call, principal, &question)
                }
                ExplainRequest { .. } => Err(ExplainError::NoQuestion),
            }
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    fn explain_supposed(
        &self,
        call: &mut Call<'_>,
        principal: Option<String>,
        question: &AskedQuestion,
    ) -> Result<ExplainResponse, ExplainError> {
        let snapshot = self.publisher.cell().current();
        let found = find(call, &snapshot, question)?;
        let subject = principal.as_deref().map(read_member).transpose()?.map_or_else(Subject::default, Subject::of);
        let permission = read_permission(&question.permission)?;
        let request = Request::supposed(question, call.time())?;
        let Some(target) = found else {
            let refused = request.place.as_ref().and_then(|(_, path)| check_path(path).err());
            let smallest_change = refused.map(shown::another_path);
            return Ok(ExplainResponse { smallest_change, ..nowhere(&subject, permission, &snapshot) });
        };
        Ok(answer(&snapshot, &target, &subject, permission, &request))
    }

    async fn explain_recorded(&self, call: &mut Call<'_>, id: &str) -> Result<ExplainResponse, ExplainError> {
        let missing = || ExplainError::NoDecision(id.to_owned());
        let snapshot = self.publisher.cell().current();
        let decision = self.recorded(id).await?;
        let target = decision.as_ref().and_then(|decision| target_of(&snapshot, decision));
        let place = target.as_ref().map_or(Resource::Project, |target| (*target.lineage.resource).clone());
        call.demand_unnamed(Permission::ExplainDecisions, &place)?;
        let decision = decision.ok_or_else(missing)?;
        let (reason, detail) = match &decision.outcome {
            Outcome::Allowed { .. } => (None, None),
            Outcome::Refused { reason, detail, .. } => (Some(reason), Some(detail)),
        };
        let recorded = RecordedDecision {
            id: decision.id.clone(),
            time: rfc3339(decision.time.seconds()),
            allowed: reason.is_none(),
            reason: reason.map(|reason| reason.code().to_owned()),
            detail: detail.filter(|detail| !detail.is_empty()).cloned(),
            passed_policies: failed_after_policies(&decision),
        };
        let permission = Permission::AccessViaIap;
        let parts = (target, Subject::recorded(&decision).ok(), Request::recorded(&decision));
        let response = match parts {
            (Some(target), Some(subject), Some(request))
                if was_decided(&decision) || failed_after_policies(&decision) =>
            {
                answer(&snapshot, &target, &subject, permission, &request)
            }
            (target, subject, _) => {
                let resource = target.map(|target| target.explained(&snapshot)).unwrap_or_default();
                ExplainResponse { resource, ..nowhere(&subject.unwrap_or_default(), permission, &snapshot) }
            }
        };
        Ok(ExplainResponse { recorded: Some(recorded), ..response })
    }

    /// Everybody whom a policy names for something, and by which grants.
    pub async fn who_can(&self, admin: &Admin, request: WhoCanRequest) -> Result<WhoCanResponse, ExplainError> {
        let question = request.question;
        let about = if question.resource.is_empty() { &question.url } else { &question.resource };
        let mut call = self.changes.begin(admin, WHO_CAN, about)?;
        let outcome = async {
            self.publisher.catch_up().await?;
            let snapshot = self.publisher.cell().current();
            let found = find(&mut call, &snapshot, &question)?;
            let permission = read_permission(&question.permission)?;
            let asked = Request::supposed(&question, call.time())?;
            let Some(target) = found else { return Ok(WhoCanResponse::default()) };
            let nobody = Subject::default();
            let context = asked.context(&snapshot, &nobody, target.attributes());
            let context = context.with_budget(Budget::of_many_questions());
            let holders = snapshot.who_can(&target.lineage, permission, &context);
            Ok(WhoCanResponse {
                resource: target.name.to_string(),
                grants: holders.iter().flat_map(grants).collect(),
                deny_rules: deny_rules(&target.lineage, permission),
            })
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// The applications that somebody may enter, and everything else that policies give them.
    pub async fn what_can(&self, admin: &Admin, request: WhatCanRequest) -> Result<WhatCanResponse, ExplainError> {
        let mut call = self.changes.begin(admin, WHAT_CAN, &request.member)?;
        let outcome = self.found_for(&mut call, request).await;
        call.finish(outcome).await
    }

    async fn found_for(&self, call: &mut Call<'_>, request: WhatCanRequest) -> Result<WhatCanResponse, ExplainError> {
        self.publisher.catch_up().await?;
        call.demand(Permission::ExplainDecisions, &Resource::Project)?;
        let member = read_member(&request.member)?;
        let snapshot = self.publisher.cell().current();
        let context = RequestContext::new(call.time())
            .with_access_levels(&snapshot.access_levels)
            .with_budget(Budget::of_many_questions());
        let reachable = snapshot.what_can(&member, Permission::AccessViaIap, &context);
        let applications = reachable.iter().filter(|(_, holder)| holder.standing != Standing::Denied);
        let applications = applications.map(|(protected, holder)| ReachableApplication {
            application: protected.application.name.to_string(),
            hosts: hosts_of(&protected.application),
            grants: grants(holder).collect(),
        });
        let applications: Vec<ReachableApplication> = applications.collect();
        let names = Subject::of(member).names(&snapshot);
        let mut held = Vec::new();
        for (resource, policy) in self.store.policies().await? {
            for binding in policy.bindings {
                // Those are told with the applications.
                let role = snapshot.roles.find(&binding.role);
                if role.is_some_and(|role| role.permissions().contains(Permission::AccessViaIap)) {
                    continue;
                }
                let named = binding.members.iter().filter(|member| names.contains(member));
                held.extend(named.map(|member| Grant {
                    member: member.to_string(),
                    role: binding.role.shown(&snapshot.project),
                    resource: resource.clone(),
                    condition: binding.condition.as_ref().map(|condition| condition.expression.clone()),
                }));
            }
        }
        let lineage = snapshot.lineage(&Resource::Project);
        let mut rules = Vec::new();
        for node in lineage.deny() {
            let naming = node.rules.iter().enumerate().filter(|(_, rule)| {
                let listed = |list: &[Member]| list.iter().any(|member| names.contains(member));
                listed(&rule.rule.denied_principals) && !listed(&rule.rule.exception_principals)
            });
            rules.extend(naming.map(|(place, _)| rule_name(&node.name, place)));
        }
        Ok(WhatCanResponse { member: request.member, applications, grants: held, deny_rules: rules })
    }
}

/// Whether policies let a request in, and it was refused for what failed after them.
fn failed_after_policies(decision: &Decision) -> bool {
    match &decision.outcome {
        Outcome::Allowed { .. } => false,
        Outcome::Refused { reason, .. } => matches!(reason, Reason::CannotSign | Reason::UpstreamFailed),
    }
}

/// Whether policies decided what was decided.
pub(crate) fn was_decided(decision: &Decision) -> bool {
    match &decision.outcome {
        Outcome::Allowed { .. } => true,
        Outcome::Refused { reason, .. } => match reason {
            Reason::PermissionDenied | Reason::DeniedByRule | Reason::NoCredential | Reason::IapDisabled => true,
            Reason::BadRequest
            | Reason::BadHeaderValue
            | Reason::BadHost
            | Reason::BadPath
            | Reason::NoSuchResource
            | Reason::AmbiguousCredential
            | Reason::InvalidToken
            | Reason::JwtAlg
            | Reason::TokenTooLarge
            | Reason::WrongTokenKind
            | Reason::WrongAudience
            | Reason::ExpiredToken
            | Reason::TokenNotYetValid
            | Reason::MissingEmail
            | Reason::StaleGrants
            | Reason::CannotSign
            | Reason::KeysUnavailable
            | Reason::UpstreamFailed
            | Reason::CannotRecord => false,
        },
    }
}

/// The application that a decision was about, if it is there.
pub(crate) fn target_of(snapshot: &Snapshot, decision: &Decision) -> Option<Target> {
    let name = decision.version.as_deref().or(decision.resource.as_deref())?;
    let is_it = |it: &&Arc<ProtectedResource>| *it.version_name == *name || *it.name == *name;
    snapshot.applications().find(is_it).map(Target::application)
}

/// Finds what a question is about, for somebody who may explain decisions there. `None`: nothing is served at the URL, or its path is refused.
fn find(call: &mut Call<'_>, snapshot: &Snapshot, question: &AskedQuestion) -> Result<Option<Target>, ExplainError> {
    match (question.url.as_str(), question.resource.as_str()) {
        ("", "") => {
            call.demand(Permission::ExplainDecisions, &Resource::Project)?;
            Err(ExplainError::NoTarget)
        }
        ("", name) => {
            let place = call.reach(name, |_| Permission::ExplainDecisions)?;
            Ok(Some(Target::resource(place.resource(), snapshot)))
        }
        (url, "") => {
            let read = read_url(url);
            let served = read.as_ref().ok().and_then(|(host, path)| snapshot.served_at(host, path).ok());
            let place = served.map_or(Resource::Project, |(_, found)| (*found.lineage.resource).clone());
            call.demand_unnamed(Permission::ExplainDecisions, &place)?;
            let (_, path) = read?;
            // Of a path that is refused before, no policy is asked.
            let served = served.filter(|_| check_path(&path).is_ok());
            Ok(served.map(|(_, found)| Target::application(found)))
        }
        (_, _) => {
            call.demand(Permission::ExplainDecisions, &Resource::Project)?;
            Err(ExplainError::NoTarget)
        }
    }
}

fn read_member(text: &str) -> Result<Member, ExplainError> {
    text.parse().map_err(|error| ExplainError::Member { member: text.to_owned(), error })
}

fn read_permission(text: &str) -> Result<Permission, ExplainError> {
    match text {
        "" => Ok(Permission::AccessViaIap),
        text => text.parse().map_err(|_| ExplainError::Permission(text.to_owned())),
    }
}

/// The answer where no policy is asked.
fn nowhere(subject: &Subject, permission: Permission, snapshot: &Snapshot) -> ExplainResponse {
    ExplainResponse {
        verdict: Verdict::Refused,
        recorded: None,
        resource: ExplainedResource::default(),
        principal: subject.explained(snapshot),
        permission: permission.name().to_owned(),
        deny_rules: Vec::new(),
        bindings: Vec::new(),
        access_levels: Vec::new(),
        settings: Vec::new(),
        smallest_change: None,
    }
}

fn answer(
    snapshot: &Snapshot,
    target: &Target,
    subject: &Subject,
    permission: Permission,
    request: &Request,
) -> ExplainResponse {
    let context = request.context(snapshot, subject, target.attributes());
    let question = Question { principal: subject.principal(), permission, context: &context };
    let explanation = snapshot.explain(&target.lineage, &question);
    let through_door = permission == Permission::AccessViaIap;
    let closed = target.application.as_ref().filter(|it| through_door && !it.application.iap_enabled);
    let verdict = match (closed, &explanation.verdict) {
        (Some(_), _) => Verdict::Refused,
        (None, verdict) => shown::verdict(verdict),
    };
    let smallest_change = match closed {
        Some(closed) => Some(shown::enable(closed.application.name.as_str())),
        None => shown::smallest_change(&explanation.remedies),
    };
    ExplainResponse {
        verdict,
        recorded: None,
        resource: target.explained(snapshot),
        principal: subject.explained(snapshot),
        permission: permission.name().to_owned(),
        deny_rules: shown::deny_rules(&target.lineage, &explanation),
        bindings: shown::bindings(snapshot, &explanation),
        access_levels: shown::access_levels(snapshot, &target.lineage, &context),
        settings: shown::settings(snapshot, target),
        smallest_change,
    }
}

fn grants(holder: &Holder) -> impl Iterator<Item = Grant> {
    holder.by.iter().map(|(resource, role, condition)| Grant {
        member: holder.member.to_string(),
        role: role.to_string(),
        resource: resource.to_string(),
        condition: condition.as_ref().map(|condition| condition.expression.clone()),
    })
}

/// The rules that forbid something to somebody.
fn deny_rules(lineage: &Lineage, permission: Permission) -> Vec<String> {
    let mut names = Vec::new();
    for node in lineage.deny() {
        let forbidding = node.rules.iter().enumerate().filter(|(_, rule)| rule.permissions.contains(permission));
        names.extend(forbidding.map(|(place, _)| rule_name(&node.name, place)));
    }
    names
}

fn rule_name(policy: &str, rule: usize) -> String {
    format!("{policy} rule {rule}")
}
