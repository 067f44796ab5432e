//! The project as the resource manager shows it.

use doorward_control::projects::Projects;
use doorward_wire::google_api::cloud_resource_manager::ProjectsQuery;
use serde_json::json;

use crate::{Stack, cause};

impl Stack {
    pub(crate) fn projects(&self) -> Projects {
        Projects::new(self.publisher.clone(), self.changes.clone(), self.now())
    }
}

#[tokio::test]
async fn the_project_is_shown_in_both_versions_with_what_it_lies_in() {
    let stack = Stack::new().await;
    let (projects, admin) = (stack.projects(), &stack.admin);
    for name in ["dev-project", "123"] {
        let first = serde_json::to_value(projects.get_v1(admin, name).await.unwrap()).unwrap();
        let expected = json!({
            "projectNumber": "123", "projectId": "dev-project", "lifecycleState": "ACTIVE", "name": "dev-project",
            "createTime": "2027-01-15T08:00:00Z", "parent": {"type": "folder", "id": "21"},
        });
        assert_eq!(first, expected);
        let third = serde_json::to_value(projects.get_v3(admin, name).await.unwrap()).unwrap();
        assert_eq!((&third["name"], &third["parent"]), (&json!("projects/123"), &json!("folders/21")));
    }
    let ancestry = serde_json::to_value(projects.ancestry(admin, "123").await.unwrap()).unwrap();
    let expected = json!({"ancestor": [
        {"resourceId": {"type": "project", "id": "dev-project"}},
        {"resourceId": {"type": "folder", "id": "21"}},
        {"resourceId": {"type": "organization", "id": "1"}},
    ]});
    assert_eq!(ancestry, expected);
    assert_eq!(cause(&projects.get_v1(admin, "other").await.unwrap_err()), "NotFound");
    for (parent, found) in [("folders/21", 1), ("organizations/1", 0)] {
        assert_eq!(projects.list_v3(admin, parent).await.unwrap().projects.len(), found, "{parent}");
    }
}

#[tokio::test]
async fn a_filter_lets_the_project_through_or_is_refused() {
    let stack = Stack::new().await;
    #[rustfmt::skip]
    let cases = [
        ("",                                         Some(1)),
        ("id:dev-project",                           Some(1)),
        ("id:dev*",                                  Some(1)),
        ("name=other",                               Some(0)),
        ("lifecycleState:ACTIVE AND parent.id:21",   Some(1)),
        ("parent.type:organization",                 Some(0)),
        ("labels.team:web",                          None),
        ("dev-project",                              None),
    ];
    for (filter, expected) in cases {
        let query = ProjectsQuery {
            filter: Some(filter.to_owned()),
            query: Some(filter.to_owned()),
            ..ProjectsQuery::default()
        };
        let first = stack.projects().list_v1(&stack.admin, &query).await.ok().map(|it| it.projects.len());
        let third = stack.projects().search_v3(&stack.admin, &query).await.ok().map(|it| it.projects.len());
        assert_eq!((first, third), (expected, expected), "{filter}");
    }
}

#[tokio::test]
async fn who_may_not_see_the_project_finds_none() {
    let stack = Stack::new().await;
    let user = stack.holding("user", "roles/iap.httpsResourceAccessor", "projects/123").await;
    let projects = stack.projects();
    assert_eq!(cause(&projects.get_v1(&user, "123").await.unwrap_err()), "Forbidden");
    assert_eq!(cause(&projects.get_v3(&user, "123").await.unwrap_err()), "Forbidden");
    assert_eq!(cause(&projects.ancestry(&user, "123").await.unwrap_err()), "Forbidden");
    assert_eq!(cause(&projects.list_v3(&user, "folders/21").await.unwrap_err()), "Forbidden");
    assert!(projects.list_v1(&user, &ProjectsQuery::default()).await.unwrap().projects.is_empty());
    assert!(projects.search_v3(&user, &ProjectsQuery::default()).await.unwrap().projects.is_empty());
}
