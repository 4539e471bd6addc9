//! Requests and tokens a minute, of keys and of tenants, on one server and on two that share a Redis.
//!
//! Limits are so small that nothing comes back while a test runs: of four a minute, one in 15 s.

use crate::scopes::key_line;
use crate::support::redis::Redis;
use crate::support::{Reply, Server, Setup};
use mock::{Fault, Mock, Reply as Told, Script, Usage};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

const LISTED: &str = "/v1/collections";
const OPERATOR: &str = "the-operators-own-key";

fn limited(section: &str, requests: u32) -> String {
    format!("[limits.{section}]\nrequests_per_minute = {requests}\n")
}

/// How many of so many requests at once are let in; the others are told when to come again.
fn let_in(servers: &[&Server], requests: usize) -> usize {
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..requests).map(|at| scope.spawn(move || servers[at % servers.len()].get(LISTED))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (taken, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    for reply in refused {
        assert_eq!((reply.status, reply.json()["code"].clone()), (429, json!("rate_limited")), "{}", reply.text());
        assert!((1..=60).contains(&number(&reply, "retry-after")), "{:?}", reply.header("retry-after"));
    }
    taken.len()
}

fn number(reply: &Reply, header: &str) -> u64 {
    let value = reply.header(header).unwrap_or_else(|| panic!("no {header}"));
    value.parse().unwrap_or_else(|_| panic!("{header}: {value}"))
}

/// Items of a list of structured fields: a string each, with whole numbers and strings as parameters.
fn items(reply: &Reply, header: &str) -> Vec<(String, Vec<(String, String)>)> {
    let item = |item: &str| {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap().strip_prefix('"').unwrap().strip_suffix('"').unwrap().to_owned();
        let parameter = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        (name, parts.map(|part| parameter(part.split_once('=').unwrap())).collect())
    };
    reply.header(header).unwrap_or_else(|| panic!("no {header}")).split(',').map(|text| item(text.trim())).collect()
}

#[test]
fn a_limit_holds_exactly_whoever_asks_at_once_and_headers_tell_of_it() {
    let server = Setup::hash().config(&limited("key", 4)).config(&limited("tenant", 100)).start();
    let first = server.get(LISTED);
    let of = |name: &str, quota: &str| (name.to_owned(), vec![("q".to_owned(), quota.to_owned()), ("w".to_owned(), "60".to_owned())]);
    assert_eq!(items(&first, "ratelimit-policy"), [of("key-requests", "4"), of("tenant-requests", "100")]);
    let left = items(&first, "ratelimit");
    assert_eq!((left.len(), left[0].0.as_str(), &left[0].1[0]), (1, "key-requests", &("r".to_owned(), "3".to_owned())));
    assert_eq!((number(&first, "x-ratelimit-limit"), number(&first, "x-ratelimit-remaining")), (4, 3));
    assert_eq!((number(&first, "x-ratelimit-limit-requests"), number(&first, "x-ratelimit-remaining-requests")), (4, 3));
    assert_eq!(first.header("x-ratelimit-reset-requests").map(|reset| reset.ends_with('s')), Some(true));
    assert!((1..=15).contains(&number(&first, "x-ratelimit-reset")));
    assert_eq!(let_in(&[&server], 40), 3);
    let refused = server.get(LISTED);
    assert_eq!((refused.status, refused.header("content-type")), (429, Some("application/problem+json")));
    assert_eq!((number(&refused, "x-ratelimit-remaining"), items(&refused, "ratelimit")[0].1[0].1.as_str()), (0, "0"));
    let openai = server.get("/v1/models");
    assert_eq!((openai.status, openai.json()["error"]["code"].clone()), (429, json!("rate_limited")));
    assert_eq!(openai.json()["error"]["type"], "rate_limit_error");
    // What is open to all has no limit, and what was refused took nothing of the tenant's.
    for open in ["/healthz", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs"] {
        let reply = server.get(open);
        assert_eq!((reply.status, reply.header("ratelimit")), (200, None), "{open}");
    }
    assert!(server.get("/metrics").text().contains("ragstone_requests_limited_total{limit=\"key-requests\"}"));
}

#[test]
fn without_limits_nothing_is_told() {
    let server = Setup::hash().start();
    let reply = server.get(LISTED);
    for name in ["ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-limit-requests", "x-ratelimit-limit-tokens"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
}

#[test]
fn tenants_have_limits_of_their_own() {
    let keys =
        [key_line("key-of-a", "a", ""), key_line("other-of-a", "a", ""), key_line("key-of-b", "b", ""), key_line("key-of-c", "c", "")];
    let limits = format!("{}[limits.tenants.c]\nrequests_per_minute = 0\n", limited("tenant", 4));
    let server = Setup::hash().config(&limits).config(&keys.concat()).start();
    let [a, other, b, c] = ["key-of-a", "other-of-a", "key-of-b", "key-of-c"].map(|key| server.view(Some(key)));
    assert_eq!(let_in(&[&a, &other], 12), 4, "the keys of a tenant share its limit");
    assert_eq!((a.get(LISTED).status, other.get(LISTED).status), (429, 429));
    assert_eq!(let_in(&[&b], 12), 4, "another tenant has all of its own");
    assert_eq!((let_in(&[&c], 12), c.get(LISTED).header("ratelimit")), (12, None), "and one has no limit");
}

#[test]
fn a_key_may_have_limits_of_its_own_and_gives_no_more_than_it_has() {
    let server = Setup::hash().config(&limited("key", 100)).environment("RAGSTONE_API_KEY", OPERATOR).start().with_key(OPERATOR);
    let make = |server: &Server, limits: Value| {
        let made = server.post("/v1/keys", json!({ "name": "k", "scopes": ["query", "admin"], "limits": limits }));
        (made.status, made.json())
    };
    let (status, made) = make(&server, json!({ "requests_per_minute": 5 }));
    assert_eq!((status, &made["limits"]), (201, &json!({ "requests_per_minute": 5, "tokens_per_minute": null })));
    let five = server.view(made["key"].as_str());
    assert_eq!(make(&five, json!({ "requests_per_minute": 6 })).0, 403);
    assert_eq!(make(&five, json!({ "requests_per_minute": 0 })).0, 403, "that is without a limit");
    assert_eq!(make(&five, json!({ "requests_per_second": 1 })).0, 400);
    assert_eq!(make(&five, Value::Null).1["limits"]["requests_per_minute"], 5, "what is left out is as for the maker");
    assert_eq!(let_in(&[&five], 12), 1);
    assert_eq!(make(&server, json!({ "requests_per_minute": 1000 })).0, 201, "an operator gives more");
}

#[test]
fn two_servers_share_limits_and_go_on_alone_while_redis_is_away() {
    let mut redis = Redis::start();
    let config = format!("{}{}", limited("tenant", 4), redis.config());
    let [first, second] = [(); 2].map(|()| Setup::hash().config(&config).start());
    assert_eq!(let_in(&[&first, &second], 24), 4, "together");
    redis.stop();
    assert_eq!(let_in(&[&first], 12), 4, "alone");
    assert_eq!(let_in(&[&second], 12), 4, "alone");
    redis.start_again();
    // Nothing is left on either side: who is let in has been told so by the Redis that is back, which knows nothing.
    let deadline = Instant::now() + Duration::from_secs(10);
    for server in [&first, &second] {
        while server.get(LISTED).status != 200 {
            assert!(Instant::now() < deadline, "redis is not found again");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert_eq!(let_in(&[&first, &second], 24), 2, "together again");
}

/// A server with one model, `m`, and 600 tokens a minute for its tenant: ten come back in a second.
fn with_tokens(mock: &Mock) -> Server {
    let deployment =
        format!("[[llm.deployments]]\nname = \"d\"\nprovider = \"compatible\"\nmodel = \"m\"\nbase_url = \"{}/v1\"\n", mock.url());
    let model = "[[llm.models]]\nname = \"m\"\nladder = [[\"d\"]]\n";
    Setup::hash().config(&format!("[limits.tenant]\ntokens_per_minute = 600\n{deployment}{model}")).start()
}

fn asked(max_tokens: u32, is_stream: bool) -> Value {
    json!({ "model": "m", "max_tokens": max_tokens, "stream": is_stream, "messages": [{ "role": "user", "content": "one two three" }] })
}

/// What is left, asked by a request that takes none.
fn tokens_left(server: &Server) -> u64 {
    let reply = server.post("/v1/chat/completions", json!({ "model": "none", "messages": [{ "role": "user", "content": "x" }] }));
    assert_eq!((reply.status, number(&reply, "x-ratelimit-limit-tokens")), (404, 600));
    number(&reply, "x-ratelimit-remaining-tokens")
}

/// Soon so many are left: much sooner than they could come back by themselves.
fn settles_to(server: &Server, expected: RangeInclusive<u64>) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !expected.contains(&tokens_left(server)) {
        assert!(Instant::now() < deadline, "{} are left", tokens_left(server));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn tokens_are_reserved_before_and_settled_after() {
    let used = |prompt_tokens, completion_tokens| Usage { prompt_tokens, completion_tokens, cached_tokens: 0 };
    for is_stream in [false, true] {
        let script = Script::default().then("m", Told::text("four").usage(used(90, 10))).then("m", Told::status(400));
        let script = script.then("m", Told::text("word ".repeat(50)).without_usage());
        let mock = Mock::start_on_thread(script);
        let server = with_tokens(&mock);
        let reply = server.post("/v1/chat/completions", asked(400, is_stream));
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(items(&reply, "ratelimit")[0].0, "tenant-tokens");
        settles_to(&server, 500..=560);
        assert_eq!(server.post("/v1/chat/completions", asked(400, is_stream)).status, 400);
        settles_to(&server, 500..=599);
        let before = tokens_left(&server);
        assert_eq!(server.post("/v1/chat/completions", asked(400, is_stream)).status, 200);
        // 50 words and a question, by our own count.
        settles_to(&server, before.saturating_sub(120)..=before.saturating_sub(20));
    }
}

#[test]
fn what_a_provider_has_read_is_not_given_back_when_it_fails() {
    // It breaks off before its first word, and refuses the second try.
    let mock = Mock::start_on_thread(Script::default().then("m", Told::fault(Fault::EndInBody(0))).then("m", Told::status(400)));
    let server = with_tokens(&mock);
    let mut body = asked(50, false);
    body["messages"][0]["content"] = json!("word ".repeat(200));
    assert_eq!(server.post("/v1/chat/completions", body).status, 400);
    assert_eq!(mock.call_count(), 2);
    // The question alone has 250 tokens.
    settles_to(&server, 335..=400);
}

#[test]
fn who_has_no_tokens_left_is_refused_before_the_model_is_asked_and_who_leaves_pays_for_what_was_heard() {
    let mock = Mock::start_on_thread(Script::always(Told::text("word ".repeat(100_000)).chunk_ms(20)));
    let server = with_tokens(&mock);
    let mut stream = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    let body = asked(500, true).to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}",
        body.len()
    );
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
    let (mut heard, mut bytes) = (String::new(), [0; 4096]);
    while !heard.contains("word") {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "{heard}");
        heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert!(tokens_left(&server) < 200, "reserved while it streams");
    let refused = server.post("/v1/chat/completions", asked(500, false));
    assert_eq!((refused.status, refused.json()["error"]["code"].clone()), (429, json!("rate_limited")), "{}", refused.text());
    assert!((1..=60).contains(&number(&refused, "retry-after")));
    let embedded = server.post("/v1/embeddings", json!({ "model": "hash-for-tests", "input": "word ".repeat(1000) }));
    assert_eq!(embedded.status, 429, "{}", embedded.text());
    server.add_text("default", "lamp", "The lamp is filled with colza oil every evening.");
    let answer = server.post("/v1/collections/default/query", json!({ "question": "What is the lamp filled with?" }));
    assert_eq!((answer.status, answer.json()["code"].clone()), (429, json!("rate_limited")), "{}", answer.text());
    assert_eq!(mock.call_count(), 1, "nobody else was asked");
    drop(stream);
    settles_to(&server, 400..=600);
}

#[test]
fn a_question_that_needs_more_than_a_minute_has_is_answered_when_nothing_is_spent_and_owed() {
    let used = Usage { prompt_tokens: 500, completion_tokens: 400, cached_tokens: 0 };
    let mock = Mock::start_on_thread(Script::always(Told::text("four").usage(used)));
    let server = with_tokens(&mock);
    assert_eq!(server.post("/v1/chat/completions", asked(5000, false)).status, 200);
    settles_to(&server, 0..=0);
    let refused = server.post("/v1/chat/completions", asked(1, false));
    assert_eq!(refused.status, 429);
    assert!(number(&refused, "retry-after") > 20, "300 more than a minute's were used");
}
