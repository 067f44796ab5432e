//! The file of `doorward apply` and `doorward export`: applications, policies, settings, groups and accounts, as a
//! person writes them in TOML or YAML.
//!
//! Names are Google's in snake_case. Every name that we do not know is refused. What the server gives (numbers, etags,
//! secrets, keys) is not in it, with one exception: the id of a backend service is exported, for backends compare it
//! (`aud` of the signed header).
//!
//! ```toml
//! [[applications]]
//! name = "wiki"
//! hosts = ["https://wiki.example.com"]
//! upstreams = ["http://10.0.0.7:3000"]
//!
//! [[policies]]
//! resource = "app wiki"
//! bindings = [
//!     { role = "roles/iap.httpsResourceAccessor", members = ["group:staff@example.com"] },
//!     { role = "roles/iap.httpsResourceAccessor", members = ["domain:example.com"], condition = 'request.path == "/help"' },
//! ]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

pub use crate::doorward_api::ApplicationKind;
use crate::google_api::Expr;
use crate::google_api::field_mask::snake_case;
use crate::google_api::iam_roles::RoleLaunchStage;
use crate::google_api::iap_settings::IapSettings;

/// The whole file. A list that is absent says nothing about its things, and an empty one that there are none: the two
/// differ only where things that the file does not have are removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldFile {
    /// What is protected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applications: Option<Vec<WrittenApplication>>,
    /// Who may do what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policies: Option<Vec<WrittenPolicy>>,
    /// Who may not, whatever the policies say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_policies: Option<Vec<WrittenDenyPolicy>>,
    /// How applications are protected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Vec<WrittenSettings>>,
    /// Groups of our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<WrittenGroup>>,
    /// Roles of our own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<WrittenRole>>,
    /// Named conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_levels: Option<Vec<WrittenAccessLevel>>,
    /// Programs that call applications. Their keys are not in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_accounts: Option<Vec<WrittenServiceAccount>>,
}

/// An application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenApplication {
    /// `wiki`: 1 to 63 characters, `[a-z]([-a-z0-9]*[a-z0-9])?`.
    pub name: String,
    /// `backend_service`, which is not written, `app_engine` or `cloud_run`.
    #[serde(default, skip_serializing_if = "is_backend_service")]
    pub kind: ApplicationKind,
    /// The region of a backend service or of Cloud Run; absent of a global one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The App Engine service; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The App Engine version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The digits of a backend service's id. A new one is given one if it is absent, and keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Hosts or origins at which it is reached, such as `wiki.example.com` or `https://wiki.example.com:8443`.
    pub hosts: Vec<String>,
    /// Paths that are its own on these hosts, such as `/wiki`; without any, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_prefixes: Vec<String>,
    /// URLs to one of which each request is forwarded.
    pub upstreams: Vec<String>,
    /// Whether anybody is let in at all: `true`, which is not written.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub iap_enabled: bool,
    /// Its OAuth client. One of ours is made if it is absent, and kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What is set on it by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The allow policy of a resource. It replaces the whole of the one that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenPolicy {
    /// On what it stands.
    pub resource: WrittenResource,
    /// Who holds which role.
    pub bindings: Vec<WrittenBinding>,
}

/// One role and those who hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenBinding {
    /// `roles/NAME`, or one of [`WorldFile::roles`] as `projects/P/roles/ID`.
    pub role: String,
    /// `user:EMAIL`, `group:EMAIL` and the other forms of a policy.
    pub members: Vec<String>,
    /// When they hold it: an expression, or a table of `expression`, `title` and `description`.
    #[serde(default, with = "condition", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Expr>,
}

/// A deny policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenDenyPolicy {
    /// Its id at what it is attached to.
    pub id: String,
    /// What it holds for, with all below it: `project`, `folders/NUMBER` or `organizations/NUMBER`; the project if
    /// absent.
    #[serde(default = "project")]
    pub attached_to: WrittenResource,
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Whom it denies what.
    pub rules: Vec<WrittenDenyRule>,
}

