//! `/v1/budgets`: how budgets stand, and those that an operator makes over HTTP.

use super::collections::rfc3339;
use super::extract::Body;
use crate::app::AppState;
use crate::auth::Caller;
use crate::config::BudgetConfig;
use crate::error::ApiError;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use corpus::TenantId;
use gateway::{Budget, BudgetView, LedgerError, Money, Period};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutBody {
    tenant: Option<TenantId>,
    key: Option<String>,
    tag: Option<String>,
    limit_usd: Option<f64>,
    limit_tokens: Option<u64>,
    period: Period,
    thresholds: Option<Vec<f64>>,
}

/// Budgets that may be made over HTTP.
const BUDGETS_MAX: usize = 10_000;
const THRESHOLD: f64 = 0.8;

pub(crate) async fn list(State(app): State<AppState>, caller: Caller) -> Json<Value> {
    let key = caller.account(Vec::new()).key;
    let views = app.spend.ledger.budgets(|budget| may_see(&caller, &key, budget));
    Json(json!({ "data": views.iter().map(view).collect::<Vec<_>>() }))
}

pub(crate) async fn get(State(app): State<AppState>, caller: Caller, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    let key = caller.account(Vec::new()).key;
    let found = app.spend.ledger.budgets(|budget| budget.name == name && may_see(&caller, &key, budget));
    found.first().map(|found| Json(view(found))).ok_or_else(|| ApiError::not_found("budget", &name))
}

fn may_see(caller: &Caller, key: &str, budget: &Budget) -> bool {
    let is_own = budget.tenant.as_ref() == Some(&caller.tenant);
    // Sums of the whole tenant are not for those who see a part of it.
    caller.is_operator || (is_own && (caller.is_unbounded() || budget.key.as_deref() == Some(key)))
}

pub(crate) async fn put(State(app): State<AppState>, Path(name): Path<String>, Body(body): Body<PutBody>) -> Result<Json<Value>, ApiError> {
    let PutBody { tenant, key, tag, limit_usd, limit_tokens, period, thresholds } = body;
    let thresholds = thresholds.unwrap_or_else(|| vec![THRESHOLD]);
    let asked = BudgetConfig { name, tenant, key, tag, limit_usd, limit_tokens, period, thresholds };
    if let Some(fault) = asked.fault() {
        return Err(ApiError::bad_request("bad_budget", fault));
    }
    let known = app.spend.ledger.budgets(|_| true);
    if known.len() >= BUDGETS_MAX && !known.iter().any(|view| view.budget.name == asked.name) {
        let detail = format!("the server has {BUDGETS_MAX} budgets, as many as it takes; delete some");
        return Err(ApiError::new(StatusCode::FORBIDDEN, "quota_exceeded", detail));
    }
    Ok(Json(view(&app.spend.ledger.put_budget(asked.budget()).await?)))
}

pub(crate) async fn delete(State(app): State<AppState>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    app.spend.ledger.delete_budget(&name).await?;
    Ok(Json(json!({ "name": name, "deleted": true })))
}

fn view(view: &BudgetView) -> Value {
    let budget = &view.budget;
    json!({
        "name": budget.name, "tenant": budget.tenant, "key": budget.key, "tag": budget.tag,
        "period": budget.period, "period_ends_at": view.period_end.and_then(rfc3339), "thresholds": budget.thresholds,
        "limit_usd": budget.limit.map(Money::usd), "limit_tokens": budget.limit_tokens,
        "spent_usd": view.spent.money.usd(), "spent_tokens": view.spent.tokens,
        "reserved_usd": view.reserved.money.usd(), "reserved_tokens": view.reserved.tokens,
        "remaining_usd": view.remaining().map(Money::usd), "remaining_tokens": view.remaining_tokens(),
        "configured": view.is_configured,
    })
}

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Configured(_) => Self::new(StatusCode::CONFLICT, "budget_configured", error.to_string()),
            LedgerError::Absent(name) => Self::not_found("budget", &name),
            LedgerError::Books(_) | LedgerError::Thread(_) => Self::internal(error),
        }
    }
}
