//! Reading and changing a policy by the methods that every Google API has for it: `getIamPolicy` and `setIamPolicy`.

use anyhow::{Context as _, anyhow, bail};
use doorward_core::access_level::AccessLevelName;
use doorward_core::member::{Email, Member};
use doorward_server::dev::description::Description;
use doorward_wire::doorward_api::{ListAccessLevelsResponse, ListApplicationsResponse, UserResource};
use doorward_wire::google_api::{
    Binding, Expr, Policy, Status, TestIamPermissionsRequest, TestIamPermissionsResponse, WITH_CONDITIONS,
};
use doorward_wire::uri::path_segment;
use serde_json::{Value, json};

use crate::api::{Api, ApiError, every_page};
use crate::commands::{access_level, app, user};
use crate::condition;
use crate::output::{json_line, print, printable, say, table};
use crate::server::Server;

/// The method that lists what may be granted on a resource.
const GRANTABLE: &str = "roles:queryGrantableRoles";

/// How often a change is tried while others win. Each loss means that another writer made progress.
const ATTEMPTS: usize = 5;

/// A resource that has a policy.
#[derive(Debug)]
pub(crate) struct Governed {
    /// Its name within the API.
    pub(crate) resource: String,
    /// The Google host that serves its policy.
    pub(crate) host: &'static str,
    /// What to do if there is no such resource.
    pub(crate) if_not_found: &'static str,
    /// The command that shows the policy.
    pub(crate) shown_by: String,
}

/// The forms of a member, as a literal, for texts that are put together when this is compiled.
macro_rules! member_forms {
    () => {
        "user:EMAIL, serviceAccount:EMAIL, group:EMAIL, domain:DOMAIN, principal://..., principalSet://..., allAuthenticatedUsers or allUsers"
    };
}
pub(crate) use member_forms;

const FORMS: &str = member_forms!();

/// The role that `allow` in the file of `doorward serve` gives.
const ACCESSOR: &str = "roles/iap.httpsResourceAccessor";

/// A member as a command line has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MemberArg {
    /// In the form of a policy.
    Member(Member),
    /// One word, which is none. What was meant by it, dev.json may tell.
    Word(String),
}

/// Reads a member, or says what it should be.
pub(crate) fn member(text: &str) -> Result<MemberArg, String> {
    let error = match text.parse() {
        Ok(member) => return Ok(MemberArg::Member(member)),
        Err(error) => error,
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return Ok(MemberArg::Word(text.to_owned()));
    }
    let address: Result<Email, _> = text.parse();
    Err(match address {
        Ok(email) if email.as_str().ends_with(".gserviceaccount.com") => format!("{error}: use serviceAccount:{email}"),
        Ok(email) => format!("{error}: use user:{email} for a person, serviceAccount:{email} for a program"),
        Err(_) => format!("{error}: use {FORMS}"),
    })
}

/// Reads somebody who is asked about: a member, or an address. An address is a person's, if it is not of a service account.
pub(crate) fn somebody(text: &str) -> Result<MemberArg, String> {
    match text.parse::<Email>() {
        Ok(email) if email.as_str().ends_with(".gserviceaccount.com") => {
            Ok(MemberArg::Member(Member::ServiceAccount(email)))
        }
        Ok(email) if !text.contains(':') => Ok(MemberArg::Member(Member::User(email))),
        Ok(_) | Err(_) => member(text),
    }
}

impl MemberArg {
    /// The member who is asked about: also a service account of dev.json by its name, for nothing is granted.
    pub(crate) fn meant_in(self, server: &Server) -> anyhow::Result<Member> {
        if let MemberArg::Word(word) = &self
            && let Some(account) = server.dev().and_then(|world| world.service_accounts.get(word))
        {
            return Ok(format!("serviceAccount:{}", account.email).parse()?);
        }
        self.of(server)
    }

