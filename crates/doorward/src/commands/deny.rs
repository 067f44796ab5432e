//! `doorward deny`: who may not, whatever the policies say, through version 2 of `iam.googleapis.com`.

use doorward_core::policy::read_principal_v2;
use doorward_wire::google_api::iam_deny::{DenyRule, ListPoliciesResponse, Policy, PolicyRule};
use doorward_wire::google_api::{Expr, LongRunningOperation, Status};

use super::Common;
use crate::api::{ApiError, every_page, with_query};
use crate::condition::{self, FORM, condition};
use crate::file;
use crate::iam_policy::{levels_note, nobody_note};
use crate::output::{json_line, lines, print, printable, say, table};
use crate::server::Server;
use doorward_wire::uri::path_segment;

/// What is denied if nothing is named.
const ACCESS: &str = "iap.googleapis.com/webServiceVersions.accessViaIAP";
const SEE_LIST: &str = "`doorward deny list` shows the deny policies";

/// Create, list, change and delete deny policies, which come before every policy that lets somebody in
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Example:
  doorward deny create no-contractors --principal group:contractors@example.com
  doorward deny list")]
pub(crate) enum Command {
    Create(CreateArgs),
    List(ListArgs),
    Describe(DescribeArgs),
    Update(UpdateArgs),
    Delete(DeleteArgs),
}

/// Create a deny policy, in force from the next request on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The options make a policy of one rule; a file may hold several. It is what `doorward deny describe --json` and `gcloud iam policies get`
print, in JSON or YAML.

Example:
  doorward deny create no-contractors --principal group:contractors@example.com
  doorward deny create no-admin --principal principalSet://goog/public:all --exception-principal group:ops@example.com \\
      --condition 'expression=request.path.startsWith(\"/admin\")'
  doorward deny create several -f rules.yaml")]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// The policy's id at what it is attached to: 3 to 63 of a-z, 0-9, . and -
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    attached: AttachedArgs,
}

/// What a deny policy is attached to: the project, if nothing is said.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct AttachedArgs {
    /// Attached to an organization instead of the project
    #[arg(long, value_name = "NUMBER")]
    organization: Option<String>,
    /// Attached to a folder instead of the project
    #[arg(long, value_name = "NUMBER")]
    folder: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
struct PolicyArgs {
    /// Whom, as in a policy, such as group:EMAIL, or principalSet://goog/public:all for everybody; may be given several times
    #[arg(long = "principal", value_name = "MEMBER", required_unless_present = "file")]
    principals: Vec<String>,
    /// Of them, whom not
    #[arg(long = "exception-principal", value_name = "MEMBER", requires = "principals")]
    exception_principals: Vec<String>,
    /// What, as SERVICE.googleapis.com/RESOURCE.VERB, with * for a resource or a verb
    /// [default: iap.googleapis.com/webServiceVersions.accessViaIAP]
    #[arg(long = "permission", value_name = "PERMISSION", requires = "principals")]
    permissions: Vec<String>,
    /// Of that, what not
    #[arg(long = "exception-permission", value_name = "PERMISSION", requires = "principals")]
    exception_permissions: Vec<String>,
    /// When; always, without one. One that cannot be evaluated denies
    #[arg(long, value_name = FORM, value_parser = condition, requires = "principals")]
    condition: Option<Expr>,
    /// Instead: the policy of a file
    #[arg(short = 'f', long = "file", value_name = "FILE", conflicts_with = "principals")]
    file: Option<std::path::PathBuf>,
    /// A name for people
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
}

/// List the deny policies of the project, or of what it lies in
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward deny list
  doorward deny list --organization 1")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    attached: AttachedArgs,
    #[command(flatten)]
    common: Common,
}

/// Show a deny policy and its rules
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward deny describe no-contractors")]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    common: Common,
}

/// Replace the rules of a deny policy
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward deny update no-contractors --principal group:contractors@example.com --exception-principal user:ann@example.com")]
pub(crate) struct UpdateArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    policy: PolicyArgs,
    #[command(flatten)]
    common: Common,
}

/// Delete a deny policy: what the other policies say holds again, from the next request on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward deny delete no-contractors")]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    common: Common,
}

impl AttachedArgs {
    /// The path of the policies there. The slashes of an attachment are written as `%2F`.
    async fn path(&self, server: &Server) -> anyhow::Result<String> {
        let resource = match (&self.organization, &self.folder) {
            (Some(number), _) => format!("organizations/{number}"),
            (None, Some(number)) => format!("folders/{number}"),
            (None, None) => format!("projects/{}", server.project_number().await?),
        };
        let attachment = path_segment(&format!("cloudresourcemanager.googleapis.com/{resource}"));
        Ok(format!("/iam.googleapis.com/v2/policies/{attachment}/denypolicies"))
    }
}

impl PlaceArgs {
    async fn path(&self, server: &Server) -> anyhow::Result<String> {
        Ok(format!("{}/{}", self.attached.path(server).await?, path_segment(&self.id)))
    }
}

