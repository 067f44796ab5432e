//! Getting an ID token: who asks, as whom, and from where.

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use doorward_core::clock::Timestamp;
use doorward_core::member::Email;
use doorward_server::dev::description::Description;
use doorward_wire::google_api::{KeyFile, Status};
use doorward_wire::iam_credentials::GenerateIdTokenResponse;
use doorward_wire::jose::{Algorithm, StrictNumber, TOKEN_LIMIT, Unverified};
use serde_json::json;

use crate::account::Account;
use crate::api::{Api, path_segment};
use crate::config_folder::ConfigFolder;
use crate::key_file;
use crate::output::say;
use crate::person::Person;
use crate::runtime::block_on;
use crate::token_cache::TokenCache;

/// The account whose key file is used if nothing else is said.
const DEFAULT_ACCOUNT: &str = "robot";
/// The name of the person who is signed in.
const ME: &str = "me";
/// The options that say whose token it is.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct SourceArgs {
    /// A service account, by its name in dev.json or its address, or `me`: the person of `doorward login` [default: robot]
    #[arg(long = "as", value_name = "ACCOUNT")]
    account: Option<String>,
    /// Sign with this key file, and ask the token endpoint that it names
    #[arg(long, value_name = "FILE", conflicts_with = "account")]
    key_file: Option<PathBuf>,
    /// Make a token of this service account, by name or address, as the account of --as or --key-file
    #[arg(long, value_name = "ACCOUNT")]
    impersonate: Option<Account>,
    /// Get a new token, and keep none
    #[arg(long)]
    no_cache: bool,
}

/// What proves who asks.
#[derive(Debug)]
enum Proof {
    KeyFile(Box<KeyFile>),
    Person(Person),
}

/// Whose token is wanted, and who asks for it.
#[derive(Debug)]
struct Source {
    proof: Proof,
    /// The account to be impersonated.
    impersonate: Option<Email>,
}

impl SourceArgs {
    /// An ID token for `audience` from the cache, or a new one.
    pub(crate) fn id_token(&self, world: &Description, audience: &str, now: Timestamp) -> anyhow::Result<String> {
        let folder = ConfigFolder::of_this_user();
        let source = self.source(world, folder.as_ref().ok())?;
        let name = source.name();
        let cache = TokenCache::within(folder.ok(), world);
        if !self.no_cache
            && let Some(token) = cache.find(&name, audience, now)
        {
            return Ok(token);
        }
        let token = checked(block_on(source.id_token(world, audience, now))?)?;
        if !self.no_cache
            && let Some(expires) = expiry(&token)
            && let Err(error) = cache.keep((&name, audience), &token, expires, now)
        {
            say(&format!("the token is not kept for the next time: {error}"));
        }
        Ok(token)
    }

    fn source(&self, world: &Description, folder: Option<&ConfigFolder>) -> anyhow::Result<Source> {
        let proof = match (&self.key_file, self.account.as_deref().unwrap_or(DEFAULT_ACCOUNT)) {
            (Some(path), _) => Proof::KeyFile(Box::new(key_file::read(path)?)),
            (None, account) => proof(world, folder, account)?,
        };
        let impersonate = self.impersonate.as_ref().map(|account| account.address(world)).transpose()?;
        Ok(Source { proof, impersonate })
    }
}

fn proof(world: &Description, folder: Option<&ConfigFolder>, account: &str) -> anyhow::Result<Proof> {
    let signed_in = || {
        let folder = folder.ok_or_else(|| anyhow!("nobody is signed in: set HOME, then `doorward login`"))?;
        Person::signed_in(folder, world)
    };
    if account == ME {
        return Ok(Proof::Person(signed_in()?));
    }
    if !world.users.keys().any(|email| email.eq_ignore_ascii_case(account)) {
        return Ok(Proof::KeyFile(Box::new(key_file::of_account(world, account)?)));
    }
    match signed_in() {
        Ok(person) if person.credential.email.eq_ignore_ascii_case(account) => Ok(Proof::Person(person)),
        _ => bail!("{account} is a person, who signs in with a browser: `doorward login`, then use --as {ME}"),
    }
}

