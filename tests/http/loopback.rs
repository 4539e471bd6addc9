//! A server without keys serves this machine's own programs and pages, nobody else's.

use crate::support::{Server, Setup};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Status and body of a request with exactly these header lines.
fn raw(server: &Server, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server.base.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    (reply.split(' ').nth(1).unwrap().parse().unwrap(), reply)
}

#[test]
fn names_of_other_machines_and_pages_of_other_hosts_are_refused() {
    let server = Setup::hash().start();
    let own = server.base.trim_start_matches("http://");
    for path in ["/v1/collections", "/metrics", "/docs"] {
        for host in ["localhost", "LOCALHOST:1", "[::1]:80", own] {
            assert_eq!(raw(&server, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n")).0, 200, "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "localhost@evil.example"] {
            let (status, text) = raw(&server, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n"));
            assert_eq!((status, text.contains("foreign_host")), (403, true), "{host}: {text}");
        }
        let (status, text) = raw(&server, &format!("GET http://evil.example{path} HTTP/1.1\r\nHost: {own}\r\n"));
        assert_eq!(status, 403, "{text}");
    }
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        let headers = [("origin", origin)];
        let body = json!({ "name": "c" }).to_string().into_bytes();
        let refused = server.request("POST", "/v1/collections", &headers, Some("application/json"), Some(body)).unwrap();
        assert_eq!((refused.status, refused.json()["code"].clone()), (403, json!("foreign_origin")), "{origin}");
    }
    let own_page = server.request("GET", "/v1/collections", &[("origin", &server.base)], None, None).unwrap();
    assert_eq!((own_page.status, own_page.json()["data"].clone()), (200, json!([])), "nothing was made");
}

#[test]
fn a_key_is_enough_for_other_names() {
    let server = Setup::hash().environment("RAGSTONE_API_KEY", "a-key-of-enough-bytes").start();
    let request = "GET /v1/collections HTTP/1.1\r\nHost: rag.example\r\nOrigin: http://rag.example\r\n";
    assert_eq!(raw(&server, request).0, 401);
    assert_eq!(raw(&server, &format!("{request}Authorization: Bearer a-key-of-enough-bytes\r\n")).0, 200);
}
