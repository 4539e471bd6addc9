//! The stack without Redis: tiers, lifetimes, loads, removals.

use super::*;
use crate::shelf::{MapShelf, ShelfError, ShelfPair};
use crate::test_keys::{collection, key, tenant};
use std::sync::atomic::AtomicBool;
use tokio::sync::oneshot;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

/// A clock that stands still with tokio's.
fn paused() -> Clock {
    let started = Instant::now();
    Clock::from_fn(move || 1_700_000_000_000 + u64::try_from(started.elapsed().as_millis()).unwrap())
}

async fn over(shelf: &Arc<MapShelf>, clock: Clock) -> Stack {
    Stack::open(StackOptions::default(), clock, Some(Arc::clone(shelf) as Arc<dyn Shelf>), None).await.unwrap()
}

async fn alone() -> Arc<Stack> {
    Arc::new(Stack::open(StackOptions::default(), Clock::system(), None, None).await.unwrap())
}

fn fresh(text: &'static str) -> Result<Fresh, &'static str> {
    Ok(Fresh::keep(text, HOUR))
}

async fn text(stack: &Stack, key: &Key) -> Option<String> {
    stack.get(key).await.map(|entry| String::from_utf8(entry.payload.to_vec()).unwrap())
}

#[tokio::test]
async fn what_is_below_is_brought_up() {
    let shelf = Arc::new(MapShelf::new());
    over(&shelf, Clock::system()).await.put(&key("a"), "x", HOUR).await;
    let after_restart = over(&shelf, Clock::system()).await;
    let tiers = async || {
        let found = after_restart.get_or_load(&key("a"), Policy::Use, async { fresh("anew") }).await.unwrap();
        if let Loaded::Found(_, tier) = found { Some(tier) } else { None }
    };
    assert_eq!(tiers().await, Some(TierName::Store));
    assert_eq!(tiers().await, Some(TierName::Memory));
    let statistics = after_restart.statistics().await;
    let [memory, store] = statistics.tiers.as_slice() else { panic!("{statistics:?}") };
    assert_eq!((memory.hits, memory.misses, memory.puts, memory.entries), (1, 1, 1, Some(1)));
    assert_eq!((store.hits, store.misses, store.puts, store.entries), (1, 0, 0, Some(1)));
    assert_eq!(statistics.loads, 0);
    let page = after_restart.entries(TierName::Memory, &Prefix::of_tenant(&tenant("acme")), None, 10).await.unwrap();
    assert_eq!((page.entries[0].hits, page.entries[0].kind.as_str()), (Some(1), "answer"));
}

#[tokio::test(start_paused = true)]
async fn lifetimes_end_in_every_tier_and_are_not_prolonged_below() {
    let (shelf, clock) = (Arc::new(MapShelf::new()), paused());
    let stack = over(&shelf, clock.clone()).await;
    stack.put(&key("a"), "x", Duration::from_secs(10)).await;
    tokio::time::advance(Duration::from_secs(6)).await;
    let other = over(&shelf, clock.clone()).await;
    assert!(text(&other, &key("a")).await.is_some(), "brought up with four seconds left");
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(text(&other, &key("a")).await.is_some());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(text(&other, &key("a")).await, None);
    assert_eq!(text(&stack, &key("a")).await, None);
    let month = Duration::from_secs(40 * 24 * 3600);
    stack.put(&key("b"), "x", month).await;
    assert_eq!(stack.get(&key("b")).await.unwrap().left(clock.now_ms()), Some(StackOptions::default().lifetime_max));
}

#[tokio::test]
async fn what_is_too_large_or_has_no_lifetime_is_not_kept() {
    let options = StackOptions { value_bytes: 100, ..StackOptions::default() };
    let stack = Stack::open(options, Clock::system(), None, None).await.unwrap();
    assert!(stack.put(&key("a"), vec![0; 100], HOUR).await);
    assert!(!stack.put(&key("b"), vec![0; 101], HOUR).await);
    assert!(!stack.put(&key("c"), "x", Duration::ZERO).await);
    assert!(stack.get(&key("b")).await.is_none() && stack.get(&key("c")).await.is_none());
    assert_eq!(stack.statistics().await.too_large, 1);
    let large = stack.get_or_load(&key("d"), Policy::Use, async { Ok::<_, ()>(Fresh::keep(vec![0; 101], HOUR)) }).await.unwrap();
    assert_eq!(large.entry().payload.len(), 101, "but served");
}

#[tokio::test]
async fn policies_do_what_they_say() {
    let stack = alone().await;
    let ask = async |policy, text| stack.get_or_load(&key("a"), policy, async { fresh(text) }).await.unwrap().entry().payload.clone();
    assert_eq!(ask(Policy::Bypass, "1").await, "1");
    assert_eq!(text(&stack, &key("a")).await, None);
    assert_eq!(ask(Policy::Use, "2").await, "2");
    assert_eq!(ask(Policy::Use, "3").await, "2");
    assert_eq!(ask(Policy::Bypass, "4").await, "4");
    assert_eq!(ask(Policy::Use, "5").await, "2");
    assert_eq!(ask(Policy::Refresh, "6").await, "6");
    assert_eq!(ask(Policy::Use, "7").await, "6");
    assert_eq!(stack.statistics().await.loads, 4);
}

#[tokio::test]
async fn many_get_what_was_put() {
    let stack = alone().await;
    stack.put(&key("a"), "1", HOUR).await;
    stack.put(&key("c"), "3", HOUR).await;
    let found = stack.get_many(&[key("a"), key("b"), key("c")]).await;
    let texts: Vec<Option<Bytes>> = found.into_iter().map(|entry| entry.map(|entry| entry.payload)).collect();
    assert_eq!(texts, [Some("1".into()), None, Some("3".into())]);
}

type Load = Result<Fresh, &'static str>;

/// Requests for one key whose loads end when they are told to.
struct Gate {
    stack: Arc<Stack>,
    asks: Vec<tokio::task::JoinHandle<Result<Loaded, &'static str>>>,
    ends: Vec<Option<oneshot::Sender<Load>>>,
    /// The requests that began to load, in this order. Which one leads after a failure is left to chance.
    begun: Arc<Mutex<Vec<usize>>>,
}

impl Gate {
    async fn with_asks(asks: usize) -> Self {
        let mut gate = Self { stack: alone().await, asks: Vec::new(), ends: Vec::new(), begun: Arc::default() };
        (0..asks).for_each(|_| gate.ask());
        gate.settle().await;
        gate
    }

    fn ask(&mut self) {
        let (sender, receiver) = oneshot::channel();
        let (stack, begun, me) = (Arc::clone(&self.stack), Arc::clone(&self.begun), self.asks.len());
        let load = async move {
            begun.lock().unwrap().push(me);
            receiver.await.unwrap_or(Err("the sender is gone"))
        };
        self.asks.push(tokio::spawn(async move { stack.get_or_load(&key("a"), Policy::Use, load).await }));
        self.ends.push(Some(sender));
    }

    /// Lets all tasks run until they wait.
    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    fn begun(&self) -> Vec<usize> {
        self.begun.lock().unwrap().clone()
    }

    /// Ends the load of the request that began last, and says which it is.
    async fn end_last(&mut self, load: Load) -> usize {
        let last = *self.begun().last().unwrap();
        self.ends[last].take().unwrap().send(load).unwrap();
        self.settle().await;
        last
    }

    /// What all requests but these got.
    async fn all_but(self, others: &[usize]) -> Vec<Result<Loaded, &'static str>> {
        let mut results = Vec::new();
        for (at, ask) in self.asks.into_iter().enumerate() {
            let result = ask.await;
            if !others.contains(&at) {
                results.push(result.unwrap());
            }
        }
        results
    }
}

