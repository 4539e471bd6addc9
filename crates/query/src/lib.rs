//! Question in, grounded answer out.
//!
//! ```text
//! question ─▶ retrieve ─▶ fuse ─▶ pack ─▶ generate, or extract ─▶ cite
//! ```
//!
//! A [`ChunkSource`] is a collection that can be searched. [`search()`] ranks its chunks by meaning,
//! by words, or by both. An [`Engine`] packs the best of them into a context and answers: with a
//! chat model if it has one, else with the sentences that support an answer best. Each [`Citation`]
//! names the exact characters that it rests on.
//!
//! Invariants:
//! - A citation's `quote` is the document's text at its `span`.
//! - The same index and question give the same hits and the same extractive answer, byte for byte.
//! - Both legs of a search see the same allowed rows, made from filter and principals.
//! - What documents say reaches a model as data inside blocks whose delimiter nobody can guess, never as instructions.
//! - Words of two models, or of a model and the documents, are never spliced into one answer.
//! - Blocking work hops off the async threads in one place: `answer::off_thread`.
//!
//! ```
//! # use ragstone_query as query;
//! use query::{Figures, Judgements};
//! let judged = Judgements::from([("a".to_owned(), 1.0), ("b".to_owned(), 1.0)]);
//! let figures = Figures::of(&["x".to_owned(), "a".to_owned()], &judged);
//! assert_eq!((figures.recall_at_10, figures.mrr_at_10), (0.5, 0.5));
//! ```

mod altered;
mod answer;
mod asked;
mod bench;
mod beside;
mod cite;
mod collection_source;
mod compress;
mod diverse;
mod evaluate;
mod evidence;
mod expand;
mod extractive;
#[cfg(test)]
mod fake;
mod fuse;
mod gate;
mod guards;
mod metrics;
mod pack;
mod prompt;
mod retrieve;
mod rewrite;
mod script;
mod search;
mod sentences;
mod session;
mod terms;
mod timings;

pub use altered::{QuoteCase, quote_cases};
pub use answer::{
    Answer, AnswerCache, AnswerCacheOptions, AnswerCacheStatistics, AnswerEvent, AnswerMode, Asker, CachePolicy, CacheUse, Draft, Engine,
    EngineParams, Excerpt, Found, InvalidQuery, Prepared, QueryError, QueryRequest, Recalled, Reworded, RewrittenBy, Steps,
};
pub use bench::{BenchError, BenchPoint, BenchReport, BenchRequest, QUERIES_MAX, bench};
pub use cite::{Citation, Cited, GatePolicy, GateReport, GatedSentence, Passed, Reviewer, cite, compose};
pub use collection_source::CollectionSource;
pub use compress::compress;
pub use evaluate::{
    AnswerSummary, BeirError, BeirSet, BeirText, Case, CaseScore, Change, Comparison, ContextScore, ContextSummary, Figures, Given,
    GivenCitation, GivenContext, GivenExcerpt, GivenSource, GivenText, GoldAnswer, InvalidCase, JUDGE_VERSION, Judgement, MetricChange,
    PASS_DEFAULT, PERMUTATIONS, QueryScores, cases_of, exact_match, f1, judge_messages, randomisation_test, read_jsonl,
};
pub use evidence::{Evidence, Weights};
pub use expand::{Expand, Rewrite};
pub use extractive::{Extracted, ExtractiveParams, Support, extract};
pub use fuse::{LegRank, LegWeights};
pub use gate::{Gate, Judged, Verdict};
pub use guards::{
    GuardAction, GuardDecision, GuardKind, GuardParams, GuardStage, InjectionRefused, OnInjectedQuestion, OnInjectedSource, OpenedChat,
    SealedChat,
};
pub use metrics::{Judgements, mrr_at_k, ndcg_at_k, recall_at_k};
pub use pack::{DropReason, Dropped, Packed, PackedSource, pack};
pub use prompt::PROMPT_VERSION;
pub use retrieve::{ChunkSource, DataState, Occurrences, SourceError, StoredChunk};
pub use search::{
    Expansion, Hit, HitExplain, InvalidSearch, NEIGHBOURS_MAX, NarrowedExplain, Neighbour, Neighbours, QUERY_BYTES_MAX, RERANKED, Ranking,
    Rerank, RerankSome, SearchError, SearchExplain, SearchMode, SearchRequest, SearchResponse, SkippedLeg, TOP_K_MAX, search, search_by,
};
pub use sentences::{Kind as SentenceKind, Sentence, sentences};
pub use session::{Said, Turn};
pub use timings::Timings;
