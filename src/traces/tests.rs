//! The store by itself: bounds, what leads to what, and what of a deleted document is never written.

use super::record::tests::draft;
use super::*;
use crate::config::{SessionsConfig, TextKept};
use corpus::{CollectionId, DocumentId, EmbeddingModel, Metadata, Precision, TenantId};
use index::blobs::Blobs;
use index::records::Chunking;
use index::shelf::Shelves;
use index::store::MemoryStore;
use index::{Catalog, CatalogParams, NewCollection};
use query::Turn;
use std::collections::BTreeSet;
use tempfile::TempDir;

struct Fixture {
    folder: TempDir,
    catalog: Arc<Catalog>,
    collection: CollectionId,
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let params = CatalogParams { views: folder.path().join("views"), vector: Default::default(), collections_open_max: 2 };
        let blobs = Blobs::open(folder.path().join("blobs")).unwrap();
        let catalog = Arc::new(Catalog::new(Arc::new(MemoryStore::default()), blobs, params));
        let model = EmbeddingModel {
            name: "m".into(),
            revision: "1".into(),
            dimension: 2,
            max_tokens: 8,
            languages: vec![],
            precision: Precision::F32,
        };
        let chunking = Chunking { strategy: "auto".into(), max_tokens: 8, overlap_tokens: 0 };
        let new = NewCollection { name: "notes".into(), model, chunking, metadata: Metadata::default() };
        let collection = catalog.create_collection(&TenantId::default(), new, None).unwrap().id;
        Self { folder, catalog, collection }
    }

    fn shelves(&self) -> Shelves {
        Shelves::open(&self.folder.path().join("traces"), 1 << 20).unwrap()
    }

    fn store(&self, retention: Duration, bytes_max: u64) -> TraceStore {
        TraceStore::open(&self.shelves(), Arc::clone(&self.catalog), retention, bytes_max).unwrap()
    }

    fn trace(&self, question: &str) -> Trace {
        let redact: Redact = Arc::new(|text: &str| Cow::Borrowed(text));
        let draft = Draft { collection: self.collection.clone(), ..draft(question) };
        render(draft, TextKept::Full, &redact)
    }
}

const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

fn questions(store: &TraceStore) -> Vec<String> {
    let (listed, next) = store.list(&TenantId::default(), None, 1000, |_| true).unwrap();
    assert_eq!(next, None);
    listed.into_iter().filter_map(|listed| listed.head.question).collect()
}

#[test]
fn the_oldest_go_where_there_are_too_many_bytes_and_after_their_time() {
    let fixture = Fixture::new();
    let all = fixture.store(YEAR, u64::MAX);
    all.put(fixture.trace("0000")).unwrap();
    let one = all.bytes();
    assert!(one > serde_json::to_vec(&fixture.trace("0000")).unwrap().len() as u64, "what leads to it counts");
    all.remove(&TenantId::default(), &all.list(&TenantId::default(), None, 1, |_| true).unwrap().0[0].head.trace_id, |_| true).unwrap();
    assert_eq!(all.bytes(), 0);
    drop(all);
    let store = fixture.store(YEAR, 10 * one);
    let traces: Vec<Trace> = (0..25).map(|n| fixture.trace(&format!("{n:04}"))).collect();
    traces.iter().for_each(|trace| store.put(trace.clone()).unwrap());
    let expected: Vec<String> = (15..25).rev().map(|n| format!("{n:04}")).collect();
    assert_eq!(questions(&store), expected);
    let get = |store: &TraceStore, n: usize| store.get(&TenantId::default(), &traces[n].head.trace_id, |_| true).unwrap();
    assert_eq!((get(&store, 14), get(&store, 15)), (None, Some(traces[15].clone())));
    drop(store);
    // The bytes are counted anew.
    let store = fixture.store(YEAR, 10 * one);
    store.put(fixture.trace("0025")).unwrap();
    assert_eq!(questions(&store).len(), 10);
    drop(store);
    let store = fixture.store(Duration::ZERO, 10 * one);
    store.keep_house().unwrap();
    assert_eq!((questions(&store), store.left(&TenantId::default(), &fixture.collection).unwrap()), (Vec::new(), 0));
}

