//! `ragstone eval guards`: what the guards find of judged sets, and what they take for something it isn't.
//!
//! Personal data: a judged span is found if findings of its kind cover at least half of its bytes; a finding is right if
//! it covers at least half of a judged span of its kind, or half of it is one. Kinds are taken together as [`kind_of`]
//! says. Where a set doesn't judge a kind at all, nothing is said of it.
//!
//! Injections: a file is CSV with the columns `text` and `label` (1: injection), or JSON lines `{text, label}`.
//!
//! Beside them stands what reading takes on one thread of this machine: of each text the milliseconds by 1,000
//! characters, by median and 99th percentile of all texts of at least 100 characters, after the patterns are built.

use anyhow::Context;
use clap::Args;
use guard::{Finding, Kind, Kinds, Origin};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Debug, Args)]
pub(crate) struct GuardArgs {
    /// Sentences with judged spans as presidio-research writes them (JSON)
    #[arg(long, value_name = "FILE")]
    presidio: Vec<PathBuf>,
    /// Sentences with judged spans as JSON lines `{text, spans: [{kind, value}]}`
    #[arg(long, value_name = "FILE")]
    chinese: Vec<PathBuf>,
    /// Texts with label 1 (injection) or 0 (CSV with text,label; or JSON lines)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    injections: Vec<PathBuf>,
    /// Read the texts as retrieved ones instead of questions
    #[arg(long)]
    sources: bool,
    /// Print what was missed and what was found for nothing
    #[arg(long)]
    faults: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// A text with what stands in it.
struct Judged {
    text: String,
    spans: Vec<(Range<usize>, Kind)>,
}

pub(crate) fn run(args: &GuardArgs) -> anyhow::Result<ExitCode> {
    let mut personal = Vec::new();
    for (path, read) in
        args.presidio.iter().map(|path| (path, presidio as Read)).chain(args.chinese.iter().map(|path| (path, lines as Read)))
    {
        let judged = text_of(path).and_then(|text| read(&text)).with_context(|| path.display().to_string())?;
        let cost = cost(judged.iter().map(|one| one.text.as_str()), |text| drop(guard::find(text, Kinds::ALL)));
        personal.push(json!({
            "set": name_of(path), "texts": judged.len(), "kinds": kinds(&judged, args.faults), "ms_per_1000_chars": cost,
        }));
    }
    let mut injections = Vec::new();
    let origin = if args.sources { Origin::Source } else { Origin::Question };
    for path in &args.injections {
        let texts = text_of(path).and_then(|text| labelled(&text)).with_context(|| path.display().to_string())?;
        let cost = cost(texts.iter().map(|(text, _)| text.as_str()), |text| drop(guard::assess(text, origin)));
        let mut row = detection(&name_of(path), &texts, origin, args.faults);
        row.as_object_mut().into_iter().for_each(|fields| drop(fields.insert("ms_per_1000_chars".into(), cost.clone())));
        injections.push(row);
    }
    print(&json!({ "personal_data": personal, "injections": injections }), args.json)
}

/// Shortest text whose time is told: of shorter ones it is the clock's.
const TIMED_CHARS_MIN: usize = 100;

/// What reading takes: `{texts, median, p99}`, null without a text that is long enough.
fn cost<'t>(texts: impl Iterator<Item = &'t str>, read: impl Fn(&str)) -> Value {
    let timed = texts.map(|text| (text, text.chars().count())).filter(|(_, chars)| *chars >= TIMED_CHARS_MIN);
    let of = |(text, chars): (&str, usize)| {
        // The first look at a text builds what isn't there yet and warms the caches.
        read(text);
        let began = Instant::now();
        read(text);
        began.elapsed().as_secs_f64() * 1e6 / chars as f64
    };
    let mut taken: Vec<f64> = timed.map(of).collect();
    taken.sort_by(f64::total_cmp);
    let rank = |per_cent: usize| taken.get((taken.len() * per_cent).div_ceil(100).saturating_sub(1)).copied();
    match (rank(50), rank(99)) {
        (Some(median), Some(p99)) => json!({ "texts": taken.len(), "median": median, "p99": p99 }),
        _ => Value::Null,
    }
}

type Read = fn(&str) -> anyhow::Result<Vec<Judged>>;

fn text_of(path: &Path) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(path)?)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What a set calls a kind; `None` for what guards don't look for (names, places, dates).
fn kind_of(name: &str) -> Option<Kind> {
    Some(match name {
        "EMAIL_ADDRESS" | "EMAIL" | "email" => Kind::Email,
        "PHONE_NUMBER" | "PHONE" | "phone" => Kind::Phone,
        "CREDIT_CARD" | "card" => Kind::Card,
        "IBAN_CODE" | "IBAN" | "iban" => Kind::Iban,
        "IP_ADDRESS" | "ip" => Kind::Ip,
        "DOMAIN_NAME" | "URL" | "url" => Kind::Url,
        "US_SSN" | "US_ITIN" | "UK_NINO" | "ES_NIF" | "ES_NIE" | "IT_FISCAL_CODE" | "id" => Kind::Id,
        "secret" | "CRYPTO_KEY" | "API_KEY" => Kind::Secret,
        _ => return None,
    })
}

