//! `ragstone eval answers FILE…`: questions whose answers are known, asked through the API, and what came back measured.

use super::report::{Line, baseline_of, print_comparison, write_lines};
use super::upload::upload;
use super::{Global, Target, TargetArgs, runtime};
use crate::client::{Client, segment};
use ::query::{
    AnswerSummary, BeirSet, Case, CaseScore, Given, JUDGE_VERSION, Judgement, PASS_DEFAULT, cases_of, judge_messages, read_jsonl,
};
use anyhow::{Context, bail};
use clap::Args;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The one mode of answers in a file of queries.
const MODE: &str = "answers";
/// Tokens that a verdict may have.
const VERDICT_TOKENS_MAX: u32 = 256;

#[derive(Debug, Args)]
pub(crate) struct AnswersArgs {
    /// Files of JSON lines `{question, expected?, evidence?, answerable?, relevant?, id?}`, or folders in BEIR layout with answers.jsonl
    #[arg(required_unless_present = "from", value_name = "FILE")]
    sets: Vec<PathBuf>,
    /// Take the cases from what was asked of --collection before, as far as the key may see it: 100, or --limit
    #[arg(long, value_name = "feedback|traces", value_parser = ["feedback", "traces"], requires = "collection", conflicts_with = "sets")]
    from: Option<String>,
    /// Another seed draws other questions
    #[arg(long, value_name = "N", default_value_t = 0, requires = "from")]
    seed: u64,
    /// Collection to ask; without it and --corpus a folder's own corpus is uploaded
    #[arg(long, value_name = "NAME", conflicts_with = "corpus")]
    collection: Option<String>,
    /// Folder with a corpus.jsonl to upload and ask
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Another set whose questions this collection doesn't answer: does it say so?
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    unanswerable: Option<PathBuf>,
    /// Ask at most so many questions of each file, taken evenly from all of it
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Model that answers; without it the server's default, or extraction
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Model that judges the answers
    #[arg(long, value_name = "NAME")]
    judge: Option<String>,
    /// The judge's score from which on an answer passes
    #[arg(long, default_value_t = PASS_DEFAULT)]
    pass: f64,
    /// Chunks to answer from
    #[arg(long, short = 'k', default_value_t = 5)]
    top_k: usize,
    /// Questions under way at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// Compare with an earlier run: its --per-query file, or its --json output (means only)
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the figures of each question as JSON lines `{set, mode, id, scores}`
    #[arg(long, value_name = "FILE")]
    per_query: Option<PathBuf>,
    /// Write each question with its answer and everything measured as JSON lines
    #[arg(long, value_name = "FILE")]
    results: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

/// What came of one set.
struct Set {
    name: String,
    collection: String,
    summary: AnswerSummary,
    scores: Vec<CaseScore>,
    /// Questions without an answer, and why the first.
    failed: usize,
    reason: Option<String>,
}

pub(super) fn run(args: &AnswersArgs, global: &Global) -> anyhow::Result<ExitCode> {
    let baseline = args.baseline.as_deref().map(baseline_of).transpose()?;
    let sets = runtime()?.block_on(async {
        let target = Target::reach(&args.target, global).await?;
        let mut sets = Vec::new();
        if let (Some(from), Some(collection)) = (&args.from, &args.collection) {
            sets.push(measure_drawn(&target.client, args, from, collection).await?);
        }
        for file in &args.sets {
            sets.push(measure(&target.client, args, file).await.with_context(|| format!("{}", file.display()))?);
        }
        target.leave().await?;
        anyhow::Ok(sets)
    })?;
    let lines_of = |set: &Set| Line::all(&set.name, MODE, set.scores.iter().map(|score| (score.id.clone(), score.scores())).collect());
    let lines: Vec<Line> = sets.iter().flat_map(lines_of).collect();
    args.per_query.as_deref().map_or(Ok(()), |file| write_lines(file, &lines))?;
    args.results.as_deref().map_or(Ok(()), |file| write_results(file, &sets))?;
    let json = |set: &Set| {
        let mut json = set.json(args);
        let means = Map::from_iter([(MODE.to_owned(), json!(set.summary))]);
        if let (Some(fields), Some(baseline)) = (json.as_object_mut(), &baseline) {
            fields.insert("baseline".into(), Value::Object(baseline.against(&set.name, &means, &lines)));
        }
        json
    };
    print(&sets.iter().map(json).collect::<Vec<_>>(), args.json)
}

impl Set {
    fn json(&self, args: &AnswersArgs) -> Value {
        let judge = args.judge.as_ref().map(|model| json!({ "model": model, "version": JUDGE_VERSION, "pass": args.pass }));
        json!({
            "name": self.name, "collection": self.collection, MODE: self.summary, "judge": judge,
            "failed": self.failed, "reason": self.reason,
        })
    }
}

async fn measure(client: &Client, args: &AnswersArgs, file: &Path) -> anyhow::Result<Set> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let collection = collection_of(client, args.collection.as_deref(), args.corpus.as_deref(), file).await?;
    let mut cases = read(file, args.limit)?;
    if let Some(other) = &args.unanswerable {
        // Ids of two sets may be the same.
        let foreign = read(other, args.limit)?.into_iter().map(|(id, case)| {
            (
                format!("unanswerable/{id}"),
                Case { answerable: Some(false), expected: Vec::new(), evidence: Vec::new(), relevant: BTreeMap::new(), ..case },
            )
        });
        cases.extend(foreign);
    }
    ask_all(client, args, name, collection, cases).await
}

