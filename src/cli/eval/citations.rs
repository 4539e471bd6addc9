//! `ragstone eval citations SET…`: how many false statements the citation gate finds, and how many true ones it doubts.
//!
//! From a folder, quotes are made of the texts of its collection (`crates/query/src/altered.rs`): one source says each,
//! or did before it was altered, and stands among four others. A `.jsonl` file holds claims that somebody wrote and
//! judged, one object a line: `{"kind", "sources": […], "claim", "cited", "expected"}`, `cited` from 1, `expected` the
//! verdict. Those of `tests/fixtures/claims.jsonl` were written by somebody who had not tuned the gate: the first figures
//! measured with them were of claims it had never seen; its rules were then tuned on the odd lines.

use ::query::{BeirSet, Gate, QuoteCase, Verdict, quote_cases};
use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct CitationsArgs {
    /// Folders with corpus.jsonl, queries.jsonl and qrels.tsv, and .jsonl files of claims with their verdicts
    #[arg(required = true, value_name = "SET")]
    sets: Vec<PathBuf>,
    /// Quotes to make from each set, as far as it has so many
    #[arg(long, default_value_t = 2000)]
    cases: usize,
    /// The same seed makes the same quotes
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Print the first quotes of each kind that were judged wrongly
    #[arg(long, value_name = "N", default_value_t = 0)]
    misses: usize,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// A claim with its verdict.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    kind: String,
    sources: Vec<String>,
    claim: String,
    /// From 1.
    cited: usize,
    expected: Verdict,
}

/// A statement, and what the gate says of it.
struct Judged {
    kind: String,
    is_true: bool,
    claim: String,
    made_from: String,
    verdict: Verdict,
    is_right: bool,
    /// Whether the verdict is the expected one, where one is.
    is_exact: Option<bool>,
}

/// What was found of one kind of statement.
#[derive(Default)]
struct Tally {
    cases: usize,
    right: usize,
    exact: Option<usize>,
    verdicts: BTreeMap<&'static str, usize>,
    misses: Vec<Value>,
}

pub(crate) fn run(args: &CitationsArgs) -> anyhow::Result<ExitCode> {
    let measure = |set: &PathBuf| measure(args, set).with_context(|| format!("{}", set.display()));
    let sets: Vec<Value> = args.sets.iter().map(measure).collect::<Result<_, _>>()?;
    print(&sets, args.json)
}

fn measure(args: &CitationsArgs, path: &Path) -> anyhow::Result<Value> {
    if path.extension().is_some_and(|extension| extension == "jsonl") {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        return Ok(summary(&name, None, &claims(&std::fs::read_to_string(path)?)?, args.misses));
    }
    let set = BeirSet::read(path)?;
    let documents: Vec<(String, String)> = set.documents.into_iter().map(|document| (document.title, document.text)).collect();
    let judged: Vec<Judged> = quote_cases(&documents, args.cases, args.seed).into_iter().map(quote).collect();
    Ok(summary(&set.name, Some(args.seed), &judged, args.misses))
}

fn quote(case: QuoteCase) -> Judged {
    let verdict = judge(&case.sources, &case.claim, case.cited);
    // A quote whose source is not the one that is cited must be pointed at the one that says it.
    let is_right =
        if case.kind == "wrong_source" { verdict == Verdict::Misattributed } else { (verdict == Verdict::Supported) == case.is_true };
    let (kind, is_true) = (case.kind.to_owned(), case.is_true);
    Judged { kind, is_true, claim: case.claim, made_from: case.from, verdict, is_right, is_exact: None }
}

fn claims(text: &str) -> anyhow::Result<Vec<Judged>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let judged = lines.map(|(at, line)| {
        let claim: Claim = serde_json::from_str(line).with_context(|| format!("line {}", at + 1))?;
        let cited = claim.cited.checked_sub(1).filter(|cited| *cited < claim.sources.len());
        let verdict = judge(&claim.sources, &claim.claim, cited.with_context(|| format!("line {}: cited names no source", at + 1))?);
        let is_true = claim.expected == Verdict::Supported;
        let (is_right, is_exact) = ((verdict == Verdict::Supported) == is_true, Some(verdict == claim.expected));
        let made_from = claim.sources.join(" | ");
        Ok(Judged { kind: claim.kind, is_true, claim: claim.claim, made_from, verdict, is_right, is_exact })
    });
    judged.collect()
}

