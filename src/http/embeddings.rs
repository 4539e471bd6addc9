//! `POST /v1/embeddings`: the configured embedding model, local or remote, in OpenAI's protocol.

use super::extract::{Body, Tags};
use super::limits::tokens_used_up;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corpus::{Purpose, Waiter};
use gateway::estimate_tokens;
use serde::Deserialize;
use serde_json::{Value, json};

/// Texts in one request, as at OpenAI.
const INPUTS_MAX: usize = 2048;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    model: String,
    input: Input,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<usize>,
    /// What the texts are for; models with prefixes embed questions in another way. Not of OpenAI.
    #[serde(default)]
    input_type: InputType,
    #[serde(default, rename = "user")]
    _user: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
}

#[derive(Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum InputType {
    Query,
    #[default]
    Document,
}

pub(crate) async fn create(
    State(app): State<AppState>,
    caller: Caller,
    Tags(tags): Tags,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, ApiError> {
    let model = app.embedder.model();
    if asked.model != model.name {
        let detail = format!("there is no embedding model {:?}; there is {:?}", asked.model, model.name);
        return Err(ApiError::new(StatusCode::NOT_FOUND, "model_not_found", detail));
    }
    if asked.dimensions.is_some_and(|dimensions| dimensions != model.dimension) {
        return Err(ApiError::bad_request("bad_embedding", format!("the model's vectors have {} dimensions", model.dimension)));
    }
    let texts = match asked.input {
        Input::One(text) => vec![text],
        Input::Many(texts) => texts,
    };
    if !(1..=INPUTS_MAX).contains(&texts.len()) || texts.iter().any(String::is_empty) {
        return Err(ApiError::bad_request("bad_embedding", format!("input must be 1 to {INPUTS_MAX} texts that are not empty")));
    }
    let purpose = match asked.input_type {
        InputType::Query => Purpose::Query,
        InputType::Document => Purpose::Document,
    };
    let estimate = texts.iter().map(|text| estimate_tokens(text)).sum();
    let mut reservation = app.limits.reserve(&caller.account(Vec::new()), estimate).await.map_err(tokens_used_up)?;
    let turn = app.admission.queries.enter().await?;
    // Goes with the client, and then what a provider is asked ends.
    let waiter = Waiter::default();
    let errand = caller.errand(tags, Some(&waiter));
    let work = app.blocking(move |app| {
        let _turn = turn;
        Ok(app.embedder.embed(&texts.iter().map(String::as_str).collect::<Vec<_>>(), purpose, &errand)?)
    });
    let embedded = work.await?;
    let tokens: usize = embedded.iter().map(|one| one.tokens).sum();
    reservation.set_used(tokens as u64);
    let data: Vec<Value> = embedded.iter().enumerate().map(|(index, one)| item(index, &one.embedding, asked.encoding_format)).collect();
    Ok(Json(json!({ "object": "list", "model": asked.model, "data": data, "usage": { "prompt_tokens": tokens, "total_tokens": tokens } })))
}

/// Numbers as JSON, or their bytes, little endian, in base64.
fn item(index: usize, vector: &[f32], encoding: Encoding) -> Value {
    let embedding = match encoding {
        Encoding::Float => json!(vector),
        Encoding::Base64 => json!(STANDARD.encode(vector.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())),
    };
    json!({ "object": "embedding", "index": index, "embedding": embedding })
}
