//! What `/metrics` says of calls to models, and whether `docs/metrics.md` says what it means.

use crate::support::{Server, Setup};
use mock::{Mock, Reply, Script};
use serde_json::json;

fn server(mock: &Mock) -> Server {
    let url = mock.url();
    let config = format!(
        "[llm.retry]\nbackoff_ms = 1\ntries_max = 2\n[llm.breaker]\nconsecutive = 2\n\
         [[llm.deployments]]\nname = \"first\"\nprovider = \"openai\"\nmodel = \"gpt-1\"\nbase_url = \"{url}/v1\"\n\
         [[llm.deployments]]\nname = \"second\"\nprovider = \"anthropic\"\nmodel = \"claude-1\"\nbase_url = \"{url}/v1\"\n\
         api_key_env = \"KEY_OF_THE_PROVIDER\"\n[[llm.models]]\nname = \"small\"\nladder = [[\"first\"], [\"second\"]]\n"
    );
    Setup::hash().config(&config).environment("KEY_OF_THE_PROVIDER", "sk-some").start()
}

/// The value of the one series of this name whose labels hold all of `labels`.
fn value(metrics: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let series = metrics.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let found: Vec<&str> = series.filter(|line| labels.iter().all(|label| line.contains(label))).collect();
    let [line] = found[..] else { panic!("{name} {labels:?}: {found:?} in\n{metrics}") };
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn calls_retries_breakers_times_and_tokens_are_counted() {
    let mock = Mock::start_on_thread(Script::default().then("gpt-1", Reply::status(503)).then("gpt-1", Reply::status(503)));
    let server = server(&mock);
    let ask = |path: &str| {
        server.post(path, json!({ "model": "small", "max_tokens": 9, "messages": [{ "role": "user", "content": "one two" }] })).ok()
    };
    ask("/v1/chat/completions");
    ask("/v1/messages");
    let metrics = server.get("/metrics").text();
    let first = [
        ("ragstone_deployment", "first"),
        ("gen_ai_provider_name", "openai"),
        ("gen_ai_request_model", "gpt-1"),
        ("gen_ai_operation_name", "chat"),
    ];
    let second = [("ragstone_deployment", "second"), ("gen_ai_provider_name", "anthropic"), ("gen_ai_request_model", "claude-1")];
    let with = |labels: &[(&'static str, &'static str)], more: (&'static str, &'static str)| [labels, &[more]].concat();
    assert_eq!(value(&metrics, "ragstone_model_calls_total", &with(&first, ("ragstone_outcome", "failed"))), 2.0);
    assert_eq!(value(&metrics, "ragstone_model_calls_total", &with(&second, ("ragstone_outcome", "answered"))), 2.0);
    assert_eq!(value(&metrics, "gen_ai_client_operation_duration_seconds_count", &with(&first, ("error_type", "503"))), 2.0);
    assert_eq!(value(&metrics, "gen_ai_client_operation_duration_seconds_count", &second), 2.0);
    assert_eq!(value(&metrics, "gen_ai_client_operation_time_to_first_chunk_seconds_count", &second), 2.0);
    assert!(value(&metrics, "gen_ai_client_token_usage_sum", &with(&second, ("gen_ai_token_type", "output"))) >= 4.0);
    assert_eq!(value(&metrics, "gen_ai_client_token_usage_count", &with(&second, ("gen_ai_token_type", "input"))), 2.0);
    let small = [("gen_ai_request_model", "small")];
    assert_eq!(value(&metrics, "ragstone_model_retries_total", &with(&small, ("error_type", "503"))), 1.0);
    // The breaker is open by the second request, which nobody of the first rung was asked for.
    assert_eq!(value(&metrics, "ragstone_model_rungs_given_up_total", &with(&small, ("error_type", "503"))), 1.0);
    assert_eq!(value(&metrics, "ragstone_model_rungs_given_up_total", &with(&small, ("error_type", "unavailable"))), 1.0);
    assert_eq!(value(&metrics, "ragstone_breaker_state", &[("ragstone_deployment", "first")]), 2.0);
    assert_eq!(value(&metrics, "ragstone_breaker_state", &[("ragstone_deployment", "second")]), 0.0);
    assert!(metrics.contains("gen_ai_client_operation_duration_seconds_bucket"), "histograms, which can be added up");
}

#[test]
fn every_name_is_documented_and_no_other() {
    let page = include_str!("../../docs/metrics.md");
    let missing: Vec<&str> = gateway::telemetry::TABLE
        .iter()
        .flat_map(|row| [row.name, row.prometheus])
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    let known = |name: &str| gateway::telemetry::TABLE.iter().any(|row| row.name == name || row.prometheus == name);
    let named = page.split('`').skip(1).step_by(2).filter(|name| name.starts_with("gen_ai"));
    let stale: Vec<&str> = named.filter(|name| !known(name)).collect();
    assert!(stale.is_empty(), "in docs/metrics.md and nowhere else: {stale:?}");
}

#[test]
fn every_figure_of_the_server_is_documented() {
    let page = include_str!("../../docs/metrics.md");
    let server = Setup::hash().start();
    server.get("/v1/collections").ok();
    let metrics = server.get("/metrics").text();
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let missing: Vec<&str> = names.filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
}
