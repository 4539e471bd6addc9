use crate::support::{Server, Setup, read_request};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc::Receiver;

const QUERY: &str = "/v1/collections/default/query";

fn filled() -> Server {
    let server = Setup::hash().start();
    server.add_text(
        "default",
        "lamp",
        "# Lamp\n\nThe lamp of the lighthouse burns for twelve hours. It is filled with colza oil every evening.",
    );
    server.add_text("default", "horn", "# Horn\n\nThe fog horn sounds every thirty seconds in thick weather. It runs on compressed air.");
    server
}

/// Every citation says exactly what the document says at its place.
fn check_citations(server: &Server, answer: &Value) {
    for citation in answer["citations"].as_array().unwrap() {
        let (id, span) = (citation["document_id"].as_str().unwrap(), &citation["span"]);
        let path = format!("/v1/collections/default/documents/{id}/text?byte_start={}&byte_end={}", span["byte_start"], span["byte_end"]);
        assert_eq!(server.get(&path).text(), citation["quote"].as_str().unwrap());
    }
}

#[test]
fn without_a_model_the_documents_answer_themselves() {
    let server = filled();
    let ask = || server.post(QUERY, json!({ "question": "How often does the fog horn sound in thick weather?" })).ok();
    let answer = ask();
    assert_eq!(
        (&answer["mode"], &answer["abstained"], &answer["degraded"]),
        (&json!("extractive"), &json!(false), &json!(false)),
        "{answer}"
    );
    assert!(answer["answer"].as_str().unwrap().contains("every thirty seconds"), "{answer}");
    assert!(!answer["citations"].as_array().unwrap().is_empty());
    check_citations(&server, &answer);
    let parts = |answer: &Value| (answer["answer"].clone(), answer["citations"].clone(), answer["sources"].to_string());
    assert_eq!(parts(&answer), parts(&ask()), "the same question, the same bytes");
}

#[test]
fn it_abstains_when_nothing_supports_an_answer() {
    let server = filled();
    let answer = server.post(QUERY, json!({ "question": "Which enzyme splits lactose?" })).ok();
    assert_eq!((&answer["abstained"], &answer["citations"]), (&json!(true), &json!([])), "{answer}");
}

#[test]
fn an_answer_streams_in_order() {
    let server = filled();
    let stream = server.post(QUERY, json!({ "question": "What is the lamp filled with?", "stream": true }));
    assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
    let text = stream.text();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!((names.first(), names.last()), (Some(&"sources"), Some(&"done")), "{text}");
    assert!(names.contains(&"delta") && names.contains(&"citation") && names.contains(&"usage"), "{names:?}");
}

#[test]
fn a_provider_that_is_down_degrades_to_extraction() {
    // A port that was free a moment ago: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Setup::hash().config(&format!("[llm]\nbase_url = \"http://127.0.0.1:{port}/v1\"\nmodel = \"m\"\n")).start();
    server.add_text("default", "lamp", "The lamp is filled with colza oil every evening.");
    let answer = server.post(QUERY, json!({ "question": "What is the lamp filled with?" })).ok();
    assert_eq!((&answer["mode"], &answer["degraded"]), (&json!("extractive"), &json!(true)), "{answer}");
    let reason = answer["degraded_reason"].as_str().unwrap();
    assert!(reason.contains("can't connect") && !reason.contains("127.0.0.1"), "{reason}");
    assert!(answer["answer"].as_str().unwrap().contains("colza oil"));
}

/// A provider that answers every chat with the same streamed words, over real HTTP; it hands on what
/// it was asked.
fn provider(words: &'static [&'static str]) -> (u16, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (_, body) = read_request(&mut stream);
            asked.send(serde_json::from_slice(&body).unwrap()).unwrap();
            let delta = |word: &&str| format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": { "content": word } }] }));
            let end = json!({ "choices": [], "usage": { "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10 } });
            let events: String = words.iter().map(delta).collect::<String>() + &format!("data: {end}\n\ndata: [DONE]\n\n");
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                events.len()
            );
            stream.write_all((head + &events).as_bytes()).unwrap();
        }
    });
    (port, receiver)
}

