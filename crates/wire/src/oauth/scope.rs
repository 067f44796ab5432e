//! OAuth scopes that Doorward knows (RFC 6749 section 3.3).

/// Short names, and the last part of names under `https://www.googleapis.com/auth/`.
///
/// The set is what Google's clients ask for on the way to IAP, with what gsutil and flags of gcloud add, which opens nothing
/// here. An unknown scope is refused, on purpose: Google answers it with an ID token whose audience is the scope's text, which
/// would let a caller choose any audience.
const SHORT: [&str; 3] = ["openid", "email", "profile"];
const LONG: [&str; 18] = [
    "accounts.reauth",
    "appengine.admin",
    "bigquery",
    "cloud-platform",
    "cloud-platform.read-only",
    "compute",
    "compute.readonly",
    "devstorage.full_control",
    "devstorage.read_only",
    "devstorage.read_write",
    "drive",
    "drive.readonly",
    "iam",
    "iam.test",
    "sqlservice.login",
    "userinfo.email",
    "userinfo.profile",
    "cloudplatformprojects.readonly",
];

/// A scope that is not known, or a text that is not a list of scopes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is unknown, or there is none")]
pub struct UnknownScope;

/// One or more known scopes, in the order and the form in which they were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(String);

impl Scopes {
    /// Parses a list separated by single or several spaces.
    pub fn parse(text: &str) -> Result<Self, UnknownScope> {
        let scopes: Vec<&str> = text.split(' ').filter(|scope| !scope.is_empty()).collect();
        if scopes.is_empty() || !scopes.iter().all(|scope| is_known(scope)) {
            return Err(UnknownScope);
        }
        Ok(Scopes(scopes.join(" ")))
    }

    /// The scopes, separated by one space.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Each scope, in the order in which they were asked for.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }

    /// Whether this scope is among them, in its short or its long form.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|have| long_form(have) == long_form(scope))
    }

    /// Whether every one of these scopes is among `others`.
    pub fn is_subset_of(&self, others: &Scopes) -> bool {
        self.iter().all(|scope| others.contains(scope))
    }

    /// Whether an ID token belongs to what was asked for: Google gives one for any scope that tells of the person.
    pub fn tell_of_the_person(&self) -> bool {
        ["openid", "email", "profile"].iter().any(|scope| self.contains(scope))
    }

    /// Whether they open the IAM APIs of Google Cloud.
    ///
    /// Spec: <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateIdToken>
    pub fn open_cloud_apis(&self) -> bool {
        ["cloud-platform", "iam"].iter().any(|name| self.contains(&format!("{PREFIX}{name}")))
    }

    /// The scopes as the redirect names them: the short forms of Google's sign-in before the long ones.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/authentication-howto#signing_in_to_the_application>
    pub fn in_redirect(&self) -> String {
        let mut all: Vec<&str> = self.iter().flat_map(|scope| [scope, long_form(scope)]).collect();
        all.sort_unstable_by_key(|scope| (scope.starts_with(PREFIX), *scope));
        all.dedup();
        all.join(" ")
    }
}

const PREFIX: &str = "https://www.googleapis.com/auth/";

fn is_known(scope: &str) -> bool {
    SHORT.contains(&scope) || scope.strip_prefix(PREFIX).is_some_and(|name| LONG.contains(&name))
}

/// `email` and `profile` have a second name each; all others have one.
fn long_form(scope: &str) -> &str {
    match scope {
        "email" => "https://www.googleapis.com/auth/userinfo.email",
        "profile" => "https://www.googleapis.com/auth/userinfo.profile",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unknown_scope_spoils_the_list() {
        let cloud = "https://www.googleapis.com/auth/cloud-platform";
        assert_eq!(Scopes::parse(&format!("openid  {cloud}")).unwrap().as_str(), format!("openid {cloud}"));
        for refused in ["", " ", "nonsense", &format!("{cloud} nonsense"), "https://www.googleapis.com/auth/", "OPENID"]
        {
            assert_eq!(Scopes::parse(refused), Err(UnknownScope), "{refused:?}");
        }
    }

    #[test]
    fn what_gsutil_and_flags_of_gcloud_ask_for_is_known_and_opens_nothing() {
        let names = [
            "devstorage.full_control",
            "devstorage.read_write",
            "devstorage.read_only",
            "drive",
            "drive.readonly",
            "bigquery",
        ];
        for name in names {
            let scopes = Scopes::parse(&format!("{PREFIX}{name}")).unwrap();
            assert!(!scopes.open_cloud_apis() && !scopes.tell_of_the_person(), "{name}");
            assert_eq!(Scopes::parse(name), Err(UnknownScope), "{name} has no short form");
        }
    }

    #[test]
    fn a_scope_of_two_names_is_one_scope() {
        let scopes = |text: &str| Scopes::parse(text).unwrap();
        let long = "https://www.googleapis.com/auth/userinfo.email";
        assert!(scopes("openid email").contains(long) && scopes(long).contains("email"));
        assert!(scopes(long).is_subset_of(&scopes("email openid")));
        assert!(!scopes("profile").is_subset_of(&scopes("email openid")));
        assert_eq!(scopes("openid email").in_redirect(), format!("email openid {long}"));
        assert!(scopes("https://www.googleapis.com/auth/cloud-platform").open_cloud_apis());
        assert!(!scopes("openid").open_cloud_apis());
    }
}