impl PolicyArgs {
    /// The policy that is meant, without a name.
    fn policy(self) -> anyhow::Result<Policy> {
        let mut policy = match self.file {
            Some(path) => {
                let policy: Policy = file::read(&path)?;
                Policy {
                    display_name: policy.display_name,
                    rules: policy.rules,
                    etag: policy.etag,
                    ..Policy::default()
                }
            }
            None => {
                let denied_permissions =
                    if self.permissions.is_empty() { vec![ACCESS.to_owned()] } else { self.permissions };
                let rule = DenyRule {
                    denied_principals: self.principals,
                    exception_principals: self.exception_principals,
                    denied_permissions,
                    exception_permissions: self.exception_permissions,
                    denial_condition: self.condition,
                };
                let rules = vec![PolicyRule { description: String::new(), deny_rule: Some(rule) }];
                Policy { rules, ..Policy::default() }
            }
        };
        if let Some(name) = self.display_name {
            policy.display_name = name;
        }
        Ok(policy)
    }
}

/// Runs one of the commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => create(args).await,
        Command::List(args) => list(args).await,
        Command::Describe(args) => describe(args).await,
        Command::Update(args) => update(args).await,
        Command::Delete(args) => delete(args).await,
    }
}

async fn create(CreateArgs { place, policy, common }: CreateArgs) -> anyhow::Result<()> {
    let policy = Policy { etag: String::new(), ..policy.policy()? };
    let server = common.server.open().await?;
    let rules = policy.rules.clone();
    let path = with_query(&place.attached.path(&server).await?, &[("policyId", &place.id)]);
    let made: Result<LongRunningOperation, _> = server.api().post(&path, &policy).await;
    let made = made.map_err(|error| match error.is(Status::AlreadyExists) {
        true => error.advise(Status::AlreadyExists, "`doorward deny update` changes it"),
        false => advise(error),
    });
    let made = done(made?)?;
    note_what_is_not_there(&server, &rules).await;
    Ok(print(&if common.json { json_line(&made)? } else { format!("created a deny policy\n{}", shown(&made)) })?)
}

async fn list(ListArgs { attached, common }: ListArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let page = |page: ListPoliciesResponse| (page.policies, page.next_page_token);
    let policies = every_page(server.api(), &attached.path(&server).await?, page).await?;
    if common.json {
        return Ok(print(&json_line(&ListPoliciesResponse { policies, next_page_token: None })?)?);
    }
    let row = |policy: Policy| [id(&policy).to_owned(), policy.update_time, policy.display_name];
    Ok(print(&table(["ID", "CHANGED", "NAME"], &policies.into_iter().map(row).collect::<Vec<_>>()))?)
}

async fn describe(DescribeArgs { place, common }: DescribeArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    let found: Policy = server.api().get(&place.path(&server).await?).await.map_err(advise)?;
    Ok(print(&if common.json { json_line(&found)? } else { shown(&found) })?)
}

async fn update(UpdateArgs { place, policy, common }: UpdateArgs) -> anyhow::Result<()> {
    let names_itself = policy.display_name.is_some() || policy.file.is_some();
    let mut policy = policy.policy()?;
    let server = common.server.open().await?;
    let path = place.path(&server).await?;
    let old: Policy = server.api().get(&path).await.map_err(advise)?;
    if policy.etag.is_empty() {
        policy.etag = old.etag;
    }
    if !names_itself {
        policy.display_name = old.display_name;
    }
    let changed = done(server.api().put(&path, &policy).await.map_err(advise)?)?;
    note_what_is_not_there(&server, &policy.rules).await;
    Ok(print(&if common.json { json_line(&changed)? } else { format!("changed a deny policy\n{}", shown(&changed)) })?)
}

async fn delete(DeleteArgs { place, common }: DeleteArgs) -> anyhow::Result<()> {
    let server = common.server.open().await?;
    server.api().delete(&place.path(&server).await?).await.map_err(advise)?;
    Ok(print(&if common.json { "{}\n".to_owned() } else { format!("deleted {}\n", printable(&place.id)) })?)
}

/// Changes are done when they are answered.
fn done(operation: LongRunningOperation) -> anyhow::Result<Policy> {
    let mut response = operation.response.unwrap_or_default();
    if let Some(fields) = response.as_object_mut() {
        fields.remove("@type");
    }
    let shape = anyhow::Error::from;
    serde_json::from_value(response).map_err(|error| shape(ApiError::Shape(error)))
}

/// Says which principals nobody here can be, and which access levels of conditions nobody meets.
async fn note_what_is_not_there(server: &Server, rules: &[PolicyRule]) {
    for rule in rules.iter().filter_map(|rule| rule.deny_rule.as_ref()) {
        for member in rule.denied_principals.iter().filter_map(|it| read_principal_v2(it).ok()) {
            nobody_note(server, &member, "keeps nobody out").await.iter().for_each(|note| say(note));
        }
        levels_note(server.api(), rule.denial_condition.as_ref()).await.iter().for_each(|note| say(note));
    }
}

