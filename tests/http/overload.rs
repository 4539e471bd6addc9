use crate::support::{Server, Setup, eventually};
use serde_json::json;
use std::io::Write;
use std::net::TcpStream;

const SEARCH: &str = "/v1/collections/default/search";
const DOCUMENTS: &str = "/v1/collections/default/documents";

/// A request whose body never comes.
fn stall(server: &Server, path: &str, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn questions_beyond_the_lane_are_shed_with_a_time_and_the_rest_is_answered() {
    let server = Setup::hash().config("[server]\nconcurrent_queries_max = 1\nqueued_queries_max = 0\n").start();
    server.add_text("default", "lamp", &"The lamp burns oil. The horn sounds in fog. ".repeat(200));
    let hail = |server: Server| {
        let ask = |number: usize| match number % 2 {
            0 => server.post(SEARCH, json!({ "query": format!("lamp {number}") })),
            _ => server.post("/v1/collections/default/query", json!({ "question": format!("what does the lamp burn {number}?") })),
        };
        (0..20).map(ask).collect::<Vec<_>>()
    };
    let threads: Vec<_> = (0..16).map(|_| server.view(None)).map(|view| std::thread::spawn(move || hail(view))).collect();
    let replies: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let (served, shed): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    assert!(!served.is_empty() && !shed.is_empty(), "{} served, {} shed", served.len(), shed.len());
    for reply in shed {
        assert_eq!((reply.status, reply.json()["code"].clone()), (503, json!("overloaded")), "{}", reply.text());
        assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    }
    assert_eq!(server.post(SEARCH, json!({ "query": "lamp" })).status, 200, "the lane is free again");
}

#[test]
fn clients_that_send_slowly_do_not_take_the_places_of_others() {
    let server = Setup::hash().config("[server]\nconcurrent_requests_max = 2\n").start();
    server.add_text("default", "lamp", "the lamp burns oil");
    let small: Vec<_> = (0..20).map(|_| stall(&server, SEARCH, 1000)).collect();
    let large = stall(&server, DOCUMENTS, 1_000_000);
    // The large one has a place, and it is the only one that uploads may have.
    eventually(|| server.get("/metrics").text().contains("ragstone_requests_free 1\n"));
    for _ in 0..10 {
        assert_eq!(server.post(SEARCH, json!({ "query": "lamp" })).status, 200);
    }
    let refused = server.post(DOCUMENTS, json!({ "text": "more" }));
    assert_eq!((refused.status, refused.json()["code"].clone()), (503, json!("overloaded")), "{}", refused.text());
    drop((small, large));
    eventually(|| server.post(DOCUMENTS, json!({ "text": "more" })).status == 202);
}

#[test]
fn open_streams_have_a_limit_and_take_no_place_for_requests() {
    let config = "[server]\nconcurrent_requests_max = 1\nconcurrent_streams_max = 1\n[ingest]\nworkers = 1\n";
    let server = Setup::hash().config(config).start();
    let text: String = (0..40_000).map(|n| format!("Sentence number {n} of the long report.\n\n")).collect();
    let mut jobs = Vec::new();
    for number in 0..3 {
        let reply = server.post(DOCUMENTS, json!({ "text": format!("{number} {text}"), "name": "long.txt" })).ok();
        jobs.push(reply["documents"][0]["job_id"].as_str().unwrap().to_owned());
    }
    let events = format!("/v1/jobs/{}/events", jobs[2]);
    let view = server.view(None);
    let path = events.clone();
    let listener = std::thread::spawn(move || view.get(&path).status);
    eventually(|| server.get("/metrics").text().contains("ragstone_streams_free 0\n"));
    let refused = server.get(&events);
    assert_eq!((refused.status, refused.json()["code"].clone()), (503, json!("overloaded")));
    assert_eq!(server.get("/v1/collections").status, 200);
    for job in jobs {
        server.delete(&format!("/v1/jobs/{job}"));
    }
    assert_eq!(listener.join().unwrap(), 200);
}
