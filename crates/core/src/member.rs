//! How a policy writes a principal.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::federation::FederationId;
use crate::issuer::IssuerId;

/// An e-mail address in the form in which it is compared: ASCII lower case. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(Arc<str>);

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

/// Equal and hashed as its text is, so that tables can be asked with a text.
impl std::borrow::Borrow<str> for Email {
    fn borrow(&self) -> &str {
        &self.0
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
        Ok(Email(text.to_ascii_lowercase().into()))
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
    /// `group:EMAIL`: whoever is in a group of ours, or in a group in it.
    Group(Email),
    /// `domain:DOMAIN`: every user of that domain; no service account belongs to one.
    Domain(String),
    /// `principal://…`: one identity from elsewhere. Holds what follows `principal:`.
    Principal(String),
    /// `principalSet://…`: some or all identities of a pool or an issuer. Holds what follows `principalSet:`.
    PrincipalSet(String),
    /// `deleted:KIND:NAME?uid=N`: somebody who is no more. Kept so that a policy can be read and written back; matches nobody.
    /// Holds what follows `deleted:`.
    Deleted(String),
    /// `allAuthenticatedUsers`: every user and service account with a proven identity.
    AllAuthenticatedUsers,
    /// `allUsers`: everyone, without a credential too.
    AllUsers,
}

/// A text that is not a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// A form of Google's that we do not have: workforce pools, `projectOwner:` and the like.
    #[error("members of this form are not served")]
    UnsupportedForm,
    /// Not a form of Google's, or what follows the prefix is not an e-mail address or domain.
    #[error("not a member")]
    Malformed,
}

/// What kind of member: with the text of [`Member::key`], all that two members are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum MemberKind {
    User,
    ServiceAccount,
    Group,
    Domain,
    Principal,
    PrincipalSet,
    Deleted,
    AllAuthenticatedUsers,
    AllUsers,
}

impl Member {
    /// The kind and the text, borrowed.
    pub(crate) fn key(&self) -> (MemberKind, &str) {
        match self {
            Member::User(email) => (MemberKind::User, email.as_str()),
            Member::ServiceAccount(email) => (MemberKind::ServiceAccount, email.as_str()),
            Member::Group(email) => (MemberKind::Group, email.as_str()),
            Member::Domain(domain) => (MemberKind::Domain, domain),
            Member::Principal(name) => (MemberKind::Principal, name),
            Member::PrincipalSet(name) => (MemberKind::PrincipalSet, name),
            Member::Deleted(name) => (MemberKind::Deleted, name),
            Member::AllAuthenticatedUsers => (MemberKind::AllAuthenticatedUsers, ""),
            Member::AllUsers => (MemberKind::AllUsers, ""),
        }
    }

    /// Whether it names everybody, proven or not: such a member takes no condition, and its accesses are not in the record.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/managing-access#public-access>
    pub fn is_public(&self) -> bool {
        matches!(self, Member::AllUsers | Member::AllAuthenticatedUsers)
    }
}

impl FromStr for Member {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        const FOREIGN: [&str; 4] = ["projectOwner:", "projectEditor:", "projectViewer:", "iapPrincipal:"];
        match text {
            "allUsers" => return Ok(Member::AllUsers),
            "allAuthenticatedUsers" => return Ok(Member::AllAuthenticatedUsers),
            _ if FOREIGN.iter().any(|prefix| text.starts_with(prefix)) => return Err(MemberError::UnsupportedForm),
            _ => {}
        }
        let (kind, name) = text.split_once(':').ok_or(MemberError::Malformed)?;
        let email = || name.parse().map_err(|EmailError| MemberError::Malformed);
        match kind {
            "user" => Ok(Member::User(email()?)),
            "serviceAccount" => Ok(Member::ServiceAccount(email()?)),
            "group" => Ok(Member::Group(email()?)),
            "deleted" => deleted(name),
            "principal" => principal(name, is_one_identity).map(Member::Principal),
            "principalSet" => principal(name, is_set).map(Member::PrincipalSet),
            "domain" if is_domain(name) => Ok(Member::Domain(name.to_ascii_lowercase())),
            _ => Err(MemberError::Malformed),
        }
    }
}

/// How a member that is gone begins.
pub(crate) const DELETED: &str = "deleted:";

/// Reads what follows `deleted:`: a member, and the number that it had.
fn deleted(text: &str) -> Result<Member, MemberError> {
    let (name, uid) = text.rsplit_once("?uid=").ok_or(MemberError::Malformed)?;
    let number = !uid.is_empty() && uid.len() <= 32 && uid.bytes().all(|b| b.is_ascii_digit());
    // Before it is read: thousands of the prefix, one in the other, would be as many calls on the stack.
    if !number || name.starts_with(DELETED) {
        return Err(MemberError::Malformed);
    }
    match name.parse()? {
        name @ (Member::User(_)
        | Member::ServiceAccount(_)
        | Member::Group(_)
        | Member::Principal(_)
        | Member::PrincipalSet(_)) => Ok(Member::Deleted(format!("{name}?uid={uid}"))),
        Member::Domain(_) | Member::Deleted(_) | Member::AllAuthenticatedUsers | Member::AllUsers => {
            Err(MemberError::Malformed)
        }
    }
}

/// The longest name of an identity from elsewhere, in bytes: a pool's name and a mapped attribute.
const PRINCIPAL_LIMIT: usize = 2048;

