//! Configuration: one TOML file, then environment variables, then flags; later ones win. The raw
//! form mirrors the file field by field; [`Config::validate`] reports every error at once with its
//! path. Nothing else in the program reads the environment.

mod answers;
mod batches;
mod cache;
mod calls;
mod embedding;
mod evaluations;
mod guards;
mod limits;
mod llm;
mod redis_link;
mod rerank;
mod server;
mod spend;
mod traces;

use crate::auth::{AuthConfig, Keys, QuotasConfig};
use anyhow::{Context, bail};
use query::{Expand, NEIGHBOURS_MAX, Rewrite};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use answers::AnswersConfig;
pub(crate) use batches::BatchesConfig;
pub(crate) use cache::CacheConfig;
pub(crate) use calls::CallsConfig;
pub(crate) use embedding::{EmbeddingConfig, EmbeddingEngine, PrecisionConfig, RemoteConfig};
pub(crate) use evaluations::EvaluationsConfig;
pub(crate) use guards::GuardsConfig;
pub(crate) use limits::{LimitConfig, LimitsConfig};
pub(crate) use llm::{
    BalanceConfig, BreakerConfig, DeploymentConfig, DeploymentKeys, LlmConfig, PLAIN, PreferenceConfig, Provider, RetryConfig,
};
pub(crate) use redis_link::RedisConfig;
pub(crate) use rerank::RerankConfig;
pub(crate) use server::{ServerConfig, TlsConfig};
pub(crate) use spend::{BudgetConfig, ExhaustedConfig, SpendConfig};
pub(crate) use traces::{SessionsConfig, TextKept, TracesConfig};

/// The whole file. Every field has a default: an empty file is a working server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(crate) struct Config {
    pub(crate) server: ServerConfig,
    pub(crate) auth: AuthConfig,
    pub(crate) quotas: QuotasConfig,
    pub(crate) limits: LimitsConfig,
    pub(crate) embedding: EmbeddingConfig,
    pub(crate) chunking: ChunkingConfig,
    pub(crate) ingest: IngestConfig,
    pub(crate) index: IndexConfig,
    pub(crate) retention: RetentionConfig,
    pub(crate) query: QueryConfig,
    pub(crate) answers: AnswersConfig,
    pub(crate) traces: TracesConfig,
    pub(crate) sessions: SessionsConfig,
    pub(crate) guards: GuardsConfig,
    pub(crate) cache: CacheConfig,
    pub(crate) llm: LlmConfig,
    /// What judges texts by a question; absent: nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rerank: Option<RerankConfig>,
    /// Where servers share caches and limits; absent: each has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redis: Option<RedisConfig>,
    pub(crate) spend: SpendConfig,
    /// What may be spent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) budgets: Vec<BudgetConfig>,
    pub(crate) batches: BatchesConfig,
    pub(crate) evaluations: EvaluationsConfig,
    pub(crate) log: LogConfig,
}

/// How new collections cut their documents, unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ChunkingConfig {
    /// `auto` (by the document's format), `text` or `markdown`.
    pub(crate) strategy: String,
    /// Longest chunk in tokens of the embedding model, its special tokens included.
    pub(crate) max_tokens: usize,
    /// Tokens that neighbouring chunks share.
    pub(crate) overlap_tokens: usize,
}

impl Default for ChunkingConfig {
    fn default() -> Self {
        Self { strategy: "auto".into(), max_tokens: 256, overlap_tokens: 32 }
    }
}

/// The pipeline from upload to index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IngestConfig {
    /// Documents processed at a time.
    pub(crate) workers: usize,
    /// Documents that may wait; uploads beyond are answered 429 with Retry-After.
    pub(crate) queued_max: usize,
    /// Seconds that parsing one document may take.
    pub(crate) parse_timeout_s: u64,
    /// Bytes of address space that a process that parses may take; resident memory is less.
    pub(crate) parse_memory_bytes_max: u64,
    /// Bytes of text and attachments that one document may have.
    pub(crate) text_bytes_max: u64,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self { workers: 4, queued_max: 100_000, parse_timeout_s: 8, parse_memory_bytes_max: 512 << 20, text_bytes_max: 64 << 20 }
    }
}

