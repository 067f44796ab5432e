//! Reading and changing IAP settings: of every web resource, of the project, and of what it lies in.

mod fields;

use std::sync::Arc;

use doorward_core::policy::Permission;
use doorward_core::policy::condition::CompileError;
use doorward_core::resource::Resource;
use doorward_core::settings::{self, Propagation};
use doorward_core::store::{Store, StoreError};
use doorward_wire::google_api::{FieldMask, FieldMaskError, IapSettings, Status};

use crate::admin::{Admin, AdminError, Call, Changes, Failure, Method, Permitted};
use crate::etags::ATTEMPTS;
use crate::snapshots::{RefreshError, SnapshotPublisher};

pub(crate) use fields::{POLICY_DELEGATION, decode, encode};

const IAP: &str = "iap.googleapis.com";
const GET: Method = Method::read(IAP, "google.cloud.iap.v1.IdentityAwareProxyAdminService.GetIapSettings");
const UPDATE: Method = Method::write_data(IAP, "google.cloud.iap.v1.IdentityAwareProxyAdminService.UpdateIapSettings");
const VALIDATE: Method =
    Method::write_data(IAP, "google.cloud.iap.v1.IdentityAwareProxyAdminService.ValidateIapAttributeExpression");

/// Why settings were not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The caller may not, or the name leads nowhere.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Tunnels and accounts have no settings.
    #[error("{0} has no settings: only organizations, folders, projects and what is below iap_web have")]
    NoSettings(String),
    /// The body names another resource than the URL.
    #[error("the settings are of another resource: {0:?}")]
    AnotherResource(String),
    /// A name that is no setting. To pass over it would be to say that it holds.
    #[error("there is no setting {0}")]
    Unknown(String),
    /// The mask names something that is no setting.
    #[error(transparent)]
    Mask(#[from] FieldMaskError),
    /// A value that is none of those that a setting has: the setting's path.
    #[error("{0} has a value that is not one of its own")]
    Value(&'static str),
    /// The three settings of reauthentication are set together or not at all.
    #[error("{} is set as a whole: method, maxAge and policyType", settings::paths::REAUTHENTICATION)]
    Reauthentication,
    /// A setting that has no effect here, or a value that cannot be.
    #[error(transparent)]
    Refused(#[from] settings::SettingsError),
    /// Others changed them again and again, between every reading and the writing after it.
    #[error("the settings were changed by others")]
    Conflict,
    /// An expression that is to be checked does not compile.
    #[error("the expression is not valid: {0}")]
    Expression(#[from] CompileError),
    /// The store failed.
    #[error("could not read or write settings")]
    Store(#[from] StoreError),
    /// The settings are stored, and it is not known whether they are in force.
    #[error("could not put the settings in force")]
    Refresh(#[from] RefreshError),
    /// What is stored cannot be shown.
    #[error("could not write settings as JSON")]
    Json(#[from] serde_json::Error),
}

impl Failure for SettingsError {
    fn status(&self) -> Status {
        use SettingsError as E;
        match self {
            E::Admin(error) => error.status(),
            E::NoSettings(_)
            | E::AnotherResource(_)
            | E::Unknown(_)
            | E::Mask(_)
            | E::Value(_)
            | E::Reauthentication
            | E::Refused(_)
            | E::Expression(_) => Status::InvalidArgument,
            E::Conflict => Status::Aborted,
            E::Store(_) | E::Refresh(_) | E::Json(_) => Status::Internal,
        }
    }
}

/// The settings of the one project's resources.
pub struct SettingsService {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    /// A change reads what is there and writes the whole. Here one waits for the other; an instance elsewhere does not, and is
    /// met by reading again.
    writing: tokio::sync::Mutex<()>,
}

impl SettingsService {
    /// Settings in `store`, put in force by `publisher`.
    pub fn new(store: Arc<dyn Store>, publisher: Arc<SnapshotPublisher>, changes: Changes) -> Self {
        SettingsService { store, publisher, changes, writing: tokio::sync::Mutex::default() }
    }

    /// What is set on a resource itself; what it inherits is not shown.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/getIapSettings>
    pub async fn get(&self, admin: &Admin, name: &str) -> Result<IapSettings, SettingsError> {
        let mut call = self.changes.begin(admin, GET, name)?;
        let outcome = self.shown(&mut call, name).await;
        call.finish(outcome).await
    }

    async fn shown(&self, call: &mut Call<'_>, name: &str) -> Result<IapSettings, SettingsError> {
        self.publisher.catch_up().await?;
        let place = reach(call, name, get_permission)?;
        Ok(encode(place.name(), &self.store.settings(place.name()).await?))
    }

    /// Replaces the settings of a resource, or with a mask those that it names, and gives what is set from now on.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/updateIapSettings>
    pub async fn update(
        &self,
        admin: &Admin,
        name: &str,
        settings: IapSettings,
        mask: Option<&str>,
    ) -> Result<IapSettings, SettingsError> {
        let mut call = self.changes.begin(admin, UPDATE, name)?;
        let outcome = self.replace(&mut call, name, settings, mask).await;
        call.finish(outcome).await
    }

    async fn replace(
        &self,
        call: &mut Call<'_>,
        name: &str,
        new: IapSettings,
        mask: Option<&str>,
    ) -> Result<IapSettings, SettingsError> {
        self.publisher.catch_up().await?;
        let place = reach(call, name, update_permission)?;
        if !new.name.is_empty() && !self.names(&new.name, place.resource()) {
            return Err(SettingsError::AnotherResource(new.name));
        }
        if let Some(path) = new.first_unknown() {
            return Err(SettingsError::Unknown(path));
        }
        let mask = FieldMask::parse(mask.unwrap_or_default(), IapSettings::MESSAGE, &IapSettings::PATHS)?;
        let _writing = self.writing.lock().await;
        for _ in 0..ATTEMPTS {
            let seen = self.store.settings(place.name()).await?;
            let before = encode(place.name(), &seen);
            let settings = decode(&before.changed(&new, &mask)?)?;
            settings.check()?;
            let after = encode(place.name(), &settings);
            call.changes(Some(&before), Some(&after));
            let (store, name) = (self.store.clone(), place.name().to_owned());
            let write = async move { Ok::<_, SettingsError>(store.replace_settings(&name, &seen, &settings).await?) };
            if self.publisher.change(write).await? {
                return Ok(after);
            }
        }
        Err(SettingsError::Conflict)
    }

    /// Whether a name, in whatever spelling, is that of a resource.
    fn names(&self, name: &str, resource: &Resource) -> bool {
        self.changes.gate().snapshot().resource(name).is_ok_and(|named| named == *resource)
    }

    /// Checks an expression of attribute propagation, for whoever may read the settings of a resource.
    ///
    /// # Errors
    /// [`SettingsError::Expression`] with the place of the mistake.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/validateAttributeExpression>
    pub async fn validate_expression(&self, admin: &Admin, name: &str, expression: &str) -> Result<(), SettingsError> {
        let mut call = self.changes.begin(admin, VALIDATE, name)?;
        let outcome = reach(&mut call, name, get_permission).and_then(|_| {
            Propagation::compile(expression)?;
            Ok(())
        });
        call.finish(outcome).await
    }
}

/// Sees whether settings could be set on a resource that has none: what a file says is checked before anything is there to set it on.
///
/// # Errors
/// What [`SettingsService::update`] would say.
pub fn check(new: &IapSettings) -> Result<(), SettingsError> {
    if let Some(path) = new.first_unknown() {
        return Err(SettingsError::Unknown(path));
    }
    let mask = FieldMask::parse("", IapSettings::MESSAGE, &IapSettings::PATHS)?;
    let nothing = encode(&new.name, &settings::Settings::default());
    Ok(decode(&nothing.changed(new, &mask)?)?.check()?)
}

/// Finds a resource that can have settings.
fn reach(
    call: &mut Call<'_>,
    name: &str,
    permission: fn(&Resource) -> Option<Permission>,
) -> Result<Permitted, SettingsError> {
    // Of what has no settings, nobody learns more than that: whether it is there is for those who may read the project's.
    let or_project = |resource: &Resource| permission(resource).or_else(|| permission(&Resource::Project));
    let place = call.reach(name, |resource| or_project(resource).unwrap_or(Permission::GetProjectSettings))?;
    match permission(place.resource()) {
        Some(_) => Ok(place),
        None => Err(SettingsError::NoSettings(place.name().to_owned())),
    }
}

fn get_permission(resource: &Resource) -> Option<Permission> {
    permissions(resource).map(|(get, _)| get)
}

fn update_permission(resource: &Resource) -> Option<Permission> {
    permissions(resource).map(|(_, update)| update)
}

/// What reading and changing the settings of a resource demands; `None` if it has none.
///
/// Spec: <https://cloud.google.com/iap/docs/managing-access#roles>
pub(crate) fn permissions(resource: &Resource) -> Option<(Permission, Permission)> {
    use Permission as P;
    match resource {
        Resource::Organization(_) => Some((P::GetOrganizationSettings, P::UpdateOrganizationSettings)),
        Resource::Folder(_) => Some((P::GetFolderSettings, P::UpdateFolderSettings)),
        Resource::Project => Some((P::GetProjectSettings, P::UpdateProjectSettings)),
        Resource::Web => Some((P::GetWebSettings, P::UpdateWebSettings)),
        Resource::WebType(_) => Some((P::GetWebTypeSettings, P::UpdateWebTypeSettings)),
        Resource::WebService(..) => Some((P::GetWebServiceSettings, P::UpdateWebServiceSettings)),
        Resource::WebServiceVersion(..) => Some((P::GetWebServiceVersionSettings, P::UpdateWebServiceVersionSettings)),
        Resource::Tunnel
        | Resource::TunnelZone(_)
        | Resource::TunnelInstance(..)
        | Resource::TunnelLocation(_)
        | Resource::TunnelDestGroup(..)
        | Resource::ServiceAccount { .. } => None,
    }
}
