//! Each behaviour around a scripted deployment, on a paused clock.

use super::*;
use crate::{ChatError, ChatEvent, ChatMessage, ChatModel, ChatReply, ChatRequest, ScriptedChat, Stage, Step};
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, advance};

fn request() -> ChatRequest {
    ChatRequest::new(vec![ChatMessage::user("hello?")])
}

fn status(status: u16, retry_after_s: Option<u64>) -> ChatError {
    ChatError::Status { status, retry_after: retry_after_s.map(Duration::from_secs), message: "no".to_owned() }
}

fn scripted(answers: Vec<Vec<Step>>) -> Arc<ScriptedChat> {
    Arc::new(ScriptedChat::new("scripted", answers))
}

fn fails(error: &ChatError, times: usize) -> Vec<Vec<Step>> {
    vec![vec![Step::Fail(error.clone())]; times]
}

async fn hear(reply: Result<ChatReply, ChatError>) -> Result<Vec<Result<ChatEvent, ChatError>>, ChatError> {
    Ok(reply?.events.collect().await)
}

#[tokio::test(start_paused = true)]
async fn a_breaker_counts_streams_by_their_end_and_not_what_clients_break_off() {
    let cut = ChatError::Interrupted { reason: "cut".to_owned() };
    let mut answers = vec![vec![Step::delta("a"), Step::delta("b")]; 10];
    answers.extend(vec![vec![Step::delta("a"), Step::Fail(cut)]; 5]);
    let inner = scripted(answers);
    let breaker = Breaker::new(inner.clone(), BreakerParams::default());
    for _ in 0..10 {
        let mut reply = breaker.chat(request()).await.unwrap();
        reply.events.next().await.unwrap().unwrap();
        // The rest is not heard.
    }
    assert_eq!(breaker.state(), BreakerState::Closed, "the client broke these off");
    for _ in 0..5 {
        assert!(hear(breaker.chat(request()).await).await.unwrap().last().unwrap().is_err());
    }
    assert_eq!(breaker.state(), BreakerState::Open, "these broke off themselves");
    let refused = breaker.chat(request()).await.err().unwrap();
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(10)));
    assert_eq!(inner.requests().len(), 15, "nobody is asked while it is open");
    assert!(!breaker.ready_in().is_zero());
}

