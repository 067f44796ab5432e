//! Making what a plan says, in an order in which what is named is there.

use std::collections::VecDeque;

use doorward_core::account::ServiceAccount;
use doorward_core::policy::{DenyPolicyName, RoleName};
use doorward_core::resource::Resource;
use doorward_wire::doorward_api::{
    AccessLevelResource, ApplicationResource, ApplyFailure, ApplyResponse, BasicLevel, CustomLevel, GroupResource,
    WorldAction, WorldChange, WorldList,
};
use doorward_wire::google_api::iam_deny::{self, DenyRule, PolicyRule};
use doorward_wire::google_api::iam_roles::{self, CreateRoleRequest};
use doorward_wire::google_api::{
    self, CreateServiceAccountRequest, Expr, IapSettings, NewServiceAccount, SetIamPolicyRequest, Status,
    WITH_CONDITIONS,
};
use doorward_wire::world_file::{
    WrittenAccessLevel, WrittenApplication, WrittenDenyPolicy, WrittenGroup, WrittenPolicy, WrittenResource,
    WrittenRole, WrittenServiceAccount, WrittenSettings,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::read::{level_name, titled, written_binding};
use super::{Mistake, PLAN, World, WorldError};
use crate::admin::{Admin, Failure};
use crate::etags;
use crate::policies::{encode_condition, permissions};

/// Members that come or go in one call.
const MEMBERS_AT_ONCE: usize = 500;

/// Puts changes in the order in which they are made: what is named comes before what names it, and goes after it; what forbids comes
/// before what lets in.
pub(super) fn sort(changes: &mut [WorldChange]) {
    changes.sort_by_key(|change| {
        // An application that moves away makes room for a new one.
        (rank(change), change.action == WorldAction::Add, change.name.clone())
    });
}

fn rank(change: &WorldChange) -> usize {
    use WorldList as L;
    match (change.action, change.list) {
        (WorldAction::Add | WorldAction::Change, L::Roles) => 0,
        (WorldAction::Add | WorldAction::Change, L::AccessLevels) => 1,
        (WorldAction::Add | WorldAction::Change, L::ServiceAccounts) => 2,
        (WorldAction::Add | WorldAction::Change, L::Groups) => 3,
        // With an application or an account goes what stands on it, so that goes first.
        (WorldAction::Remove, L::Policies) => 4,
        (WorldAction::Remove, L::Settings) => 5,
        (WorldAction::Remove, L::Applications) => 6,
        (WorldAction::Add | WorldAction::Change, L::Applications) => 7,
        (WorldAction::Add | WorldAction::Change, L::Settings) => 8,
        (WorldAction::Add | WorldAction::Change, L::DenyPolicies) => 9,
        (WorldAction::Add | WorldAction::Change, L::Policies) => 10,
        (WorldAction::Remove, L::DenyPolicies) => 11,
        (WorldAction::Remove, L::Groups) => 12,
        (WorldAction::Remove, L::ServiceAccounts) => 13,
        (WorldAction::Remove, L::AccessLevels) => 14,
        (WorldAction::Remove, L::Roles) => 15,
    }
}

/// Whether things of one list may stand in each other's way: a group in a group, a level that requires another, a host that moves.
fn may_wait(change: &WorldChange, error: &WorldError) -> bool {
    let order_matters = matches!(change.list, WorldList::AccessLevels | WorldList::Groups | WorldList::Applications);
    let may_pass = matches!(
        error.status(),
        Status::AlreadyExists | Status::InvalidArgument | Status::FailedPrecondition | Status::NotFound
    );
    order_matters && may_pass
}

/// The answer where the first thing that is left could not be changed.
fn stopped(done: Vec<WorldChange>, left: [VecDeque<WorldChange>; 3], error: &WorldError) -> ApplyResponse {
    let not_done: Vec<WorldChange> = left.into_iter().flatten().collect();
    let failure = not_done.first().map(|change| ApplyFailure {
        name: change.name.clone(),
        status: error.status(),
        message: error.to_string(),
    });
    ApplyResponse { done, not_done, kept: Vec::new(), failure }
}

impl World {
    /// Makes changes, until one cannot be made.
    pub(super) async fn make(&self, admin: &Admin, changes: Vec<WorldChange>) -> ApplyResponse {
        let mut left: VecDeque<WorldChange> = changes.into();
        let mut done = Vec::new();
        while let Some(first) = left.front().map(rank) {
            let many = left.iter().take_while(|change| rank(change) == first).count();
            let mut round: VecDeque<WorldChange> = left.drain(..many).collect();
            // As long as a round is of use, there is another one for those that had to wait.
            while !round.is_empty() {
                let before = round.len();
                let (mut waiting, mut failure) = (VecDeque::new(), None);
                while let Some(change) = round.pop_front() {
                    match self.make_one(admin, &change).await {
                        Ok(()) => done.push(change),
                        Err(error) if may_wait(&change, &error) => {
                            waiting.push_back(change);
                            failure.get_or_insert(error);
                        }
                        Err(error) => {
                            round.push_front(change);
                            return stopped(done, [round, waiting, left], &error);
                        }
                    }
                }
                if let Some(error) = failure.filter(|_| waiting.len() == before) {
                    return stopped(done, [waiting, round, left], &error);
                }
                round = waiting;
            }
        }
        ApplyResponse { done, ..ApplyResponse::default() }
    }

    async fn make_one(&self, admin: &Admin, change: &WorldChange) -> Result<(), WorldError> {
        match change.list {
            WorldList::Roles => self.role(admin, change).await,
            WorldList::AccessLevels => self.access_level(admin, change).await,
            WorldList::ServiceAccounts => self.service_account(admin, change).await,
            WorldList::Groups => self.group(admin, change).await,
            WorldList::Applications => self.application(admin, change).await,
            WorldList::Settings => self.settings(admin, change).await,
            WorldList::DenyPolicies => self.deny_policy(admin, change).await,
            WorldList::Policies => self.policy(admin, change).await,
        }
    }

    async fn role(&self, admin: &Admin, change: &WorldChange) -> Result<(), WorldError> {
        const MASK: &str = "title,description,includedPermissions,stage";
        let failed = |error| WorldError::of(&format!("role {}", change.name), error);
        let project = self.publisher.project();
        let (parent, id) = match change.name.split_once("/roles/") {
            Some((parent, id)) => (parent.to_owned(), id),
            None => (Resource::Project.name(project), change.name.as_str()),
        };
        let name = format!("{parent}/roles/{id}");
        let Some(written) = after::<WrittenRole>(change)? else {
            self.cases.roles.delete(admin, &name, None).await.map_err(failed)?;
            return Ok(());
        };
        let role = iam_roles::Role {
            title: written.title,
            description: written.description,
            included_permissions: written.permissions,
            stage: Some(written.stage),
            ..iam_roles::Role::default()
        };
        let deleted = match name.parse::<RoleName>() {
            Ok(name) => self.store.role(&name).await?.is_some_and(|role| role.deleted),
            Err(_) => false,
        };
        match change.action {
            WorldAction::Add if !deleted => {
                let request = CreateRoleRequest { role_id: id.to_owned(), role };
                self.cases.roles.create(admin, &parent, request).await.map_err(failed)?;
            }
            WorldAction::Add | WorldAction::Change | WorldAction::Remove => {
                // What it is to give is written before it gives anything again.
                self.cases.roles.patch(admin, &name, role, Some(MASK)).await.map_err(failed)?;
                if deleted {
                    self.cases.roles.undelete(admin, &name, None).await.map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    async fn access_level(&self, admin: &Admin, change: &WorldChange) -> Result<(), WorldError> {
        let place = format!("access level {}", change.name);
        let names = self.names().await?;
        let full = |text: &String| level_name(text, &names).map(|name| name.to_string());
        let name = full(&change.name).map_err(|mistake| WorldError::of(&place, mistake))?;
        let failed = |error| WorldError::of(&place, error);
        let Some(written) = after::<WrittenAccessLevel>(change)? else {
            return self.cases.access_levels.delete(admin, &name).await.map_err(failed);
        };
        let required: Result<Vec<String>, Mistake> = written.required_access_levels.iter().map(full).collect();
        let basic = BasicLevel {
            ip_subnetworks: written.ip_subnetworks,
            required_access_levels: required.map_err(|mistake| WorldError::of(&place, mistake))?,
            members: written.members,
        };
        let custom = written.expression.map(|expression| CustomLevel { expr: Expr { expression, ..Expr::default() } });
        let level = AccessLevelResource {
            name,
            title: if written.title.is_empty() { short(&written.name) } else { written.title },
            description: written.description,
            basic: custom.is_none().then_some(basic),
            custom,
            etag: String::new(),
        };
        match change.action {
            WorldAction::Add => self.cases.access_levels.create(admin, level).await,
            WorldAction::Change | WorldAction::Remove => self.cases.access_levels.update(admin, level).await,
        }
        .map_err(failed)?;
        Ok(())
    }

    async fn service_account(&self, admin: &Admin, change: &WorldChange) -> Result<(), WorldError> {
        let failed = |error| WorldError::of(&format!("account {}", change.name), error);
        let project = self.publisher.project();
        let accounts = &self.cases.service_accounts;
        let missing = || WorldError::of(&format!("account {}", change.name), Mistake::AccountId(change.name.clone()));
        let email = self.names().await?.email(&change.name).ok_or_else(missing)?;
        let Some(written) = after::<WrittenServiceAccount>(change)? else {
            accounts.delete(admin, &project.id, email.as_str()).await.map_err(failed)?;
            return Ok(());
        };
        let old = before::<WrittenServiceAccount>(change)?;
        let was_disabled = match (&old, change.action) {
            (Some(old), _) => {
                if (&old.display_name, &old.description) != (&written.display_name, &written.description) {
                    return Err(WorldError::FixedText(change.name.clone()));
                }
                old.disabled
            }
            (None, _) => {
                let request = CreateServiceAccountRequest {
                    account_id: written.id,
                    service_account: NewServiceAccount {
                        display_name: written.display_name,
                        description: written.description,
                    },
                };
                let _: ServiceAccount = accounts.create(admin, &project.id, request).await.map_err(failed)?;
                false
            }
        };
        if was_disabled != written.disabled {
            accounts.disable(admin, &project.id, email.as_str(), written.disabled).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn group(&self, admin: &Admin, change: &WorldChange) -> Result<(), WorldError> {
        let failed = |error| WorldError::of(&format!("group {}", change.name), error);
        let groups = &self.cases.groups;
        let Some(written) = after::<WrittenGroup>(change)? else {
            return groups.delete(admin, &change.name).await.map_err(failed);
        };
        let old = before::<WrittenGroup>(change)?;
        let group = GroupResource {
            email: written.email.clone(),
            display_name: written.display_name.clone(),
            description: written.description.clone(),
            ..GroupResource::default()
        };
        let Some(old) = old else {
            let (first, rest) = written.members.split_at(written.members.len().min(MEMBERS_AT_ONCE));
            groups.create(admin, GroupResource { members: first.to_vec(), ..group }).await.map_err(failed)?;
            for some in rest.chunks(MEMBERS_AT_ONCE) {
                groups.add_members(admin, &change.name, some).await.map_err(failed)?;
            }
            return Ok(());
        };
        let only_in = |some: &[String], others: &[String]| -> Vec<String> {
            let others: std::collections::HashSet<&String> = others.iter().collect();
            some.iter().filter(|member| !others.contains(member)).cloned().collect()
        };
        // Who is to be in is put in before anybody is taken out: a mistake in the new ones changes nothing.
        for some in only_in(&written.members, &old.members).chunks(MEMBERS_AT_ONCE) {
            groups.add_members(admin, &change.name, some).await.map_err(failed)?;
        }
        for some in only_in(&old.members, &written.members).chunks(MEMBERS_AT_ONCE) {
            groups.remove_members(admin, &change.name, some).await.map_err(failed)?;
        }
        if (&old.display_name, &old.description) != (&written.display_name, &written.description) {
            groups.update(admin, &change.name, group).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn application(&self, admin: &Admin, change: &WorldChange) -> Result<(), WorldError> {
        let failed = |error| WorldError::of(&format!("app {}", change.name), error);
        let applications = &self.cases.applications;
        let Some(written) = after::<WrittenApplication>(change)? else {
            return applications.delete(admin, &change.name, None).await.map_err(failed);
        };
        let resource = ApplicationResource {
            name: written.name,
            kind: written.kind,
            region: written.region,
            service: written.service,
            version: written.version,
            id: written.id,
            description: written.description,
            labels: written.labels,
            hosts: written.hosts,
            path_prefixes: written.path_prefixes,
            upstreams: written.upstreams,
            iap_enabled: Some(written.iap_enabled),
            client_id: written.client_id,
            ..ApplicationResource::default()
        };
        match change.action {
            WorldAction::Add => applications.create(admin, resource).await,
            WorldAction::Change | WorldAction::Remove => applications.update(admin, &change.name, resource, None).await,
        }
        .map_err(failed)?;
        Ok(())
    }

    async fn settings(&self, admin: &Admin, change: &WorldChange) -> Result<(), WorldError> {
        let place = format!("the settings of {}", change.name);
        let name = self.resource_name(&place, &change.name).await?;
        let settings = match after::<WrittenSettings>(change)? {
            Some(written) => written.settings,
            None => IapSettings::default(),
        };
        let outcome = self.cases.settings.update(admin, &name, settings, None).await;
        outcome.map_err(|error| WorldError::of(&place, error))?;
        Ok(())
    }

    async fn deny_policy(&self, admin: &Admin, change: &WorldChange) -> Result<(), WorldError> {
        let place = format!("deny policy {}", change.name);
        let failed = |error| WorldError::of(&place, error);
        let written = after::<WrittenDenyPolicy>(change)?;
        let Some(named) = written.clone().or(before::<WrittenDenyPolicy>(change)?) else { return Ok(()) };
        let attachment = self.names().await?.resource(&named.attached_to);
        let attachment = attachment.map_err(|mistake| WorldError::of(&place, mistake))?;
        let name = DenyPolicyName { attachment, id: named.id.clone() }.name(self.publisher.project());
        let deny = &self.cases.deny_policies;
        let Some(written) = written else {
            deny.delete(admin, &name, None).await.map_err(failed)?;
            return Ok(());
        };
        let rules = written.rules.into_iter().map(|rule| PolicyRule {
            description: rule.description,
            deny_rule: Some(DenyRule {
                denied_principals: rule.denied_principals,
                exception_principals: rule.exception_principals,
                denied_permissions: rule.denied_permissions,
                exception_permissions: rule.exception_permissions,
                denial_condition: rule.condition,
            }),
        });
        let policy = iam_deny::Policy {
            display_name: written.display_name,
            rules: rules.collect(),
            ..iam_deny::Policy::default()
        };
        match change.action {
            WorldAction::Add => {
                let attachment = name.strip_prefix("policies/").and_then(|rest| rest.split_once("/denypolicies/"));
                let attachment = attachment.map_or("", |(attachment, _)| attachment);
                deny.create(admin, attachment, &written.id, policy).await.map_err(failed)?;
            }
            WorldAction::Change | WorldAction::Remove => {
                deny.update(admin, &name, policy).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn policy(&self, admin: &Admin, change: &WorldChange) -> Result<(), WorldError> {
        let place = format!("the policy of {}", change.name);
        let name = self.resource_name(&place, &change.name).await?;
        // How it differs is for those to know who may see it.
        let mut call = self.changes.begin(admin, PLAN, &name)?;
        let seen = call.reach(&name, |resource| permissions(resource).0);
        call.finish(seen).await?;
        // Only what was shown is replaced: who was let in since the look is not put out by accident.
        let there = self.store.policy(&name).await?;
        let was = before::<WrittenPolicy>(change)?.map(|written| written.bindings).unwrap_or_default();
        let mut is: Vec<_> = there.bindings.iter().map(|it| written_binding(it, self.publisher.project())).collect();
        let mut was = was;
        for bindings in [&mut is, &mut was] {
            bindings.iter_mut().for_each(|binding| binding.members.sort_unstable());
            bindings.sort_by(|one, other| {
                (&one.role, &one.condition, &one.members).cmp(&(&other.role, &other.condition, &other.members))
            });
        }
        if is != was {
            return Err(WorldError::Stale(place));
        }
        let bindings = after::<WrittenPolicy>(change)?.map(|written| written.bindings).unwrap_or_default();
        let bindings = bindings.into_iter().map(|binding| google_api::Binding {
            role: binding.role,
            members: binding.members,
            condition: binding.condition.map(|condition| encode_condition(&titled(condition))),
        });
        let policy = google_api::Policy {
            version: Some(WITH_CONDITIONS),
            bindings: bindings.collect(),
            etag: Some(etags::encode(there.etag)),
        };
        let request = SetIamPolicyRequest { policy, update_mask: None };
        self.cases.policies.replace(admin, &name, request).await.map_err(|error| WorldError::of(&place, error))?;
        Ok(())
    }

    /// The canonical name of what the file calls so. What is named was made before.
    async fn resource_name(&self, place: &str, written: &str) -> Result<String, WorldError> {
        let wrong = |mistake| WorldError::of(place, mistake);
        let resource: WrittenResource = written.parse().map_err(|_| wrong(Mistake::NoResource(written.to_owned())))?;
        let names = self.names().await?;
        let resource = names.resource(&resource).map_err(wrong)?;
        Ok(resource.name(&names.project))
    }
}

fn short(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().to_owned()
}

fn after<T: DeserializeOwned>(change: &WorldChange) -> Result<Option<T>, serde_json::Error> {
    part(change.after.as_ref())
}

fn before<T: DeserializeOwned>(change: &WorldChange) -> Result<Option<T>, serde_json::Error> {
    part(change.before.as_ref())
}

fn part<T: DeserializeOwned>(value: Option<&Value>) -> Result<Option<T>, serde_json::Error> {
    value.cloned().map(serde_json::from_value).transpose()
}
