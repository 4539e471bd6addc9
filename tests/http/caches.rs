use super::scopes::key_line;
use super::tls::certify;
use crate::support::redis::Redis;
use crate::support::{Server, Setup, eventually};
use mock::{Finished, Mock, Reply, Script};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

const QUERY: &str = "/v1/collections/default/query";

fn llm(mock: &Mock) -> String {
    format!("[llm]\nbase_url = \"{}/v1\"\nmodel = \"small\"\n", mock.url())
}

fn ask(server: &Server, question: &str) -> Value {
    server.post(QUERY, json!({ "question": question })).ok()
}

fn ask_with(server: &Server, question: &str, cache: &str) -> Value {
    server.post(QUERY, json!({ "question": question, "cache": cache })).ok()
}

fn is_hit(answer: &Value) -> bool {
    answer["cache"]["hit"].as_bool().unwrap()
}

fn metric(server: &Server, line: &str) -> f64 {
    let page = server.get("/metrics").text();
    page.lines().find_map(|found| found.strip_prefix(line)).map_or(0.0, |value| value.trim().parse().unwrap())
}

/// What every answer of a model would show: the words of the documents that it was given.
fn echo() -> Mock {
    Mock::start_on_thread(Script::default())
}

#[test]
fn a_thousand_answers_of_one_tenant_are_nobody_elses() {
    let mock = echo();
    let keys = ["a", "b", "c"].map(|tenant| key_line(&format!("key-{tenant}"), tenant, "")).concat();
    // So low that anything in the same partition would do.
    let server = Setup::hash().config(&format!("{}{keys}[cache]\nsemantic_threshold = 0.3\n", llm(&mock))).start().with_key("key-a");
    server.add_text("default", "plan", "The canary-7351 of topic flights is written down here.");
    for tenant in ["key-b", "key-c"] {
        server.view(Some(tenant)).add_text("default", "plan", "The bird of topic flights is written down here.");
    }
    let question = |n: usize| format!("What is written of topic {n} of flights?");
    let in_other_words = |n: usize| format!("Please tell me what is written of topic {n} of flights.");
    let each = |key: &str, question: &(dyn Fn(usize) -> String + Sync)| {
        std::thread::scope(|scope| {
            let part = |part: usize| {
                let server = server.view(Some(key));
                scope.spawn(move || (part..1000).step_by(8).map(|n| ask(&server, &question(n)).to_string()).collect::<Vec<_>>())
            };
            let parts: Vec<_> = (0..8).map(part).collect();
            parts.into_iter().flat_map(|part| part.join().unwrap()).collect::<Vec<String>>()
        })
    };
    let primed = each("key-a", &question);
    assert_eq!(primed.iter().filter(|answer| answer.contains("canary-7351")).count(), 1000, "{}", primed[0]);
    for (key, question) in [("key-b", &question as &(dyn Fn(usize) -> String + Sync)), ("key-c", &in_other_words)] {
        let answers = each(key, question);
        let leaked: Vec<&String> =
            answers.iter().filter(|answer| answer.contains("canary-7351") || answer.contains("\"hit\":true")).collect();
        assert!(leaked.is_empty(), "{key}: {} of them, such as {}", leaked.len(), leaked[0]);
    }
    // The same would have been hits at home.
    assert_eq!(ask(&server, &question(500))["cache"]["kind"], "exact");
    ask(&server, "How do I reset my password?");
    let similar = ask(&server, "How can I reset my password?");
    assert_eq!(similar["cache"]["kind"], "semantic", "{}", similar["cache"]);
    assert!(similar.to_string().contains("canary-7351"));
    assert_eq!(metric(&server, "ragstone_answer_cache_hits_total{match=\"exact\"} "), 1.0);
}

