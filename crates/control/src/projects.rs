//! The one project as `cloudresourcemanager.googleapis.com` shows it, versions 1 and 3. gcloud begins each command of IAP with it.

use std::sync::Arc;

use doorward_core::clock::Timestamp;
use doorward_core::policy::Permission;
use doorward_core::resource::{Ancestor, Resource};
use doorward_wire::google_api::Status;
use doorward_wire::google_api::cloud_resource_manager::{
    Ancestor as AncestorResource, GetAncestryResponse, ListProjectsResponse, ProjectV1, ProjectV3, ProjectsQuery,
    ResourceId, SearchProjectsResponse,
};
use doorward_wire::time::rfc3339;

use crate::admin::{Admin, AdminError, Changes, Failure, Method};
use crate::snapshots::SnapshotPublisher;

const CRM: &str = "cloudresourcemanager.googleapis.com";
const GET: Method = Method::look(CRM, "GetProject");
const LIST: Method = Method::look(CRM, "ListProjects");
const SEARCH: Method = Method::look(CRM, "SearchProjects");
const ANCESTRY: Method = Method::look(CRM, "GetAncestry");

/// Why the project was not shown.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The caller may not, or the project is another one.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A filter of another form.
    #[error("{0:?} is no filter that is served: write FIELD:VALUE or FIELD=VALUE, with AND between several")]
    Filter(String),
}

impl Failure for ProjectError {
    fn status(&self) -> Status {
        match self {
            ProjectError::Admin(error) => error.status(),
            ProjectError::Filter(_) => Status::InvalidArgument,
        }
    }
}

/// The one project.
pub struct Projects {
    publisher: Arc<SnapshotPublisher>,
    changes: Changes,
    created: Timestamp,
}

impl Projects {
    /// The project of `publisher`, which came to be at `created`.
    pub fn new(publisher: Arc<SnapshotPublisher>, changes: Changes, created: Timestamp) -> Self {
        Projects { publisher, changes, created }
    }

    /// `GET /v1/projects/P`, by id or number.
    pub async fn get_v1(&self, admin: &Admin, project: &str) -> Result<ProjectV1, ProjectError> {
        self.entered(admin, GET, project).await?;
        Ok(self.v1())
    }

    /// `GET /v3/projects/P`
    pub async fn get_v3(&self, admin: &Admin, project: &str) -> Result<ProjectV3, ProjectError> {
        self.entered(admin, GET, project).await?;
        Ok(self.v3())
    }

    /// `POST /v1/projects/P:getAncestry`: the project, and what it lies in, nearest first.
    pub async fn ancestry(&self, admin: &Admin, project: &str) -> Result<GetAncestryResponse, ProjectError> {
        self.entered(admin, ANCESTRY, project).await?;
        let own = self.publisher.project();
        let id = |kind: &str, id: &str| ResourceId { kind: kind.to_owned(), id: id.to_owned() };
        let above = own.ancestors.iter().map(ancestor);
        let ids = std::iter::once(id("project", &own.id)).chain(above);
        Ok(GetAncestryResponse { ancestor: ids.map(|resource_id| AncestorResource { resource_id }).collect() })
    }

    /// `GET /v1/projects`: the project, if the caller may see it and it passes the filter.
    pub async fn list_v1(&self, admin: &Admin, query: &ProjectsQuery) -> Result<ListProjectsResponse, ProjectError> {
        let seen = self.seen(admin, LIST, query.filter.as_deref()).await?;
        Ok(ListProjectsResponse { projects: seen.then(|| self.v1()).into_iter().collect(), next_page_token: None })
    }

    /// `GET /v3/projects:search`
    pub async fn search_v3(
        &self,
        admin: &Admin,
        query: &ProjectsQuery,
    ) -> Result<SearchProjectsResponse, ProjectError> {
        let seen = self.seen(admin, SEARCH, query.query.as_deref()).await?;
        Ok(SearchProjectsResponse { projects: seen.then(|| self.v3()).into_iter().collect(), next_page_token: None })
    }