#[test]
fn nothing_is_written_of_what_is_not_there() {
    let fixture = Fixture::new();
    let store = fixture.store(YEAR, u64::MAX);
    let gone = Trace { documents: BTreeSet::from([DocumentId::generate()]), ..fixture.trace("of a document") };
    store.put(gone).unwrap();
    let mut elsewhere = fixture.trace("of a collection");
    elsewhere.head.collection = CollectionId::generate();
    store.put(elsewhere).unwrap();
    store.put(fixture.trace("stays")).unwrap();
    assert_eq!(questions(&store), ["stays"]);
    fixture.catalog.delete_collection(&TenantId::default(), &fixture.collection).unwrap();
    assert_eq!(store.left(&TenantId::default(), &fixture.collection).unwrap(), 1);
    assert_eq!(store.purge(&TenantId::default(), &fixture.collection).unwrap(), 1);
    assert_eq!(store.left(&TenantId::default(), &fixture.collection).unwrap(), 0);
}

#[test]
fn several_requests_may_share_one_trace_id() {
    let fixture = Fixture::new();
    let store = fixture.store(YEAR, u64::MAX);
    let first = fixture.trace("first");
    let mut second = fixture.trace("second");
    second.head.trace_id = first.head.trace_id.clone();
    second.head.asker.key = "other".into();
    store.put(first.clone()).unwrap();
    store.put(second).unwrap();
    let tenant = TenantId::default();
    let seen = |key: &'static str| store.get(&tenant, &first.head.trace_id, |trace| trace.head.asker.key == key).unwrap();
    assert_eq!(
        (seen("k").unwrap().head.question.as_deref(), seen("other").unwrap().head.question.as_deref()),
        (Some("first"), Some("second"))
    );
    assert_eq!(store.remove(&tenant, &first.head.trace_id, |head| head.asker.key == "k").unwrap(), 1);
    assert_eq!(questions(&store), ["second"]);
    // However many newer ones there are of somebody else.
    for n in 0..600 {
        let mut one = fixture.trace("flood");
        one.head.trace_id = first.head.trace_id.clone();
        one.head.asker.key = if n < 300 { "k" } else { "flood" }.into();
        store.put(one).unwrap();
    }
    assert_eq!(seen("other").unwrap().head.question.as_deref(), Some("second"));
    assert_eq!(store.remove(&tenant, &first.head.trace_id, |head| head.asker.key == "k").unwrap(), 300);
    assert_eq!((seen("k"), seen("other").is_some()), (None, true));
}

#[test]
fn a_record_that_can_not_be_read_goes_with_all_that_leads_to_it() {
    let fixture = Fixture::new();
    let (tenant, store) = (TenantId::default(), fixture.store(YEAR, u64::MAX));
    store.put(fixture.trace("stays")).unwrap();
    let bytes = store.bytes();
    let of_another_version = |record: Vec<u8>| String::from_utf8(record).unwrap().replace("\"query\"", "\"dream\"").into_bytes();
    for damage in [&of_another_version as &dyn Fn(Vec<u8>) -> Vec<u8>, &|record| record[..record.len() / 2].to_vec()] {
        let trace = fixture.trace("goes");
        store.put(trace.clone()).unwrap();
        store.damage_newest(damage);
        assert_eq!(store.get(&tenant, &trace.head.trace_id, |_| true).unwrap(), None);
        store.remove_newest();
        assert_eq!(questions(&store), ["stays"], "no head is left");
        assert!(store.bytes().abs_diff(bytes) < 1000, "{} and {bytes}", store.bytes());
    }
    assert_eq!(store.keys(), 4);
}

