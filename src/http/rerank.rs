//! `POST /v1/rerank`, in Cohere's and Jina's protocol, and `POST /rerank`, in that of Text Embeddings Inference: the
//! configured reranker, without which both answer 404.

use super::extract::{Body, Tags};
use super::limits::tokens_used_up;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use corpus::{EmbedError, Reranker, Waiter};
use gateway::estimate_tokens;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Cohere's request, and Jina's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    model: String,
    query: String,
    documents: Vec<Document>,
    top_n: Option<usize>,
    #[serde(default)]
    return_documents: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Plain(String),
    Object(TextObject),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextObject {
    text: String,
}

impl Document {
    fn into_text(self) -> String {
        match self {
            Self::Plain(text) | Self::Object(TextObject { text }) => text,
        }
    }
}

/// TEI's request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TeiAsked {
    query: String,
    texts: Vec<String>,
    /// Whether texts that are too long may be cut; they are in any case.
    #[serde(default, rename = "truncate")]
    _truncate: bool,
    #[serde(default)]
    raw_scores: bool,
    #[serde(default)]
    return_text: bool,
}

pub(crate) async fn rerank(
    State(app): State<AppState>,
    caller: Caller,
    Tags(tags): Tags,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, ApiError> {
    let reranker = reranker(&app)?;
    let name = &reranker.model().name;
    if asked.model != *name {
        let detail = format!("there is no reranking model {:?}; there is {name:?}", asked.model);
        return Err(ApiError::new(StatusCode::NOT_FOUND, "model_not_found", detail));
    }
    if asked.top_n == Some(0) {
        return Err(ApiError::bad_request("bad_rerank", "top_n must be at least 1"));
    }
    let texts: Vec<String> = asked.documents.into_iter().map(Document::into_text).collect();
    let judged = judge(&app, &caller, tags, reranker, asked.query, texts).await?;
    let result = |(index, score): (usize, f32)| {
        let document = asked.return_documents.then(|| judged.texts.get(index)).flatten();
        match document {
            Some(text) => json!({ "index": index, "relevance_score": score, "document": { "text": text } }),
            None => json!({ "index": index, "relevance_score": score }),
        }
    };
    let results: Vec<Value> = judged.best_first().into_iter().take(asked.top_n.unwrap_or(usize::MAX)).map(result).collect();
    Ok(Json(json!({ "model": asked.model, "results": results })))
}

pub(crate) async fn tei(
    State(app): State<AppState>,
    caller: Caller,
    Tags(tags): Tags,
    Body(asked): Body<TeiAsked>,
) -> Result<Json<Value>, ApiError> {
    let reranker = reranker(&app)?;
    if asked.raw_scores {
        return Err(ApiError::bad_request("bad_rerank", "scores are from 0 to 1; raw_scores can't be had"));
    }
    let judged = judge(&app, &caller, tags, reranker, asked.query, asked.texts).await?;
    let result = |(index, score): (usize, f32)| match asked.return_text.then(|| judged.texts.get(index)).flatten() {
        Some(text) => json!({ "index": index, "score": score, "text": text }),
        None => json!({ "index": index, "score": score }),
    };
    Ok(Json(judged.best_first().into_iter().map(result).collect()))
}

fn reranker(app: &AppState) -> Result<Arc<dyn Reranker>, ApiError> {
    app.reranker.clone().ok_or_else(|| {
        let detail = "no reranking model is configured; see [rerank] of the configuration";
        ApiError::new(StatusCode::NOT_FOUND, "no_reranker", detail)
    })
}

struct Judged {
    texts: Vec<String>,
    scores: Vec<f32>,
}

impl Judged {
    /// Places and scores; equals in their order.
    fn best_first(&self) -> Vec<(usize, f32)> {
        let mut ranked: Vec<(usize, f32)> = self.scores.iter().copied().enumerate().collect();
        ranked.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        ranked
    }
}

async fn judge(
    app: &AppState,
    caller: &Caller,
    tags: Vec<String>,
    by: Arc<dyn Reranker>,
    query: String,
    texts: Vec<String>,
) -> Result<Judged, ApiError> {
    let texts_max = app.config.rerank.as_ref().map_or(0, |rerank| rerank.texts_max);
    if !(1..=texts_max).contains(&texts.len()) {
        return Err(ApiError::bad_request("bad_rerank", format!("there must be 1 to {texts_max} texts")));
    }
    let tokens = texts.iter().map(|text| estimate_tokens(text) + estimate_tokens(&query)).sum();
    let mut reservation = app.limits.reserve(&caller.account(Vec::new()), tokens).await.map_err(tokens_used_up)?;
    // What fails costs nothing.
    reservation.set_used(0);
    let turn = app.admission.answers.enter().await?;
    // Goes with the client, and then the call ends at the provider.
    let waiter = Waiter::default();
    let errand = caller.errand(tags, Some(&waiter));
    let work = app.blocking(move |_| {
        let _turn = turn;
        let scores = by.rerank(&query, &texts.iter().map(String::as_str).collect::<Vec<_>>(), &errand).map_err(failure)?;
        Ok(Judged { texts, scores })
    });
    let judged = work.await?;
    reservation.set_used(tokens);
    Ok(judged)
}

/// As for embeddings, under names of its own.
fn failure(error: EmbedError) -> ApiError {
    let (code, detail) = match &error {
        EmbedError::Busy { .. } => ("rerank_busy", "the reranking model has more to do than it may"),
        EmbedError::Provider { retry_after: Some(_), .. } => ("rerank_unavailable", "the reranking model can't be asked at the moment"),
        EmbedError::Provider { retry_after: None, .. } => ("rerank_failed", "the reranking model does not take the texts"),
        EmbedError::Failed(_) | EmbedError::Closed | EmbedError::OverBudget { .. } | EmbedError::Unwanted => return error.into(),
    };
    ApiError { code, detail: detail.to_owned(), ..error.into() }
}
