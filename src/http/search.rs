//! `POST /v1/collections/{c}/search`.

use super::extract::{Body, Tags};
use super::find;
use super::told;
use super::trace::RequestIds;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::traces::TraceKind;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use corpus::{Account, Errand, Waiter};
use query::{ChunkSource, CollectionSource, InvalidSearch, SearchError, SearchRequest, SearchResponse, SourceError};
use std::sync::Arc;

pub(crate) async fn search(
    State(app): State<AppState>,
    caller: Caller,
    Path(collection): Path<String>,
    Extension(ids): Extension<RequestIds>,
    Tags(tags): Tags,
    Body(mut request): Body<SearchRequest>,
) -> Result<Json<SearchResponse>, ApiError> {
    let turn = app.admission.queries.enter().await?;
    // Goes with the client, and then what a provider is asked ends.
    let waiter = Waiter::default();
    let errand = caller.errand(tags, Some(&waiter));
    let found = app.blocking(move |app| {
        // Held by the work itself: a client that leaves does not end what is computed here.
        let _turn = turn;
        let source = source(app, &caller, &collection, errand)?;
        let is_explained = request.explain;
        request.explain |= app.traces.wants(&ids.trace, TraceKind::Search);
        let mut found = app.engine.search(source.as_ref(), &request, &caller.principals)?;
        told::note_search(app, &caller, ids.trace, &source.errand().account, &request, &found);
        if !is_explained {
            found.explain = None;
            found.hits.iter_mut().for_each(|hit| hit.explain = None);
        }
        Ok(found)
    });
    Ok(Json(found.await?))
}

/// The collection as retrieval sees it, which has texts embedded for this.
pub(crate) fn source(app: &App, caller: &Caller, collection: &str, errand: Errand) -> Result<Arc<CollectionSource>, ApiError> {
    let record = find::collection(app, caller, collection)?;
    record.model.check(app.embedder.model())?;
    let open = app.catalog.open_collection(&record)?;
    let account = Account { collection: Some(record.id.to_string()), ..Account::clone(&errand.account) };
    let errand = Errand { account: Arc::new(account), ..errand };
    Ok(Arc::new(CollectionSource::new(open, Arc::clone(&app.embedder), errand)))
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
