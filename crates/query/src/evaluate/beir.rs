//! Retrieval evaluation on test sets in the BEIR layout: `corpus.jsonl`, `queries.jsonl`,
//! `qrels.tsv`.
//!
//! Who asks a collection ranks its documents by their best chunk (`src/cli/eval/retrieval.rs` does, through the
//! API). Queries without a relevant document are left out, as trec_eval does.

use crate::metrics::{Judgements, mrr_at_k, ndcg_at_k, recall_at_k};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Where rankings are cut, as in the published figures.
const K: usize = 10;
/// Where recall is looked at a second time: what a reranker could still bring up.
const K_DEEP: usize = 100;

/// A document or a query of a test set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BeirText {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: String,
    /// Title of a document; may be empty.
    #[serde(default)]
    pub title: String,
    /// The text.
    pub text: String,
}

impl BeirText {
    /// Title and text, as BEIR joins them.
    #[must_use]
    pub fn whole(&self) -> String {
        if self.title.is_empty() { self.text.clone() } else { format!("{} {}", self.title, self.text) }
    }
}

/// A test set.
#[derive(Debug, Clone, Default)]
pub struct BeirSet {
    /// The folder's name.
    pub name: String,
    /// All documents.
    pub documents: Vec<BeirText>,
    /// The queries that have a relevant document.
    pub queries: Vec<BeirText>,
    /// By query id.
    pub judgements: HashMap<String, Judgements>,
    /// By query id: what is known of its answer; empty where the set has no `answers.jsonl`.
    pub answers: HashMap<String, GoldAnswer>,
}

/// A line of `answers.jsonl`: what a question answering set knows of an answer. Other fields are its own business.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct GoldAnswer {
    /// The query.
    #[serde(rename = "_id")]
    pub id: String,
    /// Spans of the relevant document, any of which is right.
    #[serde(default)]
    pub answers: Vec<String>,
    /// What the authors concluded, in words that no document has.
    #[serde(default)]
    pub long_answer: Option<String>,
    /// Documents and numbers, from 0, of their sentences that are needed.
    #[serde(default)]
    pub supporting_facts: Vec<(String, usize)>,
}

/// Why a test set can't be read.
#[derive(Debug, thiserror::Error)]
pub enum BeirError {
    /// A file is missing or unreadable.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not in the format.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

impl BeirSet {
    /// Reads a folder.
    ///
    /// # Errors
    /// [`BeirError`] with the file and line.
    pub fn read(folder: &Path) -> Result<Self, BeirError> {
        let judgements = read_judgements(&folder.join("qrels.tsv"))?;
        let mut queries: Vec<BeirText> = read_jsonl(&folder.join("queries.jsonl"))?;
        queries.retain(|query| {
            !query.text.trim().is_empty() && judgements.get(&query.id).is_some_and(|judged| judged.values().any(|gain| *gain > 0.0))
        });
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let answers = folder.join("answers.jsonl");
        let answers: Vec<GoldAnswer> = if answers.exists() { read_jsonl(&answers)? } else { Vec::new() };
        let answers = answers.into_iter().map(|answer| (answer.id.clone(), answer)).collect();
        Ok(Self { name, documents: read_jsonl(&folder.join("corpus.jsonl"))?, queries, judgements, answers })
    }
}

fn lines(path: &Path) -> Result<Vec<(usize, String)>, BeirError> {
    let failed = |source| BeirError::Read { path: path.to_owned(), source };
    let lines = BufReader::new(File::open(path).map_err(failed)?).lines().zip(1..);
    let read: Result<Vec<_>, _> = lines.map(|(line, number)| line.map(|line| (number, line))).collect();
    Ok(read.map_err(failed)?.into_iter().filter(|(_, line)| !line.trim().is_empty()).collect())
}

/// The lines of a file, each parsed.
///
/// # Errors
/// [`BeirError`] with the file and line.
pub fn read_jsonl<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, BeirError> {
    let parse = |(line, text): (usize, String)| {
        serde_json::from_str(&text).map_err(|error| BeirError::Line { path: path.to_owned(), line, reason: error.to_string() })
    };
    lines(path)?.into_iter().map(parse).collect()
}

fn read_judgements(path: &Path) -> Result<HashMap<String, Judgements>, BeirError> {
    let mut judgements: HashMap<String, Judgements> = HashMap::new();
    // The first line names the columns.
    for (line, text) in lines(path)?.into_iter().skip(1) {
        let mut fields = text.split('\t');
        let (Some(query), Some(document), Some(Ok(gain))) = (fields.next(), fields.next(), fields.next().map(|gain| gain.trim().parse()))
        else {
            return Err(BeirError::Line { path: path.to_owned(), line, reason: "expected query, document and score".to_owned() });
        };
        judgements.entry(query.to_owned()).or_default().insert(document.to_owned(), gain);
    }
    Ok(judgements)
}

/// Mean figures over the queries of a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Normalised discounted cumulative gain.
    pub ndcg_at_10: f64,
    /// Share of relevant documents found.
    pub recall_at_10: f64,
    /// Share of them found among the first hundred.
    pub recall_at_100: f64,
    /// One over the rank of the first relevant document.
    pub mrr_at_10: f64,
}

