//! Reranking as Cohere and Jina answer it, and Text Embeddings Inference: a document's score is the part of the question's words that it has.

use crate::answer::count_words;
use crate::content::with_field;
use crate::exchange::Ask;
use crate::refusal::Refusal;
use crate::reply::Reply;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Answers a request to rerank: the best first, equals in their order.
pub(crate) fn answer(ask: &Ask, reply: &Reply) -> Result<Value, Refusal> {
    let query = ask.body.get("query").and_then(Value::as_str).ok_or_else(|| Refusal::bad_request("query must be a text"))?;
    let documents = ask.body.get("documents").and_then(Value::as_array).filter(|documents| !documents.is_empty());
    let documents = documents.ok_or_else(|| Refusal::bad_request("documents must be a list with at least one document"))?;
    let ranked = ranked(query, documents);
    let top = ask.body.get("top_n").and_then(Value::as_u64).and_then(|top| usize::try_from(top).ok()).unwrap_or(usize::MAX);
    let returns_documents = ask.body.get("return_documents").and_then(Value::as_bool).unwrap_or_default();
    let result = |(place, text, score): (usize, &str, f64)| {
        let result = json!({"index": place, "relevance_score": score});
        with_field(result, "document", returns_documents.then(|| json!({"text": text})))
    };
    let results: Vec<Value> = ranked.into_iter().take(top).map(result).collect();
    let answer = json!({"id": format!("rerank-{}", ask.number), "model": ask.model, "results": results,
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}});
    let counted = || documents.iter().map(|document| count_words(text(document)) + count_words(query)).sum::<u64>();
    let tokens = reply.usage.map_or_else(counted, |usage| usage.prompt_tokens);
    Ok(with_field(answer, "usage", (!reply.no_usage).then(|| json!({"total_tokens": tokens}))))
}

/// Answers as Text Embeddings Inference does: the best first, without a name or a count.
pub(crate) fn tei_answer(ask: &Ask) -> Result<Value, Refusal> {
    let query = ask.body.get("query").and_then(Value::as_str).ok_or_else(|| Refusal::bad_request("query must be a text"))?;
    let texts = ask.body.get("texts").and_then(Value::as_array).filter(|texts| !texts.is_empty());
    let texts = texts.ok_or_else(|| Refusal::bad_request("`texts` cannot be empty"))?;
    Ok(ranked(query, texts).into_iter().map(|(place, _, score)| json!({"index": place, "score": score})).collect())
}

/// Place, text and score of each, the best first, equals in their order.
fn ranked<'d>(query: &str, documents: &'d [Value]) -> Vec<(usize, &'d str, f64)> {
    let wanted = words(query);
    let mut ranked: Vec<(usize, &str, f64)> =
        documents.iter().map(text).enumerate().map(|(place, text)| (place, text, score(&wanted, text))).collect();
    ranked.sort_by(|(_, _, a), (_, _, b)| b.total_cmp(a));
    ranked
}

/// A document is a text, or an object with one.
fn text(document: &Value) -> &str {
    document.as_str().or_else(|| document.get("text")?.as_str()).unwrap_or_default()
}

fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn score(wanted: &BTreeSet<String>, text: &str) -> f64 {
    if wanted.is_empty() { 0.0 } else { wanted.intersection(&words(text)).count() as f64 / wanted.len() as f64 }
}
