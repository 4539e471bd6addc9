//! Puts the rooms together, innermost first. The only place that names concrete types.

mod caches;
mod calls;
mod models;
mod spend;
mod traces;

use crate::app::{App, AppState, Rooms};
use crate::auth::Keys;
use crate::batches::Batches;
use crate::caches::Caches;
use crate::config::{Compression, Config, EmbeddingConfig, EmbeddingEngine, ExhaustedConfig, PrecisionConfig, Settings};
use crate::limits::{Limits, TokenLimit};
use anyhow::{Context, bail};
use cache::{Link, LinkOptions};
use corpus::{Embedder, Precision, Reranker};
use encoder::{LocalEmbedder, LocalOptions, LocalReranker, Manifest, Requested};
use gateway::telemetry::Kind;
use index::blobs::Blobs;
use index::store::{SledOptions, SledStore};
use index::vector::{Engine as VectorEngine, VectorParams};
use index::{Catalog, CatalogParams};
use ingest::parse::{ChildParser, ParseLimits};
use ingest::{Ingest, IngestParams};
use metrics_exporter_prometheus::Matcher;
use query::{Engine, EngineParams};
pub(crate) use spend::Spend;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Opens the data directory and starts everything but the listener. Blocking, on a thread that knows the runtime.
pub(crate) fn start(settings: Settings) -> anyhow::Result<AppState> {
    let Settings { config, keys, llm_api_key, deployment_keys, embedding_api_key, redis_password, rerank_api_key } = settings;
    let metrics = metrics()?;
    let keys = Arc::new(keys);
    // The models first: without them nothing works, and their errors name the command that mends it.
    let engine = embedding_engine(&config)?;
    let local_reranker = local_reranker(&config)?;
    let catalog = Arc::new(catalog(&config)?.with_quotas(config.quotas.quotas()));
    load_keys(&keys, &catalog)?;
    // Before the first request: nothing of what is noted as running does.
    catalog.interrupt_evaluations()?;
    let (spend, meters, prices) = spend::spend(&config, &catalog)?;
    let engine = match (engine, &config.embedding.remote) {
        (None, Some(remote)) => calls::embedder(remote, embedding_api_key, &spend, &prices)?,
        (engine, _) => engine.context("embedding: no model")?,
    };
    // Behind the lock of the store: nobody else has the database of the caches open, nor what Redis missed.
    let link = link(&config, redis_password)?;
    let limits = Arc::new(Limits::new(config.limits.clone(), Arc::clone(&keys), link.clone()));
    let grounds = caches::Grounds::open(&config, link.clone());
    let (embedder, embeddings) = caches::embedder(&config, &grounds, engine)?;
    let answers = caches::answers(&config, &grounds)?;
    let parser = Arc::new(parser(&config)?);
    let params = IngestParams { workers: config.ingest.workers, queued_max: config.ingest.queued_max };
    let ingest = Ingest::start(Arc::clone(&catalog), parser, Arc::clone(&embedder), params).context("can't start ingestion")?;
    let batch_clients = models::batch_clients(&config.llm, llm_api_key.as_deref(), &deployment_keys)?;
    let batches = Batches::new(config.batches.clone(), batch_clients);
    let mut models = models::models(&config.llm, llm_api_key, &deployment_keys, &spend.ledger, &meters)?;
    spend::count_as(&mut models, &spend.meters);
    // Outermost: what is tried again and elsewhere is one call to its caller.
    let models = models.around(|model| Arc::new(TokenLimit::new(model, Arc::clone(&limits))));
    let reranker = match local_reranker {
        None => calls::reranker(config.rerank.as_ref(), rerank_api_key, &spend, &prices)?,
        here => here,
    };
    let engine = Engine::new(models, engine_params(&config)).with_reranker(reranker.clone());
    let engine = Arc::new(match &answers {
        Some(answers) => engine.with_cache(Arc::clone(answers)),
        None => engine,
    });
    let caches = Caches { answers, embeddings };
    let (traces, sessions) = traces::traces(&config, &catalog)?;
    let rooms = Rooms {
        config,
        keys,
        limits,
        catalog,
        ingest,
        embedder,
        reranker,
        engine,
        batches,
        caches,
        traces,
        sessions,
        spend,
        link,
        metrics,
    };
    Ok(AppState(Arc::new(App::new(rooms))))
}