/// Asks what was asked before.
async fn measure_drawn(client: &Client, args: &AnswersArgs, from: &str, collection: &str) -> anyhow::Result<Set> {
    #[derive(Deserialize)]
    struct Drawn {
        cases: Vec<Case>,
    }
    let sample = args.limit.map(|limit| format!("&sample={limit}")).unwrap_or_default();
    let path = format!("/v1/evaluations/cases?collection={}&source={from}&seed={}{sample}", segment(collection), args.seed);
    let Drawn { cases } = Drawn::deserialize(client.get(&path).await?)?;
    let cases = cases.into_iter().map(|case| (case.id.clone().unwrap_or_default(), case)).collect();
    ask_all(client, args, from.to_owned(), collection.to_owned(), cases).await
}

async fn ask_all(client: &Client, args: &AnswersArgs, name: String, collection: String, cases: Vec<(String, Case)>) -> anyhow::Result<Set> {
    let bar = indicatif::ProgressBar::new(cases.len() as u64);
    let asked = cases.iter().map(|(id, case)| {
        let (bar, collection) = (&bar, &collection);
        async move {
            let score = ask(client, args, collection, id, case).await;
            bar.inc(1);
            score
        }
    });
    let asked: Vec<anyhow::Result<CaseScore>> = futures::stream::iter(asked).buffered(args.clients.into()).collect().await;
    bar.finish_and_clear();
    let (scores, faults): (Vec<_>, Vec<_>) = asked.into_iter().partition(Result::is_ok);
    let (scores, failed): (Vec<CaseScore>, usize) = (scores.into_iter().flatten().collect(), faults.len());
    let reason = faults.into_iter().find_map(Result::err).map(|error| format!("{error:#}"));
    if let (true, Some(reason)) = (scores.is_empty(), &reason) {
        bail!("no question was answered: {reason}");
    }
    Ok(Set { name, collection, summary: AnswerSummary::of(&scores, args.pass), scores, failed, reason })
}

/// The collection to ask: the named one, or that of the corpus, which may be the folder of the cases itself.
pub(super) async fn collection_of(client: &Client, collection: Option<&str>, corpus: Option<&Path>, file: &Path) -> anyhow::Result<String> {
    match (collection, corpus) {
        (Some(collection), _) => Ok(collection.to_owned()),
        (None, Some(corpus)) => fill(client, corpus).await,
        (None, None) if file.is_dir() => fill(client, file).await,
        (None, None) => bail!("say which --collection to ask, or which --corpus to upload"),
    }
}

/// The collection that holds a folder's corpus.
async fn fill(client: &Client, corpus: &Path) -> anyhow::Result<String> {
    let set = BeirSet::read(corpus)?;
    let collection = format!("eval-{}", set.name);
    upload(client, &collection, &set, None).await?;
    Ok(collection)
}

