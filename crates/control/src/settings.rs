//! Reading and changing IAP settings.

use std::sync::Arc;

use doorward_core::resource::{ClientId, Resource, ResourceError};
use doorward_core::settings::Settings;
use doorward_core::store::{Store, StoreError};
use doorward_wire::google_api::{AccessSettings, IapSettings, OAuthSettings};

use crate::callers::Administrator;
use crate::snapshots::{RefreshError, SnapshotPublisher};

/// Clients in one list, at most.
const CLIENTS_LIMIT: usize = 100;
/// The longest id of a client, in bytes.
const CLIENT_ID_LIMIT: usize = 256;

/// Why settings were not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The name leads nowhere.
    #[error("could not find the resource")]
    Resource(#[from] ResourceError),
    /// The body names another resource than the URL.
    #[error("the settings are of another resource: {0:?}")]
    AnotherResource(String),
    /// The setting of this path is not served yet. To pass over it would be to say that it holds.
    #[error("setting {0} is not served yet")]
    NotServed(String),
    /// The mask names something that is no setting.
    #[error("update mask {0:?} names no setting that is served")]
    Mask(String),
    /// An empty or overlong id, one with spaces, or too many of them.
    #[error("a client id has 1 to {CLIENT_ID_LIMIT} visible characters, and there are at most {CLIENTS_LIMIT}")]
    ClientId,
    /// The store failed.
    #[error("could not read or write settings")]
    Store(#[from] StoreError),
    /// The settings are stored, and it is not known whether they are in force.
    #[error("could not put the settings in force")]
    Refresh(#[from] RefreshError),
}

/// The settings of the one project's resources.
pub struct SettingsService {
    store: Arc<dyn Store>,
    publisher: Arc<SnapshotPublisher>,
}

impl SettingsService {
    /// Settings in `store`, put in force by `publisher`.
    pub fn new(store: Arc<dyn Store>, publisher: Arc<SnapshotPublisher>) -> Self {
        SettingsService { store, publisher }
    }

    /// What is set on a resource itself; what it inherits is not shown.
    pub async fn get(&self, _: &Administrator, name: &str) -> Result<IapSettings, SettingsError> {
        self.publisher.catch_up().await?;
        let name = self.canonical_name(name).await?;
        Ok(encode(&name, &self.store.settings(&name).await?))
    }

    /// Replaces the settings of a resource, or with a mask those that it names, and gives what is set from now on.
    ///
    /// Spec: <https://cloud.google.com/iap/docs/reference/rest/v1/TopLevel/updateIapSettings>
    pub async fn update(
        &self,
        _: &Administrator,
        name: &str,
        settings: IapSettings,
        mask: Option<&str>,
    ) -> Result<IapSettings, SettingsError> {
        self.publisher.catch_up().await?;
        let name = self.canonical_name(name).await?;
        if !settings.name.is_empty() && self.canonical_name(&settings.name).await? != name {
            return Err(SettingsError::AnotherResource(settings.name));
        }
        if let Some(path) = settings.first_not_served() {
            return Err(SettingsError::NotServed(path));
        }
        if let Some(mask) = mask.filter(|mask| !mask.is_empty()) {
            mask.split(',').try_for_each(check_mask)?;
        }
        let settings = decode(&settings)?;
        let store = self.store.clone();
        let write = async move {
            store.replace_settings(&name, &settings).await?;
            Ok(encode(&name, &settings))
        };
        self.publisher.change(write).await
    }

    async fn canonical_name(&self, name: &str) -> Result<String, SettingsError> {
        let project = self.publisher.project();
        Ok(Resource::parse(name, project, &self.store.applications().await?)?.name(project))
    }
}

/// There is one setting, so every mask that names it or something above it means the same.
fn check_mask(path: &str) -> Result<(), SettingsError> {
    const PATHS: [&str; 7] = [
        "*",
        "access_settings",
        "accessSettings",
        "access_settings.oauth_settings",
        "accessSettings.oauthSettings",
        "access_settings.oauth_settings.programmatic_clients",
        "accessSettings.oauthSettings.programmaticClients",
    ];
    let path = path.trim();
    let path = path.strip_prefix("iap_settings.").or_else(|| path.strip_prefix("iapSettings.")).unwrap_or(path);
    if PATHS.contains(&path) { Ok(()) } else { Err(SettingsError::Mask(path.to_owned())) }
}

fn decode(settings: &IapSettings) -> Result<Settings, SettingsError> {
    let Some(ids) = settings.programmatic_clients() else { return Ok(Settings::default()) };
    let good =
        |id: &String| !id.is_empty() && id.len() <= CLIENT_ID_LIMIT && id.bytes().all(|byte| byte.is_ascii_graphic());
    if ids.len() > CLIENTS_LIMIT || !ids.iter().all(good) {
        return Err(SettingsError::ClientId);
    }
    let mut clients: Vec<ClientId> = Vec::new();
    for id in ids {
        let id = ClientId(id.clone());
        if !clients.contains(&id) {
            clients.push(id);
        }
    }
    // An empty list in proto3 is the same as none: it is inherited.
    Ok(Settings { programmatic_clients: Some(clients).filter(|clients| !clients.is_empty()) })
}

fn encode(name: &str, settings: &Settings) -> IapSettings {
    let clients = settings.programmatic_clients.as_ref();
    let ids = clients.map(|clients| clients.iter().map(|client| client.0.clone()).collect());
    let access_settings = ids.map(|ids| AccessSettings {
        oauth_settings: Some(OAuthSettings { programmatic_clients: Some(ids), ..OAuthSettings::default() }),
        ..AccessSettings::default()
    });
    IapSettings { name: name.to_owned(), access_settings, ..IapSettings::default() }
}
