use crate::support::Setup;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;

const DOCUMENTS: &str = "/v1/collections/default/documents";

#[test]
fn a_body_over_the_limit_is_413() {
    let server = Setup::hash().config("[server]\nupload_bytes_max = 1000\nupload_files_max = 2\n").start();
    let large = server.post(DOCUMENTS, json!({ "text": "x".repeat(2000) }));
    assert_eq!((large.status, large.json()["code"].clone()), (413, json!("body_too_large")));
    let large = server.upload(DOCUMENTS, &[("a.txt", &[b'x'; 2000])], &[]);
    assert_eq!((large.status, large.json()["code"].clone()), (413, json!("body_too_large")));
    assert_eq!(server.upload(DOCUMENTS, &[("a", b"1"), ("b", b"2"), ("c", b"3")], &[]).json()["code"], "too_many_files");
}

#[test]
fn a_full_queue_is_429_with_a_time() {
    let server = Setup::hash().config("[ingest]\nqueued_max = 2\nworkers = 1\n").start();
    let text: String = (0..20_000).map(|n| format!("Sentence number {n} of the long report.\n\n")).collect();
    let send = |number: usize| server.post(DOCUMENTS, json!({ "text": format!("{number} {text}") }));
    let refused = (0..8).map(send).find(|reply| reply.status != 202).expect("the queue takes everything");
    assert_eq!((refused.status, refused.json()["code"].clone()), (429, json!("queue_full")));
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
}

#[test]
fn a_header_that_never_ends_is_cut_off() {
    let server = Setup::hash().config("[server]\nheader_timeout_s = 1\n").start();
    let mut stream = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
    // The server closes; a client without a deadline would wait here for ever.
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn unknown_routes_and_methods_are_problems() {
    let server = Setup::hash().start();
    let nowhere = server.get("/v1/nothing");
    assert_eq!((nowhere.status, nowhere.json()["code"].clone()), (404, json!("no_such_route")));
    let method = server.delete("/v1/collections");
    assert_eq!((method.status, method.json()["code"].clone()), (405, json!("method_not_allowed")));
    assert!(method.header("allow").is_some());
    let named = server.request("GET", "/v1/nothing", &[("x-request-id", "mine-1")], None, None).unwrap();
    assert_eq!((named.header("x-request-id"), named.json()["request_id"].as_str()), (Some("mine-1"), Some("mine-1")));
}
