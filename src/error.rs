//! From every error below to one answer: RFC 9457 problem details with a stable `code`, a detail that
//! is safe to show, and the request id. The chain of causes is logged once, by the middleware that
//! renders the answer (`src/http/problem.rs`).

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use corpus::{EmbedError, EmbeddingError, FilterError, ModelMismatch};
use gateway::ChatError;
use index::blobs::BlobError;
use index::store::StoreError;
use index::{CatalogError, CollectionError};
use std::time::Duration;

/// An error as a client sees it.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// Stable snake_case word.
    pub(crate) code: &'static str,
    /// What is wrong and how to mend it.
    pub(crate) detail: String,
    pub(crate) retry_after: Option<Duration>,
    /// For the log only.
    pub(crate) cause: Option<String>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None, cause: None }
    }

    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub(crate) fn not_found(what: &str, name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what} {name:?}"))
    }

    pub(crate) fn internal(cause: impl ToString) -> Self {
        let error =
            Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed; the log has the reason under this request id");
        Self { cause: Some(cause.to_string()), ..error }
    }

    /// For now: the same request may succeed later.
    pub(crate) fn busy(status: StatusCode, code: &'static str, detail: &str, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(status, code, detail) }
    }

    fn caused_by(self, cause: &impl ToString) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<CatalogError> for ApiError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::NotFound { what, name } => Self::not_found(what, &name),
            CatalogError::NameTaken(_) => Self::new(StatusCode::CONFLICT, "name_taken", error.to_string()),
            CatalogError::BadName(_) => Self::bad_request("bad_name", error.to_string()),
            CatalogError::IdempotencyConflict => Self::new(StatusCode::CONFLICT, "idempotency_conflict", error.to_string()),
            CatalogError::Forbidden => Self::new(StatusCode::FORBIDDEN, "forbidden", error.to_string()),
            // Not 429: trying again doesn't help before something is deleted.
            CatalogError::QuotaExceeded { .. } => Self::new(StatusCode::FORBIDDEN, "quota_exceeded", error.to_string()),
            CatalogError::Superseded => Self::new(StatusCode::CONFLICT, "superseded", error.to_string()),
            CatalogError::NestedTooDeep { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "nested_too_deep", error.to_string()),
            CatalogError::TooManyInside { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error.to_string()),
            CatalogError::Blob(BlobError::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull => full(&error),
            CatalogError::Blob(error @ BlobError::Full { .. }) => full(&error),
            CatalogError::Blob(error) => Self::internal(error),
            CatalogError::Collection(error) => error.into(),
            CatalogError::Store(error) => error.into(),
            CatalogError::Record(error) => Self::internal(error),
        }
    }
}

impl From<CollectionError> for ApiError {
    fn from(error: CollectionError) -> Self {
        match error {
            CollectionError::Store(error) => error.into(),
            CollectionError::Vector(error) => Self::bad_request("bad_vector", error.to_string()),
            CollectionError::Stale => {
                Self::busy(StatusCode::SERVICE_UNAVAILABLE, "views_reopening", &error.to_string(), Duration::from_secs(1))
            }
            CollectionError::Text(error) if error.is_disk_full() => full(&error),
            CollectionError::Text(_) | CollectionError::DamagedVector { .. } | CollectionError::Record(_) => Self::internal(error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { .. } => full(&error),
            StoreError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", error.to_string()),
            StoreError::ReadOnly { .. } | StoreError::Closed => Self::busy(
                StatusCode::SERVICE_UNAVAILABLE,
                "store_read_only",
                "the store takes no writes after a failed sync; restart the server once its disk is well",
                Duration::from_secs(30),
            )
            .caused_by(&error),
            error => Self::internal(error),
        }
    }
}

fn full(cause: &impl ToString) -> ApiError {
    ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", "the disk is full; free some space and try again").caused_by(cause)
}

impl From<EmbedError> for ApiError {
    fn from(error: EmbedError) -> Self {
        match error {
            EmbedError::Busy { retry_after } => Self::busy(
                StatusCode::SERVICE_UNAVAILABLE,
                "embedding_busy",
                "more texts wait for the embedding model than its queue takes",
                retry_after,
            ),
            EmbedError::Closed => {
                Self::busy(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "the server is shutting down", Duration::from_secs(5))
            }
            EmbedError::Failed(_) => Self::internal(error),
            // The same words as for a language model.
            EmbedError::OverBudget { shortage, reason, retry_after } => ChatError::OverBudget { shortage, reason, retry_after }.into(),
            // Nobody hears it.
            EmbedError::Unwanted => Self::bad_request("client_left", error.to_string()),
            EmbedError::Provider { ref reason, retry_after: Some(wait) } => {
                Self::busy(StatusCode::SERVICE_UNAVAILABLE, "embedding_unavailable", &error.to_string(), wait).caused_by(reason)
            }
            EmbedError::Provider { ref reason, retry_after: None } => {
                Self::new(StatusCode::BAD_GATEWAY, "embedding_failed", error.to_string()).caused_by(reason)
            }
        }
    }
}

impl From<ModelMismatch> for ApiError {
    fn from(error: ModelMismatch) -> Self {
        Self::new(StatusCode::CONFLICT, "model_mismatch", error.to_string())
    }
}

impl From<EmbeddingError> for ApiError {
    fn from(error: EmbeddingError) -> Self {
        Self::bad_request("bad_vector", error.to_string())
    }
}

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> Self {
        Self::bad_request("bad_filter", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_fails_is_not_our_failure_and_its_words_stay_in_the_log() {
        let wait = Some(Duration::from_secs(5));
        for (retry_after, status) in [(None, StatusCode::BAD_GATEWAY), (wait, StatusCode::SERVICE_UNAVAILABLE)] {
            let error = ApiError::from(EmbedError::Provider { reason: "401: wrong key sk-123".to_owned(), retry_after });
            assert_eq!((error.status, error.retry_after), (status, retry_after));
            assert!(!error.detail.contains("sk-123") && error.cause.is_some_and(|cause| cause.contains("sk-123")));
        }
        let error = ApiError::from(EmbedError::Failed("of the model".to_owned()));
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
