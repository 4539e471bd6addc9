//! Language models: deployments, the models that are made of them, and how they are tried.

use super::spend::{ExhaustedConfig, PriceConfig, PriceLineConfig};
use super::{ADDRESS, is_address};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What the deployment is called that `llm.base_url` makes.
pub(crate) const PLAIN: &str = "default";

/// Language models. With none answers are extractive. One model behind an OpenAI-compatible endpoint needs no more
/// than `base_url` and `model`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LlmConfig {
    /// For example `http://127.0.0.1:11434/v1` for Ollama.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base_url: Option<String>,
    /// Name of the model there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// File that holds the key. `RAGSTONE_LLM_API_KEY` wins over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Model that answers questions; absent: the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answers: Option<String>,
    /// Seconds until the first token must have come, at each try.
    pub(crate) first_token_timeout_s: u64,
    /// Seconds that an answer may take altogether, retries and other deployments included.
    pub(crate) total_timeout_s: u64,
    /// Tokens an answer may have.
    pub(crate) max_answer_tokens: u32,
    /// What questions get whose budget is used up.
    pub(crate) on_exhausted: ExhaustedConfig,
    /// How a deployment is tried again.
    pub(crate) retry: RetryConfig,
    /// When a deployment that fails is left alone.
    pub(crate) breaker: BreakerConfig,
    /// Models at providers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) deployments: Vec<DeploymentConfig>,
    /// Prices, before those that come with the program.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) prices: Vec<PriceLineConfig>,
    /// What can be asked for by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) models: Vec<ModelConfig>,
    /// Names that stand for one of three models, by how hard a question looks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) choices: Vec<ChoiceConfig>,
}

impl Default for LlmConfig {
    fn default() -> Self {
        Self {
            base_url: None,
            model: None,
            api_key_file: None,
            answers: None,
            first_token_timeout_s: 15,
            total_timeout_s: 120,
            max_answer_tokens: 1024,
            on_exhausted: ExhaustedConfig::default(),
            retry: RetryConfig::default(),
            breaker: BreakerConfig::default(),
            deployments: Vec::new(),
            prices: Vec::new(),
            models: Vec::new(),
            choices: Vec::new(),
        }
    }
}

/// Retries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetryConfig {
    /// Calls of one rung of a ladder, the first included.
    pub(crate) tries_max: u32,
    /// Milliseconds that are waited at most before the second; doubled each time, at random below that.
    pub(crate) backoff_ms: u64,
    /// Milliseconds at most.
    pub(crate) backoff_ms_max: u64,
    /// Milliseconds that a provider may ask for (Retry-After); beyond it the next rung is asked, or the client told.
    pub(crate) wait_ms_max: u64,
    /// Retries for each call that is made, over all models.
    pub(crate) share: f64,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { tries_max: 3, backoff_ms: 250, backoff_ms_max: 8_000, wait_ms_max: 10_000, share: 0.2 }
    }
}

impl RetryConfig {
    /// Everything that is wrong, one line each: `path: what`.
    pub(super) fn validate(&self, path: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |is_right: bool, field: &str, rule: &str| {
            if !is_right {
                faults.push(format!("{path}.{field}: {rule}"));
            }
        };
        check((1..=10).contains(&self.tries_max), "tries_max", "must be 1 to 10");
        check(self.backoff_ms <= self.backoff_ms_max, "backoff_ms", "must be at most backoff_ms_max");
        check((0.0..=1.0).contains(&self.share), "share", "must be 0 to 1");
        faults
    }
}

/// Breakers, one a deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BreakerConfig {
    /// Failures in a row that open one.
    pub(crate) consecutive: u32,
    /// Seconds over which calls are counted.
    pub(crate) window_s: u64,
    /// Calls of the window from which on their share of failures counts.
    pub(crate) calls_min: u32,
    /// Share of failures that opens one.
    pub(crate) share: f64,
    /// Seconds that it is open the first time; doubled each time the probe fails.
    pub(crate) open_s: u64,
    /// Seconds at most.
    pub(crate) open_s_max: u64,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { consecutive: 5, window_s: 30, calls_min: 20, share: 0.5, open_s: 10, open_s_max: 300 }
    }
}

