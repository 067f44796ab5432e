//! `doorward service-account policy`: who may act as a service account, through the methods of `iam.googleapis.com`.

use super::policy::{Help, Place};
use crate::account::AccountArgs;
use crate::iam_policy::Governed;
use crate::server::Server;

impl Place for AccountArgs {
    const DEFAULT_ROLE: &'static str = "roles/iam.serviceAccountTokenCreator";
    const HELP: Help = Help {
        about: "Show and change who may make tokens of a service account",
        after: "\
Example:
  doorward service-account policy show --account target",
    };
    const SHOW: Help = Help {
        about: "Show the bindings on a service account",
        after: "\
Example:
  doorward service-account policy show --account target",
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

    const SET: Help = Help {
        about: "Replace the whole policy of a service account by that of a file",
        after: "\
The file is what `doorward service-account policy show --json` prints. With its etag, it replaces only the policy that was read.

Example:
  doorward service-account policy set --account target -f policy.json",
    };
    const TEST: Help = Help {
        about: "Show which of some permissions you hold on a service account",
        after: "\
Example:
  doorward service-account policy test --account target --permission iam.serviceAccounts.getAccessToken",
    };

    async fn governed(&self, server: &Server) -> anyhow::Result<Governed> {
        let email = self.account.address(server.dev())?;
        // Google's clients write `-` for the project, and demand it where tokens are made.
        let resource = format!("projects/-/serviceAccounts/{email}");
        Ok(Governed::named(resource, format!("doorward service-account policy show --account {email}")))
    }
}