/// Cases with their ids.
pub(super) fn read(file: &Path, limit: Option<usize>) -> anyhow::Result<Vec<(String, Case)>> {
    let cases = if file.is_dir() { cases_of(&BeirSet::read(file)?) } else { read_jsonl(file)? };
    let cases = spread(cases, limit.unwrap_or(usize::MAX));
    let named = |(number, case): (usize, Case)| {
        case.validate().with_context(|| format!("case {number}"))?;
        Ok((case.id.clone().unwrap_or_else(|| number.to_string()), case))
    };
    (1..).zip(cases).map(named).collect()
}

/// So many of them, evenly from all: questions beside each other are often of one document.
fn spread(cases: Vec<Case>, limit: usize) -> Vec<Case> {
    let count = cases.len();
    let is_taken = |at: usize| count <= limit || (at * limit) / count != ((at + 1) * limit) / count;
    cases.into_iter().enumerate().filter(|(at, _)| is_taken(*at)).map(|(_, case)| case).collect()
}

async fn ask(client: &Client, args: &AnswersArgs, collection: &str, id: &str, case: &Case) -> anyhow::Result<CaseScore> {
    let path = format!("/v1/collections/{}/query", segment(collection));
    let body = json!({ "question": case.question, "top_k": args.top_k, "model": args.model, "cache": "bypass" });
    let given = Given::deserialize(&client.post(&path, &body).await?)?;
    let mut score = CaseScore::of(id.to_owned(), case, &given);
    if let Some(judge) = args.judge.as_deref().filter(|_| case.can_be_judged(&given)) {
        let messages = judge_messages(&case.question, case.references(), &given.answer)
            .map(|(role, content)| json!({ "role": role, "content": content }));
        let body = json!({ "model": judge, "messages": messages, "temperature": 0, "max_tokens": VERDICT_TOKENS_MAX });
        let said = client.post("/v1/chat/completions", &body).await?;
        let verdict = said.pointer("/choices/0/message/content").and_then(Value::as_str).and_then(Judgement::read);
        let tokens = |name: &str| said.pointer(&format!("/usage/{name}")).and_then(Value::as_u64).unwrap_or_default();
        score = score.judged(verdict, tokens("prompt_tokens"), tokens("completion_tokens"), None);
    }
    Ok(score)
}

fn write_results(file: &Path, sets: &[Set]) -> anyhow::Result<()> {
    let mut text = String::new();
    for (set, score) in sets.iter().flat_map(|set| set.scores.iter().map(move |score| (set, score))) {
        let mut line = json!(score);
        line.as_object_mut().into_iter().for_each(|fields| _ = fields.insert("set".into(), json!(set.name)));
        text.push_str(&line.to_string());
        text.push('\n');
    }
    std::fs::write(file, text).with_context(|| format!("can't write {}", file.display()))
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print(sets: &[Value], as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(&json!({ "sets": sets }))?);
        return Ok(ExitCode::SUCCESS);
    }
    for set in sets {
        let field = |name: &str| set.get(name).and_then(Value::as_str).unwrap_or_default();
        println!("{} against {}", field("name"), field("collection"));
        for (name, value) in set.get(MODE).and_then(Value::as_object).into_iter().flatten() {
            let value = match value {
                Value::Null => "–".to_owned(),
                Value::Number(number) if number.is_f64() => format!("{:.4}", number.as_f64().unwrap_or_default()),
                other => other.to_string(),
            };
            println!("  {name:<30} {value:>12}");
        }
        if let Some(failed) = set.get("failed").and_then(Value::as_u64).filter(|failed| *failed > 0) {
            println!("  {failed} questions failed and are left out, the first because: {}", field("reason"));
        }
        let comparison = set.get("baseline").and_then(|baseline| baseline.get(MODE));
        print_comparison(&format!("{}: baseline → now", field("name")), comparison);
        println!();
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_takes_evenly_from_all() {
        let cases: Vec<Case> = (0..10).map(|number| Case { question: number.to_string(), ..Case::default() }).collect();
        let taken = |limit| spread(cases.clone(), limit).into_iter().map(|case| case.question).collect::<Vec<_>>();
        assert_eq!(taken(3), ["3", "6", "9"]);
        assert_eq!((taken(10).len(), taken(usize::MAX).len(), taken(0).len()), (10, 10, 0));
    }
}
