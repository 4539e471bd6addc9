//! Typed input: bodies and query strings, each refused with a clear 4xx.

use super::collections::hex;
use crate::app::AppState;
use crate::error::ApiError;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// Items of a page unless the caller says otherwise, and at most.
const PAGE_DEFAULT: usize = 50;
const PAGE_MAX: usize = 1000;

/// A JSON body; unknown fields are refused by the types themselves.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<AppState> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(is_json);
        if !is_json {
            let detail = "the body must be JSON with Content-Type: application/json";
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "json_expected", detail));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| body_error(&rejection))?;
        // A list would be taken for an object's fields in their order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(ApiError::bad_request("bad_body", "the body must be a JSON object"));
        }
        // Plainly first: axum's way notes for every element where it stands, to say where an error is.
        if let Ok(value) = serde_json::from_slice(&bytes) {
            return Ok(Self(value));
        }
        match axum::Json::from_bytes(&bytes) {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::bad_request("bad_body", rejection.body_text())),
        }
    }
}

/// `application/json`, or a type that says it is JSON (`…+json`), whatever its parameters.
fn is_json(content_type: &HeaderValue) -> bool {
    let media_type = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

fn body_error(rejection: &BytesRejection) -> ApiError {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", rejection.body_text()),
        _ => ApiError::bad_request("bad_body", rejection.body_text()),
    }
}

/// A query string.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::bad_request("bad_parameter", rejection.body_text())),
        }
    }
}

/// The caller's idempotency key, if there is one.
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl FromRequestParts<AppState> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get("idempotency-key") else { return Ok(Self(None)) };
        match value.to_str() {
            Ok(key) if (1..=255).contains(&key.len()) => Ok(Self(Some(key.to_owned()))),
            _ => Err(ApiError::bad_request("bad_idempotency_key", "Idempotency-Key must have 1 to 255 ASCII characters")),
        }
    }
}

/// Tags of a request, and bytes of a tag.
const TAGS_MAX: usize = 16;
const TAG_BYTES_MAX: usize = 64;

/// What `X-Ragstone-Tags: a,b` books a call under.
pub(crate) struct Tags(pub(crate) Vec<String>);

impl FromRequestParts<AppState> for Tags {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        let bad = || {
            ApiError::bad_request(
                "bad_tags",
                format!("X-Ragstone-Tags takes {TAGS_MAX} tags of {TAG_BYTES_MAX} bytes each, with commas between them"),
            )
        };
        let Some(value) = parts.headers.get("x-ragstone-tags") else { return Ok(Self(Vec::new())) };
        let text = std::str::from_utf8(value.as_bytes()).map_err(|_| bad())?;
        let tags: Vec<String> = text.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect();
        let are_short = tags.iter().all(|tag| tag.len() <= TAG_BYTES_MAX);
        if tags.len() <= TAGS_MAX && are_short { Ok(Self(tags)) } else { Err(bad()) }
    }
}

/// What makes two POSTs to a route the same request: the body as it was understood.
pub(crate) fn request_hash(route: &str, body: &impl std::fmt::Debug) -> String {
    hex(&Sha256::digest(format!("POST {route} {body:?}")))
}

/// `?cursor=…&limit=…` of every list.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageParams {
    pub(crate) cursor: Option<String>,
    pub(crate) limit: Option<usize>,
}

impl PageParams {
    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        match self.limit {
            None => Ok(PAGE_DEFAULT),
            Some(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
            Some(_) => Err(ApiError::bad_request("bad_parameter", format!("limit must be 1 to {PAGE_MAX}"))),
        }
    }

    /// The cursor as the id it is made of.
    pub(crate) fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, ApiError> {
        let parse = |cursor: &String| {
            cursor.parse().map_err(|_| ApiError::bad_request("bad_cursor", "the cursor must be a next_cursor of an earlier answer"))
        };
        self.cursor.as_ref().map(parse).transpose()
    }
}
