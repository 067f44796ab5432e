//! OAuth scopes that Doorward knows (RFC 6749 section 3.3).

/// Short names, and the last part of names under `https://www.googleapis.com/auth/`.
///
/// The set is what Google's clients ask for on the way to IAP. An unknown scope is refused, on purpose: Google answers it
/// with an ID token whose audience is the scope's text, which would let a caller choose any audience.
const SHORT: [&str; 3] = ["openid", "email", "profile"];
const LONG: [&str; 12] = [
    "accounts.reauth",
    "appengine.admin",
    "cloud-platform",
    "cloud-platform.read-only",
    "compute",
    "compute.readonly",
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
}

fn is_known(scope: &str) -> bool {
    SHORT.contains(&scope)
        || scope.strip_prefix("https://www.googleapis.com/auth/").is_some_and(|name| LONG.contains(&name))
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
}
