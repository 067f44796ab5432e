//! Who is calling: an account of ours, or somebody whom a trusted issuer vouches for. The two share nothing.

use std::borrow::Cow;

use doorward_core::account::UniqueId;
use doorward_core::issuer::ForeignCaller;
use doorward_core::member::Email;
use doorward_core::policy::Principal;
use doorward_core::snapshot::AccountKind;

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
        match self {
            Caller::Account(account) => match account.kind {
                AccountKind::User => format!("user:{}", account.email),
                AccountKind::ServiceAccount => format!("serviceAccount:{}", account.email),
            },
            Caller::Foreign(foreign) => foreign.principal(),
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
