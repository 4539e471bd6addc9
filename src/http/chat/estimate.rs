//! `POST /v1/usage/estimate`: what a chat would cost at most, before anybody is asked.

use super::model;
use super::wire::Asked;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::extract::{Body, Tags};
use axum::Json;
use axum::extract::State;
use gateway::{ChatRequest, Family, Meter, Money};
use serde_json::{Value, json};

pub(crate) async fn estimate(
    State(app): State<AppState>,
    caller: Caller,
    Tags(tags): Tags,
    Body(asked): Body<Asked>,
) -> Result<Json<Value>, ApiError> {
    let (name, account) = (asked.model.clone(), caller.account(tags));
    let mut request = asked.request()?;
    let estimated = app.blocking(move |app| {
        model(app, &name)?;
        app.config.guards.chat_params().redact_chat(&mut request);
        let meters = app.spend.meters.get(&name).map_or(&[][..], Vec::as_slice);
        // Calls that a budget covers are limited.
        let limit = request.max_tokens.or_else(|| app.spend.ledger.is_budgeted(&account).then_some(Meter::ANSWER_TOKENS));
        let estimates: Vec<Estimate> = meters.iter().map(|meter| Estimate::of(meter, &request, limit)).collect();
        let most = estimates.iter().map(|estimate| estimate.cost).collect::<Option<Vec<_>>>();
        Ok(json!({
            "model": name, "max_tokens": limit, "deployments": estimates.iter().map(Estimate::view).collect::<Vec<_>>(),
            // Of the dearest; not known as long as one's isn't.
            "cost_usd_max": most.and_then(|costs| costs.into_iter().max()).map(Money::usd),
            "prices_date": app.spend.prices_date,
        }))
    });
    Ok(Json(estimated.await?))
}

struct Estimate<'m> {
    meter: &'m Meter,
    prompt_tokens: u64,
    /// `None`: nobody knows the price, or how long an answer may be.
    cost: Option<Money>,
}

impl<'m> Estimate<'m> {
    fn of(meter: &'m Meter, request: &ChatRequest, limit: Option<u32>) -> Self {
        let prompt_tokens = meter.prompt_tokens(request);
        let answer = limit.or(Family::of(&meter.model).answer);
        let cost = answer.and_then(|answer| meter.cost(meter.tokens_most(prompt_tokens), u64::from(answer)));
        Self { meter, prompt_tokens, cost }
    }

    fn view(&self) -> Value {
        let Self { meter, prompt_tokens, cost } = self;
        json!({
            "deployment": meter.deployment, "model": meter.model, "prompt_tokens": prompt_tokens,
            "counter": meter.counter.kind(), "cost_usd_max": cost.map(Money::usd),
        })
    }
}
