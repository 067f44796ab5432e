//! The file in the terms of the domain: read, checked by its form, and written back in its one form.

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
use doorward_core::resource::{Application, Branch, ClientId, Resource};
use doorward_core::settings::Settings;
use doorward_wire::google_api::Expr;
use doorward_wire::google_api::iam_roles::RoleLaunchStage;
use doorward_wire::world_file::{
    WorldFile, WrittenAccessLevel, WrittenApplication, WrittenBinding, WrittenDenyPolicy, WrittenDenyRule,
    WrittenGroup, WrittenPolicy, WrittenRole, WrittenServiceAccount, WrittenSettings,
};

use super::names::{self, Names, local_part, new_account, placeholder};
use super::{Mistake, WorldError};
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
pub(crate) fn read(file: &WorldFile, names: &mut Names<'_>, schema: &Schema) -> Result<Stated, WorldError> {
    if let Some(twice) = file.first_duplicate() {
        return Err(WorldError::of("the file", Mistake::Twice(twice)));
    }
    let applications = list(&file.applications, |it| format!("app {}", it.name), |it| application(it, names))?;
    let service_accounts = list(&file.service_accounts, |it| format!("account {}", it.id), |it| account(it, names))?;
    for new in applications.iter().flatten() {
        names.applications.retain(|old| old.service_id != new.service_id && old.name != new.name);
        names.applications.push(new.clone());
    }
    for new in service_accounts.iter().flatten() {
        names.accounts.retain(|old| old.email != new.email);
        names.accounts.push(new.clone());
    }
    let names = &*names;
    let stated = Stated {
        applications,
        service_accounts,
        policies: list(&file.policies, |it| format!("the policy of {}", it.resource), |it| policy(it, names, schema))?,
        deny_policies: list(&file.deny_policies, |it| format!("deny policy {}", it.id), |it| deny(it, names, schema))?,
        settings: list(&file.settings, |it| format!("the settings of {}", it.resource), |it| settings(it, names))?,
        groups: list(&file.groups, |it| format!("group {}", it.email), group)?,
        roles: list(&file.roles, |it| format!("role {}", it.id), |it| role(it, names))?,
        access_levels: list(&file.access_levels, |it| format!("access level {}", it.name), |it| level(it, names))?,
    };
    // Two spellings of one thing are seen only now.
    match write(&stated, names).first_duplicate() {
        Some(twice) => Err(WorldError::of("the file", Mistake::Twice(twice))),
        None => Ok(stated),
    }
}

fn list<T, S>(
    list: &Option<Vec<T>>,
    place: impl Fn(&T) -> String,
    read: impl Fn(&T) -> Result<S, Mistake>,
) -> Result<Option<Vec<S>>, WorldError> {
    let one = |it: &T| read(it).map_err(|mistake| WorldError::of(&place(it), mistake));
    list.as_ref().map(|list| list.iter().map(one).collect()).transpose()
}

fn application(it: &WrittenApplication, names: &Names<'_>) -> Result<Application, Mistake> {
    let old = names.applications.iter().find(|old| old.name.as_str() == it.name);
    let (region, service, version) = (it.region.as_deref(), it.service.as_deref(), it.version.as_deref());
    let own_number = it.id.as_deref().map(number).transpose()?;
    let own_client = it.client_id.clone().map(ClientId);
    let service_id = own_number.or_else(|| old.map(|old| old.service_id.clone()));
    Ok(Application {
        name: it.name.parse().map_err(crate::applications::ApplicationError::from)?,
        service_id: service_id.unwrap_or_else(|| placeholder(&it.name)),
        kind: kind(WrittenKind { kind: it.kind, region, service, version })?,
        client_id: own_client.or_else(|| old.map(|old| old.client_id.clone())).unwrap_or(ClientId(String::new())),
        iap_enabled: it.iap_enabled,
        routes: routes(&it.hosts, &it.path_prefixes)?,
        upstreams: upstreams(&it.upstreams)?,
        description: description(&it.description)?,
        labels: labels(&it.labels)?,
        etag: old.map_or(Etag::UNWRITTEN, |old| old.etag),
    })
}

fn account(it: &WrittenServiceAccount, names: &Names<'_>) -> Result<ServiceAccount, Mistake> {
    let email = names.email(&it.id).ok_or_else(|| Mistake::AccountId(it.id.clone()))?;
    let old = names.accounts.iter().find(|old| old.email == email).cloned();
    let account = old.unwrap_or_else(|| new_account(email));
    let (display_name, description) = (it.display_name.clone(), it.description.clone());
    Ok(ServiceAccount { display_name, description, disabled: it.disabled, ..account })
}

fn policy(it: &WrittenPolicy, names: &Names<'_>, schema: &Schema) -> Result<(Resource, Vec<Binding>), Mistake> {
    let resource = names.resource(&it.resource)?;
    let bindings = it.bindings.iter().map(|it| {
        let members = it.members.iter().map(|text| member(text)).collect::<Result<Vec<_>, _>>()?;
        Ok(Binding { role: role_name(&it.role, names)?, members, condition: it.condition.clone().map(titled) })
    });
    let bindings = bindings.collect::<Result<Vec<_>, Mistake>>()?;
    Policy::check(&bindings, 3, schema)?;
    Ok((resource, bindings))
}

fn role_name(text: &str, names: &Names<'_>) -> Result<RoleName, Mistake> {
    RoleName::parse(text, names.project).map_err(|_| Mistake::Role(text.to_owned()))
}

fn member(text: &str) -> Result<Member, Mistake> {
    text.parse().map_err(|error| Mistake::Member { member: text.to_owned(), error })
}