/// Whom what is denied, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenDenyRule {
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whom: `user:EMAIL` and the other forms of a policy, or `principalSet://goog/public:all` and those of a deny
    /// policy.
    pub denied_principals: Vec<String>,
    /// Of them, whom not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exception_principals: Vec<String>,
    /// What: `iap.googleapis.com/webServiceVersions.accessViaIAP`, with `*` for a resource or a verb.
    pub denied_permissions: Vec<String>,
    /// Of that, what not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exception_permissions: Vec<String>,
    /// When: as in [`WrittenBinding`].
    #[serde(default, with = "condition", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Expr>,
}

/// The settings of a resource: `resource`, and beside it what `gcloud iap settings get` shows, in snake_case. They
/// replace the whole of those that are there.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenSettings {
    /// On what they stand.
    pub resource: WrittenResource,
    /// What is set. The name is empty.
    pub settings: IapSettings,
}

/// A group of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenGroup {
    /// Its address.
    pub email: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who is in it.
    #[serde(default)]
    pub members: Vec<String>,
}

/// A role of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenRole {
    /// `wikiEditor` of the project, or `organizations/NUMBER/roles/ID`.
    pub id: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `ALPHA` and so on; `GA`, which is not written.
    #[serde(default = "ga", skip_serializing_if = "is_ga")]
    pub stage: RoleLaunchStage,
    /// `SERVICE.RESOURCE.VERB`.
    pub permissions: Vec<String>,
}

/// A named condition: either `expression`, or the simple form, of which every list that is not empty must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenAccessLevel {
    /// `office`, of the project's own access policy.
    pub name: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// CEL over `source.ip`, `request.time`, `request.auth.claims`, `request.auth.strength` and `device.*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// The caller's address is in one of these ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_subnetworks: Vec<String>,
    /// All of these levels are met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_access_levels: Vec<String>,
    /// The caller is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<String>,
}

/// A service account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenServiceAccount {
    /// What stands before `@PROJECT.iam.gserviceaccount.com`: 6 to 30 characters, `[a-z]([-a-z0-9]*[a-z0-9])`.
    pub id: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it may neither get nor use tokens: `false`, which is not written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// A resource as the file names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WrittenResource {
    /// `project`: the one project.
    Project,
    /// `web`: all applications.
    Web,
    /// `app NAME`: an application, whatever its kind.
    Application(String),
    /// `account ID`: a service account of the project, by what stands before the `@` or by its address.
    ServiceAccount(String),
    /// A resource by its name, such as `projects/123/iap_web/compute` or `organizations/1`.
    Named(String),
}

/// A text that names no resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no resource: use \"app NAME\", \"account ID\", \"web\", \"project\", or a name such as \"organizations/1\""
)]
pub struct WrittenResourceError(
    /// The text.
    pub String,
);

impl FromStr for WrittenResource {
    type Err = WrittenResourceError;

    fn from_str(text: &str) -> Result<Self, WrittenResourceError> {
        const ROOTS: [&str; 3] = ["projects/", "folders/", "organizations/"];
        let one_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
        let resource = match text.split_once(' ') {
            Some(("app", name)) if one_word(name) => WrittenResource::Application(name.to_owned()),
            Some(("account", id)) if one_word(id) => WrittenResource::ServiceAccount(id.to_owned()),
            None if text == "project" => WrittenResource::Project,
            None if text == "web" => WrittenResource::Web,
            None if one_word(text) && ROOTS.iter().any(|root| text.starts_with(root)) => {
                WrittenResource::Named(text.to_owned())
            }
            Some(_) | None => return Err(WrittenResourceError(text.to_owned())),
        };
        Ok(resource)
    }
}

impl fmt::Display for WrittenResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WrittenResource::Project => f.write_str("project"),
            WrittenResource::Web => f.write_str("web"),
            WrittenResource::Application(name) => write!(f, "app {name}"),
            WrittenResource::ServiceAccount(id) => write!(f, "account {id}"),
            WrittenResource::Named(name) => f.write_str(name),
        }
    }
}

