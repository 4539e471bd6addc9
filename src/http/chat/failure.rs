//! What a model's failure is to a client.

use super::super::limits::tokens_used_up;
use crate::error::ApiError;
use axum::http::StatusCode;
use gateway::ChatError;
use std::time::Duration;

impl From<ChatError> for ApiError {
    fn from(error: ChatError) -> Self {
        let cause = Some(error.to_string());
        let of = |status, code, detail: &str| Self { cause: cause.clone(), ..Self::new(status, code, detail) };
        match error {
            // The request's own fault, in the provider's words.
            ChatError::Status { status: status @ (400 | 413 | 422), message, .. } => {
                Self::new(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), "refused_by_model", message)
            }
            ChatError::Status { status: 429, retry_after, .. } => {
                let wait = retry_after.unwrap_or(Duration::from_secs(1));
                Self { cause, ..Self::busy(StatusCode::TOO_MANY_REQUESTS, "model_limited", "the model's provider limits its use", wait) }
            }
            ChatError::Status { status: 401..=404, .. } => of(
                StatusCode::BAD_GATEWAY,
                "model_misconfigured",
                "the model's provider refuses the server's key or address; the log says more",
            ),
            ChatError::Unavailable { retry_after, .. } => {
                let wait = retry_after.unwrap_or(Duration::from_secs(1));
                let detail = "no deployment of the model can be asked at the moment";
                Self { cause, ..Self::busy(StatusCode::SERVICE_UNAVAILABLE, "model_unavailable", detail, wait) }
            }
            ChatError::OverLimit { retry_after } => tokens_used_up(retry_after),
            ChatError::Timeout { .. } => of(StatusCode::GATEWAY_TIMEOUT, "model_timeout", "the model took too long"),
            ChatError::Unsupported { reason } => Self::bad_request("unsupported_by_model", reason),
            ChatError::Connect { .. }
            | ChatError::Status { .. }
            | ChatError::Interrupted { .. }
            | ChatError::Malformed { .. }
            | ChatError::TooLarge { .. } => of(StatusCode::BAD_GATEWAY, "model_failed", "the model's provider failed; the log says more"),
        }
    }
}