#[test]
fn what_one_principal_may_read_is_not_told_to_another() {
    let mock = echo();
    let bound = |name: &str| key_line(&format!("key-{name}"), "a", &format!("principals = [\"{name}\"]"));
    let keys = format!("{}{}{}", key_line("key-a", "a", ""), bound("ann"), bound("bob"));
    let server = Setup::hash().config(&format!("{}{keys}[cache]\nsemantic_threshold = 0.3\n", llm(&mock))).start().with_key("key-a");
    let documents = "/v1/collections/default/documents?wait=true";
    server.post(documents, json!({ "text": "The wages are canary-99 a day.", "external_id": "w", "acl": ["ann"] })).ok();
    server.post(documents, json!({ "text": "The wages are a secret.", "external_id": "s", "acl": [] })).ok();
    let (ann, bob) = (server.view(Some("key-ann")), server.view(Some("key-bob")));
    for n in 0..20 {
        let question = format!("What are the wages on day {n}?");
        assert!(ask(&ann, &question).to_string().contains("canary-99"));
        assert!(is_hit(&ask(&ann, &question)));
        for question in [question, format!("Tell me what the wages on day {n} are.")] {
            let told = ask(&bob, &question);
            assert!(!told.to_string().contains("canary-99"), "{told}");
        }
        assert!(!is_hit(&ask(&server, &format!("What are the wages on day {n}?"))), "who may read all is a third");
    }
    assert_eq!(ann.get("/v1/caches").status, 403, "nor is it told what the tenant's caches hold");
}

#[test]
fn a_write_makes_answers_unreachable_at_once_and_a_deletion_purges_them() {
    let mock = echo();
    let server = Setup::hash().config(&llm(&mock)).start();
    let lamp = server.add_text("default", "lamp", "The lamp burns colza oil.");
    let question = "What does the lamp burn?";
    let first = ask(&server, question);
    let second = ask(&server, &format!("  {question}\n"));
    assert_eq!((is_hit(&first), is_hit(&second)), (false, true));
    for field in ["answer", "citations", "sources", "mode", "model", "context_length"] {
        assert_eq!(first[field], second[field], "{field}");
    }
    assert_eq!((&second["cost_usd"], &second["usage"]["prompt_tokens"]), (&json!(0.0), &json!(0)));
    assert_eq!(mock.call_count(), 1);
    for n in 0..10 {
        server.add_text("default", "horn", &format!("The horn sounds {n} times."));
        assert!(!is_hit(&ask(&server, question)), "after write {n}");
        assert!(is_hit(&ask(&server, question)));
    }
    let held = |server: &Server| server.get("/v1/caches?collection=default").ok()["data"][0]["tiers"].clone();
    assert_eq!(held(&server)[0]["entries"], 11, "{}", held(&server));
    let deleted = server.delete(&format!("/v1/collections/default/documents/{lamp}")).ok();
    assert_eq!(deleted["receipt"]["caches"], 22, "in memory and on disk: {deleted}");
    for tier in held(&server).as_array().unwrap() {
        assert_eq!(tier["entries"], 0, "{tier}");
    }
    assert!(!is_hit(&ask(&server, question)));
    let verified = server.get(&format!("/v1/deletions/{}/verify", deleted["receipt"]["id"].as_str().unwrap())).ok();
    assert_eq!((&verified["verified"], &verified["receipt"]["caches"]), (&json!(true), &json!(22)), "{verified}");
    let deleted = server.delete("/v1/collections/default").ok();
    assert_eq!(deleted["receipt"]["caches"], 2, "{deleted}");
    let all = server.get("/v1/caches").ok();
    assert_eq!((&all["data"][0]["kind"], &all["data"][0]["tiers"][1]["entries"]), (&json!("answer"), &json!(0)), "{all}");
}

/// The catalog of a server that doesn't run.
fn catalog(data: &Path) -> index::Catalog {
    let store = index::store::SledStore::open(data.join("store"), &Default::default()).unwrap();
    let params = index::CatalogParams { views: data.join("views"), vector: Default::default(), collections_open_max: 4 };
    index::Catalog::new(std::sync::Arc::new(store), index::blobs::Blobs::open(data.join("blobs")).unwrap(), params)
}