/// The Redis that servers share. One that is away is no error: the link looks for it from now on.
fn link(config: &Config, password: Option<String>) -> anyhow::Result<Option<Arc<Link>>> {
    let Some(redis) = &config.redis else { return Ok(None) };
    let owed = Some(config.server.data_dir.join("redis_owed"));
    let link = Handle::current().block_on(Link::open(LinkOptions { owed, ..redis.link(password)? }));
    Ok(Some(link.context("redis.url: can't be used")?))
}

/// The keys that were made over `/v1/keys`.
fn load_keys(keys: &Keys, catalog: &Catalog) -> anyhow::Result<()> {
    for record in catalog.api_keys().context("can't read the stored API keys")? {
        keys.insert(record).map_err(anyhow::Error::msg)?;
    }
    if keys.is_open() && keys.stored_count() > 0 {
        let stored = keys.stored_count();
        tracing::warn!(
            stored,
            "no key is configured: whoever reaches this machine's loopback interface is the operator, stored keys or not"
        );
    }
    Ok(())
}

fn metrics() -> anyhow::Result<metrics_exporter_prometheus::PrometheusHandle> {
    let mut builder = metrics_exporter_prometheus::PrometheusBuilder::new();
    for row in gateway::telemetry::TABLE {
        if let Kind::Histogram(bounds) = row.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(row.prometheus.to_owned()), bounds)?;
        }
    }
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    // A second server in one process (tests) shares the first one's recorder.
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::debug!("metrics go to the recorder that was installed first");
    }
    Ok(handle)
}

fn catalog(config: &Config) -> anyhow::Result<Catalog> {
    let data = &config.server.data_dir;
    std::fs::create_dir_all(data).with_context(|| format!("can't make the data directory {}", data.display()))?;
    if let Some(folder) = index::backup::unfinished(data) {
        bail!("a restore was interrupted ({} is there): empty {} and restore the backup again", folder.display(), data.display());
    }
    let reserve_bytes = config.index.disk_reserve_bytes;
    let options = SledOptions { cache_bytes: config.index.store_cache_bytes, reserve_bytes };
    let store = SledStore::open(data.join("store"), &options).with_context(|| format!("can't open the store in {}", data.display()))?;
    let blobs = Blobs::open(data.join("blobs")).context("can't open the folder of originals")?.with_reserve(reserve_bytes);
    blobs.sweep_temporary().context("can't sweep the folder of originals")?;
    let params =
        CatalogParams { views: data.join("views"), vector: vector_params(config), collections_open_max: config.index.collections_open_max };
    Ok(Catalog::new(Arc::new(store), blobs, params))
}

fn vector_params(config: &Config) -> VectorParams {
    let index = &config.index;
    let engine = match index.engine.as_str() {
        "exact" => VectorEngine::Exact,
        "hnsw_rs" => VectorEngine::HnswRs,
        _ => VectorEngine::Auto,
    };
    let of_engine = VectorParams::of(engine);
    VectorParams {
        exact_below: index.exact_below,
        m: index.m.unwrap_or(of_engine.m),
        ef_construction: index.ef_construction.unwrap_or(of_engine.ef_construction),
        ef_search: index.ef_search,
        ..of_engine
    }
}

/// The parser is this same program, started as a child for each worker.
fn parser(config: &Config) -> anyhow::Result<ChildParser> {
    let program = std::env::current_exe().context("can't find this program's own file, which parses documents as a child")?;
    let limits = ParseLimits {
        timeout_ms: config.ingest.parse_timeout_s * 1000,
        memory_bytes_max: config.ingest.parse_memory_bytes_max,
        output_bytes_max: config.ingest.text_bytes_max,
    };
    ChildParser::start(program, vec!["parse-worker".into()], limits, config.ingest.workers).context("can't start the parsers")
}