/// The store and its views.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IndexConfig {
    /// `auto`, `exact` or `hnsw_rs`.
    pub(crate) engine: String,
    /// Chunks up to which `auto` scans exactly (recall 1.0) instead of building a graph.
    pub(crate) exact_below: usize,
    /// Links that a graph node chooses, 4 to 64; with those back it has twice as many. 20, with `hnsw_rs` 16.
    pub(crate) m: Option<usize>,
    /// Candidates kept while a node is linked; more builds slower and finds better. 100, with `hnsw_rs` 200.
    pub(crate) ef_construction: Option<usize>,
    /// Candidates kept while searching; a request can override it.
    pub(crate) ef_search: usize,
    /// Collections kept open at a time.
    pub(crate) collections_open_max: usize,
    /// Bytes of the store's cache; it takes about ten times as much memory.
    pub(crate) store_cache_bytes: u64,
    /// Bytes of disk that stay free: uploads that would need them are answered 507.
    pub(crate) disk_reserve_bytes: u64,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            engine: "auto".into(),
            exact_below: 20_000,
            m: None,
            ef_construction: None,
            ef_search: 64,
            collections_open_max: 256,
            store_cache_bytes: 32 << 20,
            disk_reserve_bytes: 256 << 20,
        }
    }
}

/// Answering.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QueryConfig {
    /// Tokens of context that an answer is made from, unless the request says otherwise.
    pub(crate) max_context_tokens: usize,
    /// Chunks on each side of a chunk that are read with it, as far as the context has room, unless the request says
    /// otherwise: 0 to 5.
    pub(crate) neighbours: usize,
    /// Whether a model is shown all of the context (`off`) or the sentences that matter (`extractive`).
    pub(crate) compression: Compression,
    /// Share of the context that `extractive` keeps, 0.1 to 1.
    pub(crate) compression_share: f32,
    /// How a question that leans on its session is made to stand alone, unless the request says otherwise: `rule`, `model`
    /// or `off`.
    pub(crate) rewrite: Rewrite,
    /// What a model adds to a search, unless the request says otherwise: `none`, `multi_query` or `hyde`.
    pub(crate) expand: Expand,
    /// Seconds that a model may take for both; then the question is searched without.
    pub(crate) expand_timeout_s: u64,
}

/// What of the context a model is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    #[default]
    Off,
    Extractive,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            max_context_tokens: 3000,
            neighbours: 0,
            compression: Compression::default(),
            compression_share: 0.7,
            rewrite: Rewrite::default(),
            expand: Expand::default(),
            expand_timeout_s: 5,
        }
    }
}

/// How long what is over can still be looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionConfig {
    /// Seconds that a job is kept after its end. A job takes about 1 KiB of disk.
    pub(crate) jobs_s: u64,
    /// Seconds that a deletion can be verified.
    pub(crate) receipts_s: u64,
    /// Days for which `/v1/usage` knows what was used, this one among them.
    pub(crate) usage_days: u32,
    /// Seconds from one removal of what is over to the next.
    pub(crate) interval_s: u64,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        let index::Retention { jobs, receipts, .. } = index::Retention::default();
        Self { jobs_s: jobs.as_secs(), receipts_s: receipts.as_secs(), usage_days: 400, interval_s: 3600 }
    }
}

impl RetentionConfig {
    pub(crate) fn kept(&self, traces: &TracesConfig) -> index::Retention {
        index::Retention {
            jobs: Duration::from_secs(self.jobs_s),
            receipts: Duration::from_secs(self.receipts_s),
            feedback: Duration::from_secs(u64::from(traces.feedback_retention_days) * 24 * 3600),
        }
    }
}

/// Logs, on standard error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogConfig {
    /// `text` or `json`.
    pub(crate) format: String,
    /// Which events are written, as `level` or `target=level,…`.
    pub(crate) filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: "text".into(), filter: "info".into() }
    }
}

/// What comes from the environment and the command line, over the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overrides {
    pub(crate) config: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) models_dir: Option<PathBuf>,
    pub(crate) llm_base_url: Option<String>,
    pub(crate) llm_model: Option<String>,
    pub(crate) llm_api_key: Option<String>,
    pub(crate) embedding_api_key: Option<String>,
    pub(crate) redis_password: Option<String>,
    pub(crate) api_key: Option<String>,
    pub(crate) log_filter: Option<String>,
    pub(crate) log_format: Option<String>,
}

/// A configuration that was checked, with what must not be printed.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) llm_api_key: Option<String>,
    pub(crate) deployment_keys: DeploymentKeys,
    pub(crate) embedding_api_key: Option<String>,
    pub(crate) redis_password: Option<String>,
    pub(crate) rerank_api_key: Option<String>,
}

