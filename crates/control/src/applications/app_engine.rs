//! Applications as the App Engine application of the project: `apps` of `appengine.googleapis.com`, with which `gcloud iap web
//! enable --resource-type=app-engine` works. There, IAP is on or off for all services and versions together.

use doorward_core::clock::CLOCK_SKEW;
use doorward_core::policy::Permission;
use doorward_core::resource::{Application, ServiceKind};
use doorward_core::store::ApplicationRefused;
use doorward_wire::google_api::appengine::Application as AppResource;
use doorward_wire::google_api::{FieldMask, IdentityAwareProxy, LongRunningOperation};

use super::{ApplicationError, Applications, WantedClient, clients};
use crate::admin::{Admin, Call, Method};

const APP_ENGINE: &str = "appengine.googleapis.com";
const GET: Method = Method::look(APP_ENGINE, "google.appengine.v1.Applications.GetApplication");
const UPDATE: Method = Method::write(APP_ENGINE, "google.appengine.v1.Applications.UpdateApplication");
const OPERATION: Method = Method::look(APP_ENGINE, "google.longrunning.Operations.GetOperation");

/// The App Engine application of the one project: every application of ours of that kind.
pub struct AppEngine {
    applications: Applications,
}

impl AppEngine {
    /// Applications of that kind.
    pub fn new(applications: Applications) -> Self {
        AppEngine { applications }
    }

