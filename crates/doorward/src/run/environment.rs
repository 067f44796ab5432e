//! The variables of the program: where trust lies and where the world is described, and none that leads elsewhere.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use super::trust::JAVA_PASSWORD;
use crate::world::DESCRIPTION_VARIABLE;

/// Where the program finds things.
pub(super) struct Paths<'a> {
    /// The description of the world.
    pub(super) description: &'a Path,
    /// What is trusted, in PEM.
    pub(super) bundle: &'a Path,
    /// The same for Java.
    pub(super) java_store: &'a Path,
}

/// Variables that name a bundle. Those who read none of these read the system's, which is the same.
const BUNDLE: [&str; 9] = [
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "CURL_CA_BUNDLE",
    "DENO_CERT",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
];

/// Variables that lead past Google's own names, or to a way that is not there. Case does not matter.
const ELSEWHERE: [&str; 20] = [
    "ALL_PROXY",
    "CLOUDSDK_API_CLIENT_OVERRIDES",
    "CLOUDSDK_AUTH_AUTH_HOST",
    "CLOUDSDK_AUTH_MTLS_TOKEN_HOST",
    "CLOUDSDK_AUTH_TOKEN_HOST",
    "CLOUDSDK_CORE_UNIVERSE_DOMAIN",
    "CURL_HOME",
    "FIREBASE_AUTH_EMULATOR_HOST",
    "GCE_METADATA_HOST",
    "GCE_METADATA_IP",
    "GCE_METADATA_ROOT",
    "GOOGLE_API_USE_CLIENT_CERTIFICATE",
    "GOOGLE_API_USE_MTLS_ENDPOINT",
    "GOOGLE_CLOUD_UNIVERSE_DOMAIN",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "LOCALDOMAIN",
    "NO_PROXY",
    "RES_OPTIONS",
    "SSL_CERT_DIR",
];

/// The beginnings of such variables.
const ELSEWHERE_PREFIXES: [&str; 2] = ["CLOUDSDK_API_ENDPOINT_OVERRIDES_", "CLOUDSDK_PROXY_"];

/// Gives `command` the variables of this process, changed for the program.
pub(super) fn set(command: &mut Command, paths: &Paths<'_>) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| leads_elsewhere(name)) {
        command.env_remove(name);
    }
    command.env(DESCRIPTION_VARIABLE, paths.description);
    for name in BUNDLE {
        command.env(name, paths.bundle);
    }
    // For those whose proxy is configured in another way.
    command.env("NO_PROXY", "*").env("no_proxy", "*");
    command.env("JAVA_TOOL_OPTIONS", java_tool_options(std::env::var_os("JAVA_TOOL_OPTIONS"), paths.java_store));
}

fn leads_elsewhere(name: &OsStr) -> bool {
    let Some(name) = name.to_str().map(str::to_ascii_uppercase) else { return false };
    ELSEWHERE.contains(&name.as_str()) || ELSEWHERE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Behind what is set already: of two options with one name the JVM takes the last.
fn java_tool_options(set: Option<OsString>, store: &Path) -> OsString {
    let mut options = set.filter(|set| !set.is_empty()).unwrap_or_default();
    if !options.is_empty() {
        options.push(" ");
    }
    options.push("\"-Djavax.net.ssl.trustStore=");
    options.push(store);
    options.push(format!("\" -Djavax.net.ssl.trustStoreType=JKS -Djavax.net.ssl.trustStorePassword={JAVA_PASSWORD}"));
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_leads_elsewhere_by_its_name_or_its_beginning_in_any_case() {
        #[rustfmt::skip]
        let cases = [
            ("http_proxy",                            true),
            ("HTTPS_PROXY",                           true),
            ("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAP",   true),
            ("GCE_METADATA_HOST",                     true),
            ("CLOUDSDK_CONFIG",                       false),
            ("GOOGLE_APPLICATION_CREDENTIALS",        false),
            ("HTTP_PROXY_OF_MINE",                    false),
            ("PATH",                                  false),
        ];
        for (name, expected) in cases {
            assert_eq!(leads_elsewhere(OsStr::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn options_of_java_come_behind_those_that_are_there() {
        let ours = "\"-Djavax.net.ssl.trustStore=/a b/s.jks\" -Djavax.net.ssl.trustStoreType=JKS -Djavax.net.ssl.trustStorePassword=changeit";
        for (set, expected) in
            [(None, ours.to_owned()), (Some(""), ours.to_owned()), (Some("-Xmx1g"), format!("-Xmx1g {ours}"))]
        {
            assert_eq!(java_tool_options(set.map(OsString::from), Path::new("/a b/s.jks")), OsString::from(expected));
        }
    }
}