impl Source {
    /// One text for each source, whose tokens are the same.
    fn name(&self) -> String {
        let asking = match &self.proof {
            Proof::KeyFile(file) => format!("{} at {}", file.client_email, file.token_uri),
            Proof::Person(person) => format!("{ME}: {}", person.credential.email),
        };
        match &self.impersonate {
            None => asking,
            Some(target) => format!("{target} by {asking}"),
        }
    }

    async fn id_token(&self, world: &Description, audience: &str, now: Timestamp) -> anyhow::Result<String> {
        match (&self.impersonate, &self.proof) {
            (None, Proof::KeyFile(file)) => Ok(key_file::id_token(file, audience, now).await?),
            (None, Proof::Person(person)) => person.id_token(world, audience).await,
            (Some(target), Proof::KeyFile(file)) => {
                let access_token = key_file::access_token(file, now).await?;
                let asking = format!("serviceAccount:{}", file.client_email);
                impersonate(world, &access_token, (target, &asking), audience).await
            }
            (Some(target), Proof::Person(person)) => {
                let access_token = person.access_token(world).await?;
                let asking = format!("user:{}", person.credential.email);
                impersonate(world, &access_token, (target, &asking), audience).await
            }
        }
    }
}

/// An ID token of another account, made by whoever holds a role on it. `asking` is the member of whom the access token is.
///
/// Spec: <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateIdToken>
async fn impersonate(
    world: &Description,
    access_token: &str,
    (target, asking): (&Email, &str),
    audience: &str,
) -> anyhow::Result<String> {
    let path = format!(
        "/iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{}:generateIdToken",
        path_segment(target.as_str())
    );
    let body = json!({"audience": audience, "includeEmail": true});
    let answer: Result<GenerateIdTokenResponse, _> =
        Api::with_access_token(world, access_token)?.post(&path, &body).await;
    let advice = format!(
        "choose another asking account with --as, or let this one act as the account with `doorward service-account \
         policy add --account {target} --member {asking}`"
    );
    Ok(answer.map_err(|error| error.advise(Status::PermissionDenied, &advice))?.token)
}

/// The text if it can be a token: what a server answers is printed to terminals and put into headers.
pub(crate) fn checked(token: String) -> anyhow::Result<String> {
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("the answer is no token: another program serves at this address");
    }
    Ok(token)
}

