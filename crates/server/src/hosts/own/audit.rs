//! The record, in the form of Cloud Audit Logs; whether it is as it was written; and how its sinks are.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use doorward_control::admin::{Admin, AdminError, Method};
use doorward_core::audit::{ChainError, ChainLink, verify_chain};
use doorward_core::policy::Permission;
use doorward_core::resource::Resource;
use doorward_core::store::{AuditStore, StoreError};
use doorward_wire::doorward_api::{
    AuditPoint, AuditSinkStatus, BrokenChain, ListAuditEntriesResponse, ListAuditSinksResponse, VerifyAuditResponse,
};
use serde::Deserialize;

use super::{EVENTS_LIMIT, LONGEST_WAIT};
use crate::audit_sinks::{SinkStatus, entry};
use crate::errors::google_api::ApiFailure;
use crate::hosts::{Answer, Asked, Credential, Routes, Services, asked};

/// Events that are checked at once.
const PAGE: u32 = 1000;

const OURS: &str = "doorward";
/// Showing the record in our own form.
pub(super) const EVENTS: Method = Method::look(OURS, "doorward.v1.AuditEvents.ListEvents");
const ENTRIES: Method = Method::look(OURS, "doorward.v1.AuditEvents.ListEntries");
const VERIFY: Method = Method::look(OURS, "doorward.v1.AuditEvents.VerifyChain");
const SINKS: Method = Method::look(OURS, "doorward.v1.AuditEvents.ListSinks");

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/doorward/v1/auditEntries", get(list))
        .route("/doorward/v1/auditEntries:verify", get(verify))
        .route("/doorward/v1/auditSinks", get(sinks))
}

/// Proves that somebody may read the record. A refusal is recorded.
pub(super) async fn enter(services: &Services, admin: &Admin, method: Method) -> Result<(), AdminError> {
    let project = Resource::Project.name(&services.snapshots.current().project);
    let mut call = services.changes.begin(admin, method, &project)?;
    let permitted = call.demand(Permission::ListAuditEvents, &Resource::Project);
    call.finish(permitted.map(|_| ())).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListQuery {
    after: Option<i64>,
    wait: Option<u64>,
    limit: Option<u32>,
}

/// `GET /doorward/v1/auditEntries?after=&wait=&limit=`: the newest, or what came after event `after`, which is waited for as for
/// `/decisions`.
async fn list(
    State(services): State<Arc<Services>>,
    credential: Credential,
    query: Asked<ListQuery>,
) -> Answer<ListAuditEntriesResponse> {
    let admin = services.admin(&credential).await?;
    let ListQuery { after, wait, limit } = asked(query)?;
    enter(&services, &admin, ENTRIES).await?;
    let limit = limit.unwrap_or(100).clamp(1, EVENTS_LIMIT);
    let events = match after {
        Some(after) => {
            let patience = Duration::from_secs(wait.unwrap_or_default().min(LONGEST_WAIT));
            services.audit.after(after, limit, patience).await
        }
        None => services.audit.latest(limit).await,
    };
    let events = events.map_err(unreadable)?;
    let next = events.last().map_or(after.unwrap_or_default(), |event| event.sequence);
    let project = &services.snapshots.current().project;
    let entries = events.iter().filter_map(|event| entry(event, project)).collect();
    Ok(Json(ListAuditEntriesResponse { entries, next }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VerifyQuery {
    at: Option<i64>,
}

/// `GET /doorward/v1/auditEntries:verify?at=`: reads the whole record, which takes some seconds for a million events. `at` asks for the
/// hash of one of them besides.
async fn verify(
    State(services): State<Arc<Services>>,
    credential: Credential,
    query: Asked<VerifyQuery>,
) -> Answer<VerifyAuditResponse> {
    let admin = services.admin(&credential).await?;
    let VerifyQuery { at } = asked(query)?;
    enter(&services, &admin, VERIFY).await?;
    Ok(Json(verified(&*services.audit_store, at).await.map_err(unreadable)?))
}

/// `GET /doorward/v1/auditSinks`
async fn sinks(State(services): State<Arc<Services>>, credential: Credential) -> Answer<ListAuditSinksResponse> {
    let admin = services.admin(&credential).await?;
    enter(&services, &admin, SINKS).await?;
    let running = services.sinks.lock().await;
    let sinks = match &*running {
        Some(sinks) => sinks.status().await.map_err(unreadable)?,
        None => Vec::new(),
    };
    Ok(Json(ListAuditSinksResponse { sinks: sinks.into_iter().map(shown).collect() }))
}

fn shown(status: SinkStatus) -> AuditSinkStatus {
    let SinkStatus { name, kind, sequence, behind, failing_since, error, lost, rejected } = status;
    AuditSinkStatus { name, kind: kind.to_owned(), sequence, behind, failing_since, error, lost, rejected }
}

/// Checks the chain of events from the oldest that is kept to the newest.
async fn verified(store: &dyn AuditStore, at: Option<i64>) -> Result<VerifyAuditResponse, StoreError> {
    let mut start = store.chain_start().await?;
    let mut end = start.clone();
    let mut asked = None;
    loop {
        if Some(end.sequence) == at {
            asked = Some(point(&end));
        }
        let page = store.raw_events_after(end.sequence, PAGE).await?;
        if page.is_empty() {
            return Ok(VerifyAuditResponse { at: asked, ..answer(&start, end, None) });
        }
        // Event by event, so that the end is the last that is right.
        for event in page {
            let found = event.0;
            match verify_chain(end.clone(), [event]) {
                Ok(next) => {
                    end = next;
                    if Some(end.sequence) == at {
                        asked = Some(point(&end));
                    }
                }
                Err(error) => {
                    let now = store.chain_start().await?;
                    if now.sequence > end.sequence {
                        // The retention went by while this was reading.
                        (start, end) = (now.clone(), now);
                        break;
                    }
                    return Ok(VerifyAuditResponse { at: asked, ..answer(&start, end, Some((found, error))) });
                }
            }
        }
    }
}

fn answer(start: &ChainLink, end: ChainLink, broken: Option<(i64, ChainError)>) -> VerifyAuditResponse {
    VerifyAuditResponse {
        after: start.sequence,
        sequence: end.sequence,
        hash: end.hash,
        broken: broken.map(|(sequence, error)| BrokenChain { sequence, problem: error.to_string() }),
        at: None,
    }
}

fn point(link: &ChainLink) -> AuditPoint {
    AuditPoint { sequence: link.sequence, hash: link.hash.clone() }
}

fn unreadable(error: StoreError) -> ApiFailure {
    ApiFailure::internal(&error)
}
