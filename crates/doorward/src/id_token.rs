//! Getting an ID token: who asks, as whom, and from where.

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use anyhow::{anyhow, bail};
use doorward_client::{Credentials, Token, TokenError};
use doorward_core::clock::Timestamp;
use doorward_core::member::Email;
use doorward_server::dev::description::Description;
use doorward_wire::credential_file::ServiceAccountFile;

use crate::account::Account;
use crate::credentials::SignIns;
use crate::output::say;
use crate::person::{self, Person, Place};
use crate::runtime::block_on;
use crate::server::KEY_FILE;
use crate::token_cache::TokenCache;
use crate::{key_file, sdk};

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
    KeyFile(ServiceAccountFile),
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
        let sign_ins = SignIns::of_this_user();
        let source = self.source(world, sign_ins.as_ref().ok())?;
        let name = source.name();
        let cache = TokenCache::within(sign_ins.ok().map(|sign_ins| sign_ins.folder().clone()), world);
        if !self.no_cache
            && let Some(token) = cache.find(&name, audience, now)
        {
            return Ok(token);
        }
        let token = block_on(source.id_token(&world.api_url, audience))?;
        if !self.no_cache
            && let Err(error) = cache.keep((&name, audience), token.as_str(), end(&token), now)
        {
            say(&format!("the token is not kept for the next time: {error}"));
        }
        Ok(token.as_str().to_owned())
    }

    /// A new ID token for `audience`, of a `doorward serve`: of the account whose key file is named here or by the environment, or else of
    /// the person who is signed in there.
    pub(crate) fn id_token_at(&self, origin: &str, audience: &str) -> anyhow::Result<String> {
        let named = std::env::var_os(KEY_FILE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let source = self.source_at(origin, named, SignIns::of_this_user().ok().as_ref())?;
        Ok(block_on(source.id_token(origin, audience))?.as_str().to_owned())
    }

    fn source_at(&self, origin: &str, named: Option<PathBuf>, sign_ins: Option<&SignIns>) -> anyhow::Result<Source> {
        let key_file = match (&self.key_file, self.account.as_deref()) {
            (Some(path), _) => Some(path.clone()),
            (None, None) => named,
            (None, Some(ME)) => None,
            (None, Some(_)) => {
                bail!("only `doorward dev` knows accounts by the names of --as: use --key-file, or --as {ME}")
            }
        };
        let proof = match (key_file, sign_ins) {
            (Some(path), _) => Proof::KeyFile(key_file::read(&path)?),
            (None, Some(sign_ins)) => Proof::Person(Person::signed_in(sign_ins, &Place::at(origin))?),
            (None, None) => bail!("nobody is signed in: set HOME, then `doorward login --api-url {origin}`"),
        };
        let impersonate = self.impersonate.as_ref().map(|account| account.address(None)).transpose()?;
        Ok(Source { proof, impersonate })
    }

    fn source(&self, world: &Description, sign_ins: Option<&SignIns>) -> anyhow::Result<Source> {
        let proof = match (&self.key_file, self.account.as_deref().unwrap_or(DEFAULT_ACCOUNT)) {
            (Some(path), _) => Proof::KeyFile(key_file::read(path)?),
            (None, account) => proof(world, sign_ins, account)?,
        };
        let impersonate = self.impersonate.as_ref().map(|account| account.address(Some(world))).transpose()?;
        Ok(Source { proof, impersonate })
    }
}

