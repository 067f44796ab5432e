//! How credentials are found and used, where that differs from the defaults.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use doorward_wire::credential_file::{CredentialFile, CredentialFileError};

use super::authorized_user::AuthorizedUser;
use super::external_account::ExternalAccount;
use super::file;
use super::find;
use super::impersonated::Impersonated;
use super::metadata::Metadata;
use super::service_account::ServiceAccount;
use super::{Credentials, Source, Surroundings};
use crate::clock::{Clock, SystemClock};
use crate::endpoints::Endpoints;
use crate::entropy::Entropy;
use crate::origin::OriginError;
use crate::transport::{HttpClient, HttpOptions, Retry, certificates};

/// Why there are no credentials. Shows no secret, and says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// None of the places where they are looked for has any.
    #[error(
        "no credentials are found: set GOOGLE_APPLICATION_CREDENTIALS to a file of them, sign in with `gcloud auth \
         application-default login`, or run where a metadata server answers (GCE_METADATA_HOST names another one)"
    )]
    NotFound,
    /// The file cannot be read.
    #[error("cannot read the credentials in {path:?} ({cause}): name another file, or make it anew")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file, or the text, is not one of the types that are read.
    #[error("{} holds no credentials ({cause}): make it anew", place(path.as_deref()))]
    File {
        /// The file; a text has none.
        path: Option<PathBuf>,
        /// What is wrong with it.
        cause: CredentialFileError,
    },
    /// The private key is damaged.
    #[error("the private key of {account} is damaged: make another key for it")]
    Key {
        /// Whose key it is.
        account: String,
    },
    /// `service_account_impersonation_url` is of another form.
    #[error(
        "service_account_impersonation_url does not end in /serviceAccounts/ACCOUNT:generateAccessToken: make the file anew"
    )]
    ImpersonationUrl,
    /// `headers` of a `credential_source` are none.
    #[error("the headers of the credential_source are not those of a request: correct them")]
    Headers,
    /// Not `HOST` or `HOST:PORT`.
    #[error("{0:?} is no metadata server: write HOST or HOST:PORT, in GCE_METADATA_HOST too")]
    MetadataHost(String),
    /// The endpoint is no origin.
    #[error(transparent)]
    Endpoint(#[from] OriginError),
    /// No certificate is in the text.
    #[error("what is to be trusted is no certificate in PEM: give the file of the authority")]
    Certificate,
}

fn place(path: Option<&Path>) -> String {
    path.map_or_else(|| "the text".to_owned(), |path| format!("{path:?}"))
}

/// How credentials are found and used: [`Credentials::builder`].
#[derive(Clone)]
pub struct CredentialsBuilder {
    http: HttpOptions,
    clock: Arc<dyn Clock>,
    endpoints: Endpoints,
}

impl Default for CredentialsBuilder {
    fn default() -> Self {
        CredentialsBuilder {
            http: HttpOptions::default(),
            clock: Arc::new(SystemClock),
            endpoints: Endpoints::default(),
        }
    }
}

impl std::fmt::Debug for CredentialsBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialsBuilder").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

impl CredentialsBuilder {
    /// A Doorward that is asked in the place of Google, such as `http://127.0.0.1:8081`: `https://oauth2.googleapis.com/token`
    /// becomes `http://127.0.0.1:8081/oauth2.googleapis.com/token`, and so do all of Google's addresses, those in files too. The
    /// metadata server is not among them.
    ///
    /// # Errors
    /// [`CredentialsError::Endpoint`] if it is no origin.
    pub fn endpoint(mut self, origin: &str) -> Result<Self, CredentialsError> {
        self.endpoints.base = Some(origin.parse()?);
        Ok(self)
    }

    /// Authorities, in PEM, that are trusted beside those of the system.
    ///
    /// # Errors
    /// [`CredentialsError::Certificate`] if there is none in it.
    pub fn ca_pem(mut self, pem: impl AsRef<[u8]>) -> Result<Self, CredentialsError> {
        self.http.extra_roots.extend(certificates(pem.as_ref()).ok_or(CredentialsError::Certificate)?);
        Ok(self)
    }

