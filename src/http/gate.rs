//! The one door to every route: on a server without keys, only this machine's own pages and programs;
//! then what `src/http/scopes.rs` asks for. Handlers get the [`Caller`] that was let in from here and
//! nowhere else, so a handler behind no gate fails instead of serving.

use super::problem::{no_such_method, no_such_route};
use super::scopes::{self, Need};
use crate::app::{App, AppState};
use crate::auth::{Caller, Foreign, check_origin};
use crate::error::ApiError;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use index::Scope;
use std::borrow::Cow;

pub(super) async fn guard(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    if app.keys.is_open()
        && let Err(foreign) = check_origin(request.uri(), request.headers(), &app.config.server.cors_origins)
    {
        return foreign_page(foreign).into_response();
    }
    let route = request.extensions().get::<MatchedPath>().map(|route| route.as_str().to_owned()).unwrap_or_default();
    let Some(need) = scopes::need(request.method(), &route) else {
        return not_served(request.method().clone(), request.uri().clone(), &route).await;
    };
    let admitted = admitted(&app, need, &request);
    match admitted {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(None) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn foreign_page(foreign: Foreign) -> ApiError {
    let (code, detail) = match foreign {
        Foreign::Host => (
            "foreign_host",
            "a server without keys answers only to loopback names (localhost, 127.0.0.1, [::1]); set RAGSTONE_API_KEY to serve others",
        ),
        Foreign::Origin => {
            ("foreign_origin", "a server without keys takes no requests from pages of other hosts; set RAGSTONE_API_KEY to serve others")
        }
    };
    ApiError::new(StatusCode::FORBIDDEN, code, detail)
}

/// The table decides what there is.
async fn not_served(method: Method, uri: Uri, route: &str) -> Response {
    let allow = scopes::allow(route);
    if allow.is_empty() {
        return no_such_route(uri).await.into_response();
    }
    let mut response = no_such_method(method, uri).await.into_response();
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

fn admitted(app: &App, need: Need, request: &Request) -> Result<Option<Caller>, ApiError> {
    if need == Need::Open {
        return Ok(None);
    }
    let caller = app.keys.caller(authorization(request.headers()).as_deref()).ok_or_else(unauthorized)?;
    match need {
        Need::Open => Ok(None),
        Need::OneOf(scopes) if scopes.iter().any(|scope| caller.scopes.contains(scope)) => Ok(Some(caller)),
        Need::OneOf(scopes) => Err(forbidden_scope(&words(scopes.iter()), &caller)),
        Need::Operator if caller.is_operator => Ok(Some(caller)),
        Need::Operator => Err(forbidden_scope("operator", &caller)),
    }
}

/// What the request shows as its key. Anthropic's clients send the bare key in a header of their own.
fn authorization(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bare = || text("x-api-key").map(|key| Cow::Owned(format!("Bearer {key}")));
    text(header::AUTHORIZATION.as_str()).map(Cow::Borrowed).or_else(bare)
}

fn unauthorized() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "send a known key as Authorization: Bearer <key>, or as x-api-key")
}

pub(super) fn forbidden_scope(needed: &str, caller: &Caller) -> ApiError {
    let detail = format!("this needs the scope {needed}; the key has {}", words(caller.scopes.iter()).replace(" or ", ", "));
    ApiError::new(StatusCode::FORBIDDEN, "forbidden_scope", detail)
}

fn words<'s>(scopes: impl Iterator<Item = &'s Scope>) -> String {
    scopes.map(|scope| scope.as_str()).collect::<Vec<_>>().join(" or ")
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().ok_or_else(|| ApiError::internal("the route is open, and its handler asks for a caller"))
    }
}
