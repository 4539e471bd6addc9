//! How good retrieval and answers are, measured against what is known to be right.
//!
//! Everything here is arithmetic on what was found and said: who asks is the caller's business
//! (`src/cli/eval/` over HTTP, `src/evaluations/` in the server), so both measure alike.

mod answers;
mod beir;
mod cases;
mod compare;
mod context;
mod judge;
mod significance;
mod squad;

pub use answers::{AnswerSummary, CaseScore, Given, GivenCitation, GivenSource, PASS_DEFAULT};
pub use beir::{BeirError, BeirSet, BeirText, Figures, GoldAnswer, read_jsonl};
pub use cases::{Case, InvalidCase, cases_of};
pub use compare::{Change, Comparison, MetricChange, QueryScores};
pub use context::{ContextScore, ContextSummary, GivenContext, GivenExcerpt, GivenText};
pub use judge::{JUDGE_VERSION, Judgement, judge_messages};
pub use significance::{PERMUTATIONS, randomisation_test};
pub use squad::{exact_match, f1};
