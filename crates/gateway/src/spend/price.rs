//! What tokens cost.

use super::Money;
use crate::TokenUsage;
use serde::{Deserialize, Serialize};

/// The table that comes with the program.
const SHIPPED: &str = include_str!("../../data/prices.toml");

/// Prices of one model in US dollars per million tokens, or thousand searches; 0 is free.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Tokens read.
    pub input: f64,
    /// Tokens read that the provider had in its cache; absent: as others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
    /// Tokens written.
    pub output: f64,
    /// Share that is taken off in the provider's batch API; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_discount: Option<f64>,
    /// A thousand searches of a reranker; absent: free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searches: Option<f64>,
}

/// A price in whole billionths of a dollar per million tokens. One that no table may hold is beyond all budgets, not free.
fn per_million(price: f64) -> u128 {
    Money::from_usd(price).map_or(u128::from(u64::MAX), |price| u128::from(price.nanos()))
}

impl Price {
    /// Whether it can be reckoned with: nothing negative or beyond reason.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let rates = [Some(self.input), Some(self.output), self.cached_input, self.searches];
        let are_prices = rates.into_iter().flatten().all(|rate| (0.0..=1e6).contains(&rate));
        are_prices && self.batch_discount.is_none_or(|discount| (0.0..=1.0).contains(&discount))
    }

    /// What a use costs, rounded up to a billionth of a dollar.
    #[must_use]
    pub fn cost(&self, usage: &TokenUsage) -> Money {
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        let read = u128::from(usage.prompt_tokens - cached) * per_million(self.input);
        let read_again = u128::from(cached) * per_million(self.cached_input.unwrap_or(self.input));
        let written = u128::from(usage.completion_tokens) * per_million(self.output);
        let searched = 1_000 * u128::from(usage.searches) * per_million(self.searches.unwrap_or(0.0));
        let nanos = (read + read_again + written + searched).div_ceil(1_000_000);
        Money::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The prices in the provider's batch API.
    #[must_use]
    pub fn in_batches(&self) -> Self {
        let share = 1.0 - self.batch_discount.unwrap_or(0.0);
        let cached_input = self.cached_input.map(|rate| rate * share);
        Self { input: self.input * share, cached_input, output: self.output * share, batch_discount: None, searches: self.searches }
    }
}

/// One line of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PricedModel {
    /// A model, which stands for its versions too; with a `*` at the end for every name that begins so.
    pub model: String,
    /// What it costs.
    #[serde(flatten)]
    pub price: Price,
}

impl PricedModel {
    /// How much of a name this line is about; `None` if it is about others.
    fn fits(&self, model: &str) -> Option<usize> {
        if let Some(beginning) = self.model.strip_suffix('*') {
            return model.starts_with(beginning).then_some(beginning.len());
        }
        is_version(model.strip_prefix(self.model.as_str())?).then_some(self.model.len())
    }
}

/// Whether what follows a model's name only dates it: `-2024-08-06`, `-20250929`, `-0613`, `-001`, `-latest`. Anything
/// else may be another model at another price.
fn is_version(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix(['-', '@']) else { return rest.is_empty() };
    let mut parts = rest.split('-');
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    rest == "latest" || (parts.next().is_some_and(|first| first.len() >= 3 && is_number(first)) && parts.all(is_number))
}

/// Prices of many models.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// When the prices were looked up.
    pub date: String,
    /// Where.
    pub source: String,
    /// In no order.
    pub prices: Vec<PricedModel>,
}

impl PriceTable {
    /// The table that comes with the program.
    ///
    /// # Errors
    /// It can't be read, which a test rules out.
    pub fn shipped() -> Result<Self, toml::de::Error> {
        toml::from_str(SHIPPED)
    }

    /// The price of a model; a provider's name before a `/` is left out where there is no line with it.
    #[must_use]
    pub fn get(&self, model: &str) -> Option<Price> {
        let bare = model.rsplit('/').next().unwrap_or(model);
        self.longest(model).or_else(|| self.longest(bare))
    }

    fn longest(&self, model: &str) -> Option<Price> {
        let fitting = self.prices.iter().filter_map(|line| Some((line.fits(model)?, line.price)));
        fitting.max_by_key(|(length, _)| *length).map(|(_, price)| price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(prompt_tokens: u64, cached_tokens: u64, completion_tokens: u64) -> TokenUsage {
        TokenUsage { prompt_tokens, completion_tokens, cached_tokens, ..TokenUsage::default() }
    }

    #[test]
    fn the_shipped_table_is_whole_and_dated() {
        let table = PriceTable::shipped().unwrap();
        assert!(table.prices.len() > 50 && table.prices.iter().all(|line| line.price.is_valid()));
        assert!(table.date.len() == 10 && !table.source.is_empty());
        let names: std::collections::BTreeSet<_> = table.prices.iter().map(|line| &line.model).collect();
        assert_eq!(names.len(), table.prices.len(), "a model stands in it twice");
    }

    #[test]
    fn a_name_means_its_versions_and_no_other_model() {
        let table = PriceTable::shipped().unwrap();
        let of = |model: &str| table.get(model).map(|price| price.input);
        assert_eq!((of("gpt-4o"), of("gpt-4o-2024-08-06"), of("gpt-4o-2024-05-13")), (Some(2.5), Some(2.5), Some(5.0)));
        assert_eq!((of("gpt-4o-mini"), of("openai/gpt-4o-mini-2024-07-18")), (Some(0.15), Some(0.15)));
        assert_eq!((of("claude-haiku-4-5"), of("claude-haiku-4-5-20251001")), (Some(1.0), Some(1.0)));
        for other in ["gpt-4o-transcribe", "claude-opus-5-9", "llama3.2", "gpt-4o-mini-audio-preview", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn costs_are_exact_and_cached_tokens_cheaper() {
        let price = PriceTable::shipped().unwrap().get("gpt-4o-mini").unwrap();
        assert_eq!(price.cost(&usage(1_000, 0, 500)).nanos(), 150_000 + 300_000);
        assert_eq!(price.cost(&usage(1_000, 400, 0)).nanos(), 600 * 150 + 400 * 75);
        assert_eq!(price.in_batches().cost(&usage(1_000, 0, 500)).nanos(), 225_000);
        let tiny = Price { input: 0.0001, cached_input: None, output: 0.0, batch_discount: None, searches: None };
        assert_eq!(tiny.cost(&usage(1, 0, 0)).nanos(), 1, "never rounded down to nothing");
        let searched = PriceTable::shipped().unwrap().get("rerank-v3.5").unwrap();
        let three = TokenUsage { searches: 3, ..usage(100_000, 0, 0) };
        assert_eq!(searched.cost(&three).nanos(), 6_000_000, "three searches of a fifth of a cent, however much was read");
    }
}
