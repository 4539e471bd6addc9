//! Tests of the module above.

use super::*;
use crate::answer::EngineParams;
use crate::expand::Expand;
use crate::fake::FakeSource;
use cache::{Clock, StackOptions};
use corpus::{CollectionId, Principals};
use gateway::{Models, ScriptedChat, Step};

const QUESTION: &str = "When was the Garnet bridge opened?";

fn library(generation: u64, mark: u64, is_shown: bool) -> Arc<dyn ChunkSource> {
    let mut source = FakeSource::new(&["en"]);
    source.add("bridge.md", "The Garnet bridge was opened in 1931. It is 420 metres long.");
    let collection: CollectionId = format!("col_{:026}", 1).parse().unwrap();
    *source.state.lock().unwrap() = Some(DataState { collection, generation, mark, is_shown });
    Arc::new(source)
}

/// A model that says what it is asked once; each further call fails.
async fn engine(answers: usize, params: EngineParams) -> (Engine, Arc<AnswerCache>) {
    let stack = Stack::open(StackOptions::default(), Clock::system(), None, None).await.unwrap();
    let semantic = SemanticOptions { threshold: 0.5, ..SemanticOptions::default() };
    let options = AnswerCacheOptions { lifetime: Duration::from_secs(60), semantic: Some(semantic), setup: String::new() };
    let cache = Arc::new(AnswerCache::new(Arc::new(stack), options));
    let models = match answers {
        0 => Models::none(),
        _ => Models::of(Arc::new(ScriptedChat::new("scripted", vec![vec![Step::delta("In 1931 [1].")]; answers]))),
    };
    (Engine::new(models, params).with_cache(Arc::clone(&cache)), cache)
}

async fn ask(engine: &Engine, source: &Arc<dyn ChunkSource>, question: &str) -> (String, CacheUse) {
    let asker = Asker { principals: Principals::All, account: Arc::default() };
    let answer = engine.answer(Arc::clone(source), QueryRequest::new(question), asker).await.unwrap();
    (answer.answer, answer.cache)
}

#[tokio::test]
async fn what_was_answered_before_the_views_had_followed_is_not_kept() {
    let (engine, _) = engine(3, EngineParams::default()).await;
    let (behind, shown) = (library(1, 7, false), library(1, 7, true));
    assert!(!ask(&engine, &behind, QUESTION).await.1.hit);
    assert!(!ask(&engine, &shown, QUESTION).await.1.hit, "the first answer may rest on older data");
    assert!(ask(&engine, &shown, QUESTION).await.1.hit);
    assert!(ask(&engine, &behind, QUESTION).await.1.hit, "it was made from this state, whoever asks");
}

#[tokio::test]
async fn another_number_or_mark_or_setting_is_another_answer() {
    let (engine, cache) = engine(4, EngineParams::default()).await;
    let home = library(1, 7, true);
    assert!(!ask(&engine, &home, QUESTION).await.1.hit);
    for other in [library(2, 7, true), library(1, 8, true)] {
        assert!(!ask(&engine, &other, QUESTION).await.1.hit);
    }
    let other = Engine { params: EngineParams { answer_tokens: 9, ..EngineParams::default() }, ..engine.clone() };
    assert!(!ask(&other, &home, QUESTION).await.1.hit);
    assert!(ask(&engine, &home, QUESTION).await.1.hit);
    assert_eq!((cache.statistics().exact_hits, cache.statistics().exact_misses), (1, 4));
}

#[tokio::test]
async fn only_a_models_answers_are_given_to_other_words() {
    let in_other_words = "Please tell me when the Garnet bridge was opened.";
    let home = library(1, 7, true);
    let (generating, _) = engine(1, EngineParams::default()).await;
    let first = ask(&generating, &home, QUESTION).await;
    let again = ask(&generating, &home, in_other_words).await;
    assert_eq!((again.0, again.1.kind), (first.0, Some("semantic")), "{:?}", again.1);
    let (extracting, cache) = engine(0, EngineParams::default()).await;
    ask(&extracting, &home, QUESTION).await;
    assert!(!ask(&extracting, &home, in_other_words).await.1.hit, "what documents say depends on the question alone");
    assert!(ask(&extracting, &home, QUESTION).await.1.hit);
    assert_eq!(cache.statistics().semantic.unwrap().lookups, 0);
}

