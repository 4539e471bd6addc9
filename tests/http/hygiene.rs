use crate::support::{PATIENCE, Server, Setup, eventually, form};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const DOCUMENTS: &str = "/v1/collections/default/documents";

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Everything until the server closes.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset ends the reading as well as a close does.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The head of one answer and as much of its body as `Content-Length` says.
fn answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.split("content-length: ").nth(1).map_or(0, |rest| rest.split('\r').next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    head + &String::from_utf8_lossy(&body)
}

fn head(method: &str, path: &str, content_type: &str, length: usize) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// The value of a metric without labels.
fn metric(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics").text();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok()).unwrap_or(0.0)
}

#[test]
fn a_body_that_stalls_is_a_408_and_the_connection_ends() {
    let server = Setup::hash().config("[server]\nbody_timeout_s = 1\n").start();
    // A small body is read before the request has a place, a large one by its handler.
    for (sent, length) in [(10, 100), (40_000, 100_000)] {
        let mut stream = connect(&server);
        stream.write_all(&head("POST", DOCUMENTS, "application/json", length)).unwrap();
        stream.write_all(&vec![b' '; sent]).unwrap();
        let said = rest(&mut stream);
        assert!(said.starts_with("HTTP/1.1 408") && said.contains("body_too_slow") && said.contains("connection: close"), "{said}");
    }
    let (content_type, body) = form(&[("a.txt", &[b'a'; 100_000])], &[]);
    let mut stream = connect(&server);
    stream.write_all(&head("POST", DOCUMENTS, &content_type, body.len())).unwrap();
    stream.write_all(&body[..50_000]).unwrap();
    let said = rest(&mut stream);
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("body_too_slow"), "{said}");
    assert_eq!(metric(&server, "ragstone_body_bytes"), 0.0, "nothing stays charged");
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = Setup::hash().config("[server]\nidle_timeout_s = 1\nheader_timeout_s = 1\n").start();
    let mut stream = connect(&server);
    for _ in 0..3 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(answer(&mut stream).starts_with("HTTP/1.1 200"));
    }
    let began = Instant::now();
    assert_eq!(rest(&mut stream), "", "closed without another word");
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[test]
fn a_second_header_that_never_ends_is_cut_off_too() {
    let server = Setup::hash().config("[server]\nheader_timeout_s = 1\nidle_timeout_s = 3600\n").start();
    let mut stream = connect(&server);
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(answer(&mut stream).starts_with("HTTP/1.1 200"));
    stream.write_all(b"GET /livez HTTP/1.1\r\nX-Slow: ").unwrap();
    assert!(!rest(&mut stream).contains("200 OK"));
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let server = Setup::hash().config("[server]\nwrite_timeout_s = 1\n").start();
    let bytes = vec![0_u8; 48 << 20];
    let uploaded = server.upload(DOCUMENTS, &[("large.bin", &bytes)], &[]).ok();
    let path = format!("{DOCUMENTS}/{}/content", uploaded["documents"][0]["id"].as_str().unwrap());
    let mut stream = connect(&server);
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    // One that reads late still gets what lay in the sockets, and then the end.
    eventually(|| metric(&server, "ragstone_connections_open") <= 1.0);
    assert!(rest(&mut stream).len() < bytes.len());
}

#[test]
fn headers_have_a_size_and_a_count() {
    let server = Setup::hash().start();
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "y".repeat(40 << 10));
    for extra in [many, long] {
        let mut stream = connect(&server);
        // The server may have answered and closed before all of it is sent.
        let _ = stream.write_all(format!("GET /livez HTTP/1.1\r\nHost: x\r\n{extra}\r\n").as_bytes());
        let said = rest(&mut stream);
        assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    }
}

#[test]
fn connections_beyond_the_limit_are_told_so_at_once() {
    for limit in ["connections_max = 2", "connections_per_peer_max = 2"] {
        let server = Setup::hash().config(&format!("[server]\n{limit}\n")).start();
        let held = [connect(&server), connect(&server)];
        let began = Instant::now();
        let said = rest(&mut connect(&server));
        assert!(said.starts_with("HTTP/1.1 503") && said.contains("retry-after: 1") && said.contains("overloaded"), "{limit}: {said}");
        assert!(began.elapsed() < Duration::from_secs(5));
        drop(held);
        let is_served = || server.request("GET", "/livez", &[], None, None).is_ok_and(|reply| reply.status == 200);
        eventually(is_served);
    }
}

