//! `doorward token`: an ID token, got as any client of Google's gets one.

use std::fs;

use anyhow::{anyhow, bail};
use doorward_core::clock::{Clock as _, SystemClock, Timestamp};
use doorward_server::dev::description::{Description, ServiceAccountDescription};
use doorward_wire::google_api::KeyFile;
use doorward_wire::jose::{Algorithm, KeyMaterialError, SigningKey};
use doorward_wire::oauth::JWT_BEARER;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api::post_form;
use crate::output::print;
use crate::world::{AppName, WorldArgs};

/// The `aud` of every assertion, whatever the address of the token endpoint, as Google's clients write it.
///
/// Spec: <https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests>
const ASSERTION_AUDIENCE: &str = "https://oauth2.googleapis.com/token";

/// The longest life that the token endpoint accepts, in seconds.
const ASSERTION_TTL: i64 = 3600;

/// Print an ID token for an application
///
/// Signs an assertion with the account's key file, exchanges it at the token endpoint, and prints the ID token alone. It is
/// good for one hour.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  curl -H \"Authorization: Bearer $(doorward token --app app)\" http://127.0.0.1:8080/
  doorward token --app app --as stranger")]
pub(crate) struct Args {
    /// The application that the token is for
    #[arg(long, value_name = "NAME")]
    app: AppName,
    /// The service account, by its name in dev.json or its e-mail address
    #[arg(long = "as", value_name = "ACCOUNT", default_value = "robot")]
    account: String,
    #[command(flatten)]
    world: WorldArgs,
}

/// What the token endpoint answers to `target_audience`.
#[derive(Deserialize)]
struct Answer {
    id_token: String,
}

/// Prints the token.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let world = args.world.open()?;
    let key_file = key_file(&world, &args.account)?;
    let assertion = assertion(&key_file, &args.app.of(&world).client_id, SystemClock.now())
        .map_err(|error| anyhow!("{error}: make another key for {}", key_file.client_email))?;
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", JWT_BEARER)
        .append_pair("assertion", &assertion)
        .finish();
    let Answer { id_token } = post_form(&key_file.token_uri, form).await?;
    Ok(print(&format!("{id_token}\n"))?)
}