fn proof(world: &Description, sign_ins: Option<&SignIns>, account: &str) -> anyhow::Result<Proof> {
    let signed_in = || {
        let sign_ins = sign_ins.ok_or_else(|| anyhow!("nobody is signed in: set HOME, then `doorward login`"))?;
        Person::signed_in(sign_ins, &Place::of(world)?)
    };
    if account == ME {
        return Ok(Proof::Person(signed_in()?));
    }
    if !world.users.keys().any(|email| email.eq_ignore_ascii_case(account)) {
        return Ok(Proof::KeyFile(key_file::of_account(world, account)?));
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

    async fn id_token(&self, origin: &str, audience: &str) -> anyhow::Result<Token> {
        let token = self.credentials(origin)?.id_token(audience).await;
        token.map_err(|error| anyhow!(self.explained(&error)))
    }

    fn credentials(&self, origin: &str) -> anyhow::Result<Credentials> {
        let asking = match &self.proof {
            Proof::KeyFile(file) => {
                // A key file names its token endpoint. Who is to be impersonated is an account of this Doorward.
                let builder = if self.impersonate.is_some() { sdk::builder_at(origin)? } else { sdk::builder() };
                key_file::credentials(file.clone(), builder)?
            }
            Proof::Person(person) => person.credentials()?,
        };
        Ok(match &self.impersonate {
            None => asking,
            Some(target) => asking.impersonate(target.as_str()).credentials(),
        })
    }

    fn explained(&self, error: &TokenError) -> String {
        let asking = match &self.proof {
            Proof::KeyFile(file) => format!("serviceAccount:{}", file.client_email),
            Proof::Person(person) => format!("user:{}", person.credential.email),
        };
        sdk::explained(error, &|code, description| match (&self.impersonate, &self.proof) {
            (Some(target), _) if code == "PERMISSION_DENIED" => Some(format!(
                "choose another asking account with --as, or let this one act as the account with `doorward \
                 service-account policy add --account {target} --member {asking}`"
            )),
            (_, Proof::KeyFile(file)) => key_file::advice(description, &file.client_email),
            (_, Proof::Person(person)) => person::advice(code, &person.credential.email),
        })
    }
}

/// When a token ends: whole seconds, rounded down.
fn end(token: &Token) -> Timestamp {
    let since_epoch = token.expires_at().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_seconds(i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use serde_json::{Value, json};

    use crate::api::tests::{block_on, replay};
    use crate::key_file::tests::{new_key_file, text_of};
    use crate::person::tests::signed_in;
    use crate::sdk::tests::{END, id_token};
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
        fs::write(&path, text_of(&new_key_file("http://127.0.0.1:1/token"))).unwrap();
        let mut world = world("http://127.0.0.1:1");
        world.service_accounts.get_mut("robot").unwrap().key_file = Some(path.clone());
        let sign_ins = signed_in(dir.path(), &world, "123-desktop.apps.googleusercontent.com");
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
            assert_eq!(args.source(&world, Some(&sign_ins)).unwrap().name(), expected, "{args:?}");
        }
        world.users.insert("bob@example.com".into(), world.users["alice@example.com"].clone());
        let person = |email: &str| {
            format!("{email} is a person, who signs in with a browser: `doorward login`, then use --as me")
        };
        #[rustfmt::skip]
        let refused = [
            ("bob@example.com",   Some(&sign_ins), person("bob@example.com")),
            ("alice@example.com", None,          person("alice@example.com")),
            ("me",                None,          "nobody is signed in: set HOME, then `doorward login`".to_owned()),
            ("target",            Some(&sign_ins), "target has no key file: use one of robot".to_owned()),
        ];
        for (account, sign_ins, expected) in refused {
            assert_eq!(asks(Some(account), None).source(&world, sign_ins).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn at_a_server_the_key_file_counts_that_was_named_last_and_then_whoever_is_signed_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (name, endpoint) in [("typed", "http://127.0.0.1:1/typed"), ("named", "http://127.0.0.1:1/named")] {
            fs::write(path(name), text_of(&new_key_file(endpoint))).unwrap();
        }
        let origin = "http://127.0.0.1:1";
        let robot = |name: &str| Ok(format!("robot@p.iam.gserviceaccount.com at {origin}/{name}"));
        let typed = || SourceArgs { key_file: Some(path("typed")), ..SourceArgs::default() };
        let names =
            Err("only `doorward dev` knows accounts by the names of --as: use --key-file, or --as me".to_owned());
        let nobody = Err(format!("nobody is signed in: set HOME, then `doorward login --api-url {origin}`"));
        let target = format!("t@p.iam.gserviceaccount.com by robot@p.iam.gserviceaccount.com at {origin}/named");
        #[rustfmt::skip]
        let cases = [
            (typed(),                                               None,                robot("typed")),
            (typed(),                                               Some(path("named")), robot("typed")),
            (asks(None, None),                                      Some(path("named")), robot("named")),
            (asks(None, Some("t@p.iam.gserviceaccount.com")),       Some(path("named")), Ok(target)),
            (asks(Some("me"), None),                                Some(path("named")), nobody.clone()),
            (asks(None, None),                                      None,                nobody),
            (asks(Some("robot"), None),                             Some(path("named")), names),
        ];
        for (args, named, expected) in cases {
            let source = args.source_at(origin, named, None);
            let read = source.map(|source| source.name()).map_err(|error| error.to_string());
            assert_eq!(read, expected, "{args:?}");
        }
    }

    #[test]
    fn another_account_is_impersonated_with_an_access_token_and_its_email_is_asked_for() {
        let denied = json!({"error": {"code": 403, "message": "No.", "status": "PERMISSION_DENIED"}});
        let access = (200, json!({"access_token": "a", "expires_in": 3599, "token_type": "Bearer"}));
        let token = (200, json!({"token": id_token("c")}));
        let (address, asked) = replay(vec![access.clone(), token, access, (403, denied)]);
        let proof = Proof::KeyFile(new_key_file("https://oauth2.googleapis.com/token"));
        let target = "target@p.iam.gserviceaccount.com";
        let source = Source { proof, impersonate: Some(target.parse().unwrap()) };
        let origin = format!("http://{address}");
        assert_eq!(end(&block_on(source.id_token(&origin, "c")).unwrap()), Timestamp::from_seconds(END));
        assert_eq!(
            block_on(source.id_token(&origin, "c")).unwrap_err().to_string(),
            format!(
                "http://{address} refused: No. (PERMISSION_DENIED): choose another asking account with --as, or let this \
                 one act as the account with `doorward service-account policy add --account {target} --member \
                 serviceAccount:robot@p.iam.gserviceaccount.com`"
            )
        );
        let asked = asked.join().unwrap();
        assert!(asked[0].starts_with("POST /oauth2.googleapis.com/token HTTP/1.1\r\n"), "in the place of Google");
        let (head, body) = asked[1].split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!(
            "POST /iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{target}:generateIdToken HTTP/1.1\r\n"
        )));
        assert!(head.contains("\r\nauthorization: Bearer a\r\n"));
        let expected = json!({"audience": "c", "delegates": [], "includeEmail": true});
        assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
    }
}
