//! Language models from their configuration: a client for each deployment, what stands around it, and the ladders.

use super::calls::{breaker, retry};
use super::spend::Meters;
use crate::batches::BatchClients;
use crate::config::{BalanceConfig, DeploymentConfig, DeploymentKeys, LlmConfig, PLAIN, PreferenceConfig, Provider};
use anyhow::Context;
use gateway::{
    AnthropicChat, ApiKey, Balance, BatchClient, Breaker, ChatConfig, ChatModel, Chooser, Concurrency, Deadline, Dialect, Group, Hedge,
    Ladder, Ledger, Measured, Member, Metered, Models, OpenAiChat, Preference, Rate, RateParams, Rest, RetryBudget, Timeouts,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a call waits for a place at its deployment.
const PATIENCE: Duration = Duration::from_secs(2);

type Deployments = BTreeMap<String, (u32, Arc<dyn ChatModel>)>;

/// Every model that can be asked for; the one that answers questions is the default.
pub(super) fn models(
    config: &LlmConfig,
    plain_key: Option<String>,
    keys: &DeploymentKeys,
    ledger: &Arc<Ledger>,
    meters: &Meters,
) -> anyhow::Result<Models> {
    let budget = Arc::new(RetryBudget::new(config.retry.share));
    let (mut deployments, mut models) = (Deployments::new(), Models::none());
    for one in config.all_deployments() {
        let key = if one.name == PLAIN { plain_key.clone() } else { keys.get(&one.name).cloned() };
        let client = client(config, &one, key).with_context(|| format!("llm.deployments.{}: can't set up the model", one.name))?;
        // Counts what is really asked of the provider, and nothing that we refuse ourselves.
        let measured = Arc::new(Measured::new(client, one.provider.telemetry_name(), &one.name));
        // Inside of everything that refuses, so that nothing is reserved for calls that are not made.
        let metered: Arc<dyn ChatModel> = match meters.get(&one.name) {
            Some(meter) => Arc::new(Metered::new(measured, meter.clone(), Arc::clone(ledger))),
            None => measured,
        };
        let (model, breaker) = deployment(config, &one, metered);
        deployments.insert(one.name.clone(), (one.weight, model));
        models.watch(&one.name, breaker);
    }
    if let Some(name) = &config.model {
        let groups = vec![group(&deployments, &[PLAIN.to_owned()], BalanceConfig::Weighted)];
        models.add(around(config, Ladder::new(name, groups, retry(&config.retry), Arc::clone(&budget)), None));
    }
    for model in &config.models {
        let groups = model.ladder.iter().map(|names| group(&deployments, names, model.balance)).collect();
        models.add(around(config, Ladder::new(&model.name, groups, retry(&config.retry), Arc::clone(&budget)), model.hedge_after_ms));
    }
    for choice in &config.choices {
        let [Some(simple), Some(moderate), Some(complex)] =
            [&choice.simple, &choice.moderate, &choice.complex].map(|name| models.get(Some(name)).cloned())
        else {
            continue;
        };
        let preference = match choice.prefer {
            PreferenceConfig::Cost => Preference::Cost,
            PreferenceConfig::Speed => Preference::Speed,
            PreferenceConfig::Quality => Preference::Quality,
        };
        models.add(Arc::new(Chooser::new(&choice.name, [simple, moderate, complex], preference)));
    }
    if let Some(name) = &config.answers {
        models.set_default(name);
    }
    Ok(models)
}

/// What stands around a client, innermost first; and the breaker.
fn deployment(config: &LlmConfig, one: &DeploymentConfig, client: Arc<dyn ChatModel>) -> (Arc<dyn ChatModel>, Arc<Breaker>) {
    // Sees what the provider does and nothing else, so that our own refusals don't count.
    let breaker = Arc::new(Breaker::new(client, breaker(&config.breaker)));
    // Heeds what the provider asks for, whether or not the breaker counts it.
    let rest = Arc::new(Rest::new(Arc::clone(&breaker) as Arc<dyn ChatModel>));
    // Places only for calls that are really made.
    let places = Arc::new(Concurrency::new(rest, one.concurrent_max, PATIENCE));
    let rates = RateParams { requests_per_minute: one.requests_per_minute, tokens_per_minute: one.tokens_per_minute };
    // Outermost: what it grants can't be given back.
    let model: Arc<dyn ChatModel> = if rates == RateParams::default() { places } else { Arc::new(Rate::new(places, rates)) };
    (model, breaker)
}

fn client(config: &LlmConfig, one: &DeploymentConfig, key: Option<String>) -> anyhow::Result<Arc<dyn ChatModel>> {
    let chat = chat_config(config, one, key);
    Ok(if one.provider == Provider::Anthropic { Arc::new(AnthropicChat::new(chat)?) } else { Arc::new(OpenAiChat::new(chat)?) })
}

/// Batch interfaces of the deployments that may have one, and for each model the first of its ladder.
pub(super) fn batch_clients(config: &LlmConfig, plain_key: Option<&str>, keys: &DeploymentKeys) -> anyhow::Result<BatchClients> {
    let mut clients = BatchClients::default();
    for one in config.all_deployments().filter(|one| has_batches(one.provider)) {
        let key = if one.name == PLAIN { plain_key.map(str::to_owned) } else { keys.get(&one.name).cloned() };
        let client = BatchClient::new(chat_config(config, &one, key));
        let client = client.with_context(|| format!("llm.deployments.{}: can't set up its batches", one.name))?;
        clients.by_deployment.insert(one.name.clone(), Arc::new(client));
    }
    let plain = config.model.iter().map(|model| (model, vec![PLAIN.to_owned()]));
    let named = config.models.iter().map(|model| (&model.name, model.ladder.concat()));
    for (model, ladder) in plain.chain(named) {
        if let Some(first) = ladder.into_iter().find(|name| clients.by_deployment.contains_key(name)) {
            clients.of_model.insert(model.clone(), first);
        }
    }
    Ok(clients)
}

/// OpenAI's, and those that have the same. Of a server that only speaks the protocol it is not known; it says so itself.
fn has_batches(provider: Provider) -> bool {
    matches!(provider, Provider::Openai | Provider::Azure | Provider::Qwen | Provider::Compatible)
}

fn chat_config(config: &LlmConfig, one: &DeploymentConfig, key: Option<String>) -> ChatConfig {
    let base_url = one.base_url.as_deref().or(one.provider.base_url()).unwrap_or_default();
    let is_openai = matches!(one.provider, Provider::Openai | Provider::Azure);
    ChatConfig {
        deployment: one.name.clone(),
        base_url: base_url.to_owned(),
        api_key: key.map(ApiKey::new),
        model: one.model.clone(),
        dialect: Dialect { has_max_completion_tokens: is_openai, has_api_key_header: one.provider == Provider::Azure },
        timeouts: Timeouts {
            first_token: Duration::from_secs(config.first_token_timeout_s),
            total: Duration::from_secs(config.total_timeout_s),
            ..Timeouts::default()
        },
    }
}

fn group(deployments: &Deployments, names: &[String], balance: BalanceConfig) -> Group {
    let member = |name: &String| deployments.get(name).map(|(weight, model)| Member::new(name, Arc::clone(model), *weight));
    let balance = match balance {
        BalanceConfig::Weighted => Balance::Weighted,
        BalanceConfig::LeastLatency => Balance::LeastLatency,
    };
    Group::new(names.iter().filter_map(member).collect(), balance)
}

/// What stands around a ladder, innermost first.
fn around(config: &LlmConfig, ladder: Ladder, hedge_after_ms: Option<u64>) -> Arc<dyn ChatModel> {
    let ladder: Arc<dyn ChatModel> = Arc::new(ladder);
    // Around the ladder, so that the second call may go to another deployment.
    let hedged = match hedge_after_ms {
        Some(after_ms) => Arc::new(Hedge::new(ladder, Duration::from_millis(after_ms))),
        None => ladder,
    };
    // Around everything: retries, waits and other rungs come out of the same time.
    Arc::new(Deadline::new(hedged, Duration::from_secs(config.total_timeout_s)))
}
