//! What the commands have in common: a file of what was measured query by query, and a comparison with such a file.

use ::query::{Comparison, MetricChange, QueryScores};
use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// One line of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Line {
    set: String,
    mode: String,
    id: String,
    scores: QueryScores,
}

impl Line {
    pub(super) fn all(set: &str, mode: &str, queries: BTreeMap<String, QueryScores>) -> Vec<Self> {
        let line = |(id, scores)| Self { set: set.to_owned(), mode: mode.to_owned(), id, scores };
        queries.into_iter().map(line).collect()
    }

    fn of<'l>(lines: &'l [Self], set: &'l str, mode: &'l str) -> impl Iterator<Item = &'l Self> {
        lines.iter().filter(move |line| line.set == set && line.mode == mode)
    }
}

pub(super) fn write_lines(file: &Path, lines: &[Line]) -> anyhow::Result<()> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    std::fs::write(file, text).with_context(|| format!("can't write {}", file.display()))
}

/// An earlier run.
pub(super) enum Baseline {
    /// Query by query.
    Queries(Vec<Line>),
    /// A `--json` output: means.
    Means(Value),
}

/// Reads either.
pub(super) fn baseline_of(file: &Path) -> anyhow::Result<Baseline> {
    let text = std::fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    if let Some(means) = serde_json::from_str::<Value>(&text).ok().filter(|json| json.get("sets").is_some()) {
        return Ok(Baseline::Means(means));
    }
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}, line {}: not a line of --per-query", file.display(), number + 1))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    Ok(Baseline::Queries(lines.map(parse).collect::<anyhow::Result<_>>()?))
}

impl Baseline {
    /// How a set differs from this run, by mode; a mode that it doesn't have is left out. `modes` has the means of now,
    /// `lines` what was measured query by query.
    pub(super) fn against(&self, set: &str, modes: &Map<String, Value>, lines: &[Line]) -> Map<String, Value> {
        let compared = modes.iter().filter_map(|(mode, now)| {
            let comparison = match self {
                Self::Queries(before) => {
                    let map = |lines: &[Line]| -> BTreeMap<String, QueryScores> {
                        Line::of(lines, set, mode).map(|line| (line.id.clone(), line.scores.clone())).collect()
                    };
                    Some(Comparison::of(&map(before), &map(lines))).filter(|comparison| comparison.queries > 0)
                }
                Self::Means(means) => of_means(means, set, mode, now),
            };
            comparison.map(|comparison| (mode.clone(), json!(comparison)))
        });
        compared.collect()
    }
}

fn of_means(means: &Value, set: &str, mode: &str, now: &Value) -> Option<Comparison> {
    let sets = means.get("sets").and_then(Value::as_array)?;
    let before = sets.iter().find(|known| known.get("name").and_then(Value::as_str) == Some(set))?;
    // Of answers there is one mode, whose means stand in the set itself.
    let before = before.get("modes").and_then(|modes| modes.get(mode)).or(before.get(mode))?.as_object()?;
    let change = |(name, value): (&String, &Value)| {
        let (before, now) = (value.as_f64()?, now.get(name)?.as_f64()?);
        Some((name.clone(), MetricChange::of_means(before, now)))
    };
    Some(Comparison { metrics: before.iter().filter_map(change).collect(), ..Comparison::default() })
}

/// A line for each metric.
#[expect(clippy::print_stdout, reason = "the command's output")]
pub(super) fn print_comparison(title: &str, comparison: Option<&Value>) {
    let Some(comparison) = comparison.and_then(|value| Comparison::deserialize(value).ok()) else { return };
    println!("\n{title}");
    println!("  {:<30} {:>9} {:>9} {:>9} {:>8} {:>6} {:>6} {:>6}", "metric", "from", "to", "delta", "p", "won", "lost", "tied");
    for (name, MetricChange { baseline, run, delta, p_value, won, lost, tied, .. }) in &comparison.metrics {
        let p = p_value.map_or_else(|| "–".to_owned(), |p| format!("{p:.4}"));
        println!("  {name:<30} {baseline:>9.4} {run:>9.4} {delta:>+9.4} {p:>8} {won:>6} {lost:>6} {tied:>6}");
    }
    if comparison.unmatched > 0 {
        println!("  {} queries stand in one of the two only and are left out", comparison.unmatched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(value: f64) -> Vec<Line> {
        Line::all("s", "lexical", BTreeMap::from([("q".to_owned(), QueryScores::from([("ndcg_at_10".to_owned(), value)]))]))
    }

    #[test]
    fn a_run_is_compared_with_a_file_of_queries_or_of_means() {
        let folder = tempfile::tempdir().unwrap();
        let (queries, means) = (folder.path().join("q.jsonl"), folder.path().join("m.json"));
        write_lines(&queries, &lines(0.5)).unwrap();
        let old = json!({ "sets": [{ "name": "s", "modes": { "lexical": { "ndcg_at_10": 0.5 } } }] });
        std::fs::write(&means, old.to_string()).unwrap();
        let modes = Map::from_iter([("lexical".to_owned(), json!({ "ndcg_at_10": 0.75 })), ("new".to_owned(), json!({}))]);
        for (file, p_value) in [(queries, json!(1.0)), (means, Value::Null)] {
            let found = baseline_of(&file).unwrap().against("s", &modes, &lines(0.75));
            assert_eq!(found.keys().collect::<Vec<_>>(), ["lexical"]);
            let ndcg = &found["lexical"]["metrics"]["ndcg_at_10"];
            assert_eq!((&ndcg["delta"], &ndcg["p_value"]), (&json!(0.25), &p_value));
        }
        std::fs::write(folder.path().join("x"), "nothing").unwrap();
        assert!(baseline_of(&folder.path().join("x")).is_err());
    }
}
