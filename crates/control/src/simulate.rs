//! Trying a policy before it bites: recorded decisions, decided again as they would be with a proposed file.
//!
//! They are compared with what is in force now, and not with what came of them then: whatever was changed since counts on both sides.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use doorward_core::access_level::{AccessLevelError, AccessLevels};
use doorward_core::audit::{AuditEvent, Decision};
use doorward_core::clock::Timestamp;
use doorward_core::policy::condition::Condition;
use doorward_core::policy::{Etag, Lineage, Permission, Policy, Question};
use doorward_core::resource::Resource;
use doorward_core::snapshot::{ProtectedResource, Snapshot, Update};
use doorward_core::store::{Store, StoreError};
use doorward_wire::doorward_api::{ChangedDecision, DecisionExample, SimulateRequest, SimulateResponse};
use doorward_wire::google_api::Status;
use doorward_wire::time::{parse_rfc3339, rfc3339};
use tokio::sync::Semaphore;

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method};
use crate::explain::{Request, Subject, Target, was_decided};
use crate::snapshots::{RefreshError, SnapshotPublisher};
use crate::tasks::{Stopping, join};
use crate::world::{Names, Stated, WHOLE_WORLD, WorldError, read};

const SIMULATE: Method = Method::look("doorward", "doorward.v1.Decisions.Simulate");

/// Events that are read at once.
const PAGE: u32 = 1000;
/// Examples of one caller at one resource, at most.
pub const EXAMPLES_LIMIT: usize = 3;

/// What is not in the record: a condition on it cannot be evaluated again.
const NOT_RECORDED: [&str; 4] = ["request.auth.claims", "request.auth.strength", "request.headers", "device"];
/// What access levels are called where a condition reads them.
const ACCESS_LEVELS: &str = "request.auth.access_levels";

