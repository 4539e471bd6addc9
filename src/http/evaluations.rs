//! `/v1/evaluations`: how good a collection's searches and answers are, against cases whose answers are known.

use super::cases::CasesFrom;
use super::collections::rfc3339;
use super::extract::{Body, IdempotencyKey, PageParams, Params, Tags, request_hash};
use super::find;
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::evaluations::run::launch;
use crate::evaluations::{Judge, Mode, Named, Settings};
use crate::http::chat::model;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use corpus::EvaluationId;
use index::Once;
use index::batches::BatchAsker;
use index::evaluations::{EvaluationKind, EvaluationRecord, EvaluationState};
use query::{Case, Comparison, JUDGE_VERSION, PASS_DEFAULT, QueryScores, TOP_K_MAX};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// Bytes from which on a page of results takes no more of them.
const PAGE_BYTES: usize = 8 << 20;
/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Chunks that an answer is made from, unless said otherwise; as for a query.
const SOURCES: usize = 5;

/// What to measure: cases, or a judged set as its files have it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EvaluationCreate {
    collection: String,
    kind: EvaluationKind,
    name: Option<String>,
    #[serde(default)]
    cases: Vec<Case>,
    /// Instead of cases, of answers: what was asked before.
    cases_from: Option<CasesFrom>,
    /// Lines of `queries.jsonl`.
    #[serde(default)]
    queries: Vec<BeirQuery>,
    /// `qrels.tsv`: query, then document, to gain.
    #[serde(default)]
    qrels: BTreeMap<String, BTreeMap<String, f64>>,
    modes: Option<Vec<Mode>>,
    k: Option<usize>,
    model: Option<String>,
    judge: Option<JudgeAsked>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BeirQuery {
    #[serde(rename = "_id")]
    id: String,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JudgeAsked {
    model: String,
    pass: Option<f64>,
}

pub(crate) async fn create(
    State(app): State<AppState>,
    caller: Caller,
    IdempotencyKey(key): IdempotencyKey,
    Tags(tags): Tags,
    Body(mut asked): Body<EvaluationCreate>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let request = request_hash(&format!("/v1/evaluations {}", tags.join(",")), &asked);
    let collection = {
        let (caller, name) = (caller.clone(), asked.collection.clone());
        app.blocking(move |app| find::collection(app, &caller, &name)).await?
    };
    let mut settings = asked.settings(&app)?;
    let (name, kind) = (asked.name.clone(), asked.kind);
    let once = caller.once(key, request);
    // Before the bounds: the evaluation of a request that is made again counts already.
    if let Some(earlier) = earlier(&app, &caller, once.clone()).await? {
        return Ok((StatusCode::ACCEPTED, Json(view(&earlier))));
    }
    if let Some(from) = asked.cases_from.take() {
        let (caller, collection) = (caller.clone(), collection.id.clone());
        let drawn = app.blocking(move |app| from.draw(app, &caller, &collection)).await?;
        (asked.cases, settings.cases_from) = (drawn.cases, Some(drawn.from));
    }
    let cases = asked.named(app.evaluations.config.cases_max)?;
    let (seat, created_at) = (app.evaluations.admit(&caller.tenant)?, OffsetDateTime::now_utc());
    let record = EvaluationRecord {
        id: EvaluationId::generate(),
        tenant: caller.tenant.clone(),
        name,
        collection: collection.id,
        kind,
        asker: BatchAsker { tags, ..caller.asker() },
        state: EvaluationState::Running,
        settings: json!(settings),
        total: u32::try_from(cases.len()).unwrap_or(u32::MAX),
        done: 0,
        summary: Value::Null,
        created_at,
        updated_at: created_at,
    };
    let id = record.id.clone();
    let made = app.blocking(move |app| Ok(app.catalog.create_evaluation(record, once.as_ref())?)).await?;
    let view = view(&made);
    // Another one: the same request was made at the same time.
    if made.id == id {
        launch(app, caller, made, settings, cases, seat);
    }
    Ok((StatusCode::ACCEPTED, Json(view)))
}

async fn earlier(app: &AppState, caller: &Caller, once: Option<Once>) -> Result<Option<EvaluationRecord>, ApiError> {
    let Some(once) = once else { return Ok(None) };
    let tenant = caller.tenant.clone();
    app.blocking(move |app| Ok(app.catalog.evaluation_of_request(&tenant, &once)?)).await
}

pub(crate) async fn list(State(app): State<AppState>, caller: Caller, Params(page): Params<PageParams>) -> Result<Json<Value>, ApiError> {
    let (limit, after) = (page.limit()?, page.after::<EvaluationId>()?);
    let listed = app.blocking(move |app| {
        let fetch = |after: Option<&EvaluationId>, limit| app.catalog.evaluations(&caller.tenant, after, limit);
        let may_see = |record: &EvaluationRecord| find::may_see_evaluation(app, &caller, record);
        let (seen, next) = find::page(limit, after, fetch, |record| record.id.clone(), may_see)?;
        Ok(json!({ "data": seen.iter().map(view).collect::<Vec<_>>(), "next_cursor": next }))
    });
    Ok(Json(listed.await?))
}

/// How it stands, and a page of its results.
pub(crate) async fn get(
    State(app): State<AppState>,
    caller: Caller,
    Path(id): Path<String>,
    Params(page): Params<PageParams>,
) -> Result<Json<Value>, ApiError> {
    let (limit, after) = (page.limit()?, page.after::<u32>()?);
    let got = app.blocking(move |app| {
        let record = find::evaluation(app, &caller, &id)?;
        let page = app.catalog.evaluation_results(&record, after, limit, PAGE_BYTES)?;
        let next = page.items.last().filter(|_| page.has_more).map(|(index, _)| index.to_string());
        let results = page.items.iter().map(|(_, json)| serde_json::from_slice(json)).collect::<Result<Vec<Value>, _>>();
        let mut view = view(&record);
        if let Some(fields) = view.as_object_mut() {
            fields.insert("results".into(), json!(results.map_err(ApiError::internal)?));
            fields.insert("next_cursor".into(), json!(next));
        }
        Ok(view)
    });
    Ok(Json(got.await?))
}

pub(crate) async fn delete(State(app): State<AppState>, caller: Caller, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let deleted = app.blocking(move |app| {
        let record = find::evaluation(app, &caller, &id)?;
        app.catalog.remove_evaluation(&record)?;
        Ok(json!({ "id": record.id, "deleted": true }))
    });
    Ok(Json(deleted.await?))
}

/// How an evaluation differs from another one, its baseline, over the cases that both have.
pub(crate) async fn diff(
    State(app): State<AppState>,
    caller: Caller,
    Path((id, other)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let compared = app.blocking(move |app| {
        let (run, baseline) = (find::evaluation(app, &caller, &id)?, find::evaluation(app, &caller, &other)?);
        if run.kind != baseline.kind {
            return Err(bad("evaluations of two kinds have nothing in common"));
        }
        let (before, now) = (scores(app, &baseline)?, scores(app, &run)?);
        let modes = now.iter().filter_map(|(mode, now)| Some((mode.clone(), json!(Comparison::of(before.get(mode)?, now)))));
        let modes: Map<String, Value> = modes.collect();
        Ok(json!({ "id": run.id, "baseline": baseline.id, "kind": run.kind, "modes": modes }))
    });
    Ok(Json(compared.await?))
}

/// By mode and case, what was measured.
fn scores(app: &App, record: &EvaluationRecord) -> Result<BTreeMap<String, BTreeMap<String, QueryScores>>, ApiError> {
    #[derive(Deserialize)]
    struct Scored {
        id: String,
        scores: BTreeMap<String, QueryScores>,
    }
    let mut all: BTreeMap<String, BTreeMap<String, QueryScores>> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = app.catalog.evaluation_results(record, after, usize::MAX, PAGE_BYTES)?;
        for (index, json) in page.items {
            after = Some(index);
            let Scored { id, scores } = serde_json::from_slice(&json).map_err(ApiError::internal)?;
            scores.into_iter().for_each(|(mode, scores)| _ = all.entry(mode).or_default().insert(id.clone(), scores));
        }
        if !page.has_more {
            return Ok(all);
        }
    }
}

fn view(record: &EvaluationRecord) -> Value {
    let (status, reason) = match &record.state {
        EvaluationState::Running => ("running", None),
        EvaluationState::Succeeded => ("succeeded", None),
        EvaluationState::Failed { reason } => ("failed", Some(reason)),
        EvaluationState::Interrupted => ("interrupted", None),
    };
    json!({
        "id": record.id, "name": record.name, "collection_id": record.collection, "kind": record.kind, "status": status, "reason": reason,
        "total": record.total, "done": record.done, "settings": record.settings, "summary": record.summary,
        "created_at": rfc3339(record.created_at), "updated_at": rfc3339(record.updated_at),
    })
}

fn bad(detail: impl Into<String>) -> ApiError {
    ApiError::bad_request("bad_evaluation", detail)
}

impl EvaluationCreate {
    fn settings(&self, app: &App) -> Result<Settings, ApiError> {
        let is_retrieval = self.kind == EvaluationKind::Retrieval;
        for (field, is_given, fits) in [
            ("modes", self.modes.is_some(), is_retrieval),
            ("model", self.model.is_some(), !is_retrieval),
            ("judge", self.judge.is_some(), !is_retrieval),
            ("cases_from", self.cases_from.is_some(), !is_retrieval),
        ] {
            if is_given && !fits {
                return Err(bad(format!("{field} is not for this kind of evaluation")));
            }
        }
        if self.cases_from.is_some() && !(self.cases.is_empty() && self.queries.is_empty() && self.qrels.is_empty()) {
            return Err(bad("give either cases or cases_from"));
        }
        let modes =
            self.modes.clone().unwrap_or_else(|| if is_retrieval { vec![Mode::Lexical, Mode::Vector, Mode::Hybrid] } else { Vec::new() });
        let is_once = (1..modes.len()).all(|at| !modes.iter().take(at).any(|mode| modes.get(at) == Some(mode)));
        if !is_once || (is_retrieval && modes.is_empty()) {
            return Err(bad("modes names each mode once, and at least one"));
        }
        let k = self.k.unwrap_or(if is_retrieval { TOP_K_MAX } else { SOURCES });
        if !(1..=TOP_K_MAX).contains(&k) {
            return Err(bad(format!("k must be 1 to {TOP_K_MAX}")));
        }
        if self.name.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
            return Err(bad(format!("a name has at most {NAME_BYTES_MAX} bytes")));
        }
        let judge = self.judge.as_ref().map(|judge| judge.checked(app)).transpose()?;
        self.model.as_ref().map_or(Ok(()), |name| model(app, name).map(drop))?;
        Ok(Settings { modes, k, model: self.model.clone(), judge, cases_from: None })
    }

    /// The cases, each under a name of its own.
    fn named(self, cases_max: usize) -> Result<Vec<Named>, ApiError> {
        let Self { kind, mut cases, queries, mut qrels, .. } = self;
        let is_beir = !queries.is_empty() || !qrels.is_empty();
        if is_beir && !cases.is_empty() {
            return Err(bad("give either cases or queries and qrels"));
        }
        cases.extend(queries.into_iter().filter_map(|BeirQuery { id, text }| {
            let relevant = qrels.remove(&id)?;
            Some(Case { id: Some(id), question: text, relevant, ..Case::default() })
        }));
        if kind == EvaluationKind::Retrieval {
            // As trec_eval does: what nothing is relevant to says nothing.
            cases.retain(|case| case.relevant.values().any(|gain| *gain > 0.0));
        }
        if !(1..=cases_max).contains(&cases.len()) {
            let detail =
                format!("an evaluation has 1 to {cases_max} cases (of retrieval: with a relevant document), this one {}", cases.len());
            return Err(bad(detail));
        }
        let mut ids = BTreeSet::new();
        let named = |(number, case): (usize, Case)| {
            case.validate().map_err(|error| bad(format!("case {number}: {error}")))?;
            let id = case.id.clone().unwrap_or_else(|| number.to_string());
            if ids.insert(id.clone()) { Ok(Named { id, case }) } else { Err(bad(format!("two cases have the id {id:?}"))) }
        };
        (1..).zip(cases).map(named).collect()
    }
}

impl JudgeAsked {
    fn checked(&self, app: &App) -> Result<Judge, ApiError> {
        let pass = self.pass.unwrap_or(PASS_DEFAULT);
        if !(0.0..=1.0).contains(&pass) {
            return Err(bad("pass must be 0 to 1"));
        }
        model(app, &self.model)?;
        Ok(Judge { model: self.model.clone(), pass, version: JUDGE_VERSION.to_owned() })
    }
}