impl BreakerConfig {
    /// Everything that is wrong, one line each: `path: what`.
    pub(super) fn validate(&self, path: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let mut check = |is_right: bool, field: &str, rule: &str| {
            if !is_right {
                faults.push(format!("{path}.{field}: {rule}"));
            }
        };
        check(self.consecutive > 0, "consecutive", "must be at least 1");
        check((1..=600).contains(&self.window_s), "window_s", "must be 1 to 600");
        check(self.share > 0.0 && self.share <= 1.0, "share", "must be above 0, and at most 1");
        check((1..=self.open_s_max).contains(&self.open_s), "open_s", "must be 1 to open_s_max");
        check(self.open_s_max <= 86_400, "open_s_max", "must be at most 86400");
        faults
    }
}

/// Who runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Provider {
    Openai,
    Azure,
    Anthropic,
    Gemini,
    Deepseek,
    Qwen,
    Ollama,
    Vllm,
    LmStudio,
    /// Anything else that speaks the OpenAI protocol.
    Compatible,
}

impl Provider {
    /// What OpenTelemetry calls it, where it has a name for it.
    pub(crate) const fn telemetry_name(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Azure => "azure.ai.openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gcp.gemini",
            Self::Deepseek => "deepseek",
            Self::Qwen => "qwen",
            Self::Ollama => "ollama",
            Self::Vllm => "vllm",
            Self::LmStudio => "lm_studio",
            Self::Compatible => "compatible",
        }
    }

    /// Where it is, if it is always there.
    pub(crate) const fn base_url(self) -> Option<&'static str> {
        Some(match self {
            Self::Openai => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com/v1",
            Self::Gemini => "https://generativelanguage.googleapis.com/v1beta/openai",
            Self::Deepseek => "https://api.deepseek.com/v1",
            Self::Qwen => "https://dashscope.aliyuncs.com/compatible-mode/v1",
            Self::Ollama => "http://127.0.0.1:11434/v1",
            Self::Vllm => "http://127.0.0.1:8000/v1",
            Self::LmStudio => "http://127.0.0.1:1234/v1",
            Self::Azure | Self::Compatible => return None,
        })
    }
}

/// One model at one provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeploymentConfig {
    /// What ladders and figures call it.
    pub(crate) name: String,
    /// Who runs it.
    pub(crate) provider: Provider,
    /// Name of the model there.
    pub(crate) model: String,
    /// Where it is; absent: where the provider always is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base_url: Option<String>,
    /// File that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Environment variable that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api_key_env: Option<String>,
    /// Its share of a group's calls, relative to the others'.
    #[serde(default = "one")]
    pub(crate) weight: u32,
    /// Calls a minute; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_minute: Option<u32>,
    /// Tokens a minute, read and written; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokens_per_minute: Option<u32>,
    /// Calls at a time.
    #[serde(default = "hundred")]
    pub(crate) concurrent_max: usize,
    /// What its tokens cost; absent: as the tables say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) price: Option<PriceConfig>,
    /// The model's `tokenizer.json`; absent: an encoding of OpenAI's by the model's name, or an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tokenizer: Option<PathBuf>,
}

const fn one() -> u32 {
    1
}

const fn hundred() -> usize {
    100
}

/// How calls are shared out in a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BalanceConfig {
    /// By weight.
    #[default]
    Weighted,
    /// To whoever was fastest of late.
    LeastLatency,
}

/// A model of the configuration: groups of deployments, the one that is meant first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelConfig {
    /// What requests call it.
    pub(crate) name: String,
    /// Names of deployments; each inner list is a group whose members stand in for each other.
    pub(crate) ladder: Vec<Vec<String>>,
    /// Within a group.
    #[serde(default)]
    pub(crate) balance: BalanceConfig,
    /// Milliseconds without a first token after which a second call is made; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hedge_after_ms: Option<u64>,
}

