//! `/openapi.json`, the page that shows it at `/docs`, and a greeting at `/`. Everything the page
//! needs comes with the program: nothing is fetched from anywhere else.

use crate::app::AppState;
use axum::Router;
use axum::http::header;
use axum::response::{Html, IntoResponse, Redirect};
use axum::routing::get;

/// The OpenAPI 3.1 document. Written by hand, and compared with the router in the tests.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");
const PAGE: &str = include_str!("docs.html");

pub(crate) fn routes() -> Router<AppState> {
    Router::new()
        .route("/openapi.json", get(async || ([(header::CONTENT_TYPE, "application/json")], OPENAPI)))
        .route("/docs", get(page))
        .route("/", get(async || Redirect::temporary("/docs")))
}

async fn page() -> impl IntoResponse {
    let policy = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(PAGE))
}