impl Serialize for WrittenResource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WrittenResource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for WrittenSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(settings) = in_snake_case(self.settings.to_value()) else {
            return Err(serde::ser::Error::custom("settings are no object"));
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("resource", &self.resource)?;
        for (name, value) in settings.iter().filter(|(name, _)| *name != "name") {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for WrittenSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(deserializer)?;
        let resource = fields.remove("resource").ok_or_else(|| D::Error::missing_field("resource"))?;
        let resource = serde_json::from_value(resource).map_err(D::Error::custom)?;
        if fields.contains_key("name") {
            return Err(D::Error::custom("settings are named by `resource`, and have no `name`"));
        }
        let settings: IapSettings = serde_json::from_value(fields.into()).map_err(D::Error::custom)?;
        match settings.first_unknown() {
            Some(path) => Err(D::Error::custom(format_args!("there is no setting {}", snake_case(&path)))),
            None => Ok(WrittenSettings { resource, settings }),
        }
    }
}

fn in_snake_case(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (snake_case(&name), in_snake_case(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => value,
    }
}

/// A condition: an expression, or a table if there is more to say.
mod condition {
    use super::{Deserialize, Deserializer, Expr, Serialize, Serializer, Value};

    pub(super) fn serialize<S: Serializer>(condition: &Option<Expr>, serializer: S) -> Result<S::Ok, S::Error> {
        match condition {
            None => serializer.serialize_none(),
            Some(Expr { expression, title, description, location }) => {
                if [title, description, location].iter().all(|text| text.is_empty()) {
                    serializer.serialize_str(expression)
                } else {
                    condition.serialize(serializer)
                }
            }
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Expr>, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(expression) => Ok(Some(Expr { expression, ..Expr::default() })),
            table => serde_json::from_value(table).map_err(serde::de::Error::custom),
        }
    }
}

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_backend_service(kind: &ApplicationKind) -> bool {
    *kind == ApplicationKind::BackendService
}

fn project() -> WrittenResource {
    WrittenResource::Project
}

fn ga() -> RoleLaunchStage {
    RoleLaunchStage::Ga
}

fn is_ga(stage: &RoleLaunchStage) -> bool {
    *stage == RoleLaunchStage::Ga
}

impl WorldFile {
    /// Puts everything whose order means nothing in order, so that one world is always one file. The rules of a deny
    /// policy, and lists inside settings, stay as they are.
    pub fn sort(&mut self) {
        let WorldFile {
            applications,
            policies,
            deny_policies,
            settings,
            groups,
            roles,
            access_levels,
            service_accounts,
        } = self;
        for application in applications.iter_mut().flatten() {
            sort_all([&mut application.hosts, &mut application.path_prefixes, &mut application.upstreams]);
        }
        for policy in policies.iter_mut().flatten() {
            policy.bindings.iter_mut().for_each(|binding| binding.members.sort_unstable());
            policy.bindings.sort_by(|one, other| {
                let key = |binding: &WrittenBinding| {
                    (binding.role.clone(), binding.condition.clone(), binding.members.clone())
                };
                key(one).cmp(&key(other))
            });
        }
        for rule in deny_policies.iter_mut().flatten().flat_map(|policy| &mut policy.rules) {
            sort_all([&mut rule.denied_principals, &mut rule.exception_principals]);
            sort_all([&mut rule.denied_permissions, &mut rule.exception_permissions]);
        }
        groups.iter_mut().flatten().for_each(|group| group.members.sort_unstable());
        roles.iter_mut().flatten().for_each(|role| role.permissions.sort_unstable());
        for level in access_levels.iter_mut().flatten() {
            sort_all([&mut level.ip_subnetworks, &mut level.required_access_levels, &mut level.members]);
        }
        sort_by(applications, |application| application.name.clone());
        sort_by(policies, |policy| policy.resource.clone());
        sort_by(deny_policies, |policy| (policy.attached_to.clone(), policy.id.clone()));
        sort_by(settings, |settings| settings.resource.clone());
        sort_by(groups, |group| group.email.clone());
        sort_by(roles, |role| role.id.clone());
        sort_by(access_levels, |level| level.name.clone());
        sort_by(service_accounts, |account| account.id.clone());
    }

    /// The first thing that the file has twice, such as `policies: app wiki`. Of two, it could not be said which holds.
    pub fn first_duplicate(&self) -> Option<String> {
        let WorldFile {
            applications,
            policies,
            deny_policies,
            settings,
            groups,
            roles,
            access_levels,
            service_accounts,
        } = self;
        duplicate("applications", applications, |application| application.name.clone())
            .or_else(|| duplicate("policies", policies, |policy| policy.resource.to_string()))
            .or_else(|| duplicate("deny_policies", deny_policies, |it| format!("{} at {}", it.id, it.attached_to)))
            .or_else(|| duplicate("settings", settings, |settings| settings.resource.to_string()))
            .or_else(|| duplicate("groups", groups, |group| group.email.to_ascii_lowercase()))
            .or_else(|| duplicate("roles", roles, |role| role.id.clone()))
            .or_else(|| duplicate("access_levels", access_levels, |level| level.name.clone()))
            .or_else(|| duplicate("service_accounts", service_accounts, |account| account.id.clone()))
    }
}

fn sort_all<const N: usize>(lists: [&mut Vec<String>; N]) {
    lists.into_iter().for_each(|list| list.sort_unstable());
}

fn sort_by<T, K: Ord>(list: &mut Option<Vec<T>>, key: impl Fn(&T) -> K) {
    if let Some(list) = list {
        list.sort_by_key(key);
    }
}

fn duplicate<T>(what: &str, list: &Option<Vec<T>>, key: impl Fn(&T) -> String) -> Option<String> {
    let mut seen = BTreeSet::new();
    let twice = list.iter().flatten().map(key).find(|key| !seen.insert(key.clone()))?;
    Some(format!("{what}: {twice}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A file as a person writes it, with one of each.
    const WRITTEN: &str = r#"
        [[applications]]
        name = "wiki"
        hosts = ["https://wiki.example.com"]
        upstreams = ["http://10.0.0.7:3000"]

        [[applications]]
        name = "admin"
        kind = "cloud_run"
        region = "europe-west1"
        hosts = ["b.example.com", "a.example.com"]
        path_prefixes = ["/admin"]
        upstreams = ["http://10.0.0.8"]
        iap_enabled = false
        labels = { team = "web" }

        [[policies]]
        resource = "app wiki"
        bindings = [
            { role = "roles/iap.httpsResourceAccessor", members = ["user:b@example.com", "group:a@example.com"] },
            { role = "roles/iap.admin", members = ["user:c@example.com"], condition = 'request.path == "/help"' },
        ]

        [[policies]]
        resource = "project"

        [[policies.bindings]]
        role = "roles/viewer"
        members = ["domain:example.com"]
        condition = { expression = "request.time < timestamp('2027-01-01T00:00:00Z')", title = "this year" }

        [[deny_policies]]
        id = "no-robots"
        rules = [{ denied_principals = ["allUsers"], exception_principals = ["user:b@x.y", "user:a@x.y"], denied_permissions = ["iap.googleapis.com/*.*"], condition = "true" }]

        [[settings]]
        resource = "app wiki"
        access_settings.oauth_settings.programmatic_clients = ["c"]
        access_settings.cors_settings.allow_http_options = true
        doorward_settings.email_claim = "required"

        [[groups]]
        email = "staff@example.com"
        members = ["user:b@example.com", "user:a@example.com"]

        [[roles]]
        id = "wikiEditor"
        title = "Wiki editor"
        permissions = ["iap.webServiceVersions.accessViaIAP"]

        [[access_levels]]
        name = "office"
        ip_subnetworks = ["192.0.2.0/24"]

        [[service_accounts]]
        id = "robot1"
        disabled = true
    "#;

    #[test]
    fn a_file_that_a_person_wrote_becomes_one_sorted_file_and_stays_it() {
        let mut file: WorldFile = toml::from_str(WRITTEN).unwrap();
        file.sort();
        let expected = json!({
            "applications": [
                {"name": "admin", "kind": "cloud_run", "region": "europe-west1", "hosts": ["a.example.com", "b.example.com"],
                 "path_prefixes": ["/admin"], "upstreams": ["http://10.0.0.8"], "iap_enabled": false, "labels": {"team": "web"}},
                {"name": "wiki", "hosts": ["https://wiki.example.com"], "upstreams": ["http://10.0.0.7:3000"]},
            ],
            "policies": [
                {"resource": "project", "bindings": [{"role": "roles/viewer", "members": ["domain:example.com"],
                 "condition": {"expression": "request.time < timestamp('2027-01-01T00:00:00Z')", "title": "this year"}}]},
                {"resource": "app wiki", "bindings": [
                    {"role": "roles/iap.admin", "members": ["user:c@example.com"], "condition": "request.path == \"/help\""},
                    {"role": "roles/iap.httpsResourceAccessor", "members": ["group:a@example.com", "user:b@example.com"]},
                ]},
            ],
            "deny_policies": [{"id": "no-robots", "attached_to": "project", "rules": [{
                "denied_principals": ["allUsers"], "exception_principals": ["user:a@x.y", "user:b@x.y"],
                "denied_permissions": ["iap.googleapis.com/*.*"], "condition": "true",
            }]}],
            "settings": [{
                "resource": "app wiki", "doorward_settings": {"email_claim": "REQUIRED"},
                "access_settings": {"oauth_settings": {"programmatic_clients": ["c"]}, "cors_settings": {"allow_http_options": true}},
            }],
            "groups": [{"email": "staff@example.com", "members": ["user:a@example.com", "user:b@example.com"]}],
            "roles": [{"id": "wikiEditor", "title": "Wiki editor", "permissions": ["iap.webServiceVersions.accessViaIAP"]}],
            "access_levels": [{"name": "office", "ip_subnetworks": ["192.0.2.0/24"]}],
            "service_accounts": [{"id": "robot1", "disabled": true}],
        });
        let written = serde_json::to_value(&file).unwrap();
        assert_eq!(written, expected);
        let mut again: WorldFile = serde_json::from_value(written).unwrap();
        assert_eq!(again, file);
        again.sort();
        assert_eq!(again, file);
        assert_eq!(file.first_duplicate(), None);
    }

    #[test]
    fn a_mistake_in_a_file_is_refused_with_what_is_wrong() {
        let application = "[[applications]]\nname = 'a'\nhosts = []\nupstreams = []\n";
        #[rustfmt::skip]
        let cases = [
            ("[[apps]]\nname = 'a'".to_owned(),                                            "unknown field `apps`"),
            (format!("{application}upstream = 'x'"),                                       "unknown field `upstream`"),
            (format!("{application}kind = 'lambda'"),                                      "unknown variant `lambda`"),
            ("[[applications]]\nname = 'a'\nhosts = []".to_owned(),                        "missing field `upstreams`"),
            ("[[policies]]\nresource = 'wiki'\nbindings = []".to_owned(),                  "\"wiki\" names no resource: use \"app NAME\""),
            ("[[policies]]\nresource = 'web'\nbindings = [{ role = 'r', member = 'm' }]".to_owned(), "unknown field `member`"),
            ("[[policies]]\nresource = 'web'\nbindings = [{ role = 'r', members = [], condition = { expr = 'x' } }]".to_owned(), "unknown field `expr`"),
            ("[[policies]]\nresource = 'web'\nbindings = [{ role = 'r', members = [], condition = 1 }]".to_owned(), "invalid type"),
            ("[[settings]]\nresource = 'web'\naccess_settings.cors.x = 1".to_owned(),      "there is no setting access_settings.cors"),
            ("[[settings]]\nresource = 'web'\nname = 'n'".to_owned(),                      "settings are named by `resource`"),
            ("[[settings]]\naccess_settings = {}".to_owned(),                              "missing field `resource`"),
            ("[[settings]]\nresource = 'web'\ndoorward_settings.email_claim = 'maybe'".to_owned(), "unknown variant `maybe`"),
            ("[[roles]]\nid = 'r'\npermissions = []\nstage = 'ga'".to_owned(),             "unknown variant `ga`"),
        ];
        for (text, expected) in cases {
            let error = toml::from_str::<WorldFile>(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}\n{error}");
        }
    }

    #[test]
    fn a_resource_is_named_in_one_of_five_ways() {
        use WrittenResource as R;
        #[rustfmt::skip]
        let cases = [
            ("project",                      Some(R::Project)),
            ("web",                          Some(R::Web)),
            ("app wiki",                     Some(R::Application("wiki".into()))),
            ("account robot1",               Some(R::ServiceAccount("robot1".into()))),
            ("account a@p.example",          Some(R::ServiceAccount("a@p.example".into()))),
            ("projects/1/iap_web/compute",   Some(R::Named("projects/1/iap_web/compute".into()))),
            ("organizations/1",              Some(R::Named("organizations/1".into()))),
            ("folders/1",                    Some(R::Named("folders/1".into()))),
            ("wiki",                         None),
            ("app",                          None),
            ("app ",                         None),
            ("app a b",                      None),
            ("app  wiki",                    None),
            ("App wiki",                     None),
            ("/projects/1",                  None),
            ("projects/a b",                 None),
            ("",                             None),
        ];
        for (text, expected) in cases {
            let read: Result<R, _> = text.parse();
            assert_eq!(read.as_ref().ok(), expected.as_ref(), "{text:?}");
            assert_eq!(
                read.map(|read| read.to_string()),
                expected.map(|_| text.to_owned()).ok_or(WrittenResourceError(text.to_owned()))
            );
        }
    }

    #[test]
    fn what_a_file_has_twice_is_found_in_every_list() {
        let application = json!({"name": "a", "hosts": [], "upstreams": []});
        let deny = |id: &str, at: &str| json!({"id": id, "attached_to": at, "rules": []});
        #[rustfmt::skip]
        let cases = [
            (json!({"applications": [application, application]}),                                  Some("applications: a")),
            (json!({"policies": [{"resource": "app a", "bindings": []}, {"resource": "web", "bindings": []}, {"resource": "app a", "bindings": []}]}), Some("policies: app a")),
            (json!({"deny_policies": [deny("d", "project"), deny("d", "project")]}),               Some("deny_policies: d at project")),
            (json!({"deny_policies": [deny("d", "project"), deny("d", "folders/1")]}),             None),
            (json!({"settings": [{"resource": "web"}, {"resource": "web"}]}),                      Some("settings: web")),
            (json!({"groups": [{"email": "A@x.y"}, {"email": "a@x.y"}]}),                          Some("groups: a@x.y")),
            (json!({"roles": [{"id": "r", "permissions": []}, {"id": "r", "permissions": []}]}),   Some("roles: r")),
            (json!({"access_levels": [{"name": "l"}, {"name": "l"}]}),                             Some("access_levels: l")),
            (json!({"service_accounts": [{"id": "s"}, {"id": "t"}, {"id": "s"}]}),                 Some("service_accounts: s")),
            (json!({}),                                                                            None),
        ];
        for (value, expected) in cases {
            let file: WorldFile = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(file.first_duplicate().as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn an_absent_list_is_told_from_an_empty_one() {
        let file: WorldFile = toml::from_str("groups = []").unwrap();
        assert_eq!((file.groups.as_deref(), file.roles.as_deref()), (Some(&[][..]), None));
        assert_eq!(serde_json::to_value(file).unwrap(), json!({"groups": []}));
    }
}
