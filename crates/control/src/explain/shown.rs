//! What the engine considered, as our API shows it.

use doorward_core::policy::request::RequestContext;
use doorward_core::policy::{self as core, BindingOutcome, Explanation, Lineage, Read, Remedy, RuleOutcome, WhyNot};
use doorward_core::settings::paths;
use doorward_core::snapshot::Snapshot;
use doorward_wire::doorward_api::{
    Considered, ConsideredAccessLevel, ConsideredBinding, ConsideredDenyRule, EffectiveSetting, ReadAttribute,
    SmallestChange, Verdict,
};
use serde_json::Value;

use super::Target;

/// What access levels are called where a condition reads them.
const ACCESS_LEVELS: &str = "request.auth.access_levels";

pub(super) fn verdict(verdict: &core::Verdict<'_>) -> Verdict {
    match verdict {
        core::Verdict::Allowed(_) => Verdict::Allowed,
        core::Verdict::Denied(_) => Verdict::Denied,
        core::Verdict::NotGranted => Verdict::NotGranted,
    }
}

/// A value as a person reads it is JSON where it is a text or a list.
fn read(read: &Read) -> Vec<ReadAttribute> {
    let value = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
    let one = |(attribute, text): &(String, Option<String>)| ReadAttribute {
        attribute: attribute.clone(),
        value: text.as_ref().map(value),
    };
    read.iter().map(one).collect()
}

/// Every rule of a lineage, also those that do not forbid what was asked for.
pub(super) fn deny_rules(lineage: &Lineage, explanation: &Explanation<'_>) -> Vec<ConsideredDenyRule> {
    let mut rules = Vec::new();
    for node in lineage.deny() {
        for (place, rule) in node.rules.iter().enumerate() {
            let considered = explanation.rules.iter().find(|it| it.policy == node.name && it.rule == place);
            rules.push(ConsideredDenyRule {
                policy: node.name.to_string(),
                rule: place,
                description: rule.rule.description.clone(),
                condition: rule.rule.condition.as_ref().map(|condition| condition.expression.clone()),
                considered: considered.map_or(Considered::LacksPermission, considered_rule),
            });
        }
    }
    rules
}

fn considered_rule(rule: &core::ConsideredRule) -> Considered {
    let (Some(member), Some(outcome)) = (&rule.member, &rule.outcome) else { return Considered::MemberNo };
    let member = member.to_string();
    match outcome {
        RuleOutcome::Excepted(excepted) => Considered::Excepted { member: excepted.to_string() },
        RuleOutcome::Condition(BindingOutcome::Holds) => Considered::Matched { member },
        RuleOutcome::Condition(BindingOutcome::False) => Considered::ConditionFalse { member, read: read(&rule.read) },
        RuleOutcome::Condition(BindingOutcome::Failed(error)) => {
            Considered::ConditionFailed { member, error: error.to_string(), read: read(&rule.read) }
        }
    }
}

pub(super) fn bindings(snapshot: &Snapshot, explanation: &Explanation<'_>) -> Vec<ConsideredBinding> {
    let one = |it: &core::ConsideredBinding| {
        let member = || it.member.as_ref().map(ToString::to_string).unwrap_or_default();
        let role_gone = || snapshot.roles.find(&it.role).is_none_or(|role| role.permissions().is_empty());
        let considered = match &it.outcome {
            WhyNot::Matched => Considered::Matched { member: member() },
            WhyNot::MemberNo => Considered::MemberNo,
            WhyNot::RoleLacksPermission if role_gone() => Considered::RoleGone,
            WhyNot::RoleLacksPermission => Considered::LacksPermission,
            WhyNot::ConditionFalse(seen) => Considered::ConditionFalse { member: member(), read: read(seen) },
            WhyNot::ConditionFailed(error, seen) => {
                Considered::ConditionFailed { member: member(), error: error.to_string(), read: read(seen) }
            }
        };
        ConsideredBinding {
            resource: it.resource.to_string(),
            role: it.role.shown(&snapshot.project),
            condition: it.condition.as_ref().map(|condition| condition.expression.clone()),
            considered,
        }
    };
    explanation.bindings.iter().map(one).collect()
}