    /// The member. A name of dev.json is refused with the member that it stands for: what is granted must be read on the line.
    pub(crate) fn of(self, server: &Server) -> anyhow::Result<Member> {
        let word = match self {
            MemberArg::Member(member) => return Ok(member),
            MemberArg::Word(word) => word,
        };
        match server.dev().and_then(|world| world.service_accounts.get(&word)) {
            Some(account) => bail!("{word} is not a member: use --member serviceAccount:{}", account.email),
            None => bail!("{word} is not a member: use {FORMS}"),
        }
    }
}

/// What is to be said of a member whom nobody here can be, with what that comes to. Service accounts are looked up by the server.
fn note(world: &Description, member: &Member, so: &str) -> Option<String> {
    let Member::User(email) = member else { return None };
    if world.users.keys().any(|known| known.eq_ignore_ascii_case(email.as_str())) {
        return None;
    }
    let known: Vec<&str> = world.users.keys().map(String::as_str).collect();
    Some(format!(
        "note: nobody in dev.json has the address {email}, so it {so} unless an issuer of --trusted-issuers vouches for {}; \
         the people are {}",
        email.domain(),
        known.join(", ")
    ))
}

/// What is to be said of a person whom nobody here is, with what that comes to. Nothing where people may not be seen.
pub(crate) async fn nobody_note(server: &Server, member: &Member, so: &str) -> Option<String> {
    let Member::User(email) = member else { return None };
    let of_dev = match server.dev() {
        Some(world) => Some(note(world, member, so)?),
        None => None,
    };
    let path = format!("{}/{}", user::PATH, path_segment(email.as_str()));
    let found: Result<UserResource, ApiError> = server.api().get(&path).await;
    let is_missing = found.is_err_and(|error| error.is(Status::NotFound));
    let said = || {
        format!(
            "note: nobody here has the address {email}, so it {so} unless a trusted issuer vouches for {}: `doorward user create \
             {email}` makes them",
            email.domain()
        )
    };
    is_missing.then(|| of_dev.unwrap_or_else(said))
}

/// What is to be said of a condition that asks for access levels that are not there: nobody meets them. Nothing where they cannot be
/// looked for.
pub(crate) async fn levels_note(api: &Api, condition: Option<&Expr>) -> Option<String> {
    let expression = &condition?.expression;
    let asked: Vec<&str> = expression.split(['"', '\'']).filter(|it| it.parse::<AccessLevelName>().is_ok()).collect();
    if asked.is_empty() {
        return None;
    }
    let page = |page: ListAccessLevelsResponse| (page.access_levels, page.next_page_token);
    let known = every_page(api, access_level::PATH, page).await.ok()?;
    let missing: Vec<&str> = asked.into_iter().filter(|asked| known.iter().all(|it| it.name != *asked)).collect();
    (!missing.is_empty()).then(|| {
        let missing = missing.join(" and ");
        format!(
            "note: there is no access level {missing}, so nobody meets it: `doorward access-level create` makes one"
        )
    })
}

/// What is to be said of a binding that the file of `doorward serve` states as well. Nothing where the applications may not be seen.
async fn of_file_note(api: &Api, resource: &str) -> Option<String> {
    let page = |page: ListApplicationsResponse| (page.applications, page.next_page_token);
    let applications = every_page(api, app::PATH, page).await.ok()?;
    let application = applications.into_iter().find(|it| it.resource == resource && app::is_of_file(it))?;
    Some(format!(
        "note: {} is an application of doorward.toml: if the file says `allow` there, the next start or SIGHUP makes this binding what \
         that says; change `allow`, or a group that it names",
        application.name
    ))
}

/// A binding as a command line names it.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// What is held.
    pub(crate) role: String,
    /// Who holds it.
    pub(crate) member: Member,
    /// When.
    pub(crate) condition: Option<Expr>,
}

