//! `doorward policy`: who may reach what, through the methods of `iap.googleapis.com`.

use anyhow::{Context as _, bail};
use doorward_core::member::Member;
use doorward_server::dev::description::Description;
use doorward_wire::google_api::{Binding, Policy, Status};
use serde_json::{Value, json};

use crate::api::{Api, ApiError, path_segment};
use crate::output::{json_line, print, printable, table};
use crate::world::{AppName, WorldArgs};

/// How often a change is tried while others win. Each loss means that another writer made progress.
const ATTEMPTS: usize = 5;

/// Show and change who may reach the applications
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward policy get --app app
  doorward policy add --app app --member user:bob@example.com")]
pub(crate) enum Command {
    Get(GetArgs),
    Add(AddArgs),
    Remove(RemoveArgs),
}

/// Show the bindings of a resource; those of the resources above it count too
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward policy get --app app")]
pub(crate) struct GetArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    common: Common,
}

/// Let a member in, from the next request on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Members: user:EMAIL, serviceAccount:EMAIL, domain:DOMAIN, allAuthenticatedUsers, allUsers.

Example:
  doorward policy add --app app --member user:bob@example.com
  doorward policy add --project --member domain:example.com")]
pub(crate) struct AddArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    binding: BindingArgs,
    #[command(flatten)]
    common: Common,
}

/// Take a binding away, from the next request on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward policy remove --app app --member user:bob@example.com")]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    binding: BindingArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// An application
    #[arg(long, value_name = "NAME")]
    app: Option<AppName>,
    /// All applications of the project
    #[arg(long)]
    project: bool,
    /// A resource by its name, such as projects/NUMBER/iap_web/compute
    #[arg(long, value_name = "RESOURCE_NAME")]
    resource: Option<String>,
}

#[derive(Debug, clap::Args)]
struct BindingArgs {
    /// Who
    #[arg(long, value_parser = member)]
    member: Member,
    /// What they hold
    #[arg(long, default_value = "roles/iap.httpsResourceAccessor")]
    role: String,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Print the policy as the API answers it
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    world: WorldArgs,
}

fn member(text: &str) -> Result<Member, String> {
    text.parse().map_err(|error| {
        format!("{error}: use user:EMAIL, serviceAccount:EMAIL, domain:DOMAIN, allAuthenticatedUsers or allUsers")
    })
}

impl Target {
    fn resource(&self, world: &Description) -> String {
        match (self.app, &self.resource) {
            (Some(app), _) => app.of(world).resource.clone(),
            (None, Some(resource)) => resource.clone(),
            // The group demands one of the three.
            (None, None) => format!("projects/{}/iap_web", world.project.number),
        }
    }
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Get(args) => get(args).await,
        Command::Add(AddArgs { target, binding, common }) => change(Change::Add, target, binding, common).await,
        Command::Remove(RemoveArgs { target, binding, common }) => {
            change(Change::Remove, target, binding, common).await
        }
    }
}

async fn get(GetArgs { target, common }: GetArgs) -> anyhow::Result<()> {
    let world = common.world.open()?;
    let resource = target.resource(&world);
    let answer = read(&Api::of(&world)?, &resource).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&answer)? } else { shown(&resource, &policy(answer)?) })?)
}

