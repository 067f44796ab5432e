//! The file in the terms of the domain: read, checked by its form, and written back in its one form.

use std::collections::HashSet;

use doorward_core::access_level::{AccessLevel, AccessLevelName, Definition, Simple};
use doorward_core::account::ServiceAccount;
use doorward_core::clock::Timestamp;
use doorward_core::group::Group;
use doorward_core::member::{Email, Member};
use doorward_core::policy::condition::Schema;
use doorward_core::policy::{
    Binding, ConditionText, CustomRole, DenyPolicy, DenyPolicyName, DenyRule, Etag, LaunchStage, PermissionPattern,
    Policy, RoleName, TITLE_LIMIT, principal_v2, read_principal_v2,
};
use doorward_core::resource::{Application, Branch, ClientId, Project, Resource};
use doorward_core::settings::Settings;
use doorward_wire::google_api::Expr;
use doorward_wire::google_api::iam_roles::RoleLaunchStage;
use doorward_wire::world_file::{
    WorldFile, WrittenAccessLevel, WrittenApplication, WrittenBinding, WrittenDenyPolicy, WrittenDenyRule,
    WrittenGroup, WrittenPolicy, WrittenResource, WrittenRole, WrittenServiceAccount, WrittenSettings,
};

use super::names::{self, Names, local_part, new_account, placeholder};
use super::{CONDITIONS_LIMIT, Mistake, WorldError};
use crate::applications::{
    WrittenKind, description, hosts_of, kind, labels, number, prefixes_of, routes, upstreams, written_kind,
};
use crate::policies::{decode_condition, encode_condition};
use crate::settings::{decode as decode_settings, encode as encode_settings};

/// What a file says, list by list; `None` where it says nothing.
#[derive(Default)]
pub(crate) struct Stated {
    pub(crate) applications: Option<Vec<Application>>,
    pub(crate) policies: Option<Vec<(Resource, Vec<Binding>)>>,
    pub(crate) deny_policies: Option<Vec<DenyPolicy>>,
    pub(crate) settings: Option<Vec<(Resource, Settings)>>,
    pub(crate) groups: Option<Vec<(Group, Vec<Member>)>>,
    pub(crate) roles: Option<Vec<CustomRole>>,
    pub(crate) access_levels: Option<Vec<AccessLevel>>,
    pub(crate) service_accounts: Option<Vec<ServiceAccount>>,
}

/// Reads a file. The names get to know what it would make.
///
/// # Errors
/// [`WorldError::Mistakes`]: every mistake that is in the file, each with its place.
pub(crate) fn read(file: &WorldFile, names: &mut Names, schema: &Schema) -> Result<Stated, WorldError> {
    let (stated, found) = read_all(file, names, schema);
    found.none(stated)
}