impl Governed {
    /// A resource of a name, at the API that serves its policy.
    pub(crate) fn named(resource: String, shown_by: String) -> Self {
        let parts: Vec<&str> = resource.split('/').collect();
        let (host, if_not_found) = match parts[..] {
            ["projects", _] => ("cloudresourcemanager.googleapis.com", "name the project with --project"),
            ["folders" | "organizations", _] => (
                "cloudresourcemanager.googleapis.com",
                "`doorward explain METHOD URL` names what is above an application",
            ),
            ["projects", _, "serviceAccounts", _] => {
                ("iam.googleapis.com", "`doorward service-account list` shows the accounts")
            }
            _ => (
                "iap.googleapis.com",
                "`doorward app list` shows the applications, and `doorward app describe` the resource of one",
            ),
        };
        Governed { resource, host, if_not_found, shown_by }
    }

    /// Prints the policy.
    pub(crate) async fn show(&self, api: &Api, as_json: bool) -> anyhow::Result<()> {
        let answer = self.read(api).await?;
        Ok(print(&if as_json { json_line(&answer)? } else { shown(&self.resource, &policy(answer)?) })?)
    }

    /// Makes a change and says what became of it.
    pub(crate) async fn make(
        &self,
        server: &Server,
        change: Change,
        named: &Named,
        as_json: bool,
    ) -> anyhow::Result<()> {
        let Governed { resource, shown_by, .. } = self;
        let Named { role, member, condition } = named;
        let (changed, answer) = self.replace(server.api(), change, named).await?;
        let when = match condition {
            Some(condition) => format!(" if {}", condition.expression),
            None => String::new(),
        };
        let line = match (change, changed) {
            (Change::Add, true) => format!("added {member} to {role} on {resource}{when}"),
            (Change::Add, false) => format!("{member} held {role} on {resource}{when} before: nothing was changed"),
            (Change::Remove, true) => format!("removed {member} from {role} on {resource}{when}"),
            (Change::Remove, false) => {
                bail!("{member} does not hold {role} on {resource}{when}: `{shown_by}` shows its bindings")
            }
        };
        let mut notes: Vec<String> = Vec::new();
        if change == Change::Add {
            notes.extend(nobody_note(server, member, "lets nobody in").await);
            notes.extend(levels_note(server.api(), condition.as_ref()).await);
        }
        if server.dev().is_none() && role == ACCESSOR && condition.is_none() {
            notes.extend(of_file_note(server.api(), resource).await);
        }
        notes.iter().for_each(|note| say(note));
        Ok(print(&if as_json { json_line(&answer)? } else { format!("{}\n", printable(&line)) })?)
    }

    /// Replaces the whole policy. One with an etag replaces only the policy that was read with it.
    pub(crate) async fn set(&self, api: &Api, mut policy: Policy, as_json: bool) -> anyhow::Result<()> {
        state_version(&mut policy);
        let answer: Value = match api.post(&self.method("setIamPolicy"), &json!({"policy": policy})).await {
            Ok(answer) => answer,
            Err(error) if error.is(Status::Aborted) => {
                bail!("{error}: read it anew with `{} --json`, and change that", self.shown_by)
            }
            Err(error) => return Err(self.advise(error)),
        };
        Ok(print(&if as_json { json_line(&answer)? } else { shown(&self.resource, &self::policy(answer)?) })?)
    }

    /// Prints which of these permissions the caller holds, one on a line.
    pub(crate) async fn test(&self, api: &Api, permissions: Vec<String>, as_json: bool) -> anyhow::Result<()> {
        let request = TestIamPermissionsRequest { permissions };
        let answer: TestIamPermissionsResponse =
            api.post(&self.method("testIamPermissions"), &request).await.map_err(|error| self.advise(error))?;
        let held = || answer.permissions.iter().map(|held| format!("{}\n", printable(held))).collect();
        Ok(print(&if as_json { json_line(&answer)? } else { held() })?)
    }

