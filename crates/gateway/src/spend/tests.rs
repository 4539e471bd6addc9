//! The ledger and what stands around a deployment, over a scripted one.

use super::*;
use crate::{Account, ChatError, ChatEvent, ChatMessage, ChatModel, ChatRequest, Ladder, Models, ScriptedChat, Shortage, Step, TokenUsage};
use crate::{Balance, Group, Member, RetryBudget, RetryParams, Verdict, counter_for};
use futures::StreamExt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use time::{Duration, OffsetDateTime};

/// A clock that is set by hand.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    /// 2026-01-31T23:00:00Z.
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_769_900_400)))
    }

    fn clock(&self) -> Clock {
        let hands = self.0.clone();
        Arc::new(move || OffsetDateTime::from_unix_timestamp(hands.load(Ordering::Relaxed)).unwrap())
    }

    fn forward(&self, time: Duration) {
        self.0.fetch_add(time.whole_seconds(), Ordering::Relaxed);
    }
}

fn budget(name: &str, limit: Option<u64>, limit_tokens: Option<u64>) -> Budget {
    Budget {
        name: name.into(),
        tenant: None,
        key: None,
        tag: None,
        limit: limit.map(Money::from_nanos),
        limit_tokens,
        period: Period::Month,
        thresholds: vec![0.8],
    }
}

/// One dollar a million tokens, read or written: a thousand billionths a token.
const PRICE: Price = Price { input: 1.0, cached_input: None, output: 1.0, batch_discount: None, searches: None };

fn open(books: &Arc<MemoryBooks>, budgets: Vec<Budget>, hands: &Hands) -> (Arc<Ledger>, Alerts) {
    Ledger::open(books.clone(), budgets, hands.clock()).unwrap()
}

fn ledger(budgets: Vec<Budget>) -> Arc<Ledger> {
    open(&Arc::default(), budgets, &Hands::new()).0
}

fn metered(ledger: &Arc<Ledger>, price: Option<Price>, answers: Vec<Vec<Step>>) -> (Arc<Metered>, Arc<ScriptedChat>) {
    let inner = Arc::new(ScriptedChat::new("m", answers));
    let meter = Meter { deployment: "d".into(), model: "m".into(), price, counter: counter_for("gpt-4o") };
    (Arc::new(Metered::new(inner.clone(), meter, Arc::clone(ledger))), inner)
}

/// Ten tokens to read; `max_tokens` to write.
fn request(max_tokens: Option<u32>) -> ChatRequest {
    let account = Arc::new(Account { key: "k".into(), ..Account::default() });
    ChatRequest { max_tokens, account, ..ChatRequest::new(vec![ChatMessage::user("one two three")]) }
}

const READ: u64 = 10;

async fn total(ledger: &Ledger) -> UsageCounts {
    ledger.flush().await.unwrap();
    let day = Period::Day.label(ledger.now());
    let filter = UsageFilter::default();
    let mut grouping = Grouping::new(&[], &filter, 1);
    let read = ledger.each_usage(&day, None, |key, counts| grouping.add(&day, &key, &counts));
    assert!(read.unwrap().is_continue());
    grouping.grouped().total
}

fn stands(ledger: &Ledger, name: &str) -> BudgetView {
    ledger.budgets(|budget| budget.name == name).pop().unwrap()
}

fn told(prompt_tokens: u64, completion_tokens: u64) -> Step {
    Step::Usage(TokenUsage { prompt_tokens, completion_tokens, ..TokenUsage::default() })
}

