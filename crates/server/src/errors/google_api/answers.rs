//! Answers to *why*, trying a policy, and the whole of it in one file.

use doorward_control::admin::Failure as _;
use doorward_control::explain::ExplainError;
use doorward_control::simulate::SimulateError;
use doorward_control::world::WorldError;
use doorward_core::member::MemberError;

use super::{ApiFailure, CONCURRENT_CHANGES};

impl From<ExplainError> for ApiFailure {
    fn from(error: ExplainError) -> Self {
        use ExplainError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            E::NoQuestion | E::NoTarget | E::Url(_) | E::Permission(_) | E::Time(_) | E::SourceIp(_) => {
                format!("Invalid argument: {error}.")
            }
            E::Member { member, error } => match error {
                MemberError::UnsupportedForm => format!("Members of the form {member} are not served."),
                MemberError::Malformed => {
                    format!("Invalid member: {member}. Write user:EMAIL, serviceAccount:EMAIL or principal://…")
                }
            },
            E::NoDecision(id) => {
                format!("Requested entity was not found: there is no decision {id:?}, or it is no longer kept.")
            }
            E::Store(_) | E::Refresh(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}

impl From<SimulateError> for ApiFailure {
    fn from(error: SimulateError) -> Self {
        use SimulateError as E;
        match error {
            E::Admin(error) => error.into(),
            E::Proposed(error) => error.into(),
            E::Since(_) | E::AccessLevels(_) => ApiFailure::invalid(&error),
            E::Store(_) | E::Refresh(_) | E::Stopping(_) => ApiFailure::internal(&error),
        }
    }
}

impl From<WorldError> for ApiFailure {
    fn from(error: WorldError) -> Self {
        use WorldError as E;
        let status = error.status();
        let message = match &error {
            E::Admin(error) => return error.into(),
            // What fails by our fault is told as that.
            E::In { .. } if status == doorward_wire::google_api::Status::Internal => {
                return ApiFailure::internal(&error);
            }
            E::Mistakes(one) if one.len() == 1 => format!("In the file: {error}. Nothing was changed."),
            E::Mistakes(several) => {
                format!("In the file are {} mistakes, and nothing was changed:\n{error}", several.len())
            }
            E::In { .. } => format!("In the file: {error}. Nothing was changed."),
            E::FixedText(_) => {
                format!("In the file: {error}: delete the account, or leave the text as it is. Nothing was changed.")
            }
            E::Stale(_) => format!("In the file: {error}. {CONCURRENT_CHANGES}"),
            E::Store(_) | E::Refresh(_) | E::Stopping(_) | E::Json(_) => return ApiFailure::internal(&error),
        };
        ApiFailure::new(status, message)
    }
}
