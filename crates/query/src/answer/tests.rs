//! Tests of the module above.

use super::*;
use crate::fake::FakeSource;
use crate::gate::Verdict;
use crate::search::InvalidSearch;
use gateway::{ChatModel, ScriptedChat, Step};
use serde_json::json;
use std::sync::atomic::Ordering;

fn library() -> FakeSource {
    let mut source = FakeSource::new(&["en"]);
    source.add("bridge.md", "The Garnet bridge was opened in 1931. It is 420 metres long.\n\nEngineers from Lund designed the bridge.");
    source.add("bread.md", "Rye bread needs a sour dough. It keeps for a week.");
    source
}

fn scripted(answers: Vec<Vec<Step>>) -> (Engine, Arc<ScriptedChat>) {
    let model = Arc::new(ScriptedChat::new("scripted", answers));
    (Engine::new(Models::of(model.clone()), EngineParams::default()), model)
}

/// One model of this name.
fn small() -> Models {
    Models::of(Arc::new(ScriptedChat::new("small", Vec::new())))
}

fn extractive() -> Engine {
    Engine::new(Models::none(), EngineParams::default())
}

const QUESTION: &str = "When was the Garnet bridge opened?";

fn asker() -> Asker {
    Asker { principals: Principals::All, account: Arc::default() }
}

async fn answer(engine: &Engine, question: &str) -> Result<Answer, QueryError> {
    engine.answer(Arc::new(library()), QueryRequest::new(question), asker()).await
}

async fn events(engine: &Engine, question: &str) -> Vec<AnswerEvent> {
    engine.answer_stream(Arc::new(library()), QueryRequest::new(question), asker()).await.unwrap().collect().await
}

fn names(events: &[AnswerEvent]) -> Vec<&'static str> {
    events.iter().map(AnswerEvent::name).collect()
}

fn text(events: &[AnswerEvent]) -> String {
    events.iter().map(|event| if let AnswerEvent::Delta(text) = event { text } else { "" }).collect()
}

#[tokio::test]
async fn without_a_model_the_documents_answer() {
    let answer = answer(&extractive(), QUESTION).await.unwrap();
    assert_eq!(answer.answer, "The Garnet bridge was opened in 1931. [1]");
    assert_eq!((answer.mode, answer.abstained, answer.degraded), (AnswerMode::Extractive, false, false));
    let [citation] = &answer.citations[..] else { panic!("{:?}", answer.citations) };
    assert_eq!(library().text_at(&citation.document_id, citation.span), citation.quote);
    assert_eq!((citation.marker, citation.verdict), (1, Verdict::Supported));
    assert_eq!(answer.sources[0].chunk_id, citation.chunk_id);
    assert!(answer.context_length > 0);
    for stage in ["embed", "retrieve", "pack", "extract", "total"] {
        assert!(answer.timings_ms.get(stage).is_some(), "{stage}");
    }
}

#[tokio::test]
async fn what_the_documents_do_not_say_is_not_answered() {
    let english = answer(&extractive(), "Who won the chess championship in Reykjavik?").await.unwrap();
    assert_eq!((english.answer.as_str(), english.abstained), (ABSTENTION, true));
    assert!(english.citations.is_empty());
    let chinese = answer(&extractive(), "北京的人口是多少？").await.unwrap();
    assert_eq!((chinese.answer.as_str(), chinese.abstained), (ABSTENTION_CHINESE, true));
}

#[tokio::test]
async fn the_record_has_the_agreed_fields() {
    let answer = answer(&extractive(), QUESTION).await.unwrap();
    let json = serde_json::to_value(answer).unwrap();
    let fields: std::collections::BTreeSet<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let agreed = [
        "answer",
        "citations",
        "gate",
        "sources",
        "mode",
        "abstained",
        "degraded",
        "degraded_reason",
        "guards",
        "model",
        "route",
        "usage",
        "cost_usd",
        "cache",
        "context_length",
        "rewritten_question",
        "timings_ms",
    ];
    assert_eq!(fields, agreed.into_iter().collect());
    assert_eq!(json["cache"], json!({"hit": false, "kind": null, "similarity": null}));
    assert_eq!(json["usage"], json!({"prompt_tokens": 0, "completion_tokens": 0}));
    assert_eq!((&json["mode"], &json["citations"][0]["verdict"]), (&json!("extractive"), &json!("supported")));
}

#[tokio::test]
async fn the_same_question_gives_the_same_bytes() {
    let bytes = |answer: Answer| serde_json::to_string(&(answer.answer, answer.citations, answer.sources)).unwrap();
    let first = bytes(answer(&extractive(), "How long does rye bread keep?").await.unwrap());
    for _ in 0..5 {
        assert_eq!(bytes(answer(&extractive(), "How long does rye bread keep?").await.unwrap()), first);
    }
}