/// What counts most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PreferenceConfig {
    Cost,
    Speed,
    #[default]
    Quality,
}

/// A name that stands for one of three models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChoiceConfig {
    /// What requests call it.
    pub(crate) name: String,
    /// Model for facts and greetings.
    pub(crate) simple: String,
    /// Model for what is between.
    pub(crate) moderate: String,
    /// Model for reasons, plans, code, long material.
    pub(crate) complex: String,
    /// What counts most.
    #[serde(default)]
    pub(crate) prefer: PreferenceConfig,
}

/// Keys of deployments by name, beside the configuration because they must not be printed.
pub(crate) type DeploymentKeys = std::collections::BTreeMap<String, String>;

impl LlmConfig {
    /// Whether there is any model.
    pub(super) fn has_model(&self) -> bool {
        self.base_url.is_some() || !self.models.is_empty()
    }

    /// All deployments, with the one that `base_url` and `model` make.
    pub(crate) fn all_deployments(&self) -> impl Iterator<Item = DeploymentConfig> {
        let plain = self.base_url.clone().zip(self.model.clone()).map(|(base_url, model)| DeploymentConfig {
            name: PLAIN.to_owned(),
            provider: Provider::Compatible,
            model,
            base_url: Some(base_url),
            api_key_file: None,
            api_key_env: None,
            weight: one(),
            requests_per_minute: None,
            tokens_per_minute: None,
            concurrent_max: hundred(),
            price: None,
            tokenizer: None,
        });
        self.deployments.iter().cloned().chain(plain)
    }

    /// Every name that a request may ask for.
    fn names(&self) -> impl Iterator<Item = &str> {
        let ladders = self.model.iter().chain(self.models.iter().map(|model| &model.name)).map(String::as_str);
        ladders.chain(self.choices.iter().map(|choice| choice.name.as_str()))
    }

    /// Everything that is wrong, one line each: `path: what`.
    pub(super) fn validate(&self) -> Vec<String> {
        let mut errors = self.retry.validate("llm.retry");
        errors.extend(self.breaker.validate("llm.breaker"));
        let mut check = |is_right: bool, path: String, rule: &str| {
            if !is_right {
                errors.push(format!("llm{path}: {rule}"));
            }
        };
        check(self.base_url.is_some() == self.model.is_some(), String::new(), "base_url and model go together");
        check(self.base_url.as_deref().is_none_or(is_address), ".base_url".into(), ADDRESS);
        check(self.first_token_timeout_s > 0, ".first_token_timeout_s".into(), "must be at least 1");
        check(self.total_timeout_s > 0, ".total_timeout_s".into(), "must be at least 1");
        for deployment in &self.deployments {
            let path = |field: &str| format!(".deployments.{}.{field}", deployment.name);
            let address = deployment.base_url.as_deref().or(deployment.provider.base_url());
            check(address.is_some(), path("base_url"), "must say where this provider is");
            check(address.is_none_or(is_address), path("base_url"), ADDRESS);
            check(deployment.weight > 0, path("weight"), "must be at least 1");
            check(deployment.concurrent_max > 0, path("concurrent_max"), "must be at least 1");
            check(deployment.requests_per_minute != Some(0), path("requests_per_minute"), "must be at least 1");
            check(deployment.tokens_per_minute != Some(0), path("tokens_per_minute"), "must be at least 1");
            let one_key = deployment.api_key_file.is_none() || deployment.api_key_env.is_none();
            check(one_key, path("api_key_file"), "excludes api_key_env");
        }
        let deployments: BTreeSet<&str> = self.deployments.iter().map(|deployment| deployment.name.as_str()).collect();
        check(deployments.len() == self.deployments.len(), ".deployments".into(), "two have the same name");
        check(!deployments.contains(PLAIN), ".deployments".into(), "\"default\" is the name of the one that base_url makes");
        for model in &self.models {
            let path = format!(".models.{}.ladder", model.name);
            let is_full = !model.ladder.is_empty() && model.ladder.iter().all(|group| !group.is_empty());
            check(is_full, path.clone(), "must have a group, and each group a deployment");
            let is_known = model.ladder.iter().flatten().all(|name| deployments.contains(name.as_str()));
            check(is_known, path, "names a deployment that is not there");
        }
        let ladders: BTreeSet<&str> =
            self.base_url.iter().map(|_| PLAIN).chain(self.models.iter().map(|model| model.name.as_str())).collect();
        for choice in &self.choices {
            let is_known = [&choice.simple, &choice.moderate, &choice.complex].into_iter().all(|name| ladders.contains(name.as_str()));
            check(is_known, format!(".choices.{}", choice.name), "names a model that is not there");
        }
        let names: BTreeSet<&str> = self.names().collect();
        check(names.len() == self.names().count(), ".models".into(), "two models or choices have the same name");
        check(self.answers.as_deref().is_none_or(|name| names.contains(name)), ".answers".into(), "must name a model or a choice");
        errors
    }

