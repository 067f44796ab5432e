//! The fixtures of `dev`: two applications, four service accounts, and who is let in at first. People and clients have files of
//! their own.
//!
//! What is there already stays as it is: a policy that its user changed is not put back at the next start. Only where the applications
//! are is what this start says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use doorward_control::admin::Admin;
use doorward_control::applications::web_client;
use doorward_control::oauth_clients::new_client_id;
use doorward_control::policies::PolicyError;
use doorward_control::service_accounts::ServiceAccountError;
use doorward_control::sign_in::PasswordError;
use doorward_core::account::ServiceAccount;
use doorward_core::client::CLIENT_SECRET_PREFIX;
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError, random_digits};
use doorward_core::grant::{ADMIN_TOKEN_PREFIX, TokenHash};
use doorward_core::keys::{KeyError, KeyRing};
use doorward_core::policy::request::RequestContext;
use doorward_core::policy::{Etag, Permission, Principal, Question};
use doorward_core::resource::{
    Application, ApplicationNameError, ClientId, Origin, PathPrefix, Project, Resource, Route, ServiceKind,
};
use doorward_core::store::{ApplicationRefused, Store, StoreError};
use doorward_wire::google_api::{
    self as wire, Binding, CreateKeyRequest, CreateServiceAccountRequest, NewServiceAccount, SetIamPolicyRequest,
};
use futures_util::future::try_join_all;
use serde_json::json;

