//! What is kept of a batch: many questions or completions that are answered as one durable job.

use crate::records::JobState;
use corpus::{CollectionId, JobId, Principals, TenantId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Most items of one batch.
pub const BATCH_ITEMS_MAX: u32 = 50_000;

/// A batch and how far it is. Its counts change in the same commit as the results that they count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// Names it.
    pub id: JobId,
    /// Owner.
    pub tenant: TenantId,
    /// On whose behalf it runs.
    pub asker: BatchAsker,
    /// What it does.
    pub work: BatchWork,
    /// How it stands.
    #[serde(flatten)]
    pub state: JobState,
    /// Items.
    pub total: u32,
    /// Items with a result.
    #[serde(default)]
    pub done: u32,
    /// Those of them that failed.
    #[serde(default)]
    pub failed: u32,
    /// Tokens that models read for it, as far as they were reported.
    #[serde(default)]
    pub prompt_tokens: u64,
    /// Those of them that the provider had in its cache.
    #[serde(default)]
    pub cached_tokens: u64,
    /// Tokens that they wrote.
    #[serde(default)]
    pub completion_tokens: u64,
    /// Items worked on at a time.
    pub concurrency: u32,
    /// Times it was begun since it last had a result: more than one after a crash.
    #[serde(default)]
    pub attempts: u32,
    /// Whether its end was asked for and is waited for.
    #[serde(default)]
    pub is_cancelling: bool,
    /// How it stands at the provider, if it is one there.
    #[serde(default)]
    pub at_provider: Option<AtProvider>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// Who asked, with the bounds that held then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAsker {
    /// Names the API key.
    pub key: String,
    /// Whose documents may be read; absent: all of the tenant.
    #[serde(default)]
    pub principals: Option<BTreeSet<String>>,
    /// Ids or names of the collections that may be used; absent: all.
    #[serde(default)]
    pub collections: Option<BTreeSet<String>>,
    /// What its calls are booked under; those of questions say so themselves.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl BatchAsker {
    /// Whose documents may be read.
    #[must_use]
    pub fn principals(&self) -> Principals {
        self.principals.clone().map_or(Principals::All, Principals::Only)
    }
}

/// What a batch does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum BatchWork {
    /// Answers questions from a collection.
    Questions {
        /// Which.
        collection: CollectionId,
    },
    /// Asks a model of the gateway.
    Completions {
        /// Its name there.
        model: String,
    },
    /// Hands requests to the batch interface of a provider.
    AtProvider {
        /// Name of the model at the gateway.
        model: String,
        /// Name of the deployment whose provider has it.
        deployment: String,
    },
}

impl BatchWork {
    /// The collection that is asked, if one is.
    #[must_use]
    pub fn collection(&self) -> Option<&CollectionId> {
        match self {
            Self::Questions { collection } => Some(collection),
            Self::Completions { .. } | Self::AtProvider { .. } => None,
        }
    }
}

/// How a batch stands at its provider: each step is noted before the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtProvider {
    /// Whether what it costs at most was held in the ledger, under the batch's name: what is not there any more was
    /// booked.
    #[serde(default, alias = "is_budgeted")]
    pub is_held: bool,
    /// The file of requests that was uploaded.
    #[serde(default)]
    pub file: Option<String>,
    /// Whether the provider was, or was about to be, told to begin: without its answer it must be asked whether it did.
    #[serde(default)]
    pub may_have_begun: bool,
    /// The provider's own id of the batch.
    #[serde(default)]
    pub batch: Option<String>,
    /// Kinds of what stands as placeholders in the file, so that its answers can have the values again.
    #[serde(default)]
    pub redacted: Vec<String>,
}

/// What came of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchResult {
    /// Which, from 0.
    pub index: u32,
    /// Whether it is an error.
    pub is_failed: bool,
    /// Tokens that a model read for it.
    pub prompt_tokens: u64,
    /// Those of them that the provider had in its cache.
    pub cached_tokens: u64,
    /// Tokens that it wrote.
    pub completion_tokens: u64,
    /// The result, as JSON.
    pub json: Vec<u8>,
}
