//! Key files of service accounts: finding one, and credentials from it.

use std::fs;
use std::path::Path;

use anyhow::{anyhow, bail};
use doorward_client::{Credentials, CredentialsBuilder, CredentialsError, TokenError};
use doorward_server::dev::description::{Description, ServiceAccountDescription};
use doorward_wire::credential_file::{CredentialFile, CredentialFileError, ServiceAccountFile};

use crate::sdk;

/// The key file at `path`.
pub(crate) fn read(path: &Path) -> anyhow::Result<ServiceAccountFile> {
    let shown = path.display();
    let bytes =
        fs::read(path).map_err(|error| anyhow!("cannot read the key file {shown} ({error}): name another file"))?;
    parse(&bytes).map_err(|error| anyhow!("{shown} is {error}: name another file"))
}

/// Why a file that was read gives no key.
#[derive(Debug, thiserror::Error)]
enum NoKeyFile {
    #[error("a file of type {0}, and no service account's key")]
    OtherType(&'static str),
    #[error(
        "a file of type external_account, which holds no key but says where a token from elsewhere lies: the libraries of Google \
         and the SDK take it in GOOGLE_APPLICATION_CREDENTIALS, and by hand that token is exchanged at sts.googleapis.com/v1/token. \
         For --key-file"
    )]
    ExternalAccount,
    #[error("no key file ({0})")]
    Malformed(#[from] CredentialFileError),
}

fn parse(bytes: &[u8]) -> Result<ServiceAccountFile, NoKeyFile> {
    match CredentialFile::parse(bytes)? {
        CredentialFile::ServiceAccount(file) => Ok(file),
        CredentialFile::AuthorizedUser(_) => Err(NoKeyFile::OtherType("authorized_user")),
        CredentialFile::ImpersonatedServiceAccount(_) => Err(NoKeyFile::OtherType("impersonated_service_account")),
        CredentialFile::ExternalAccount(_) => Err(NoKeyFile::ExternalAccount),
    }
}

