//! `[rerank]`: a model, here or at a provider, that judges texts by a question.

use super::calls::CallsConfig;
use super::spend::ReadingPriceConfig;
use super::{ADDRESS, is_address};
use anyhow::Context;
use gateway::RerankProvider;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A reranker: `local`, or one at a provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RerankConfig {
    /// Name of a reranker in the model manifest, which this program computes: in the numbers, by the manifest and with
    /// the queue of `[embedding]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) local: Option<String>,
    /// `cohere`, `jina` (or whatever speaks their protocols) or `tei`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<RerankProvider>,
    /// For example `https://api.cohere.com` or `http://127.0.0.1:8080`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base_url: Option<String>,
    /// Name of the model there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// File that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Environment variable that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key_env: Option<String>,
    /// Texts that one request may have judged; more are answered 400.
    #[serde(default = "thousand")]
    pub(crate) texts_max: usize,
    /// Texts in one request to the provider; absent: what it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch_texts_max: Option<usize>,
    /// What it costs; absent: as `[[llm.prices]]` and the shipped table say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) price: Option<ReadingPriceConfig>,
    /// How it is called.
    #[serde(default)]
    pub(crate) calls: CallsConfig,
}

const fn thousand() -> usize {
    1000
}

impl RerankConfig {
    /// Everything that is wrong, one line each: `path: what`.
    pub(super) fn validate(&self) -> Vec<String> {
        let mut errors = self.calls.validate("rerank.calls");
        let mut check = |is_right: bool, path: &str, rule: &str| {
            if !is_right {
                errors.push(format!("rerank.{path}: {rule}"));
            }
        };
        if let Some(local) = &self.local {
            check(!local.is_empty(), "local", "must name a reranker of the manifest");
            check(self.is_only_local(), "local", "excludes all that is said of a provider");
        } else {
            check(self.provider.is_some(), "provider", "must be cohere, jina or tei, or local must name a reranker of the manifest");
            check(self.base_url.as_deref().is_some_and(is_address), "base_url", ADDRESS);
            check(self.model.as_ref().is_some_and(|model| !model.is_empty()), "model", "must name a model of the provider");
        }
        check(self.api_key_file.is_none() || self.api_key_env.is_none(), "api_key_file", "excludes api_key_env");
        check((1..=10_000).contains(&self.texts_max), "texts_max", "must be 1 to 10000");
        check(self.batch_texts_max != Some(0), "batch_texts_max", "must be at least 1");
        let fault = self.price.and_then(ReadingPriceConfig::fault);
        check(fault.is_none(), "price", fault.unwrap_or_default());
        errors
    }

    fn is_only_local(&self) -> bool {
        let of_provider = (&self.provider, &self.base_url, &self.model, &self.api_key_file, &self.api_key_env, &self.batch_texts_max);
        of_provider == (&None, &None, &None, &None, &None, &None) && self.price.is_none() && self.calls == CallsConfig::default()
    }

    /// The provider's key.
    pub(super) fn api_key(&self, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<String>> {
        let key = match (&self.api_key_file, &self.api_key_env) {
            (Some(path), _) => {
                std::fs::read_to_string(path).with_context(|| format!("rerank.api_key_file: can't read {}", path.display()))?
            }
            (None, Some(name)) => variable(name).with_context(|| format!("rerank.api_key_env: there is no variable {name}"))?,
            (None, None) => return Ok(None),
        };
        Ok(Some(key.trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_done_is_refused() {
        let faults = |more: &str| {
            let text = format!("provider = \"tei\"\nbase_url = \"http://127.0.0.1:8080\"\nmodel = \"m\"\n{more}");
            toml::from_str::<RerankConfig>(&text).unwrap().validate().join("\n")
        };
        assert_eq!(faults(""), "");
        assert!(faults("price = { input = 0.0, searches = -1.0 }").contains("rerank.price"));
        assert!(faults("texts_max = 0").contains("rerank.texts_max"));
        assert!(faults("api_key_file = \"a\"\napi_key_env = \"B\"").contains("rerank.api_key_file"));
        assert!(faults("[calls]\ntry_timeout_s = 0").contains("rerank.calls.try_timeout_s"));
        let local = |more: &str| toml::from_str::<RerankConfig>(&format!("local = \"x\"\n{more}")).unwrap().validate().join("\n");
        assert_eq!(local("texts_max = 10"), "");
        assert!(local("model = \"m\"").contains("rerank.local") && local("[calls]\ntry_timeout_s = 9").contains("rerank.local"));
        let nothing = toml::from_str::<RerankConfig>("").unwrap().validate().join("\n");
        assert!(["provider", "base_url", "model"].iter().all(|field| nothing.contains(&format!("rerank.{field}"))), "{nothing}");
        assert!(faults("[calls.retry]\ntries_max = 0").contains("rerank.calls.retry.tries_max"));
    }
}