#[tokio::test]
async fn an_answer_is_settled_by_the_providers_figures_and_says_its_cost() {
    let ledger = ledger(vec![budget("b", Some(1_000_000), None)]);
    let (model, inner) = metered(&ledger, Some(PRICE), vec![vec![Step::delta("yes"), told(90, 7)]]);
    let mut reply = model.chat(request(Some(50))).await.unwrap();
    let held = stands(&ledger, "b");
    assert_eq!((held.reserved.tokens, held.spent.tokens), (READ + 50, 0));
    let mut events = Vec::new();
    while let Some(event) = reply.events.next().await {
        events.push(event.unwrap());
    }
    let usage =
        TokenUsage { prompt_tokens: 90, completion_tokens: 7, cached_tokens: 0, searches: 0, cost: Some(Money::from_nanos(97_000)) };
    assert_eq!(events[1], ChatEvent::Usage(usage));
    assert!(events.len() == 3 && matches!(events[2], ChatEvent::Done { .. }));
    let view = stands(&ledger, "b");
    assert_eq!(
        (view.reserved, view.spent, view.remaining()),
        (Amount::default(), Amount { money: Money::from_nanos(97_000), tokens: 97 }, Some(Money::from_nanos(903_000)))
    );
    assert_eq!(inner.requests()[0].max_tokens, Some(50));
    let total = total(&ledger).await;
    assert_eq!((total.requests, total.prompt_tokens, total.completion_tokens, total.cost.nanos()), (1, 90, 7, 97_000));
}

#[tokio::test]
async fn without_the_providers_figures_our_own_count_is_booked() {
    for step in [None, Some(told(0, 0))] {
        let ledger = ledger(Vec::new());
        let steps = [Step::delta("one two"), Step::delta(" three")].into_iter().chain(step).collect();
        let (model, inner) = metered(&ledger, Some(PRICE), vec![steps]);
        let events: Vec<_> = model.chat(request(None)).await.unwrap().events.collect().await;
        assert!(matches!(events[2], Ok(ChatEvent::Usage(TokenUsage { prompt_tokens: READ, completion_tokens: 3, .. }))), "{events:?}");
        assert_eq!(total(&ledger).await.cost.nanos(), (READ + 3) * 1_000);
        assert_eq!(inner.requests()[0].max_tokens, None, "nobody needs a limit where there is no budget");
    }
}

#[tokio::test]
async fn whoever_leaves_pays_for_what_was_said_and_at_least_for_the_question() {
    let cut = || Step::Fail(ChatError::Interrupted { reason: "cut".into() });
    let said = || vec![Step::delta("one two"), Step::delta(" three"), cut()];
    let ledger = ledger(vec![budget("b", Some(10_000_000), None)]);
    let (model, _) = metered(&ledger, Some(PRICE), vec![said(), said(), vec![Step::Stall], vec![cut()]]);
    let spent = || stands(&ledger, "b").spent.tokens;
    // The provider breaks off.
    assert!(model.chat(request(None)).await.unwrap().events.collect::<Vec<_>>().await.pop().unwrap().is_err());
    assert_eq!(spent(), READ + 3);
    // The client leaves after the first piece.
    let mut reply = model.chat(request(None)).await.unwrap();
    reply.events.next().await.unwrap().unwrap();
    drop(reply);
    assert_eq!(spent(), READ + 3 + READ + 2);
    // The client leaves before the first token.
    let waiting = model.chat(request(None));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(20), waiting).await.is_err());
    assert_eq!(spent(), READ + 3 + READ + 2 + READ);
    // The provider breaks off before the first token.
    assert!(model.chat(request(None)).await.is_err());
    assert_eq!((spent(), stands(&ledger, "b").reserved), (4 * READ + 5, Amount::default()));
}

#[tokio::test]
async fn what_was_refused_or_never_sent_is_given_back() {
    let ledger = ledger(vec![budget("b", Some(10_000_000), None)]);
    let refused = ChatError::Status { status: 500, retry_after: None, message: String::new() };
    let answers = [refused, ChatError::Connect { reason: String::new() }].map(|error| vec![Step::Fail(error)]);
    let (model, _) = metered(&ledger, Some(PRICE), answers.to_vec());
    for _ in 0..2 {
        assert!(model.chat(request(None)).await.is_err());
    }
    let view = stands(&ledger, "b");
    assert_eq!((view.spent, view.reserved), (Amount::default(), Amount::default()));
    assert_eq!(total(&ledger).await, UsageCounts::default());
}

