//! Every route × method × kind of key, generated from the OpenAPI document, whose `x-required-scope`
//! a unit test compares with the table that the server enforces (`src/http/scopes.rs`).

use crate::support::{Reply, Server, Setup};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

pub(crate) fn key_line(key: &str, tenant: &str, bounds: &str) -> String {
    let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[auth.keys]]\nsha256 = \"{hash}\"\ntenant = \"{tenant}\"\n{bounds}\n")
}

fn openapi() -> Value {
    serde_json::from_str(include_str!("../../src/http/openapi.json")).unwrap()
}

/// `(path, method, scopes of which one is needed)`.
pub(crate) fn operations() -> Vec<(String, String, Vec<String>)> {
    let document = openapi();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(operation) = item.get(method.to_lowercase()) {
                let scopes = operation["x-required-scope"].as_array().unwrap_or_else(|| panic!("{method} {path} names no scope"));
                found.push((path.clone(), method.to_owned(), scopes.iter().map(|scope| scope.as_str().unwrap().to_owned()).collect()));
            }
        }
    }
    assert!(found.len() > 25, "no operations found: is the search for them broken?");
    found
}

/// Puts an id that nobody has into every place of a path.
fn somewhere(path: &str) -> String {
    let ulid = "01jzzzzzzzzzzzzzzzzzzzzzzz";
    let ids = [
        ("collection", "col_"),
        ("document", "doc_"),
        ("job", "job_"),
        ("benchmark", "bench_"),
        ("evaluation", "evl_"),
        ("other", "evl_"),
        ("key", "key_"),
    ];
    let path = ids.iter().fold(path.to_owned(), |path, (name, prefix)| path.replace(&format!("{{{name}}}"), &format!("{prefix}{ulid}")));
    path.replace(['{', '}'], "")
}

fn send(server: &Server, method: &str, path: &str) -> Reply {
    let body = ["POST", "PUT", "PATCH"].contains(&method).then(|| json!({}));
    server.send(method, path, body)
}

fn is_forbidden(reply: &Reply) -> bool {
    reply.status == 403 && code_and_detail(reply).0 == "forbidden_scope"
}

/// In problem details or, on the routes of its protocol, in OpenAI's shape.
fn code_and_detail(reply: &Reply) -> (String, String) {
    let body = reply.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match body.get("error") {
        Some(error) => (text(&error["code"]), text(&error["message"])),
        None => (text(&body["code"]), text(&body["detail"])),
    }
}

#[test]
fn every_route_asks_for_its_scope_and_no_other() {
    let scopes = ["query", "ingest", "admin"];
    let bounded = scopes.map(|scope| key_line(scope, "a", &format!("scopes = [\"{scope}\"]"))).concat();
    let server = Setup::hash().config(&format!("{bounded}{}", key_line("operator", "a", "operator = true"))).start();
    let mut faults = Vec::new();
    for (path, method, needed) in operations() {
        for key in scopes {
            let may = needed.is_empty() || needed.iter().any(|scope| scope == key);
            let reply = send(&server.view(Some(key)), &method, &somewhere(&path));
            if is_forbidden(&reply) == may || reply.status == 401 {
                faults.push(format!("{method} {path} with {key}: {}", reply.status));
            }
            if !may && !needed.iter().any(|scope| code_and_detail(&reply).1.contains(scope.as_str())) {
                faults.push(format!("{method} {path}: the refusal does not name the scope: {}", reply.text()));
            }
        }
        let operator = send(&server.view(Some("operator")), &method, &somewhere(&path));
        if [401, 403].contains(&operator.status) {
            faults.push(format!("{method} {path} with the operator's key: {}", operator.status));
        }
        let stranger = send(&server, &method, &somewhere(&path));
        if (stranger.status == 401) == needed.is_empty() {
            faults.push(format!("{method} {path} without a key: {}", stranger.status));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_method_that_is_not_in_the_document_is_not_served() {
    let server = Setup::hash().config(&key_line("operator", "a", "operator = true")).start().with_key("operator");
    let known = operations();
    let document = openapi();
    for path in document["paths"].as_object().unwrap().keys() {
        for method in METHODS {
            if known.iter().any(|(served, taken, _)| served == path && taken == method) {
                continue;
            }
            let reply = send(&server, method, &somewhere(path));
            assert_eq!(reply.status, 405, "{method} {path}: {}", reply.text());
            let allow = reply.header("allow").unwrap().to_owned();
            let taken = known.iter().filter(|(served, _, _)| served == path).map(|(_, method, _)| method);
            assert!(taken.into_iter().all(|method| allow.contains(method.as_str())), "{path}: {allow}");
        }
    }
}

#[test]
fn handlers_find_records_in_one_place_only() {
    let mut open = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http")];
    let mut strays = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let asks = |line: &&str| ["collection", "job"].iter().any(|what| line.contains(&format!("catalog.{what}(&caller.tenant")));
        if !path.ends_with("find.rs") {
            strays.extend(source.lines().filter(asks).map(|line| format!("{}: {}", path.display(), line.trim())));
        }
    }
    assert!(strays.is_empty(), "use src/http/find.rs:\n{}", strays.join("\n"));
}
