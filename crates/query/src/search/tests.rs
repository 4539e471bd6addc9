//! Tests of the module above.

use super::*;
use crate::fake::FakeSource;
use corpus::{Acl, Errand, Filter};
use serde_json::json;

fn animals() -> FakeSource {
    let mut source = FakeSource::new(&["en"]);
    source.add("fox.md", "The red fox hunts at night.\n\nA fox den has several exits.\n\nFoxes are not pack animals.");
    source.add("hen.md", "The hen lays one egg a day.\n\n母鸡每天下一个蛋。");
    source
}

fn request(value: serde_json::Value) -> SearchRequest {
    serde_json::from_value(value).unwrap()
}

fn run(source: &FakeSource, value: serde_json::Value) -> SearchResponse {
    search(source, &request(value), &Principals::All, LegWeights::default()).unwrap()
}

fn rows(response: &SearchResponse) -> Vec<Row> {
    response.hits.iter().map(|hit| hit.row).collect()
}

#[test]
fn hybrid_finds_and_explains() {
    let response = run(&animals(), json!({"query": "Where is the den of a fox?", "top_k": 2, "explain": true, "neighbours": 1}));
    assert_eq!(response.hits[0].text, "A fox den has several exits.");
    let explain = response.hits[0].explain.unwrap();
    assert_eq!((explain.vector.unwrap().rank, explain.lexical.unwrap().rank), (Some(1), Some(1)));
    assert!(explain.score > 0.3 && explain.score <= 1.0);
    let neighbours = response.hits[0].neighbours.as_ref().unwrap();
    assert_eq!(neighbours.before[0].text, "The red fox hunts at night.");
    assert_eq!(neighbours.after.len(), 1);
    assert_eq!(response.explain.unwrap().allowed_rows, 5);
    for stage in ["filter", "embed", "vector", "lexical", "fuse", "fetch", "total"] {
        assert!(response.timings_ms.get(stage).is_some(), "{stage}");
    }
}

#[test]
fn a_script_that_the_model_does_not_know_is_left_to_the_words() {
    let response = run(&animals(), json!({"query": "母鸡一天下几个蛋？", "explain": true}));
    assert_eq!(rows(&response), [4]);
    assert_eq!(response.explain.unwrap().skipped[0].leg, "vector");
    let vector = run(&animals(), json!({"query": "母鸡", "mode": "vector", "explain": true}));
    assert!(vector.explain.unwrap().skipped.is_empty(), "who asks for vectors gets vectors");
    let mut multilingual = FakeSource::new(&[]);
    multilingual.add("hen.md", "母鸡每天下一个蛋。");
    assert!(run(&multilingual, json!({"query": "母鸡", "explain": true})).explain.unwrap().skipped.is_empty());
}

#[test]
fn a_vector_replaces_the_query() {
    let source = animals();
    let vector = source.embedder().embed(&["hen egg day"], Purpose::Query, &Errand::default()).unwrap().remove(0).embedding.into_vec();
    let response = run(&source, json!({"vector": vector, "top_k": 1, "explain": true}));
    assert_eq!(rows(&response), [3]);
    assert_eq!(response.explain.unwrap().skipped[0].leg, "lexical");
    let error = search(&source, &request(json!({"vector": [1.0]})), &Principals::All, LegWeights::default()).unwrap_err();
    assert!(matches!(error, SearchError::Invalid(InvalidSearch::Vector(_))), "{error}");
}

#[test]
fn filters_and_principals_hold_in_every_mode() {
    let mut source = animals();
    source.add_cut("secret.md", "The fox is in the hen house.", &[(0, 28)], Acl(["board".to_owned()].into()));
    let filter = json!({"type": "eq", "key": "name", "value": "hen.md"});
    for mode in ["hybrid", "vector", "lexical"] {
        let request = request(json!({"query": "fox hen", "mode": mode}));
        let stranger = Principals::Only(["staff".to_owned()].into());
        let hits = search(&source, &request, &stranger, LegWeights::default()).unwrap().hits;
        assert!(!hits.is_empty() && hits.iter().all(|hit| hit.document_name != "secret.md"), "{mode}");
        let hits = run(&source, json!({"query": "fox hen", "mode": mode, "filter": filter})).hits;
        assert!(!hits.is_empty() && hits.iter().all(|hit| hit.document_name == "hen.md"), "{mode}");
    }
}