/// Reads what can be read of a file, and writes down the rest.
pub(super) fn read_all(file: &WorldFile, names: &mut Names, schema: &Schema) -> (Stated, Mistakes) {
    let mut found = Mistakes::default();
    let conditions = conditions(file);
    if conditions > CONDITIONS_LIMIT {
        found.add("the file", Mistake::Conditions(conditions));
        return (Stated::default(), found);
    }
    if let Some(twice) = file.first_duplicate() {
        found.add("the file", Mistake::Twice(twice));
    }
    let applications = list(
        &file.applications,
        &mut found,
        |it| format!("app {}", it.name),
        |it, found| application(it, names, found),
    );
    let place = |it: &WrittenServiceAccount| format!("account {}", it.id);
    let service_accounts = list(&file.service_accounts, &mut found, place, |it, found| found.keep(account(it, names)));
    let unread = file.applications.iter().flatten().map(|it| &it.name);
    let is_read = |name: &str| applications.iter().flatten().any(|it| it.name.as_str() == name);
    found.unread = unread.filter(|name| !is_read(name)).cloned().collect();
    for new in applications.iter().flatten() {
        names.applications.retain(|old| old.service_id != new.service_id && old.name != new.name);
        names.applications.push(new.clone());
    }
    for new in service_accounts.iter().flatten() {
        names.accounts.retain(|old| old.email != new.email);
        names.accounts.push(new.clone());
    }
    let names = &*names;
    let place = |it: &WrittenPolicy| format!("the policy of {}", it.resource);
    let policies = list(&file.policies, &mut found, place, |it, found| policy(it, names, schema, found));
    let place = |it: &WrittenDenyPolicy| format!("deny policy {}", it.id);
    let deny_policies = list(&file.deny_policies, &mut found, place, |it, found| deny(it, names, schema, found));
    let place = |it: &WrittenSettings| format!("the settings of {}", it.resource);
    let settings = list(&file.settings, &mut found, place, |it, found| settings(it, names, found));
    let groups = list(&file.groups, &mut found, |it| format!("group {}", it.email), group);
    let place = |it: &WrittenRole| format!("role {}", it.id);
    let roles = list(&file.roles, &mut found, place, |it, found| found.keep(role(it, names)));
    let place = |it: &WrittenAccessLevel| format!("access level {}", it.name);
    let access_levels = list(&file.access_levels, &mut found, place, |it, found| found.keep(level(it, names)));
    let stated =
        Stated { applications, policies, deny_policies, settings, groups, roles, access_levels, service_accounts };
    // Two spellings of one thing are seen only now.
    if let Some(twice) = write(&stated, names).first_duplicate().filter(|_| found.list.is_empty()) {
        found.add("the file", Mistake::Twice(twice));
    }
    (stated, found)
}

/// How many conditions a file has.
fn conditions(file: &WorldFile) -> usize {
    let of_policies = file.policies.iter().flatten().flat_map(|it| &it.bindings).filter(|it| it.condition.is_some());
    let of_rules = file.deny_policies.iter().flatten().flat_map(|it| &it.rules).filter(|it| it.condition.is_some());
    let of_levels = file.access_levels.iter().flatten().filter(|it| it.expression.is_some());
    of_policies.count() + of_rules.count() + of_levels.count()
}

/// What is wrong in a file, in its order.
#[derive(Default)]
pub(super) struct Mistakes {
    /// What is being read.
    place: String,
    list: Vec<(String, Mistake)>,
    /// Applications of the file that could not be read: they are not missing besides.
    unread: HashSet<String>,
}

impl Mistakes {
    /// Writes down a mistake of a place.
    pub(super) fn add(&mut self, place: &str, mistake: Mistake) {
        self.list.push((place.to_owned(), mistake));
    }

    /// What was read, or nothing and one mistake more.
    fn keep<T>(&mut self, read: Result<T, impl Into<Mistake>>) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(mistake) => {
                self.list.push((self.place.clone(), mistake.into()));
                None
            }
        }
    }

    /// All that could be read of some; the others are mistakes.
    fn keep_all<T, S>(&mut self, some: &[T], read: impl Fn(&T) -> Result<S, Mistake>) -> Vec<S> {
        some.iter().filter_map(|it| self.keep(read(it))).collect()
    }

    /// What a name of the file means.
    fn resource(&mut self, written: &WrittenResource, names: &Names) -> Option<Resource> {
        match written {
            WrittenResource::Application(name) if self.unread.contains(name) => None,
            written => self.keep(names.resource(written)),
        }
    }

    /// What was read, if nothing was wrong.
    pub(super) fn none<T>(self, read: T) -> Result<T, WorldError> {
        if self.list.is_empty() { Ok(read) } else { Err(WorldError::Mistakes(self.list)) }
    }
}

fn list<T, S>(
    list: &Option<Vec<T>>,
    found: &mut Mistakes,
    place: impl Fn(&T) -> String,
    read: impl Fn(&T, &mut Mistakes) -> Option<S>,
) -> Option<Vec<S>> {
    let mut one = |it: &T| {
        found.place = place(it);
        read(it, found)
    };
    list.as_ref().map(|list| list.iter().filter_map(&mut one).collect())
}