#[test]
fn a_model_answers_from_the_sources_and_its_markers_become_citations() {
    let (port, asked) = provider(&["The lamp is filled ", "with colza oil [1]."]);
    let config = format!("[llm]\nbase_url = \"http://127.0.0.1:{port}/v1\"\nmodel = \"small\"\n");
    let server = Setup::hash().config(&config).environment("RAGSTONE_LLM_API_KEY", "secret-key").start();
    server.add_text("default", "lamp", "The lamp is filled with colza oil every evening.");
    let question = json!({ "question": "What is the lamp filled with?" });
    let answer = server.post(QUERY, question.clone()).ok();
    assert_eq!((&answer["mode"], &answer["model"], &answer["degraded"]), (&json!("generated"), &json!("small"), &json!(false)), "{answer}");
    assert_eq!(answer["answer"], "The lamp is filled with colza oil [1].");
    assert_eq!((&answer["usage"]["prompt_tokens"], &answer["citations"][0]["verdict"]), (&json!(7), &json!("supported")), "{answer}");
    check_citations(&server, &answer);
    let prompt = asked.recv().unwrap()["messages"].to_string();
    assert!(prompt.contains("<source-") && prompt.contains("colza oil"), "{prompt}");
    assert!(!prompt.contains("secret-key"));
    let mut streamed = question;
    streamed["cache"] = json!("bypass");
    streamed["stream"] = json!(true);
    let text = server.post(QUERY, streamed).text();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["sources", "delta", "delta", "delta", "citation", "usage", "done"], "{text}");
}

#[test]
fn what_no_source_says_is_treated_as_the_configuration_says() {
    let answered = |policy: &str| {
        let (port, _asked) = provider(&["The lamp is filled with colza oil [1]. The lamp ", "was lit in 1840 [1]."]);
        let config =
            format!("[llm]\nbase_url = \"http://127.0.0.1:{port}/v1\"\nmodel = \"small\"\n[answers]\ncitation_gate = \"{policy}\"\n");
        let server = Setup::hash().config(&config).environment("RAGSTONE_LLM_API_KEY", "secret-key").start();
        server.add_text("default", "lamp", "The lamp is filled with colza oil every evening.");
        server.post(QUERY, json!({ "question": "What is the lamp filled with?" })).ok()
    };
    let told = answered("flag");
    assert_eq!(
        (&told["gate"]["supported"], &told["gate"]["not_found"], &told["abstained"]),
        (&json!(1), &json!(1), &json!(false)),
        "{told}"
    );
    assert_eq!(told["gate"]["sentences"][1]["verdict"], "not_found");
    let stripped = answered("strip");
    assert_eq!(stripped["answer"].as_str().unwrap().trim(), "The lamp is filled with colza oil [1].");
    let refused = answered("refuse");
    assert_eq!((&refused["abstained"], &refused["citations"]), (&json!(true), &json!([])), "{refused}");
    assert!(refused["gate"]["reason"].is_string());
}

#[test]
fn chunks_beside_those_that_were_found_are_read_with_them() {
    let server = Setup::hash().config("[chunking]\nmax_tokens = 16\noverlap_tokens = 0\n").start();
    let text = "The keeper lit the lamp alone every evening.\n\nColza oil burned in it for twelve long hours.\n\nThe bill for that came in the month of May.";
    server.add_text("default", "log", text);
    let ask = |neighbours: Value| {
        server.post(QUERY, json!({ "question": "How long does colza oil burn?", "top_k": 1, "neighbours": neighbours })).ok()
    };
    let texts = |answer: &Value| {
        let sources = answer["sources"].as_array().unwrap().iter();
        sources.map(|source| source["text"].as_str().unwrap().split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts(&ask(json!(null))), ["Colza"]);
    let answer = ask(json!(1));
    assert_eq!(texts(&answer), ["Colza", "The", "The"], "{answer}");
    assert_eq!(answer["sources"][1]["score"], 0.0);
    check_citations(&server, &answer);
    let trace = answer["trace_id"].as_str().unwrap();
    let replayed = server.post(&format!("/v1/traces/{trace}/replay"), json!({})).ok();
    assert_eq!(replayed["replayed"]["sources"].as_array().unwrap().len(), 3, "a replay reads as far as the trace did");
    let replayed = server.post(&format!("/v1/traces/{trace}/replay"), json!({ "neighbours": 0 })).ok();
    assert_eq!(replayed["replayed"]["sources"].as_array().unwrap().len(), 1);
}

#[test]
fn a_question_can_have_its_candidates_judged_once_more() {
    let server = filled();
    let answer = server.post(QUERY, json!({ "question": "How often does the fog horn sound?", "rerank": { "candidates": 2 } })).ok();
    let trace = server.get(&format!("/v1/traces/{}", answer["trace_id"].as_str().unwrap())).ok();
    assert!(trace["candidates"][0]["explain"]["rerank"].is_number(), "{trace}");
    assert_eq!(trace["settings"]["rerank"], json!({ "candidates": 2 }));
}

#[test]
fn what_is_not_supported_yet_is_refused_by_name() {
    let server = filled();
    for body in [
        json!({ "question": "x", "session_id": "not plain" }),
        json!({ "question": "x", "model": "gpt" }),
        json!({ "question": "x", "why": 1 }),
        json!({ "question": "x", "neighbours": 6 }),
        json!({ "question": "x", "compression_share": 0.05 }),
        json!({ "question": "x", "rerank": { "candidates": 101 } }),
        json!({ "question": "" }),
    ] {
        let refused = server.post(QUERY, body.clone());
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
    }
}
