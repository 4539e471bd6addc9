//! Ladders of scripted deployments, on a paused clock: who is asked how often, and what comes of it.

use super::*;
use crate::{ChatError, ChatEvent, ChatMessage, ChatModel, ChatRequest, Concurrency, Rest, ScriptedChat, Step};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn request() -> ChatRequest {
    ChatRequest::new(vec![ChatMessage::user("hello?")])
}

fn status(status: u16, retry_after_s: Option<u64>) -> ChatError {
    ChatError::Status { status, retry_after: retry_after_s.map(Duration::from_secs), message: "no".to_owned() }
}

fn failing(name: &str, error: &ChatError) -> Arc<ScriptedChat> {
    Arc::new(ScriptedChat::new(name, vec![vec![Step::Fail(error.clone())]; 50]))
}

fn answering(name: &str) -> Arc<ScriptedChat> {
    Arc::new(ScriptedChat::new(name, vec![vec![Step::delta("yes")]; 5_000]))
}

fn member(model: &Arc<ScriptedChat>) -> Member {
    Member::new(model.name(), Arc::new(Rest::new(model.clone())), 1)
}

fn ladder(groups: Vec<Vec<&Arc<ScriptedChat>>>) -> Ladder {
    let group = |members: Vec<&Arc<ScriptedChat>>| Group::new(members.into_iter().map(member).collect(), Balance::Weighted);
    Ladder::new("answers", groups.into_iter().map(group).collect(), RetryParams::default(), Arc::default())
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_three_times_and_then_the_next_rung() {
    for passing in [408, 429, 500, 502, 503, 504, 529] {
        let (first, second) = (failing("first", &status(passing, None)), answering("second"));
        let reply = ladder(vec![vec![&first], vec![&second]]).chat(request()).await.unwrap();
        assert_eq!((first.requests().len(), second.requests().len()), (3, 1), "{passing}");
        assert_eq!((reply.route.deployment.as_str(), reply.route.rungs_down, reply.route.failed.len()), ("second", 1, 3));
        assert!(reply.route.degraded().unwrap().starts_with("first did not answer"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_request_is_told_at_once_and_nobody_else_asked() {
    for wrong in [400, 413, 422] {
        let (first, second) = (failing("first", &status(wrong, None)), answering("second"));
        let error = ladder(vec![vec![&first], vec![&second]]).chat(request()).await.err().unwrap();
        assert_eq!(error, status(wrong, None));
        assert_eq!((first.requests().len(), second.requests().len()), (1, 0), "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_takes_a_deployment_out_and_the_others_answer() {
    for refused in [401, 403, 404] {
        let (first, second) = (failing("first", &status(refused, None)), answering("second"));
        let ladder = ladder(vec![vec![&first], vec![&second]]);
        for _ in 0..10 {
            assert_eq!(ladder.chat(request()).await.unwrap().route.deployment, "second");
        }
        assert_eq!(first.requests().len(), 1, "{refused}: out for a minute");
        tokio::time::advance(Duration::from_secs(60)).await;
        ladder.chat(request()).await.unwrap();
        assert_eq!(first.requests().len(), 2, "{refused}: asked again after it");
    }
}

#[tokio::test(start_paused = true)]
async fn others_of_the_group_are_asked_at_once_and_each_before_any_twice() {
    let (first, second) = (failing("first", &status(500, None)), failing("second", &status(500, None)));
    let began = Instant::now();
    let third = answering("third");
    let reply = ladder(vec![vec![&first, &second], vec![&third]]).chat(request()).await.unwrap();
    let asked = (first.requests().len(), second.requests().len());
    assert!(asked == (2, 1) || asked == (1, 2), "{asked:?}");
    assert_eq!(reply.route.failed.len(), 3);
    assert!(began.elapsed() <= Duration::from_millis(500), "one wait, before the third call: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_was_asked_for_is_kept_if_there_is_time_and_otherwise_the_next_rung_is_asked() {
    let limited = Arc::new(ScriptedChat::new("limited", vec![vec![Step::Fail(status(429, Some(5)))], vec![Step::delta("yes")]]));
    let began = Instant::now();
    let reply = ladder(vec![vec![&limited]]).chat(request()).await.unwrap();
    assert_eq!(reply.route.deployment, "limited");
    assert!((5..6).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());

    let (limited, other) = (failing("limited", &status(429, Some(3_600))), answering("other"));
    let began = Instant::now();
    let reply = ladder(vec![vec![&limited], vec![&other]]).chat(request()).await.unwrap();
    assert_eq!((reply.route.deployment.as_str(), limited.requests().len()), ("other", 1));
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits for an hour");

    let limited = failing("limited", &status(429, Some(20)));
    let soon = ChatRequest { deadline: Some(Instant::now() + Duration::from_secs(10)), ..request() };
    let began = Instant::now();
    let error = ladder(vec![vec![&limited]]).chat(soon).await.err().unwrap();
    assert_eq!((error.retry_after(), began.elapsed()), (Some(Duration::from_secs(20)), Duration::ZERO), "past the deadline");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_is_never_continued_by_another() {
    let cut = ChatError::Interrupted { reason: "cut".to_owned() };
    let first = Arc::new(ScriptedChat::new("first", vec![vec![Step::delta("one"), Step::Fail(cut.clone())]]));
    let second = answering("second");
    let reply = ladder(vec![vec![&first], vec![&second]]).chat(request()).await.unwrap();
    let heard: Vec<_> = reply.events.collect().await;
    assert_eq!(heard, [Ok(ChatEvent::Delta("one".to_owned())), Err(cut)]);
    assert!(second.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn retries_stop_when_their_budget_is_spent() {
    let broken = failing("broken", &status(500, None));
    let budget = Arc::new(RetryBudget::default());
    let group = Group::new(vec![Member::new("broken", broken.clone(), 1)], Balance::Weighted);
    let retry = RetryParams { backoff: Duration::ZERO, ..RetryParams::default() };
    let ladder = Ladder::new("answers", vec![group], retry, budget);
    for _ in 0..20 {
        ladder.chat(request()).await.err().unwrap();
    }
    let asked = broken.requests().len();
    assert!((30..=34).contains(&asked), "20 calls, 10 retries in hand and a fifth of 20: {asked}");
}

#[tokio::test(start_paused = true)]
async fn calls_are_shared_out_by_weight() {
    let (small, large) = (answering("small"), answering("large"));
    let members = vec![Member::new("small", small.clone(), 1), Member::new("large", large.clone(), 3)];
    let group = Group::new(members, Balance::Weighted);
    let ladder = Ladder::new("answers", vec![group], RetryParams::default(), Arc::default());
    for _ in 0..2_000 {
        ladder.chat(request()).await.unwrap();
    }
    let share = small.requests().len();
    assert!((400..600).contains(&share), "a quarter of 2,000: {share}");
}

#[tokio::test(start_paused = true)]
async fn the_fastest_gets_nearly_all_where_latency_decides() {
    struct Slow(Arc<ScriptedChat>);
    #[async_trait::async_trait]
    impl ChatModel for Slow {
        fn name(&self) -> &str {
            self.0.name()
        }
        async fn chat(&self, request: ChatRequest) -> Result<crate::ChatReply, ChatError> {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.0.chat(request).await
        }
    }
    let (quick, slow) = (answering("quick"), answering("slow"));
    let members = vec![Member::new("slow", Arc::new(Slow(slow.clone())), 1), Member::new("quick", quick.clone(), 1)];
    let ladder = Ladder::new("answers", vec![Group::new(members, Balance::LeastLatency)], RetryParams::default(), Arc::default());
    for _ in 0..1_000 {
        ladder.chat(request()).await.unwrap();
    }
    let share = slow.requests().len();
    assert!((1..80).contains(&share), "one in twenty of 1,000 at random, half of these to it: {share}");
}

#[tokio::test(start_paused = true)]
async fn who_has_a_place_free_is_asked_first_and_where_none_is_a_call_waits() {
    let (small, large) = (answering("small"), answering("large"));
    let limited = |model: &Arc<ScriptedChat>, places| Arc::new(Concurrency::new(model.clone(), places, Duration::from_secs(2)));
    let members = vec![Member::new("small", limited(&small, 1), 1_000), Member::new("large", limited(&large, 2), 1)];
    let group = Group::new(members, Balance::Weighted);
    let ladder = Ladder::new("answers", vec![group], RetryParams::default(), Arc::default());
    let held = [ladder.chat(request()).await.unwrap(), ladder.chat(request()).await.unwrap(), ladder.chat(request()).await.unwrap()];
    assert_eq!((small.requests().len(), large.requests().len()), (1, 2));
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(held);
    });
    ladder.chat(request()).await.unwrap();
    later.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn when_nobody_can_be_asked_it_says_when_somebody_can() {
    let first = failing("first", &status(401, None));
    let ladder = ladder(vec![vec![&first]]);
    assert_eq!(ladder.chat(request()).await.err().unwrap(), status(401, None));
    tokio::time::advance(Duration::from_secs(20)).await;
    let error = ladder.chat(request()).await.err().unwrap();
    assert!(matches!(error, ChatError::Unavailable { .. }));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(40)));
    assert_eq!(ladder.ready_in(), Duration::from_secs(40));
}
