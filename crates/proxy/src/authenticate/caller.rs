//! Who is calling: an account of ours, or somebody whom a trusted issuer vouches for. The two share nothing.

use std::borrow::Cow;
use std::fmt;

use doorward_core::account::UniqueId;
use doorward_core::issuer::ForeignCaller;
use doorward_core::member::{Email, Member};
use doorward_core::policy::Principal;
use doorward_core::policy::request::AuthenticationStrength;
use doorward_core::snapshot::AccountKind;
use doorward_wire::jose::Claims;
use serde_json::Value;

/// Who is calling, and what their credential says beside.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Proven {
    pub(crate) caller: Caller,
    /// Everything that it says. Conditions read it.
    pub(crate) claims: Claims,
    /// How well its issuer recognised somebody, if it says so.
    pub(crate) strength: Option<AuthenticationStrength>,
}

impl Proven {
    /// `strength` is read from `amr` (RFC 8176).
    pub(crate) fn new(caller: Caller, claims: Claims) -> Self {
        let methods = claims.as_object().get("amr").and_then(Value::as_array);
        let strength =
            methods.and_then(|methods| AuthenticationStrength::of_methods(methods.iter().filter_map(Value::as_str)));
        Proven { caller, claims, strength }
    }
}

/// Who is calling: proven by a credential for this resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// An account of ours.
    Account(AccountCaller),
    /// Somebody from elsewhere: no account of ours, whatever their token says.
    Foreign(ForeignCaller),
}

/// An account of ours that is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountCaller {
    pub(crate) kind: AccountKind,
    pub(crate) unique_id: UniqueId,
    pub(crate) email: Email,
    /// Something that Google's IAP would have decided otherwise.
    pub(crate) note: Option<&'static str>,
}

impl AccountCaller {
    /// The organisation of a person: the domain of their address. A program has none.
    pub(crate) fn hosted_domain(&self) -> Option<&str> {
        match self.kind {
            AccountKind::User => Some(self.email.domain()),
            AccountKind::ServiceAccount => None,
        }
    }
}

impl Caller {
    /// As policies see them.
    pub(crate) fn principal(&self) -> Principal<'_> {
        match self {
            Caller::Account(account) => match account.kind {
                AccountKind::User => Principal::User(&account.email),
                AccountKind::ServiceAccount => Principal::ServiceAccount(&account.email),
            },
            Caller::Foreign(foreign) => Principal::Foreign(&foreign.members),
        }
    }

    /// As policies write them. Of a foreign caller the principal, which nobody else can be, also where their address counts.
    pub(crate) fn member(&self) -> String {
        self.to_string()
    }

    /// Of a foreign caller, the members that they match beside the principal.
    pub(crate) fn other_members(&self) -> &[Member] {
        match self {
            Caller::Account(_) => &[],
            Caller::Foreign(foreign) => foreign.members.get(1..).unwrap_or_default(),
        }
    }

    /// As they know themselves: their address, or the principal of somebody who has none here.
    pub(crate) fn shown(&self) -> Cow<'_, str> {
        match self {
            Caller::Account(account) => Cow::Borrowed(account.email.as_str()),
            Caller::Foreign(foreign) => {
                foreign.email.as_ref().map_or_else(|| foreign.principal().into(), |email| email.as_str().into())
            }
        }
    }

    /// What the record says beside the decision.
    pub(super) fn note(&self) -> Option<Cow<'static, str>> {
        const ELSEWHERE: &str = "Google's IAP would refuse this token: its issuer is one that the operator trusts";
        match self {
            Caller::Account(account) => account.note.map(Cow::Borrowed),
            Caller::Foreign(foreign) => match (foreign.issuer.google, &foreign.email) {
                (true, None) => None,
                (true, Some(email)) => Some(format!("the issuer vouches for {email}").into()),
                (false, None) => Some(ELSEWHERE.into()),
                (false, Some(email)) => Some(format!("{ELSEWHERE}; it vouches for {email}").into()),
            },
        }
    }
}

/// As policies write them: see [`Caller::member`].
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Account(account) => match account.kind {
                AccountKind::User => write!(f, "user:{}", account.email),
                AccountKind::ServiceAccount => write!(f, "serviceAccount:{}", account.email),
            },
            Caller::Foreign(foreign) => f.write_str(&foreign.principal()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use doorward_core::issuer::TrustedIssuer;

    use super::*;
    use crate::testing::{entry, foreign};

    #[test]
    fn the_record_names_a_foreign_caller_by_the_principal_and_notes_what_google_would_not_do_and_whose_word_an_address_is()
     {
        const ELSEWHERE: &str = "Google's IAP would refuse this token: its issuer is one that the operator trusts";
        let bob = Some("bob@corp.test");
        // (Google's own, e-mail) => (shown, note)
        #[rustfmt::skip]
        let cases = [
            (false, None, "principal://doorward/trustedIssuers/corp/subject/1", Some(ELSEWHERE.to_owned())),
            (false, bob,  "bob@corp.test",                                      Some(format!("{ELSEWHERE}; it vouches for bob@corp.test"))),
            (true,  None, "principal://doorward/trustedIssuers/corp/subject/1", None),
            (true,  bob,  "bob@corp.test",                                      Some("the issuer vouches for bob@corp.test".to_owned())),
        ];
        for (google, email, shown, note) in cases {
            let mut caller = foreign("corp", "1", email);
            if let Caller::Foreign(foreign) = &mut caller {
                foreign.issuer = Arc::new(TrustedIssuer { google, ..entry("corp", &[]) });
            }
            assert_eq!(caller.member(), "principal://doorward/trustedIssuers/corp/subject/1");
            assert_eq!(caller.shown(), shown);
            assert_eq!(caller.note().as_deref(), note.as_deref());
        }
    }
}
