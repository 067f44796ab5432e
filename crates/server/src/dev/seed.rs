//! The fixtures of `dev`: two applications, four service accounts, and who is let in at first. People and clients have files of
//! their own.
//!
//! What is there already stays as it is: a policy that its user changed is not put back at the next start.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use doorward_control::callers::Administrator;
use doorward_control::oauth_clients::new_client_id;
use doorward_control::policies::PolicyError;
use doorward_control::service_accounts::ServiceAccountError;
use doorward_control::sign_in::PasswordError;
use doorward_core::account::ServiceAccount;
use doorward_core::client::CLIENT_SECRET_PREFIX;
use doorward_core::entropy::{Entropy, EntropyError, random_digits};
use doorward_core::grant::ADMIN_TOKEN_PREFIX;
use doorward_core::keys::{KeyError, KeyRing};
use doorward_core::policy::{Grants, Permission, Policy, PolicyEtag, Principal, Role};
use doorward_core::resource::{Application, Project, Resource};
use doorward_core::store::{Store, StoreError};
use doorward_wire::google_api::{
    self as wire, Binding, CreateKeyRequest, CreateServiceAccountRequest, NewServiceAccount,
};
use futures_util::future::try_join_all;
use serde_json::json;

use super::description::{ServiceAccountDescription, UserDescription};
use super::directory::{Directory, DirectoryError};
use super::people::PEOPLE;
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
    /// A password could not be set.
    #[error(transparent)]
    Password(#[from] PasswordError),
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
}

/// The accounts, as programs are told of them.
pub(super) struct Accounts {
    pub(super) service_accounts: BTreeMap<String, ServiceAccountDescription>,
    pub(super) users: BTreeMap<String, UserDescription>,
}

struct FixtureAccount {
    name: &'static str,
    purpose: &'static str,
    allowed_at_first: bool,
    has_key_file: bool,
}

const PROGRAMS: [FixtureAccount; 4] = [
    FixtureAccount { name: "robot", purpose: "Allowed on app", allowed_at_first: true, has_key_file: true },
    FixtureAccount { name: "stranger", purpose: "Not allowed anywhere", allowed_at_first: false, has_key_file: true },
    FixtureAccount {
        name: "caller",
        purpose: "May make tokens for target",
        allowed_at_first: false,
        has_key_file: true,
    },
    FixtureAccount {
        name: "target",
        purpose: "Allowed on app, has no key",
        allowed_at_first: true,
        has_key_file: false,
    },
];

/// Registers the two applications, unless they are there.
pub(super) async fn applications(
    store: &dyn Store,
    entropy: &dyn Entropy,
    project: &Project,
) -> Result<Applications, SeedError> {
    let mut registered = store.applications().await?;
    for name in ["app", "other-app"] {
        if !registered.iter().any(|application| application.name == name) {
            let application = Application {
                name: name.to_owned(),
                service_id: random_digits(entropy, 19)?,
                client_id: new_client_id(entropy, project)?,
            };
            store.add_application(&application).await?;
            registered.push(application);
        }
    }
    let take = |name: &str| registered.iter().find(|app| app.name == name).cloned().ok_or(SeedError::Missing);
    Ok(Applications { app: take("app")?, other_app: take("other-app")? })
}

impl Secrets {
    pub(super) fn derive(keys: &KeyRing) -> Result<Self, SeedError> {
        let client_secret = |name: &str| -> Result<String, KeyError> {
            Ok(format!("{CLIENT_SECRET_PREFIX}{}", keys.derive(&format!("client secret of {name}"))?))
        };
        Ok(Secrets {
            admin_token: format!("{ADMIN_TOKEN_PREFIX}{}", keys.derive("administration token")?),
            app_client_secret: client_secret("app")?,
            other_app_client_secret: client_secret("other-app")?,
        })
    }
}

/// Makes the service accounts, their key files and the first policies of `app` and of `target`, unless they are there, and
/// describes what is in force.
pub(super) async fn accounts(
    stack: &Stack,
    store: &dyn Store,
    directory: &Directory,
    app: &Application,
    users: BTreeMap<String, UserDescription>,
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
    let allowed_programs = programs.iter().filter(|(program, _)| program.allowed_at_first);
    let allowed_people = PEOPLE.iter().filter(|(_, allowed_at_first)| *allowed_at_first);
    let allowed = allowed_programs
        .map(|(_, account)| format!("serviceAccount:{}", account.email))
        .chain(allowed_people.map(|(email, _)| format!("user:{email}")))
        .collect();
    first_policy(stack, store, &app.resource(), Role::HttpsResourceAccessor, allowed).await?;
    let program = |name: &str| programs.iter().find(|(program, _)| program.name == name).map(|(_, account)| account);
    let (caller, target) = (program("caller").ok_or(SeedError::Missing)?, program("target").ok_or(SeedError::Missing)?);
    let makers = vec![format!("serviceAccount:{}", caller.email), format!("user:{}", PEOPLE[0].0)];
    let target = Resource::ServiceAccount { unique_id: target.unique_id.clone() };
    first_policy(stack, store, &target, Role::ServiceAccountTokenCreator, makers).await?;
    describe(store, &project, directory, app, programs, users).await
}

/// Writes a policy, unless there was one before: what its user changed is not put back.
async fn first_policy(
    stack: &Stack,
    store: &dyn Store,
    resource: &Resource,
    role: Role,
    members: Vec<String>,
) -> Result<(), SeedError> {
    let name = resource.name(&stack.snapshots.current().project);
    if store.policy(&name).await?.etag == PolicyEtag::UNWRITTEN {
        let bindings = vec![Binding { role: role.name().to_owned(), members, condition: None }];
        let policy = wire::Policy { bindings, ..Default::default() };
        stack.services.policies().replace(&Administrator::local_operator(), &name, policy).await?;
    }
    Ok(())
}

async fn service_account(
    stack: &Stack,
    project: &Project,
    program: &FixtureAccount,
) -> Result<ServiceAccount, SeedError> {
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
    programs: Vec<(&FixtureAccount, ServiceAccount)>,
    mut users: BTreeMap<String, UserDescription>,
) -> Result<Accounts, SeedError> {
    let policies: HashMap<String, Policy> = store.policies().await?.into_iter().collect();
    let grants =
        Grants::merge(&app.resource(), Permission::AccessViaIap, |resource| policies.get(&resource.name(project)));
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
    for user in store.users().await? {
        if let Some(described) = users.get_mut(user.email.as_str()) {
            described.allowed = grants.admits(Principal::User(&user.email)).is_some();
        }
    }
    Ok(Accounts { service_accounts, users })
}

/// A file with which `caller` makes tokens for `target`, at this base URL of the API.
///
/// Spec: <https://google.aip.dev/auth/4117>
pub(super) fn impersonated_credentials(
    directory: &Directory,
    accounts: &Accounts,
    iam_credentials: &str,
) -> Result<PathBuf, SeedError> {
    let target = &accounts.service_accounts.get("target").ok_or(SeedError::Missing)?.email;
    let caller = directory.read_key_file("caller").ok_or(SeedError::Missing)?;
    let url = format!("{iam_credentials}/v1/projects/-/serviceAccounts/{target}:generateAccessToken");
    let file = json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": url,
        "source_credentials": caller,
        "delegates": [],
    });
    Ok(directory.write_credentials("impersonated-credentials", &file)?)
}
