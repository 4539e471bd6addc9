//! `GET /v1/usage`: what was used and what that cost, added up by what the caller asks for.

use super::extract::Params;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use gateway::{Dimension, Grouped, Grouping, UsageCounts, UsageFilter, UsageKey};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::{Date, Month, OffsetDateTime};

/// Days that one request looks at.
const DAYS_MAX: i64 = 366;
/// Rows of one answer.
const ROWS_MAX: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageParams {
    from: Option<String>,
    to: Option<String>,
    group_by: Option<String>,
    tenant: Option<String>,
    key: Option<String>,
    model: Option<String>,
    deployment: Option<String>,
    collection: Option<String>,
    tag: Option<String>,
}

pub(crate) async fn get(State(app): State<AppState>, caller: Caller, Params(params): Params<UsageParams>) -> Result<Json<Value>, ApiError> {
    let asked = Asked::of(params, &caller)?;
    app.spend.ledger.flush().await.map_err(ApiError::internal)?;
    Ok(Json(app.blocking(move |app| asked.answer(app)).await?))
}

/// What is asked for, checked.
struct Asked {
    days: Vec<String>,
    dimensions: Vec<Dimension>,
    /// `None`: every tenant.
    tenant: Option<String>,
    filter: UsageFilter,
}

impl Asked {
    fn of(params: UsageParams, caller: &Caller) -> Result<Self, ApiError> {
        let UsageParams { from, to, group_by, tenant, key, model, deployment, collection, tag } = params;
        let names = group_by.as_deref().unwrap_or_default().split(',').filter(|name| !name.is_empty());
        let dimensions = names.map(dimension).collect::<Result<_, _>>()?;
        let (tenant, key) = (tenant_of(tenant, caller)?, key_of(key, caller)?);
        let filter = UsageFilter { key, model, deployment, collection, tag };
        Ok(Self { days: days(from.as_deref(), to.as_deref())?, dimensions, tenant, filter })
    }

    fn answer(&self, app: &App) -> Result<Value, ApiError> {
        let mut grouping = Grouping::new(&self.dimensions, &self.filter, ROWS_MAX);
        for day in &self.days {
            let take = |key: UsageKey, counts: UsageCounts| grouping.add(day, &key, &counts);
            if app.spend.ledger.each_usage(day, self.tenant.as_deref(), take).map_err(ApiError::internal)?.is_break() {
                let detail = format!("that are more than {ROWS_MAX} rows; ask for fewer days, or with a filter");
                return Err(ApiError::bad_request("too_many_rows", detail));
            }
        }
        Ok(self.view(&grouping.grouped()))
    }

    fn view(&self, grouped: &Grouped) -> Value {
        let name = |dimension: &Dimension| json!(dimension).as_str().unwrap_or_default().to_owned();
        let row = |values: &Vec<Option<String>>, sums: &UsageCounts| {
            let mut fields: Map<String, Value> = self.dimensions.iter().map(name).zip(values.iter().map(|value| json!(value))).collect();
            fields.extend(counts(sums));
            Value::Object(fields)
        };
        let data: Vec<Value> =
            grouped.rows.iter().filter(|_| !self.dimensions.is_empty()).map(|(values, sums)| row(values, sums)).collect();
        json!({
            "from": self.days.first(), "to": self.days.last(), "group_by": self.dimensions,
            "data": data, "total": Value::Object(counts(&grouped.total)),
        })
    }
}

/// A cost of which nothing is known is null, never 0.
fn counts(sums: &UsageCounts) -> Map<String, Value> {
    let is_known = sums.requests == 0 || sums.unpriced_requests < sums.requests;
    let fields = json!({
        "requests": sums.requests, "prompt_tokens": sums.prompt_tokens, "completion_tokens": sums.completion_tokens,
        "cost_usd": is_known.then(|| sums.cost.usd()), "unpriced_requests": sums.unpriced_requests, "abandoned": sums.abandoned,
    });
    if let Value::Object(fields) = fields { fields } else { Map::new() }
}

fn dimension(name: &str) -> Result<Dimension, ApiError> {
    serde_json::from_value(json!(name)).map_err(|_| {
        let detail = "group_by takes tenant, key, model, deployment, collection, tag, day and month, with commas between them";
        ApiError::bad_request("bad_parameter", detail)
    })
}

/// An operator sees all tenants, everybody else the own one.
fn tenant_of(asked: Option<String>, caller: &Caller) -> Result<Option<String>, ApiError> {
    match asked {
        asked if caller.is_operator => Ok(asked),
        Some(other) if other != caller.tenant.as_str() => Err(foreign("the usage of other tenants is for the scope operator")),
        _ => Ok(Some(caller.tenant.to_string())),
    }
}

/// Sums of the whole tenant are not for those who see a part of it.
fn key_of(asked: Option<String>, caller: &Caller) -> Result<Option<String>, ApiError> {
    let own = caller.account(Vec::new()).key;
    match asked {
        asked if caller.is_unbounded() => Ok(asked),
        Some(other) if other != own => Err(foreign("a key with bounds sees its own usage only")),
        _ => Ok(Some(own)),
    }
}

fn foreign(detail: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "forbidden_scope", detail)
}

/// The days from one to the other; absent: from the first of this month to this day, by UTC.
fn days(from: Option<&str>, to: Option<&str>) -> Result<Vec<String>, ApiError> {
    let today = OffsetDateTime::now_utc().date();
    let to = to.map_or(Ok(today), day)?;
    let from = match from {
        Some(from) => day(from)?,
        None => to.replace_day(1).map_err(ApiError::internal)?,
    };
    let count = (to - from).whole_days() + 1;
    if !(1..=DAYS_MAX).contains(&count) {
        return Err(ApiError::bad_request("bad_parameter", format!("from must not be after to, nor {DAYS_MAX} days before it")));
    }
    let all = std::iter::successors(Some(from), |day| day.next_day().filter(|next| *next <= to));
    Ok(all.map(label).collect())
}

fn label(day: Date) -> String {
    format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())
}

fn day(text: &str) -> Result<Date, ApiError> {
    let parse = || {
        let mut parts = text.split('-').map(str::parse::<u16>);
        let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
        let date = Date::from_calendar_date(year.into(), month, u8::try_from(day).ok()?).ok()?;
        // Only as it would be written.
        (label(date) == text).then_some(date)
    };
    parse().ok_or_else(|| ApiError::bad_request("bad_parameter", "from and to are days such as 2026-01-31"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_the_ends_of_months() {
        let found = days(Some("2026-02-27"), Some("2026-03-01")).unwrap();
        assert_eq!(found, ["2026-02-27", "2026-02-28", "2026-03-01"]);
        assert_eq!(days(None, Some("2026-03-02")).unwrap(), ["2026-03-01", "2026-03-02"]);
        for (from, to) in [("2026-03-02", "2026-03-01"), ("2024-01-01", "2026-01-01"), ("2026-2-1", "2026-02-02"), ("x", "2026-02-02")] {
            assert_eq!(days(Some(from), Some(to)).unwrap_err().code, "bad_parameter", "{from} {to}");
        }
    }
}
