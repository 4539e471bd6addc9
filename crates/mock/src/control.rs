//! The mock's own paths, for those who can't call it in Rust.

use crate::body::AnswerBody;
use crate::provider::Provider;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri};
use serde_json::{Value, json};

const CALLS: &str = "/mock/calls";
const SCRIPT: &str = "/mock/script";

/// Whether a request is for the mock itself.
pub(crate) fn is_for(uri: &Uri) -> bool {
    matches!(uri.path(), CALLS | SCRIPT)
}

/// Answers it. These requests are no calls.
pub(crate) fn answer(provider: &Provider, head: &Parts, body: &Bytes) -> Response<AnswerBody> {
    match (&head.method, head.uri.path()) {
        (&Method::GET, CALLS) => json_response(StatusCode::OK, &json!({"total": provider.calls.count(), "calls": provider.calls.calls()})),
        (&Method::DELETE, CALLS) => {
            provider.calls.clear();
            empty()
        }
        (&Method::GET, SCRIPT) => json_response(StatusCode::OK, &json!(provider.script())),
        (&Method::PUT, SCRIPT) => set_script(provider, body),
        _ => json_response(StatusCode::METHOD_NOT_ALLOWED, &json!({"error": "GET and DELETE /mock/calls, GET and PUT /mock/script"})),
    }
}

fn set_script(provider: &Provider, body: &Bytes) -> Response<AnswerBody> {
    match serde_json::from_slice(body) {
        Ok(script) => {
            provider.set_script(script);
            empty()
        }
        Err(error) => json_response(StatusCode::BAD_REQUEST, &json!({"error": format!("no script: {error}")})),
    }
}

fn empty() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::unwatched(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn json_response(status: StatusCode, value: &Value) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::unwatched(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
