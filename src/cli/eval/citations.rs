//! `ragstone eval citations DIR…`: how many altered quotes the citation gate finds, and how many true ones it doubts.
//!
//! Quotes are made from the texts of a collection (`crates/query/src/altered.rs`): one source says each, or did before
//! it was altered, and stands among four others.

use ::query::{BeirSet, Gate, QuoteCase, Verdict, quote_cases};
use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct CitationsArgs {
    /// Folders with corpus.jsonl, queries.jsonl and qrels.tsv
    #[arg(required = true, value_name = "DIR")]
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

/// What was found of one kind of quote.
#[derive(Default)]
struct Tally {
    cases: usize,
    right: usize,
    verdicts: BTreeMap<&'static str, usize>,
    misses: Vec<Value>,
}

pub(crate) fn run(args: &CitationsArgs) -> anyhow::Result<ExitCode> {
    let sets: Vec<Value> =
        args.sets.iter().map(|folder| measure(args, folder).with_context(|| format!("{}", folder.display()))).collect::<Result<_, _>>()?;
    print(&sets, args.json)
}

fn measure(args: &CitationsArgs, folder: &Path) -> anyhow::Result<Value> {
    let set = BeirSet::read(folder)?;
    let documents: Vec<(String, String)> = set.documents.into_iter().map(|document| (document.title, document.text)).collect();
    let cases = quote_cases(&documents, args.cases, args.seed);
    let mut kinds: BTreeMap<(bool, &'static str), Tally> = BTreeMap::new();
    for case in &cases {
        let tally = kinds.entry((case.is_true, case.kind)).or_default();
        let verdict = judge(case);
        tally.cases += 1;
        *tally.verdicts.entry(word(verdict)).or_default() += 1;
        // A quote whose source is not the one that is cited must be pointed at the one that says it.
        let expected =
            if case.kind == "wrong_source" { verdict == Verdict::Misattributed } else { (verdict == Verdict::Supported) == case.is_true };
        tally.right += usize::from(expected);
        if !expected && tally.misses.len() < args.misses {
            tally.misses.push(json!({ "claim": case.claim, "made_from": case.from, "verdict": verdict }));
        }
    }
    let share = |is_true: bool| {
        let of = || kinds.iter().filter(|((kind_is_true, _), _)| *kind_is_true == is_true).map(|(_, tally)| tally);
        ratio(of().map(|tally| tally.right).sum(), of().map(|tally| tally.cases).sum())
    };
    let (found, passed) = (share(false), share(true));
    let kinds: Vec<Value> = kinds
        .into_iter()
        .map(|((is_true, kind), tally)| {
            let Tally { cases, right, verdicts, misses } = tally;
            json!({ "kind": kind, "is_true": is_true, "cases": cases, "right": ratio(right, cases), "verdicts": verdicts, "misses": misses })
        })
        .collect();
    Ok(json!({ "name": set.name, "cases": cases.len(), "seed": args.seed, "found": found, "false_alarms": 1.0 - passed, "kinds": kinds }))
}

fn judge(case: &QuoteCase) -> Verdict {
    let sources: Vec<&str> = case.sources.iter().map(String::as_str).collect();
    Gate::new(&sources).judge(&case.claim, &[case.cited]).map_or(Verdict::NotFound, |judged| judged.verdict)
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
    println!("{:<18} {:<18} {:>6} {:>8}  verdicts", "set", "quotes", "cases", "right");
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |value: &Value, field: &str| value.get(field).and_then(Value::as_f64).unwrap_or_default();
    for set in sets {
        for kind in set.get("kinds").and_then(Value::as_array).into_iter().flatten() {
            let verdicts = kind.get("verdicts").map(Value::to_string).unwrap_or_default().replace(['{', '}', '"'], "").replace(',', ", ");
            println!(
                "{:<18} {:<18} {:>6} {:>8.4}  {verdicts}",
                text(set, "name"),
                text(kind, "kind"),
                number(kind, "cases"),
                number(kind, "right")
            );
            for miss in kind.get("misses").and_then(Value::as_array).into_iter().flatten() {
                println!("    {}: {}\n        from: {}", text(miss, "verdict"), text(miss, "claim"), text(miss, "made_from"));
            }
        }
        println!(
            "{:<18} altered quotes found {:.4}, false alarms {:.4}, of {}\n",
            text(set, "name"),
            number(set, "found"),
            number(set, "false_alarms"),
            number(set, "cases")
        );
    }
    Ok(ExitCode::SUCCESS)
}
