//! Rate limits, behind the gate and before any work: who may ask, and what answers tell of it.
//!
//! Tokens are taken where models are called (`src/limits/tokens.rs`); here is only told what is left of them.

mod headers;

use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::limits::Standing;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::time::Duration;

/// How the routes end that spend tokens.
const SPENDING: [&str; 6] = ["/chat/completions", "/messages", "/embeddings", "/query", "/rerank", "/responses"];

/// Open routes have no caller, and no limit.
pub(super) async fn limit(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let Some(account) = request.extensions().get::<Caller>().map(|caller| caller.account(Vec::new())) else {
        return next.run(request).await;
    };
    let spends_tokens = request.extensions().get::<MatchedPath>().is_some_and(|route| is_spending(route.as_str()));
    let mut standings = app.limits.request(&account).await;
    let mut response = match refusal(&standings) {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    };
    if spends_tokens {
        standings.extend(app.limits.tokens(&account).await);
    }
    headers::tell(response.headers_mut(), &standings);
    response
}

fn is_spending(route: &str) -> bool {
    SPENDING.iter().any(|end| route.ends_with(end))
}

fn refusal(standings: &[Standing]) -> Option<ApiError> {
    let refused = standings.iter().filter(|standing| !standing.decision.allowed);
    let tightest = refused.max_by_key(|standing| standing.decision.retry_after)?;
    metrics::counter!("ragstone_requests_limited_total", "limit" => tightest.policy).increment(1);
    let whose = if tightest.policy.starts_with("key") { "the key" } else { "the tenant" };
    let detail = format!("{whose} has made its {} requests of a minute", tightest.decision.limit);
    Some(limited(&detail, tightest.decision.retry_after.unwrap_or_default()))
}

/// The answer where too few tokens are left for so long.
pub(super) fn tokens_used_up(wait: Duration) -> ApiError {
    metrics::counter!("ragstone_requests_limited_total", "limit" => "tokens").increment(1);
    limited("as many tokens were used as may be in a minute", wait)
}

/// The answer to what is over a limit; the wait in whole seconds, rounded up, so that who keeps it is let in.
fn limited(detail: &str, wait: Duration) -> ApiError {
    ApiError::busy(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail, Duration::from_secs(seconds(wait).max(1)))
}

/// In whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
