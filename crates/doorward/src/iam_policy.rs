//! Reading and changing a policy by the methods that every Google API has for it: `getIamPolicy` and `setIamPolicy`.

use anyhow::{Context as _, bail};
use doorward_core::member::{Email, Member};
use doorward_server::dev::description::Description;
use doorward_wire::google_api::{Binding, Policy, Status};
use doorward_wire::uri::path_segment;
use serde_json::{Value, json};

use crate::api::{Api, ApiError};
use crate::output::{json_line, print, printable, say, table};

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
        "user:EMAIL, serviceAccount:EMAIL, domain:DOMAIN, principal://..., principalSet://..., allAuthenticatedUsers or allUsers"
    };
}
pub(crate) use member_forms;

const FORMS: &str = member_forms!();

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

impl MemberArg {
    /// The member. A name of dev.json is refused with the member that it stands for: what is granted must be read on the line.
    pub(crate) fn of(self, world: &Description) -> anyhow::Result<Member> {
        let word = match self {
            MemberArg::Member(member) => return Ok(member),
            MemberArg::Word(word) => word,
        };
        match world.service_accounts.get(&word) {
            Some(account) => bail!("{word} is not a member: use --member serviceAccount:{}", account.email),
            None => bail!("{word} is not a member: use {FORMS}"),
        }
    }
}

/// What is to be said of a member who is let in and whom nobody here can be. Service accounts are looked up by the server.
fn note(world: &Description, member: &Member) -> Option<String> {
    let Member::User(email) = member else { return None };
    if world.users.keys().any(|known| known.eq_ignore_ascii_case(email.as_str())) {
        return None;
    }
    let known: Vec<&str> = world.users.keys().map(String::as_str).collect();
    Some(format!(
        "note: nobody in dev.json has the address {email}, so it lets nobody in unless an issuer of --trusted-issuers vouches for \
         {}; the people are {}",
        email.domain(),
        known.join(", ")
    ))
}

impl Governed {
    /// Prints the policy.
    pub(crate) async fn show(&self, api: &Api, as_json: bool) -> anyhow::Result<()> {
        let answer = self.read(api).await?;
        Ok(print(&if as_json { json_line(&answer)? } else { shown(&self.resource, &policy(answer)?) })?)
    }

    /// Makes a change and says what became of it.
    pub(crate) async fn make(
        &self,
        world: &Description,
        change: Change,
        (role, member): (&str, &Member),
        as_json: bool,
    ) -> anyhow::Result<()> {
        let Governed { resource, shown_by, .. } = self;
        let (changed, answer) = self.replace(&Api::of(world)?, change, role, &member.to_string()).await?;
        let line = match (change, changed) {
            (Change::Add, true) => format!("added {member} to {role} on {resource}"),
            (Change::Add, false) => format!("{member} held {role} on {resource} before: nothing was changed"),
            (Change::Remove, true) => format!("removed {member} from {role} on {resource}"),
            (Change::Remove, false) => {
                bail!("{member} does not hold {role} on {resource}: `{shown_by}` shows its bindings")
            }
        };
        if change == Change::Add
            && let Some(note) = note(world, member)
        {
            say(&note);
        }
        Ok(print(&if as_json { json_line(&answer)? } else { format!("{}\n", printable(&line)) })?)
    }

    /// Reads, changes and writes back until no other writer came between. Gives whether anything was changed, and the policy
    /// as it is now.
    async fn replace(&self, api: &Api, change: Change, role: &str, member: &str) -> anyhow::Result<(bool, Value)> {
        for _ in 0..ATTEMPTS {
            let answer = self.read(api).await?;
            let mut policy = policy(answer.clone())?;
            if !change.apply(&mut policy, role, member) {
                return Ok((false, answer));
            }
            match api.post(&self.method("setIamPolicy"), &json!({"policy": policy})).await {
                Ok(answer) => return Ok((true, answer)),
                Err(error) if error.is(Status::Aborted) => {}
                Err(error) => return Err(self.advise(error)),
            }
        }
        bail!("{} is being changed by others without a pause: try again", self.resource)
    }

    async fn read(&self, api: &Api) -> anyhow::Result<Value> {
        api.post(&self.method("getIamPolicy"), &json!({})).await.map_err(|error| self.advise(error))
    }

    fn method(&self, name: &str) -> String {
        format!("{}:{name}", resource_path(self.host, &self.resource))
    }

    fn advise(&self, error: ApiError) -> anyhow::Error {
        error.advise(Status::NotFound, self.if_not_found)
    }
}

/// The path of a resource of a Google API on our origin.
pub(crate) fn resource_path(host: &str, resource: &str) -> String {
    let segments: Vec<String> = resource.split('/').map(path_segment).collect();
    format!("/{host}/v1/{}", segments.join("/"))
}

fn policy(answer: Value) -> anyhow::Result<Policy> {
    serde_json::from_value(answer).context("the answer is not a policy; another version of `doorward` may be serving")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::{api_at, block_on, replay};
    use crate::world::tests::description;

    const ROLE: &str = "roles/iap.httpsResourceAccessor";

    fn governed(resource: &str) -> Governed {
        let (host, if_not_found) = ("iap.googleapis.com", "name another");
        Governed { resource: resource.to_owned(), host, if_not_found, shown_by: "doorward policy get".to_owned() }
    }

    fn bindings(value: Value) -> Policy {
        serde_json::from_value(json!({ "bindings": value })).unwrap()
    }

    #[test]
    fn what_is_no_member_is_answered_with_the_member_that_was_meant() {
        let world: Description = serde_json::from_value(description("http://127.0.0.1:1")).unwrap();
        const FORMS: &str = "use user:EMAIL, serviceAccount:EMAIL, domain:DOMAIN, principal://..., principalSet://..., allAuthenticatedUsers or allUsers";
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
            ("group:a@x.com",      Err(format!("members of this form are not served yet: {FORMS}"))),
            ("",                   Err(format!("not a member: {FORMS}"))),
        ];
        for (text, expected) in cases {
            let read = member(text).and_then(|member| member.of(&world).map_err(|error| error.to_string()));
            assert_eq!(read.map(|member| member.to_string()), expected.map(str::to_owned), "{text}");
        }
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
            assert_eq!(note(&world, &text.parse().unwrap()).as_deref(), expected, "{text}");
        }
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
            block_on(governed("projects/1/iap_web").replace(&api_at(address), Change::Add, ROLE, "user:a@x.com"))
                .unwrap();
        assert_eq!(changed, (true, after));
        let asked = asked.join().unwrap();
        let sent = |n: usize| serde_json::from_str::<Value>(asked[n].split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(asked[0].starts_with("POST /iap.googleapis.com/v1/projects/1/iap_web:getIamPolicy HTTP/1.1\r\n"));
        assert!(asked[3].starts_with("POST /iap.googleapis.com/v1/projects/1/iap_web:setIamPolicy HTTP/1.1\r\n"));
        assert_eq!(sent(1), json!({"policy": policy("AAE=", json!(["user:a@x.com"]))}));
        assert_eq!(sent(3), json!({"policy": policy("AAI=", json!(["user:b@x.com", "user:a@x.com"]))}));

        let never = (0..ATTEMPTS).flat_map(|_| [(200, json!({"etag": "AAE="})), aborted()]).collect();
        let (address, asked) = replay(never);
        let refused =
            block_on(governed("projects/1").replace(&api_at(address), Change::Add, ROLE, "allUsers")).unwrap_err();
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