#[tokio::test]
async fn a_model_answers_and_is_checked() {
    let usage = TokenUsage { prompt_tokens: 90, completion_tokens: 12, ..TokenUsage::default() };
    let steps = vec![Step::delta("It opened in "), Step::delta("1931 [1]. It sank [9]."), Step::Usage(usage)];
    let (engine, model) = scripted(vec![steps.clone(), steps]);
    let whole = answer(&engine, QUESTION).await.unwrap();
    assert_eq!(whole.answer, "It opened in 1931 [1]. It sank [9].");
    assert_eq!((whole.mode, whole.model.as_deref(), whole.usage), (AnswerMode::Generated, Some("scripted"), usage));
    assert_eq!((whole.route.unwrap().deployment.as_str(), whole.degraded_reason), ("scripted", None));
    assert_eq!((whole.citations.len(), &whole.not_found[..]), (1, &[9][..]));
    assert_eq!(whole.citations[0].quote, "The Garnet bridge was opened in 1931.");
    assert!(model.requests()[0].messages[1].content.text().contains("The Garnet bridge was opened in 1931."));

    let events = events(&engine, QUESTION).await;
    assert_eq!(names(&events), ["sources", "delta", "delta", "citation", "delta", "delta", "usage", "done"]);
    assert_eq!(text(&events), whole.answer);
}

#[tokio::test]
async fn what_the_gate_forbids_is_never_streamed() {
    let steps = vec![Step::delta("It opened in 1931 [1]. It sank "), Step::delta("in 1940 [1]. It is 420 metres long [1].")];
    for (policy, expected, abstained) in
        [(GatePolicy::Strip, "It opened in 1931 [1]. It is 420 metres long [1].", false), (GatePolicy::Refuse, ABSTENTION, true)]
    {
        let model = Arc::new(ScriptedChat::new("scripted", vec![steps.clone(), steps.clone()]));
        let engine = Engine::new(Models::of(model), EngineParams { gate: policy, ..EngineParams::default() });
        let whole = answer(&engine, QUESTION).await.unwrap();
        assert_eq!((whole.answer.as_str(), whole.abstained), (expected, abstained));
        assert_eq!(whole.gate.reason.is_some(), abstained);
        let events = events(&engine, QUESTION).await;
        assert_eq!(text(&events), expected);
        let streamed: Vec<_> =
            events.iter().filter_map(|event| if let AnswerEvent::Citation(one) = event { Some(one.clone()) } else { None }).collect();
        assert_eq!(streamed, whole.citations);
    }
}

#[tokio::test]
async fn a_model_that_is_down_is_replaced_by_the_documents() {
    let down = ChatError::Connect { reason: "refused".to_owned() };
    let (engine, _) = scripted(vec![vec![Step::Fail(down.clone())], vec![Step::Fail(down)]]);
    let whole = answer(&engine, QUESTION).await.unwrap();
    assert_eq!((whole.mode, whole.degraded, whole.model.as_deref()), (AnswerMode::Extractive, true, None));
    assert_eq!(whole.degraded_reason.as_deref(), Some("can't connect to the model provider: refused"));
    assert_eq!(whole.answer, "The Garnet bridge was opened in 1931. [1]");
    let events = events(&engine, QUESTION).await;
    assert_eq!(names(&events), ["sources", "delta", "citation", "usage", "done"]);
}

#[tokio::test]
async fn a_model_that_breaks_off_ends_the_answer() {
    let cut = ChatError::Interrupted { reason: "cut".to_owned() };
    let steps = vec![Step::delta("It opened"), Step::Fail(cut.clone())];
    let (engine, _) = scripted(vec![steps.clone(), steps]);
    let events = events(&engine, QUESTION).await;
    assert_eq!(names(&events), ["sources", "delta", "error"]);
    assert!(matches!(answer(&engine, QUESTION).await, Err(QueryError::Interrupted(error)) if error == cut));
}

#[tokio::test]
async fn a_model_that_does_not_know_abstains() {
    let (engine, _) = scripted(vec![vec![Step::delta("I don’t know.")]]);
    let answer = answer(&engine, QUESTION).await.unwrap();
    assert!(answer.abstained && !answer.degraded);
}

#[tokio::test]
async fn without_sources_no_model_is_asked() {
    let (engine, model) = scripted(Vec::new());
    let answer = engine.answer(Arc::new(FakeSource::new(&[])), QueryRequest::new("anything"), asker()).await.unwrap();
    assert!(answer.abstained && !answer.degraded && answer.sources.is_empty());
    assert!(model.requests().is_empty());
}