    /// Another clock than the machine's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Another source of randomness than the machine's, for the waits between tries.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.http.entropy = entropy;
        self
    }

    /// How long one try may take, from the first packet to the last byte: ten seconds if not said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.http.timeout = timeout;
        self
    }

    /// How often is asked in all when a server fails or is not reached, and the wait before the second try, which doubles from
    /// then on up to five seconds: four times and 200 ms if not said. A refusal is never asked for again.
    pub fn retry(mut self, attempts: u32, delay: Duration) -> Self {
        self.http.retry = Retry { attempts, delay };
        self
    }

    /// Sends credentials over plain http to other machines too. Only for networks that are encrypted themselves.
    pub fn allow_insecure_http(mut self) -> Self {
        self.http.allow_insecure_http = true;
        self
    }

    /// As [`Credentials::find_default`].
    ///
    /// # Errors
    /// As there.
    pub async fn find_default(self) -> Result<Credentials, CredentialsError> {
        self.find_in(&|name| std::env::var_os(name)).await
    }

    async fn find_in(self, variable: find::Variables<'_>) -> Result<Credentials, CredentialsError> {
        if let Some(path) = find::named_file(variable) {
            return self.from_file(path);
        }
        if let Some(path) = find::well_known_file(variable) {
            match self.clone().from_file(path) {
                // Services have `HOME=/dev/null`.
                Err(CredentialsError::Read { cause, .. })
                    if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                found => return found,
            }
        }
        match find::metadata(variable) {
            find::MetadataServer::Named(host) => self.metadata(&host),
            find::MetadataServer::Unasked => Err(CredentialsError::NotFound),
            find::MetadataServer::Perhaps { ask, host } => {
                let surroundings = self.surroundings();
                if Metadata::at(&ask)?.answers(&surroundings.http).await {
                    Ok(Credentials::new(Source::Metadata(Metadata::at(&host)?), surroundings))
                } else {
                    Err(CredentialsError::NotFound)
                }
            }
        }
    }

    /// As [`Credentials::from_file`].
    ///
    /// # Errors
    /// As there.
    pub fn from_file(self, path: impl AsRef<Path>) -> Result<Credentials, CredentialsError> {
        let path = path.as_ref();
        let bytes = file::read(path).map_err(|cause| CredentialsError::Read { path: path.to_owned(), cause })?;
        let file = CredentialFile::parse(&bytes);
        self.from_parsed(file.map_err(|cause| CredentialsError::File { path: Some(path.to_owned()), cause })?)
    }

    /// As [`Credentials::from_json`].
    ///
    /// # Errors
    /// As there.
    pub fn from_json(self, json: impl AsRef<[u8]>) -> Result<Credentials, CredentialsError> {
        let file = CredentialFile::parse(json.as_ref());
        self.from_parsed(file.map_err(|cause| CredentialsError::File { path: None, cause })?)
    }

    /// The credentials of a file that was read before.
    ///
    /// # Errors
    /// [`CredentialsError`] if a value in it cannot be used.
    pub fn from_parsed(self, file: CredentialFile) -> Result<Credentials, CredentialsError> {
        credentials(file, &self.surroundings())
    }

    /// As [`Credentials::metadata`].
    ///
    /// # Errors
    /// As there.
    pub fn metadata(self, host: &str) -> Result<Credentials, CredentialsError> {
        Ok(Credentials::new(Source::Metadata(Metadata::at(host)?), self.surroundings()))
    }

    fn surroundings(self) -> Arc<Surroundings> {
        Arc::new(Surroundings { http: HttpClient::new(self.http), clock: self.clock, endpoints: self.endpoints })
    }
}

