//! Files that hold credentials, as Google's tools write them and its libraries find them.
//!
//! Read by hand and not by derived code: the messages of a JSON parser quote the values that they did not expect, and the
//! values here are secrets.
//!
//! Spec: <https://cloud.google.com/docs/authentication/application-default-credentials>, <https://google.aip.dev/auth/4110>

use std::fmt;

use serde_json::{Map, Value};

use crate::jose::parse_object;

/// Where service accounts' assertions and refresh tokens are exchanged if a file does not say.
pub const GOOGLE_TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// A file of any of the types that we read. `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialFile {
    /// `service_account`: a private key (<https://google.aip.dev/auth/4112>).
    ServiceAccount(ServiceAccountFile),
    /// `authorized_user`: a person's sign-in (<https://google.aip.dev/auth/4113>).
    AuthorizedUser(AuthorizedUserFile),
    /// `impersonated_service_account`: another account's tokens, by what the source gives.
    ImpersonatedServiceAccount(ImpersonatedFile),
    /// `external_account`: another issuer's token (<https://google.aip.dev/auth/4117>).
    ExternalAccount(ExternalAccountFile),
}

/// `service_account`, without what no client needs.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceAccountFile {
    /// The account.
    pub client_email: String,
    /// The key's id: `kid` of what it signs.
    pub private_key_id: String,
    /// PKCS#8 in PEM, RSA.
    pub private_key: String,
    /// Where assertions are exchanged.
    pub token_uri: String,
    /// The project's id.
    pub project_id: Option<String>,
}

/// `authorized_user`.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorizedUserFile {
    /// The client for which the person signed in.
    pub client_id: String,
    /// Its secret; public clients have none.
    pub client_secret: Option<String>,
    /// What the sign-in gave.
    pub refresh_token: String,
    /// Whose it is, if the file says: Google's own leave it empty.
    pub account: Option<String>,
}

/// `impersonated_service_account`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImpersonatedFile {
    /// `https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/EMAIL:generateAccessToken`.
    pub service_account_impersonation_url: String,
    /// Accounts between the source and the target, each holding a role on the next: addresses or resource names.
    pub delegates: Vec<String>,
    /// Who asks.
    pub source_credentials: Box<CredentialFile>,
}

/// `external_account`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalAccountFile {
    /// The provider: `//iam.googleapis.com/projects/…/providers/PROVIDER`.
    pub audience: String,
    /// `urn:ietf:params:oauth:token-type:jwt` and its like.
    pub subject_token_type: String,
    /// Where the token is exchanged: `https://sts.googleapis.com/v1/token`.
    pub token_url: String,
    /// The account that the exchanged token may impersonate, as in [`ImpersonatedFile`].
    pub service_account_impersonation_url: Option<String>,
    /// How long tokens of that account are to live, in seconds.
    pub token_lifetime_seconds: Option<u32>,
    /// Where the issuer's token is.
    pub credential_source: CredentialSource,
}

/// Where another issuer's token is.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// In a file, which its owner replaces before the token ends.
    File {
        /// Its path.
        path: String,
        /// How the token is written there.
        format: SubjectTokenFormat,
    },
    /// At an address that answers a `GET`.
    Url {
        /// The address.
        url: String,
        /// What the request carries. Values may be secrets.
        headers: Vec<(String, String)>,
        /// How the token is written in the answer.
        format: SubjectTokenFormat,
    },
}

/// How another issuer's token is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectTokenFormat {
    /// The whole text.
    Text,
    /// A member of a JSON object.
    Json {
        /// The member's name.
        field: String,
    },
}

impl fmt::Debug for ServiceAccountFile {
    /// Without the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceAccountFile({} {})", self.client_email, self.private_key_id)
    }
}

impl fmt::Debug for AuthorizedUserFile {
    /// Without the secret and the refresh token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorizedUserFile({})", self.client_id)
    }
}

impl fmt::Debug for CredentialSource {
    /// Without the values of headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialSource::File { path, .. } => write!(f, "CredentialSource(file {path:?})"),
            CredentialSource::Url { url, .. } => write!(f, "CredentialSource(url {url:?})"),
        }
    }
}

/// Why bytes are not a file that we read. Quotes no value but the type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialFileError {
    /// Not one JSON object with unique names.
    #[error("not a JSON object")]
    NotAnObject,
    /// `type` is another one, with at most its first 64 characters.
    #[error(
        "type {0:?} is not read: use service_account, authorized_user, impersonated_service_account or external_account"
    )]
    Type(String),
    /// The field is missing, empty, or not of its type.
    #[error("field {0:?} is missing or has the wrong type")]
    Field(&'static str),
    /// The token comes from AWS, a program or a certificate.
    #[error("the credential_source is neither a file nor a url, and others are not read")]
    CredentialSource,
    /// `source_credentials` hold `source_credentials`, and so on.
    #[error("source_credentials are nested too deeply")]
    Nesting,
}

