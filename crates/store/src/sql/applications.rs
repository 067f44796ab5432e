use std::collections::BTreeSet;

use async_trait::async_trait;
use doorward_core::policy::Etag;
use doorward_core::resource::{Application, ClientId, Host, Origin, PathPrefix, Project, Route, Scheme, ServiceKind};
use doorward_core::store::{ApplicationRefused, ApplicationStore, Changed, StoreError};
use serde::{Deserialize, Serialize};

use super::{SqlStore, json, names};
use crate::db::{Change, Row, query};

const SELECT: &str =
    "SELECT service_id, name, kind, region, service, version, client_id, iap_enabled, routes, upstreams,
    description, labels, etag FROM registered_application";

#[async_trait]
impl ApplicationStore for SqlStore {
    async fn add_application(&self, application: &Application) -> Result<Result<Etag, ApplicationRefused>, StoreError> {
        use ApplicationRefused as R;
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let (kind, region, service, version) = write_kind(&application.kind);
        let number = query("SELECT COUNT(*) FROM registered_application WHERE service_id = $1");
        if names::count(&mut change, number.bind(&application.service_id)).await? > 0 {
            return Ok(Err(R::NumberTaken));
        }
        // The first state is one that no application of this number had before.
        let etag: Option<(i64,)> = query(
            "INSERT INTO registered_application (service_id, name, kind, region, service, version, client_id,
                 iap_enabled, routes, upstreams, description, labels, etag)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, value + 1 FROM revision WHERE id = 1
             ON CONFLICT DO NOTHING RETURNING etag",
        )
        .bind(&application.service_id)
        .bind(application.name.as_str())
        .bind(kind)
        .bind(region)
        .bind(service)
        .bind(version)
        .bind(&application.client_id.0)
        .bind(application.iap_enabled)
        .bind(write_routes(&application.routes)?)
        .bind(json(&application.upstreams)?)
        .bind(&application.description)
        .bind(json(&application.labels)?)
        .fetch_optional(&mut change)
        .await?;
        let Some((etag,)) = etag else { return Ok(Err(R::NameTaken)) };
        if let Some(route) = take_places(&mut change, application).await? {
            return Ok(Err(R::PlaceTaken(route)));
        }
        self.commit(change, &[Changed::Application(application.service_id.clone())]).await?;
        Ok(Ok(Etag(etag)))
    }

    async fn replace_application(
        &self,
        application: &Application,
        expected: Option<Etag>,
    ) -> Result<Result<Etag, ApplicationRefused>, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let etag = match replace(&mut change, application, expected).await? {
            Ok(etag) => etag,
            Err(cause) => return Ok(Err(cause)),
        };
        self.commit(change, &[Changed::Application(application.service_id.clone())]).await?;
        Ok(Ok(etag))
    }

    async fn replace_applications(
        &self,
        applications: &[Application],
    ) -> Result<Result<Vec<Etag>, ApplicationRefused>, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let (mut etags, mut touched) = (Vec::new(), Vec::new());
        for application in applications {
            match replace(&mut change, application, Some(application.etag)).await? {
                Ok(etag) => etags.push(etag),
                Err(cause) => return Ok(Err(cause)),
            }
            touched.push(Changed::Application(application.service_id.clone()));
        }
        self.commit(change, &touched).await?;
        Ok(Ok(etags))
    }

    async fn remove_application(&self, service_id: &str, project: &Project) -> Result<bool, StoreError> {
        let mut change = self.db.begin().await?;
        names::lock(&mut change).await?;
        let row: Option<Row> =
            query(format!("{SELECT} WHERE service_id = $1")).bind(service_id).fetch_optional(&mut change).await?;
        let Some(application) = row.as_ref().map(read_application).transpose()? else { return Ok(false) };
        // Its places go with it, by the reference.
        query("DELETE FROM registered_application WHERE service_id = $1").bind(service_id).execute(&mut change).await?;
        let (.., service, _) = write_kind(&application.kind);
        // Of App Engine alone several are of one service.
        let siblings = query("SELECT COUNT(*) FROM registered_application WHERE service = $1").bind(service);
        let last = names::count(&mut change, siblings).await? == 0;
        let going = if last { application.service() } else { application.version() }.name(project);
        let mut touched = vec![Changed::Application(service_id.to_owned())];
        for resource in take_below(&mut change, "policy", &going).await? {
            touched.push(Changed::Policy(resource));
        }
        for resource in take_below(&mut change, "iap_settings", &going).await? {
            touched.push(Changed::Settings(resource));
        }
        self.commit(change, &touched).await?;
        Ok(true)
    }

    async fn application(&self, service_id: &str) -> Result<Option<Application>, StoreError> {
        let row: Option<Row> =
            query(format!("{SELECT} WHERE service_id = $1")).bind(service_id).fetch_optional(self.db.readers()).await?;
        row.as_ref().map(read_application).transpose()
    }

    async fn applications(&self) -> Result<Vec<Application>, StoreError> {
        let rows: Vec<Row> = query(format!("{SELECT} ORDER BY name, service_id")).fetch_all(self.db.readers()).await?;
        rows.iter().map(read_application).collect()
    }
}