fn credentials(file: CredentialFile, surroundings: &Arc<Surroundings>) -> Result<Credentials, CredentialsError> {
    let made = |source| Credentials::new(source, surroundings.clone());
    Ok(match file {
        CredentialFile::ServiceAccount(file) => made(Source::ServiceAccount(ServiceAccount::new(file)?)),
        CredentialFile::AuthorizedUser(file) => made(Source::AuthorizedUser(AuthorizedUser::new(file))),
        CredentialFile::ImpersonatedServiceAccount(file) => {
            let source = credentials(*file.source_credentials, surroundings)?;
            let url = &file.service_account_impersonation_url;
            made(Source::Impersonated(Impersonated::by_url(source, url, file.delegates, None)?))
        }
        CredentialFile::ExternalAccount(mut file) => {
            let (url, life) = (file.service_account_impersonation_url.take(), file.token_lifetime_seconds);
            let source = made(Source::ExternalAccount(ExternalAccount::new(file)?));
            match url {
                None => source,
                Some(url) => made(Source::Impersonated(Impersonated::by_url(source, &url, Vec::new(), life)?)),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::ffi::OsString;
    use std::fs;

    const USER: &str = r#"{"type":"authorized_user","client_id":"c","refresh_token":"s3cret"}"#;
    const OTHER: &str =
        r#"{"type":"authorized_user","client_id":"d","refresh_token":"s3cret","account":"a@x.example"}"#;

    async fn find(variables: &[(&str, &Path)]) -> Result<Credentials, CredentialsError> {
        let variables: HashMap<&str, OsString> =
            variables.iter().map(|(name, value)| (*name, value.as_os_str().to_owned())).collect();
        Credentials::builder().find_in(&|name| variables.get(name).cloned()).await
    }

    #[tokio::test]
    async fn the_first_place_in_googles_order_counts_and_a_bad_file_is_no_reason_to_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let (named, config, home) = (path("named.json"), path("config"), path("home"));
        fs::create_dir_all(&config).unwrap();
        fs::create_dir_all(home.join(".config/gcloud")).unwrap();
        fs::write(&named, OTHER).unwrap();
        fs::write(config.join("application_default_credentials.json"), USER).unwrap();
        fs::write(home.join(".config/gcloud/application_default_credentials.json"), OTHER).unwrap();
        let (empty, missing, yes) = (path("empty"), path("missing.json"), PathBuf::from("true"));
        let server = PathBuf::from("metadata.test:81");
        let (host, off) = (("GCE_METADATA_HOST", &*server), ("NO_GCE_CHECK", &*yes));
        type Found = Result<(&'static str, Option<&'static str>), &'static str>;
        #[rustfmt::skip]
        let cases: [(&[(&str, &Path)], Found); 9] = [
            (&[("GOOGLE_APPLICATION_CREDENTIALS", &named), ("CLOUDSDK_CONFIG", &config), host], Ok(("authorized_user", Some("a@x.example")))),
            (&[("CLOUDSDK_CONFIG", &config), ("HOME", &home), host],                            Ok(("authorized_user", None))),
            (&[("HOME", &home), host],                                                          Ok(("authorized_user", Some("a@x.example")))),
            (&[("HOME", &empty), host],                                                         Ok(("metadata", None))),
            (&[("HOME", &named), host],                                                         Ok(("metadata", None))),
            (&[("HOME", &empty), off],                                                          Err("no credentials are found")),
            (&[off],                                                                            Err("no credentials are found")),
            (&[("GOOGLE_APPLICATION_CREDENTIALS", &missing), ("HOME", &home), host],            Err("cannot read the credentials in ")),
            (&[("HOME", &empty), ("GCE_METADATA_HOST", Path::new("a b"))],                      Err("\"a b\" is no metadata server")),
        ];
        for (variables, expected) in cases {
            let found = find(variables).await;
            match (&found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!((found.kind(), found.account()), expected, "{variables:?}"),
                (Err(error), Err(expected)) => assert!(error.to_string().starts_with(expected), "{error}"),
                _ => panic!("{variables:?}: {found:?}"),
            }
        }
    }

    /// Answers every connection with this head, and gives its address.
    fn answering(head: &'static str) -> PathBuf {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let read = stream.read(&mut [0; 4096]).unwrap();
                assert_ne!(read, 0);
                write!(stream, "HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n").unwrap();
            }
        });
        address.into()
    }

    #[tokio::test]
    async fn a_metadata_server_is_one_only_if_it_says_so() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        #[rustfmt::skip]
        let cases = [
            (answering("200 OK\r\nMetadata-Flavor: Google"),         Some("metadata")),
            (answering("200 OK\r\nMetadata-Flavor: Other"),          None),
            (answering("200 OK"),                                    None),
            (answering("403 Forbidden\r\nMetadata-Flavor: Google"),  None),
            (closed.into(),                                          None),
        ];
        for (address, expected) in cases {
            let found = find(&[("GCE_METADATA_IP", &address)]).await;
            assert_eq!(found.as_ref().ok().map(Credentials::kind), expected, "{found:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_a_secret() {
        let key = r#"{"type":"service_account","client_email":"r@p.example","private_key":"s3cret"}"#;
        let url = format!(
            r#"{{"type":"impersonated_service_account","service_account_impersonation_url":"https://x/","source_credentials":{USER}}}"#
        );
        #[rustfmt::skip]
        let cases = [
            ("{",                                        "the text holds no credentials (not a JSON object): make it anew"),
            (r#"{"type":"authorized_user","client_id":"c","refresh_token":{"s3cret":1}}"#,
                                                         "the text holds no credentials (field \"refresh_token\" is missing"),
            (key,                                        "the private key of r@p.example is damaged: make another key"),
            (&url,                                       "service_account_impersonation_url does not end in"),
        ];
        for (json, expected) in cases {
            let error = Credentials::from_json(json).unwrap_err();
            assert!(error.to_string().starts_with(expected), "{error}");
            assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        }
        assert!(Credentials::builder().ca_pem("none").is_err());
        assert!(Credentials::builder().endpoint("http://x/y").is_err());
        assert!(!format!("{:?}", Credentials::from_json(OTHER).unwrap()).contains("s3cret"));
    }
}
