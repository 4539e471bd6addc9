//! The outermost layer: ids for every request, problem details for every error, a panic included, one
//! log line and the metrics.

use super::browser;
use super::messages::anthropic_body;
use super::trace::RequestIds;
use crate::error::ApiError;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use corpus::TraceId;
use futures::FutureExt;
use serde_json::{Value, json};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};
use tracing::Instrument;

pub(crate) async fn no_such_route(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no_such_route", format!("there is nothing at {}; /openapi.json lists the routes", uri.path()))
}

pub(crate) async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    let detail = format!("{} does not take {method}; the Allow header lists what it takes", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

pub(crate) async fn finish(mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let ids = RequestIds::of(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", %method, path, request_id = ids.request, trace_id = %ids.trace);
    request.extensions_mut().insert(ids.clone());
    let response = unbroken(next.run(request)).instrument(span.clone()).await;
    let response = if path.starts_with("/v1/") { with_trace_id(response, &ids.trace).await } else { response };
    let _in_span = span.enter();
    let mut response = render(response, &ids, &path);
    observe(&method, &route, response.status(), began.elapsed());
    stamp(response.headers_mut(), &ids, &path);
    browser::secure(response.headers_mut(), &path);
    response
}

/// A handler that panics is an error of its request and of nothing else.
async fn unbroken(answer: impl Future<Output = Response>) -> Response {
    let broken = |panic: Box<dyn Any + Send>| ApiError::internal(format!("a handler panicked: {}", words(&*panic))).into_response();
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(broken)
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

/// Every JSON answer carries the trace id: put into the object here, so that no handler can forget it.
async fn with_trace_id(response: Response, trace: &TraceId) -> Response {
    let headers = response.headers();
    let is_json = headers.get(header::CONTENT_TYPE) == Some(&HeaderValue::from_static("application/json"));
    // A download is somebody's file, whatever it holds.
    if !is_json || headers.contains_key(header::CONTENT_DISPOSITION) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(bytes) => bytes,
        Err(error) => return ApiError::internal(error).into_response(),
    };
    let Some(fields) = bytes.strip_prefix(b"{") else { return Response::from_parts(parts, Body::from(bytes)) };
    let separator = if fields.starts_with(b"}") { "" } else { "," };
    let object = [format!("{{\"trace_id\":\"{trace}\"{separator}").as_bytes(), fields].concat();
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(object))
}

/// Turns what a handler or axum refused into problem details.
fn render(mut response: Response, ids: &RequestIds, path: &str) -> Response {
    let status = response.status();
    let error = match response.extensions_mut().remove::<ApiError>() {
        Some(error) => error,
        None if status.is_client_error() || status.is_server_error() => plain_error(status),
        None => return response,
    };
    match &error.cause {
        Some(cause) => tracing::error!(status = status.as_u16(), code = error.code, cause, "request failed"),
        None => tracing::debug!(status = status.as_u16(), code = error.code, detail = error.detail, "request refused"),
    }
    if is_anthropic(path) {
        return answer(response, status, &anthropic_body(&error, &ids.request), "application/json", error.retry_after);
    }
    if is_openai(path) {
        return answer(response, status, &openai_body(&error), "application/json", error.retry_after);
    }
    let problem = json!({
        "type": "about:blank", "title": status.canonical_reason().unwrap_or("Error"), "status": status.as_u16(),
        "detail": error.detail, "instance": path, "code": error.code, "request_id": ids.request, "trace_id": ids.trace,
    });
    answer(response, status, &problem, "application/problem+json", error.retry_after)
}

/// The routes whose clients expect errors in Anthropic's shape.
fn is_anthropic(path: &str) -> bool {
    path == "/v1/messages" || path.starts_with("/v1/messages/")
}

/// The routes whose clients expect errors in OpenAI's shape.
fn is_openai(path: &str) -> bool {
    ["/v1/chat/", "/v1/embeddings", "/v1/models"].iter().any(|prefix| path.starts_with(prefix))
}

/// An error as OpenAI's clients read it.
pub(super) fn openai_body(error: &ApiError) -> Value {
    let kind = match error.status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    json!({ "error": { "message": error.detail, "type": kind, "param": null, "code": error.code } })
}

fn answer(response: Response, status: StatusCode, body: &Value, media_type: &'static str, retry_after: Option<Duration>) -> Response {
    let mut headers = response.headers().clone();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Some(retry_after) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    (status, headers, body.to_string()).into_response()
}

fn plain_error(status: StatusCode) -> ApiError {
    let detail = status.canonical_reason().unwrap_or("the request was refused");
    ApiError::new(status, if status.is_client_error() { "bad_request" } else { "internal" }, detail)
}

fn observe(method: &Method, route: &str, status: StatusCode, time: Duration) {
    // Any word can be a method: only the usual ones get a series of their own.
    let is_usual = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS].contains(method);
    let method = if is_usual { method.as_str() } else { "OTHER" };
    let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.as_str().to_owned())];
    metrics::counter!("ragstone_http_requests_total", &labels).increment(1);
    metrics::histogram!("ragstone_http_request_seconds", "route" => route.to_owned()).record(time.as_secs_f64());
    tracing::info!(status = status.as_u16(), ms = time.as_secs_f64() * 1e3, "answered");
}

fn stamp(headers: &mut HeaderMap, ids: &RequestIds, path: &str) {
    if let Ok(value) = HeaderValue::from_str(&ids.request) {
        if is_anthropic(path) {
            headers.insert("request-id", value.clone());
        }
        headers.insert("x-request-id", value);
    }
    if let Ok(value) = HeaderValue::from_str(ids.trace.as_str()) {
        headers.insert("x-trace-id", value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_panicking_handler_is_a_problem_and_the_next_request_is_served() {
        async fn answer(uri: Uri) -> &'static str {
            assert!(uri.path() != "/v1/breaks", "on purpose");
            "fine"
        }
        let router = Router::new().fallback(answer).layer(axum::middleware::from_fn(finish));
        let get = |path: &str| axum::http::Request::get(path).header("x-request-id", "mine").body(Body::empty()).unwrap();
        let broken = router.clone().oneshot(get("/v1/breaks")).await.unwrap();
        assert_eq!(broken.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(broken.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(broken.into_body(), 4096).await.unwrap();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem["code"].as_str(), problem["request_id"].as_str()), (Some("internal"), Some("mine")));
        assert!(!problem.to_string().contains("purpose"), "the panic's words are for the log");
        let works = router.oneshot(get("/v1/works")).await.unwrap();
        assert_eq!(
            (works.status(), works.headers()[header::CACHE_CONTROL].clone()),
            (StatusCode::OK, HeaderValue::from_static("no-store"))
        );
    }
}