impl Config {
    /// Reads the file, if one is named.
    pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let text = std::fs::read_to_string(path).with_context(|| format!("can't read the configuration {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("the configuration {} is not valid", path.display()))
    }

    /// Everything that is wrong, one line each: `path: what`.
    fn validate(&self) -> Vec<String> {
        let mut errors = self.server.validate();
        errors.extend(self.embedding.validate());
        errors.extend(self.llm.validate());
        errors.extend(self.cache.validate());
        errors.extend(self.guards.validate());
        errors.extend(self.rerank.iter().flat_map(RerankConfig::validate));
        errors.extend(self.redis.iter().flat_map(RedisConfig::validate));
        errors.extend(spend::validate(&self.spend, &self.budgets, &self.llm));
        errors.extend(self.batches.validate());
        errors.extend(self.evaluations.validate());
        errors.extend(traces::validate(&self.traces, &self.sessions));
        let mut check = |is_right: bool, path: &str, rule: &str| {
            if !is_right {
                errors.push(format!("{path}: {rule}"));
            }
        };
        let positive = "must be at least 1";
        check(
            ["auto", "text", "markdown"].contains(&self.chunking.strategy.as_str()),
            "chunking.strategy",
            "must be auto, text or markdown",
        );
        check(self.chunking.max_tokens >= 16, "chunking.max_tokens", "must be at least 16");
        check(
            self.chunking.overlap_tokens <= self.chunking.max_tokens / 2,
            "chunking.overlap_tokens",
            "must be at most half of max_tokens",
        );
        check((1..=64).contains(&self.ingest.workers), "ingest.workers", "must be 1 to 64");
        check(self.ingest.queued_max > 0, "ingest.queued_max", positive);
        check(self.ingest.parse_timeout_s > 0, "ingest.parse_timeout_s", positive);
        check(self.ingest.parse_memory_bytes_max >= 256 << 20, "ingest.parse_memory_bytes_max", "must be at least 268435456 (256 MiB)");
        check(self.ingest.text_bytes_max > 0, "ingest.text_bytes_max", positive);
        check(["auto", "exact", "hnsw_rs"].contains(&self.index.engine.as_str()), "index.engine", "must be auto, exact or hnsw_rs");
        check(self.index.m.is_none_or(|m| (4..=64).contains(&m)), "index.m", "must be 4 to 64");
        check(self.index.ef_construction.is_none_or(|ef| (8..=2000).contains(&ef)), "index.ef_construction", "must be 8 to 2000");
        check((1..=10_000).contains(&self.index.ef_search), "index.ef_search", "must be 1 to 10000");
        check(self.index.collections_open_max > 0, "index.collections_open_max", positive);
        check(self.retention.interval_s > 0, "retention.interval_s", positive);
        check((1..=36_500).contains(&self.retention.usage_days), "retention.usage_days", "must be 1 to 36500");
        check(self.query.max_context_tokens >= 64, "query.max_context_tokens", "must be at least 64");
        check(self.query.neighbours <= NEIGHBOURS_MAX, "query.neighbours", "must be 0 to 5");
        check((0.1..=1.0).contains(&self.query.compression_share), "query.compression_share", "must be 0.1 to 1");
        check((1..=60).contains(&self.query.expand_timeout_s), "query.expand_timeout_s", "must be 1 to 60");
        let has_model = self.llm.has_model();
        let needs = "needs a language model: set llm.base_url and llm.model, or llm.models";
        check(has_model || self.query.rewrite != Rewrite::Model, "query.rewrite", needs);
        check(has_model || self.query.expand == Expand::None, "query.expand", needs);
        check(["text", "json"].contains(&self.log.format.as_str()), "log.format", "must be text or json");
        errors
    }
}

impl Overrides {
    /// File, environment and flags put together and checked.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let mut config = Config::read(self.config.as_deref())?;
        let set = |slot: &mut String, value: &Option<String>| value.iter().for_each(|value| slot.clone_from(value));
        set(&mut config.log.filter, &self.log_filter);
        set(&mut config.log.format, &self.log_format);
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.data_dir = self.data_dir.clone().unwrap_or(config.server.data_dir);
        config.embedding.models_dir = self.models_dir.clone().or(config.embedding.models_dir);
        config.llm.base_url = self.llm_base_url.clone().or(config.llm.base_url);
        config.llm.model = self.llm_model.clone().or(config.llm.model);
        let mut errors = config.validate();
        let keys = Keys::new(&config.auth.keys, self.api_key.as_deref());
        if let Err(bad) = &keys {
            errors.extend(bad.iter().cloned());
        }
        if matches!(&keys, Ok(keys) if keys.is_open()) && !config.server.listen.ip().is_loopback() {
            errors.push(format!(
                "server.listen: {} is not a loopback address, and no key is configured; set RAGSTONE_API_KEY or auth.keys",
                config.server.listen
            ));
        }
        match (errors.is_empty(), keys) {
            (true, Ok(keys)) => {
                let embedding_api_key = config.embedding.api_key(self.embedding_api_key.as_deref())?;
                let deployment_keys = config.llm.deployment_keys(|name| std::env::var(name).ok())?;
                let redis_password = self.redis_password(&config)?;
                let rerank = config.rerank.as_ref();
                let rerank_api_key = rerank.map(|rerank| rerank.api_key(|name| std::env::var(name).ok())).transpose()?.flatten();
                Ok(Settings {
                    llm_api_key: self.llm_key(&config)?,
                    deployment_keys,
                    embedding_api_key,
                    redis_password,
                    rerank_api_key,
                    config,
                    keys,
                })
            }
            _ => bail!("the configuration has {} error(s):\n  {}", errors.len(), errors.join("\n  ")),
        }
    }