#[tokio::test]
async fn a_hundred_at_once_with_money_for_three_make_three_calls() {
    let cost = (READ + 90) * 1_000;
    let ledger = ledger(vec![budget("b", Some(3 * cost + 1), None)]);
    let (model, inner) = metered(&ledger, Some(PRICE), vec![vec![Step::delta("a"), Step::Stall]; 100]);
    let calls = (0..100).map(|_| {
        let model = model.clone();
        tokio::spawn(async move { model.chat(request(Some(90))).await })
    });
    let outcomes: Vec<_> = futures::future::join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!((outcomes.iter().filter(|outcome| outcome.is_ok()).count(), inner.requests().len()), (3, 3));
    let refusals = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    for error in refusals {
        assert!(matches!(error, ChatError::OverBudget { shortage: Shortage::Reserved, retry_after: Some(_), .. }), "{error:?}");
        assert_eq!((error.verdict(), error.is_failure(), error.retry_after()), (Verdict::Elsewhere, false, None));
    }
}

#[tokio::test]
async fn a_call_that_a_budget_covers_is_limited_to_what_was_reserved() {
    let ledger = ledger(vec![budget("b", None, Some(5_000))]);
    let (model, inner) = metered(&ledger, None, vec![vec![Step::delta("a")]]);
    drop(model.chat(request(None)).await.unwrap());
    assert_eq!(inner.requests()[0].max_tokens, Some(1024), "tokens need no price");
    assert_eq!(total(&ledger).await.unpriced_requests, 1);
}

#[tokio::test]
async fn without_a_price_no_budget_of_money_can_be_kept() {
    let ledger = ledger(vec![budget("b", Some(u64::MAX), None)]);
    let (model, inner) = metered(&ledger, None, vec![vec![Step::delta("a")]]);
    let error = model.chat(request(None)).await.err().unwrap();
    assert!(matches!(error, ChatError::OverBudget { shortage: Shortage::Unpriced, .. }), "{error:?}");
    assert!(error.to_string().contains("[[llm.deployments]]") && inner.requests().is_empty());
    let free = Price { input: 0.0, output: 0.0, ..PRICE };
    let (model, _) = metered(&ledger, Some(free), vec![vec![Step::delta("a")]]);
    assert!(model.chat(request(None)).await.is_ok(), "free is a price");
}

#[tokio::test]
async fn a_cheaper_rung_fits_where_the_first_does_not() {
    let ledger = ledger(vec![budget("b", Some(100_000), None)]);
    let (dear, dear_inner) = metered(&ledger, Some(PRICE), vec![vec![Step::delta("dear")]]);
    let cheap_price = Price { input: 0.01, output: 0.01, ..PRICE };
    let (cheap, _) = metered(&ledger, Some(cheap_price), vec![vec![Step::delta("cheap")]]);
    let rung = |model: Arc<Metered>| Group::new(vec![Member::new("d", model, 1)], Balance::Weighted);
    let ladder = Ladder::new("l", vec![rung(dear), rung(cheap)], RetryParams::default(), Arc::new(RetryBudget::default()));
    let models = Models::of(Arc::new(ladder));
    let mut reply = models.get(None).unwrap().chat(request(Some(200))).await.unwrap();
    assert_eq!(reply.events.next().await, Some(Ok(ChatEvent::Delta("cheap".into()))));
    assert!(dear_inner.requests().is_empty() && reply.route.rungs_down == 1);
    let error = models.get(None).unwrap().chat(request(Some(100_000_000))).await.err().unwrap();
    assert!(matches!(error, ChatError::OverBudget { shortage: Shortage::Spent, retry_after: None, .. }), "{error:?}");
}