/// What computes vectors here; `None` where a provider does.
fn embedding_engine(config: &Config) -> anyhow::Result<Option<Arc<dyn Embedder>>> {
    // Lexical similarity only: for tests of the server that don't need a model.
    if config.embedding.model == "test-hash" {
        tracing::warn!("embedding with the hash embedder, which is for tests only");
        return Ok(Some(Arc::new(encoder::HashEmbedder::new())));
    }
    if config.embedding.remote.is_some() {
        return Ok(None);
    }
    let (manifest, directory) = manifest(config)?;
    let Some(entry) = manifest.get(&config.embedding.model) else {
        bail!("embedding.model: {:?} is not in {}", config.embedding.model, directory.join("manifest.toml").display());
    };
    let (folder, options) = (directory.join(&entry.name), local_options(&config.embedding));
    if config.embedding.engine == EmbeddingEngine::Onnx {
        let library = config.embedding.onnx_runtime.clone().unwrap_or_else(|| encoder::onnx_runtime_in(&directory));
        return Ok(Some(Arc::new(LocalEmbedder::open_onnx(entry, &folder, &library, options)?)));
    }
    Ok(Some(Arc::new(LocalEmbedder::open(entry, &folder, options)?)))
}

/// The reranker that computes here, if one does.
fn local_reranker(config: &Config) -> anyhow::Result<Option<Arc<dyn Reranker>>> {
    let Some(name) = config.rerank.as_ref().and_then(|rerank| rerank.local.as_ref()) else { return Ok(None) };
    let (manifest, directory) = manifest(config)?;
    let Some(entry) = manifest.get(name) else {
        bail!("rerank.local: {name:?} is not in {}", directory.join("manifest.toml").display());
    };
    let reranker = LocalReranker::open(entry, &directory.join(name), local_options(&config.embedding));
    Ok(Some(Arc::new(reranker.context("rerank.local")?)))
}

fn local_options(config: &EmbeddingConfig) -> LocalOptions {
    let precision = match config.precision {
        PrecisionConfig::Auto => Requested::Auto,
        PrecisionConfig::Int8 => Requested::Exactly(Precision::Int8),
        PrecisionConfig::F32 => Requested::Exactly(Precision::F32),
    };
    LocalOptions { queue_texts: config.queue_texts_max, precision, ..LocalOptions::default() }
}

/// The manifest and the folder it lies in.
pub(crate) fn manifest(config: &Config) -> anyhow::Result<(Manifest, PathBuf)> {
    let directory = models_directory(config);
    let manifest = Manifest::read(&directory.join("manifest.toml")).with_context(|| {
        format!("no model manifest in {}; name its folder with --models-dir or RAGSTONE_MODELS_DIR", directory.display())
    })?;
    Ok((manifest, directory))
}

fn models_directory(config: &Config) -> PathBuf {
    if let Some(directory) = &config.embedding.models_dir {
        return directory.clone();
    }
    let here = PathBuf::from("models");
    let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.join("models")));
    match beside {
        Some(beside) if !here.join("manifest.toml").exists() && beside.join("manifest.toml").exists() => beside,
        _ => here,
    }
}

fn engine_params(config: &Config) -> EngineParams {
    EngineParams {
        context_tokens: config.query.max_context_tokens,
        neighbours: config.query.neighbours,
        compression: (config.query.compression == Compression::Extractive).then_some(config.query.compression_share),
        rewrite: config.query.rewrite,
        expand: config.query.expand,
        expand_time: Duration::from_secs(config.query.expand_timeout_s),
        answer_tokens: config.llm.max_answer_tokens,
        answer_time: Duration::from_secs(config.llm.total_timeout_s),
        gate: config.answers.citation_gate,
        extracts_when_exhausted: config.llm.on_exhausted == ExhaustedConfig::Extract,
        guards: config.guards.params(),
        ..EngineParams::default()
    }
}
