//! How a policy writes a principal.

use std::fmt;
use std::str::FromStr;

/// An e-mail address in the form in which it is compared: ASCII lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

/// A text that is not an e-mail address that we compare.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address")]
pub struct EmailError;

impl Email {
    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

impl FromStr for Email {
    type Err = EmailError;

    /// One `@`, something on both sides, visible ASCII only, at most 254 bytes (RFC 5321 section 4.5.3.1). Two addresses
    /// that a person cannot tell apart must not be two members, so everything beyond ASCII is refused.
    fn from_str(text: &str) -> Result<Self, EmailError> {
        let (local, domain) = text.split_once('@').ok_or(EmailError)?;
        let visible = text.bytes().all(|b| {
            b.is_ascii_graphic() && !matches!(b, b'"' | b'(' | b')' | b',' | b':' | b';' | b'<' | b'>' | b'\\')
        });
        if local.is_empty() || !is_domain(domain) || !visible || text.len() > 254 {
            return Err(EmailError);
        }
        Ok(Email(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_domain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// A principal, as bindings name it.
///
/// Spec: <https://cloud.google.com/iam/docs/principal-identifiers>
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// `user:EMAIL`
    User(Email),
    /// `serviceAccount:EMAIL`
    ServiceAccount(Email),
    /// `domain:DOMAIN`: every user of that domain; no service account belongs to one.
    Domain(String),
    /// `allAuthenticatedUsers`: every user and service account with a proven identity.
    AllAuthenticatedUsers,
    /// `allUsers`: everyone, without a credential too.
    AllUsers,
}

/// A text that is not a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// The prefix is a form of Google's that is not built yet: `group:`, `principal://`, `deleted:` and the like.
    #[error("members of this form are not served yet")]
    UnsupportedForm,
    /// Not a form of Google's, or what follows the prefix is not an e-mail address or domain.
    #[error("not a member")]
    Malformed,
}

impl FromStr for Member {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        const NOT_YET: [&str; 8] = [
            "group:",
            "deleted:",
            "principal:",
            "principalSet:",
            "projectOwner:",
            "projectEditor:",
            "projectViewer:",
            "iapPrincipal:",
        ];
        match text {
            "allUsers" => return Ok(Member::AllUsers),
            "allAuthenticatedUsers" => return Ok(Member::AllAuthenticatedUsers),
            _ if NOT_YET.iter().any(|prefix| text.starts_with(prefix)) => return Err(MemberError::UnsupportedForm),
            _ => {}
        }
        let (kind, name) = text.split_once(':').ok_or(MemberError::Malformed)?;
        let email = || name.parse().map_err(|EmailError| MemberError::Malformed);
        match kind {
            "user" => Ok(Member::User(email()?)),
            "serviceAccount" => Ok(Member::ServiceAccount(email()?)),
            "domain" if is_domain(name) => Ok(Member::Domain(name.to_ascii_lowercase())),
            _ => Err(MemberError::Malformed),
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Member::User(email) => write!(f, "user:{email}"),
            Member::ServiceAccount(email) => write!(f, "serviceAccount:{email}"),
            Member::Domain(domain) => write!(f, "domain:{domain}"),
            Member::AllAuthenticatedUsers => f.write_str("allAuthenticatedUsers"),
            Member::AllUsers => f.write_str("allUsers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_in_any_case_and_written_in_one() {
        #[rustfmt::skip]
        let cases = [
            ("user:Ann@Example.com",        Ok("user:ann@example.com")),
            ("serviceAccount:r@p.iam.gserviceaccount.com", Ok("serviceAccount:r@p.iam.gserviceaccount.com")),
            ("domain:Example.COM",          Ok("domain:example.com")),
            ("allUsers",                    Ok("allUsers")),
            ("allAuthenticatedUsers",       Ok("allAuthenticatedUsers")),
            ("group:g@example.com",         Err(MemberError::UnsupportedForm)),
            ("deleted:user:a@b.c?uid=1",    Err(MemberError::UnsupportedForm)),
            ("principalSet://iam/x",        Err(MemberError::UnsupportedForm)),
            ("user:",                       Err(MemberError::Malformed)),
            ("user:ann",                    Err(MemberError::Malformed)),
            ("user:a@b@c",                  Err(MemberError::Malformed)),
            ("user:a b@example.com",        Err(MemberError::Malformed)),
            ("user:ann@exämple.com",        Err(MemberError::Malformed)),
            ("user:a@example.com\0",        Err(MemberError::Malformed)),
            ("User:ann@example.com",        Err(MemberError::Malformed)),
            ("domain:example..com",         Err(MemberError::Malformed)),
            ("domain:-a.com",               Err(MemberError::Malformed)),
            ("allusers",                    Err(MemberError::Malformed)),
            ("ann@example.com",             Err(MemberError::Malformed)),
        ];
        for (text, expected) in cases {
            let read = text.parse::<Member>().map(|member| member.to_string());
            assert_eq!(read, expected.map(str::to_owned), "{text}");
        }
    }
}
