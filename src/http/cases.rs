//! Cases of an evaluation made from what was asked before: feedback, or a sample of the traces.
//!
//! A sample is of questions, however often each was asked, by a digest of seed and words: the same seed takes the same
//! ones again as far as they are still there. A case is named by its question, so that two evaluations can be compared.
//! What a trace's answer cited, and whether it abstained, is known of an answer, not of the truth, unless feedback says
//! better: by it an evaluation tells what is other than it was, and a judge has something to compare with.

use super::extract::Params;
use super::{feedback, find, traces};
use crate::app::{App, AppState};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::traces::{Head, Trace, TraceKind};
use axum::Json;
use axum::extract::State;
use corpus::{CollectionId, TraceId};
use query::Case;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use time::OffsetDateTime;

/// Cases where the request doesn't say.
const SAMPLE: usize = 100;

/// Where cases come from.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CasesFrom {
    source: Source,
    /// Of feedback: only what was useful, or only what was not.
    useful: Option<bool>,
    /// Only what was asked, or said of an answer, from then on; RFC 3339.
    since: Option<String>,
    /// Most cases.
    sample: Option<usize>,
    /// Of the draw; 0 without it.
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Feedback,
    Traces,
}

/// The same, and of which collection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseParams {
    collection: String,
    source: Source,
    useful: Option<bool>,
    since: Option<String>,
    sample: Option<usize>,
    seed: Option<u64>,
}

/// The cases that an evaluation would be made of.
pub(crate) async fn draw(State(app): State<AppState>, caller: Caller, Params(asked): Params<CaseParams>) -> Result<Json<Value>, ApiError> {
    let CaseParams { collection, source, useful, since, sample, seed } = asked;
    let from = CasesFrom { source, useful, since, sample, seed };
    let drawn = app.blocking(move |app| {
        let collection = find::collection(app, &caller, &collection)?;
        let Drawn { cases, from } = from.draw(app, &caller, &collection.id)?;
        Ok(json!({ "cases": cases, "cases_from": from }))
    });
    Ok(Json(drawn.await?))
}

/// What was drawn.
pub(super) struct Drawn {
    pub(super) cases: Vec<Case>,
    /// As the evaluation keeps it.
    pub(super) from: Value,
}

/// A digest of seed and question: its place in the draw.
type Place = [u8; 32];

impl CasesFrom {
    /// Draws the cases from what the caller may see of a collection. Blocking.
    ///
    /// # Errors
    /// 400 for what can't be asked for, and where there is no case.
    pub(super) fn draw(&self, app: &App, caller: &Caller, collection: &CollectionId) -> Result<Drawn, ApiError> {
        let cases_max = app.evaluations.config.cases_max;
        let sample = self.sample.unwrap_or(SAMPLE.min(cases_max));
        if !(1..=cases_max).contains(&sample) {
            return Err(bad(format!("cases_from.sample must be 1 to {cases_max}")));
        }
        if self.useful.is_some() && self.source != Source::Feedback {
            return Err(bad("cases_from.useful is for feedback only"));
        }
        let since = traces::since(self.since.as_deref())?;
        let (cases, questions) = match self.source {
            Source::Feedback => self.of_feedback(app, caller, collection, since, sample)?,
            Source::Traces => self.of_traces(app, caller, collection, since, sample)?,
        };
        if cases.is_empty() {
            return Err(bad(format!("nothing there makes a case, of {questions} questions that stand alone")));
        }
        let from = json!({
            "source": self.source, "useful": self.useful, "since": self.since, "sample": sample, "seed": self.seed(), "questions": questions,
        });
        Ok(Drawn { cases, from })
    }

    fn seed(&self) -> u64 {
        self.seed.unwrap_or_default()
    }

    fn place(&self, question: &str) -> Place {
        Sha256::new().chain_update(self.seed().to_be_bytes()).chain_update(question).finalize().into()
    }

    /// Of a question that several judged the newest word counts from which a case can be made.
    fn of_feedback(
        &self,
        app: &App,
        caller: &Caller,
        collection: &CollectionId,
        since: Option<OffsetDateTime>,
        sample: usize,
    ) -> Result<(Vec<Case>, usize), ApiError> {
        let mut records = feedback::visible(app, caller, Some(collection.as_str()))?;
        records.retain(|record| self.useful.is_none_or(|useful| record.useful == useful) && since.is_none_or(|since| record.at >= since));
        let mut places: BTreeMap<Place, Vec<_>> = BTreeMap::new();
        for record in &records {
            if let Some(question) = &record.question {
                places.entry(self.place(question)).or_default().push(record);
            }
        }
        let made = places.values().filter_map(|said| said.iter().find_map(|record| named(feedback::case(app, caller, record)?)));
        Ok((made.take(sample).collect(), places.len()))
    }

    /// Of a question that was asked several times the newest answer counts.
    fn of_traces(
        &self,
        app: &App,
        caller: &Caller,
        collection: &CollectionId,
        since: Option<OffsetDateTime>,
        sample: usize,
    ) -> Result<(Vec<Case>, usize), ApiError> {
        let may_see = find::recall(app, caller);
        let is_meant = |head: &Head| {
            head.collection == *collection
                // What a batch, an evaluation or a replay asked nobody asked.
                && head.kind == TraceKind::Query
                && head.error.is_none()
                && since.is_none_or(|since| head.at >= since)
                && may_see(&head.collection, &head.asker)
        };
        let store = app.traces.settled();
        let (mut places, mut after): (BTreeMap<Place, TraceId>, Option<u64>) = (BTreeMap::new(), None);
        loop {
            let note = |head: &Head| {
                if let (true, Some(question)) = (is_meant(head), &head.question)
                    && let Entry::Vacant(place) = places.entry(self.place(question))
                {
                    place.insert(head.trace_id.clone());
                }
                // Nothing for a page: all are gone through.
                false
            };
            after = store.list(&caller.tenant, after, 1, note).map_err(ApiError::internal)?.1;
            if after.is_none() {
                break;
            }
        }
        let is_readable = |trace: &Trace| trace.documents.iter().all(find::reading(app, caller, collection));
        let mut cases = Vec::new();
        for id in places.values() {
            let trace = store.get(&caller.tenant, id, |trace| is_meant(&trace.head) && is_readable(trace)).map_err(ApiError::internal)?;
            cases.extend(trace.and_then(|trace| named(of_trace(app, caller, &trace)?)));
            if cases.len() == sample {
                break;
            }
        }
        Ok((cases, places.len()))
    }
}

/// What is known of a question that stands alone: by feedback, or else by what its answer was.
fn of_trace(app: &App, caller: &Caller, trace: &Trace) -> Option<Value> {
    let question = feedback::question(trace)?;
    let said = feedback::of(app, caller, &trace.head);
    if let Some(case) = said.iter().find_map(|record| feedback::case(app, caller, record)) {
        return Some(case);
    }
    let was_useless = said.iter().any(|record| !record.useful);
    let known = if was_useless { None } else { feedback::case(app, caller, &feedback::as_answered(caller, trace)) };
    Some(known.unwrap_or_else(|| json!({ "question": question })))
}

/// The case under its question's name, if evaluations take it.
fn named(case: Value) -> Option<Case> {
    let case = Case::deserialize(case).ok().filter(|case| case.validate().is_ok())?;
    let digest: [u8; 32] = Sha256::digest(&case.question).into();
    let id = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Some(Case { id: Some(id), ..case })
}

fn bad(detail: impl Into<String>) -> ApiError {
    ApiError::bad_request("bad_evaluation", detail)
}