fn advise(error: ApiError) -> anyhow::Error {
    // Owners do not have it, as with Google.
    if error.is(Status::PermissionDenied) {
        return error.advise(Status::PermissionDenied, "roles/iam.denyAdmin has it, which no other role includes");
    }
    error.advise(Status::NotFound, SEE_LIST)
}

fn id(policy: &Policy) -> &str {
    policy.name.rsplit('/').next().unwrap_or(&policy.name)
}

/// A policy for people: each of its rules after the other.
fn shown(policy: &Policy) -> String {
    let mut out = lines(&[("id", id(policy)), ("name", &policy.display_name), ("changed", &policy.update_time)]);
    for PolicyRule { description, deny_rule } in &policy.rules {
        let rule = deny_rule.clone().unwrap_or_default();
        out.push_str(&lines(&[
            ("rule", if description.is_empty() { "-" } else { description }),
            ("denies", &rule.denied_principals.join(" ")),
            ("but not", &rule.exception_principals.join(" ")),
            ("what", &rule.denied_permissions.join(" ")),
            ("except", &rule.exception_permissions.join(" ")),
            ("if", &condition::shown(rule.denial_condition.as_ref())),
        ]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use serde_json::{Value, json};

    use crate::api::tests::{block_on, replay};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    const PLACE: &str =
        "/iam.googleapis.com/v2/policies/cloudresourcemanager.googleapis.com%2Fprojects%2F123/denypolicies";

    #[test]
    fn every_command_calls_its_method() {
        let dir = tempfile::tempdir().unwrap();
        let policy = || json!({"name": "policies/x/denypolicies/d", "displayName": "D", "etag": "e"});
        let operation =
            || json!({"name": "o", "done": true, "response": {"@type": "t", "name": "policies/x/denypolicies/d"}});
        let rule = |more: Value| {
            let mut rule = json!({"deniedPrincipals": ["user:a@x.com"], "deniedPermissions": [ACCESS]});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([{"denyRule": rule}])
        };
        #[rustfmt::skip]
        let cases: [(&str, Vec<Value>, String, Value); 6] = [
            ("create d --principal user:a@x.com",                   vec![operation()],            format!("POST {PLACE}?policyId=d"), json!({"rules": rule(json!({}))})),
            ("create d --principal user:a@x.com --permission iap.googleapis.com/*.* --condition expression=true --folder 7", vec![operation()],
             format!("POST {}?policyId=d", PLACE.replace("projects%2F123", "folders%2F7")),
             json!({"rules": rule(json!({"deniedPermissions": ["iap.googleapis.com/*.*"], "denialCondition": {"expression": "true"}}))})),
            ("list",                                                vec![json!({"policies": [policy()]})], format!("GET {PLACE}"), Value::Null),
            ("describe d",                                          vec![policy()],               format!("GET {PLACE}/d"), Value::Null),
            ("update d --principal user:a@x.com",                   vec![policy(), operation()],  format!("PUT {PLACE}/d"), json!({"displayName": "D", "etag": "e", "rules": rule(json!({}))})),
            ("delete d",                                            vec![operation()],            format!("DELETE {PLACE}/d"), Value::Null),
        ];
        for (line, answers, expected, body) in cases {
            let (address, asked) = replay(answers.into_iter().map(|answer| (200, answer)).collect());
            crate::world::tests::described(dir.path(), &format!("http://{address}"));
            let words = std::iter::once("deny").chain(line.split(' ')).chain(["--dir", dir.path().to_str().unwrap()]);
            block_on(run(Line::try_parse_from(words).unwrap().command)).unwrap();
            let asked = asked.join().unwrap();
            let (head, sent) = asked.last().unwrap().split_once("\r\n\r\n").unwrap();
            assert_eq!(head.split(" HTTP").next().unwrap(), expected, "{line}");
            assert_eq!(serde_json::from_str::<Value>(sent).unwrap_or_default(), body, "{line}");
        }
    }

    #[test]
    fn a_policy_denies_somebody_or_comes_from_a_file() {
        let parse = |line: &str| Line::try_parse_from(std::iter::once("x").chain(line.split(' '))).is_ok();
        #[rustfmt::skip]
        let cases = [
            ("create d --principal allUsers",               true),
            ("create d -f rules.yaml",                      true),
            ("create d",                                    false),
            ("create d --display-name D",                   false),
            ("create d --permission p",                     false),
            ("create d --principal allUsers -f rules.yaml", false),
            ("list --folder 1 --organization 2",            false),
        ];
        for (line, good) in cases {
            assert_eq!(parse(line), good, "{line}");
        }
    }

    #[test]
    fn a_policy_is_shown_rule_by_rule() {
        let policy: Policy = serde_json::from_value(json!({
            "name": "policies/x/denypolicies/d",
            "rules": [{"description": "r", "denyRule": {"deniedPrincipals": ["a", "b"], "deniedPermissions": ["p"], "denialCondition": {"expression": "true"}}}],
        }))
        .unwrap();
        let expected = "id         d\n\
                        rule       r\n\
                        denies     a b\n\
                        what       p\n\
                        if         true\n";
        assert_eq!(shown(&policy), expected);
    }
}