#[test]
fn a_purge_that_a_crash_left_is_made_at_the_next_start() {
    let mock = echo();
    let mut server = Setup::hash().config(&llm(&mock)).start();
    server.add_text("default", "lamp", "The lamp burns colza oil.");
    server.post("/v1/collections", json!({ "name": "other" })).ok();
    server.add_text("other", "horn", "The horn sounds twice.");
    ask(&server, "What does the lamp burn?");
    server.post("/v1/collections/other/query", json!({ "question": "How often does the horn sound?" })).ok();
    server.terminate();
    let data = server.data.clone();
    // As if it had been killed right after each deletion.
    let receipts = {
        let (catalog, tenant) = (catalog(&data), corpus::TenantId::default());
        let document = catalog.delete_document(&catalog.collection(&tenant, "default").unwrap(), "lamp").unwrap();
        let collection = catalog.delete_collection(&tenant, &catalog.collection(&tenant, "other").unwrap().id).unwrap();
        [document.id, collection.id]
    };
    let again = Setup::hash().config(&llm(&mock)).data(&data).start();
    eventually(|| again.get("/v1/caches").ok()["data"][0]["tiers"][1]["entries"] == 0);
    for receipt in receipts {
        let verify = || again.get(&format!("/v1/deletions/{receipt}/verify")).ok();
        eventually(|| verify()["receipt"]["caches"] == 1);
        assert_eq!(verify()["verified"], true);
    }
}

#[test]
fn a_request_says_whether_a_cached_answer_will_do_and_which_parameters_it_has() {
    let mock = echo();
    let server = Setup::hash().config(&llm(&mock)).start();
    server.add_text("default", "lamp", "The lamp burns colza oil.");
    let question = "What does the lamp burn?";
    for (cache, hit, calls) in
        [("use", false, 1), ("use", true, 1), ("bypass", false, 2), ("refresh", false, 3), ("use", true, 3), ("refresh", false, 4)]
    {
        assert_eq!((is_hit(&ask_with(&server, question, cache)), mock.call_count()), (hit, calls), "{cache}");
    }
    let is_hit_with = |more: Value| {
        let mut body = json!({ "question": question });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        is_hit(&server.post(QUERY, body).ok())
    };
    assert!(is_hit_with(json!({ "tags": ["team"] })) && is_hit_with(json!({ "model": "small" })));
    let filter = json!({ "type": "eq", "key": "colour", "value": "red" });
    for more in
        [json!({ "top_k": 4 }), json!({ "max_context_tokens": 99 }), json!({ "compression_share": 0.5 }), json!({ "filter": filter })]
    {
        assert!(!is_hit_with(more.clone()), "{more}");
    }
}

#[test]
fn a_hit_streams_the_same_events() {
    let mock = echo();
    let server = Setup::hash().config(&llm(&mock)).start();
    server.add_text("default", "lamp", "The lamp burns colza oil.");
    let events = || {
        let text = server.post(QUERY, json!({ "question": "What does the lamp burn?", "stream": true })).text();
        let mut names: Vec<String> = text.lines().filter_map(|line| line.strip_prefix("event: ")).map(str::to_owned).collect();
        names.dedup();
        let data = |name: &str| -> Vec<Value> {
            let mut lines = text.lines();
            let mut found = Vec::new();
            while let Some(line) = lines.next() {
                if line == format!("event: {name}") {
                    found.push(serde_json::from_str(lines.next().unwrap().strip_prefix("data: ").unwrap()).unwrap());
                }
            }
            found
        };
        let words: String = data("delta").iter().map(|delta| delta["text"].as_str().unwrap().to_owned()).collect();
        (names, words, data("citation"), data("sources")[0]["sources"].clone(), is_hit(&data("done")[0]))
    };
    let (first, again) = (events(), events());
    assert_eq!((first.4, again.4), (false, true));
    assert_eq!((first.0, first.1, first.2, first.3), (again.0, again.1, again.2, again.3));
}