fn presidio(text: &str) -> anyhow::Result<Vec<Judged>> {
    let samples: Vec<Value> = serde_json::from_str(text)?;
    samples
        .iter()
        .map(|sample| {
            let text = sample.get("full_text").and_then(Value::as_str).context("a sample without full_text")?;
            // Places are in characters.
            let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let place = |span: &Value, field: &str| starts.get(usize::try_from(span.get(field)?.as_u64()?).ok()?).copied();
            let span = |span: &Value| {
                let kind = kind_of(span.get("entity_type")?.as_str()?)?;
                Some((place(span, "start_position")?..place(span, "end_position")?, kind))
            };
            let spans = sample.get("spans").and_then(Value::as_array).into_iter().flatten().filter_map(span).collect();
            Ok(Judged { text: text.to_owned(), spans })
        })
        .collect()
}

fn lines(text: &str) -> anyhow::Result<Vec<Judged>> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let sample: Value = serde_json::from_str(line)?;
            let text = sample.get("text").and_then(Value::as_str).context("a line without text")?;
            let mut end = 0;
            let mut spans = Vec::new();
            for span in sample.get("spans").and_then(Value::as_array).into_iter().flatten() {
                let value = span.get("value").and_then(Value::as_str).context("a span without value")?;
                let kind = span.get("kind").and_then(Value::as_str).and_then(kind_of).context("a span of an unknown kind")?;
                let at = text.get(end..).and_then(|rest| rest.find(value)).with_context(|| format!("{value:?} is not in {text:?}"))?;
                spans.push((end + at..end + at + value.len(), kind));
                end += at + value.len();
            }
            Ok(Judged { text: text.to_owned(), spans })
        })
        .collect()
}

fn labelled(text: &str) -> anyhow::Result<Vec<(String, bool)>> {
    if text.trim_start().starts_with('{') {
        let line = |line: &str| {
            let sample: Value = serde_json::from_str(line)?;
            let text = sample.get("text").and_then(Value::as_str).context("a line without text")?;
            Ok((text.to_owned(), sample.get("label").is_some_and(|label| label == 1 || label == true)))
        };
        return text.lines().filter(|line| !line.trim().is_empty()).map(line).collect();
    }
    let mut table = csv_rows(text).into_iter();
    let header = table.next().context("an empty file")?;
    let column = |name: &str| header.iter().position(|field| field == name).with_context(|| format!("no column {name}"));
    let (text, label) = (column("text")?, column("label")?);
    Ok(table.filter_map(|row| Some((row.get(text)?.clone(), row.get(label)?.trim().starts_with('1')))).collect())
}

/// RFC 4180.
fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut is_quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(row) = rows.last_mut() else { break };
        let Some(field) = row.last_mut() else { break };
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(String::new()),
            '\r' if !is_quoted => {}
            '\n' if !is_quoted => rows.push(vec![String::new()]),
            c => field.push(c),
        }
    }
    rows.retain(|row| row.len() > 1 || row.first().is_some_and(|field| !field.is_empty()));
    rows
}

/// Precision, recall and F1 of each kind that the set judges.
fn kinds(judged: &[Judged], is_telling: bool) -> Value {
    let counted = |kind: Kind| {
        let (mut wanted, mut met, mut found, mut right) = (0_u32, 0_u32, 0_u32, 0_u32);
        let (mut missed, mut strays) = (Vec::new(), Vec::new());
        for one in judged {
            let value = |range: &Range<usize>| one.text.get(range.clone()).unwrap_or_default().to_owned();
            let spans: Vec<&Range<usize>> = one.spans.iter().filter(|(_, of)| *of == kind).map(|(range, _)| range).collect();
            let findings: Vec<Range<usize>> = guard::find(&one.text, Kinds::ALL)
                .into_iter()
                .filter(|finding| finding.kind == kind)
                .map(|Finding { range, .. }| range)
                .collect();
            let shared = |a: &Range<usize>, b: &Range<usize>| a.end.min(b.end).saturating_sub(a.start.max(b.start));
            wanted += u32::try_from(spans.len()).unwrap_or(u32::MAX);
            found += u32::try_from(findings.len()).unwrap_or(u32::MAX);
            for span in &spans {
                if findings.iter().map(|finding| shared(finding, span)).sum::<usize>() * 2 >= span.len() {
                    met += 1;
                } else {
                    missed.push(value(span));
                }
            }
            for finding in &findings {
                if spans.iter().any(|span| shared(finding, span) * 2 >= span.len().min(finding.len())) {
                    right += 1;
                } else {
                    strays.push(value(finding));
                }
            }
        }
        let share = |part: u32, whole: u32| if whole == 0 { 1.0 } else { f64::from(part) / f64::from(whole) };
        let (precision, recall) = (share(right, found), share(met, wanted));
        let f1 = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        let mut row = json!({ "kind": kind, "spans": wanted, "found": found, "precision": precision, "recall": recall, "f1": f1 });
        if let (true, Some(fields)) = (is_telling, row.as_object_mut()) {
            fields.insert("missed".into(), json!(missed));
            fields.insert("strays".into(), json!(strays));
        }
        row
    };
    let is_judged = |kind: &Kind| judged.iter().any(|one| one.spans.iter().any(|(_, of)| of == kind));
    Kind::ALL.into_iter().filter(is_judged).map(counted).collect()
}