use super::description::{ServiceAccountDescription, UserDescription};
use super::directory::{Directory, DirectoryError};
use super::people::PEOPLE;
use crate::wiring::{Outside, Stack};

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
    /// An application cannot be where it is to be.
    #[error(
        "the application {name} cannot be registered: {cause}; remove what its user registered there, or choose another directory with --dir"
    )]
    Application {
        /// Its name.
        name: &'static str,
        /// Why.
        cause: ApplicationRefused,
    },
    /// Not a name: never.
    #[error(transparent)]
    Name(#[from] ApplicationNameError),
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

/// What `caller` administers, on the project. None of it opens an application.
const ADMINISTRATION: [&str; 12] = [
    "roles/iap.admin",
    "roles/iap.tunnelDestGroupEditor",
    "roles/iap.settingsAdmin",
    "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountKeyAdmin",
    "roles/iam.roleAdmin",
    "roles/iam.workloadIdentityPoolAdmin",
    "roles/iam.denyAdmin",
    "roles/compute.admin",
    "roles/appengine.appAdmin",
    "roles/oauthconfig.editor",
    "roles/resourcemanager.projectIamAdmin",
];
/// Who is let in.
const ACCESS: &str = "roles/iap.httpsResourceAccessor";
/// Who makes tokens for an account.
const TOKEN_CREATOR: &str = "roles/iam.serviceAccountTokenCreator";

/// Where one of the applications is, at this start.
pub(super) struct Served {
    pub(super) name: &'static str,
    /// Where it is seen.
    pub(super) origins: Vec<Origin>,
    /// Where it runs.
    pub(super) upstream: String,
    /// The secret of its client.
    pub(super) client_secret: String,
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

/// Registers the two applications, unless they are there, and says where they are now: ports change from start to start.
pub(super) async fn applications(
    store: &dyn Store,
    entropy: &dyn Entropy,
    project: &Project,
    [app, other_app]: [Served; 2],
    now: Timestamp,
) -> Result<Applications, SeedError> {
    let registered = store.applications().await?;
    // Each may be where the other one was: what they do not keep is given up first.
    for served in [&app, &other_app] {
        let known = registered.iter().find(|known| known.name.as_str() == served.name);
        if let Some(known) = known.filter(|known| known.routes != served.routes()) {
            let kept = known.routes.iter().filter(|route| served.routes().contains(route)).cloned().collect();
            let less = Application { routes: kept, ..known.clone() };
            store.replace_application(&less, None).await?.map_err(|cause| served.refused(cause))?;
        }
    }
    let applications = Applications {
        app: application(store, entropy, project, &app).await?,
        other_app: application(store, entropy, project, &other_app).await?,
    };
    for (served, application) in [(&app, &applications.app), (&other_app, &applications.other_app)] {
        client(store, project, served, &application.client_id, now).await?;
    }
    Ok(applications)
}

/// Registers the client of an application: an id that is not registered looks free to whoever brings one.
async fn client(
    store: &dyn Store,
    project: &Project,
    served: &Served,
    id: &ClientId,
    now: Timestamp,
) -> Result<(), SeedError> {
    let secret = TokenHash::of(&served.client_secret);
    match store.oauth_client(id).await? {
        None => store.add_oauth_client(&web_client(id.clone(), project, served.name, secret, now)).await?,
        // A secret that was reset is put back: the description tells the one of the fixture.
        Some(known) if known.secret.as_ref() != Some(&secret) => store.replace_client_secret(id, &secret).await?,
        Some(_) => true,
    };
    Ok(())
}

impl Served {
    fn routes(&self) -> Vec<Route> {
        self.origins.iter().map(|origin| Route { origin: origin.clone(), prefix: PathPrefix::root() }).collect()
    }

    fn refused(&self, cause: ApplicationRefused) -> SeedError {
        SeedError::Application { name: self.name, cause }
    }
}

async fn application(
    store: &dyn Store,
    entropy: &dyn Entropy,
    project: &Project,
    served: &Served,
) -> Result<Application, SeedError> {
    let (routes, upstreams) = (served.routes(), vec![served.upstream.clone()]);
    let registered = store.applications().await?;
    let Some(known) = registered.into_iter().find(|known| known.name.as_str() == served.name) else {
        let mut application = Application {
            name: served.name.parse()?,
            service_id: random_digits(entropy, 19)?,
            kind: ServiceKind::BackendService { region: None },
            client_id: new_client_id(entropy, project)?,
            iap_enabled: true,
            routes,
            upstreams,
            description: String::new(),
            labels: BTreeMap::new(),
            etag: Etag::UNWRITTEN,
        };
        let added = store.add_application(&application).await?;
        application.etag = added.map_err(|cause| served.refused(cause))?;
        return Ok(application);
    };
    let mut application = Application { routes, upstreams, ..known.clone() };
    if application != known {
        let replaced = store.replace_application(&application, None).await?;
        application.etag = replaced.map_err(|cause| served.refused(cause))?;
    }
    Ok(application)
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

/// Makes the service accounts, their key files and the first policies of `app`, of `target` and of the project, unless they are there,
/// and describes what is in force.
pub(super) async fn accounts(
    stack: &Stack,
    outside: &Outside,
    directory: &Directory,
    app: &Application,
    users: BTreeMap<String, UserDescription>,
) -> Result<Accounts, SeedError> {
    let store = &*outside.store;
    let project = stack.snapshots.current().project.clone();
    let mut programs = Vec::new();
    for program in &PROGRAMS {
        programs.push((program, service_account(stack, store, &project, program).await?));
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
    first_policy(stack, store, &app.service(), (&[ACCESS], allowed)).await?;
    let program = |name: &str| programs.iter().find(|(program, _)| program.name == name).map(|(_, account)| account);
    let (caller, target) = (program("caller").ok_or(SeedError::Missing)?, program("target").ok_or(SeedError::Missing)?);
    let makers = vec![format!("serviceAccount:{}", caller.email), format!("user:{}", PEOPLE[0].0)];
    let target = Resource::ServiceAccount { unique_id: target.unique_id.clone() };
    first_policy(stack, store, &target, (&[TOKEN_CREATOR], makers)).await?;
    let administrator = vec![format!("serviceAccount:{}", caller.email)];
    first_policy(stack, store, &Resource::Project, (&ADMINISTRATION, administrator)).await?;
    describe(stack, outside, directory, app, programs, users).await
}

/// Writes a policy, unless there was one before: what its user changed is not put back.
async fn first_policy(
    stack: &Stack,
    store: &dyn Store,
    resource: &Resource,
    (roles, members): (&[&str], Vec<String>),
) -> Result<(), SeedError> {
    let name = resource.name(&stack.snapshots.current().project);
    if store.policy(&name).await?.etag == Etag::UNWRITTEN {
        let binding = |role: &&str| Binding { role: (*role).to_owned(), members: members.clone(), condition: None };
        let policy = wire::Policy { bindings: roles.iter().map(binding).collect(), ..Default::default() };
        let request = SetIamPolicyRequest { policy, update_mask: None };
        stack.services.policies().replace(&Admin::local_operator(), &name, request).await?;
    }
    Ok(())
}

async fn service_account(
    stack: &Stack,
    store: &dyn Store,
    project: &Project,
    program: &FixtureAccount,
) -> Result<ServiceAccount, SeedError> {
    let operator = Admin::local_operator();
    // Google's account ids have at least six characters.
    let account_id = format!("dev-{}", program.name);
    let email = format!("{account_id}@{}.iam.gserviceaccount.com", project.id);
    // Not by the API of administration: it would record that the account is not there yet. An address that cannot be is refused below.
    if let Ok(email) = email.parse()
        && let Some(there) = store.service_account_by_email(&email).await?
    {
        return Ok(there);
    }
    let service_account =
        NewServiceAccount { display_name: program.name.to_owned(), description: program.purpose.to_owned() };
    let request = CreateServiceAccountRequest { account_id, service_account };
    Ok(stack.services.service_accounts().create(&operator, &project.id, request).await?)
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
    let operator = Admin::local_operator();
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
    stack: &Stack,
    outside: &Outside,
    directory: &Directory,
    app: &Application,
    programs: Vec<(&FixtureAccount, ServiceAccount)>,
    mut users: BTreeMap<String, UserDescription>,
) -> Result<Accounts, SeedError> {
    let snapshot = stack.snapshots.current();
    let lineage = &snapshot.application(&app.service_id).ok_or(SeedError::Missing)?.lineage;
    let context = RequestContext::new(outside.clock.now());
    let allowed = |principal: Principal<'_>| {
        let question = Question { principal, permission: Permission::AccessViaIap, context: &context };
        snapshot.decide(lineage, &question).is_allowed()
    };
    let service_accounts = programs
        .into_iter()
        .map(|(program, account)| {
            let described = ServiceAccountDescription {
                allowed: allowed(Principal::ServiceAccount(&account.email)),
                email: account.email.to_string(),
                unique_id: account.unique_id.0,
                key_file: program.has_key_file.then(|| directory.key_file(program.name)),
            };
            (program.name.to_owned(), described)
        })
        .collect();
    for (email, described) in &mut users {
        let email = email.parse().map_err(|_| SeedError::Missing)?;
        described.allowed = allowed(Principal::User(&email));
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

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::entropy::SeededEntropy;
    use doorward_core::resource::{Host, Scheme};
    use doorward_core::store::{ApplicationStore as _, OAuthClientStore as _};
    use doorward_store::SqliteStore;

    #[tokio::test]
    async fn the_client_of_an_application_is_registered_also_in_a_directory_where_it_was_not() {
        let store = SqliteStore::in_memory().await.unwrap();
        let entropy = SeededEntropy::default();
        let project = Project { id: "p".into(), number: "123".into(), ancestors: Vec::new() };
        let now = Timestamp::from_seconds(7);
        let served = |name: &'static str| Served {
            name,
            origins: vec![Origin::new(Scheme::Http, &Host::parse(&format!("{name}.test")).unwrap())],
            upstream: "http://127.0.0.1:9".into(),
            client_secret: format!("secret of {name}"),
        };
        let start = async || {
            applications(&store, &entropy, &project, [served("app"), served("other-app")], now).await.unwrap().app
        };
        let app = start().await;
        let first = store.oauth_client(&app.client_id).await.unwrap().unwrap();
        assert_eq!(first.secret, Some(TokenHash::of("secret of app")));
        // As the first versions left it, and with a secret that was reset.
        let old = ClientId("123-old.apps.googleusercontent.com".into());
        store.replace_application(&Application { client_id: old.clone(), ..app.clone() }, None).await.unwrap().unwrap();
        assert_eq!(start().await.client_id, old);
        assert_eq!(store.oauth_client(&old).await.unwrap().unwrap().secret, first.secret);
        assert!(store.replace_client_secret(&old, &TokenHash::of("reset")).await.unwrap());
        start().await;
        assert_eq!(store.oauth_client(&old).await.unwrap().unwrap().secret, first.secret);
    }
}