fn summary(name: &str, seed: Option<u64>, all: &[Judged], misses_max: usize) -> Value {
    let mut kinds: BTreeMap<(bool, &str), Tally> = BTreeMap::new();
    for one in all {
        let tally = kinds.entry((one.is_true, &one.kind)).or_default();
        tally.cases += 1;
        *tally.verdicts.entry(word(one.verdict)).or_default() += 1;
        tally.right += usize::from(one.is_right);
        tally.exact = one.is_exact.map(|is_exact| tally.exact.unwrap_or_default() + usize::from(is_exact));
        if !one.is_right && tally.misses.len() < misses_max {
            tally.misses.push(json!({ "claim": one.claim, "made_from": one.made_from, "verdict": one.verdict }));
        }
    }
    let share = |is_true: bool| {
        let of = || kinds.iter().filter(|((kind_is_true, _), _)| *kind_is_true == is_true).map(|(_, tally)| tally);
        ratio(of().map(|tally| tally.right).sum(), of().map(|tally| tally.cases).sum())
    };
    let (found, passed) = (share(false), share(true));
    let exact =
        all.first().and_then(|one| one.is_exact).map(|_| ratio(all.iter().filter(|one| one.is_exact == Some(true)).count(), all.len()));
    let kinds: Vec<Value> = kinds
        .into_iter()
        .map(|((is_true, kind), tally)| {
            let Tally { cases, right, exact, verdicts, misses } = tally;
            let (right, exact) = (ratio(right, cases), exact.map(|exact| ratio(exact, cases)));
            json!({ "kind": kind, "is_true": is_true, "cases": cases, "right": right, "exact": exact, "verdicts": verdicts, "misses": misses })
        })
        .collect();
    json!({ "name": name, "cases": all.len(), "seed": seed, "found": found, "false_alarms": 1.0 - passed, "exact": exact, "kinds": kinds })
}

fn judge(sources: &[String], claim: &str, cited: usize) -> Verdict {
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    Gate::new(&sources).judge(claim, &[cited]).map_or(Verdict::NotFound, |judged| judged.verdict)
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Supported => "supported",
        Verdict::Misattributed => "misattributed",
        Verdict::Spliced => "spliced",
        Verdict::NotFound => "not_found",
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of cases")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print(sets: &[Value], as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(&json!({ "sets": sets }))?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<18} {:<18} {:>6} {:>8} {:>8}  verdicts", "set", "statements", "cases", "right", "exact");
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |value: &Value, field: &str| value.get(field).and_then(Value::as_f64).unwrap_or_default();
    let exact = |value: &Value| value.get("exact").and_then(Value::as_f64).map_or_else(String::new, |share| format!("{share:.4}"));
    for set in sets {
        for kind in set.get("kinds").and_then(Value::as_array).into_iter().flatten() {
            let verdicts = kind.get("verdicts").map(Value::to_string).unwrap_or_default().replace(['{', '}', '"'], "").replace(',', ", ");
            println!(
                "{:<18} {:<18} {:>6} {:>8.4} {:>8}  {verdicts}",
                text(set, "name"),
                text(kind, "kind"),
                number(kind, "cases"),
                number(kind, "right"),
                exact(kind)
            );
            for miss in kind.get("misses").and_then(Value::as_array).into_iter().flatten() {
                println!("    {}: {}\n        from: {}", text(miss, "verdict"), text(miss, "claim"), text(miss, "made_from"));
            }
        }
        let (found, alarms) = (number(set, "found"), number(set, "false_alarms"));
        let exact =
            Some(exact(set)).filter(|exact| !exact.is_empty()).map_or_else(String::new, |exact| format!(", exact verdicts {exact}"));
        println!("{:<18} false found {found:.4}, false alarms {alarms:.4}{exact}, of {}\n", text(set, "name"), number(set, "cases"));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A little below what was reached.
    const FOUND_MIN: f64 = 0.95;
    const FALSE_ALARMS_MAX: f64 = 0.125;
    const EXACT_MIN: f64 = 0.9;
    const CLAIMS: &str = include_str!("../../../tests/fixtures/claims.jsonl");

    #[test]
    fn claims_that_somebody_wrote_are_judged_no_worse_than_before() {
        let all = claims(CLAIMS).unwrap();
        let set = summary("claims", None, &all, 0);
        let figure = |field: &str| set.get(field).and_then(Value::as_f64).unwrap();
        assert_eq!(all.len(), 160);
        assert!(figure("found") >= FOUND_MIN && figure("false_alarms") <= FALSE_ALARMS_MAX, "{set:#}");
        assert!(figure("exact") >= EXACT_MIN, "{set:#}");
    }

    #[test]
    fn a_line_that_cites_no_source_is_refused() {
        let line = |cited: u32| {
            format!(r#"{{"kind":"k","sources":["Rye bread keeps."],"claim":"Rye bread keeps.","cited":{cited},"expected":"supported"}}"#)
        };
        assert_eq!(claims(&line(1)).unwrap().first().unwrap().is_exact, Some(true));
        for text in [line(0), line(2), r#"{"kind":"k"}"#.to_owned()] {
            assert!(claims(&format!("\n{text}")).err().unwrap().to_string().contains("line 2"), "{text}");
        }
    }
}