/// How well the score parts injections from other texts.
fn detection(name: &str, texts: &[(String, bool)], origin: Origin, is_telling: bool) -> Value {
    let scored: Vec<(f32, bool, &str)> =
        texts.iter().map(|(text, label)| (guard::assess(text, origin).score, *label, text.as_str())).collect();
    let of = |label: bool| scored.iter().filter(move |(_, is_injection, _)| *is_injection == label);
    let share = |label: bool| {
        let all = of(label).count();
        (all > 0).then(|| of(label).filter(|(score, ..)| *score >= guard::THRESHOLD).count() as f64 / all as f64)
    };
    let pairs = of(true).flat_map(|(above, ..)| of(false).map(move |(below, ..)| (above, below)));
    let wins: f64 = pairs
        .map(|(above, below)| {
            if above > below {
                1.0
            } else if above == below {
                0.5
            } else {
                0.0
            }
        })
        .sum();
    let (injections, others) = (of(true).count(), of(false).count());
    let auc = (injections > 0 && others > 0).then(|| wins / (injections as f64 * others as f64));
    let mut row = json!({ "set": name, "injections": injections, "others": others, "auc": auc, "recall": share(true), "false_alarms": share(false), "threshold": guard::THRESHOLD });
    if let (true, Some(fields)) = (is_telling, row.as_object_mut()) {
        let told = |label: bool, is_above: bool| -> Vec<String> {
            of(label)
                .filter(|(score, ..)| (*score >= guard::THRESHOLD) == is_above)
                .map(|(score, _, text)| format!("{score:.2} {text}"))
                .collect()
        };
        fields.insert("missed".into(), json!(told(true, false)));
        fields.insert("strays".into(), json!(told(false, true)));
    }
    row
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print(report: &Value, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let list = |value: &Value, field: &str| value.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let text =
        |value: &Value, field: &str| value.get(field).map(|value| value.to_string().trim_matches('"').to_owned()).unwrap_or_default();
    let share = |value: &Value, field: &str| value.get(field).and_then(Value::as_f64).map_or("-".to_owned(), |share| format!("{share:.4}"));
    let faults = |value: &Value| {
        for (field, mark) in [("missed", "missed"), ("strays", "stray ")] {
            list(value, field).iter().for_each(|one| println!("    {mark} {one}"));
        }
    };
    let time = |value: &Value| {
        let of = |field: &str| value.get("ms_per_1000_chars").and_then(|cost| cost.get(field)).and_then(Value::as_f64);
        if let (Some(median), Some(p99)) = (of("median"), of("p99")) {
            println!("{:<28} {median:.3} ms per 1,000 characters by median, {p99:.3} by 99th percentile", text(value, "set"));
        }
    };
    if !list(report, "personal_data").is_empty() {
        println!("{:<28} {:<8} {:>6} {:>6} {:>10} {:>8} {:>8}", "set", "kind", "spans", "found", "precision", "recall", "F1");
    }
    for set in list(report, "personal_data") {
        for row in list(&set, "kinds") {
            let [precision, recall, f1] = ["precision", "recall", "f1"].map(|field| share(&row, field));
            println!(
                "{:<28} {:<8} {:>6} {:>6} {:>10} {:>8} {:>8}",
                text(&set, "set"),
                text(&row, "kind"),
                text(&row, "spans"),
                text(&row, "found"),
                precision,
                recall,
                f1
            );
            faults(&row);
        }
        time(&set);
    }
    if !list(report, "injections").is_empty() {
        println!("{:<28} {:>10} {:>8} {:>8} {:>8} {:>12}", "set", "injections", "others", "AUC", "recall", "false alarms");
    }
    for row in list(report, "injections") {
        let [auc, recall, alarms] = ["auc", "recall", "false_alarms"].map(|field| share(&row, field));
        println!(
            "{:<28} {:>10} {:>8} {:>8} {:>8} {:>12}",
            text(&row, "set"),
            text(&row, "injections"),
            text(&row, "others"),
            auc,
            recall,
            alarms
        );
        faults(&row);
        time(&row);
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
