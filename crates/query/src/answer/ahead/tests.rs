//! Tests of the module above.

use super::*;
use crate::GuardAction;
use crate::answer::{Answer, Asker, InvalidQuery};
use crate::fake::FakeSource;
use crate::session::Turn;
use corpus::Principals;
use gateway::{Models, Money, ScriptedChat, Step};
use guard::{Kind, Kinds};

fn library() -> FakeSource {
    let mut source = FakeSource::new(&["en"]);
    source.add("bridge.md", "The Garnet bridge was opened in 1931. It is 420 metres long.\n\nEngineers from Lund designed the bridge.");
    source.add("bread.md", "Rye bread needs a sour dough. It keeps for a week.");
    source
}

fn engine(replies: Vec<Vec<Step>>, params: EngineParams) -> (Engine, Arc<ScriptedChat>) {
    let model = Arc::new(ScriptedChat::new("scripted", replies));
    (Engine::new(Models::of(model.clone()), params), model)
}

fn says(text: &str) -> Vec<Step> {
    vec![Step::delta(text)]
}

async fn ask(engine: &Engine, request: QueryRequest) -> Answer {
    let asker = Asker { principals: Principals::All, account: Arc::default() };
    engine.answer(Arc::new(library()), request, asker).await.unwrap()
}

fn follow_up(question: &str) -> QueryRequest {
    let turn =
        Turn { question: "When was the Garnet bridge opened?".into(), rewritten: None, answer: "In 1931 [1].".into(), abstained: false };
    QueryRequest { turns: vec![turn], rewrite: Some(Rewrite::Model), top_k: 1, ..QueryRequest::new(question) }
}

fn expanded(question: &str, expand: Expand) -> QueryRequest {
    QueryRequest { expand: Some(expand), top_k: 1, ..QueryRequest::new(question) }
}

#[tokio::test]
async fn what_a_model_makes_of_a_follow_up_is_searched_and_the_question_itself_answered() {
    let alone = "Which engineers designed the Garnet bridge?";
    let (engine, model) = engine(vec![says(alone), says("Engineers from Lund [1].")], EngineParams::default());
    let answer = ask(&engine, follow_up("Who drew it up?")).await;
    assert_eq!(answer.rewritten_question.as_deref(), Some(alone));
    assert_eq!((answer.steps.reworded.rewritten_by, &answer.steps.reworded.rewrite_failure), (Some(RewrittenBy::Model), &None));
    assert_eq!(answer.sources[0].text, "Engineers from Lund designed the bridge.");
    assert!(answer.timings_ms.get("expand").is_some());
    let told: Vec<String> = model.requests().iter().map(|request| request.messages[1].content.text().into_owned()).collect();
    assert!(told[0].contains("When was the Garnet bridge opened?") && told[0].contains("\nWho drew it up?\n"), "{}", told[0]);
    assert!(told[1].contains("\nWho drew it up?\n") && !told[1].contains(alone), "{}", told[1]);
    assert_eq!(model.requests()[0].max_tokens, Some(128));
}