/// Why nothing was tried.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The caller may not.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Not a time.
    #[error("{0:?} is no time: write 2026-11-25T20:51:17Z")]
    Since(String),
    /// What is proposed cannot be.
    #[error(transparent)]
    Proposed(#[from] WorldError),
    /// The levels do not fit together.
    #[error(transparent)]
    AccessLevels(#[from] AccessLevelError),
    /// The store failed.
    #[error("could not read decisions")]
    Store(#[from] StoreError),
    /// It is not known whether what is in force is what is stored.
    #[error("could not put in force what is stored")]
    Refresh(#[from] RefreshError),
    /// The process is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl Failure for SimulateError {
    fn status(&self) -> Status {
        match self {
            SimulateError::Admin(error) => error.status(),
            SimulateError::Proposed(error) => error.status(),
            SimulateError::Since(_) | SimulateError::AccessLevels(_) => Status::InvalidArgument,
            SimulateError::Store(_) | SimulateError::Refresh(_) | SimulateError::Stopping(_) => Status::Internal,
        }
    }
}

/// Tries proposed policies on recorded decisions.
pub struct Simulations {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    /// One file at a time: reading its conditions fills a core.
    reading: Semaphore,
}

impl Simulations {
    /// On the record in `store`.
    pub fn new(store: Arc<dyn Store>, publisher: Arc<SnapshotPublisher>, changes: Changes) -> Self {
        Simulations { store, publisher, changes, reading: Semaphore::new(1) }
    }

    /// How long a file somebody may send, in bytes. To be asked before it is taken from the network, and held in memory.
    pub async fn longest_file(&self, admin: &Admin) -> Result<usize, SimulateError> {
        let mut call = self.changes.begin(admin, SIMULATE, &Resource::Project.name(self.publisher.project()))?;
        let outcome = async {
            self.publisher.catch_up().await?;
            call.demand(Permission::SimulateDecisions, &Resource::Project)?;
            Ok(WHOLE_WORLD)
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Who would newly be let in or refused. What the file does not name stays as it is. Takes some microseconds for each decision, where
    /// nothing else waits.
    pub async fn simulate(&self, admin: &Admin, request: SimulateRequest) -> Result<SimulateResponse, SimulateError> {
        let project = Resource::Project.name(self.publisher.project());
        let mut call = self.changes.begin(admin, SIMULATE, &project)?;
        let outcome = self.simulated(&mut call, request).await;
        call.finish(outcome).await
    }

    async fn simulated(
        &self,
        call: &mut Call<'_>,
        request: SimulateRequest,
    ) -> Result<SimulateResponse, SimulateError> {
        self.publisher.catch_up().await?;
        call.demand(Permission::SimulateDecisions, &Resource::Project)?;
        let mut after = match request.since {
            None => 0,
            Some(text) => {
                let since = parse_rfc3339(&text).ok_or(SimulateError::Since(text))?;
                self.store.sequence_before(Timestamp::from_micros(since)).await?
            }
        };
        let now = self.publisher.cell().current();
        let mut names = Names {
            project: self.publisher.project().clone(),
            applications: self.store.applications().await?,
            accounts: Vec::new(),
        };
        // Accounts are named by policies of theirs alone, which no decision on an application asks.
        let mut file = request.proposed;
        file.service_accounts = None;
        if let Some(policies) = &mut file.policies {
            policies.retain(|it| !matches!(it.resource, doorward_wire::world_file::WrittenResource::ServiceAccount(_)));
        }
        let _turn = self.reading.acquire().await.map_err(|_| Stopping)?;
        let schema = now.clone();
        let reading = tokio::task::spawn_blocking(move || read(&file, &mut names, schema.schema()));
        let stated = join(reading).await??;
        let updates = self.updates(&now, stated).await?;
        let (base, version) = (now.clone(), now.version + 1);
        let then = join(tokio::task::spawn_blocking(move || base.with(version, updates))).await?;
        let trial = Arc::new(Trial { now: World::new(now), then: World::new(Arc::new(then)) });
        let mut tally = Tally::default();
        loop {
            let page = self.store.events_after(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(tally.answer()) };
            after = last.sequence;
            let shared = trial.clone();
            let counting = tokio::task::spawn_blocking(move || {
                for stored in page {
                    if let AuditEvent::Decision(decision) = stored.event {
                        tally.count(&shared, &decision);
                    }
                }
                tally
            });
            tally = join(counting).await?;
        }
    }

    /// What is otherwise with the file.
    async fn updates(&self, now: &Snapshot, stated: Stated) -> Result<Vec<Update>, SimulateError> {
        let mut updates = Vec::new();
        let roles = stated.roles.into_iter().flatten();
        updates.extend(roles.map(|role| Update::Role(role.name.clone(), Some(role))));
        if let Some(levels) = stated.access_levels {
            let others = now.access_levels.levels().iter();
            let others = others.filter(|old| !levels.iter().any(|new| new.name() == old.name())).cloned();
            let all = others.chain(levels.iter().cloned()).collect();
            updates.push(Update::AccessLevels(Arc::new(AccessLevels::new(all)?)));
        }
        for (group, members) in stated.groups.into_iter().flatten() {
            let mut after = None;
            loop {
                let page = self.store.group_members(&group.email, after.as_ref(), PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.clone());
                let gone = page.into_iter().filter(|member| members.binary_search(member).is_err());
                updates.extend(gone.map(|member| Update::GroupMember {
                    group: group.email.clone(),
                    member,
                    present: false,
                }));
            }
            updates.push(Update::Group(group.email.clone(), true));
            updates.extend(members.into_iter().map(|member| Update::GroupMember {
                group: group.email.clone(),
                member,
                present: true,
            }));
        }
        let applications = stated.applications.into_iter().flatten();
        updates.extend(applications.map(|it| Update::Application(it.service_id.clone(), Some(it))));
        let settings = stated.settings.into_iter().flatten();
        updates.extend(settings.map(|(resource, settings)| Update::Settings(resource, Some(settings))));
        let deny = stated.deny_policies.into_iter().flatten();
        updates.extend(deny.map(|policy| Update::DenyPolicy(policy.name.clone(), Some(policy))));
        for (resource, bindings) in stated.policies.into_iter().flatten() {
            updates.push(Update::Policy(resource, Policy { bindings, etag: Etag::UNWRITTEN }));
        }
        Ok(updates)
    }
}

/// A snapshot, with its applications by the names of their versions and services.
struct World {
    snapshot: Arc<Snapshot>,
    applications: HashMap<Arc<str>, Arc<ProtectedResource>>,
}

impl World {
    fn new(snapshot: Arc<Snapshot>) -> Self {
        let named =
            |it: &Arc<ProtectedResource>| [(it.name.clone(), it.clone()), (it.version_name.clone(), it.clone())];
        let applications = snapshot.applications().flat_map(named).collect();
        World { snapshot, applications }
    }

    fn decide(&self, decision: &Decision, subject: &Subject, request: &Request) -> Answer {
        let name = decision.version.as_deref().or(decision.resource.as_deref());
        let Some(application) = name.and_then(|name| self.applications.get(name)) else { return Answer::Gone };
        if !application.application.iap_enabled {
            return Answer::Refused;
        }
        let target = Target::application(application);
        let mut context = request.context(&self.snapshot, subject, target.attributes());
        // Those that were met then are known if any was asked for; the others are evaluated again, as far as that can be.
        if !decision.access_levels.is_empty() && self.knows_levels(decision) {
            context = context.with_known_access_levels(&decision.access_levels);
        }
        let permission = Permission::AccessViaIap;
        let question = Question { principal: subject.principal(), permission, context: &context };
        let allowed = self.snapshot.decide(&target.lineage, &question).is_allowed();
        match (allowed, self.hangs_on_what_is_not_recorded(&target.lineage, &question, allowed)) {
            (_, true) => Answer::Unknown,
            (true, false) => Answer::Allowed,
            (false, false) => Answer::Refused,
        }
    }

    /// Whether the levels of today are still those that were evaluated then, by name.
    fn knows_levels(&self, decision: &Decision) -> bool {
        decision.access_levels.iter().all(|name| self.snapshot.access_levels.get(name).is_some())
    }

    /// Whether another answer could come of what is not recorded: a rule or a binding names the caller, and its condition reads that.
    fn hangs_on_what_is_not_recorded(&self, lineage: &Lineage, question: &Question<'_>, allowed: bool) -> bool {
        let denying = lineage.deny().iter().flat_map(|node| node.rules.iter()).filter_map(|it| it.condition.as_ref());
        let granting = lineage.allow().iter().flat_map(|node| node.bindings.iter());
        let granting = granting.filter(|_| !allowed).filter_map(|it| it.condition.as_ref());
        // Most lineages have no such condition at all.
        if !denying.chain(granting).any(|it| self.reads_what_is_not_recorded(&it.condition)) {
            return false;
        }
        let explanation = self.snapshot.explain(lineage, question);
        let of_binding = |resource: &str, place: usize| {
            let node = lineage.allow().iter().find(|node| *node.name == *resource)?;
            node.bindings.get(place)?.condition.as_ref()
        };
        let of_rule = |policy: &str, place: usize| {
            let node = lineage.deny().iter().find(|node| *node.name == *policy)?;
            node.rules.get(place)?.condition.as_ref()
        };
        let reads = |it: Option<&Arc<doorward_core::policy::BoundCondition>>| {
            it.is_some_and(|it| self.reads_what_is_not_recorded(&it.condition))
        };
        let named = |member: &Option<_>| member.is_some();
        let excepted = |outcome: &Option<_>| matches!(outcome, Some(doorward_core::policy::RuleOutcome::Excepted(_)));
        let rule = explanation
            .rules
            .iter()
            .any(|it| named(&it.member) && !excepted(&it.outcome) && reads(of_rule(&it.policy, it.rule)));
        let binding =
            explanation.bindings.iter().any(|it| named(&it.member) && reads(of_binding(&it.resource, it.binding)));
        rule || (!allowed && binding)
    }

    /// A level that reads it makes every condition on levels read it.
    fn reads_what_is_not_recorded(&self, condition: &Condition) -> bool {
        let of_level = || {
            let levels = self.snapshot.access_levels.levels().iter();
            levels
                .filter_map(|level| level.condition())
                .any(|condition| condition.reads().iter().any(|it| is_not_recorded(&it.to_string())))
        };
        condition.reads().iter().any(|attribute| {
            let name = attribute.to_string();
            is_not_recorded(&name) || (name == ACCESS_LEVELS && of_level())
        })
    }
}

fn is_not_recorded(attribute: &str) -> bool {
    NOT_RECORDED
        .iter()
        .any(|root| attribute.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])))
}

/// What would become of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Allowed,
    Refused,
    Unknown,
    Gone,
}

/// What is, and what would be.
struct Trial {
    now: World,
    then: World,
}

/// Who is decided otherwise, and where.
type Changed = BTreeMap<(String, String), ChangedDecision>;

#[derive(Default)]
struct Tally {
    replayed: u64,
    skipped: u64,
    unknown: u64,
    allowed: Changed,
    refused: Changed,
}

impl Tally {
    fn count(&mut self, trial: &Trial, decision: &Decision) {
        let parts = Subject::recorded(decision).ok().zip(Request::recorded(decision));
        let Some((subject, request)) = parts.filter(|_| was_decided(decision)) else {
            self.skipped += 1;
            return;
        };
        let now = trial.now.decide(decision, &subject, &request);
        let then = trial.then.decide(decision, &subject, &request);
        let changed = match (now, then) {
            (Answer::Gone, _) | (_, Answer::Gone) => {
                self.skipped += 1;
                return;
            }
            (Answer::Unknown, _) | (_, Answer::Unknown) => {
                self.unknown += 1;
                return;
            }
            (Answer::Allowed, Answer::Allowed) | (Answer::Refused, Answer::Refused) => None,
            (Answer::Refused, Answer::Allowed) => Some(&mut self.allowed),
            (Answer::Allowed, Answer::Refused) => Some(&mut self.refused),
        };
        self.replayed += 1;
        if let Some(changed) = changed {
            note(changed, decision);
        }
    }

    fn answer(self) -> SimulateResponse {
        let sorted = |changed: Changed| {
            let mut all: Vec<ChangedDecision> = changed.into_values().collect();
            all.sort_by_key(|it| std::cmp::Reverse(it.count));
            all
        };
        SimulateResponse {
            replayed: self.replayed,
            skipped: self.skipped,
            unknown: self.unknown,
            newly_allowed: sorted(self.allowed),
            newly_refused: sorted(self.refused),
        }
    }
}

fn note(changed: &mut Changed, decision: &Decision) {
    let member = decision.caller.clone().unwrap_or_else(|| "allUsers".to_owned());
    let resource = decision.resource.clone().unwrap_or_default();
    let entry = changed.entry((member.clone(), resource.clone())).or_insert_with(|| ChangedDecision {
        member,
        resource,
        count: 0,
        examples: Vec::new(),
    });
    entry.count += 1;
    if entry.examples.len() < EXAMPLES_LIMIT {
        let scheme = decision.scheme.as_deref().unwrap_or("https");
        entry.examples.push(DecisionExample {
            id: decision.id.clone(),
            time: rfc3339(decision.time.seconds()),
            method: decision.method.clone(),
            url: format!("{scheme}://{}{}", decision.host, decision.path),
        });
    }
}
