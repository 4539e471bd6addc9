//! The outermost layer: a request id for every request, a place or a 503, problem details for every
//! error, one log line and the metrics.

use crate::app::AppState;
use crate::error::ApiError;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use corpus::TraceId;
use serde_json::json;
use std::time::{Duration, Instant};
use tracing::Instrument;

/// What names one request in answers, logs and traces.
#[derive(Debug, Clone)]
pub(crate) struct RequestIds {
    /// The caller's `X-Request-Id`, or our trace id.
    pub(crate) request: String,
    pub(crate) trace: TraceId,
}

pub(crate) async fn no_such_route(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "no_such_route", format!("there is nothing at {}; /openapi.json lists the routes", uri.path()))
}

pub(crate) async fn no_such_method(method: Method, uri: Uri) -> ApiError {
    let detail = format!("{} does not take {method}; the Allow header lists what it takes", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

pub(crate) async fn finish(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let ids = RequestIds::of(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched".to_owned(), |path| path.as_str().to_owned());
    let traceparent = trace_of_parent(request.headers());
    let span = tracing::info_span!("request", %method, path, request_id = ids.request, trace_id = %ids.trace, parent = traceparent);
    request.extensions_mut().insert(ids.clone());
    let is_probe = matches!(path.as_str(), "/healthz" | "/livez" | "/readyz" | "/metrics");
    // A probe takes no place, so that a busy server still says that it lives.
    let place = if is_probe { Ok(None) } else { app.requests.clone().try_acquire_owned().map(Some) };
    let response = match place {
        Err(_) => too_many().into_response(),
        Ok(place) => {
            let response = next.run(request).instrument(span.clone()).await;
            // An answer that streams keeps its place until it ends.
            response.map(|body| hold(body, place))
        }
    };
    let response = if path.starts_with("/v1/") { with_trace_id(response, &ids.trace).await } else { response };
    let _in_span = span.enter();
    let mut response = render(response, &ids, &path);
    observe(&method, &route, response.status(), began.elapsed());
    stamp(response.headers_mut(), &ids);
    response
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

fn too_many() -> ApiError {
    ApiError::busy(
        StatusCode::SERVICE_UNAVAILABLE,
        "overloaded",
        "the server works on as many requests as it may; try again shortly",
        Duration::from_secs(1),
    )
}

fn hold(body: Body, permit: Option<tokio::sync::OwnedSemaphorePermit>) -> Body {
    use axum::body::HttpBody;
    // A body whose length is known is written at once; only streams keep their permit.
    if body.size_hint().exact().is_some() {
        return body;
    }
    let stream = body.into_data_stream();
    Body::from_stream(futures::StreamExt::inspect(stream, move |_| {
        let _held = &permit;
    }))
}

impl RequestIds {
    fn of(headers: &HeaderMap) -> Self {
        let trace = TraceId::generate();
        let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
        let is_plain = |id: &&str| (1..=128).contains(&id.len()) && id.chars().all(|c| c.is_ascii_graphic());
        Self { request: given.filter(is_plain).unwrap_or(trace.as_str()).to_owned(), trace }
    }
}

/// The trace id of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_of_parent(headers: &HeaderMap) -> Option<&str> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let trace = parts.nth(1)?;
    (trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(trace)
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
    let problem = json!({
        "type": "about:blank", "title": status.canonical_reason().unwrap_or("Error"), "status": status.as_u16(),
        "detail": error.detail, "instance": path, "code": error.code, "request_id": ids.request, "trace_id": ids.trace,
    });
    let mut headers = response.headers().clone();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(retry_after) = error.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    (status, headers, problem.to_string()).into_response()
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

fn stamp(headers: &mut HeaderMap, ids: &RequestIds) {
    if let Ok(value) = HeaderValue::from_str(&ids.request) {
        headers.insert("x-request-id", value);
    }
    if let Ok(value) = HeaderValue::from_str(ids.trace.as_str()) {
        headers.insert("x-trace-id", value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