#[test]
fn of_the_same_question_asked_at_once_one_is_answered_and_a_leader_that_leaves_fails_nobody() {
    let mock = Mock::start_on_thread(Script::always(Reply::text("It burns oil [1].").latency_ms(700)));
    let server = Setup::hash().config(&llm(&mock)).start();
    server.add_text("default", "lamp", "The lamp burns colza oil.");
    let many = |question: &str| {
        std::thread::scope(|scope| {
            let asked: Vec<_> = (0..8).map(|_| scope.spawn(|| ask(&server, question))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()["answer"].clone()).collect::<Vec<_>>()
        })
    };
    assert_eq!(many("What does the lamp burn?"), vec![json!("It burns oil [1]."); 8]);
    assert_eq!(mock.call_count(), 1);
    let body = json!({ "question": "Which oil is in the lamp?" }).to_string();
    let leader = post_and_wait(&server, &body);
    eventually(|| mock.call_count() == 2);
    std::thread::scope(|scope| {
        let followers = scope.spawn(|| many("Which oil is in the lamp?"));
        drop(leader);
        assert_eq!(followers.join().unwrap(), vec![json!("It burns oil [1]."); 8]);
    });
    assert_eq!(mock.call_count(), 3, "one after the one that was cancelled");
}

#[test]
fn a_hit_needs_no_place_before_the_model() {
    let slow = Reply::text("It sounds twice [1].").latency_ms(60_000);
    let mock = Mock::start_on_thread(Script::always(slow).then("small", Reply::text("It burns oil [1].").latency_ms(0)));
    let server = Setup::hash().config(&format!("[server]\nconcurrent_answers_max = 1\n{}", llm(&mock))).start();
    server.add_text("default", "lamp", "The lamp burns colza oil. The horn sounds twice.");
    let question = "What does the lamp burn?";
    assert!(!is_hit(&ask(&server, question)));
    let body = json!({ "question": "How often does the horn sound?" }).to_string();
    let slow = post_and_wait(&server, &body);
    eventually(|| mock.call_count() == 2);
    let other = server.post(QUERY, json!({ "question": "Who keeps the light?" }));
    assert_eq!((other.status, other.json()["code"].as_str()), (503, Some("overloaded")), "the only place is taken");
    assert!(is_hit(&ask(&server, question)));
    drop(slow);
    eventually(|| mock.calls()[1].finished == Some(Finished::ClientLeft));
}

