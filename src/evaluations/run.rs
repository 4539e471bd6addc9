//! An evaluation from its first case to its end.

use super::{Judge, Mode, Named, Seat, Settings};
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::http::chat::{Asked, judge_quietly};
use crate::http::query::answer_quietly;
use crate::http::search::source;
use crate::traces::TraceKind;
use futures::FutureExt;
use gateway::{Money, TokenUsage};
use index::evaluations::{EvaluationKind, EvaluationRecord, EvaluationState};
use query::{
    AnswerSummary, CachePolicy, CaseScore, Comparison, Figures, Given, Hit, Judgement, Judgements, PASS_DEFAULT, QueryRequest, QueryScores,
    Rerank, SearchRequest, judge_messages,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

/// Longest rest between two searches: as long as the search took, so that others come through.
const REST_MAX: Duration = Duration::from_millis(50);
/// Results that are committed together, unless they take this long to come.
const COMMITTED_TOGETHER: usize = 32;
const COMMITTED_AFTER: Duration = Duration::from_secs(2);
/// Times a case is tried again that is turned away for overload, and the longest wait before.
const TRIES: u32 = 5;
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Tokens that a verdict may have.
const VERDICT_TOKENS_MAX: u32 = 256;

/// Runs an evaluation in a task of its own.
pub(crate) fn launch(app: AppState, caller: Caller, record: EvaluationRecord, settings: Settings, cases: Vec<Named>, seat: Seat) {
    tokio::spawn(async move {
        let work = async {
            let _turn = seat.turn().await;
            let mut run =
                Run { app: &app, caller: &caller, record: &record, settings: &settings, waiting: Vec::new(), last: Instant::now() };
            let measuring = async {
                match record.kind {
                    EvaluationKind::Retrieval => run.retrieval(&cases).await,
                    EvaluationKind::Answers => run.answers(&cases).await,
                }
            };
            let measured = AssertUnwindSafe(measuring).catch_unwind().await;
            measured.unwrap_or_else(|_| Err(ApiError::internal("an evaluation panicked")))
        };
        let end = tokio::select! {
            biased;
            // The next start says that it was interrupted.
            () = app.stopped() => return,
            () = app.keys.closed_to(&caller) => Err("the key that asked was revoked or has expired".to_owned()),
            // One that somebody removed meanwhile is not there to be settled.
            end = work => end.map_err(|error| error.detail),
        };
        settle(&app, &record, end).await;
    });
}

async fn settle(app: &AppState, record: &EvaluationRecord, end: Result<Value, String>) {
    let (state, summary) = match end {
        Ok(summary) => (EvaluationState::Succeeded, summary),
        Err(reason) => (EvaluationState::Failed { reason }, Value::Null),
    };
    let (tenant, id) = (record.tenant.clone(), record.id.clone());
    let settled = app.blocking(move |app| {
        app.catalog.end_evaluation(&tenant, &id, state, summary)?;
        Ok(app.catalog.prune_evaluations(&tenant, app.evaluations.config.kept_max)?)
    });
    if let Err(error) = settled.await.or_else(|error| if error.code == "not_found" { Ok(()) } else { Err(error) }) {
        tracing::error!(evaluation = %record.id, code = error.code, cause = error.cause, "the end of an evaluation can't be noted");
    }
}

struct Run<'r> {
    app: &'r AppState,
    caller: &'r Caller,
    record: &'r EvaluationRecord,
    settings: &'r Settings,
    /// Results that are not committed yet.
    waiting: Vec<(u32, Vec<u8>)>,
    last: Instant,
}

/// What was measured in one mode.
#[derive(Default)]
struct Measured {
    figures: Vec<Figures>,
    queries: BTreeMap<String, QueryScores>,
    latencies: Vec<f64>,
}