/// More than anybody writes; each level is one more account to be asked.
const NESTING_LIMIT: usize = 8;

impl CredentialFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`CredentialFileError`], which quotes no value and may be shown.
    pub fn parse(bytes: &[u8]) -> Result<Self, CredentialFileError> {
        read(&parse_object(bytes).map_err(|_| CredentialFileError::NotAnObject)?, NESTING_LIMIT)
    }
}

fn read(object: &Map<String, Value>, levels: usize) -> Result<CredentialFile, CredentialFileError> {
    let fields = Fields(object);
    match fields.text("type")? {
        "service_account" => Ok(CredentialFile::ServiceAccount(ServiceAccountFile {
            client_email: fields.owned("client_email")?,
            private_key_id: fields.optional("private_key_id")?.unwrap_or_default(),
            private_key: fields.owned("private_key")?,
            token_uri: fields.optional("token_uri")?.unwrap_or_else(|| GOOGLE_TOKEN_URI.to_owned()),
            project_id: fields.optional("project_id")?,
        })),
        "authorized_user" => Ok(CredentialFile::AuthorizedUser(AuthorizedUserFile {
            client_id: fields.owned("client_id")?,
            client_secret: fields.optional("client_secret")?,
            refresh_token: fields.owned("refresh_token")?,
            account: fields.optional("account")?,
        })),
        "impersonated_service_account" => Ok(CredentialFile::ImpersonatedServiceAccount(ImpersonatedFile {
            service_account_impersonation_url: fields.owned("service_account_impersonation_url")?,
            delegates: fields.texts("delegates")?,
            source_credentials: Box::new(read(
                fields.object("source_credentials")?,
                levels.checked_sub(1).ok_or(CredentialFileError::Nesting)?,
            )?),
        })),
        "external_account" => Ok(CredentialFile::ExternalAccount(ExternalAccountFile {
            audience: fields.owned("audience")?,
            subject_token_type: fields.owned("subject_token_type")?,
            token_url: fields.owned("token_url")?,
            service_account_impersonation_url: fields.optional("service_account_impersonation_url")?,
            token_lifetime_seconds: lifetime(fields)?,
            credential_source: credential_source(Fields(fields.object("credential_source")?))?,
        })),
        other => Err(CredentialFileError::Type(other.chars().take(64).collect())),
    }
}

fn lifetime(fields: Fields<'_>) -> Result<Option<u32>, CredentialFileError> {
    const NAME: &str = "service_account_impersonation";
    const INNER: &str = "token_lifetime_seconds";
    if !fields.has(NAME) {
        return Ok(None);
    }
    let Some(value) = fields.object(NAME)?.get(INNER).filter(|value| !value.is_null()) else { return Ok(None) };
    let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
    seconds.map(Some).ok_or(CredentialFileError::Field(INNER))
}

fn credential_source(fields: Fields<'_>) -> Result<CredentialSource, CredentialFileError> {
    // An `environment_id` (AWS) has a `url` as well, of another meaning.
    if fields.has("environment_id") {
        return Err(CredentialFileError::CredentialSource);
    }
    let format =
        if fields.has("format") { subject_format(Fields(fields.object("format")?))? } else { SubjectTokenFormat::Text };
    match (fields.optional("file")?, fields.optional("url")?) {
        (Some(path), None) => Ok(CredentialSource::File { path, format }),
        (None, Some(url)) => {
            let headers = if fields.has("headers") { fields.object("headers")?.clone() } else { Map::new() };
            let pair = |(name, value): (String, Value)| match value {
                Value::String(value) => Ok((name, value)),
                _ => Err(CredentialFileError::Field("headers")),
            };
            Ok(CredentialSource::Url { url, headers: headers.into_iter().map(pair).collect::<Result<_, _>>()?, format })
        }
        (None, None) | (Some(_), Some(_)) => Err(CredentialFileError::CredentialSource),
    }
}

fn subject_format(fields: Fields<'_>) -> Result<SubjectTokenFormat, CredentialFileError> {
    match fields.optional("type")?.as_deref() {
        None | Some("text") => Ok(SubjectTokenFormat::Text),
        Some("json") => Ok(SubjectTokenFormat::Json { field: fields.owned("subject_token_field_name")? }),
        Some(_) => Err(CredentialFileError::Field("format")),
    }
}

