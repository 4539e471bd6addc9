//! Prices and budgets.

use super::llm::LlmConfig;
use super::{ADDRESS, is_address};
use corpus::TenantId;
use gateway::{Budget, Money, Period, Price, PricedModel};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What calls of models cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SpendConfig {
    /// Where budgets that reach a threshold are told of; absent: only in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) webhook: Option<String>,
}

/// What questions get whose budget is used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExhaustedConfig {
    /// A refusal that says so.
    #[default]
    Refuse,
    /// An answer without a model.
    Extract,
}

/// Prices in US dollars per million tokens; 0 is free.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceConfig {
    /// Tokens read.
    pub(crate) input: f64,
    /// Tokens read that the provider had in its cache; absent: as others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cached_input: Option<f64>,
    /// Tokens written.
    pub(crate) output: f64,
    /// Share that is taken off in the provider's batch API; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch_discount: Option<f64>,
}

impl PriceConfig {
    pub(crate) const fn price(self) -> Price {
        let Self { input, cached_input, output, batch_discount } = self;
        Price { input, cached_input, output, batch_discount, searches: None }
    }
}

/// The price of a model that only reads: US dollars per million tokens, or thousand searches; 0 is free.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadingPriceConfig {
    /// Tokens read.
    pub(crate) input: f64,
    /// Searches of a reranker, of a hundred texts each; absent: free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) searches: Option<f64>,
}

impl ReadingPriceConfig {
    pub(crate) const fn price(self) -> Price {
        let Self { input, searches } = self;
        Price { input, cached_input: None, output: 0.0, batch_discount: None, searches }
    }

    /// What is wrong with it.
    pub(super) fn fault(self) -> Option<&'static str> {
        (!self.price().is_valid()).then_some("prices must be 0 to 1000000")
    }
}

/// The price of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceLineConfig {
    /// A model, which stands for its dated versions too; with a `*` at the end for every name that begins so.
    pub(crate) model: String,
    /// As in [`PriceConfig`].
    pub(crate) input: f64,
    /// As in [`PriceConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cached_input: Option<f64>,
    /// As in [`PriceConfig`].
    pub(crate) output: f64,
    /// As in [`PriceConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch_discount: Option<f64>,
}

impl PriceLineConfig {
    pub(crate) fn line(&self) -> PricedModel {
        let Self { model, input, cached_input, output, batch_discount } = self.clone();
        PricedModel { model, price: Price { input, cached_input, output, batch_discount, searches: None } }
    }
}

/// What may be spent in each period, and by whom: all that is named must be so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BudgetConfig {
    /// What it is called.
    pub(crate) name: String,
    /// Whose calls count; absent: everybody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<TenantId>,
    /// Id of the API key whose calls count; absent: every key's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// Tag under which calls count; absent: with any or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    /// US dollars; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit_usd: Option<f64>,
    /// Tokens, read and written; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit_tokens: Option<u64>,
    /// `day`, `month` (by UTC) or `total`.
    pub(crate) period: Period,
    /// Shares of a limit at which somebody is told, once a period.
    #[serde(default = "four_fifths")]
    pub(crate) thresholds: Vec<f64>,
}

fn four_fifths() -> Vec<f64> {
    vec![0.8]
}

/// Most thresholds of a budget.
const THRESHOLDS_MAX: usize = 10;

impl BudgetConfig {
    /// What is wrong with it.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let is_name =
            |text: &str| (1..=128).contains(&text.len()) && !text.contains(['/', '?', '#']) && !text.chars().any(char::is_control);
        let is_short = |text: &Option<String>| text.as_ref().is_none_or(|text| (1..=128).contains(&text.len()));
        if !is_name(&self.name) {
            return Some("name must have 1 to 128 bytes, without control characters and / ? #");
        }
        if !is_short(&self.key) || !is_short(&self.tag) {
            return Some("key and tag must have 1 to 128 bytes");
        }
        if self.limit_usd.is_none() && self.limit_tokens.is_none() {
            return Some("limit_usd or limit_tokens must be there");
        }
        if self.limit_usd.is_some_and(|usd| Money::from_usd(usd).is_none()) {
            return Some("limit_usd must be 0 to 1000000000");
        }
        let are_shares = self.thresholds.iter().all(|share| *share > 0.0 && *share <= 1.0);
        (!are_shares || self.thresholds.len() > THRESHOLDS_MAX).then_some("thresholds must be at most ten shares above 0, and at most 1")
    }

    pub(crate) fn budget(&self) -> Budget {
        Budget {
            name: self.name.clone(),
            tenant: self.tenant.clone(),
            key: self.key.clone(),
            tag: self.tag.clone(),
            limit: self.limit_usd.and_then(Money::from_usd),
            limit_tokens: self.limit_tokens,
            period: self.period,
            thresholds: self.thresholds.clone(),
        }
    }
}

/// Everything that is wrong, one line each: `path: what`.
pub(super) fn validate(spend: &SpendConfig, budgets: &[BudgetConfig], llm: &LlmConfig) -> Vec<String> {
    let mut errors = Vec::new();
    if !spend.webhook.as_deref().is_none_or(is_address) {
        errors.push(format!("spend.webhook: {ADDRESS}"));
    }
    errors.extend(budgets.iter().filter_map(|budget| Some(format!("budgets.{}: {}", budget.name, budget.fault()?))));
    let names: BTreeSet<&str> = budgets.iter().map(|budget| budget.name.as_str()).collect();
    if names.len() != budgets.len() {
        errors.push("budgets: two have the same name".to_owned());
    }
    let prices = "prices must be 0 to 1000000, batch_discount 0 to 1";
    let lines = llm.prices.iter().filter(|line| !line.line().price.is_valid());
    errors.extend(lines.map(|line| format!("llm.prices.{}: {prices}", line.model)));
    let own = llm.deployments.iter().filter(|one| one.price.is_some_and(|price| !price.price().is_valid()));
    errors.extend(own.map(|one| format!("llm.deployments.{}.price: {prices}", one.name)));
    errors
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn faults(text: &str) -> String {
        toml::from_str::<Config>(text).unwrap().validate().join("\n")
    }

    #[test]
    fn budgets_need_a_name_of_their_own_and_a_limit() {
        let budget = "[[budgets]]\nname = \"a\"\nlimit_usd = 1.5\nperiod = \"day\"\n";
        assert_eq!(faults(budget), "");
        assert!(faults(&budget.replace("limit_usd = 1.5", "")).contains("budgets.a: limit_usd"));
        assert!(faults(&budget.replace("1.5", "-1.0")).contains("budgets.a: limit_usd"));
        assert!(faults(&budget.repeat(2)).contains("same name"));
        assert!(faults(&format!("{budget}thresholds = [0.0]\n")).contains("budgets.a: thresholds"));
        assert!(faults("[spend]\nwebhook = \"ftp://a\"\n").contains("spend.webhook"));
        assert!(faults("[[llm.prices]]\nmodel = \"m\"\ninput = -1.0\noutput = 0.0\n").contains("llm.prices.m"));
        assert!(toml::from_str::<Config>("[[llm.prices]]\nmodel = \"m\"\ninput = 1.0\noutput = 0.0\nprize = 1\n").is_err());
    }
}