fn application(it: &WrittenApplication, names: &Names, found: &mut Mistakes) -> Option<Application> {
    let old = names.applications.iter().find(|old| old.name.as_str() == it.name);
    let (region, service, version) = (it.region.as_deref(), it.service.as_deref(), it.version.as_deref());
    let name = found.keep(it.name.parse().map_err(crate::applications::ApplicationError::from));
    let own_number = found.keep(it.id.as_deref().map(number).transpose());
    let kind = found.keep(kind(WrittenKind { kind: it.kind, region, service, version }));
    let routes = found.keep(routes(&it.hosts, &it.path_prefixes));
    let upstreams = found.keep(upstreams(&it.upstreams));
    let description = found.keep(description(&it.description));
    let labels = found.keep(labels(&it.labels));
    let own_client = it.client_id.clone().map(ClientId);
    let service_id = own_number?.or_else(|| old.map(|old| old.service_id.clone()));
    Some(Application {
        name: name?,
        service_id: service_id.unwrap_or_else(|| placeholder(&it.name)),
        kind: kind?,
        client_id: own_client.or_else(|| old.map(|old| old.client_id.clone())).unwrap_or(ClientId(String::new())),
        iap_enabled: it.iap_enabled,
        routes: routes?,
        upstreams: upstreams?,
        description: description?,
        labels: labels?,
        etag: old.map_or(Etag::UNWRITTEN, |old| old.etag),
    })
}

fn account(it: &WrittenServiceAccount, names: &Names) -> Result<ServiceAccount, Mistake> {
    let email = names.email(&it.id).ok_or_else(|| Mistake::AccountId(it.id.clone()))?;
    let old = names.accounts.iter().find(|old| old.email == email).cloned();
    let account = old.unwrap_or_else(|| new_account(email));
    let (display_name, description) = (it.display_name.clone(), it.description.clone());
    Ok(ServiceAccount { display_name, description, disabled: it.disabled, ..account })
}

fn policy(
    it: &WrittenPolicy,
    names: &Names,
    schema: &Schema,
    found: &mut Mistakes,
) -> Option<(Resource, Vec<Binding>)> {
    let before = found.list.len();
    let resource = found.resource(&it.resource, names);
    let mut bindings = Vec::with_capacity(it.bindings.len());
    for it in &it.bindings {
        let role = found.keep(role_name(&it.role, names));
        let members = found.keep_all(&it.members, |text| member(text));
        let condition = it.condition.clone().map(titled);
        let Some(role) = role else { continue };
        let binding = Binding { role, members, condition };
        if found.keep(Policy::check(std::slice::from_ref(&binding), 3, schema)).is_some() {
            bindings.push(binding);
        }
    }
    // How many there may be, together.
    if found.list.len() == before {
        let counted = bindings.iter().map(|binding| Binding { condition: None, ..binding.clone() });
        found.keep(Policy::check(&counted.collect::<Vec<_>>(), 3, schema))?;
    }
    Some((resource?, bindings))
}

fn role_name(text: &str, names: &Names) -> Result<RoleName, Mistake> {
    RoleName::parse(text, &names.project).map_err(|_| Mistake::Role(text.to_owned()))
}

fn member(text: &str) -> Result<Member, Mistake> {
    text.parse().map_err(|error| Mistake::Member { member: text.to_owned(), error })
}