/// A connection on which a question was asked.
pub(super) fn post_and_wait(server: &Server, body: &str) -> TcpStream {
    let mut client = TcpStream::connect(server.base.strip_prefix("http://").unwrap()).unwrap();
    let head =
        format!("POST {QUERY} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    client.write_all((head + body).as_bytes()).unwrap();
    client
}

#[test]
fn degraded_and_cut_off_answers_are_not_kept() {
    let mock = Mock::start_on_thread(Script::default().then("small", Reply::status(400)));
    let server = Setup::hash().config(&format!("{}max_answer_tokens = 2\n", llm(&mock))).start();
    server.add_text("default", "lamp", "The lamp burns colza oil.");
    let question = "What does the lamp burn?";
    let degraded = ask(&server, question);
    assert_eq!((&degraded["degraded"], is_hit(&degraded)), (&json!(true), false));
    for _ in 0..2 {
        let cut = ask(&server, question);
        assert_eq!((&cut["mode"], is_hit(&cut)), (&json!("generated"), false), "{cut}");
    }
}

#[test]
fn a_paraphrase_is_a_hit_and_another_number_name_or_negation_is_not() {
    let mock = echo();
    let server = Setup::model().config(&llm(&mock)).start();
    server.add_text("default", "help", "You reset your password in the settings. Revenue of 2022 was 3 million. Paris has an office.");
    let kind = |question: &str| ask(&server, question)["cache"].clone();
    for first in ["How do I reset my password?", "What was the revenue in 2022?", "Where is the office in Paris?", "Is smoking allowed?"] {
        assert_eq!(kind(first)["hit"], false, "{first}");
    }
    let similar = kind("How can I reset my password?");
    assert_eq!((&similar["hit"], &similar["kind"]), (&json!(true), &json!("semantic")), "{similar}");
    assert!(similar["similarity"].as_f64().unwrap() >= 0.92, "{similar}");
    for other in ["What was the revenue in 2023?", "Where is the office in London?", "Is smoking not allowed?"] {
        assert_eq!(kind(other)["hit"], false, "{other}");
    }
    assert!(metric(&server, "ragstone_semantic_refused_total ") >= 1.0, "it was the guard");
}

/// Vectors of a provider, which cost money.
fn remote(provider: &Mock, more: &str) -> Setup {
    let model = format!("base_url = \"{}/v1\"\nmodel = \"vectors\"\ndimension = 384\nmax_tokens = 64\nshorten = true", provider.url());
    Setup::model().config(&format!("engine = \"remote\"\n[embedding.remote]\nprovider = \"openai\"\n{model}\n{more}"))
}

fn texts_embedded(provider: &Mock) -> usize {
    let inputs = |call: &mock::Call| call.body["input"].as_array().map_or(1, Vec::len);
    provider.calls().iter().filter(|call| call.path.ends_with("/embeddings")).map(inputs).sum()
}

#[test]
fn two_servers_share_vectors_over_redis_and_go_on_without_it() {
    let (provider, mut redis) = (echo(), Redis::start());
    let [one, two] = [(), ()].map(|()| remote(&provider, &redis.config()).start());
    let redis_hits = |server: &Server| metric(server, "ragstone_cache_hits_total{kind=\"embedding\",tier=\"redis\"} ");
    one.add_text("default", "lamp", "The lamp burns colza oil.");
    let paid = texts_embedded(&provider);
    two.add_text("default", "lamp", "The lamp burns colza oil.");
    assert_eq!((texts_embedded(&provider), redis_hits(&two)), (paid, 1.0), "the other has paid for it");
    redis.stop();
    for n in 0..5 {
        let text = format!("The horn sounds {n} times.");
        for server in [&one, &two] {
            server.add_text("default", &format!("horn-{n}"), &text);
            server.post("/v1/collections/default/search", json!({ "query": text })).ok();
            ask(server, &text);
        }
    }
    assert!(metric(&one, "ragstone_cache_skipped_total{kind=\"embedding\",tier=\"redis\"} ") > 0.0);
    assert_eq!(metric(&one, "ragstone_redis_here "), 0.0);
    assert!(redis.start_again());
    eventually(|| metric(&one, "ragstone_redis_here ") + metric(&two, "ragstone_redis_here ") == 2.0);
    one.add_text("default", "tide", "The tide comes twice a day.");
    let paid = texts_embedded(&provider);
    two.add_text("default", "tide", "The tide comes twice a day.");
    assert_eq!(texts_embedded(&provider), paid, "it is back by itself");
}

#[test]
fn a_server_starts_while_redis_is_away_and_finds_it_later() {
    let mut redis = Redis::start();
    redis.stop();
    let server = Setup::hash().config(&redis.config()).start();
    server.add_text("default", "lamp", "The lamp burns colza oil.");
    assert!(!is_hit(&ask(&server, "What does the lamp burn?")) && is_hit(&ask(&server, "What does the lamp burn?")));
    assert!(redis.start_again());
    eventually(|| metric(&server, "ragstone_redis_here ") == 1.0);
}

#[test]
fn redis_over_tls_is_asked_if_its_certificate_is_trusted() {
    let (mock, folder, strangers) = (echo(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&folder, &strangers] {
        certify(folder.path());
    }
    let redis = Redis::start_tls(folder.path());
    let server = |config: &str| Setup::hash().config(&format!("{}{config}", llm(&mock))).start();
    let (here, trusting) = ("ragstone_redis_here ", redis.config());
    let suspicious = trusting.replace(folder.path().to_str().unwrap(), strangers.path().to_str().unwrap());
    let server = [server(&trusting), server(&suspicious)];
    assert_eq!((metric(&server[0], here), metric(&server[1], here)), (1.0, 0.0));
    server[0].add_text("default", "lamp", "The lamp burns colza oil.");
    ask(&server[0], "What does the lamp burn?");
    let held = server[0].get("/v1/caches").ok()["data"][0]["tiers"][2].clone();
    assert_eq!((&held["tier"], &held["entries"]), (&json!("redis"), &json!(1)), "{held}");
}

#[test]
fn answers_outlive_a_restart_and_a_damaged_cache_is_none() {
    let mock = echo();
    let mut server = Setup::hash().config(&llm(&mock)).start();
    server.add_text("default", "lamp", "The lamp burns colza oil.");
    let question = "What does the lamp burn?";
    ask(&server, question);
    server.terminate();
    let data = server.data.clone();
    let mut again = Setup::hash().config(&llm(&mock)).data(&data).start();
    assert!(is_hit(&ask(&again, question)));
    assert_eq!(metric(&again, "ragstone_cache_hits_total{kind=\"answer\",tier=\"store\"} "), 1.0);
    again.terminate();
    for file in ["conf", "db"] {
        std::fs::write(data.join("cache").join(file), "not a database").unwrap();
    }
    let anew = Setup::hash().config(&llm(&mock)).data(&data).start();
    assert!(!is_hit(&ask(&anew, question)) && is_hit(&ask(&anew, question)));
    // The same name for another model.
    drop(anew);
    let other = Setup::hash().config(&format!("{}max_answer_tokens = 77\n", llm(&mock))).data(&data).start();
    assert!(!is_hit(&ask(&other, question)));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place)
        } else {
            std::fs::copy(entry.path(), place).map(drop).unwrap()
        }
    }
}