#[tokio::test]
async fn a_listener_that_leaves_stops_the_model() {
    struct Watched(Arc<()>);
    #[async_trait::async_trait]
    impl ChatModel for Watched {
        fn name(&self) -> &'static str {
            "watched"
        }
        async fn chat(&self, _: ChatRequest) -> Result<ChatReply, ChatError> {
            let held = self.0.clone();
            let words = futures::stream::repeat_with(move || {
                let _ = &held;
                Ok(ChatEvent::Delta("word ".to_owned()))
            });
            Ok(ChatReply::from("watched", "watched", words.boxed()))
        }
    }
    let held = Arc::new(());
    let engine = Engine::new(Models::of(Arc::new(Watched(held.clone()))), EngineParams::default());
    let mut stream = engine.answer_stream(Arc::new(library()), QueryRequest::new(QUESTION), asker()).await.unwrap();
    while stream.next().await.expect("an endless answer").name() != "delta" {}
    assert_eq!(Arc::strong_count(&held), 3, "the test, the model and the stream");
    drop(stream);
    assert_eq!(Arc::strong_count(&held), 2, "the stream is gone");
    let error = answer(&engine, QUESTION).await.unwrap_err();
    assert!(matches!(error, QueryError::Interrupted(ChatError::TooLarge { .. })), "an endless answer is cut off: {error}");
}

#[tokio::test]
async fn a_broken_embedder_fails_before_anything_is_streamed() {
    let source = library();
    source.embedder.is_broken.store(true, Ordering::Relaxed);
    let stream = extractive().answer_stream(Arc::new(source), QueryRequest::new(QUESTION), asker()).await;
    assert!(matches!(stream.err(), Some(QueryError::Search(SearchError::Embed(_)))));
}

#[test]
fn what_does_not_work_yet_is_refused_by_name() {
    let request = |value| serde_json::from_value::<QueryRequest>(value);
    let invalid = |value| request(value).unwrap().validate(&small()).unwrap_err();
    assert_eq!(invalid(json!({"question": "a", "session_id": "not plain"})), InvalidQuery::Session);
    assert_eq!(invalid(json!({"question": "a", "prompt": "p"})), InvalidQuery::Unsupported { field: "prompt" });
    assert_eq!(invalid(json!({"question": "a", "model": "large"})), InvalidQuery::UnknownModel("large".to_owned()));
    assert_eq!(invalid(json!({"question": " "})), InvalidQuery::Search(InvalidSearch::EmptyQuery));
    assert_eq!(invalid(json!({"question": "a", "tags": ["x".repeat(65)]})), InvalidQuery::Tags);
    assert!(matches!(invalid(json!({"question": "a", "top_k": 0})), InvalidQuery::Search(InvalidSearch::Range { .. })));
    assert!(matches!(invalid(json!({"question": "a", "max_context_tokens": 1})), InvalidQuery::Search(InvalidSearch::Range { .. })));
    let whole = json!({"question": "a", "model": "small", "cache": "refresh", "tags": ["team"], "stream": true});
    assert_eq!(request(whole).unwrap().validate(&small()), Ok(()));
    assert!(request(json!({"question": "a", "k": 1})).is_err());
    assert!(request(json!({"question": "a", "cache": "never"})).is_err());
}

#[tokio::test]
async fn a_model_is_shown_the_sentences_that_matter() {
    let say = || vec![vec![Step::delta("It opened in 1931 [1].")]];
    let model = Arc::new(ScriptedChat::new("scripted", [say(), say(), say(), say()].concat()));
    let mut contexts = Vec::new();
    for (compression, compression_share) in [(None, None), (Some(0.3), None), (Some(0.9), Some(0.3)), (Some(0.3), Some(1.0))] {
        let engine = Engine::new(Models::of(model.clone()), EngineParams { compression, ..EngineParams::default() });
        let request = QueryRequest { compression_share, ..QueryRequest::new(QUESTION) };
        let answer = engine.answer(Arc::new(library()), request, asker()).await.unwrap();
        let shown: Vec<String> = answer
            .steps
            .packed
            .iter()
            .zip(&answer.sources)
            .flat_map(|(excerpt, source)| excerpt.shown.iter().map(|span| library().text_at(&source.document_id, *span).to_owned()))
            .collect();
        let is_cut = compression_share.unwrap_or(f64::from(compression.unwrap_or(1.0))) < 1.0;
        assert_eq!(shown.contains(&"The Garnet bridge was opened in 1931.".to_owned()), is_cut, "{shown:?}");
        assert!(!shown.contains(&"It is 420 metres long.".to_owned()));
        assert_eq!(answer.citations[0].quote, "The Garnet bridge was opened in 1931.");
        assert_eq!(library().text_at(&answer.citations[0].document_id, answer.citations[0].span), answer.citations[0].quote);
        contexts.push(answer.context_length);
    }
    let prompts: Vec<String> = model.requests().iter().map(|request| request.messages[1].content.text().into_owned()).collect();
    assert!(prompts[0].contains("It is 420 metres long.") && !prompts[0].contains("[…]"));
    assert!(prompts[1].contains("opened in 1931. […]") && !prompts[1].contains("It is 420 metres long."), "{}", prompts[1]);
    assert_eq!(prompts[0].matches("<source ").count(), prompts[1].matches("<source ").count());
    assert!(contexts[1] < contexts[0], "{contexts:?}");
    assert_eq!((contexts[2], contexts[3]), (contexts[1], contexts[0]), "the request decides");
}
