//! The caches of this server under the names that operators know them by.

use cache::{Address, Prefix, Removals, Stack, Statistics};
use corpus::{CollectionId, TenantId};
use query::AnswerCache;
use serde::Deserialize;
use std::sync::Arc;

/// Which cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Answers to questions: each is its tenant's.
    Answer,
    /// Vectors of texts: the server's, since they depend on the model and the text alone.
    Embedding,
}

/// Either may be switched off.
pub(crate) struct Caches {
    pub(crate) answers: Option<Arc<AnswerCache>>,
    pub(crate) embeddings: Option<Arc<Stack>>,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Answer, Self::Embedding];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Embedding => "embedding",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Where the entry lies that pages list under this key, among those of a tenant: an answer's is its collection and
    /// its digest, a vector's its digest.
    pub(crate) fn address(self, tenant: &TenantId, key: &str) -> Option<Address> {
        match self {
            Self::Answer => {
                let (collection, digest) = key.split_once('.')?;
                Address::of(Some(tenant), Some(&collection.parse().ok()?), self.name(), digest)
            }
            Self::Embedding => Address::of(None, None, self.name(), key),
        }
    }
}

impl Caches {
    pub(crate) fn stack(&self, kind: Kind) -> Option<&Stack> {
        match kind {
            Kind::Answer => self.answers.as_ref().map(|answers| answers.stack()),
            Kind::Embedding => self.embeddings.as_deref(),
        }
    }

    /// Removes all answers made from a collection, from every tier.
    pub(crate) async fn forget(&self, tenant: &TenantId, collection: &CollectionId) -> Removals {
        match self.stack(Kind::Answer) {
            Some(stack) => stack.invalidate(&Prefix::of_collection(tenant, collection)).await,
            None => Removals::default(),
        }
    }

    /// Answers made from a collection before a moment that are still there, counted in each tier, and tiers that could
    /// not be looked into.
    pub(crate) async fn left(&self, tenant: &TenantId, collection: &CollectionId, before_ms: u64) -> (u64, u64) {
        let Some(stack) = self.stack(Kind::Answer) else { return (0, 0) };
        let holdings = stack.holdings(&Prefix::of_collection(tenant, collection), before_ms).await;
        let unseen = holdings.iter().filter(|holding| holding.entries.is_none()).count() as u64;
        (holdings.iter().filter_map(|holding| holding.entries).sum(), unseen)
    }

    /// Brings the figures on the metrics page up to date.
    pub(crate) async fn report(&self) {
        for kind in Kind::ALL {
            if let Some(stack) = self.stack(kind) {
                report_tiers(kind.name(), &stack.statistics().await);
            }
        }
        let Some(answers) = self.answers.as_ref().map(|answers| answers.statistics()) else { return };
        report_lookups("exact", answers.exact_hits, answers.exact_misses);
        if let Some(semantic) = answers.semantic {
            report_lookups("semantic", semantic.hits, semantic.lookups.saturating_sub(semantic.hits));
            metrics::counter!("ragstone_semantic_refused_total").absolute(semantic.refused);
        }
    }
}

fn report_lookups(match_kind: &'static str, hits: u64, misses: u64) {
    metrics::counter!("ragstone_answer_cache_hits_total", "match" => match_kind).absolute(hits);
    metrics::counter!("ragstone_answer_cache_misses_total", "match" => match_kind).absolute(misses);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn report_tiers(kind: &'static str, statistics: &Statistics) {
    for tier in &statistics.tiers {
        let labels = [("kind", kind.to_owned()), ("tier", tier.tier.to_string())];
        metrics::counter!("ragstone_cache_hits_total", &labels).absolute(tier.hits);
        metrics::counter!("ragstone_cache_misses_total", &labels).absolute(tier.misses);
        metrics::counter!("ragstone_cache_evictions_total", &labels).absolute(tier.evictions);
        metrics::counter!("ragstone_cache_errors_total", &labels).absolute(tier.errors);
        metrics::counter!("ragstone_cache_skipped_total", &labels).absolute(tier.skipped);
        if let Some(bytes) = tier.bytes {
            metrics::gauge!("ragstone_cache_bytes", &labels).set(bytes as f64);
        }
    }
}