fn deny(it: &WrittenDenyPolicy, names: &Names<'_>, schema: &Schema) -> Result<DenyPolicy, Mistake> {
    let attachment = names.resource(&it.attached_to)?;
    if attachment.branch() != Branch::Above {
        return Err(doorward_core::policy::DenyPolicyError::Attachment.into());
    }
    let principals = |texts: &[String]| {
        let read =
            |text: &String| read_principal_v2(text).map_err(|error| Mistake::Member { member: text.clone(), error });
        texts.iter().map(read).collect::<Result<Vec<_>, _>>()
    };
    let permissions = |texts: &[String]| {
        let read = |text: &String| text.parse::<PermissionPattern>().map_err(Mistake::from);
        texts.iter().map(read).collect::<Result<Vec<_>, _>>()
    };
    let rule = |it: &WrittenDenyRule| {
        Ok(DenyRule {
            description: it.description.clone(),
            denied_principals: principals(&it.denied_principals)?,
            exception_principals: principals(&it.exception_principals)?,
            denied_permissions: permissions(&it.denied_permissions)?,
            exception_permissions: permissions(&it.exception_permissions)?,
            condition: it.condition.clone().map(decode_condition),
        })
    };
    let rules = it.rules.iter().map(rule).collect::<Result<Vec<_>, Mistake>>()?;
    DenyPolicy::check(&rules, schema)?;
    let unwritten = Timestamp::from_seconds(0);
    let name = DenyPolicyName { attachment, id: it.id.clone() };
    // The id is checked by reading the name back.
    let name = DenyPolicyName::parse(&name.name(names.project), names.project)?;
    Ok(DenyPolicy {
        name,
        uid: String::new(),
        display_name: it.display_name.clone(),
        rules,
        created: unwritten,
        updated: unwritten,
        etag: Etag::UNWRITTEN,
    })
}

fn settings(it: &WrittenSettings, names: &Names<'_>) -> Result<(Resource, Settings), Mistake> {
    let settings = decode_settings(&it.settings)?;
    settings.check().map_err(crate::settings::SettingsError::from)?;
    Ok((names.resource(&it.resource)?, settings))
}

fn group(it: &WrittenGroup) -> Result<(Group, Vec<Member>), Mistake> {
    let email: Email = it.email.parse().map_err(|_| Mistake::Email(it.email.clone()))?;
    let mut members = it.members.iter().map(|text| member(text)).collect::<Result<Vec<_>, _>>()?;
    members.sort_unstable();
    members.dedup();
    if let Some(wrong) = members.iter().find(|member| !Group::takes(member)) {
        return Err(Mistake::NoMember(wrong.clone()));
    }
    let (display_name, description) = (it.display_name.clone(), it.description.clone());
    Ok((Group { email, display_name, description, etag: Etag::UNWRITTEN }, members))
}

fn role(it: &WrittenRole, names: &Names<'_>) -> Result<CustomRole, Mistake> {
    let full =
        if it.id.contains('/') { it.id.clone() } else { format!("projects/{}/roles/{}", names.project.id, it.id) };
    let name = role_name(&full, names)?;
    if !name.is_custom() || !name.is_of(names.project) {
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
pub(super) fn level_name(text: &str, names: &Names<'_>) -> Result<AccessLevelName, Mistake> {
    if text.contains('/') {
        return Ok(text.parse()?);
    }
    Ok(format!("accessPolicies/{}/accessLevels/{text}", names.project.number).parse()?)
}

fn level(it: &WrittenAccessLevel, names: &Names<'_>) -> Result<AccessLevel, Mistake> {
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
pub(crate) fn write(stated: &Stated, names: &Names<'_>) -> WorldFile {
    fn all<T, W>(list: &Option<Vec<T>>, write: impl Fn(&T) -> W) -> Option<Vec<W>> {
        list.as_ref().map(|list| list.iter().map(write).collect())
    }
    let mut file = WorldFile {
        applications: all(&stated.applications, written_application),
        policies: all(&stated.policies, |(resource, bindings)| WrittenPolicy {
            resource: names.written(resource),
            bindings: bindings.iter().map(written_binding).collect(),
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

pub(super) fn written_binding(it: &Binding) -> WrittenBinding {
    let untitled = |text: &ConditionText| {
        let mut condition = encode_condition(text);
        if condition.title == title_of(&condition.expression) && condition.description.is_empty() {
            condition.title = String::new();
        }
        condition
    };
    WrittenBinding {
        role: it.role.to_string(),
        members: it.members.iter().map(Member::to_string).collect(),
        condition: it.condition.as_ref().map(untitled),
    }
}

fn written_deny(policy: &DenyPolicy, names: &Names<'_>) -> WrittenDenyPolicy {
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

fn written_role(role: &CustomRole, names: &Names<'_>) -> WrittenRole {
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

fn written_level(level: &AccessLevel, names: &Names<'_>) -> WrittenAccessLevel {
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
        let long = format!("request.path == \"/{}\"", "x".repeat(120));
        for expression in ["request.path ==\n  \"/help\"", &long] {
            let text = titled(Expr { expression: expression.to_owned(), ..Expr::default() });
            assert!((1..=TITLE_LIMIT).contains(&text.title.chars().count()), "{}", text.title);
            let binding = Binding {
                role: RoleName::https_resource_accessor(),
                members: vec![Member::AllUsers],
                condition: Some(text.clone()),
            };
            let condition = written_binding(&binding).condition.unwrap();
            assert_eq!((condition.expression.as_str(), condition.title.as_str()), (expression, ""));
            let named = Binding { condition: Some(ConditionText { title: "t".into(), ..text }), ..binding };
            assert_eq!(written_binding(&named).condition.unwrap().title, "t");
        }
    }
}