fn payload<'l>(loaded: &'l Result<Loaded, &'static str>) -> &'l Bytes {
    &loaded.as_ref().unwrap().entry().payload
}

#[tokio::test]
async fn one_loads_for_all() {
    let mut gate = Gate::with_asks(50).await;
    let stack = Arc::clone(&gate.stack);
    assert_eq!(stack.statistics().await.loading, 1);
    let leader = gate.end_last(fresh("once")).await;
    assert_eq!(gate.begun(), [leader]);
    for loaded in gate.all_but(&[leader]).await {
        assert_eq!(payload(&loaded), "once");
        assert!(matches!(loaded, Ok(Loaded::Joined(_))));
    }
    let statistics = stack.statistics().await;
    assert_eq!((statistics.loads, statistics.joined, statistics.loading), (1, 49, 0));
}

#[tokio::test]
async fn a_failure_is_the_loaders_own_and_the_others_go_on() {
    let mut gate = Gate::with_asks(5).await;
    let stack = Arc::clone(&gate.stack);
    let failed = gate.end_last(Err("no luck")).await;
    assert_eq!(gate.begun().len(), 2, "one of the others leads");
    gate.end_last(fresh("second")).await;
    assert!(gate.all_but(&[failed]).await.iter().all(|loaded| payload(loaded) == "second"));
    let statistics = stack.statistics().await;
    assert_eq!((statistics.loads, statistics.loads_failed), (2, 1));
}