fn deny(it: &WrittenDenyPolicy, names: &Names, schema: &Schema, found: &mut Mistakes) -> Option<DenyPolicy> {
    let before = found.list.len();
    let attachment = found.keep(names.resource(&it.attached_to).and_then(|attachment| match attachment.branch() {
        Branch::Above => Ok(attachment),
        Branch::Web | Branch::Tunnel | Branch::Accounts => {
            Err(doorward_core::policy::DenyPolicyError::Attachment.into())
        }
    }));
    let principal =
        |text: &String| read_principal_v2(text).map_err(|error| Mistake::Member { member: text.clone(), error });
    let permission = |text: &String| text.parse::<PermissionPattern>().map_err(Mistake::from);
    let mut rules = Vec::with_capacity(it.rules.len());
    for it in &it.rules {
        rules.push(DenyRule {
            description: it.description.clone(),
            denied_principals: found.keep_all(&it.denied_principals, principal),
            exception_principals: found.keep_all(&it.exception_principals, principal),
            denied_permissions: found.keep_all(&it.denied_permissions, permission),
            exception_permissions: found.keep_all(&it.exception_permissions, permission),
            condition: it.condition.clone().map(decode_condition),
        });
    }
    // A rule that lacks what could not be read would be refused for that too.
    if found.list.len() == before {
        found.keep(DenyPolicy::check(&rules, schema));
    }
    let unwritten = Timestamp::from_seconds(0);
    let name = DenyPolicyName { attachment: attachment?, id: it.id.clone() };
    // The id is checked by reading the name back.
    let name = found.keep(DenyPolicyName::parse(&name.name(&names.project), &names.project))?;
    Some(DenyPolicy {
        name,
        uid: String::new(),
        display_name: it.display_name.clone(),
        rules,
        created: unwritten,
        updated: unwritten,
        etag: Etag::UNWRITTEN,
    })
}

fn settings(it: &WrittenSettings, names: &Names, found: &mut Mistakes) -> Option<(Resource, Settings)> {
    let resource = found.resource(&it.resource, names);
    let settings = found.keep(decode_settings(&it.settings))?;
    found.keep(settings.check().map_err(crate::settings::SettingsError::from))?;
    Some((resource?, settings))
}

fn group(it: &WrittenGroup, found: &mut Mistakes) -> Option<(Group, Vec<Member>)> {
    let email: Option<Email> = found.keep(it.email.parse().map_err(|_| Mistake::Email(it.email.clone())));
    let mut members = found.keep_all(&it.members, |text| {
        let member = member(text)?;
        if Group::takes(&member) { Ok(member) } else { Err(Mistake::NoMember(member)) }
    });
    members.sort_unstable();
    members.dedup();
    let (display_name, description) = (it.display_name.clone(), it.description.clone());
    Some((Group { email: email?, display_name, description, etag: Etag::UNWRITTEN }, members))
}

fn role(it: &WrittenRole, names: &Names) -> Result<CustomRole, Mistake> {
    let full =
        if it.id.contains('/') { it.id.clone() } else { format!("projects/{}/roles/{}", names.project.id, it.id) };
    let name = role_name(&full, names)?;
    if !name.is_custom() || !name.is_of(&names.project) {
        return Err(Mistake::Role(it.id.clone()));
    }
    let permissions = CustomRole::permissions(&name, it.permissions.iter().map(String::as_str))?;
    let role = CustomRole {
        name,
        title: it.title.clone(),
        description: it.description.clone(),
        stage: match it.stage {
            RoleLaunchStage::Alpha => LaunchStage::Alpha,
            RoleLaunchStage::Beta => LaunchStage::Beta,
            RoleLaunchStage::Ga => LaunchStage::Ga,
            RoleLaunchStage::Deprecated => LaunchStage::Deprecated,
            RoleLaunchStage::Disabled => LaunchStage::Disabled,
            RoleLaunchStage::Eap => LaunchStage::Eap,
        },
        permissions,
        deleted: false,
        etag: Etag::UNWRITTEN,
    };
    Ok(role.checked()?)
}

/// The whole name of a level of the project's own.
pub(super) fn level_name(text: &str, names: &Names) -> Result<AccessLevelName, Mistake> {
    if text.contains('/') {
        return Ok(text.parse()?);
    }
    Ok(format!("accessPolicies/{}/accessLevels/{text}", names.project.number).parse()?)
}