impl Run<'_> {
    async fn retrieval(&mut self, cases: &[Named]) -> Result<Value, ApiError> {
        let mut modes: Vec<(Mode, Measured)> = self.settings.modes.iter().map(|mode| (*mode, Measured::default())).collect();
        let (mut left_out, mut failed) = (Map::new(), 0_usize);
        for (index, named) in (0..).zip(cases) {
            let mut scores = Map::new();
            let mut fault = None;
            for (mode, measured) in &mut modes {
                if left_out.contains_key(mode.name()) {
                    continue;
                }
                match patiently(|| self.search(*mode, named)).await {
                    Ok((hits, took)) => {
                        let (ranking, judged) = ranking(&hits, named);
                        let figures = Figures::of(&ranking, &judged);
                        let by_name: QueryScores = figures.named().map(|(name, value)| (name.to_owned(), value)).into();
                        scores.insert(mode.name().to_owned(), json!(by_name));
                        measured.figures.push(figures);
                        measured.queries.insert(named.id.clone(), by_name);
                        measured.latencies.push(took.as_secs_f64() * 1000.0);
                        tokio::time::sleep(took.min(REST_MAX)).await;
                    }
                    Err(error) if is_over(&error) => return Err(gone(error)),
                    Err(error) if *mode == Mode::Reranked => drop(left_out.insert(mode.name().to_owned(), json!(error.detail))),
                    Err(error) => fault = Some(error),
                }
            }
            failed += usize::from(fault.is_some());
            let result =
                json!({ "id": named.id, "question": named.case.question, "scores": scores, "error": fault.map(|error| error.detail) });
            self.keep(index, &result).await?;
        }
        self.commit().await?;
        let summed_up = self.app.blocking(move |_| {
            let means = modes.iter_mut().filter(|(mode, _)| !left_out.contains_key(mode.name()));
            let means: Map<String, Value> = means.map(|(mode, measured)| (mode.name().to_owned(), measured.means())).collect();
            Ok(json!({ "modes": means, "left_out": left_out, "failed": failed, "comparisons": comparisons(&modes) }))
        });
        summed_up.await
    }

    /// The hits of one search, and how long it took.
    async fn search(&self, mode: Mode, named: &Named) -> Result<(Vec<Hit>, Duration), ApiError> {
        let turn = self.app.admission.queries.enter_quietly().await?;
        let (caller, collection) = (self.caller.clone(), self.record.collection.to_string());
        let request = SearchRequest {
            top_k: self.settings.k,
            mode: mode.search(),
            rerank: (mode == Mode::Reranked).then_some(Rerank::Is(true)),
            ..SearchRequest::new(named.case.question.clone())
        };
        let tags = self.record.asker.tags.clone();
        let found = self.app.blocking(move |app| {
            let _turn = turn;
            let source = source(app, &caller, &collection, caller.errand(tags, None))?;
            let began = Instant::now();
            let found = app.engine.search(source.as_ref(), &request, &caller.principals)?;
            Ok((found.hits, began.elapsed()))
        });
        found.await
    }

    async fn answers(&mut self, cases: &[Named]) -> Result<Value, ApiError> {
        let (mut all, mut failed) = (Vec::with_capacity(cases.len()), 0_usize);
        for (index, named) in (0..).zip(cases) {
            match patiently(|| self.answer(named)).await {
                Ok((score, trace)) => {
                    self.keep(index, &without_texts(&score, &trace)).await?;
                    all.push(score);
                }
                Err(error) if is_over(&error) => return Err(gone(error)),
                Err(error) => {
                    failed += 1;
                    self.keep(index, &json!({ "id": named.id, "question": named.case.question, "scores": {}, "error": error.detail }))
                        .await?;
                }
            }
        }
        self.commit().await?;
        let pass = self.settings.judge.as_ref().map_or(PASS_DEFAULT, |judge| judge.pass);
        Ok(json!({ "answers": AnswerSummary::of(&all, pass), "failed": failed }))
    }

    /// What was measured, and the trace of the answer.
    async fn answer(&self, named: &Named) -> Result<(CaseScore, Value), ApiError> {
        let Named { id, case } = named;
        let request = QueryRequest {
            top_k: self.settings.k,
            model: self.settings.model.clone(),
            cache: CachePolicy::Bypass,
            tags: self.record.asker.tags.clone(),
            ..QueryRequest::new(case.question.clone())
        };
        let (answer, _) = answer_quietly(self.app, self.caller, self.record.collection.as_str(), request, TraceKind::Evaluation).await?;
        let given = Given::deserialize(&answer).map_err(ApiError::internal)?;
        let (score, given) = {
            let (id, case) = (id.clone(), case.clone());
            self.app.blocking(move |_| Ok((CaseScore::of(id, &case, &given), given))).await?
        };
        let score = match &self.settings.judge {
            Some(judge) if case.can_be_judged(&given) => self.judge(judge, named, &given, score).await?,
            _ => score,
        };
        Ok((score, answer.get("trace_id").cloned().unwrap_or_default()))
    }

    async fn judge(&self, judge: &Judge, named: &Named, given: &Given, score: CaseScore) -> Result<CaseScore, ApiError> {
        let messages = judge_messages(&named.case.question, named.case.references(), &given.answer);
        let messages = messages.map(|(role, content)| json!({ "role": role, "content": content }));
        let body = json!({ "model": judge.model, "messages": messages, "temperature": 0, "max_tokens": VERDICT_TOKENS_MAX });
        let asked = Asked::deserialize(&body).map_err(ApiError::internal)?;
        let (said, used) = judge_quietly(self.app, self.caller.account(self.record.asker.tags.clone()), asked).await?;
        let TokenUsage { prompt_tokens, completion_tokens, cost, .. } = used;
        let verdict = said.pointer("/choices/0/message/content").and_then(Value::as_str).and_then(Judgement::read);
        Ok(score.judged(verdict, prompt_tokens, completion_tokens, cost.map(Money::usd)))
    }

    async fn keep(&mut self, index: u32, result: &Value) -> Result<(), ApiError> {
        self.waiting.push((index, serde_json::to_vec(result).map_err(ApiError::internal)?));
        if self.waiting.len() < COMMITTED_TOGETHER && self.last.elapsed() < COMMITTED_AFTER { Ok(()) } else { self.commit().await }
    }

    async fn commit(&mut self) -> Result<(), ApiError> {
        let results = std::mem::take(&mut self.waiting);
        self.last = Instant::now();
        let (tenant, id) = (self.record.tenant.clone(), self.record.id.clone());
        self.app.blocking(move |app| Ok(app.catalog.commit_evaluation_results(&tenant, &id, &results).map(drop)?)).await
    }
}

