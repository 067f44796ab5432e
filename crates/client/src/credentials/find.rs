//! Where default credentials are looked for (<https://google.aip.dev/auth/4110>).

use std::ffi::OsString;
use std::path::PathBuf;

use super::metadata::{ADDRESS, HOST};

/// The environment.
pub(super) type Variables<'a> = &'a (dyn Fn(&str) -> Option<OsString> + Sync);

const FILE_NAME: &str = "application_default_credentials.json";

/// What the environment says about a metadata server.
pub(super) enum MetadataServer {
    /// It is there.
    Named(String),
    /// There is none.
    Unasked,
    /// It may be there.
    Perhaps { ask: String, host: String },
}

/// An empty variable is as good as none.
fn given(variable: Variables<'_>, name: &str) -> Option<OsString> {
    variable(name).filter(|value| !value.is_empty())
}

fn text(variable: Variables<'_>, name: &str) -> Option<String> {
    given(variable, name).map(|value| value.to_string_lossy().into_owned())
}

pub(super) fn named_file(variable: Variables<'_>) -> Option<PathBuf> {
    given(variable, "GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from)
}

pub(super) fn well_known_file(variable: Variables<'_>) -> Option<PathBuf> {
    let folder = given(variable, "CLOUDSDK_CONFIG").map(PathBuf::from).or_else(|| {
        if cfg!(windows) {
            Some(PathBuf::from(given(variable, "APPDATA")?).join("gcloud"))
        } else {
            Some(PathBuf::from(given(variable, "HOME")?).join(".config").join("gcloud"))
        }
    })?;
    Some(folder.join(FILE_NAME))
}

pub(super) fn metadata(variable: Variables<'_>) -> MetadataServer {
    if let Some(host) = text(variable, "GCE_METADATA_HOST").or_else(|| text(variable, "GCE_METADATA_ROOT")) {
        return MetadataServer::Named(host);
    }
    let unasked =
        text(variable, "NO_GCE_CHECK").is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1");
    if unasked {
        return MetadataServer::Unasked;
    }
    let ask = text(variable, "GCE_METADATA_IP").unwrap_or_else(|| ADDRESS.to_owned());
    MetadataServer::Perhaps { ask, host: HOST.to_owned() }
}
