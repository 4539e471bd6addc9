//! What browsers are told: nothing that is served may run, be framed or be cached, and only the
//! origins that the operator named may read answers.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::time::Duration;
use tower_http::cors::CorsLayer;

/// How long a browser may remember that it was let through.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// Nothing runs, nothing is loaded, nobody frames it.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// Headers of every answer; what a handler set itself stays.
pub(super) fn secure(headers: &mut HeaderMap, path: &str) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(NOTHING));
    if path.starts_with("/v1/") {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
}

/// The layer for these origins; none without any: then a browser lets no other page read an answer.
pub(super) fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    let asked =
        ["anthropic-version", "idempotency-key", "last-event-id", "traceparent", "x-api-key", "x-request-id"].map(HeaderName::from_static);
    let told = ["retry-after", "ratelimit", "ratelimit-policy", "x-request-id", "x-trace-id"].map(HeaderName::from_static);
    Some(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE].into_iter().chain(asked).collect::<Vec<_>>())
            .expose_headers(told)
            .max_age(PREFLIGHT_AGE),
    )
}
