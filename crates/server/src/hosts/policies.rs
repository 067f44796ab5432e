//! The three calls about the policy of a resource, which are the same at every service whose resources have one.
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/getIamPolicy>

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts as _, Query, Request};
use axum::response::{IntoResponse as _, Response};
use doorward_wire::google_api::{
    GetIamPolicyQuery, GetIamPolicyRequest, Policy, SetIamPolicyRequest, TestIamPermissionsRequest,
    TestIamPermissionsResponse,
};

use super::{Answer, Asked, Body, Credential, Services, StrictJson, asked};
use crate::errors::google_api::ApiFailure;

/// What comes with a call about a policy. Nothing of it is proven or judged.
pub(super) struct Sent {
    pub(super) credential: Credential,
    query: Asked<GetIamPolicyQuery>,
    pub(super) body: Body,
}

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = ApiFailure;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiFailure> {
        let (mut parts, body) = request.into_parts();
        let credential = Credential::from_request_parts(&mut parts, state).await?;
        let query = Query::try_from_uri(&parts.uri);
        let body = Bytes::from_request(Request::from_parts(parts, body), state).await;
        Ok(Sent { credential, query, body })
    }
}

/// `POST …/RESOURCE:METHOD`, for the methods that are about a policy.
pub(super) async fn call(services: &Services, resource: &str, method: &str, sent: Sent) -> Response {
    match method {
        "getIamPolicy" => get(services, resource, sent).await.into_response(),
        "setIamPolicy" => set(services, resource, sent).await.into_response(),
        "testIamPermissions" => test(services, resource, sent).await.into_response(),
        _ => ApiFailure::no_such_method().into_response(),
    }
}

async fn get(services: &Services, resource: &str, sent: Sent) -> Answer<Policy> {
    let admin = services.admin(&sent.credential).await?;
    let query = asked(sent.query)?;
    let StrictJson(request) = StrictJson::<GetIamPolicyRequest>::read(&sent.body?)?;
    let version = request.requested_policy_version(&query);
    Ok(Json(services.policies.get(&admin, resource, version).await?))
}

async fn set(services: &Services, resource: &str, sent: Sent) -> Answer<Policy> {
    let admin = services.admin(&sent.credential).await?;
    let StrictJson(request) = StrictJson::<SetIamPolicyRequest>::read(&sent.body?)?;
    Ok(Json(services.policies.replace(&admin, resource, request).await?))
}

async fn test(services: &Services, resource: &str, sent: Sent) -> Answer<TestIamPermissionsResponse> {
    let admin = services.admin(&sent.credential).await?;
    let StrictJson(request) = StrictJson::<TestIamPermissionsRequest>::read(&sent.body?)?;
    let permissions = services.policies.test_permissions(&admin, resource, &request.permissions).await?;
    Ok(Json(TestIamPermissionsResponse { permissions }))
}