#[test]
fn chunks_that_are_gone_make_room_for_the_next() {
    let mut source = animals();
    let all = rows(&run(&source, json!({"query": "fox night den"})));
    source.gone.insert(all[0]);
    assert_eq!(rows(&run(&source, json!({"query": "fox night den", "top_k": 2}))), all[1..3]);
}

#[test]
fn min_score_is_in_the_unit_of_the_mode() {
    let source = animals();
    for mode in ["hybrid", "vector"] {
        let hits = run(&source, json!({"query": "fox den", "mode": mode, "min_score": 0.5})).hits;
        assert!(!hits.is_empty() && hits.iter().all(|hit| (0.5..=1.0).contains(&hit.score)), "{mode}");
    }
}

#[test]
fn what_a_query_excludes_is_in_no_leg() {
    let response = run(&animals(), json!({"query": "fox -den", "explain": true}));
    assert!(!response.hits.is_empty() && response.hits.iter().all(|hit| !hit.text.contains("den")));
    assert_eq!(response.explain.unwrap().narrowed, Some(NarrowedExplain { rows: 4, requires_quoted: false, excludes: true }));
    assert_eq!(run(&animals(), json!({"query": "fox", "explain": true})).explain.unwrap().narrowed, None);
}

#[test]
fn the_same_search_gives_the_same_bytes() {
    let bytes = || serde_json::to_string(&run(&animals(), json!({"query": "fox hen egg night", "explain": true})).hits).unwrap();
    assert_eq!(bytes(), bytes());
}

#[test]
fn bad_requests_are_named() {
    let invalid = |value| request(value).validate().unwrap_err();
    assert_eq!(invalid(json!({})), InvalidSearch::QueryOrVector);
    assert_eq!(invalid(json!({"query": "a", "vector": [1.0]})), InvalidSearch::QueryOrVector);
    assert_eq!(invalid(json!({"query": " \n"})), InvalidSearch::EmptyQuery);
    assert_eq!(invalid(json!({"query": "x".repeat(QUERY_BYTES_MAX + 1)})), InvalidSearch::LongQuery(QUERY_BYTES_MAX + 1));
    assert_eq!(invalid(json!({"vector": [1.0], "mode": "lexical"})), InvalidSearch::LexicalVector);
    assert_eq!(invalid(json!({"vector": [1.0], "rerank": true})), InvalidSearch::RerankVector);
    assert!(matches!(invalid(json!({"query": "a", "rerank": {"candidates": 101}})), InvalidSearch::Range { .. }));
    for (field, value) in [("top_k", 0), ("top_k", 101), ("neighbours", 6), ("ef", 0), ("ef", 5000)] {
        let error = invalid(json!({"query": "a", field: value}));
        assert!(matches!(&error, InvalidSearch::Range { field: named, .. } if *named == field), "{error}");
    }
    assert!(request(json!({"query": "a", "rerank": false})).validate().is_ok());
    assert!(serde_json::from_value::<SearchRequest>(json!({"query": "a", "limit": 5})).is_err());
    let filter: Filter = serde_json::from_value(json!({"type": "gt", "key": "a", "value": true})).unwrap();
    assert!(SearchRequest { filter: Some(filter), ..SearchRequest::new("a") }.validate().is_err());
}

#[test]
fn hits_of_two_versions_do_not_stand_side_by_side() {
    let mut hits = run(&animals(), json!({"query": "fox", "top_k": 3, "mode": "vector", "neighbours": 1})).hits;
    assert!(is_one_version(&hits) && hits.len() == 3);
    hits[1].version = 2;
    assert!(!is_one_version(&hits), "spans of two texts");
    let kept = hits[1].chunk_id.clone();
    let other_document = hits.iter().filter(|hit| hit.document_id != hits[1].document_id).count();
    keep_latest(&mut hits);
    assert_eq!(hits.len(), 1 + other_document);
    let hit = hits.iter().find(|hit| hit.chunk_id == kept).unwrap();
    assert_eq!(hit.neighbours.as_ref().map(|around| around.each().count()), Some(0), "its neighbours were of the version before");
}