#[tokio::test]
async fn a_new_period_has_its_money_again_and_calls_count_where_they_end() {
    let (books, hands) = (Arc::<MemoryBooks>::default(), Hands::new());
    let (ledger, _alerts) = open(&books, vec![budget("b", None, Some(200))], &hands);
    let (model, _) = metered(&ledger, Some(PRICE), vec![vec![Step::delta("a"), told(60, 60)], vec![Step::delta("a"), told(100, 90)]]);
    model.chat(request(Some(150))).await.unwrap().events.for_each(|_| async {}).await;
    let error = model.chat(request(Some(150))).await.err().unwrap();
    let ChatError::OverBudget { shortage: Shortage::Spent, retry_after: Some(wait), reason } = error else { panic!("{error:?}") };
    assert_eq!(wait.as_secs(), 3600, "tokens come back with the month, in an hour");
    assert!(reason.contains("2026-02-01T00:00:00Z") && !reason.contains("\"b\""), "{reason}");
    hands.forward(Duration::minutes(59));
    // Room for less, which ends in the month after.
    let reply = model.chat(request(Some(60))).await.unwrap();
    hands.forward(Duration::minutes(1));
    assert_eq!(stands(&ledger, "b").spent.tokens, 0);
    reply.events.for_each(|_| async {}).await;
    let view = stands(&ledger, "b");
    assert_eq!((view.spent.tokens, view.reserved.tokens), (190, 0));
    assert_eq!(total(&ledger).await.requests, 1, "the first was on another day");
}

#[tokio::test]
async fn what_a_dead_process_had_reserved_is_spent() {
    let (books, hands) = (Arc::<MemoryBooks>::default(), Hands::new());
    let (ledger, _alerts) = open(&books, vec![budget("b", Some(1_000_000), None)], &hands);
    let (model, _) = metered(&ledger, Some(PRICE), vec![vec![Step::delta("a"), Step::Stall]]);
    let reply = model.chat(request(Some(90))).await.unwrap();
    // A process that is killed settles nothing: what stands in the books now is all that is left of it.
    let left = Arc::new(MemoryBooks::default());
    left.write(&books.read("", None, 99).unwrap().into_iter().map(|(name, value)| (name, Some(value))).collect()).unwrap();
    let (after, _alerts) = open(&left, vec![budget("b", Some(1_000_000), None)], &hands);
    let (view, total) = (stands(&after, "b"), total(&after).await);
    assert_eq!((view.spent, view.reserved), (Amount { money: Money::from_nanos(100_000), tokens: READ + 90 }, Amount::default()));
    assert_eq!((total.requests, total.abandoned, total.cost.nanos()), (1, 1, 100_000));
    after.close();
    let (again, _alerts) = open(&left, vec![budget("b", Some(1_000_000), None)], &hands);
    assert_eq!(stands(&again, "b").spent.tokens, READ + 90, "once");
    drop(reply);
}

#[tokio::test]
async fn what_is_spent_is_known_after_a_restart_and_a_budget_can_be_changed() {
    let (books, hands) = (Arc::<MemoryBooks>::default(), Hands::new());
    let (ledger, mut alerts) = open(&books, Vec::new(), &hands);
    ledger.put_budget(budget("b", Some(100_000), None)).await.unwrap();
    let (model, _) = metered(&ledger, Some(PRICE), vec![vec![Step::delta("a"), told(50, 40)]]);
    model.chat(request(Some(80))).await.unwrap().events.for_each(|_| async {}).await;
    let alert = alerts.0.recv().await.unwrap();
    assert_eq!((alert.budget.as_str(), alert.threshold), ("b", 0.8));
    ledger.close();
    let (ledger, mut alerts) = open(&books, vec![budget("c", None, Some(1))], &hands);
    assert_eq!(stands(&ledger, "b").spent.tokens, 90);
    assert!(matches!(ledger.put_budget(budget("c", None, Some(9))).await, Err(LedgerError::Configured(_))));
    let changed = ledger.put_budget(budget("b", Some(200_000), None)).await.unwrap();
    assert_eq!((changed.spent.tokens, changed.remaining().map(Money::nanos)), (90, Some(110_000)), "what is spent stays spent");
    assert!(alerts.0.try_recv().is_err(), "nobody is told twice");
    ledger.delete_budget("b").await.unwrap();
    assert!(matches!(ledger.delete_budget("b").await, Err(LedgerError::Absent(_))));
    ledger.close();
    assert_eq!(open(&books, Vec::new(), &hands).0.budgets(|_| true).len(), 0);
}