/// The key file of the account of dev.json that is called `wanted`, by name or address.
pub(crate) fn of_account(world: &Description, wanted: &str) -> anyhow::Result<ServiceAccountFile> {
    let names = |accounts: &mut dyn Iterator<Item = (&String, &ServiceAccountDescription)>| {
        accounts.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let accounts = &world.service_accounts;
    let usable = || names(&mut accounts.iter().filter(|(_, account)| account.key_file.is_some()));
    let found = accounts.iter().find(|(name, account)| *name == wanted || account.email.eq_ignore_ascii_case(wanted));
    let Some((name, account)) = found else {
        bail!("no service account {wanted:?} in dev.json: use one of {}", usable());
    };
    let Some(path) = &account.key_file else {
        bail!("{name} has no key file: use one of {}", usable());
    };
    let (shown, email) = (path.display(), &account.email);
    let again = format!("make another with `doorward service-account keys create {shown} --account {email}`");
    let bytes = fs::read(path).map_err(|error| anyhow!("cannot read the key file {shown} ({error}): {again}"))?;
    parse(&bytes).map_err(|error| anyhow!("{shown} is {error}: remove it, then {again}"))
}

/// The credentials of a key file.
///
/// # Errors
/// [`CredentialsError::Key`] if its key is damaged.
pub(crate) fn credentials(
    file: ServiceAccountFile,
    builder: CredentialsBuilder,
) -> Result<Credentials, CredentialsError> {
    builder.from_parsed(CredentialFile::ServiceAccount(file))
}

/// Why the key file of `email` gave no token.
pub(crate) fn explained(error: &TokenError, email: &str) -> String {
    sdk::explained(error, &|_, description| advice(description, email))
}

/// Google says `invalid_grant` of many things. These two are about the file, and only a new one helps.
pub(crate) fn advice(description: &str, email: &str) -> Option<String> {
    match description {
        "Invalid JWT Signature." => Some(format!(
            "the key of the file was deleted or disabled, or the file is of another server; make a new key with \
             `doorward service-account keys create FILE --account {email}`"
        )),
        "Invalid grant: account not found" => Some(format!(
            "{email} was deleted or disabled, or the file is of another server; `doorward service-account list` shows \
             the accounts"
        )),
        _ => None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use base64::Engine as _;
    use doorward_core::entropy::generate_private_key;
    use doorward_wire::jose::Algorithm;
    use serde_json::{Value, json};

    use crate::api::tests::{block_on, replay};
    use crate::sdk::tests::id_token;
    use crate::world::tests::description;

    const ROBOT: &str = "robot@p.iam.gserviceaccount.com";

    /// A key file, with a new key. `wire` has no writer of PKCS#8 in PEM, and needs none but here.
    pub(crate) fn new_key_file(token_uri: &str) -> ServiceAccountFile {
        let der = generate_private_key(Algorithm::Rs256).unwrap();
        let pem = base64::engine::general_purpose::STANDARD.encode(der);
        ServiceAccountFile {
            client_email: ROBOT.into(),
            private_key_id: "1f".into(),
            private_key: format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n"),
            token_uri: token_uri.into(),
            project_id: Some("p".into()),
        }
    }

    /// As Google writes it.
    pub(crate) fn text_of(file: &ServiceAccountFile) -> String {
        let text: Value = json!({
            "type": "service_account", "project_id": file.project_id, "private_key_id": file.private_key_id,
            "private_key": file.private_key, "client_email": file.client_email, "token_uri": file.token_uri,
        });
        text.to_string()
    }

    #[test]
    fn the_token_endpoint_of_the_file_is_asked_whichever_it_is() {
        let access = json!({"access_token": "a", "expires_in": 3599, "token_type": "Bearer"});
        let (address, asked) = replay(vec![(200, json!({"id_token": id_token("c")})), (200, access)]);
        let file = new_key_file(&format!("http://{address}/some/token"));
        let credentials = credentials(file, sdk::builder()).unwrap();
        assert_eq!(block_on(credentials.id_token("c")).unwrap().as_str().split('.').count(), 3);
        assert_eq!(block_on(credentials.access_token(&[])).unwrap().as_str(), "a");
        for request in asked.join().unwrap() {
            assert!(request.starts_with("POST /some/token HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="));
        }
        let broken = ServiceAccountFile { private_key: "-----BEGIN PRIVATE KEY-----".into(), ..new_key_file("") };
        let refused = super::credentials(broken, sdk::builder()).unwrap_err().to_string();
        assert!(refused.ends_with(&format!("{ROBOT} is damaged: make another key for it")), "{refused}");
    }

    #[test]
    fn a_file_that_the_endpoint_does_not_take_is_answered_with_why_and_the_next_step() {
        let refused = |text: &str| (400, json!({"error": "invalid_grant", "error_description": text}));
        #[rustfmt::skip]
        let cases = [
            ("Invalid JWT Signature.",           ": the key of the file was deleted or disabled, or the file is of another server; make a new key with `doorward service-account keys create FILE --account robot@p.iam.gserviceaccount.com`"),
            ("Invalid grant: account not found", ": robot@p.iam.gserviceaccount.com was deleted or disabled, or the file is of another server; `doorward service-account list` shows the accounts"),
            ("Invalid JWT: Failed audience check.", "; sign in again, or check that the key still exists and that this machine's clock is right"),
        ];
        for (text, advice) in cases {
            let (address, _) = replay(vec![refused(text)]);
            let credentials = credentials(new_key_file(&format!("http://{address}/token")), sdk::builder()).unwrap();
            let error = block_on(credentials.access_token(&[])).unwrap_err();
            let expected = format!("http://{address} refused: {text} (invalid_grant){advice}");
            assert_eq!(explained(&error, ROBOT), expected);
        }
    }

    #[test]
    fn the_account_is_found_by_name_or_address_and_otherwise_the_usable_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("robot.json");
        fs::write(&path, text_of(&new_key_file(""))).unwrap();
        let mut world: Description = serde_json::from_value(description("http://127.0.0.1:1")).unwrap();
        world.service_accounts.get_mut("robot").unwrap().key_file = Some(path.clone());

        let address = ROBOT;
        for name in ["robot", address, "Robot@p.iam.gserviceaccount.com"] {
            assert_eq!(of_account(&world, name).unwrap().client_email, address, "{name}");
        }
        #[rustfmt::skip]
        let refused = [
            ("target", "target has no key file: use one of robot"),
            ("nobody", "no service account \"nobody\" in dev.json: use one of robot"),
        ];
        for (name, expected) in refused {
            assert_eq!(of_account(&world, name).unwrap_err().to_string(), expected);
        }
        let shown = path.display();
        let again = format!("make another with `doorward service-account keys create {shown} --account {address}`");
        fs::write(&path, "{}").unwrap();
        let no_key_file = format!("{shown} is no key file (field \"type\" is missing or has the wrong type)");
        assert_eq!(
            of_account(&world, "robot").unwrap_err().to_string(),
            format!("{no_key_file}: remove it, then {again}")
        );
        assert_eq!(read(&path).unwrap_err().to_string(), format!("{no_key_file}: name another file"));
        fs::write(&path, json!({"type": "authorized_user", "client_id": "1", "refresh_token": "x"}).to_string())
            .unwrap();
        let elsewhere = json!({
            "type": "external_account", "audience": "//iam.googleapis.com/x", "token_url": "https://sts.googleapis.com/v1/token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "credential_source": {"file": "t"},
        });
        fs::write(dir.path().join("elsewhere.json"), elsewhere.to_string()).unwrap();
        let told = read(&dir.path().join("elsewhere.json")).unwrap_err().to_string();
        assert!(
            told.contains("GOOGLE_APPLICATION_CREDENTIALS") && told.ends_with("For --key-file: name another file"),
            "{told}"
        );
        let other = format!("{shown} is a file of type authorized_user, and no service account's key");
        assert_eq!(read(&path).unwrap_err().to_string(), format!("{other}: name another file"));
        fs::remove_file(&path).unwrap();
        let missing = format!("cannot read the key file {shown} (No such file or directory (os error 2))");
        assert_eq!(of_account(&world, "robot").unwrap_err().to_string(), format!("{missing}: {again}"));
        assert_eq!(read(&path).unwrap_err().to_string(), format!("{missing}: name another file"));
    }
}