#[tokio::test]
async fn nobody_waits_for_two_failures() {
    let mut gate = Gate::with_asks(20).await;
    let first = gate.end_last(Err("no luck")).await;
    assert_eq!(gate.begun().len(), 2);
    let second = gate.end_last(Err("no luck again")).await;
    assert_eq!(gate.begun().len(), 20, "now each for itself");
    gate.ends.iter_mut().filter_map(Option::take).for_each(|end| end.send(fresh("own")).unwrap());
    assert!(gate.all_but(&[first, second]).await.iter().all(|loaded| payload(loaded) == "own"));
}

#[tokio::test]
async fn a_dropped_leader_leaves_its_place() {
    let mut gate = Gate::with_asks(5).await;
    let stack = Arc::clone(&gate.stack);
    let mut dropped = Vec::new();
    // More often than failures are waited for: being given up is no failure.
    for _ in 0..3 {
        let leader = *gate.begun().last().unwrap();
        gate.asks[leader].abort();
        gate.settle().await;
        dropped.push(leader);
    }
    gate.end_last(fresh("at last")).await;
    let results = gate.all_but(&dropped).await;
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|loaded| payload(loaded) == "at last"));
    assert_eq!(stack.statistics().await.loading, 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_another_beyond_its_own_time() {
    let mut gate = Gate::with_asks(1).await;
    let (stack, began) = (Arc::clone(&gate.stack), Instant::now());
    let until = began + Duration::from_secs(5);
    let loaded = stack.join_or_load(&key("a"), stack.moment(), until, async { fresh("own") }).await;
    assert_eq!((payload(&loaded).as_ref(), began.elapsed()), (b"own".as_slice(), Duration::from_secs(5)));
    gate.end_last(fresh("late")).await;
    assert!(gate.all_but(&[]).await[0].is_ok());
}

#[tokio::test]
async fn a_value_for_one_request_is_neither_kept_nor_shared() {
    let mut gate = Gate::with_asks(2).await;
    let first = gate.end_last(Ok(Fresh::pass("degraded"))).await;
    let second = gate.end_last(fresh("whole")).await;
    assert_ne!(first, second);
    let results = gate.all_but(&[]).await;
    assert_eq!((payload(&results[first]).as_ref(), payload(&results[second]).as_ref()), (b"degraded".as_slice(), b"whole".as_slice()));
}

#[tokio::test]
async fn what_rests_on_something_that_was_removed_is_not_kept_though_it_was_loaded_later() {
    let stack = alone().await;
    let since = stack.moment();
    stack.invalidate(&Prefix::of_tenant(&tenant("acme"))).await;
    stack.join_or_load(&key("a"), since, Instant::now() + HOUR, async { fresh("x") }).await.unwrap();
    assert_eq!(text(&stack, &key("a")).await, None);
    stack.reload(&key("a"), since, async { fresh("x") }).await.unwrap();
    assert_eq!(text(&stack, &key("a")).await, None);
    stack.reload(&key("a"), stack.moment(), async { fresh("x") }).await.unwrap();
    assert_eq!(text(&stack, &key("a")).await.as_deref(), Some("x"));
}

#[tokio::test]
async fn what_is_removed_while_it_loads_is_served_once_and_not_kept() {
    let mut gate = Gate::with_asks(2).await;
    let stack = Arc::clone(&gate.stack);
    stack.invalidate(&Prefix::of_collection(&tenant("acme"), &collection(1))).await;
    let first = gate.end_last(fresh("from old data")).await;
    assert_eq!(text(&stack, &key("a")).await, None);
    let second = gate.end_last(fresh("from new data")).await;
    let results = gate.all_but(&[]).await;
    assert_eq!(
        (payload(&results[first]).as_ref(), payload(&results[second]).as_ref()),
        (b"from old data".as_slice(), b"from new data".as_slice())
    );
    assert_eq!(text(&stack, &key("a")).await.as_deref(), Some("from new data"));
    assert_eq!(stack.statistics().await.outdated, 1);
}

#[tokio::test]
async fn a_panic_in_a_load_strands_nobody() {
    let stack = alone().await;
    let panicking = tokio::spawn({
        let stack = Arc::clone(&stack);
        async move { stack.get_or_load::<()>(&key("a"), Policy::Use, async { panic!("in the loader") }).await }
    });
    assert!(panicking.await.unwrap_err().is_panic());
    assert_eq!(stack.get_or_load(&key("a"), Policy::Use, async { fresh("next") }).await.unwrap().entry().payload, "next");
}

/// A shelf that can fail.
#[derive(Default)]
struct Failing {
    shelf: MapShelf,
    fails: AtomicBool,
}

impl Failing {
    fn call(&self) -> Result<&MapShelf, ShelfError> {
        if self.fails.load(Relaxed) { Err(ShelfError("no such luck".into())) } else { Ok(&self.shelf) }
    }
}

impl Shelf for Failing {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ShelfError> {
        self.call()?.get(key)
    }
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), ShelfError> {
        self.call()?.put(key, value)
    }
    fn delete(&self, key: &[u8]) -> Result<(), ShelfError> {
        self.call()?.delete(key)
    }
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<ShelfPair>, ShelfError> {
        self.call()?.scan(prefix, after, limit)
    }
}

