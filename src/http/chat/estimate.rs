//! `POST /v1/usage/estimate`: what a chat would cost at most, before anybody is asked.

use super::model;
use super::wire::Asked;
use crate::app::AppState;
use crate::error::ApiError;
use crate::http::extract::Body;
use axum::Json;
use axum::extract::State;
use gateway::{ChatRequest, Meter, Money, prompt_tokens};
use serde_json::{Value, json};

pub(crate) async fn estimate(State(app): State<AppState>, Body(asked): Body<Asked>) -> Result<Json<Value>, ApiError> {
    let name = asked.model.clone();
    let request = asked.request()?;
    let estimated = app.blocking(move |app| {
        model(app, &name)?;
        let meters = app.spend.meters.get(&name).map_or(&[][..], Vec::as_slice);
        let max_tokens = request.max_tokens.unwrap_or(app.config.llm.max_answer_tokens);
        let deployments: Vec<Value> = meters.iter().map(|meter| of_deployment(meter, &request, max_tokens)).collect();
        let most = meters.iter().map(|meter| most(meter, &request, max_tokens)).collect::<Option<Vec<_>>>();
        Ok(json!({
            "model": name, "max_tokens": max_tokens, "deployments": deployments,
            // Of the dearest; not known as long as one's price isn't.
            "cost_usd_max": most.and_then(|costs| costs.into_iter().max()).map(Money::usd),
            "prices_date": app.spend.prices_date,
        }))
    });
    Ok(Json(estimated.await?))
}

fn most(meter: &Meter, request: &ChatRequest, max_tokens: u32) -> Option<Money> {
    let counted = prompt_tokens(request, &*meter.counter);
    meter.cost(meter.tokens_most(counted), u64::from(max_tokens))
}

fn of_deployment(meter: &Meter, request: &ChatRequest, max_tokens: u32) -> Value {
    json!({
        "deployment": meter.deployment, "model": meter.model,
        "prompt_tokens": prompt_tokens(request, &*meter.counter), "counter": meter.counter.kind(),
        "cost_usd_max": most(meter, request, max_tokens).map(Money::usd),
    })
}