/// A policy for people.
fn shown(resource: &str, policy: &Policy) -> String {
    let rows: Vec<_> = policy
        .bindings
        .iter()
        .flat_map(|binding| binding.members.iter().map(|member| [binding.role.clone(), member.clone()]))
        .collect();
    if rows.is_empty() {
        return format!("{} has no bindings of its own\n", printable(resource));
    }
    table(["ROLE", "MEMBER"], &rows)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

impl Change {
    /// Makes the change. Says whether there was anything to change.
    ///
    /// A binding with a condition is another binding, as for gcloud: it is left alone.
    fn apply(self, policy: &mut Policy, role: &str, member: &str) -> bool {
        let mut same = policy.bindings.iter_mut().filter(|binding| binding.role == role && binding.condition.is_none());
        match self {
            Change::Add => {
                let mut first = None;
                for binding in same {
                    if binding.members.iter().any(|held| held == member) {
                        return false;
                    }
                    first = first.or(Some(&mut binding.members));
                }
                match first {
                    Some(members) => members.push(member.to_owned()),
                    None => {
                        let members = vec![member.to_owned()];
                        policy.bindings.push(Binding { role: role.to_owned(), members, condition: None });
                    }
                }
                true
            }
            Change::Remove => {
                let removed = same.by_ref().fold(false, |removed, binding| {
                    let before = binding.members.len();
                    binding.members.retain(|held| held != member);
                    removed || binding.members.len() < before
                });
                policy.bindings.retain(|binding| !binding.members.is_empty());
                removed
            }
        }
    }
}

async fn change(
    change: Change,
    target: Target,
    BindingArgs { member, role }: BindingArgs,
    common: Common,
) -> anyhow::Result<()> {
    let world = common.world.open()?;
    let resource = target.resource(&world);
    let (changed, answer) = replace(&Api::of(&world)?, &resource, change, &role, &member.to_string()).await?;
    let line = match (change, changed) {
        (Change::Add, true) => format!("added {member} to {role} on {resource}"),
        (Change::Add, false) => format!("{member} held {role} on {resource} before: nothing was changed"),
        (Change::Remove, true) => format!("removed {member} from {role} on {resource}"),
        (Change::Remove, false) => {
            bail!("{member} does not hold {role} on {resource}: `doorward policy get` shows its bindings")
        }
    };
    Ok(print(&if common.json { json_line(&answer)? } else { format!("{}\n", printable(&line)) })?)
}

/// Reads, changes and writes back until no other writer came between. Gives whether anything was changed, and the policy as it
/// is now.
async fn replace(api: &Api, resource: &str, change: Change, role: &str, member: &str) -> anyhow::Result<(bool, Value)> {
    for _ in 0..ATTEMPTS {
        let answer = read(api, resource).await.map_err(advise)?;
        let mut policy = policy(answer.clone())?;
        if !change.apply(&mut policy, role, member) {
            return Ok((false, answer));
        }
        match api.post(&method(resource, "setIamPolicy"), &json!({"policy": policy})).await {
            Ok(answer) => return Ok((true, answer)),
            Err(error) if error.is(Status::Aborted) => {}
            Err(error) => return Err(advise(error)),
        }
    }
    bail!("{resource} is being changed by others without a pause: try again")
}

async fn read(api: &Api, resource: &str) -> Result<Value, ApiError> {
    api.post(&method(resource, "getIamPolicy"), &json!({})).await
}

fn method(resource: &str, name: &str) -> String {
    let segments: Vec<String> = resource.split('/').map(path_segment).collect();
    format!("/iap.googleapis.com/v1/{}:{name}", segments.join("/"))
}

fn policy(answer: Value) -> anyhow::Result<Policy> {
    serde_json::from_value(answer).context("the answer is not a policy; another version of `doorward` may be serving")
}

fn advise(error: ApiError) -> anyhow::Error {
    error.advise(Status::NotFound, "name an application with --app, or a `resource` of dev.json with --resource")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::{api_at, block_on, replay};

    const ROLE: &str = "roles/iap.httpsResourceAccessor";

    fn bindings(value: Value) -> Policy {
        serde_json::from_value(json!({ "bindings": value })).unwrap()
    }

    #[test]
    fn a_change_touches_the_binding_of_its_role_without_a_condition_and_nothing_else() {
        use Change::{Add, Remove};
        let conditional = || json!({"role": ROLE, "members": ["user:a@x.com"], "condition": {"expression": "true"}});
        let of = |role: &str, members: Value| json!({"role": role, "members": members});
        #[rustfmt::skip]
        let cases = [
            (Add,    json!([]),                                          Some(json!([of(ROLE, json!(["user:a@x.com"]))]))),
            (Add,    json!([of(ROLE, json!(["allUsers"]))]),             Some(json!([of(ROLE, json!(["allUsers", "user:a@x.com"]))]))),
            (Add,    json!([of("roles/x", json!(["user:a@x.com"]))]),    Some(json!([of("roles/x", json!(["user:a@x.com"])), of(ROLE, json!(["user:a@x.com"]))]))),
            (Add,    json!([conditional()]),                             Some(json!([conditional(), of(ROLE, json!(["user:a@x.com"]))]))),
            (Add,    json!([of(ROLE, json!(["user:a@x.com"]))]),         None),
            (Add,    json!([of(ROLE, json!(["allUsers"])), of(ROLE, json!(["user:a@x.com"]))]), None),
            (Remove, json!([]),                                          None),
            (Remove, json!([of(ROLE, json!(["allUsers"]))]),             None),
            (Remove, json!([of("roles/x", json!(["user:a@x.com"]))]),    None),
            (Remove, json!([conditional()]),                             None),
            (Remove, json!([of(ROLE, json!(["user:a@x.com"]))]),         Some(json!([]))),
            (Remove, json!([of(ROLE, json!(["user:a@x.com", "allUsers"])), of(ROLE, json!(["user:a@x.com"])), conditional()]),
                                                                         Some(json!([of(ROLE, json!(["allUsers"])), conditional()]))),
        ];
        for (change, before, after) in cases {
            let mut policy = bindings(before.clone());
            let changed = change.apply(&mut policy, ROLE, "user:a@x.com");
            assert_eq!(changed, after.is_some(), "{change:?} {before}");
            assert_eq!(policy, bindings(after.unwrap_or(before)));
        }
    }

    #[test]
    fn a_change_that_lost_against_another_is_made_again_on_what_the_other_left() {
        let aborted = || (409, json!({"error": {"code": 409, "message": "Changed.", "status": "ABORTED"}}));
        let policy =
            |etag: &str, members: Value| json!({"etag": etag, "bindings": [{"role": ROLE, "members": members}]});
        let after = policy("AAM=", json!(["user:b@x.com", "user:a@x.com"]));
        let (address, asked) = replay(vec![
            (200, json!({"etag": "AAE="})),
            aborted(),
            (200, policy("AAI=", json!(["user:b@x.com"]))),
            (200, after.clone()),
        ]);
        let changed =
            block_on(replace(&api_at(address), "projects/1/iap_web", Change::Add, ROLE, "user:a@x.com")).unwrap();
        assert_eq!(changed, (true, after));
        let asked = asked.join().unwrap();
        let sent = |n: usize| serde_json::from_str::<Value>(asked[n].split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(asked[0].starts_with("POST /iap.googleapis.com/v1/projects/1/iap_web:getIamPolicy HTTP/1.1\r\n"));
        assert!(asked[3].starts_with("POST /iap.googleapis.com/v1/projects/1/iap_web:setIamPolicy HTTP/1.1\r\n"));
        assert_eq!(sent(1), json!({"policy": policy("AAE=", json!(["user:a@x.com"]))}));
        assert_eq!(sent(3), json!({"policy": policy("AAI=", json!(["user:b@x.com", "user:a@x.com"]))}));

        let never = (0..ATTEMPTS).flat_map(|_| [(200, json!({"etag": "AAE="})), aborted()]).collect();
        let (address, asked) = replay(never);
        let refused = block_on(replace(&api_at(address), "projects/1", Change::Add, ROLE, "allUsers")).unwrap_err();
        assert_eq!(refused.to_string(), "projects/1 is being changed by others without a pause: try again");
        assert_eq!(asked.join().unwrap().len(), 2 * ATTEMPTS);
    }

    #[test]
    fn a_policy_is_shown_as_a_row_for_each_member() {
        let policy = bindings(json!([{"role": ROLE, "members": ["user:a@x.com", "allUsers"]}]));
        let expected = "ROLE                             MEMBER\n\
                        roles/iap.httpsResourceAccessor  user:a@x.com\n\
                        roles/iap.httpsResourceAccessor  allUsers\n";
        assert_eq!(shown("projects/1", &policy), expected);
        assert_eq!(shown("projects/1", &Policy::default()), "projects/1 has no bindings of its own\n");
    }
}