    /// The application of a project, `app` being its id. IAP is on if it is for every service and version.
    ///
    /// # Errors
    /// [`ApplicationError::NotFound`] if no application of that kind is registered.
    ///
    /// Spec: <https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps/get>
    pub async fn get(&self, admin: &Admin, app: &str) -> Result<AppResource, ApplicationError> {
        let mut call = self.applications.changes.begin(admin, GET, &format!("apps/{app}"))?;
        let outcome = async {
            let versions = self.reach(&mut call, app, Permission::GetAppEngineApplication).await?;
            self.show(&versions).await
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Switches IAP on or off for every service and version, and gives them a client: all of them together, or none.
    ///
    /// Spec: <https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps/patch>
    pub async fn patch(
        &self,
        admin: &Admin,
        app: &str,
        body: AppResource,
        mask: &str,
    ) -> Result<LongRunningOperation, ApplicationError> {
        let mut call = self.applications.changes.begin(admin, UPDATE, &format!("apps/{app}"))?;
        let outcome = self.patched(&mut call, app, body, mask).await;
        call.finish(outcome).await
    }

    async fn patched(
        &self,
        call: &mut Call<'_>,
        app: &str,
        body: AppResource,
        mask: &str,
    ) -> Result<LongRunningOperation, ApplicationError> {
        let versions = self.reach(call, app, Permission::UpdateAppEngineApplication).await?;
        let mask = FieldMask::parse(mask, AppResource::MESSAGE, &AppResource::PATHS)?;
        let before = self.show(&versions).await?;
        let iap = match mask {
            FieldMask::Everything => body.iap.unwrap_or_default(),
            FieldMask::Paths(_) => {
                let changed = mask.apply(&serde_json::to_value(&before)?, &serde_json::to_value(&body)?);
                let changed: AppResource = serde_json::from_value(changed)?;
                changed.iap.unwrap_or_default()
            }
        };
        let id = iap.oauth2_client_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
        let secret = iap.oauth2_client_secret.as_ref().map(|secret| secret.0.as_str()).filter(|it| !it.is_empty());
        let client = WantedClient { id, secret: secret.filter(|_| id.is_some()) };
        let switched = |it: Application| Application { iap_enabled: iap.enabled.unwrap_or(false), ..it };
        let versions: Vec<Application> = versions.into_iter().map(switched).collect();
        let written = self.write(call, &before, versions, client).await?;
        let after = self.show(&written).await?;
        call.changed_to(&after);
        Ok(LongRunningOperation::done(operation_name(&after.id, call.time().micros()), AppResource::KIND, &after)?)
    }

    /// Replaces every version in the state that is in it, with the client.
    async fn write(
        &self,
        call: &mut Call<'_>,
        before: &AppResource,
        mut versions: Vec<Application>,
        client: WantedClient<'_>,
    ) -> Result<Vec<Application>, ApplicationError> {
        use ApplicationRefused as R;
        // One that not every version has is new to some: for those it is brought.
        let other = versions.iter().find(|version| Some(version.client_id.0.as_str()) != client.id);
        let Some(present) = other.or(versions.first()) else { return Ok(versions) };
        let (id, change) = self.applications.client(call, client, Some(&present.client_id), &present.name).await?;
        if client.id.is_some() {
            versions.iter_mut().for_each(|version| version.client_id = id.clone());
        }
        call.changes(Some(before), Some(&self.show(&versions).await?));
        let store = self.applications.store.clone();
        let write = async move {
            if !change.write(&*store).await? {
                return Err(ApplicationError::ClientChanged(id));
            }
            match store.replace_applications(&versions).await? {
                Ok(etags) => Ok(versions.into_iter().zip(etags).map(|(it, etag)| Application { etag, ..it }).collect()),
                // Nothing that could be taken is asked for: somebody changed one meanwhile, or removed it.
                Err(R::Stale | R::NotFound | R::NameTaken | R::NumberTaken | R::PlaceTaken(_)) => {
                    change.take_back(&*store).await?;
                    Err(ApplicationError::Stale)
                }
            }
        };
        self.applications.publisher.change(write).await
    }

    /// A change that was made: it was done before it was answered, so this gives the application as it is now. Operations are not kept.
    ///
    /// # Errors
    /// [`ApplicationError::NoOperation`] for what is no name of one, or of one that is not made yet.
    ///
    /// Spec: <https://cloud.google.com/appengine/docs/admin-api/reference/rest/v1/apps.operations/get>
    pub async fn operation(
        &self,
        admin: &Admin,
        app: &str,
        operation: &str,
    ) -> Result<LongRunningOperation, ApplicationError> {
        let asked = format!("apps/{app}/operations/{operation}");
        let mut call = self.applications.changes.begin(admin, OPERATION, &asked)?;
        let outcome = async {
            let versions = self.reach(&mut call, app, Permission::GetAppEngineApplication).await?;
            let shown = self.show(&versions).await?;
            let missing = || ApplicationError::NoOperation(operation.to_owned());
            let micros: i64 = operation.parse().map_err(|_| missing())?;
            // In the spelling that was given, and not of a time that is to come, by the clock of whichever instance gave it.
            let latest = call.time() + CLOCK_SKEW;
            if micros.to_string() != operation || !(0..=latest.micros()).contains(&micros) {
                return Err(missing());
            }
            Ok(LongRunningOperation::done(operation_name(&shown.id, micros), AppResource::KIND, &shown)?)
        };
        let outcome = outcome.await;
        call.finish(outcome).await
    }

    /// Every version, for somebody who may do this.
    async fn reach(
        &self,
        call: &mut Call<'_>,
        app: &str,
        permission: Permission,
    ) -> Result<Vec<Application>, ApplicationError> {
        self.applications.publisher.catch_up().await?;
        call.reach(&format!("projects/{app}"), |_| permission)?;
        let mut all = self.applications.store.applications().await?;
        all.retain(|it| matches!(it.kind, ServiceKind::AppEngine { .. }));
        if all.is_empty() { Err(ApplicationError::NotFound(app.to_owned())) } else { Ok(all) }
    }

    async fn show(&self, versions: &[Application]) -> Result<AppResource, ApplicationError> {
        let project = self.applications.publisher.project();
        let enabled = versions.iter().all(|version| version.iap_enabled);
        let client = versions.first().map(|version| &version.client_id);
        // Of several clients there is no one to show.
        let client = client.filter(|id| versions.iter().all(|version| version.client_id == **id));
        let known = match client {
            Some(id) => self.applications.store.oauth_client(id).await?,
            None => None,
        };
        let origin = versions.iter().flat_map(|version| &version.routes).map(|route| route.origin.host.to_string());
        Ok(AppResource {
            name: format!("apps/{}", project.id),
            id: project.id.clone(),
            serving_status: Some("SERVING".to_owned()),
            default_hostname: origin.min(),
            iap: Some(IdentityAwareProxy {
                enabled: Some(enabled),
                oauth2_client_id: client.map(|id| id.0.clone()),
                oauth2_client_secret: None,
                oauth2_client_secret_sha256: known.as_ref().and_then(clients::secret_sha256),
            }),
            ..AppResource::default()
        })
    }
}

/// The name of a change by the time at which it was made, in microseconds.
fn operation_name(app: &str, micros: i64) -> String {
    format!("apps/{app}/operations/{micros}")
}