    /// The keys of all deployments.
    ///
    /// # Errors
    /// A file that can't be read, or a variable that is not there.
    pub(super) fn deployment_keys(&self, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<DeploymentKeys> {
        let mut keys = DeploymentKeys::new();
        for deployment in &self.deployments {
            let path = format!("llm.deployments.{}", deployment.name);
            let key = match (&deployment.api_key_file, &deployment.api_key_env) {
                (Some(file), _) => {
                    std::fs::read_to_string(file).with_context(|| format!("{path}.api_key_file: can't read {}", file.display()))?
                }
                (None, Some(name)) => variable(name).with_context(|| format!("{path}.api_key_env: there is no variable {name}"))?,
                (None, None) => continue,
            };
            keys.insert(deployment.name.clone(), key.trim().to_owned());
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
        answers = "auto"
        [[deployments]]
        name = "mini"
        provider = "openai"
        model = "gpt-4o-mini"
        [[deployments]]
        name = "haiku"
        provider = "anthropic"
        model = "claude-haiku-4-5"
        api_key_env = "THE_KEY"
        [[models]]
        name = "small"
        ladder = [["mini"], ["haiku"]]
        [[choices]]
        name = "auto"
        simple = "small"
        moderate = "small"
        complex = "small"
    "#;

    fn faults(text: &str) -> String {
        toml::from_str::<LlmConfig>(text).unwrap().validate().join("\n")
    }

    #[test]
    fn ladders_choices_and_deployments_must_fit_together() {
        assert_eq!(faults(TWO), "");
        assert!(faults(&TWO.replace("[[\"mini\"]", "[[\"mini\", \"other\"]")).contains("llm.models.small.ladder: names a deployment"));
        assert!(faults(&TWO.replace("[[\"mini\"], [\"haiku\"]]", "[]")).contains("llm.models.small.ladder"));
        assert!(faults(&TWO.replace("complex = \"small\"", "complex = \"large\"")).contains("llm.choices.auto"));
        assert!(faults(&TWO.replace("name = \"auto\"", "name = \"small\"")).contains("same name"));
        assert!(faults(&TWO.replace("\"openai\"", "\"azure\"")).contains("llm.deployments.mini.base_url"));
        assert!(faults(&TWO.replace("answers = \"auto\"", "answers = \"other\"")).contains("llm.answers"));
        assert!(faults("base_url = \"https://me:word@host/v1\"\nmodel = \"m\"").contains("llm.base_url: must begin"));
    }

    #[test]
    fn keys_come_from_files_or_the_environment_and_must_be_there() {
        let config: LlmConfig = toml::from_str(TWO).unwrap();
        let keys = config.deployment_keys(|name| (name == "THE_KEY").then(|| " secret\n".to_owned())).unwrap();
        assert_eq!(keys.into_iter().collect::<Vec<_>>(), [("haiku".to_owned(), "secret".to_owned())]);
        assert!(config.deployment_keys(|_| None).unwrap_err().to_string().contains("THE_KEY"));
    }
}