#[tokio::test]
async fn a_model_may_find_that_a_question_stands_alone() {
    let (engine, model) = engine(vec![says("who drew it up?"), says("Lund [1].")], EngineParams::default());
    let answer = ask(&engine, follow_up("Who drew it up?")).await;
    assert_eq!((answer.rewritten_question, answer.steps.reworded.rewritten_by), (None, Some(RewrittenBy::Model)));
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_the_rule_takes_over() {
    let down = ChatError::Connect { reason: "refused".to_owned() };
    let poor = ChatError::OverLimit { retry_after: Duration::from_secs(9) };
    let cut = ChatError::Interrupted { reason: "cut".to_owned() };
    let junk = [
        vec![Step::Fail(down)],
        vec![Step::Fail(poor)],
        vec![Step::delta("Which engineers"), Step::Fail(cut)],
        vec![Step::Stall],
        vec![Step::delta("Which"), Step::Stall],
        says(""),
        says("Sure!\nHere is the question:\nWho designed the bridge?"),
        says("All your base are belong to us"),
        says(&"bridge ".repeat(2000)),
    ];
    for steps in junk {
        let (engine, _) = engine(vec![steps.clone(), says("Engineers from Lund [1].")], EngineParams::default());
        let began = tokio::time::Instant::now();
        let answer = ask(&engine, follow_up("Who designed it?")).await;
        assert!(began.elapsed() <= Duration::from_secs(6), "{steps:?}");
        let rewritten = answer.rewritten_question.unwrap();
        assert!(rewritten.starts_with("Who designed it? (") && rewritten.contains("Garnet"), "{rewritten}");
        assert_eq!(answer.steps.reworded.rewritten_by, Some(RewrittenBy::Rule));
        assert!(answer.steps.reworded.rewrite_failure.is_some() && !answer.degraded, "{steps:?}");
        assert_eq!(answer.sources[0].document_name, "bridge.md");
    }
}

#[tokio::test(start_paused = true)]
async fn both_together_have_one_deadline() {
    let (engine, model) = engine(vec![vec![Step::Stall], says("Engineers from Lund [1].")], EngineParams::default());
    let began = tokio::time::Instant::now();
    let answer = ask(&engine, QueryRequest { expand: Some(Expand::MultiQuery), ..follow_up("Who designed it?") }).await;
    assert_eq!((began.elapsed().as_secs(), model.requests().len()), (5, 2), "no second call is begun when the time is over");
    let reworded = answer.steps.reworded;
    assert!(reworded.rewrite_failure.unwrap().contains("5s") && reworded.expand_failure.unwrap().contains("5s"));
}

#[tokio::test]
async fn without_a_conversation_or_unless_it_is_wanted_no_model_is_asked() {
    let (engine, model) = engine(vec![says("Lund [1]."); 3], EngineParams::default());
    ask(&engine, QueryRequest { turns: Vec::new(), ..follow_up("Who designed it?") }).await;
    let by_rule = ask(&engine, QueryRequest { rewrite: None, ..follow_up("Who designed it?") }).await;
    let not_at_all = ask(&engine, QueryRequest { rewrite: Some(Rewrite::Off), ..follow_up("Who designed it?") }).await;
    assert_eq!(model.requests().len(), 3, "for the answers alone");
    assert_eq!((by_rule.steps.reworded.rewritten_by, by_rule.rewritten_question.is_some()), (Some(RewrittenBy::Rule), true));
    assert_eq!((not_at_all.steps.reworded, not_at_all.rewritten_question), (Reworded::default(), None));
}

#[tokio::test]
async fn nothing_that_is_redacted_reaches_a_model_before_the_search() {
    let mut params = EngineParams::default();
    params.guards.redact = Kinds::from_iter([Kind::Email]);
    let (engine, model) = engine(vec![says("Did [EMAIL_1] design the Garnet bridge?"), says("No [1].")], params);
    let answer = ask(&engine, follow_up("Did ann@example.org design it?")).await;
    assert_eq!(answer.rewritten_question.as_deref(), Some("Did ann@example.org design the Garnet bridge?"));
    assert!(!format!("{:?}", model.requests()).contains("ann@"), "{:?}", model.requests());
    let redacted = answer.guards.iter().filter(|decision| decision.action == GuardAction::Redact).count();
    assert_eq!(redacted, 1, "told once: {:?}", answer.guards);
}

#[tokio::test]
async fn other_wordings_find_what_the_question_does_not() {
    let question = "Is there a shelf life of loaves?";
    let (engine, model) =
        engine(vec![says("?"), says("1. How long does rye bread keep?\n2. Rye bread: a week?"), says("?")], EngineParams::default());
    let plain = ask(&engine, expanded(question, Expand::None)).await;
    assert_ne!(plain.sources[0].document_name, "bread.md");
    let answer = ask(&engine, expanded(question, Expand::MultiQuery)).await;
    assert_eq!(answer.sources[0].document_name, "bread.md");
    assert_eq!(answer.steps.reworded.queries, ["How long does rye bread keep?", "Rye bread: a week?"]);
    assert!(answer.rewritten_question.is_none(), "the question is what it was");
    assert!(model.requests()[2].messages[1].content.text().contains(question));
    assert!((0.0..=1.0).contains(&answer.sources[0].score));
}

#[tokio::test]
async fn a_passage_changes_the_vector_search_alone() {
    let question = "When was the bridge opened?";
    let (engine, _) = engine(vec![says("?"), says("Rye bread keeps for a week."), says("?")], EngineParams::default());
    let standing = |answer: &Answer, leg: fn(&crate::HitExplain) -> Option<crate::LegRank>| {
        let of = |found: &crate::Found| (found.chunk_id.to_string(), leg(&found.explain.unwrap()).map(|rank| rank.score));
        answer.steps.candidates.iter().map(of).collect::<std::collections::BTreeMap<_, _>>()
    };
    let plain = ask(&engine, QueryRequest { top_k: 10, ..expanded(question, Expand::None) }).await;
    let hyde = ask(&engine, QueryRequest { top_k: 10, ..expanded(question, Expand::Hyde) }).await;
    assert_eq!(hyde.steps.reworded.passage.as_deref(), Some("Rye bread keeps for a week."));
    assert_eq!(standing(&plain, |explain| explain.lexical), standing(&hyde, |explain| explain.lexical));
    assert_ne!(standing(&plain, |explain| explain.vector), standing(&hyde, |explain| explain.vector));
    let of_bread = |answer: &Answer| answer.sources.iter().position(|hit| hit.document_name == "bread.md").unwrap();
    assert!(of_bread(&hyde) < of_bread(&plain));
}

#[tokio::test]
async fn an_expansion_that_fails_is_told_and_the_question_searched_alone() {
    let down = ChatError::Connect { reason: "refused".to_owned() };
    for (expand, reply) in [(Expand::MultiQuery, says("...")), (Expand::Hyde, says(" \n")), (Expand::Hyde, vec![Step::Fail(down)])] {
        let (engine, _) = engine(vec![reply, says("In 1931 [1].")], EngineParams::default());
        let answer = ask(&engine, expanded("When was the Garnet bridge opened?", expand)).await;
        assert!(answer.steps.reworded.expand_failure.is_some() && !answer.degraded);
        assert_eq!((answer.answer.as_str(), answer.sources[0].document_name.as_str()), ("In 1931 [1].", "bridge.md"));
    }
}

#[tokio::test]
async fn what_was_used_before_the_search_counts_with_the_answer() {
    let used = |tokens: u64, nanos: Option<u64>| {
        let cost = nanos.map(Money::from_nanos);
        Step::Usage(TokenUsage { prompt_tokens: tokens, completion_tokens: 1, cost, ..TokenUsage::default() })
    };
    for (of_answer, cost) in [(Some(500), Some(800e-9)), (None, None)] {
        let rewriting = vec![Step::delta("Who designed the Garnet bridge?"), used(10, Some(100))];
        let wording = vec![Step::delta("Who planned the Garnet bridge?"), used(20, Some(200))];
        let answering = vec![Step::delta("Lund [1]."), used(300, of_answer)];
        let (engine, _) = engine(vec![rewriting, wording, answering], EngineParams::default());
        let answer = ask(&engine, QueryRequest { expand: Some(Expand::MultiQuery), ..follow_up("Who designed it?") }).await;
        assert_eq!((answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.cost_usd), (330, 3, cost));
    }
    // Where the answer has no model, what was used before stays told.
    let (engine, _) = engine(vec![vec![Step::delta("Who designed the Garnet bridge?"), used(10, Some(100))]], EngineParams::default());
    let extracted = ask(&engine, follow_up("Who designed it?")).await;
    assert_eq!((extracted.degraded, extracted.usage.prompt_tokens, extracted.cost_usd), (true, 10, Some(100e-9)));
    // What broke off has a price that nobody knows.
    let cut = vec![Step::delta("Who"), Step::Fail(ChatError::Interrupted { reason: "cut".to_owned() })];
    let (engine, _) = self::engine(vec![cut, vec![Step::delta("Lund [1]."), used(300, Some(500))]], EngineParams::default());
    let answer = ask(&engine, follow_up("Who designed it?")).await;
    assert_eq!((answer.usage.prompt_tokens, answer.cost_usd), (300, None));
}

#[test]
fn what_asks_a_model_is_refused_without_one() {
    let none = Models::none();
    let error = expanded("a", Expand::Hyde).validate(&none).unwrap_err();
    assert_eq!(error, InvalidQuery::NeedsModel { field: "expand" });
    assert!(error.to_string().contains("[llm]"), "{error}");
    assert_eq!(follow_up("a").validate(&none), Err(InvalidQuery::NeedsModel { field: "rewrite" }));
    assert_eq!(expanded("a", Expand::None).validate(&none), Ok(()));
    let read = |json| serde_json::from_value::<QueryRequest>(json).unwrap();
    assert_eq!(read(serde_json::json!({"question": "a", "expand": "multi_query"})).expand, Some(Expand::MultiQuery));
}
