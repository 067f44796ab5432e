//! Key files: finding one, and what is signed with it (RFC 7523).

use std::fs;
use std::path::Path;

use anyhow::{anyhow, bail};
use doorward_core::clock::Timestamp;
use doorward_server::dev::description::{Description, ServiceAccountDescription};
use doorward_wire::google_api::KeyFile;
use doorward_wire::jose::{Algorithm, KeyMaterialError, SigningKey};
use doorward_wire::metadata::MetadataToken;
use doorward_wire::oauth::JWT_BEARER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::api::{ApiError, post_form};

/// The `aud` of every assertion, whatever the address of the token endpoint, as Google's clients write it.
///
/// Spec: <https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>
const ASSERTION_AUDIENCE: &str = "https://oauth2.googleapis.com/token";

/// The longest life that the token endpoint accepts, in seconds.
const ASSERTION_TTL: i64 = 3600;

/// What access tokens are asked for: the APIs of Google Cloud.
pub(crate) const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

/// The `type` of a key file.
const KEY_FILE_TYPE: &str = "service_account";

/// The claim that says what an assertion is exchanged for.
#[derive(Debug, Clone, Copy)]
enum Wanted<'a> {
    IdToken { audience: &'a str },
    AccessToken { scopes: &'a str },
}

/// Why a key file gave no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// Its private key is none. The cause stands within the sentence, before the next step, and is no `source`.
    #[error("{cause}: make another key for {email}")]
    Key { cause: KeyMaterialError, email: String },
    /// The token endpoint does not take what the key signed, or does not know the account.
    #[error("{cause}: {advice}")]
    NotAccepted { cause: ApiError, advice: String },
    /// The token endpoint gave none, for another reason.
    #[error(transparent)]
    Endpoint(#[from] ApiError),
}

/// The key file at `path`.
pub(crate) fn read(path: &Path) -> anyhow::Result<KeyFile> {
    let shown = path.display();
    let bytes =
        fs::read(path).map_err(|error| anyhow!("cannot read the key file {shown} ({error}): name another file"))?;
    parse(&bytes).map_err(|error| anyhow!("{shown} is {error}: name another file"))
}

/// Why a file that was read gives no key.
#[derive(Debug, thiserror::Error)]
enum NoKeyFile {
    #[error("a file of type {0}, and no service account's key")]
    OtherType(String),
    #[error("no key file ({0})")]
    Malformed(serde_json::Error),
}

fn parse(bytes: &[u8]) -> Result<KeyFile, NoKeyFile> {
    /// The other files of credentials say what they are in the same member.
    #[derive(Deserialize)]
    struct Kind {
        r#type: String,
    }
    match serde_json::from_slice(bytes) {
        Ok(Kind { r#type }) if r#type != KEY_FILE_TYPE => Err(NoKeyFile::OtherType(r#type)),
        Ok(_) | Err(_) => serde_json::from_slice(bytes).map_err(NoKeyFile::Malformed),
    }
}

/// The key file of the account of dev.json that is called `wanted`, by name or address.
pub(crate) fn of_account(world: &Description, wanted: &str) -> anyhow::Result<KeyFile> {
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

/// An ID token for `audience`, from the token endpoint that the file names.
pub(crate) async fn id_token(file: &KeyFile, audience: &str, now: Timestamp) -> Result<String, ExchangeError> {
    #[derive(Deserialize)]
    struct Answer {
        id_token: String,
    }
    let Answer { id_token } = exchange(file, Wanted::IdToken { audience }, now).await?;
    Ok(id_token)
}

/// An access token for the APIs of Google Cloud, from the token endpoint that the file names.
pub(crate) async fn access_token(file: &KeyFile, now: Timestamp) -> Result<String, ExchangeError> {
    Ok(access_token_for(file, CLOUD_PLATFORM, now).await?.access_token)
}

/// An access token for scopes that are separated by spaces, from the token endpoint that the file names.
pub(crate) async fn access_token_for(
    file: &KeyFile,
    scopes: &str,
    now: Timestamp,
) -> Result<MetadataToken, ExchangeError> {
    exchange(file, Wanted::AccessToken { scopes }, now).await
}

async fn exchange<T: DeserializeOwned>(file: &KeyFile, wanted: Wanted<'_>, now: Timestamp) -> Result<T, ExchangeError> {
    let assertion =
        assertion(file, wanted, now).map_err(|cause| ExchangeError::Key { cause, email: file.client_email.clone() })?;
    let answer = post_form(&file.token_uri, &[("grant_type", JWT_BEARER), ("assertion", &assertion)]).await;
    answer.map_err(|error| advised(error, &file.client_email))
}

/// Google says `invalid_grant` of many things. These two are about the file, and only a new one helps.
fn advised(cause: ApiError, email: &str) -> ExchangeError {
    let ApiError::OAuth { description, .. } = &cause else { return cause.into() };
    let advice = match description.as_str() {
        "Invalid JWT Signature." => format!(
            "the key of the file was deleted or disabled, or the file is of another server; make a new key with \
             `doorward service-account keys create FILE --account {email}`"
        ),
        "Invalid grant: account not found" => format!(
            "{email} was deleted or disabled, or the file is of another server; `doorward service-account list` shows \
             the accounts"
        ),
        _ => return cause.into(),
    };
    ExchangeError::NotAccepted { cause, advice }
}

/// A signed request for a token (RFC 7523 section 3).
fn assertion(file: &KeyFile, wanted: Wanted<'_>, now: Timestamp) -> Result<String, KeyMaterialError> {
    let key = SigningKey::from_pkcs8_pem(&file.private_key_id, Algorithm::Rs256, &file.private_key)?;
    let claims: Map<String, Value> = [
        ("iss", json!(file.client_email)),
        ("sub", json!(file.client_email)),
        ("aud", json!(ASSERTION_AUDIENCE)),
        ("iat", json!(now.seconds())),
        ("exp", json!(now.seconds() + ASSERTION_TTL)),
        match wanted {
            Wanted::IdToken { audience } => ("target_audience", json!(audience)),
            Wanted::AccessToken { scopes } => ("scope", json!(scopes)),
        },
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    key.sign(&claims)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use doorward_core::entropy::generate_private_key;
    use doorward_wire::jose::{TOKEN_LIMIT, Unverified, VerifyingKey};

    use crate::api::tests::{block_on, replay};
    use crate::world::tests::description;

    /// A key file as Google writes it, with a new key. `wire` has no writer of PKCS#8 in PEM, and needs none but here.
    pub(crate) fn new_key_file(token_uri: &str) -> KeyFile {
        use base64::Engine as _;
        let der = generate_private_key(Algorithm::Rs256).unwrap();
        let pem = base64::engine::general_purpose::STANDARD.encode(der);
        let kid = "1f";
        serde_json::from_value(json!({
            "type": "service_account", "project_id": "p", "private_key_id": kid, "client_id": "1",
            "private_key": format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n"),
            "client_email": "robot@p.iam.gserviceaccount.com", "auth_uri": "", "token_uri": token_uri,
            "auth_provider_x509_cert_url": "", "client_x509_cert_url": "", "universe_domain": "googleapis.com",
        }))
        .unwrap()
    }

    #[test]
    fn an_assertion_says_what_google_demands_and_is_signed_by_the_key_of_the_file() {
        let file = new_key_file("");
        let key = SigningKey::from_pkcs8_pem("1f", Algorithm::Rs256, &file.private_key).unwrap();
        let public = VerifyingKey::from_jwk(&key.public_jwk()).unwrap();
        let audience = "123-x.apps.googleusercontent.com";
        #[rustfmt::skip]
        let cases = [
            (Wanted::IdToken { audience }, "target_audience", audience),
            (Wanted::AccessToken { scopes: "a b" }, "scope",    "a b"),
        ];
        for (wanted, name, value) in cases {
            let signed = assertion(&file, wanted, Timestamp::from_seconds(1000)).unwrap();
            let unverified = Unverified::parse(&signed, TOKEN_LIMIT, &[Algorithm::Rs256]).unwrap();
            assert_eq!(unverified.kid(), Some("1f"));
            let claims = unverified.verify(&public).unwrap();
            let expected = json!({
                "iss": "robot@p.iam.gserviceaccount.com", "sub": "robot@p.iam.gserviceaccount.com",
                "aud": "https://oauth2.googleapis.com/token", "iat": 1000, "exp": 4600, name: value,
            });
            assert_eq!(Value::Object(claims.as_object().clone()), expected);
        }
        let broken = KeyFile { private_key: "-----BEGIN PRIVATE KEY-----".into(), ..file };
        // No endpoint is asked: it would be another error.
        let refused = block_on(access_token(&broken, Timestamp::from_seconds(1000))).unwrap_err();
        assert!(matches!(refused, ExchangeError::Key { .. }), "{refused}");
        assert!(refused.to_string().ends_with(": make another key for robot@p.iam.gserviceaccount.com"), "{refused}");
    }

    #[test]
    fn the_token_endpoint_of_the_file_is_asked_whichever_it_is() {
        let (address, asked) = replay(vec![
            (200, json!({"id_token": "i"})),
            (200, json!({"access_token": "a", "expires_in": 3599, "token_type": "Bearer"})),
        ]);
        let file = new_key_file(&format!("http://{address}/some/token"));
        let now = Timestamp::from_seconds(1000);
        assert_eq!(block_on(id_token(&file, "c", now)).unwrap(), "i");
        assert_eq!(block_on(access_token(&file, now)).unwrap(), "a");
        for request in asked.join().unwrap() {
            assert!(request.starts_with("POST /some/token HTTP/1.1\r\n"), "{request}");
            assert!(request.contains("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="));
        }
    }

    #[test]
    fn a_file_that_the_endpoint_does_not_take_is_answered_with_why_and_the_next_step() {
        let refused = |text: &str| (400, json!({"error": "invalid_grant", "error_description": text}));
        #[rustfmt::skip]
        let cases = [
            ("Invalid JWT Signature.",           true,  "the key of the file was deleted or disabled, or the file is of another server; make a new key with `doorward service-account keys create FILE --account robot@p.iam.gserviceaccount.com`"),
            ("Invalid grant: account not found", true,  "robot@p.iam.gserviceaccount.com was deleted or disabled, or the file is of another server; `doorward service-account list` shows the accounts"),
            ("Invalid JWT: Failed audience check.", false, ""),
        ];
        for (text, is_advised, advice) in cases {
            let (address, _) = replay(vec![refused(text)]);
            let file = new_key_file(&format!("http://{address}/token"));
            let error = block_on(access_token(&file, Timestamp::from_seconds(1000))).unwrap_err();
            assert_eq!(matches!(error, ExchangeError::NotAccepted { .. }), is_advised, "{text}");
            let told = format!("the token endpoint refused: {text} (invalid_grant)");
            assert_eq!(error.to_string(), if is_advised { format!("{told}: {advice}") } else { told });
        }
    }

    #[test]
    fn the_account_is_found_by_name_or_address_and_otherwise_the_usable_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("robot.json");
        fs::write(&path, serde_json::to_vec(&new_key_file("")).unwrap()).unwrap();
        let mut world: Description = serde_json::from_value(description("http://127.0.0.1:1")).unwrap();
        world.service_accounts.get_mut("robot").unwrap().key_file = Some(path.clone());

        let address = "robot@p.iam.gserviceaccount.com";
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
        let no_key_file = format!("{shown} is no key file (missing field `type` at line 1 column 2)");
        assert_eq!(
            of_account(&world, "robot").unwrap_err().to_string(),
            format!("{no_key_file}: remove it, then {again}")
        );
        assert_eq!(read(&path).unwrap_err().to_string(), format!("{no_key_file}: name another file"));
        fs::write(&path, json!({"type": "authorized_user", "client_id": "1", "refresh_token": "x"}).to_string())
            .unwrap();
        let other = format!("{shown} is a file of type authorized_user, and no service account's key");
        assert_eq!(read(&path).unwrap_err().to_string(), format!("{other}: name another file"));
        fs::remove_file(&path).unwrap();
        let missing = format!("cannot read the key file {shown} (No such file or directory (os error 2))");
        assert_eq!(of_account(&world, "robot").unwrap_err().to_string(), format!("{missing}: {again}"));
        assert_eq!(read(&path).unwrap_err().to_string(), format!("{missing}: name another file"));
    }
}