/// When a JWT says that it ends.
fn expiry(token: &str) -> Option<Timestamp> {
    let unverified = Unverified::parse(token, TOKEN_LIMIT, &[Algorithm::Rs256]).ok()?;
    unverified.unproven_claims().get("exp").and_then(StrictNumber::integer).map(Timestamp::from_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use doorward_wire::jose::SigningKey;
    use serde_json::Value;

    use crate::api::tests::{block_on, replay};
    use crate::key_file::tests::new_key_file;
    use crate::person::tests::signed_in;
    use crate::world::tests::description;

    fn world(api_url: &str) -> Description {
        serde_json::from_value(description(api_url)).unwrap()
    }

    fn asks(account: Option<&str>, impersonate: Option<&str>) -> SourceArgs {
        let impersonate = impersonate.map(|account| account.parse().unwrap());
        SourceArgs { account: account.map(str::to_owned), impersonate, ..SourceArgs::default() }
    }

    #[test]
    fn whoever_asks_is_named_so_that_no_token_of_another_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("robot.json");
        fs::write(&path, serde_json::to_vec(&new_key_file("http://127.0.0.1:1/token")).unwrap()).unwrap();
        let mut world = world("http://127.0.0.1:1");
        world.service_accounts.get_mut("robot").unwrap().key_file = Some(path.clone());
        let folder = signed_in(dir.path(), &world, "123-desktop.apps.googleusercontent.com");
        let robot = "robot@p.iam.gserviceaccount.com at http://127.0.0.1:1/token";
        let target = "target@p.iam.gserviceaccount.com";
        #[rustfmt::skip]
        let cases = [
            (asks(None, None),                              robot.to_owned()),
            (asks(Some("robot"), None),                     robot.to_owned()),
            (asks(Some("me"), None),                        "me: alice@example.com".to_owned()),
            (asks(Some("Alice@example.com"), None),         "me: alice@example.com".to_owned()),
            (asks(None, Some("target")),                    format!("{target} by {robot}")),
            (asks(Some("me"), Some(target)),                format!("{target} by me: alice@example.com")),
            (SourceArgs { key_file: Some(path), ..SourceArgs::default() }, robot.to_owned()),
        ];
        for (args, expected) in cases {
            assert_eq!(args.source(&world, Some(&folder)).unwrap().name(), expected, "{args:?}");
        }
        world.users.insert("bob@example.com".into(), world.users["alice@example.com"].clone());
        let person = |email: &str| {
            format!("{email} is a person, who signs in with a browser: `doorward login`, then use --as me")
        };
        #[rustfmt::skip]
        let refused = [
            ("bob@example.com",   Some(&folder), person("bob@example.com")),
            ("alice@example.com", None,          person("alice@example.com")),
            ("me",                None,          "nobody is signed in: set HOME, then `doorward login`".to_owned()),
            ("target",            Some(&folder), "target has no key file: use one of robot".to_owned()),
        ];
        for (account, folder, expected) in refused {
            assert_eq!(asks(Some(account), None).source(&world, folder).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn another_account_is_impersonated_with_an_access_token_and_its_email_is_asked_for() {
        let denied = json!({"error": {"code": 403, "message": "No.", "status": "PERMISSION_DENIED"}});
        let access = (200, json!({"access_token": "a", "expires_in": 3599, "token_type": "Bearer"}));
        let (address, asked) = replay(vec![access.clone(), (200, json!({"token": "i"})), access, (403, denied)]);
        let file = Box::new(new_key_file(&format!("http://{address}/token")));
        let target = "target@p.iam.gserviceaccount.com";
        let source = Source { proof: Proof::KeyFile(file), impersonate: Some(target.parse().unwrap()) };
        let world = world(&format!("http://{address}"));
        let now = Timestamp::from_seconds(1000);
        assert_eq!(block_on(source.id_token(&world, "c", now)).unwrap(), "i");
        assert_eq!(
            block_on(source.id_token(&world, "c", now)).unwrap_err().to_string(),
            format!(
                "No. (PERMISSION_DENIED): choose another asking account with --as, or let this one act as the account with \
                 `doorward service-account policy add --account {target} --member serviceAccount:robot@p.iam.gserviceaccount.com`"
            )
        );
        let asked = asked.join().unwrap();
        let (head, body) = asked[1].split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!(
            "POST /iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{target}:generateIdToken HTTP/1.1\r\n"
        )));
        assert!(head.contains("\r\nauthorization: Bearer a\r\n"));
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), json!({"audience": "c", "includeEmail": true}));
    }

    #[test]
    fn what_drives_a_terminal_or_splits_a_header_is_no_token() {
        assert_eq!(checked("a.b-c_d".to_owned()).unwrap(), "a.b-c_d");
        for text in ["", "a b", "a\n", "a\x1b[2J", "é"] {
            assert!(checked(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_token_is_kept_until_it_says_that_it_ends() {
        let file = new_key_file("");
        let key = SigningKey::from_pkcs8_pem("1f", Algorithm::Rs256, &file.private_key).unwrap();
        let token = |claims: Value| key.sign(claims.as_object().unwrap()).unwrap();
        assert_eq!(expiry(&token(json!({"exp": 5}))), Some(Timestamp::from_seconds(5)));
        for (text, why) in [(token(json!({"exp": "5"})), "a text"), (token(json!({})), "none"), ("x".into(), "no JWT")]
        {
            assert_eq!(expiry(&text), None, "{why}");
        }
    }
}
