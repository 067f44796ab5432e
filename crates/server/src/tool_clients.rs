//! The OAuth clients of programs that people have: the ids, and the secrets where there are any, are in the programs, and so public
//! knowledge.

use doorward_core::client::{ClientKind, OAuthClient};
use doorward_core::clock::Timestamp;
use doorward_core::grant::TokenHash;
use doorward_core::resource::{ClientId, Project};

/// A client of a tool of Google's: its id and secret are in its published source.
pub(crate) struct ToolClient {
    name: &'static str,
    pub(crate) id: &'static str,
    pub(crate) secret: &'static str,
    /// The number of its project.
    project: &'static str,
    /// The page that shows a code to be copied.
    code_page: Option<&'static str>,
}

/// `gcloud auth login`.
pub(crate) const GCLOUD: ToolClient = ToolClient {
    name: "Google Cloud CLI",
    id: "32555940559.apps.googleusercontent.com",
    secret: "ZmssLNjJy2998hD4CTg2ejr2",
    project: "32555940559",
    code_page: Some("https://sdk.cloud.google.com/authcode.html"),
};

/// `gcloud auth application-default login`.
pub(crate) const DEFAULT_CREDENTIALS: ToolClient = ToolClient {
    name: "Application Default Credentials",
    id: "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com",
    secret: "d-FL95Q19q7MQmFpd7hHD0Ty",
    project: "764086051850",
    code_page: Some("https://sdk.cloud.google.com/applicationdefaultauthcode.html"),
};

/// `gsutil config`.
const GSUTIL: ToolClient = ToolClient {
    name: "gsutil",
    id: "909320924072.apps.googleusercontent.com",
    secret: "p3RlpR10xMFh9ZXBS/ZNLYUu",
    project: "909320924072",
    code_page: None,
};

/// The client of `doorward login` at a `doorward serve`.
pub const DOORWARD: &str = "doorward-cli.apps.googleusercontent.com";

/// What it sends as its secret, which proves nothing: it is in every `doorward`, as gcloud's is in every gcloud. With one, its refresh
/// tokens are not exchanged at each use, so that two commands may run at one time.
pub const DOORWARD_SECRET: &str = "doorward-cli-is-known-to-everybody";

/// The clients of Google's tools.
pub(crate) fn of_google(now: Timestamp) -> Vec<OAuthClient> {
    [GCLOUD, DEFAULT_CREDENTIALS, GSUTIL]
        .into_iter()
        .map(|tool| OAuthClient {
            id: ClientId(tool.id.to_owned()),
            project: tool.project.to_owned(),
            display_name: tool.name.to_owned(),
            kind: ClientKind::Desktop { redirect_uris: tool.code_page.map(str::to_owned).into_iter().collect() },
            secret: Some(TokenHash::of(tool.secret)),
            created: now,
        })
        .collect()
}

/// The client of our own command line.
pub(crate) fn own(project: &Project, now: Timestamp) -> OAuthClient {
    OAuthClient {
        id: ClientId(DOORWARD.to_owned()),
        project: project.number.clone(),
        display_name: "Doorward command line".to_owned(),
        kind: ClientKind::Desktop { redirect_uris: Vec::new() },
        secret: Some(TokenHash::of(DOORWARD_SECRET)),
        created: now,
    }
}