    fn redis_password(&self, config: &Config) -> anyhow::Result<Option<String>> {
        let password = config.redis.as_ref().map(|redis| redis.password(self.redis_password.as_deref()));
        Ok(password.transpose()?.flatten())
    }

    fn llm_key(&self, config: &Config) -> anyhow::Result<Option<String>> {
        if self.llm_api_key.is_some() {
            return Ok(self.llm_api_key.clone());
        }
        let Some(path) = &config.llm.api_key_file else { return Ok(None) };
        let key = std::fs::read_to_string(path).with_context(|| format!("llm.api_key_file: can't read {}", path.display()))?;
        Ok(Some(key.trim().to_owned()))
    }
}

/// What [`is_address`] asks for.
const ADDRESS: &str = "must begin with http:// or https:// and hold no password";

/// Whether it can be called and may be logged.
fn is_address(url: &str) -> bool {
    (url.starts_with("http://") || url.starts_with("https://")) && !url.contains('@')
}

#[cfg(test)]
#[path = "../tests/support/mutate.rs"]
mod mutate;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// `RAGSTONE_FUZZ_S` goes on for so many seconds.
    #[test]
    fn a_damaged_file_is_refused_or_says_what_it_means() {
        const DICTIONARY: &[&[u8]] =
            &[b"[[auth.keys]]\n", b"[", b"]\n", b"=", b"\"", b"'''", b"-1", b"9223372036854775808", b"nan", b"true", b"\xff", b"{}"];
        let example = include_str!("../ragstone.example.toml");
        let example = format!("{example}\n[[auth.keys]]\nsha256 = \"{}\"\ntenant = \"a\"\n", "0".repeat(64));
        let deadline = std::env::var("RAGSTONE_FUZZ_S").ok().map(|seconds| Instant::now() + Duration::from_secs(seconds.parse().unwrap()));
        let mut chance = super::mutate::Chance(1);
        let (mut tried, mut taken) = (0_u64, 0_u64);
        while deadline.map_or(tried < 1000, |deadline| Instant::now() < deadline) {
            tried += 1;
            let mut bytes = example.clone().into_bytes();
            chance.change_some(&mut bytes, example.as_bytes(), DICTIONARY);
            let Some(config) = std::str::from_utf8(&bytes).ok().and_then(|text| toml::from_str::<Config>(text).ok()) else { continue };
            taken += 1;
            config.validate();
            let _ = Keys::new(&config.auth.keys, None);
            assert_eq!(toml::from_str::<Config>(&toml::to_string(&config).unwrap()).unwrap(), config);
        }
        eprintln!("{tried} files, {taken} taken");
        assert!(taken > tried / 20);
    }

    #[test]
    fn the_example_file_is_the_defaults() {
        let example = include_str!("../ragstone.example.toml");
        assert_eq!(toml::from_str::<Config>(example).unwrap(), Config::default());
    }

    #[test]
    fn all_errors_come_at_once_with_their_path() {
        let mut config = Config::default();
        config.index.m = Some(1000);
        config.chunking.overlap_tokens = 200;
        config.llm.model = Some("m".into());
        let errors = config.validate().join("\n");
        for path in ["index.m", "chunking.overlap_tokens", "llm:"] {
            assert!(errors.contains(path), "{path} missing in {errors}");
        }
    }

    #[test]
    fn what_asks_a_model_needs_one() {
        let mut config = Config::default();
        (config.query.rewrite, config.query.expand) = (Rewrite::Model, Expand::Hyde);
        let errors = config.validate().join("\n");
        assert!(errors.contains("query.rewrite: needs a language model") && errors.contains("query.expand: needs"), "{errors}");
        (config.llm.base_url, config.llm.model) = (Some("http://127.0.0.1:1/v1".into()), Some("m".into()));
        assert_eq!(config.validate(), Vec::<String>::new());
    }

    #[test]
    fn a_typo_is_an_error() {
        assert!(toml::from_str::<Config>("[server]\nlisten_on = \"x\"").is_err());
    }

    #[test]
    fn an_open_door_needs_a_key() {
        let open = Overrides { listen: Some("0.0.0.0:7272".parse().unwrap()), ..Overrides::default() };
        assert!(open.settings().is_err());
        assert!(Overrides { api_key: Some("a-long-enough-key".into()), ..open }.settings().is_ok());
    }
}
