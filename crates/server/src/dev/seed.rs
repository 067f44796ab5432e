//! The fixtures of `dev`: two applications, four service accounts, two people, and who is let in at first.
//!
//! What is there already stays as it is: a policy that its user changed is not put back at the next start.

use std::collections::{BTreeMap, HashMap};

use doorward_control::administrators::Administrator;
use doorward_control::policies::PolicyError;
use doorward_control::service_accounts::ServiceAccountError;
use doorward_core::account::{ServiceAccount, UniqueId, User};
use doorward_core::entropy::{Entropy, EntropyError, random_base64url, random_digits};
use doorward_core::grant::ADMIN_TOKEN_PREFIX;
use doorward_core::keys::{KeyError, KeyRing};
use doorward_core::policy::{Grants, Policy, PolicyEtag, Principal, Role};
use doorward_core::resource::{Application, ClientId, Project};
use doorward_core::store::{Store, StoreError};
use doorward_wire::google_api::{
    self as wire, Binding, CreateKeyRequest, CreateServiceAccountRequest, NewServiceAccount,
};
use futures_util::future::try_join_all;

use super::description::{ServiceAccountDescription, UserDescription};
use super::directory::{Directory, DirectoryError};
use crate::wiring::Stack;

/// Why the fixtures could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A key could not be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An account or key could not be made.
    #[error(transparent)]
    ServiceAccount(#[from] ServiceAccountError),
    /// The first policy could not be written.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A file could not be written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// What was just made is not there.
    #[error("a fixture is missing from the store; start again, or choose another directory with --dir")]
    Missing,
}

/// The two applications.
pub(super) struct Applications {
    pub(super) app: Application,
    pub(super) other_app: Application,
}

/// The secrets of the fixtures: the same at every start on one directory, and stored nowhere but in `dev.json`.
pub(super) struct Secrets {
    pub(super) admin_token: String,
    pub(super) app_client_secret: String,
    pub(super) other_app_client_secret: String,
    passwords: BTreeMap<&'static str, String>,
}

/// The accounts, as programs are told of them.
pub(super) struct Accounts {
    pub(super) service_accounts: BTreeMap<String, ServiceAccountDescription>,
    pub(super) users: BTreeMap<String, UserDescription>,
}

struct Program {
    name: &'static str,
    purpose: &'static str,
    allowed_at_first: bool,
    has_key_file: bool,
}

const PROGRAMS: [Program; 4] = [
    Program { name: "robot", purpose: "Allowed on app", allowed_at_first: true, has_key_file: true },
    Program { name: "stranger", purpose: "Not allowed anywhere", allowed_at_first: false, has_key_file: true },
    Program { name: "caller", purpose: "May make tokens for target", allowed_at_first: false, has_key_file: true },
    Program { name: "target", purpose: "Allowed on app, has no key", allowed_at_first: true, has_key_file: false },
];

/// Address, and whether `app` admits them at first.
const PEOPLE: [(&str, bool); 2] = [("alice@example.com", true), ("bob@example.com", false)];

/// Registers the two applications, unless they are there.
pub(super) async fn applications(
    store: &dyn Store,
    entropy: &dyn Entropy,
    project: &Project,
) -> Result<Applications, SeedError> {
    let mut registered = store.applications().await?;
    for name in ["app", "other-app"] {
        if !registered.iter().any(|application| application.name == name) {
            // Google's client ids end in 32 characters of [a-z0-9].
            let random = random_base64url(entropy, 48)?.to_ascii_lowercase();
            let random: String = random.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
            let application = Application {
                name: name.to_owned(),
                service_id: random_digits(entropy, 19)?,
                client_id: ClientId(format!("{}-{random}.apps.googleusercontent.com", project.number)),
            };
            store.add_application(&application).await?;
            registered.push(application);
        }
    }
    let take = |name: &str| registered.iter().find(|app| app.name == name).cloned().ok_or(SeedError::Missing);
    Ok(Applications { app: take("app")?, other_app: take("other-app")? })
}

impl Secrets {
    /// Passwords are easy to remember where only this machine can use them, and random where others could.
    pub(super) fn derive(keys: &KeyRing, reachable_by_others: bool) -> Result<Self, SeedError> {
        let mut passwords = BTreeMap::new();
        for (email, _) in PEOPLE {
            let password = match reachable_by_others {
                true => keys.derive(&format!("password of {email}"))?,
                false => "password".to_owned(),
            };
            passwords.insert(email, password);
        }
        Ok(Secrets {
            admin_token: format!("{ADMIN_TOKEN_PREFIX}{}", keys.derive("administration token")?),
            app_client_secret: format!("doorward_cs_{}", keys.derive("client secret of app")?),
            other_app_client_secret: format!("doorward_cs_{}", keys.derive("client secret of other-app")?),
            passwords,
        })
    }
}

/// Adds the two people, unless they are there.
pub(super) async fn people(store: &dyn Store, entropy: &dyn Entropy) -> Result<(), SeedError> {
    for (email, _) in PEOPLE {
        let email = email.parse().map_err(|_| SeedError::Missing)?;
        let unique_id = UniqueId(random_digits(entropy, 21)?);
        // `false` means that they are there, with the number that they have for life.
        store.add_user(&User { unique_id, email, disabled: false }).await?;
    }
    Ok(())
}

