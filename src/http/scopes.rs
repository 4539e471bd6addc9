//! Which scope each route needs: the one table. A method or route that isn't in it isn't served, so
//! none can be forgotten; the tests compare it with the OpenAPI document (`x-required-scope`).

use axum::http::Method;
use index::Scope;

/// What a caller needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing, not even a key.
    Open,
    /// A key with one of these scopes.
    OneOf(&'static [Scope]),
    /// An operator.
    Operator,
}

const QUERY: Need = Need::OneOf(&[Scope::Query]);
const INGEST: Need = Need::OneOf(&[Scope::Ingest]);
const ADMIN: Need = Need::OneOf(&[Scope::Admin]);
/// How documents stand: for those who read and for those who upload.
const STATE: Need = Need::OneOf(&[Scope::Query, Scope::Ingest]);
/// What was asked before: whoever may ask sees his own, whoever manages the tenant all of it.
const RECALL: Need = Need::OneOf(&[Scope::Query, Scope::Admin]);
/// Any key at all.
const ANY: Need = Need::OneOf(&Scope::ALL);

/// Method, route, need. Grouped by route, so that `Allow` comes out in this order.
const TABLE: [(&str, &str, Need); 77] = [
    ("GET", "/v1/collections", ANY),
    ("POST", "/v1/collections", ADMIN),
    ("GET", "/v1/collections/{collection}", ANY),
    ("PATCH", "/v1/collections/{collection}", ADMIN),
    ("DELETE", "/v1/collections/{collection}", ADMIN),
    ("GET", "/v1/collections/{collection}/documents", STATE),
    ("POST", "/v1/collections/{collection}/documents", INGEST),
    ("GET", "/v1/collections/{collection}/documents/{document}", STATE),
    ("PUT", "/v1/collections/{collection}/documents/{document}", INGEST),
    ("DELETE", "/v1/collections/{collection}/documents/{document}", INGEST),
    ("GET", "/v1/collections/{collection}/documents/{document}/text", QUERY),
    ("GET", "/v1/collections/{collection}/documents/{document}/content", QUERY),
    ("GET", "/v1/collections/{collection}/documents/{document}/chunks", QUERY),
    ("POST", "/v1/collections/{collection}/search", QUERY),
    ("POST", "/v1/collections/{collection}/query", QUERY),
    ("POST", "/v1/collections/{collection}/query/batch", QUERY),
    ("POST", "/v1/chat/completions", QUERY),
    ("POST", "/v1/chat/completions/batch", QUERY),
    ("POST", "/v1/messages", QUERY),
    ("POST", "/v1/messages/count_tokens", QUERY),
    ("POST", "/v1/embeddings", QUERY),
    ("POST", "/v1/rerank", QUERY),
    ("POST", "/rerank", QUERY),
    ("GET", "/v1/models", ANY),
    ("GET", "/v1/models/{model}", ANY),
    ("GET", "/v1/jobs/{job}", STATE),
    // Which of the two depends on the job.
    ("DELETE", "/v1/jobs/{job}", STATE),
    ("GET", "/v1/jobs/{job}/events", STATE),
    ("GET", "/v1/jobs/{job}/results", QUERY),
    ("GET", "/v1/deletions/{deletion}/verify", STATE),
    ("POST", "/v1/benchmarks", ADMIN),
    ("GET", "/v1/benchmarks/{benchmark}", ADMIN),
    ("GET", "/v1/evaluations", ADMIN),
    ("POST", "/v1/evaluations", ADMIN),
    ("GET", "/v1/evaluations/cases", RECALL),
    ("GET", "/v1/evaluations/{evaluation}", ADMIN),
    ("DELETE", "/v1/evaluations/{evaluation}", ADMIN),
    ("GET", "/v1/evaluations/{evaluation}/diff/{other}", ADMIN),
    ("GET", "/v1/keys", ADMIN),
    ("POST", "/v1/keys", ADMIN),
    ("GET", "/v1/keys/{key}", ADMIN),
    ("DELETE", "/v1/keys/{key}", ADMIN),
    ("GET", "/v1/quotas", ADMIN),
    ("GET", "/v1/caches", ADMIN),
    ("DELETE", "/v1/caches", ADMIN),
    ("GET", "/v1/caches/{kind}", ADMIN),
    ("DELETE", "/v1/caches/{kind}", ADMIN),
    ("GET", "/v1/caches/{kind}/{key}", ADMIN),
    ("DELETE", "/v1/caches/{kind}/{key}", ADMIN),
    ("GET", "/v1/traces", RECALL),
    ("GET", "/v1/traces/{trace}", RECALL),
    ("DELETE", "/v1/traces/{trace}", RECALL),
    ("POST", "/v1/traces/{trace}/replay", QUERY),
    ("GET", "/v1/feedback", RECALL),
    ("POST", "/v1/feedback", QUERY),
    ("GET", "/v1/feedback/cases", RECALL),
    ("GET", "/v1/sessions", RECALL),
    ("GET", "/v1/sessions/{session}", RECALL),
    ("DELETE", "/v1/sessions/{session}", RECALL),
    ("GET", "/v1/usage", ADMIN),
    ("POST", "/v1/usage/estimate", QUERY),
    ("GET", "/v1/budgets", ADMIN),
    ("GET", "/v1/budgets/{budget}", ADMIN),
    ("PUT", "/v1/budgets/{budget}", Need::Operator),
    ("DELETE", "/v1/budgets/{budget}", Need::Operator),
    ("GET", "/v1/backups", Need::Operator),
    ("POST", "/v1/backups", Need::Operator),
    ("GET", "/v1/backups/{backup}", Need::Operator),
    ("DELETE", "/v1/backups/{backup}", Need::Operator),
    ("GET", "/v1/backups/{backup}/content", Need::Operator),
    ("GET", "/healthz", Need::Open),
    ("GET", "/readyz", Need::Open),
    ("GET", "/livez", Need::Open),
    ("GET", "/metrics", Need::Open),
    ("GET", "/openapi.json", Need::Open),
    ("GET", "/docs", Need::Open),
    ("GET", "/", Need::Open),
];