struct Backwards(corpus::RerankModel);

impl Reranker for Backwards {
    fn model(&self) -> &corpus::RerankModel {
        &self.0
    }

    fn rerank(&self, _: &str, texts: &[&str], _: &Errand) -> Result<Vec<f32>, EmbedError> {
        Ok(texts.iter().zip(1_u8..).map(|(_, place)| f32::from(place) / 100.0).collect())
    }
}

#[test]
fn a_reranker_has_the_last_word_where_it_is_asked() {
    let source = animals();
    let model = corpus::RerankModel { name: "back".into(), revision: "1".into(), precision: corpus::Precision::F32, max_tokens: 64 };
    let reranker = Backwards(model);
    let rows_of = |body: serde_json::Value, reranker: Option<&dyn Reranker>| {
        let ranking = Ranking { weights: LegWeights::default(), reranker };
        rows(&search_by(&source, &request(body), &Principals::All, ranking).unwrap())
    };
    let asked = |rerank: serde_json::Value| json!({"query": "fox den", "top_k": 2, "rerank": rerank, "explain": true});
    let plain = rows_of(asked(json!(false)), Some(&reranker));
    let judged = rows_of(asked(json!({"candidates": 3})), Some(&reranker));
    let all = rows_of(json!({"query": "fox den", "top_k": 3}), None);
    assert_eq!((plain, judged), (all[..2].to_vec(), vec![all[2], all[1]]));
    let by_words = run(&source, asked(json!(true)));
    assert_eq!(by_words.hits[0].text, "A fox den has several exits.");
    assert!(by_words.hits[0].explain.unwrap().rerank.is_some() && by_words.timings_ms.get("rerank").is_some());
}

fn expanded(query: &str, expansion: Expansion) -> SearchRequest {
    SearchRequest { expansion, explain: true, ..SearchRequest::new(query) }
}

#[test]
fn several_wordings_are_one_ranking() {
    let source = animals();
    let wordings = vec!["How many eggs does a hen lay?".to_owned(), "hen egg".to_owned()];
    let request = expanded("Which bird is productive?", Expansion { wordings, ..Expansion::default() });
    let found = search(&source, &request, &Principals::All, LegWeights::default()).unwrap();
    assert_eq!(found.hits[0].row, 3, "{:?}", rows(&found));
    assert!(found.hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
    let explain = found.hits[0].explain.unwrap();
    assert!(
        found.hits[0].score <= 1.0 && explain.lexical.is_none_or(|rank| rank.rank.is_none()),
        "as the question itself found it: {explain:?}"
    );
    // The same question three times over is the same search.
    let (plain, query) = (run(&source, json!({"query": "hen egg"})), "hen egg".to_owned());
    let request = expanded("hen egg", Expansion { wordings: vec![query.clone(), query], ..Expansion::default() });
    let threefold = search(&source, &request, &Principals::All, LegWeights::default()).unwrap();
    assert_eq!(rows(&threefold), rows(&plain));
    assert!(threefold.hits.iter().zip(&plain.hits).all(|(one, other)| (one.score - other.score).abs() < 1e-6));
}

#[test]
fn what_the_question_excludes_no_wording_brings_back() {
    let wordings = vec!["A fox den has several exits".to_owned()];
    let signs = Some("fox -den".to_owned());
    let request = expanded("fox and its home", Expansion { wordings, signs, ..Expansion::default() });
    let found = search(&animals(), &request, &Principals::All, LegWeights::default()).unwrap();
    assert!(!found.hits.is_empty() && !rows(&found).contains(&1), "{:?}", rows(&found));
    assert!(found.explain.unwrap().narrowed.is_some());
}

#[test]
fn each_wording_has_the_legs_that_its_script_has() {
    let request = expanded("母鸡一天下几个蛋？", Expansion { wordings: vec!["hen egg".to_owned()], ..Expansion::default() });
    let found = search(&animals(), &request, &Principals::All, LegWeights::default()).unwrap();
    assert!(rows(&found).contains(&3) && rows(&found).contains(&4), "{:?}", rows(&found));
    let explain = found.explain.unwrap();
    assert_eq!(explain.skipped[0].leg, "vector");
    assert!(explain.vector_candidates > 0, "the English wording has vectors");
}