#[test]
fn a_session_stays_within_its_tokens_and_is_redacted() {
    let fixture = Fixture::new();
    let shelves = fixture.shelves();
    let store = Arc::new(TraceStore::open(&shelves, Arc::clone(&fixture.catalog), YEAR, u64::MAX).unwrap());
    let redact: Redact = Arc::new(|text: &str| Cow::Owned(text.replace("ann@example.org", "[email]")));
    let config = SessionsConfig { tokens_max: 100, ..SessionsConfig::default() };
    let sessions = Sessions::open(config, &shelves, store, redact).unwrap();
    let turn = |question: String, answer: String| NewTurn {
        session: "talk".into(),
        tenant: TenantId::default(),
        asker: draft("").asker,
        collection: fixture.collection.clone(),
        trace: TraceId::generate(),
        turn: Turn { question, rewritten: None, answer, abstained: false },
        documents: BTreeSet::new(),
        leans_on: BTreeSet::new(),
    };
    let say = |question: String, answer: String| {
        sessions.append(turn(question, answer)).unwrap();
        sessions.get(&TenantId::default(), "k", "talk").unwrap().unwrap()
    };
    for n in 0..50 {
        let session = say(format!("Who is ann@example.org, number {n}?"), "She keeps the lighthouse at the end of the pier.".into());
        let said: Vec<&Turn> = session.turns.iter().map(|kept| &kept.turn).collect();
        let tokens: u64 = said.iter().map(|turn| gateway::estimate_tokens(&turn.question) + gateway::estimate_tokens(&turn.answer)).sum();
        assert!(tokens <= 100 && !said.is_empty(), "{tokens}");
        assert_eq!(said.last().unwrap().question, format!("Who is [email], number {n}?"));
    }
    let long = say("Why?".into(), "Because the weather is thick. ".repeat(1000));
    let last = long.turns.last().unwrap();
    assert_eq!(last.turn.question, "Why?", "the last turn stays, cut");
    assert!(!last.turn.answer.is_empty() && last.turn.answer.len() < 1000, "{}", last.turn.answer.len());
    // A turn without sources either is not written of a collection that is gone.
    fixture.catalog.delete_collection(&TenantId::default(), &fixture.collection).unwrap();
    assert_eq!(sessions.purge(&TenantId::default(), &fixture.collection).unwrap(), long.turns.len() as u64);
    sessions.append(turn("Is anybody there?".into(), String::new())).unwrap();
    assert_eq!(sessions.get(&TenantId::default(), "k", "talk").unwrap(), None);
}

#[test]
fn a_full_queue_never_makes_a_request_wait() {
    let fixture = Fixture::new();
    let store = Arc::new(fixture.store(YEAR, u64::MAX));
    let config = TracesConfig { queue_max: 2, ..TracesConfig::default() };
    // A writer that is stuck in its first trace.
    let (go, stuck) = std::sync::mpsc::channel::<()>();
    let stuck = std::sync::Mutex::new(stuck);
    let redact: Redact = Arc::new(move |text: &str| {
        _ = stuck.lock().unwrap().recv();
        Cow::Borrowed(text)
    });
    let traces = Traces::start(config, Arc::clone(&store), redact).unwrap();
    for n in 0..1000 {
        traces.keep(Draft { collection: fixture.collection.clone(), ..draft(&n.to_string()) });
    }
    drop(go);
    let written = questions(traces.settled()).len();
    assert!((1..=3).contains(&written), "{written}");
}

#[test]
fn a_share_of_the_ids_is_kept_and_always_the_same() {
    let ids: Vec<TraceId> = (0..4000).map(|_| TraceId::generate()).collect();
    for share in [0.0, 0.1, 0.5, 1.0] {
        let kept = ids.iter().filter(|id| is_sampled(id, share)).count();
        let expected = share * 4000.0;
        assert!((f64::from(u32::try_from(kept).unwrap()) - expected).abs() < 200.0, "{share}: {kept}");
        assert_eq!(ids.iter().filter(|id| is_sampled(id, share)).count(), kept);
    }
}