#[test]
fn a_deletion_while_redis_is_away_is_made_there_though_the_server_ends_before_it_is_back() {
    let (mock, redis) = (echo(), Redis::start());
    let config = format!("{}{}", llm(&mock), redis.config());
    let mut first = Setup::hash().config(&config).start();
    first.add_text("default", "lamp", "The lamp burns colza oil.");
    ask(&first, "What does the lamp burn?");
    let names = |redis: &Redis| redis.command(&["KEYS", "*"]).lines().filter(|line| line.contains("answer")).count();
    assert_eq!(names(&redis), 1);
    redis.hang(true);
    let removed = first.delete("/v1/caches/answer").ok();
    assert_eq!(removed["postponed"], json!(["redis"]), "{removed}");
    first.terminate();
    redis.hang(false);
    assert_eq!(names(&redis), 1, "it is still there");
    let _again = Setup::hash().config(&config).data(&first.data).start();
    eventually(|| names(&redis) == 0);
}

#[test]
fn copies_of_a_data_directory_share_answers_until_they_part() {
    let (mock, redis) = (echo(), Redis::start());
    let config = format!("{}{}", llm(&mock), redis.config());
    let mut first = Setup::hash().config(&config).start();
    first.add_text("default", "lamp", "The lamp burns colza oil.");
    first.terminate();
    let (data, place) = (first.data.clone(), tempfile::tempdir().unwrap());
    copy(&data, &place.path().join("copy"));
    let one = Setup::hash().config(&config).data(&data).start();
    let two = Setup::hash().config(&config).data(&place.path().join("copy")).start();
    let question = "What does the lamp burn?";
    assert!(!is_hit(&ask(&one, question)) && is_hit(&ask(&two, question)), "the same data, the same answer");
    one.add_text("default", "oil", "The lamp burns canary-42 as well.");
    two.add_text("default", "oil", "The lamp burns whale oil as well.");
    assert!(ask(&one, question).to_string().contains("canary-42"));
    let told = ask(&two, question);
    assert!(!is_hit(&told) && !told.to_string().contains("canary-42"), "as many changes, but others: {told}");
}