/// Makes the service accounts, their key files and the first policy of `app`, unless they are there, and describes what
/// is in force.
pub(super) async fn accounts(
    stack: &Stack,
    store: &dyn Store,
    directory: &Directory,
    app: &Application,
    secrets: &Secrets,
) -> Result<Accounts, SeedError> {
    let project = stack.snapshots.current().project.clone();
    let mut programs = Vec::new();
    for program in &PROGRAMS {
        programs.push((program, service_account(stack, &project, program).await?));
    }
    // Each new key costs tens of milliseconds of one core, so they are made side by side.
    let with_keys = programs.iter().filter(|(program, _)| program.has_key_file);
    try_join_all(with_keys.map(|(program, account)| ensure_key_file(stack, store, directory, program.name, account)))
        .await?;
    let resource = app.resource().name(&project);
    if store.policy(&resource).await?.etag == PolicyEtag::UNWRITTEN {
        let programs = programs.iter().filter(|(program, _)| program.allowed_at_first);
        let people = PEOPLE.iter().filter(|(_, allowed_at_first)| *allowed_at_first);
        let members = programs
            .map(|(_, account)| format!("serviceAccount:{}", account.email))
            .chain(people.map(|(email, _)| format!("user:{email}")))
            .collect();
        let role = Role::HttpsResourceAccessor.name().to_owned();
        let bindings = vec![Binding { role, members, condition: None }];
        let policy = wire::Policy { bindings, ..Default::default() };
        stack.services.policies().replace(&Administrator::local_operator(), &resource, policy).await?;
    }
    describe(store, &project, directory, app, programs, secrets).await
}

async fn service_account(stack: &Stack, project: &Project, program: &Program) -> Result<ServiceAccount, SeedError> {
    let operator = Administrator::local_operator();
    // Google's account ids have at least six characters.
    let account_id = format!("dev-{}", program.name);
    let email = format!("{account_id}@{}.iam.gserviceaccount.com", project.id);
    let service_accounts = stack.services.service_accounts();
    match service_accounts.get(&operator, &project.id, &email).await {
        Err(ServiceAccountError::NotFound) => {
            let service_account =
                NewServiceAccount { display_name: program.name.to_owned(), description: program.purpose.to_owned() };
            let request = CreateServiceAccountRequest { account_id, service_account };
            Ok(service_accounts.create(&operator, &project.id, request).await?)
        }
        found => Ok(found?),
    }
}

/// A key file stays as long as its key is in the store; one that is missing, damaged or revoked is made anew.
async fn ensure_key_file(
    stack: &Stack,
    store: &dyn Store,
    directory: &Directory,
    name: &str,
    account: &ServiceAccount,
) -> Result<(), SeedError> {
    if let Some(mut file) = directory.read_key_file(name) {
        let key = store.service_account_key(&file.private_key_id).await?;
        if key.is_some_and(|key| key.account == account.unique_id) {
            // The port may be another one than last time.
            if stack.services.service_accounts().correct_urls(&mut file) {
                directory.write_key_file(name, &file)?;
            }
            return Ok(());
        }
    }
    let operator = Administrator::local_operator();
    let request = CreateKeyRequest::default();
    let service_accounts = stack.services.service_accounts();
    let email = account.email.as_str();
    let created = match service_accounts.create_key(&operator, "-", email, &request).await {
        // Key files were lost so often that no key may be added: the oldest gives way.
        Err(ServiceAccountError::KeyLimit) => {
            let listed = service_accounts.list_keys(&operator, "-", email).await?;
            let oldest = listed.keys.first().ok_or(SeedError::Missing)?;
            service_accounts.delete_key(&operator, "-", email, &oldest.id).await?;
            service_accounts.create_key(&operator, "-", email, &request).await?
        }
        created => created?,
    };
    Ok(directory.write_key_file(name, &created.file)?)
}

/// What programs are told: `allowed` is what the policies say now, not what was seeded once.
async fn describe(
    store: &dyn Store,
    project: &Project,
    directory: &Directory,
    app: &Application,
    programs: Vec<(&Program, ServiceAccount)>,
    secrets: &Secrets,
) -> Result<Accounts, SeedError> {
    let policies: HashMap<String, Policy> = store.policies().await?.into_iter().collect();
    let grants = Grants::merge(&app.resource(), |resource| policies.get(&resource.name(project)));
    let service_accounts = programs
        .into_iter()
        .map(|(program, account)| {
            let described = ServiceAccountDescription {
                allowed: grants.admits(Principal::ServiceAccount(&account.email)).is_some(),
                email: account.email.to_string(),
                unique_id: account.unique_id.0,
                key_file: program.has_key_file.then(|| directory.key_file(program.name)),
            };
            (program.name.to_owned(), described)
        })
        .collect();
    let users = store.users().await?;
    let users = users.into_iter().filter_map(|user| {
        let password = secrets.passwords.get(user.email.as_str())?.clone();
        let allowed = grants.admits(Principal::User(&user.email)).is_some();
        Some((user.email.to_string(), UserDescription { password, allowed }))
    });
    Ok(Accounts { service_accounts, users: users.collect() })
}
