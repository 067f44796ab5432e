//! `doorward service-account policy`: who may act as a service account, through the methods of `iam.googleapis.com`.

use doorward_server::dev::description::Description;

use super::policy::{Help, Place};
use super::service_account::SEE_LIST;
use crate::account::AccountArgs;
use crate::iam_policy::Governed;

impl Place for AccountArgs {
    const DEFAULT_ROLE: &'static str = "roles/iam.serviceAccountTokenCreator";
    const HELP: Help = Help {
        about: "Show and change who may make tokens of a service account",
        after: "\
Example:
  doorward service-account policy get --account target",
    };
    const GET: Help = Help {
        about: "Show the bindings on a service account",
        after: "\
Example:
  doorward service-account policy get --account target",
    };
    const ADD: Help = Help {
        about: "Let a member act as a service account, from the next call on",
        after: "\
Roles: roles/iam.serviceAccountTokenCreator (tokens and signatures), roles/iam.serviceAccountOpenIdTokenCreator (ID tokens
alone), roles/iam.workloadIdentityUser (access and ID tokens).

Example:
  doorward service-account policy add --account target --member user:bob@example.com",
    };
    const REMOVE: Help = Help {
        about: "Take a binding on a service account away, from the next call on",
        after: "\
Example:
  doorward service-account policy remove --account target --member user:bob@example.com",
    };

    fn governed(&self, world: &Description) -> anyhow::Result<Governed> {
        let email = self.account.address(world)?;
        Ok(Governed {
            // Google's clients write `-` for the project, and demand it where tokens are made.
            resource: format!("projects/-/serviceAccounts/{email}"),
            host: "iam.googleapis.com",
            if_not_found: SEE_LIST,
            shown_by: format!("doorward service-account policy get --account {email}"),
        })
    }
}