    /// Reads, changes and writes back until no other writer came between. Gives whether anything was changed, and the policy
    /// as it is now.
    async fn replace(&self, api: &Api, change: Change, named: &Named) -> anyhow::Result<(bool, Value)> {
        for _ in 0..ATTEMPTS {
            let answer = self.read(api).await?;
            let mut policy = policy(answer.clone())?;
            if !change.apply(&mut policy, named) {
                return Ok((false, answer));
            }
            state_version(&mut policy);
            match api.post(&self.method("setIamPolicy"), &json!({"policy": policy})).await {
                Ok(answer) => return Ok((true, answer)),
                Err(error) if error.is(Status::Aborted) => {}
                Err(error) => return Err(self.advise(error)),
            }
        }
        bail!("{} is being changed by others without a pause: try again", self.resource)
    }

    async fn read(&self, api: &Api) -> anyhow::Result<Value> {
        // Without it, the answer leaves conditions out, and what is written back would widen them to always.
        let whole = json!({"options": {"requestedPolicyVersion": WITH_CONDITIONS}});
        api.post(&self.method("getIamPolicy"), &whole).await.map_err(|error| self.advise(error))
    }

    fn method(&self, name: &str) -> String {
        format!("{}:{name}", resource_path(self.host, &self.resource))
    }

    fn advise(&self, error: ApiError) -> anyhow::Error {
        match error {
            // To Google's clients the server names a method of an API.
            ApiError::Google { status, message } if message.contains(GRANTABLE) => {
                let said = message.split("POST ").next().unwrap_or_default().trim_end_matches([' ', '.']);
                anyhow!("{said} ({status}): `doorward role list --predefined` and `doorward role list` show the roles")
            }
            error => error.advise(Status::NotFound, self.if_not_found),
        }
    }
}

/// A policy with conditions must say that it has some.
fn state_version(policy: &mut Policy) {
    if policy.bindings.iter().any(|binding| binding.condition.is_some()) {
        policy.version = Some(WITH_CONDITIONS);
    }
}

/// The path of a resource of a Google API on our origin.
pub(crate) fn resource_path(host: &str, resource: &str) -> String {
    let segments: Vec<String> = resource.split('/').map(path_segment).collect();
    // Folders are in no version 1.
    let version = if host == "cloudresourcemanager.googleapis.com" { "v3" } else { "v1" };
    format!("/{host}/{version}/{}", segments.join("/"))
}

fn policy(answer: Value) -> anyhow::Result<Policy> {
    serde_json::from_value(answer).context("the answer is not a policy; another version of `doorward` may be serving")
}

/// A policy for people.
fn shown(resource: &str, policy: &Policy) -> String {
    let row = |binding: &Binding, member: &String| {
        [binding.role.clone(), member.clone(), condition::shown(binding.condition.as_ref())]
    };
    let rows: Vec<_> =
        policy.bindings.iter().flat_map(|binding| binding.members.iter().map(|member| row(binding, member))).collect();
    match rows.iter().any(|[.., condition]| !condition.is_empty()) {
        _ if rows.is_empty() => format!("{} has no bindings of its own\n", printable(resource)),
        true => table(["ROLE", "MEMBER", "CONDITION"], &rows),
        false => {
            table(["ROLE", "MEMBER"], &rows.into_iter().map(|[role, member, _]| [role, member]).collect::<Vec<_>>())
        }
    }
}

/// A change of one binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Lets a member hold a role.
    Add,
    /// Takes it from them.
    Remove,
}

impl Change {
    /// Makes the change. Says whether there was anything to change.
    ///
    /// A binding with another condition is another binding, as for gcloud: it is left alone.
    fn apply(self, policy: &mut Policy, Named { role, member, condition }: &Named) -> bool {
        let member = member.to_string();
        let mut same = policy
            .bindings
            .iter_mut()
            .filter(|binding| binding.role == *role && self.is_same(binding.condition.as_ref(), condition.as_ref()));
        match self {
            Change::Add => {
                let mut first = None;
                for binding in same {
                    if binding.members.contains(&member) {
                        return false;
                    }
                    first = first.or(Some(&mut binding.members));
                }
                match first {
                    Some(members) => members.push(member),
                    None => {
                        let (role, condition) = (role.clone(), condition.clone());
                        policy.bindings.push(Binding { role, members: vec![member], condition });
                    }
                }
                true
            }
            Change::Remove => {
                let removed = same.by_ref().fold(false, |removed, binding| {
                    let before = binding.members.len();
                    binding.members.retain(|held| *held != member);
                    removed || binding.members.len() < before
                });
                policy.bindings.retain(|binding| !binding.members.is_empty());
                removed
            }
        }
    }

