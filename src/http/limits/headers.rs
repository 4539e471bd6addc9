//! What answers tell of limits, in the three ways that clients read: `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-10), `x-ratelimit-limit|remaining|reset`, and OpenAI's, by meter.
//!
//! Of several limits of one kind the one with the least left is told.

use super::seconds;
use crate::limits::Standing;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use cache::Meter;
use std::time::Duration;

/// Seconds of the window of every policy.
const WINDOW_S: u32 = 60;

/// Writes nothing where there is no limit.
pub(super) fn tell(headers: &mut HeaderMap, standings: &[Standing]) {
    let (requests, tokens) = (tightest(standings, Meter::Requests), tightest(standings, Meter::Tokens));
    let Some(first) = requests.or(tokens) else { return };
    insert(headers, "ratelimit-policy", &list(standings.iter().map(policy)));
    insert(headers, "ratelimit", &list([requests, tokens].into_iter().flatten().map(left)));
    insert(headers, "x-ratelimit-limit", &first.decision.limit.to_string());
    insert(headers, "x-ratelimit-remaining", &first.decision.remaining.to_string());
    insert(headers, "x-ratelimit-reset", &seconds(first.decision.reset_after).to_string());
    for (standing, name) in [(requests, "requests"), (tokens, "tokens")] {
        let Some(Standing { decision, .. }) = standing else { continue };
        insert(headers, &format!("x-ratelimit-limit-{name}"), &decision.limit.to_string());
        insert(headers, &format!("x-ratelimit-remaining-{name}"), &decision.remaining.to_string());
        insert(headers, &format!("x-ratelimit-reset-{name}"), &in_units(decision.reset_after));
    }
}

fn tightest(standings: &[Standing], meter: Meter) -> Option<&Standing> {
    let of_meter = standings.iter().filter(|standing| standing.meter == meter);
    of_meter.min_by_key(|Standing { decision, .. }| (decision.allowed, decision.remaining, decision.limit))
}

/// Items of a list of structured fields (RFC 9651).
fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn policy(Standing { policy, meter, decision }: &Standing) -> String {
    // Requests are the unit unless another is named.
    let unit = if *meter == Meter::Tokens { ";qu=\"tokens\"" } else { "" };
    format!("\"{policy}\";q={};w={WINDOW_S}{unit}", decision.limit)
}

fn left(Standing { policy, decision, .. }: &Standing) -> String {
    format!("\"{policy}\";r={};t={}", decision.remaining, seconds(decision.reset_after))
}

/// As OpenAI writes times: `0s`, `20ms`, `1.5s`, `6m0s`.
fn in_units(time: Duration) -> String {
    let ms = time.as_nanos().div_ceil(1_000_000);
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    let fraction = format!(".{:03}", rest % 1000);
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    match (minutes, rest) {
        (0, 1..1000) => format!("{rest}ms"),
        (0, _) => format!("{}{fraction}s", rest / 1000),
        _ => format!("{minutes}m{}{fraction}s", rest / 1000),
    }
}

fn insert(headers: &mut HeaderMap, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cache::Decision;

    fn standing(policy: &'static str, meter: Meter, limit: u64, remaining: u64, reset_ms: u64) -> Standing {
        let reset_after = Duration::from_millis(reset_ms);
        Standing { policy, meter, decision: Decision { allowed: true, limit, remaining, reset_after, retry_after: None, is_shared: false } }
    }

    fn told(standings: &[Standing]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        tell(&mut headers, standings);
        let mut told: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        told.sort();
        told
    }

    #[test]
    fn the_tightest_limit_of_each_kind_is_told() {
        let standings = [
            standing("key-requests", Meter::Requests, 60, 59, 1000),
            standing("tenant-requests", Meter::Requests, 100, 7, 55_800),
            standing("key-tokens", Meter::Tokens, 1000, 400, 36_000),
        ];
        let expected = [
            ("ratelimit", "\"tenant-requests\";r=7;t=56, \"key-tokens\";r=400;t=36"),
            ("ratelimit-policy", "\"key-requests\";q=60;w=60, \"tenant-requests\";q=100;w=60, \"key-tokens\";q=1000;w=60;qu=\"tokens\""),
            ("x-ratelimit-limit", "100"),
            ("x-ratelimit-limit-requests", "100"),
            ("x-ratelimit-limit-tokens", "1000"),
            ("x-ratelimit-remaining", "7"),
            ("x-ratelimit-remaining-requests", "7"),
            ("x-ratelimit-remaining-tokens", "400"),
            ("x-ratelimit-reset", "56"),
            ("x-ratelimit-reset-requests", "55.8s"),
            ("x-ratelimit-reset-tokens", "36s"),
        ];
        assert_eq!(told(&standings), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(told(&[]).is_empty());
        let tokens = told(&standings[2..]);
        assert!(tokens.contains(&("x-ratelimit-limit".to_owned(), "1000".to_owned())), "where only tokens are limited: {tokens:?}");
    }

    #[test]
    fn times_are_written_as_openai_writes_them() {
        let written = |ms| in_units(Duration::from_millis(ms));
        for (ms, expected) in [(0, "0s"), (20, "20ms"), (1000, "1s"), (1500, "1.5s"), (59_999, "59.999s"), (360_000, "6m0s")] {
            assert_eq!(written(ms), expected);
        }
        assert_eq!(in_units(Duration::from_nanos(1)), "1ms", "never sooner than it is");
    }
}
