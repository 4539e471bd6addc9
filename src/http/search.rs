//! `POST /v1/collections/{c}/search`.

use super::extract::Body;
use super::find;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use query::{CollectionSource, InvalidSearch, SearchError, SearchRequest, SearchResponse, SourceError};
use std::sync::Arc;

pub(crate) async fn search(
    State(app): State<AppState>,
    caller: Caller,
    Path(collection): Path<String>,
    Body(request): Body<SearchRequest>,
) -> Result<Json<SearchResponse>, ApiError> {
    let turn = app.admission.queries.enter().await?;
    let found = app.blocking(move |app| {
        // Held by the work itself: a client that leaves does not end it.
        let _turn = turn;
        let source = source(app, &caller, &collection)?;
        Ok(app.engine.search(source.as_ref(), &request, &caller.principals)?)
    });
    Ok(Json(found.await?))
}

/// The collection as retrieval sees it.
pub(crate) fn source(app: &App, caller: &Caller, collection: &str) -> Result<Arc<CollectionSource>, ApiError> {
    let record = find::collection(app, caller, collection)?;
    record.model.check(app.embedder.model())?;
    let open = app.catalog.open_collection(&record)?;
    Ok(Arc::new(CollectionSource::new(open, Arc::clone(&app.embedder))))
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Invalid(error) => error.into(),
            SearchError::Embed(error) => error.into(),
            SearchError::Source(error) => error.into(),
        }
    }
}

impl From<InvalidSearch> for ApiError {
    fn from(error: InvalidSearch) -> Self {
        Self::bad_request("bad_search", error.to_string())
    }
}

impl From<SourceError> for ApiError {
    fn from(error: SourceError) -> Self {
        Self::internal(error)
    }
}