#[tokio::test]
async fn alerts_are_sent_until_they_arrive_and_follow_no_redirect() {
    let (heard, address) =
        listener(&["HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"]);
    let hands = Hands::new();
    let (ledger, alerts) = open(&Arc::default(), vec![budget("b", None, Some(100))], &hands);
    let (model, _) = metered(&ledger, None, vec![vec![Step::delta("a"), told(50, 40)]]);
    model.chat(request(Some(80))).await.unwrap().events.for_each(|_| async {}).await;
    drop((model, ledger));
    alerts.send(Some(&address)).await.unwrap();
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard.iter().all(|text| text.starts_with("POST /hook ") && text.contains("\"spent_tokens\":90")), "{heard:?}");
}

/// Answers one connection with each of these; what was said to it, and its address.
fn listener(answers: &'static [&'static str]) -> (Arc<Mutex<Vec<String>>>, String) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    let heard = Arc::<Mutex<Vec<String>>>::default();
    let told = heard.clone();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut text, mut bytes) = (String::new(), [0; 4096]);
            while !text.ends_with('}') {
                let count = stream.read(&mut bytes).unwrap();
                assert!(count > 0, "{text}");
                text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
            told.lock().unwrap().push(text);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (heard, address)
}

/// What a process that is killed leaves behind: what stands in the books now.
fn left_by_kill(books: &MemoryBooks) -> Arc<MemoryBooks> {
    let left = Arc::new(MemoryBooks::default());
    left.write(&books.read("", None, 99).unwrap().into_iter().map(|(name, value)| (name, Some(value))).collect()).unwrap();
    left
}

/// A hundred tokens, and a price.
fn planned() -> Planned {
    let (account, price) = (Arc::new(Account::default()), Some(PRICE));
    Planned { account, deployment: "d".into(), model: "m".into(), price, prompt_tokens: 60, searches: 0, max_tokens: Some(40) }
}

fn job() -> Job {
    Job { name: "job_a".into(), calls: 7 }
}

fn used(prompt_tokens: u64, completion_tokens: u64) -> TokenUsage {
    TokenUsage { prompt_tokens, completion_tokens, ..TokenUsage::default() }
}

#[tokio::test]
async fn what_is_held_for_a_job_outlives_its_process_and_is_settled_by_who_goes_on() {
    for budgets in [vec![budget("b", Some(1_000_000), None)], Vec::new()] {
        let (books, hands) = (Arc::<MemoryBooks>::default(), Hands::new());
        let reserved = |ledger: &Ledger| ledger.budgets(|_| true).iter().map(|view| view.reserved.tokens).sum::<u64>();
        let held = if budgets.is_empty() { 0 } else { 100 };
        // Killed, and then ended in order, with the job still under way.
        let (ledger, _alerts) = open(&books, budgets.clone(), &hands);
        let first = ledger.reserve_job(planned(), &job()).await.unwrap();
        let books = left_by_kill(&books);
        let (ledger, _alerts) = open(&books, budgets.clone(), &hands);
        assert_eq!((total(&ledger).await, reserved(&ledger)), (UsageCounts::default(), held), "held on");
        drop(ledger.adopt("job_a", planned()).unwrap());
        ledger.close();
        let (ledger, _alerts) = open(&books, budgets, &hands);
        let adopted = ledger.adopt("job_a", planned()).unwrap();
        assert!(ledger.adopt("job_a", planned()).is_none(), "by one");
        adopted.settle_calls(used(30, 10), 6);
        ledger.abandon(|_| true);
        let total = total(&ledger).await;
        assert_eq!((total.requests, total.abandoned, total.cost.nanos(), reserved(&ledger)), (6, 0, 40_000, 0));
        assert!(books.read("open/", None, 9).unwrap().is_empty());
        drop(first);
    }
}

