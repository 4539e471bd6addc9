//! `GET /v1/models`: what can be asked for by name, in OpenAI's protocol.

use crate::app::AppState;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

pub(crate) async fn list(State(app): State<AppState>) -> Json<Value> {
    Json(json!({ "object": "list", "data": names(&app).map(model).collect::<Vec<_>>() }))
}

pub(crate) async fn get(State(app): State<AppState>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let known = names(&app).find(|known| *known == name).map(model);
    known.map(Json).ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "model_not_found", format!("there is no model {name:?}")))
}

/// Language models, and the model that embeds.
fn names(app: &AppState) -> impl Iterator<Item = &str> {
    app.engine.models().names().chain([app.embedder.model().name.as_str()])
}

fn model(name: &str) -> Value {
    json!({ "id": name, "object": "model", "created": 0, "owned_by": "ragstone" })
}