fn level(it: &WrittenAccessLevel, names: &Names) -> Result<AccessLevel, Mistake> {
    let name = level_name(&it.name, names)?;
    let is_simple = !(it.ip_subnetworks.is_empty() && it.required_access_levels.is_empty() && it.members.is_empty());
    let definition = match &it.expression {
        Some(_) if is_simple => return Err(Mistake::LevelForm),
        Some(expression) => Definition::Expression(expression.clone()),
        None => Definition::Simple(Simple {
            ip_subnetworks: it.ip_subnetworks.clone(),
            required_access_levels: it
                .required_access_levels
                .iter()
                .map(|text| level_name(text, names))
                .collect::<Result<_, _>>()?,
            members: it.members.iter().map(|text| member(text)).collect::<Result<_, _>>()?,
        }),
    };
    let title = if it.title.is_empty() { name.id().to_owned() } else { it.title.clone() };
    Ok(AccessLevel::new(name, title, it.description.clone(), definition)?)
}

/// Google demands a title of a condition. One without is called by what it says.
pub(super) fn titled(condition: Expr) -> ConditionText {
    let mut text = decode_condition(condition);
    if text.title.is_empty() {
        text.title = title_of(&text.expression);
    }
    text
}

fn title_of(expression: &str) -> String {
    let words = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.chars().count() > TITLE_LIMIT {
        true => words.chars().take(TITLE_LIMIT - 1).chain(['…']).collect(),
        false => words,
    }
}

/// Writes what is stated, sorted.
pub(crate) fn write(stated: &Stated, names: &Names) -> WorldFile {
    fn all<T, W>(list: &Option<Vec<T>>, write: impl Fn(&T) -> W) -> Option<Vec<W>> {
        list.as_ref().map(|list| list.iter().map(write).collect())
    }
    let mut file = WorldFile {
        applications: all(&stated.applications, written_application),
        policies: all(&stated.policies, |(resource, bindings)| WrittenPolicy {
            resource: names.written(resource),
            bindings: bindings.iter().map(|it| written_binding(it, &names.project)).collect(),
        }),
        deny_policies: all(&stated.deny_policies, |policy| written_deny(policy, names)),
        settings: all(&stated.settings, |(resource, settings)| WrittenSettings {
            resource: names.written(resource),
            settings: encode_settings("", settings),
        }),
        groups: all(&stated.groups, |(group, members)| WrittenGroup {
            email: group.email.to_string(),
            display_name: group.display_name.clone(),
            description: group.description.clone(),
            members: members.iter().map(Member::to_string).collect(),
        }),
        roles: all(&stated.roles, |role| written_role(role, names)),
        access_levels: all(&stated.access_levels, |level| written_level(level, names)),
        service_accounts: all(&stated.service_accounts, |account| WrittenServiceAccount {
            id: local_part(&account.email),
            display_name: account.display_name.clone(),
            description: account.description.clone(),
            disabled: account.disabled,
        }),
    };
    file.sort();
    file
}

fn written_application(it: &Application) -> WrittenApplication {
    let WrittenKind { kind, region, service, version } = written_kind(&it.kind);
    let has_number = kind == doorward_wire::doorward_api::ApplicationKind::BackendService;
    let own_number = Some(it.service_id.clone()).filter(|number| has_number && !names::is_new(number));
    WrittenApplication {
        name: it.name.to_string(),
        kind,
        region: region.map(str::to_owned),
        service: service.map(str::to_owned),
        version: version.map(str::to_owned),
        id: own_number,
        hosts: hosts_of(it),
        path_prefixes: prefixes_of(it),
        upstreams: it.upstreams.clone(),
        iap_enabled: it.iap_enabled,
        client_id: Some(it.client_id.0.clone()).filter(|id| !id.is_empty()),
        description: it.description.clone(),
        labels: it.labels.clone(),
    }
}

pub(super) fn written_binding(it: &Binding, project: &Project) -> WrittenBinding {
    let untitled = |text: &ConditionText| {
        let mut condition = encode_condition(text);
        if condition.title == title_of(&condition.expression) && condition.description.is_empty() {
            condition.title = String::new();
        }
        condition
    };
    WrittenBinding {
        role: it.role.shown(project),
        members: it.members.iter().map(Member::to_string).collect(),
        condition: it.condition.as_ref().map(untitled),
    }
}