    /// `GET /v3/projects?parent=…`: the project, if it lies in that folder or organization itself.
    pub async fn list_v3(&self, admin: &Admin, parent: &str) -> Result<SearchProjectsResponse, ProjectError> {
        let mut call = self.changes.begin(admin, LIST, parent)?;
        let found = call.reach(parent, |_| Permission::ListProjects);
        let found = call.finish(found.map_err(ProjectError::from)).await?;
        let own = self.publisher.project();
        let inside = own.ancestors.first().is_some_and(|nearest| nearest.resource() == *found.resource());
        Ok(SearchProjectsResponse { projects: inside.then(|| self.v3()).into_iter().collect(), next_page_token: None })
    }

    async fn entered(&self, admin: &Admin, method: Method, project: &str) -> Result<(), ProjectError> {
        let mut call = self.changes.begin(admin, method, project)?;
        let outcome = call.reach(&format!("projects/{project}"), |_| Permission::GetProject);
        call.finish(outcome.map(|_| ()).map_err(ProjectError::from)).await
    }

    /// Whether the caller sees the project, and it passes a filter. One who does not sees an empty list, as at Google.
    async fn seen(&self, admin: &Admin, method: Method, filter: Option<&str>) -> Result<bool, ProjectError> {
        let call = self.changes.begin(admin, method, &Resource::Project.name(self.publisher.project()))?;
        let may = !self.changes.gate().held(admin, &[Permission::GetProject], &Resource::Project).is_empty();
        let passes = self.passes(filter.unwrap_or_default());
        call.finish(passes.map(|passes| may && passes)).await
    }

    /// Whether the project passes a filter: every term does. `*` at the end of a value stands for anything.
    ///
    /// Spec: <https://cloud.google.com/resource-manager/reference/rest/v1/projects/list>
    fn passes(&self, filter: &str) -> Result<bool, ProjectError> {
        let project = self.publisher.project();
        let (kind, parent) =
            project.ancestors.first().map(ancestor).map_or_else(Default::default, |it| (it.kind, it.id));
        let number_name = format!("projects/{}", project.number);
        let mut passes = true;
        for term in filter.split_whitespace().filter(|term| *term != "AND") {
            let wrong = || ProjectError::Filter(filter.to_owned());
            let (field, value) = term.split_once([':', '=']).ok_or_else(wrong)?;
            let value = value.trim_matches('"');
            let fits = |own: &str| match value.strip_suffix('*') {
                Some(beginning) => own.to_ascii_lowercase().starts_with(&beginning.to_ascii_lowercase()),
                None => own.eq_ignore_ascii_case(value),
            };
            passes &= match field {
                "id" | "projectId" | "project_id" | "displayName" | "display_name" => fits(&project.id),
                "name" => fits(&project.id) || fits(&number_name),
                "projectNumber" => fits(&project.number),
                "lifecycleState" | "state" => fits("ACTIVE"),
                "parent.type" => fits(&kind),
                "parent.id" => fits(&parent),
                "parent" => fits(&format!("{kind}s/{parent}")),
                _ => return Err(wrong()),
            };
        }
        Ok(passes)
    }

    fn v1(&self) -> ProjectV1 {
        let project = self.publisher.project();
        ProjectV1 {
            project_number: project.number.clone(),
            project_id: project.id.clone(),
            lifecycle_state: "ACTIVE".to_owned(),
            name: project.id.clone(),
            create_time: rfc3339(self.created.seconds()),
            labels: Default::default(),
            parent: project.ancestors.first().map(ancestor),
        }
    }

    fn v3(&self) -> ProjectV3 {
        let project = self.publisher.project();
        let created = rfc3339(self.created.seconds());
        ProjectV3 {
            name: Resource::Project.name(project),
            parent: project.ancestors.first().map(|nearest| nearest.resource().name(project)),
            project_id: project.id.clone(),
            state: "ACTIVE".to_owned(),
            display_name: project.id.clone(),
            create_time: created.clone(),
            update_time: created,
            etag: None,
            labels: Default::default(),
        }
    }
}

fn ancestor(it: &Ancestor) -> ResourceId {
    let (kind, id) = match it {
        Ancestor::Folder(number) => ("folder", number),
        Ancestor::Organization(number) => ("organization", number),
    };
    ResourceId { kind: kind.to_owned(), id: id.clone() }
}