#[test]
fn uploads_share_a_budget_of_bytes_and_questions_are_not_kept_waiting() {
    let server = Setup::hash().config("[server]\nupload_bytes_max = 100000\nupload_buffer_bytes_max = 100000\n").start();
    server.add_text("default", "known", "the lamp burns oil");
    let (content_type, body) = form(&[("a.txt", "a lamp. ".repeat(11_000).as_bytes())], &[]);
    let mut first = connect(&server);
    first.write_all(&head("POST", DOCUMENTS, &content_type, body.len())).unwrap();
    let (early, late) = body.split_at(body.len() - 100);
    first.write_all(early).unwrap();
    eventually(|| metric(&server, "ragstone_body_bytes") > 60_000.0);
    let refused = server.request("POST", DOCUMENTS, &[], Some(&content_type), Some(body.clone())).unwrap();
    assert_eq!((refused.status, refused.json()["code"].clone()), (503, json!("upload_buffer_full")), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    // Without a length it is found out on the way.
    let mut chunked = connect(&server);
    let start = format!("POST {DOCUMENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n");
    chunked.write_all(format!("{start}{:x}\r\n", body.len()).as_bytes()).unwrap();
    // The server may have refused before all of it is sent.
    let _ = chunked.write_all(&body);
    let said = rest(&mut chunked);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 503"), "{said}");
    assert_eq!(server.post("/v1/collections/default/search", json!({ "query": "lamp" })).status, 200);
    first.write_all(late).unwrap();
    assert!(answer(&mut first).starts_with("HTTP/1.1 202"));
    assert_eq!(metric(&server, "ragstone_body_bytes"), 0.0);
    assert_eq!(server.upload(DOCUMENTS, &[("b.txt", "b lamp. ".repeat(11_000).as_bytes())], &[]).status, 202);
}

#[test]
fn forms_have_bounds_of_their_own() {
    let server = Setup::hash().config("[server]\nupload_files_max = 2\n").start();
    let code = |fields: &[(&str, &str)]| server.upload(DOCUMENTS, &[("a.txt", b"a")], fields).json()["code"].clone();
    let fields = vec![("external_id", "x"); 40];
    assert_eq!(code(&fields), "too_many_parts");
    let long = "y".repeat((1 << 20) + 1000);
    assert_eq!(code(&[("external_id", &long)]), "field_too_large");
    let large = server.post("/v1/collections/default/search", json!({ "query": "x".repeat((4 << 20) + 1000) }));
    assert_eq!((large.status, large.json()["code"].clone()), (413, json!("body_too_large")));
}

#[test]
fn browsers_are_told_to_run_frame_and_keep_nothing() {
    let server = Setup::hash().start();
    server.post("/v1/collections", json!({ "name": "c" })).ok();
    for path in ["/v1/collections", "/v1/nothing", "/docs", "/livez"] {
        let reply = server.get(path);
        let header = |name: &str| reply.header(name).unwrap_or_else(|| panic!("{path} has no {name}")).to_owned();
        assert_eq!((header("x-content-type-options"), header("x-frame-options")), ("nosniff".into(), "DENY".into()), "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert!(header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert_eq!(reply.header("cache-control"), path.starts_with("/v1/").then_some("no-store"), "{path}");
    }
    let uploaded =
        server.upload(&format!("{DOCUMENTS}?wait=true"), &[("x.html", b"<script>alert(1)</script><p>hello there</p>")], &[]).ok();
    let original = server.get(&format!("{DOCUMENTS}/{}/content", uploaded["documents"][0]["id"].as_str().unwrap()));
    assert!(original.header("content-disposition").unwrap().starts_with("attachment"));
    assert_eq!(original.header("content-security-policy"), Some("default-src 'none'; sandbox"));
}

#[test]
fn a_trace_goes_on_in_answers_and_errors() {
    let server = Setup::hash().start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    for path in ["/v1/collections", "/v1/nothing"] {
        let reply = server.request("GET", path, &[("traceparent", &parent)], None, None).unwrap();
        let expected = format!("trc_{trace}");
        assert_eq!((reply.header("x-trace-id"), reply.json()["trace_id"].as_str()), (Some(&*expected), Some(&*expected)), "{path}");
    }
}

#[test]
fn only_named_origins_may_read_answers() {
    let origin = [("origin", "https://a.example"), ("access-control-request-method", "POST")];
    let closed = Setup::hash().start();
    for method in ["OPTIONS", "GET"] {
        let reply = closed.request(method, "/v1/collections", &origin, None, None).unwrap();
        assert_eq!(reply.header("access-control-allow-origin"), None, "{method}");
    }
    let server = Setup::hash().config("[server]\ncors_origins = [\"https://a.example\"]\n").start();
    let preflight = server.request("OPTIONS", "/v1/collections", &origin, None, None).unwrap();
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (200, Some("https://a.example")));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("POST"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("authorization"));
    for path in ["/v1/collections", "/v1/nothing"] {
        let reply = server.request("GET", path, &origin[..1], None, None).unwrap();
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://a.example"), "{path}");
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
    let other = server.request("GET", "/v1/collections", &[("origin", "https://b.example")], None, None).unwrap();
    assert_eq!(other.header("access-control-allow-origin"), None);
}