#[tokio::test]
async fn what_is_held_for_a_job_with_which_nobody_goes_on_is_spent() {
    let (books, hands) = (Arc::<MemoryBooks>::default(), Hands::new());
    let (ledger, _alerts) = open(&books, vec![budget("b", Some(1_000_000), None)], &hands);
    drop(ledger.reserve_job(planned(), &job()).await.unwrap());
    ledger.reserve_job(planned(), &Job { name: "job_b".into(), ..job() }).await.unwrap().abandon();
    let of_b = stands(&ledger, "b");
    assert_eq!((of_b.spent.tokens, of_b.reserved.tokens), (100, 100));
    let (ledger, _alerts) = open(&left_by_kill_after_flush(&ledger, &books).await, vec![budget("b", Some(1_000_000), None)], &hands);
    ledger.abandon(|name| name == "another");
    assert_eq!(stands(&ledger, "b").reserved.tokens, 100);
    ledger.abandon(|name| name == "job_a");
    let (view, total) = (stands(&ledger, "b"), total(&ledger).await);
    assert_eq!((view.spent.tokens, view.reserved.tokens), (200, 0));
    assert_eq!((total.requests, total.abandoned, total.cost.nanos()), (14, 14, 200_000));
    assert!(ledger.adopt("job_a", planned()).is_none());
}

async fn left_by_kill_after_flush(ledger: &Ledger, books: &MemoryBooks) -> Arc<MemoryBooks> {
    ledger.flush().await.unwrap();
    left_by_kill(books)
}

#[tokio::test]
async fn what_is_spent_is_booked_whatever_a_budget_has_left() {
    let ledger = ledger(vec![budget("b", Some(1), None)]);
    assert!(ledger.reserve(planned()).await.is_err());
    ledger.book_calls(&planned(), used(30, 10), 3);
    let (view, total) = (stands(&ledger, "b"), total(&ledger).await);
    assert_eq!((view.spent.tokens, total.requests, total.cost.nanos()), (40, 3, 40_000));
}

#[tokio::test]
async fn a_budget_that_is_made_anew_knows_nothing_of_the_calls_of_the_one_before() {
    let (books, hands) = (Arc::<MemoryBooks>::default(), Hands::new());
    let (ledger, _alerts) = open(&books, Vec::new(), &hands);
    let put = |ledger: &Arc<Ledger>| {
        let ledger = Arc::clone(ledger);
        async move { ledger.put_budget(budget("b", None, Some(1_000))).await.unwrap() }
    };
    put(&ledger).await;
    let (of_first, job_of_first) = (ledger.reserve(planned()).await.unwrap(), ledger.reserve_job(planned(), &job()).await.unwrap());
    ledger.delete_budget("b").await.unwrap();
    put(&ledger).await;
    let of_second = ledger.reserve(planned()).await.unwrap();
    of_first.settle(used(50, 50));
    let view = stands(&ledger, "b");
    assert_eq!((view.spent.tokens, view.reserved.tokens), (0, 100));
    assert_eq!(total(&ledger).await.requests, 1, "it was used all the same");
    // The same after a restart.
    drop((of_second, job_of_first));
    ledger.close();
    let (ledger, _alerts) = open(&books, Vec::new(), &hands);
    ledger.adopt("job_a", planned()).unwrap().settle_calls(used(1, 1), 1);
    assert_eq!((stands(&ledger, "b").spent.tokens, stands(&ledger, "b").reserved.tokens), (100, 0), "abandoned by the second");
    let of_second = ledger.reserve(planned()).await.unwrap();
    put(&ledger).await;
    of_second.settle(used(1, 1));
    assert_eq!(stands(&ledger, "b").spent.tokens, 102, "changed is not made anew");
}

/// Thinks aloud, and breaks off.
struct Thinker;

#[async_trait::async_trait]
impl ChatModel for Thinker {
    fn name(&self) -> &'static str {
        "thinker"
    }

    async fn chat(&self, request: ChatRequest) -> Result<crate::ChatReply, ChatError> {
        request.unheard.hear("four");
        request.unheard.hear("five!");
        Err(ChatError::Interrupted { reason: "cut".into() })
    }
}

