//! Answers to *why*, to *who can* and *what can*, and to what a proposed file would change.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::routing::post;
use doorward_wire::doorward_api::{
    ExplainRequest, ExplainResponse, SimulateRequest, SimulateResponse, WhatCanRequest, WhatCanResponse, WhoCanRequest,
    WhoCanResponse,
};

use super::world::with_file;
use crate::hosts::{Answer, Body, Credential, Routes, Services, StrictJson};

pub(super) fn router() -> Routes {
    Routes::new()
        .route("/doorward/v1:explain", post(explain))
        .route("/doorward/v1:whoCan", post(who_can))
        .route("/doorward/v1:whatCan", post(what_can))
        .route("/doorward/v1:simulate", post(simulate))
}

/// `POST /doorward/v1:explain`
async fn explain(State(services): State<Arc<Services>>, credential: Credential, body: Body) -> Answer<ExplainResponse> {
    let admin = services.admin(&credential).await?;
    let StrictJson(request) = StrictJson::<ExplainRequest>::read(&body?)?;
    Ok(Json(services.explanations.explain(&admin, request).await?))
}

/// `POST /doorward/v1:whoCan`
async fn who_can(State(services): State<Arc<Services>>, credential: Credential, body: Body) -> Answer<WhoCanResponse> {
    let admin = services.admin(&credential).await?;
    let StrictJson(request) = StrictJson::<WhoCanRequest>::read(&body?)?;
    Ok(Json(services.explanations.who_can(&admin, request).await?))
}

/// `POST /doorward/v1:whatCan`
async fn what_can(
    State(services): State<Arc<Services>>,
    credential: Credential,
    body: Body,
) -> Answer<WhatCanResponse> {
    let admin = services.admin(&credential).await?;
    let StrictJson(request) = StrictJson::<WhatCanRequest>::read(&body?)?;
    Ok(Json(services.explanations.what_can(&admin, request).await?))
}

/// `POST /doorward/v1:simulate`
async fn simulate(
    State(services): State<Arc<Services>>,
    credential: Credential,
    request: Request,
) -> Answer<SimulateResponse> {
    let admin = services.admin(&credential).await?;
    let limit = services.simulations.longest_file(&admin).await?;
    let StrictJson(request) = StrictJson::<SimulateRequest>::read(&with_file(request, limit).await?)?;
    Ok(Json(services.simulations.simulate(&admin, request).await?))
}