#[test]
fn entries_are_listed_in_pages_and_cleared_by_their_tenant_alone() {
    let mock = echo();
    let keys = format!("{}{}{}", key_line("key-a", "a", ""), key_line("key-b", "b", ""), key_line("key-o", "o", "operator = true"));
    let server = Setup::hash().config(&format!("{}{keys}", llm(&mock))).start().with_key("key-a");
    let b = server.view(Some("key-b"));
    for server in [&server, &b] {
        server.add_text("default", "lamp", "The lamp burns colza oil.");
        for n in 0..5 {
            ask(server, &format!("What does lamp {n} burn?"));
        }
    }
    let (mut digests, mut cursor) = (std::collections::BTreeSet::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/caches/answer?tier=store&limit=2{cursor}")).ok();
        digests.extend(page["data"].as_array().unwrap().iter().map(|entry| entry["digest"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={}", next.replace('/', "%2F"));
    }
    assert_eq!(digests.len(), 5);
    assert_eq!((server.get("/v1/caches/embedding").status, server.get("/v1/caches/nothing").status), (404, 404));
    assert_eq!(server.get("/v1/caches").ok()["data"][0]["server"], json!(null), "the whole server is the operator's business");
    let of_a = &server.get("/v1/caches/answer?tier=store&limit=1").ok()["data"][0];
    let place = format!("/v1/caches/answer/{}", of_a["key"].as_str().unwrap());
    let entry = server.get(&place).ok();
    let question = entry["answer"]["question"].as_str().unwrap();
    assert!(question.starts_with("What does lamp") && entry["answer"]["answer"].is_string(), "{entry}");
    let tiers: Vec<&str> = entry["tiers"].as_array().unwrap().iter().map(|tier| tier["tier"].as_str().unwrap()).collect();
    assert_eq!(tiers, ["memory", "store"]);
    for stranger in [&b, &server.view(Some("key-o"))] {
        assert_eq!((stranger.get(&place).status, stranger.delete(&place).status), (404, 404), "each tenant has its own");
    }
    for wrong in ["answer/x", "answer/..", "embedding/x", "nothing/x", &format!("answer/{}", of_a["digest"].as_str().unwrap())] {
        assert_eq!(server.get(&format!("/v1/caches/{wrong}")).status, 404, "{wrong}");
    }
    assert!(is_hit(&ask(&server, question)));
    let removed = server.delete(&place).ok();
    assert_eq!((&removed["entries"], &removed["postponed"], &removed["failed"]), (&json!(2), &json!([]), &json!([])));
    assert_eq!((server.get(&place).status, server.delete(&place).status), (404, 404));
    assert!(!is_hit(&ask(&server, question)), "it is asked again");
    assert_eq!(server.delete("/v1/caches?collection=default").ok()["entries"], 10);
    assert_eq!(server.delete("/v1/caches/answer").ok()["entries"], 0);
    assert!(!is_hit(&ask(&server, "What does lamp 1 burn?")) && is_hit(&ask(&b, "What does lamp 1 burn?")));
    let all = server.view(Some("key-o")).get("/v1/caches").ok();
    assert_eq!(all["data"][1]["kind"], "embedding");
    assert!(all["data"][0]["server"]["tiers"][0]["hits"].as_u64().unwrap() >= 1, "{all}");
    assert_eq!(all["data"][0]["tiers"][0]["entries"], 0, "its own tenant has none");
    assert!(server.view(Some("key-o")).delete("/v1/caches").ok()["entries"].as_u64().unwrap() >= 1, "vectors");
    assert_eq!(server.get("/v1/caches?colection=x").status, 400);
}