#[tokio::test]
async fn a_store_that_fails_fails_no_request_but_says_so_of_removals() {
    let shelf = Arc::new(Failing::default());
    let stack = Stack::open(StackOptions::default(), Clock::system(), Some(Arc::clone(&shelf) as Arc<dyn Shelf>), None).await.unwrap();
    stack.put(&key("before"), "x", HOUR).await;
    shelf.fails.store(true, Relaxed);
    assert!(stack.put(&key("a"), "x", HOUR).await);
    assert_eq!(text(&stack, &key("a")).await.as_deref(), Some("x"));
    assert_eq!(text(&stack, &key("b")).await, None);
    let removals = stack.invalidate(&Prefix::of_tenant(&tenant("acme"))).await;
    assert_eq!((removals.entries, removals.failed.as_slice()), (2, [TierName::Store].as_slice()));
    let statistics = stack.statistics().await;
    assert_eq!(statistics.tiers[1].errors, 3, "{statistics:?}");
    assert_eq!(stack.entries(TierName::Store, &Prefix::of_tenant(&tenant("acme")), None, 10).await, None);
    shelf.fails.store(false, Relaxed);
    assert_eq!(text(&stack, &key("before")).await.as_deref(), Some("x"), "which is why the caller is told");
    assert!(Stack::open(StackOptions::default(), Clock::system(), Some(shelf), None).await.is_ok());
}
