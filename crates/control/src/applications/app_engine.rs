//! Applications as the App Engine application of the project: `apps` of `appengine.googleapis.com`, with which `gcloud iap web
//! enable --resource-type=app-engine` works. There, IAP is on or off for all services and versions together.

use doorward_core::policy::Permission;
use doorward_core::resource::{Application, ServiceKind};
use doorward_wire::google_api::appengine::Application as AppResource;
use doorward_wire::google_api::{FieldMask, IdentityAwareProxy, LongRunningOperation};

use super::{ApplicationError, Applications, WantedClient, clients};
use crate::admin::{Admin, Call, Method};

const APP_ENGINE: &str = "appengine.googleapis.com";
const GET: Method = Method::look(APP_ENGINE, "google.appengine.v1.Applications.GetApplication");
const UPDATE: Method = Method::write(APP_ENGINE, "google.appengine.v1.Applications.UpdateApplication");

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

    /// Switches IAP on or off for every service and version, and gives them a client. One after the other: after an error, some may be
    /// changed.
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
        let mut written = Vec::with_capacity(versions.len());
        for version in versions {
            let after = Application { iap_enabled: iap.enabled.unwrap_or(false), ..version.clone() };
            written.push(self.applications.write(call, version, after, client).await?);
        }
        let after = self.show(&written).await?;
        call.changes(Some(&before), Some(&after));
        let name = format!("apps/{}/operations/{}", after.id, call.time().micros());
        Ok(LongRunningOperation::done(name, AppResource::KIND, &after)?)
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