#[tokio::test(start_paused = true)]
async fn a_breaker_does_not_count_refusals_of_the_request_and_lets_one_probe_through() {
    let mut answers = fails(&status(400, None), 10);
    answers.extend(fails(&status(429, None), 10));
    answers.extend(fails(&status(500, None), 5));
    answers.push(vec![Step::delta("a"), Step::Stall]);
    answers.push(vec![Step::delta("a")]);
    let inner = scripted(answers);
    let breaker = Breaker::new(inner.clone(), BreakerParams::default());
    for _ in 0..20 {
        breaker.chat(request()).await.err().unwrap();
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
    for _ in 0..5 {
        breaker.chat(request()).await.err().unwrap();
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    advance(Duration::from_secs(10)).await;
    let probe = breaker.chat(request()).await.unwrap();
    assert!(breaker.chat(request()).await.is_err(), "the probe is under way");
    drop(probe);
    assert_eq!(hear(breaker.chat(request()).await).await.unwrap().len(), 2, "the client left, so there may be another");
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_before_its_first_token_is_not_counted() {
    let inner = scripted(vec![vec![Step::Stall]; 30]);
    let breaker = Breaker::new(inner.clone(), BreakerParams::default());
    for _ in 0..30 {
        let call = tokio::time::timeout(Duration::from_millis(10), breaker.chat(request()));
        assert!(call.await.is_err());
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_rest_lasts_as_long_as_was_asked_for() {
    let mut answers = fails(&status(429, Some(7)), 1);
    answers.extend(fails(&status(401, None), 1));
    answers.push(vec![Step::delta("a")]);
    let inner = scripted(answers);
    let rest = Rest::new(inner.clone());
    for wait_s in [7, 60] {
        rest.chat(request()).await.err().unwrap();
        assert_eq!(rest.ready_in(), Duration::from_secs(wait_s));
        advance(Duration::from_secs(wait_s) - Duration::from_millis(1)).await;
        let refused = rest.chat(request()).await.err().unwrap();
        assert_eq!(refused.retry_after(), Some(Duration::from_millis(1)), "{refused}");
        advance(Duration::from_millis(1)).await;
    }
    assert_eq!(hear(rest.chat(request()).await).await.unwrap().len(), 2);
    assert_eq!(inner.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_rest_is_not_shortened_by_a_call_that_was_under_way() {
    struct Late(Arc<ScriptedChat>);
    #[async_trait::async_trait]
    impl ChatModel for Late {
        fn name(&self) -> &str {
            self.0.name()
        }
        async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.0.chat(request).await
        }
    }
    let answers = [fails(&status(401, None), 1), fails(&status(429, Some(2)), 1), fails(&status(429, Some(90)), 1)].concat();
    let rest = Rest::new(Arc::new(Late(scripted(answers))));
    let (first, second) = tokio::join!(rest.chat(request()), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        rest.chat(request()).await
    });
    assert!(first.is_err() && second.is_err());
    assert_eq!(rest.ready_in(), Duration::from_secs(60) - Duration::from_millis(100), "as the first one had it");
    advance(Duration::from_secs(60)).await;
    rest.chat(request()).await.err().unwrap();
    assert_eq!(rest.ready_in(), Duration::from_secs(90), "a longer one counts");
}

#[tokio::test(start_paused = true)]
async fn rates_hold_over_any_minute_and_say_when_to_come_again() {
    let inner = scripted(vec![vec![Step::delta("a")]; 200]);
    let params = RateParams { requests_per_minute: Some(60), tokens_per_minute: None };
    let rate = Rate::new(inner.clone(), params);
    for _ in 0..60 {
        rate.chat(request()).await.unwrap();
    }
    let refused = rate.chat(request()).await.err().unwrap();
    assert_eq!(refused.retry_after(), Some(Duration::from_secs(1)));
    advance(Duration::from_secs(30)).await;
    let granted = futures::stream::iter(0..60).filter(|_| async { rate.chat(request()).await.is_ok() }).count().await;
    assert_eq!(granted, 30);
}

#[tokio::test(start_paused = true)]
async fn tokens_count_with_those_that_may_be_answered() {
    let inner = scripted(vec![vec![Step::delta("a")]; 20]);
    let rate = Rate::new(inner, RateParams { requests_per_minute: None, tokens_per_minute: Some(1_000) });
    let asking = |max_tokens| ChatRequest { max_tokens: Some(max_tokens), ..request() };
    rate.chat(asking(900)).await.unwrap();
    assert!(rate.chat(asking(900)).await.is_err());
    rate.chat(asking(50)).await.unwrap();
    advance(Duration::from_secs(60)).await;
    rate.chat(asking(100_000)).await.unwrap();
    assert!(rate.chat(asking(1)).await.is_err(), "more than a minute's tokens are granted, but only to an empty window");
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_than_places_and_streams_hold_theirs() {
    let inner = scripted(vec![vec![Step::delta("a")]; 3]);
    let limit = Arc::new(Concurrency::new(inner.clone(), 2, Duration::from_secs(1)));
    let first = limit.chat(request()).await.unwrap();
    let _second = limit.chat(request()).await.unwrap();
    assert!(limit.is_full());
    let began = Instant::now();
    assert!(matches!(limit.chat(request()).await, Err(ChatError::Unavailable { .. })));
    assert_eq!(began.elapsed(), Duration::from_secs(1), "the patience");
    let waiting = tokio::spawn({
        let limit = Arc::clone(&limit);
        async move { limit.chat(request()).await.is_ok() }
    });
    tokio::task::yield_now().await;
    drop(first);
    assert!(waiting.await.unwrap(), "a place became free");
    assert_eq!(inner.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_waiting_before_and_in_the_middle_of_an_answer() {
    let late = ChatError::Timeout { stage: Stage::Total, limit: Duration::from_secs(30) };
    let inner = scripted(vec![vec![Step::Stall], vec![Step::delta("a"), Step::Stall]]);
    let deadline = Deadline::new(inner, Duration::from_secs(30));
    assert_eq!(hear(deadline.chat(request()).await).await, Err(late.clone()));
    let heard = hear(deadline.chat(request()).await).await.unwrap();
    assert_eq!(heard, [Ok(ChatEvent::Delta("a".to_owned())), Err(late)]);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_asks_again_only_where_the_first_is_slow_and_survives_one_failure() {
    let inner = scripted(vec![
        vec![Step::delta("quick")],
        vec![Step::Stall],
        vec![Step::delta("second")],
        vec![Step::Stall],
        vec![Step::Fail(status(500, None))],
    ]);
    let hedge = Hedge::new(inner.clone(), Duration::from_secs(2));
    let first_word = |heard: Vec<Result<ChatEvent, ChatError>>| heard.into_iter().next().unwrap().unwrap();
    assert_eq!(first_word(hear(hedge.chat(request()).await).await.unwrap()), ChatEvent::Delta("quick".to_owned()));
    assert_eq!(inner.requests().len(), 1);
    assert_eq!(first_word(hear(hedge.chat(request()).await).await.unwrap()), ChatEvent::Delta("second".to_owned()));
    assert_eq!(inner.requests().len(), 3);
    let never = tokio::time::timeout(Duration::from_secs(60), hedge.chat(request())).await;
    assert!(never.is_err(), "the second failed, the first may still answer");
}