/// Replaces one application as a part of a change. After a refusal the change is to be dropped.
async fn replace(
    change: &mut Change,
    application: &Application,
    expected: Option<Etag>,
) -> Result<Result<Etag, ApplicationRefused>, StoreError> {
    use ApplicationRefused as R;
    let state: Option<(i64,)> = query("SELECT etag FROM registered_application WHERE service_id = $1")
        .bind(&application.service_id)
        .fetch_optional(&mut *change)
        .await?;
    match state {
        None => return Ok(Err(R::NotFound)),
        Some((state,)) if expected.is_some_and(|expected| expected.0 != state) => return Ok(Err(R::Stale)),
        Some(_) => {}
    }
    query("DELETE FROM application_place WHERE service_id = $1")
        .bind(&application.service_id)
        .execute(&mut *change)
        .await?;
    if let Some(route) = take_places(change, application).await? {
        return Ok(Err(R::PlaceTaken(route)));
    }
    let (etag,): (i64,) = query(
        "UPDATE registered_application SET client_id = $2, iap_enabled = $3, routes = $4, upstreams = $5,
             description = $6, labels = $7, etag = etag + 1
         WHERE service_id = $1 RETURNING etag",
    )
    .bind(&application.service_id)
    .bind(&application.client_id.0)
    .bind(application.iap_enabled)
    .bind(write_routes(&application.routes)?)
    .bind(json(&application.upstreams)?)
    .bind(&application.description)
    .bind(json(&application.labels)?)
    .fetch_one(change)
    .await?;
    Ok(Ok(Etag(etag)))
}

/// Writes down where an application is reached; the first of its routes that another one has.
async fn take_places(change: &mut Change, application: &Application) -> Result<Option<Route>, StoreError> {
    // Two routes of one application may come to one place: that of http and that of https.
    let mut taken = BTreeSet::new();
    for route in &application.routes {
        // A request says the host and not the scheme.
        for host in route.origin.hosts() {
            if !taken.insert((host.to_string(), route.prefix.clone())) {
                continue;
            }
            let is_free = query(
                "INSERT INTO application_place (host, prefix, service_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(host.to_string())
            .bind(route.prefix.as_str())
            .bind(&application.service_id)
            .changes_one(&mut *change)
            .await?;
            if !is_free {
                return Ok(Some(route.clone()));
            }
        }
    }
    Ok(None)
}

/// Forgets what a table of ours says of a resource and of those below it, and says of which it said something.
async fn take_below(change: &mut Change, table: &'static str, resource: &str) -> Result<Vec<String>, StoreError> {
    // `0` comes after `/`.
    let rows: Vec<(String,)> = query(format!(
        "DELETE FROM {table} WHERE resource = $1 OR (resource > $1 || '/' AND resource < $1 || '0') RETURNING resource"
    ))
    .bind(resource)
    .fetch_all(change)
    .await?;
    Ok(rows.into_iter().map(|(resource,)| resource).collect())
}

const BACKEND_SERVICE: &str = "backend_service";
const APP_ENGINE: &str = "app_engine";
const CLOUD_RUN: &str = "cloud_run";

/// The kind, the region, and of App Engine the service and the version.
fn write_kind(kind: &ServiceKind) -> (&'static str, &str, Option<&str>, Option<&str>) {
    match kind {
        ServiceKind::BackendService { region } => (BACKEND_SERVICE, region.as_deref().unwrap_or(""), None, None),
        ServiceKind::AppEngine { service, version } => (APP_ENGINE, "", Some(service), Some(version)),
        ServiceKind::CloudRun { region } => (CLOUD_RUN, region, None, None),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteRecord {
    origin: String,
    prefix: String,
}

fn write_routes(routes: &[Route]) -> Result<String, StoreError> {
    let record =
        |route: &Route| RouteRecord { origin: route.origin.to_string(), prefix: route.prefix.as_str().to_owned() };
    json(&routes.iter().map(record).collect::<Vec<_>>())
}

fn read_route(record: &RouteRecord) -> Option<Route> {
    let (scheme, host) = record.origin.split_once("://")?;
    let scheme = [Scheme::Http, Scheme::Https].into_iter().find(|known| known.as_str() == scheme)?;
    let origin = Origin::new(scheme, &Host::parse(host).ok()?);
    Some(Route { origin, prefix: record.prefix.parse::<PathPrefix>().ok()? })
}

fn read_application(row: &Row) -> Result<Application, StoreError> {
    let text = |column: &'static str| row.get::<String>(column);
    let optional_text = |column: &'static str| row.get::<Option<String>>(column);
    let damaged = || StoreError::Damaged { what: "application" };
    let region = text("region")?;
    let kind = match (text("kind")?.as_str(), optional_text("service")?, optional_text("version")?) {
        (BACKEND_SERVICE, None, None) => {
            ServiceKind::BackendService { region: Some(region).filter(|region| !region.is_empty()) }
        }
        (APP_ENGINE, Some(service), Some(version)) => ServiceKind::AppEngine { service, version },
        (CLOUD_RUN, None, None) => ServiceKind::CloudRun { region },
        (_, _, _) => return Err(damaged()),
    };
    let routes: Vec<RouteRecord> = serde_json::from_str(&text("routes")?).map_err(|_| damaged())?;
    Ok(Application {
        name: text("name")?.parse().map_err(|_| damaged())?,
        service_id: text("service_id")?,
        kind,
        client_id: ClientId(text("client_id")?),
        iap_enabled: row.get("iap_enabled")?,
        routes: routes.iter().map(|route| read_route(route).ok_or_else(damaged)).collect::<Result<_, _>>()?,
        upstreams: serde_json::from_str(&text("upstreams")?).map_err(|_| damaged())?,
        description: text("description")?,
        labels: serde_json::from_str(&text("labels")?).map_err(|_| damaged())?,
        etag: Etag(row.get("etag")?),
    })
}