/// Reads the name of an identity from elsewhere, or of a set of them. It is compared as it is written, so what could be written
/// in two ways is refused.
///
/// Spec: <https://cloud.google.com/iam/docs/principal-identifiers>
fn principal(name: &str, holds: impl Fn(&str) -> bool) -> Result<String, MemberError> {
    let rest = name.strip_prefix("//").ok_or(MemberError::Malformed)?;
    if name.len() > PRINCIPAL_LIMIT || name.chars().any(char::is_control) {
        return Err(MemberError::Malformed);
    }
    let inside = if let Some(pool) = rest.strip_prefix("iam.googleapis.com/projects/") {
        let (number, rest) = pool.split_once('/').ok_or(MemberError::Malformed)?;
        let pool = rest.strip_prefix("locations/global/workloadIdentityPools/").ok_or(MemberError::UnsupportedForm)?;
        let (pool, inside) = pool.split_once('/').ok_or(MemberError::Malformed)?;
        let number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        (number && pool.parse::<FederationId>().is_ok()).then_some(inside)
    } else if let Some(issuer) = rest.strip_prefix("doorward/trustedIssuers/") {
        let (issuer, inside) = issuer.split_once('/').ok_or(MemberError::Malformed)?;
        issuer.parse::<IssuerId>().is_ok().then_some(inside)
    } else {
        return Err(MemberError::UnsupportedForm);
    };
    match inside {
        Some(inside) if holds(inside) => Ok(name.to_owned()),
        Some(_) | None => Err(MemberError::Malformed),
    }
}

fn is_one_identity(inside: &str) -> bool {
    inside.strip_prefix("subject/").is_some_and(|subject| !subject.is_empty())
}

fn is_set(inside: &str) -> bool {
    let attribute =
        |rest: &str| rest.split_once('/').is_some_and(|(name, value)| !name.is_empty() && !value.is_empty());
    inside == "*"
        || inside.strip_prefix("group/").is_some_and(|group| !group.is_empty())
        || inside.strip_prefix("attribute.").is_some_and(attribute)
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Member::User(email) => write!(f, "user:{email}"),
            Member::ServiceAccount(email) => write!(f, "serviceAccount:{email}"),
            Member::Group(email) => write!(f, "group:{email}"),
            Member::Domain(domain) => write!(f, "domain:{domain}"),
            Member::Deleted(name) => write!(f, "deleted:{name}"),
            Member::Principal(name) => write!(f, "principal:{name}"),
            Member::PrincipalSet(name) => write!(f, "principalSet:{name}"),
            Member::AllAuthenticatedUsers => f.write_str("allAuthenticatedUsers"),
            Member::AllUsers => f.write_str("allUsers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_gone_many_times_over_is_refused_and_exhausts_no_stack() {
        let text = format!("{}user:a@b.cc{}", "deleted:".repeat(100_000), "?uid=1".repeat(100_000));
        assert_eq!(text.parse::<Member>(), Err(MemberError::Malformed));
    }

    #[test]
    fn a_member_is_read_in_any_case_and_written_in_one() {
        #[rustfmt::skip]
        let cases = [
            ("user:Ann@Example.com",        Ok("user:ann@example.com")),
            ("serviceAccount:r@p.iam.gserviceaccount.com", Ok("serviceAccount:r@p.iam.gserviceaccount.com")),
            ("domain:Example.COM",          Ok("domain:example.com")),
            ("allUsers",                    Ok("allUsers")),
            ("allAuthenticatedUsers",       Ok("allAuthenticatedUsers")),
            ("group:G@example.com",         Ok("group:g@example.com")),
            ("deleted:user:A@b.c?uid=1",    Ok("deleted:user:a@b.c?uid=1")),
            ("deleted:serviceAccount:r@p.co?uid=12", Ok("deleted:serviceAccount:r@p.co?uid=12")),
            ("deleted:group:g@b.c?uid=1",   Ok("deleted:group:g@b.c?uid=1")),
            ("deleted:user:a@b.c",          Err(MemberError::Malformed)),
            ("deleted:user:a@b.c?uid=x",    Err(MemberError::Malformed)),
            ("deleted:allUsers?uid=1",      Err(MemberError::Malformed)),
            ("deleted:deleted:user:a@b.c?uid=1?uid=1", Err(MemberError::Malformed)),
            ("projectOwner:p",              Err(MemberError::UnsupportedForm)),
            ("group:",                      Err(MemberError::Malformed)),
            ("principalSet://iam/x",        Err(MemberError::UnsupportedForm)),
            ("principal://iam.googleapis.com/locations/global/workforcePools/p/subject/s", Err(MemberError::UnsupportedForm)),
            ("principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/subject/repo:a/b", Ok("principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/subject/repo:a/b")),
            ("principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/attribute.repo/a/b", Ok("principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/attribute.repo/a/b")),
            ("principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/*", Ok("principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/*")),
            ("principal://doorward/trustedIssuers/corp/subject/S", Ok("principal://doorward/trustedIssuers/corp/subject/S")),
            ("principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/*", Err(MemberError::Malformed)),
            ("principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/subject/s", Err(MemberError::Malformed)),
            ("principal://iam.googleapis.com/projects/p-id/locations/global/workloadIdentityPools/pool/subject/s", Err(MemberError::Malformed)),
            ("principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/Pool/subject/s", Err(MemberError::Malformed)),
            ("principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/subject/", Err(MemberError::Malformed)),
            ("principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/subject/a\nb", Err(MemberError::Malformed)),
            ("principal:iam.googleapis.com/x", Err(MemberError::Malformed)),
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