    /// Whether the condition of a binding is the one that is meant. To remove one, its expression alone need be written.
    fn is_same(self, there: Option<&Expr>, meant: Option<&Expr>) -> bool {
        let (Some(there), Some(meant)) = (there, meant) else { return there.is_none() && meant.is_none() };
        let same = |there: &str, meant: &str| there == meant || (self == Change::Remove && meant.is_empty());
        there.expression == meant.expression
            && same(&there.title, &meant.title)
            && same(&there.description, &meant.description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::{api_at, block_on, replay};
    use crate::condition::condition;
    use crate::server::tests::silent_server;
    use crate::world::tests::description;

    const ROLE: &str = "roles/iap.httpsResourceAccessor";

    fn governed(resource: &str) -> Governed {
        Governed::named(resource.to_owned(), "doorward policy show".to_owned())
    }

    fn named(member: &str, condition_text: &str) -> Named {
        let condition = (!condition_text.is_empty()).then(|| condition(condition_text).unwrap());
        Named { role: ROLE.to_owned(), member: member.parse().unwrap(), condition }
    }

    fn bindings(value: Value) -> Policy {
        serde_json::from_value(json!({ "bindings": value })).unwrap()
    }

    #[test]
    fn what_is_no_member_is_answered_with_the_member_that_was_meant() {
        let server = silent_server();
        const FORMS: &str = "use user:EMAIL, serviceAccount:EMAIL, group:EMAIL, domain:DOMAIN, principal://..., principalSet://..., allAuthenticatedUsers or allUsers";
        let robot = "robot@p.iam.gserviceaccount.com";
        #[rustfmt::skip]
        let cases = [
            ("user:a@x.com",       Ok("user:a@x.com")),
            ("allUsers",           Ok("allUsers")),
            ("robot",              Err(format!("robot is not a member: use --member serviceAccount:{robot}"))),
            ("allusers",           Err(format!("allusers is not a member: {FORMS}"))),
            ("nobody",             Err(format!("nobody is not a member: {FORMS}"))),
            ("a@x.com",            Err("not a member: use user:a@x.com for a person, serviceAccount:a@x.com for a program".to_owned())),
            (robot,                Err(format!("not a member: use serviceAccount:{robot}"))),
            ("User:a@x.com",       Err(format!("not a member: {FORMS}"))),
            ("group:a@x.com",      Ok("group:a@x.com")),
            ("",                   Err(format!("not a member: {FORMS}"))),
        ];
        for (text, expected) in cases {
            let read = member(text).and_then(|member| member.of(&server).map_err(|error| error.to_string()));
            assert_eq!(read.map(|member| member.to_string()), expected.map(str::to_owned), "{text}");
        }
        // Who is only asked about may be named as in dev.json.
        let asked_about = member("robot").unwrap().meant_in(&server).unwrap();
        assert_eq!(asked_about.to_string(), format!("serviceAccount:{robot}"));
        assert!(member("nobody").unwrap().meant_in(&server).is_err());
    }

    #[test]
    fn whoever_lets_somebody_in_whom_nobody_is_here_hears_of_it() {
        let world: Description = serde_json::from_value(description("http://127.0.0.1:1")).unwrap();
        #[rustfmt::skip]
        let cases = [
            ("user:alice@example.com",    None),
            ("user:Alice@Example.com",    None),
            ("user:nobody@nowhere.org",   Some("note: nobody in dev.json has the address nobody@nowhere.org, so it lets nobody in unless an issuer of --trusted-issuers vouches for nowhere.org; the people are alice@example.com")),
            ("domain:nowhere.org",        None),
            ("serviceAccount:a@p.example", None),
            ("allUsers",                  None),
        ];
        for (text, expected) in cases {
            assert_eq!(note(&world, &text.parse().unwrap(), "lets nobody in").as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn whoever_changes_a_binding_that_the_file_states_or_asks_for_a_level_that_is_not_there_hears_of_it() {
        let place = |number: u8| format!("projects/1/iap_web/compute/services/{number}");
        let app = |number: u8, labels: Value| json!({"name": "wiki", "resource": place(number), "labels": labels});
        let applications = || {
            let of_file = app(7, json!({"doorward-config": "serve"}));
            json!({"applications": [of_file, app(8, json!({}))]})
        };
        for (resource, noted) in [(place(7), true), (place(8), false), ("projects/1/iap_web".to_owned(), false)] {
            let (address, asked) = replay(vec![(200, applications())]);
            let note = block_on(of_file_note(&api_at(address), &resource));
            assert_eq!(note.is_some_and(|note| note.starts_with("note: wiki is an app")), noted, "{resource}");
            asked.join().unwrap();
        }
        let levels = || json!({"accessLevels": [{"name": "accessPolicies/1/accessLevels/office", "title": "o"}]});
        // (the level that a condition asks for) => whether it is missing
        for (level, missing) in [("office", false), ("nosuch", true)] {
            let (address, asked) = replay(vec![(200, levels())]);
            let text = format!("expression='accessPolicies/1/accessLevels/{level}' in request.auth.access_levels");
            let note = block_on(levels_note(&api_at(address), Some(&condition(&text).unwrap())));
            assert_eq!(note.is_some_and(|note| note.contains("accessLevels/nosuch, so nobody")), missing, "{level}");
            asked.join().unwrap();
        }
        // Nobody is asked where there is nothing to ask.
        let nobody = api_at("127.0.0.1:1".parse().unwrap());
        assert_eq!(block_on(levels_note(&nobody, Some(&condition("expression=true").unwrap()))), None);
    }

    #[test]
    fn a_role_that_is_not_there_is_answered_with_the_command_that_lists_roles() {
        let message = "Role roles/no is not supported for this resource: there is no such role. \
                       POST https://iam.googleapis.com/v1/roles:queryGrantableRoles lists those that are.";
        let error = ApiError::Google { status: "INVALID_ARGUMENT".to_owned(), message: message.to_owned() };
        assert_eq!(
            governed("projects/1").advise(error).to_string(),
            "Role roles/no is not supported for this resource: there is no such role (INVALID_ARGUMENT): `doorward role list --predefined` \
             and `doorward role list` show the roles"
        );
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
            let changed = change.apply(&mut policy, &named("user:a@x.com", ""));
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
            block_on(governed("projects/1/iap_web").replace(&api_at(address), Change::Add, &named("user:a@x.com", "")))
                .unwrap();
        assert_eq!(changed, (true, after));
        let asked = asked.join().unwrap();
        let sent = |n: usize| serde_json::from_str::<Value>(asked[n].split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(asked[0].starts_with("POST /iap.googleapis.com/v1/projects/1/iap_web:getIamPolicy HTTP/1.1\r\n"));
        assert!(asked[3].starts_with("POST /iap.googleapis.com/v1/projects/1/iap_web:setIamPolicy HTTP/1.1\r\n"));
        assert_eq!(sent(0), json!({"options": {"requestedPolicyVersion": 3}}));
        assert_eq!(sent(1), json!({"policy": policy("AAE=", json!(["user:a@x.com"]))}));
        assert_eq!(sent(3), json!({"policy": policy("AAI=", json!(["user:b@x.com", "user:a@x.com"]))}));

        let never = (0..ATTEMPTS).flat_map(|_| [(200, json!({"etag": "AAE="})), aborted()]).collect();
        let (address, asked) = replay(never);
        let refused = block_on(governed("projects/1").replace(&api_at(address), Change::Add, &named("allUsers", "")))
            .unwrap_err();
        assert_eq!(refused.to_string(), "projects/1 is being changed by others without a pause: try again");
        assert_eq!(asked.join().unwrap().len(), 2 * ATTEMPTS);
    }

    #[test]
    fn a_binding_with_a_condition_is_named_by_it() {
        use Change::{Add, Remove};
        let of = |members: Value, condition: Value| json!({"role": ROLE, "members": members, "condition": condition});
        let titled = || json!({"expression": "true", "title": "t"});
        #[rustfmt::skip]
        let cases = [
            (Add,    "expression=true,title=t", json!([of(json!(["allUsers"]), titled())]), Some(json!([of(json!(["allUsers", "user:a@x.com"]), titled())]))),
            (Add,    "expression=true",         json!([of(json!(["allUsers"]), titled())]), Some(json!([of(json!(["allUsers"]), titled()), of(json!(["user:a@x.com"]), json!({"expression": "true"}))]))),
            (Add,    "expression=true,title=t", json!([of(json!(["user:a@x.com"]), titled())]), None),
            (Remove, "expression=true",         json!([of(json!(["user:a@x.com"]), titled())]), Some(json!([]))),
            (Remove, "expression=true,title=u", json!([of(json!(["user:a@x.com"]), titled())]), None),
            (Remove, "expression=false",        json!([of(json!(["user:a@x.com"]), titled())]), None),
        ];
        for (change, condition, before, after) in cases {
            let mut policy = bindings(before.clone());
            let changed = change.apply(&mut policy, &named("user:a@x.com", condition));
            assert_eq!(changed, after.is_some(), "{change:?} {condition} {before}");
            assert_eq!(policy, bindings(after.unwrap_or(before)));
        }
    }

    #[test]
    fn the_api_of_a_policy_follows_from_the_name_of_its_resource() {
        #[rustfmt::skip]
        let cases = [
            ("projects/1",                              "/cloudresourcemanager.googleapis.com/v3/projects/1:getIamPolicy"),
            ("organizations/1",                         "/cloudresourcemanager.googleapis.com/v3/organizations/1:getIamPolicy"),
            ("projects/1/serviceAccounts/a@p.example",  "/iam.googleapis.com/v1/projects/1/serviceAccounts/a@p.example:getIamPolicy"),
            ("projects/1/iap_web",                      "/iap.googleapis.com/v1/projects/1/iap_web:getIamPolicy"),
            ("projects/1/iap_tunnel/zones/z",           "/iap.googleapis.com/v1/projects/1/iap_tunnel/zones/z:getIamPolicy"),
        ];
        for (resource, expected) in cases {
            assert_eq!(governed(resource).method("getIamPolicy"), expected);
        }
    }

    #[test]
    fn a_policy_is_set_whole_and_says_that_it_has_conditions() {
        let (address, asked) = replay(vec![(200, json!({}))]);
        let condition = json!({"expression": "true"});
        let policy = bindings(json!([{"role": ROLE, "members": ["user:a@x.com"], "condition": condition}]));
        block_on(governed("projects/1").set(&api_at(address), policy, true)).unwrap();
        let asked = asked.join().unwrap();
        assert!(asked[0].contains(r#""version":3"#), "{}", asked[0]);
    }

    #[test]
    fn a_policy_is_shown_as_a_row_for_each_member() {
        let policy = bindings(json!([{"role": ROLE, "members": ["user:a@x.com", "allUsers"]}]));
        let expected = "ROLE                             MEMBER\n\
                        roles/iap.httpsResourceAccessor  user:a@x.com\n\
                        roles/iap.httpsResourceAccessor  allUsers\n";
        assert_eq!(shown("projects/1", &policy), expected);
        let condition = json!({"expression": "true", "title": "t"});
        let policy = bindings(json!([{"role": "r", "members": ["allUsers"], "condition": condition}]));
        let expected = "ROLE  MEMBER    CONDITION\n\
                        r     allUsers  true (t)\n";
        assert_eq!(shown("projects/1", &policy), expected);
        assert_eq!(shown("projects/1", &Policy::default()), "projects/1 has no bindings of its own\n");
    }
}