#[tokio::test]
async fn an_answer_comes_back_exactly_as_it_was_kept() {
    let (engine, _) = engine(1, EngineParams::default()).await;
    let asker = Asker { principals: Principals::All, account: Arc::default() };
    let answer = engine.answer(library(1, 7, true), QueryRequest::new(QUESTION), asker).await.unwrap();
    let bytes = encode("Why?", &answer).unwrap();
    let again = decode(&bytes).unwrap().answer(None, Instant::now());
    assert_eq!(serde_json::to_string(&answer.sources).unwrap(), serde_json::to_string(&again.sources).unwrap());
    assert_eq!((again.answer, again.citations, again.model), (answer.answer, answer.citations, answer.model));
    assert!(decode(&[&[9], &bytes[1..]].concat()).is_none() && decode(b"").is_none(), "another version's bytes are none of ours");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_waits_no_longer_than_for_a_model() {
    let stack = Stack::open(StackOptions::default(), Clock::system(), None, None).await.unwrap();
    let options = AnswerCacheOptions { lifetime: Duration::from_secs(60), semantic: None, setup: String::new() };
    let model = Arc::new(ScriptedChat::new("scripted", vec![vec![Step::Stall]]));
    let params = EngineParams { answer_time: Duration::from_secs(30), ..EngineParams::default() };
    let engine = Engine::new(Models::of(model.clone()), params).with_cache(Arc::new(AnswerCache::new(Arc::new(stack), options)));
    let home = library(1, 7, true);
    let asked = |engine: Engine, home: Arc<dyn ChunkSource>| async move {
        let asker = Asker { principals: Principals::All, account: Arc::default() };
        engine.answer(home, QueryRequest::new(QUESTION), asker).await.unwrap()
    };
    let leader = tokio::spawn(asked(engine.clone(), Arc::clone(&home)));
    while model.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let began = tokio::time::Instant::now();
    let answer = tokio::time::timeout(Duration::from_secs(60), asked(engine, home)).await.expect("it waits for the leader");
    assert_eq!(began.elapsed().as_secs(), 30);
    assert_eq!((answer.mode, answer.degraded, model.requests().len()), (AnswerMode::Extractive, true, 1));
    leader.abort();
}

#[tokio::test]
async fn an_expanded_search_has_answers_of_its_own_and_one_that_failed_is_not_kept() {
    let stack = Stack::open(StackOptions::default(), Clock::system(), None, None).await.unwrap();
    let options =
        AnswerCacheOptions { lifetime: Duration::from_secs(60), semantic: Some(SemanticOptions::default()), setup: String::new() };
    let says = |text: &str| vec![Step::delta(text)];
    let script = ["...", "In 1931 [1].", "When did the Garnet bridge open?", "In 1931 [1].", "In 1931 [1]."].map(says).to_vec();
    let model = Arc::new(ScriptedChat::new("scripted", script));
    let engine =
        Engine::new(Models::of(model.clone()), EngineParams::default()).with_cache(Arc::new(AnswerCache::new(Arc::new(stack), options)));
    let home = library(1, 7, true);
    let ask = async |expand| {
        let asker = Asker { principals: Principals::All, account: Arc::default() };
        let request = QueryRequest { expand: Some(expand), ..QueryRequest::new(QUESTION) };
        let answer = engine.answer(Arc::clone(&home), request, asker).await.unwrap();
        (answer.cache.hit, model.requests().len())
    };
    assert_eq!(ask(Expand::MultiQuery).await, (false, 2), "without wordings");
    assert_eq!(ask(Expand::MultiQuery).await, (false, 4));
    assert_eq!(ask(Expand::MultiQuery).await, (true, 4), "no model is asked for what is known");
    assert_eq!(ask(Expand::None).await, (false, 5), "a plain search is another");
}
