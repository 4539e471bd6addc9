//! Chat completions over HTTP at a steady rate: what a server, a provider or another gateway adds to an answer.
//!
//! The load is open: a request is sent when its time has come, however many are under way, and its latency counts from
//! that time. A load that waits for answers would send less to whoever is slow, and so leave out the worst of it.

use super::index::percentile;
use crate::client::{Client, Heard};
use anyhow::{Context, anyhow, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// Up to and without /chat/completions, such as http://127.0.0.1:7272/v1
    #[arg(long, value_name = "URL")]
    base_url: String,
    /// Model to ask
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Requests a second
    #[arg(long, default_value_t = 500.0, value_name = "N")]
    rate: f64,
    /// For how long: seconds, or a number with ms, s or m
    #[arg(long, default_value = "20s", value_parser = duration, value_name = "TIME")]
    duration: Duration,
    /// Ask for streams, and measure the time to the first token too
    #[arg(long)]
    stream: bool,
    /// File that holds the API key
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Requests under way at a time; later ones wait, and the wait counts
    #[arg(long, default_value_t = 256, value_name = "N")]
    concurrency_max: usize,
    /// What to say
    #[arg(long, default_value = "What does a gateway cost?", value_name = "TEXT")]
    message: String,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    requests: usize,
    errors: usize,
    /// Why the first of them failed.
    first_error: Option<String>,
    /// Requests a second that were asked for.
    rate: f64,
    /// Answers a second.
    achieved_rate: f64,
    latency_ms: Latency,
    /// Of streams.
    first_token_ms: Option<Latency>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p95: f64,
    p99: f64,
    max: f64,
}

pub(crate) fn run(args: &ChatArgs) -> anyhow::Result<ExitCode> {
    ensure!(args.rate > 0.0 && args.rate <= 100_000.0, "--rate must be above 0 and at most 100000");
    let load = Arc::new(Load::new(args)?);
    // One thread that sends and receives beside this one that keeps time: what is measured needs the processors more.
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("load").enable_all().build()?;
    let began = Instant::now();
    let outcomes = send(&runtime, &load, args, began)?;
    print(&report(args, outcomes, began.elapsed())?, args.json)
}

/// What is sent again and again.
struct Load {
    client: Client,
    body: Vec<u8>,
    places: Semaphore,
    is_stream: bool,
}

/// When an answer was there, and its first token, counted from when the request was due.
struct Times {
    whole: Duration,
    first_token: Option<Duration>,
}

type Outcome = anyhow::Result<Times>;

impl Load {
    fn new(args: &ChatArgs) -> anyhow::Result<Self> {
        let key = args.api_key_file.as_deref().map(key_of).transpose()?;
        let body = json!({ "model": args.model, "messages": [{ "role": "user", "content": args.message }], "stream": args.stream });
        Ok(Self {
            client: Client::new(&args.base_url, key)?,
            body: body.to_string().into_bytes(),
            places: Semaphore::new(args.concurrency_max.clamp(1, Semaphore::MAX_PERMITS)),
            is_stream: args.stream,
        })
    }

    async fn ask(&self, due: Instant) -> Outcome {
        let _place = self.places.acquire().await?;
        let Heard { text, first_at } = self.client.hear("/chat/completions", self.body.clone(), is_first_token).await?;
        let times = Times { whole: due.elapsed(), first_token: first_at.map(|at| at - due) };
        ensure!(!self.is_stream || text.contains("[DONE]"), "a stream broke off");
        ensure!(self.is_stream || text.contains("\"choices\""), "an answer without choices");
        Ok(times)
    }
}

fn key_of(file: &Path) -> anyhow::Result<String> {
    let key = std::fs::read_to_string(file).with_context(|| format!("--api-key-file: can't read {}", file.display()))?;
    Ok(key.trim().to_owned())
}

/// Whether an event of a stream says something.
fn is_first_token(event: &str) -> bool {
    let chunk: serde_json::Value = serde_json::from_str(event).unwrap_or_default();
    chunk.pointer("/choices/0/delta/content").and_then(serde_json::Value::as_str).is_some_and(|text| !text.is_empty())
}

/// Sends each request at its time and waits for all of them.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rate and duration are bounded")]
fn send(runtime: &Runtime, load: &Arc<Load>, args: &ChatArgs, began: Instant) -> anyhow::Result<Vec<Outcome>> {
    let count = (args.rate * args.duration.as_secs_f64()).round() as u32;
    ensure!(count > 0, "--duration is too short for one request");
    let mut sent = JoinSet::new();
    for number in 0..count {
        let due = began + Duration::from_secs_f64(f64::from(number) / args.rate);
        // The runtime's own timers are a millisecond coarse.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let load = Arc::clone(load);
        sent.spawn_on(async move { load.ask(due).await }, runtime.handle());
    }
    Ok(runtime.block_on(sent.join_all()))
}

