//! Version 2: deny policies. The slashes of an attachment are encoded in a path; gcloud encodes them twice.
//!
//! Changes are answered as operations that are done (<https://google.aip.dev/151>).
//!
//! Spec: <https://cloud.google.com/iam/docs/reference/rest/v2/policies>

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::routing::get;
use doorward_control::deny_policies::DenyError;
use doorward_wire::google_api::LongRunningOperation;
use doorward_wire::google_api::iam_deny::{CreatePolicyQuery, DeletePolicyQuery, ListPoliciesResponse, Policy};
use serde_json::json;

use crate::errors::google_api::ApiFailure;
use crate::hosts::{Answer, Asked, Body, Credential, Routes, Services, StrictJson, asked};

/// The id of every operation: each is done when it is answered, so there is nothing to tell them apart by.
const DONE: &str = "done";

pub(super) fn router() -> Routes {
    const POLICIES: &str = "/v2/policies/{attachment}/denypolicies";
    Routes::new()
        .route(POLICIES, get(list).post(create))
        .route(&format!("{POLICIES}/{{policy}}"), get(show).put(update).delete(remove))
        .route(&format!("{POLICIES}/{{policy}}/operations/{DONE}"), get(operation))
}

/// A policy's name, with its attachment encoded once.
fn name(attachment: &str, policy: &str) -> String {
    format!("policies/{}/denypolicies/{policy}", attachment.replace('/', "%2F"))
}

/// `GET …/denypolicies`
async fn list(
    State(services): State<Arc<Services>>,
    Path(attachment): Path<String>,
    credential: Credential,
) -> Answer<ListPoliciesResponse> {
    let admin = services.admin(&credential).await?;
    let policies = services.deny_policies.list(&admin, &attachment.replace('/', "%2F")).await?;
    Ok(Json(ListPoliciesResponse { policies, next_page_token: None }))
}

/// `POST …/denypolicies?policyId=`
async fn create(
    State(services): State<Arc<Services>>,
    Path(attachment): Path<String>,
    credential: Credential,
    query: Asked<CreatePolicyQuery>,
    body: Body,
) -> Answer<LongRunningOperation> {
    let admin = services.admin(&credential).await?;
    let CreatePolicyQuery { policy_id } = asked(query)?;
    let StrictJson(given) = StrictJson::<Policy>::read(&body?)?;
    let attachment = attachment.replace('/', "%2F");
    done(&services.deny_policies.create(&admin, &attachment, &policy_id, given).await?)
}

/// `GET …/denypolicies/ID`
async fn show(
    State(services): State<Arc<Services>>,
    Path((attachment, policy)): Path<(String, String)>,
    credential: Credential,
) -> Answer<Policy> {
    let admin = services.admin(&credential).await?;
    Ok(Json(services.deny_policies.get(&admin, &name(&attachment, &policy)).await?))
}

/// `PUT …/denypolicies/ID`
async fn update(
    State(services): State<Arc<Services>>,
    Path((attachment, policy)): Path<(String, String)>,
    credential: Credential,
    body: Body,
) -> Answer<LongRunningOperation> {
    let admin = services.admin(&credential).await?;
    let StrictJson(given) = StrictJson::<Policy>::read(&body?)?;
    done(&services.deny_policies.update(&admin, &name(&attachment, &policy), given).await?)
}

/// `DELETE …/denypolicies/ID?etag=`
async fn remove(
    State(services): State<Arc<Services>>,
    Path((attachment, policy)): Path<(String, String)>,
    credential: Credential,
    query: Asked<DeletePolicyQuery>,
) -> Answer<LongRunningOperation> {
    let admin = services.admin(&credential).await?;
    let DeletePolicyQuery { etag } = asked(query)?;
    done(&services.deny_policies.delete(&admin, &name(&attachment, &policy), etag.as_deref()).await?)
}

/// `GET …/denypolicies/ID/operations/done`: what was made of the policy, or nothing of one that was removed.
async fn operation(
    State(services): State<Arc<Services>>,
    Path((attachment, policy)): Path<(String, String)>,
    credential: Credential,
) -> Answer<LongRunningOperation> {
    let admin = services.admin(&credential).await?;
    let name = name(&attachment, &policy);
    match services.deny_policies.get(&admin, &name).await {
        Ok(policy) => done(&policy),
        Err(DenyError::NotFound) => finished(&name, "google.protobuf.Empty", &json!({})),
        Err(error) => Err(error.into()),
    }
}

fn done(policy: &Policy) -> Answer<LongRunningOperation> {
    finished(&policy.name, Policy::MESSAGE_KIND, policy)
}

fn finished(policy: &str, kind: &str, response: &impl serde::Serialize) -> Answer<LongRunningOperation> {
    let operation = LongRunningOperation::done(format!("{policy}/operations/{DONE}"), kind, response);
    operation.map(Json).map_err(|error| ApiFailure::internal(&error))
}