/// The key file of the account that is called `wanted`, by name or address.
fn key_file(world: &Description, wanted: &str) -> anyhow::Result<KeyFile> {
    let names = |accounts: &mut dyn Iterator<Item = (&String, &ServiceAccountDescription)>| {
        accounts.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let accounts = &world.service_accounts;
    let usable = || names(&mut accounts.iter().filter(|(_, account)| account.key_file.is_some()));
    let found = accounts.iter().find(|(name, account)| *name == wanted || account.email.eq_ignore_ascii_case(wanted));
    let Some((name, account)) = found else {
        if world.users.keys().any(|email| email.eq_ignore_ascii_case(wanted)) {
            bail!("{wanted} is a person, who signs in with a browser: use --as with one of {}", usable());
        }
        bail!("no service account {wanted:?} in dev.json: use --as with one of {}", usable());
    };
    let Some(path) = &account.key_file else {
        bail!("{name} has no key file: use --as with one of {}", usable());
    };
    let (shown, email) = (path.display(), &account.email);
    let again = format!("make another with `doorward service-account keys create {shown} --account {email}`");
    let bytes = fs::read(path).map_err(|error| anyhow!("cannot read the key file {shown} ({error}): {again}"))?;
    serde_json::from_slice(&bytes).map_err(|error| anyhow!("{shown} is no key file ({error}): remove it, then {again}"))
}

/// A signed request for an ID token for `client_id` (RFC 7523 section 3).
fn assertion(key_file: &KeyFile, client_id: &str, now: Timestamp) -> Result<String, KeyMaterialError> {
    let key = SigningKey::from_pkcs8_pem(&key_file.private_key_id, Algorithm::Rs256, &key_file.private_key)?;
    let claims: Map<String, Value> = [
        ("iss", json!(key_file.client_email)),
        ("sub", json!(key_file.client_email)),
        ("aud", json!(ASSERTION_AUDIENCE)),
        ("iat", json!(now.seconds())),
        ("exp", json!(now.seconds() + ASSERTION_TTL)),
        ("target_audience", json!(client_id)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    key.sign(&claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::entropy::generate_private_key;
    use doorward_wire::jose::{Unverified, VerifyingKey};

    use crate::world::tests::description;

    /// A key file as Google writes it, with a new key. `wire` has no writer of PKCS#8 in PEM, and needs none but here.
    fn new_key_file() -> KeyFile {
        use base64::Engine as _;
        let der = generate_private_key(Algorithm::Rs256).unwrap();
        let pem = base64::engine::general_purpose::STANDARD.encode(der);
        let kid = "1f";
        serde_json::from_value(json!({
            "type": "service_account", "project_id": "p", "private_key_id": kid, "client_id": "1",
            "private_key": format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n"),
            "client_email": "robot@p.iam.gserviceaccount.com", "auth_uri": "", "token_uri": "http://127.0.0.1:1/token",
            "auth_provider_x509_cert_url": "", "client_x509_cert_url": "", "universe_domain": "googleapis.com",
        }))
        .unwrap()
    }

    #[test]
    fn an_assertion_says_what_google_demands_and_is_signed_by_the_key_of_the_file() {
        let file = new_key_file();
        let signed = assertion(&file, "123-x.apps.googleusercontent.com", Timestamp::from_seconds(1000)).unwrap();
        let key = SigningKey::from_pkcs8_pem("1f", Algorithm::Rs256, &file.private_key).unwrap();
        let public = VerifyingKey::from_jwk(&key.public_jwk()).unwrap();
        let unverified = Unverified::parse(&signed, 16384, &[Algorithm::Rs256]).unwrap();
        assert_eq!(unverified.kid(), Some("1f"));
        let claims = unverified.verify(&public).unwrap();
        let expected = json!({
            "iss": "robot@p.iam.gserviceaccount.com", "sub": "robot@p.iam.gserviceaccount.com",
            "aud": "https://oauth2.googleapis.com/token", "iat": 1000, "exp": 4600,
            "target_audience": "123-x.apps.googleusercontent.com",
        });
        assert_eq!(Value::Object(claims.as_object().clone()), expected);

        let broken = KeyFile { private_key: "-----BEGIN PRIVATE KEY-----".into(), ..file };
        assert!(assertion(&broken, "c", Timestamp::from_seconds(1000)).is_err());
    }

    #[test]
    fn the_account_is_found_by_name_or_address_and_otherwise_the_usable_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("robot.json");
        fs::write(&path, serde_json::to_vec(&new_key_file()).unwrap()).unwrap();
        let mut world: Description = serde_json::from_value(description("http://127.0.0.1:1")).unwrap();
        world.service_accounts.get_mut("robot").unwrap().key_file = Some(path.clone());

        let address = "robot@p.iam.gserviceaccount.com";
        for name in ["robot", address, "Robot@p.iam.gserviceaccount.com"] {
            assert_eq!(key_file(&world, name).unwrap().client_email, address, "{name}");
        }
        #[rustfmt::skip]
        let refused = [
            ("target",            "target has no key file: use --as with one of robot"),
            ("nobody",            "no service account \"nobody\" in dev.json: use --as with one of robot"),
            ("alice@example.com", "alice@example.com is a person, who signs in with a browser: use --as with one of robot"),
        ];
        for (name, expected) in refused {
            assert_eq!(key_file(&world, name).unwrap_err().to_string(), expected);
        }
        let again =
            format!("make another with `doorward service-account keys create {} --account {address}`", path.display());
        fs::write(&path, "{}").unwrap();
        let damaged = format!(
            "{} is no key file (missing field `type` at line 1 column 2): remove it, then {again}",
            path.display()
        );
        assert_eq!(key_file(&world, "robot").unwrap_err().to_string(), damaged);
        fs::remove_file(&path).unwrap();
        let missing =
            format!("cannot read the key file {} (No such file or directory (os error 2)): {again}", path.display());
        assert_eq!(key_file(&world, "robot").unwrap_err().to_string(), missing);
    }
}