/// What a request needs. `HEAD` is `GET` without the body.
pub(super) fn need(method: &Method, route: &str) -> Option<Need> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    TABLE.iter().find(|(known, path, _)| *path == route && *known == method.as_str()).map(|(_, _, need)| *need)
}

/// The methods that a route takes, as `Allow` names them; empty for a route that is not in the table.
pub(super) fn allow(route: &str) -> String {
    let methods = TABLE.iter().filter(|(_, path, _)| *path == route).map(|(method, _, _)| *method);
    methods.map(|method| if method == "GET" { "GET,HEAD" } else { method }).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn documented(need: Need) -> Value {
        match need {
            Need::Open => json!([]),
            Need::OneOf(scopes) => json!(scopes),
            Need::Operator => json!(["operator"]),
        }
    }

    #[test]
    fn the_table_and_the_openapi_document_say_the_same_of_every_route() {
        let document: Value = serde_json::from_str(crate::http::OPENAPI).unwrap();
        let mut faults = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
                let table = need(&method.to_uppercase().parse().unwrap(), path).map(documented);
                if table.is_none() || table.as_ref() != operation.get("x-required-scope") {
                    faults.push(format!("{method} {path}: table {table:?}, document {:?}", operation.get("x-required-scope")));
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn what_is_not_in_the_table_is_not_served() {
        assert_eq!(need(&Method::GET, "/v1/forgotten"), None);
        assert_eq!(need(&Method::PUT, "/v1/collections"), None);
        assert_eq!(need(&Method::HEAD, "/v1/collections"), Some(ANY));
        assert_eq!((allow("/v1/collections").as_str(), allow("/v1/forgotten").as_str()), ("GET,HEAD,POST", ""));
    }
}