#[tokio::test]
async fn thoughts_are_paid_for_when_they_are_cut_short() {
    let cut = || vec![Step::delta("one two"), Step::Fail(ChatError::Interrupted { reason: "cut".into() })];
    let booked = async |model: &str, inner: Arc<dyn ChatModel>, effort: Option<&str>| {
        let ledger = ledger(Vec::new());
        let meter = Meter { deployment: "d".into(), model: model.into(), price: Some(PRICE), counter: counter_for("gpt-4o") };
        let mut request = request(Some(500));
        request.passed_on.extend(effort.map(|effort| ("reasoning_effort".to_owned(), effort.into())));
        let unheard = request.unheard.clone();
        if let Ok(reply) = Metered::new(inner, meter, Arc::clone(&ledger)).chat(request).await {
            reply.events.for_each(|_| async {}).await;
        }
        (total(&ledger).await.completion_tokens, unheard.tokens())
    };
    let scripted = |steps| Arc::new(ScriptedChat::new("m", vec![steps]));
    assert_eq!(booked("m", Arc::new(Thinker), None).await, (3, READ + 3), "what was thought aloud, and who asked is told of it");
    assert_eq!(booked("gpt-4o", scripted(cut()), None).await, (2, 0), "what was said");
    assert_eq!(booked("o3", scripted(cut()), None).await, (500, 0), "what may have been thought unheard");
    assert_eq!(booked("gpt-4o", scripted(cut()), Some("high")).await, (500, 0), "thinking was asked for");
    assert_eq!(booked("gpt-5.1", scripted(cut()), Some("none")).await, (2, 0), "thinking was declined");
    assert_eq!(booked("o3", scripted(vec![Step::delta("a"), told(9, 70)]), None).await, (70, 0), "the provider knows");
}

/// Counts what is read from it.
#[derive(Default)]
struct CountedBooks {
    inner: MemoryBooks,
    read: std::sync::atomic::AtomicUsize,
}

impl Books for CountedBooks {
    fn write(&self, changes: &Changes) -> Result<(), BooksError> {
        self.inner.write(changes)
    }

    fn read(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, BooksError> {
        let page = self.inner.read(prefix, after, limit)?;
        self.read.fetch_add(page.len(), Ordering::Relaxed);
        Ok(page)
    }
}

#[tokio::test]
async fn usage_is_read_as_far_as_it_is_wanted_and_old_days_are_removed() {
    let (books, hands) = (Arc::new(CountedBooks::default()), Hands::new());
    let (ledger, _alerts) = Ledger::open(books.clone(), Vec::new(), hands.clock()).unwrap();
    for day in 0..3 {
        for key in 0..1_500 {
            let account = Arc::new(Account { key: format!("{day}-{key}"), ..Account::default() });
            ledger.book_calls(&Planned { account, ..planned() }, used(1, 1), 1);
        }
        hands.forward(Duration::days(1));
    }
    ledger.flush().await.unwrap();
    let (filter, dimensions) = (UsageFilter::default(), [Dimension::Key]);
    let mut grouping = Grouping::new(&dimensions, &filter, 10);
    books.read.store(0, Ordering::Relaxed);
    let read = ledger.each_usage("2026-01-31", None, |key, counts| grouping.add("2026-01-31", &key, &counts)).unwrap();
    assert!(read.is_break() && books.read.load(Ordering::Relaxed) == 1_000, "a page, not the day");
    let count = |day| books.inner.read(&format!("usage/{day}/"), None, 9_999).unwrap().len();
    assert_eq!(ledger.remove_usage_before("2026-02-02").unwrap(), 3_000);
    assert_eq!(["2026-01-31", "2026-02-01", "2026-02-02"].map(count), [0, 0, 1_500]);
    assert_eq!(ledger.remove_usage_before("2026-02-02").unwrap(), 0);
}