/// Every access level, if some condition asks for those that are met.
pub(super) fn access_levels(
    snapshot: &Snapshot,
    lineage: &Lineage,
    context: &RequestContext<'_>,
) -> Vec<ConsideredAccessLevel> {
    let asks = |condition: &core::BoundCondition| {
        condition.condition.reads().iter().any(|attribute| attribute.to_string() == ACCESS_LEVELS)
    };
    let granting = lineage.allow().iter().flat_map(|node| node.bindings.iter()).filter_map(|it| it.condition.as_ref());
    let denying = lineage.deny().iter().flat_map(|node| node.rules.iter()).filter_map(|it| it.condition.as_ref());
    if !granting.chain(denying).any(|condition| asks(condition)) {
        return Vec::new();
    }
    let met = context.access_levels().unwrap_or_default();
    let one = |level: &doorward_core::access_level::AccessLevel| {
        let outcome = context.access_level(level.name().as_str());
        let seen: Read = level.condition().map_or_else(Vec::new, |condition| {
            condition.reads().iter().map(|it| (it.to_string(), it.value(context))).collect()
        });
        ConsideredAccessLevel {
            name: level.name().to_string(),
            met: met.contains(&level.name().as_str()),
            error: outcome.and_then(Result::err).map(|error| error.to_string()),
            read: read(&seen),
        }
    };
    snapshot.access_levels.levels().iter().map(one).collect()
}

/// The settings that say which credentials are good, and all that were set.
pub(super) fn settings(snapshot: &Snapshot, target: &Target) -> Vec<EffectiveSetting> {
    const OF_CREDENTIALS: [&str; 2] = [paths::PROGRAMMATIC_CLIENTS, paths::EMAIL_CLAIM];
    if target.application.is_none() {
        return Vec::new();
    }
    let effective = snapshot.settings_at(&target.lineage.resource);
    let part = effective.in_force().into_iter();
    let part = part.filter(|it| it.from.is_some() || OF_CREDENTIALS.contains(&it.path));
    part.map(|it| EffectiveSetting {
        path: it.path.to_owned(),
        value: serde_json::from_str(&it.value).unwrap_or(Value::Null),
        from: it.from.map(|resource| resource.name(&snapshot.project)),
    })
    .collect()
}

/// What opens an application that lets nobody in.
pub(super) fn enable(application: &str) -> SmallestChange {
    SmallestChange {
        description: format!("IAP is switched off for {application}, so nobody is let in: switch it on."),
        command: format!("doorward app enable {application}"),
    }
}

/// What whoever asks has to do where a path is refused.
pub(super) fn another_path(wrong: &str) -> SmallestChange {
    let description = format!("The request is refused with 400, whoever asks: {wrong}. Ask for another path.");
    SmallestChange { description, command: String::new() }
}

/// All that has to be done, as one sentence for each; the command is there if one is enough.
pub(super) fn smallest_change(remedies: &[Remedy]) -> Option<SmallestChange> {
    let changes: Vec<SmallestChange> = remedies.iter().map(change).collect();
    match changes.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => {
            let description = several.iter().map(|it| it.description.as_str()).collect::<Vec<_>>().join(" ");
            Some(SmallestChange { description, command: String::new() })
        }
    }
}

fn change(remedy: &Remedy) -> SmallestChange {
    let only = |description| SmallestChange { description, command: String::new() };
    match remedy {
        Remedy::SignIn => only("Nobody was proven: sign in.".to_owned()),
        Remedy::Except { policy, rule, member } => {
            only(format!("Add {member} to the exceptions of rule {rule} of the deny policy {policy}."))
        }
        Remedy::Condition { resource, role, condition, read, .. } => {
            let seen: Vec<String> = read
                .iter()
                .map(|(attribute, value)| match value {
                    Some(value) => format!("{attribute} was {value}"),
                    None => format!("{attribute} was not known"),
                })
                .collect();
            let why = if seen.is_empty() { String::new() } else { format!(" ({})", seen.join(", ")) };
            only(format!("Ask so that `{}` holds for {role} on {resource}{why}, or change it.", condition.expression))
        }
        Remedy::AddMember { resource, role, member, .. } => SmallestChange {
            description: format!("Give {role} to {member} on {resource}."),
            command: format!("doorward policy add --resource {resource} --member '{member}' --role {role}"),
        },
    }
}