/// Reads members of an object; errors name the member alone.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn has(self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    fn text(self, name: &'static str) -> Result<&'a str, CredentialFileError> {
        let text = self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or(CredentialFileError::Field(name))
    }

    fn owned(self, name: &'static str) -> Result<String, CredentialFileError> {
        self.text(name).map(str::to_owned)
    }

    /// Absent, `null` and the empty text are alike.
    fn optional(self, name: &'static str) -> Result<Option<String>, CredentialFileError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(_) => self.owned(name).map(Some),
        }
    }

    fn texts(self, name: &'static str) -> Result<Vec<String>, CredentialFileError> {
        let wrong = || CredentialFileError::Field(name);
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }

    fn object(self, name: &'static str) -> Result<&'a Map<String, Value>, CredentialFileError> {
        self.0.get(name).and_then(Value::as_object).ok_or(CredentialFileError::Field(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: &Value) -> Result<CredentialFile, CredentialFileError> {
        CredentialFile::parse(value.to_string().as_bytes())
    }

    fn user() -> Value {
        json!({"type": "authorized_user", "client_id": "c", "client_secret": "s3cret", "refresh_token": "r3fresh", "account": ""})
    }

    fn external(source: &Value) -> Value {
        json!({
            "type": "external_account", "audience": "//iam.googleapis.com/p", "subject_token_type": "t",
            "token_url": "https://sts.googleapis.com/v1/token", "credential_source": source,
            "service_account_impersonation": {"token_lifetime_seconds": 600},
        })
    }

    #[test]
    fn a_file_of_each_type_is_read_and_shows_no_secret() {
        let key =
            json!({"type": "service_account", "client_email": "r@p", "private_key": "s3cret", "private_key_id": "1f"});
        let impersonated = json!({
            "type": "impersonated_service_account", "service_account_impersonation_url": "u", "delegates": ["a"],
            "source_credentials": user(),
        });
        let url = json!({"url": "http://x", "headers": {"k": "s3cret"}, "format": {"type": "json", "subject_token_field_name": "f"}});
        let read: Vec<CredentialFile> =
            [key, user(), impersonated, external(&url)].iter().map(|file| parse(file).unwrap()).collect();
        let CredentialFile::ServiceAccount(key) = &read[0] else { panic!("{read:?}") };
        assert_eq!((key.token_uri.as_str(), key.project_id.as_deref()), (GOOGLE_TOKEN_URI, None));
        let CredentialFile::ImpersonatedServiceAccount(file) = &read[2] else { panic!("{read:?}") };
        assert_eq!((file.delegates.as_slice(), &*file.source_credentials), (["a".to_owned()].as_slice(), &read[1]));
        let CredentialFile::ExternalAccount(file) = &read[3] else { panic!("{read:?}") };
        assert_eq!(file.token_lifetime_seconds, Some(600));
        let shown = format!("{read:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("r3fresh"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_named_and_no_value_is_quoted() {
        use CredentialFileError::{CredentialSource, Field, Nesting, NotAnObject, Type};
        let mut deep = user();
        for _ in 0..9 {
            deep = json!({
                "type": "impersonated_service_account", "service_account_impersonation_url": "u", "source_credentials": deep,
            });
        }
        #[rustfmt::skip]
        let cases = [
            (json!("x"),                                                              NotAnObject),
            (json!({}),                                                               Field("type")),
            (json!({"type": "gdch_service_account"}),                                 Type("gdch_service_account".into())),
            (json!({"type": "service_account", "client_email": "a"}),                 Field("private_key")),
            (json!({"type": "authorized_user", "client_id": "c", "refresh_token": 5}), Field("refresh_token")),
            (external(&json!("file")),                                                Field("credential_source")),
            (external(&json!({})),                                                    CredentialSource),
            (external(&json!({"executable": {}})),                                    CredentialSource),
            (external(&json!({"environment_id": "aws1", "url": "u"})),                CredentialSource),
            (external(&json!({"file": "f", "url": "u"})),                             CredentialSource),
            (external(&json!({"file": "f", "format": {"type": "xml"}})),              Field("format")),
            (external(&json!({"file": "f", "format": {"type": "json"}})),             Field("subject_token_field_name")),
            (external(&json!({"url": "u", "headers": {"a": 1}})),                     Field("headers")),
            (deep,                                                                    Nesting),
        ];
        for (file, expected) in cases {
            assert_eq!(parse(&file).unwrap_err(), expected, "{file}");
        }
        assert_eq!(CredentialFile::parse(br#"{"type": "a", "type": "b"}"#).unwrap_err(), NotAnObject);
    }
}