impl Figures {
    /// The figures of one ranking.
    #[must_use]
    pub fn of(ranking: &[String], judged: &Judgements) -> Self {
        Self {
            ndcg_at_10: ndcg_at_k(ranking, judged, K),
            recall_at_10: recall_at_k(ranking, judged, K),
            recall_at_100: recall_at_k(ranking, judged, K_DEEP),
            mrr_at_10: mrr_at_k(ranking, judged, K),
        }
    }

    /// Their mean; zeros for none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of queries")]
    pub fn mean(all: &[Self]) -> Self {
        let mean = |field: fn(&Self) -> f64| all.iter().map(field).sum::<f64>() / all.len().max(1) as f64;
        Self {
            ndcg_at_10: mean(|one| one.ndcg_at_10),
            recall_at_10: mean(|one| one.recall_at_10),
            recall_at_100: mean(|one| one.recall_at_100),
            mrr_at_10: mean(|one| one.mrr_at_10),
        }
    }

    /// Each figure with its name.
    #[must_use]
    pub fn named(&self) -> [(&'static str, f64); 4] {
        let Self { ndcg_at_10, recall_at_10, recall_at_100, mrr_at_10 } = *self;
        [("ndcg_at_10", ndcg_at_10), ("recall_at_10", recall_at_10), ("recall_at_100", recall_at_100), ("mrr_at_10", mrr_at_10)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(corpus: &str, queries: &str, qrels: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("corpus.jsonl", corpus), ("queries.jsonl", queries), ("qrels.tsv", qrels)] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    const CORPUS: &str =
        "{\"_id\":\"d1\",\"title\":\"Fox\",\"text\":\"The red fox hunts.\"}\n{\"_id\":\"d2\",\"text\":\"The hen lays an egg.\"}\n";
    const QUERIES: &str =
        "{\"_id\":\"q1\",\"text\":\"hunting fox\"}\n\n{\"_id\":\"q2\",\"text\":\"unjudged\"}\n{\"_id\":\"q3\",\"text\":\"zebra\"}\n";

    #[test]
    fn a_set_is_read_and_scored() {
        let folder = folder(CORPUS, QUERIES, "query-id\tcorpus-id\tscore\nq1\td1\t2\nq2\td2\t0\nq3\td2\t1\n");
        let set = BeirSet::read(folder.path()).unwrap();
        assert_eq!(set.documents[0].whole(), "Fox The red fox hunts.");
        assert_eq!(set.queries.iter().map(|query| query.id.as_str()).collect::<Vec<_>>(), ["q1", "q3"]);
        let figures =
            |ranking: &[String]| set.queries.iter().map(|query| Figures::of(ranking, &set.judgements[&query.id])).collect::<Vec<_>>();
        let mean = Figures::mean(&figures(&["d1".to_owned()]));
        assert_eq!(mean, Figures { ndcg_at_10: 0.5, recall_at_10: 0.5, recall_at_100: 0.5, mrr_at_10: 0.5 }, "one query found, one not");
    }

    #[test]
    fn faults_name_file_and_line() {
        let bad = folder(CORPUS, QUERIES, "query-id\tcorpus-id\tscore\nq1\td1\n");
        assert!(matches!(BeirSet::read(bad.path()), Err(BeirError::Line { line: 2, .. })));
        let bad = folder("{\"_id\":1}\n", QUERIES, "h\n");
        assert!(BeirSet::read(bad.path()).unwrap_err().to_string().contains("corpus.jsonl, line 1"));
        assert!(matches!(BeirSet::read(Path::new("/nonexistent")), Err(BeirError::Read { .. })));
    }
}