fn written_deny(policy: &DenyPolicy, names: &Names) -> WrittenDenyPolicy {
    let principals = |members: &[Member]| members.iter().map(|it| principal_v2(it).to_string()).collect();
    let permissions = |patterns: &[PermissionPattern]| patterns.iter().map(|it| it.as_str().to_owned()).collect();
    let rule = |rule: &DenyRule| WrittenDenyRule {
        description: rule.description.clone(),
        denied_principals: principals(&rule.denied_principals),
        exception_principals: principals(&rule.exception_principals),
        denied_permissions: permissions(&rule.denied_permissions),
        exception_permissions: permissions(&rule.exception_permissions),
        condition: rule.condition.as_ref().map(encode_condition),
    };
    WrittenDenyPolicy {
        id: policy.name.id.clone(),
        attached_to: names.written(&policy.name.attachment),
        display_name: policy.display_name.clone(),
        rules: policy.rules.iter().map(rule).collect(),
    }
}

fn written_role(role: &CustomRole, names: &Names) -> WrittenRole {
    let own = format!("projects/{}/roles/", names.project.number);
    WrittenRole {
        id: role.name.as_str().strip_prefix(&own).unwrap_or(role.name.as_str()).to_owned(),
        title: role.title.clone(),
        description: role.description.clone(),
        stage: match role.stage {
            LaunchStage::Alpha => RoleLaunchStage::Alpha,
            LaunchStage::Beta => RoleLaunchStage::Beta,
            LaunchStage::Ga => RoleLaunchStage::Ga,
            LaunchStage::Deprecated => RoleLaunchStage::Deprecated,
            LaunchStage::Disabled => RoleLaunchStage::Disabled,
            LaunchStage::Eap => RoleLaunchStage::Eap,
        },
        permissions: role.permissions.iter().map(|permission| permission.name().to_owned()).collect(),
    }
}

fn written_level(level: &AccessLevel, names: &Names) -> WrittenAccessLevel {
    let own = format!("accessPolicies/{}/accessLevels/", names.project.number);
    let short = |name: &AccessLevelName| name.as_str().strip_prefix(&own).unwrap_or(name.as_str()).to_owned();
    let (expression, simple) = match level.definition() {
        Definition::Expression(expression) => (Some(expression.clone()), Simple::default()),
        Definition::Simple(simple) => (None, simple.clone()),
    };
    WrittenAccessLevel {
        name: short(level.name()),
        title: Some(level.title().to_owned()).filter(|title| title != level.name().id()).unwrap_or_default(),
        description: level.description().to_owned(),
        expression,
        ip_subnetworks: simple.ip_subnetworks,
        required_access_levels: simple.required_access_levels.iter().map(short).collect(),
        members: simple.members.iter().map(Member::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_without_a_title_is_called_by_what_it_says_and_written_without() {
        let project = Project { id: "p".into(), number: "1".into(), ancestors: vec![] };
        let long = format!("request.path == \"/{}\"", "x".repeat(120));
        for expression in ["request.path ==\n  \"/help\"", &long] {
            let text = titled(Expr { expression: expression.to_owned(), ..Expr::default() });
            assert!((1..=TITLE_LIMIT).contains(&text.title.chars().count()), "{}", text.title);
            let binding = Binding {
                role: RoleName::https_resource_accessor(),
                members: vec![Member::AllUsers],
                condition: Some(text.clone()),
            };
            let condition = written_binding(&binding, &project).condition.unwrap();
            assert_eq!((condition.expression.as_str(), condition.title.as_str()), (expression, ""));
            let named = Binding { condition: Some(ConditionText { title: "t".into(), ..text }), ..binding };
            assert_eq!(written_binding(&named, &project).condition.unwrap().title, "t");
        }
    }
}