/// Tries again what is turned away for overload, here or at a provider.
async fn patiently<T, F: Future<Output = Result<T, ApiError>>>(work: impl Fn() -> F) -> Result<T, ApiError> {
    let mut tries = 1;
    loop {
        match work().await {
            Err(error) if tries < TRIES && error.retry_after.is_some() => {
                tokio::time::sleep(error.retry_after.unwrap_or_default().min(WAIT_MAX)).await;
                tries += 1;
            }
            done => return done,
        }
    }
}

/// Whether no other case can fare better: of all that a case needs only the collection can be missing.
fn is_over(error: &ApiError) -> bool {
    error.code == "not_found"
}

fn gone(error: ApiError) -> ApiError {
    ApiError { detail: format!("the collection is gone, or the key may not use it any more: {}", error.detail), ..error }
}

/// What is kept of a case: what was measured, and where the answer is looked up while its documents are there and may be
/// read. Its words, and a judge's of it, would outlive them here.
fn without_texts(score: &CaseScore, trace: &Value) -> Value {
    let mut result = json!(score);
    if let Some(fields) = result.as_object_mut() {
        ["answer", "judge_reason"].iter().for_each(|field| drop(fields.remove(*field)));
        fields.extend([("scores".to_owned(), json!({ "answers": score.scores() })), ("trace_id".to_owned(), trace.clone())]);
    }
    result
}

/// Documents by their best chunk, each under the id that it is judged by, and the judgements.
fn ranking(hits: &[Hit], named: &Named) -> (Vec<String>, Judgements) {
    let judged: Judgements = named.case.relevant.iter().map(|(id, gain)| (id.clone(), *gain)).collect();
    let mut seen = HashSet::new();
    let first = hits.iter().filter(|hit| seen.insert(hit.document_id.clone()));
    let name = |hit: &Hit| match &hit.external_id {
        Some(external) if judged.contains_key(external) => external.clone(),
        _ => hit.document_id.to_string(),
    };
    (first.map(name).collect(), judged)
}

impl Measured {
    fn means(&mut self) -> Value {
        self.latencies.sort_by(f64::total_cmp);
        let percentile = |percent: usize| {
            let rank = (self.latencies.len() * percent).div_ceil(100).max(1);
            self.latencies.get(rank - 1).copied()
        };
        let mut means = json!(Figures::mean(&self.figures));
        if let Some(fields) = means.as_object_mut() {
            fields.insert("p50_ms".into(), json!(percentile(50)));
            fields.insert("p99_ms".into(), json!(percentile(99)));
        }
        means
    }
}

/// Each mode against each one before it, without the queries' names.
fn comparisons(modes: &[(Mode, Measured)]) -> Vec<Value> {
    let mut all = Vec::new();
    for (at, (to, now)) in modes.iter().enumerate() {
        for (from, before) in modes.iter().take(at).filter(|(_, before)| !before.queries.is_empty() && !now.queries.is_empty()) {
            let mut comparison = Comparison::of(&before.queries, &now.queries);
            comparison.metrics.values_mut().for_each(|metric| metric.largest.clear());
            all.push(json!({ "from": from.name(), "to": to.name(), "comparison": comparison }));
        }
    }
    all
}