fn report(args: &ChatArgs, outcomes: Vec<Outcome>, took: Duration) -> anyhow::Result<Report> {
    let requests = outcomes.len();
    let (answered, failed): (Vec<Outcome>, Vec<Outcome>) = outcomes.into_iter().partition(Result::is_ok);
    let first_error = failed.into_iter().find_map(Result::err).map(|error| format!("{error:#}"));
    let times: Vec<Times> = answered.into_iter().flatten().collect();
    let reason = first_error.clone().unwrap_or_default();
    let whole = latency(times.iter().map(|times| times.whole)).with_context(|| format!("no request was answered: {reason}"))?;
    Ok(Report {
        requests,
        errors: requests - times.len(),
        first_error,
        rate: args.rate,
        achieved_rate: times.len() as f64 / took.as_secs_f64(),
        latency_ms: whole,
        first_token_ms: latency(times.iter().filter_map(|times| times.first_token)).ok(),
    })
}

fn latency(times: impl Iterator<Item = Duration>) -> anyhow::Result<Latency> {
    let mut ms: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
    ms.sort_by(f64::total_cmp);
    let max = ms.last().copied().ok_or_else(|| anyhow!("no times"))?;
    Ok(Latency { p50: percentile(&ms, 0.5), p95: percentile(&ms, 0.95), p99: percentile(&ms, 0.99), max })
}

#[expect(clippy::print_stdout, reason = "the command's output")]
fn print(report: &Report, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let Report { requests, errors, rate, achieved_rate, .. } = report;
    println!("{requests} requests at {rate}/s: {achieved_rate:.1} answers/s, {errors} errors");
    println!("{:>12} {:>9} {:>9} {:>9} {:>9}", "ms", "p50", "p95", "p99", "max");
    let rows = [("answer", Some(&report.latency_ms)), ("first token", report.first_token_ms.as_ref())];
    for (name, latency) in rows.into_iter().filter_map(|(name, latency)| Some((name, latency?))) {
        println!("{name:>12} {:>9.3} {:>9.3} {:>9.3} {:>9.3}", latency.p50, latency.p95, latency.p99, latency.max);
    }
    if let Some(error) = &report.first_error {
        println!("first error: {error}");
    }
    Ok(ExitCode::SUCCESS)
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit_s) = match text.trim_end_matches(|c: char| c.is_ascii_alphabetic()) {
        number if text.ends_with("ms") => (number, 1e-3),
        number if text.ends_with('m') => (number, 60.0),
        number => (number, 1.0),
    };
    let is_known = ["", "ms", "s", "m"].contains(&text.strip_prefix(number).unwrap_or_default());
    let seconds = number.parse::<f64>().ok().filter(|number| is_known && (0.0..1e6).contains(number));
    seconds.map(|number| Duration::from_secs_f64(number * unit_s)).ok_or_else(|| format!("{text:?} is no time, such as 500ms, 20s or 3m"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ChatArgs,
    }

    fn measured(rate: &str, duration: &str, more: &[&str]) -> Report {
        let mock = mock::Mock::start_on_thread(mock::Script::always(mock::Reply::text("one two three").latency_ms(5)));
        let base_url = format!("{}/v1", mock.url());
        let line = ["chat", "--base-url", &base_url, "--model", "m", "--rate", rate, "--duration", duration];
        let args = Line::try_parse_from(line.iter().chain(more)).unwrap().args;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let began = Instant::now();
        let outcomes = send(&runtime, &Arc::new(Load::new(&args).unwrap()), &args, began).unwrap();
        assert_eq!(mock.call_count(), 20);
        report(&args, outcomes, began.elapsed()).unwrap()
    }

    #[test]
    fn the_rate_is_kept_and_every_answer_timed() {
        let whole = measured("100", "200ms", &[]);
        assert_eq!((whole.requests, whole.errors), (20, 0), "{:?}", whole.first_error);
        let Latency { p50, p95, p99, max } = whole.latency_ms;
        assert!(5.0 <= p50 && p50 <= p95 && p95 <= p99 && p99 <= max, "{:?}", whole.latency_ms);
        assert!(whole.first_token_ms.is_none() && whole.achieved_rate <= 105.0, "{whole:?}");
        let streamed = measured("100", "200ms", &["--stream"]);
        let first = streamed.first_token_ms.unwrap();
        assert!(streamed.errors == 0 && first.p50 >= 5.0 && first.p50 <= streamed.latency_ms.p50, "{first:?}");
    }

    #[test]
    fn one_at_a_time_lets_the_others_wait_and_counts_it() {
        let waited = measured("10000", "2ms", &["--concurrency-max", "1"]).latency_ms;
        assert!(waited.max >= 20.0 * 5.0, "{waited:?}");
    }

    #[test]
    fn times_have_units() {
        let ms = |text| duration(text).map(|time| time.as_millis()).ok();
        assert_eq!([ms("500ms"), ms("2s"), ms("1.5"), ms("3m")], [Some(500), Some(2000), Some(1500), Some(180_000)]);
        assert_eq!([ms(""), ms("s"), ms("3h"), ms("-1s"), ms("nan")], [None; 5]);
    }
}
