//! An embedder that remembers: a text that was embedded before is not embedded again, nor paid for.
//!
//! ```text
//! value: version (1 byte) ‖ truncated (1) ‖ tokens (4) ‖ components (4 each)          all numbers little endian
//! ```
//! Invariants: the same texts get the same vectors as without it, to the bit; each text is embedded once, also of many
//! calls at a time; what was embedded before a call failed is kept. Vectors depend on the model and the text alone, so
//! all tenants share them.

mod turns;

use crate::fingerprint::Fingerprint;
use crate::key::{Conditions, Key, Partition, Scope};
use crate::stack::Stack;
use corpus::{EmbedError, Embedded, Embedder, Embedding, EmbeddingModel, Errand, Principals, Purpose};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use turns::Turns;

/// What entries of embeddings are called.
const KIND: &str = "embedding";
const VERSION: u8 = 1;
const HEAD_BYTES: usize = 6;

/// Wraps an embedder.
pub struct CachedEmbedder {
    inner: Arc<dyn Embedder>,
    stack: Arc<Stack>,
    lifetime: Duration,
    runtime: Handle,
    texts_max: usize,
    tokens_max: usize,
    turns: Turns,
}

type Known = HashMap<Fingerprint, Embedded>;

impl CachedEmbedder {
    /// Keeps what `inner` makes for `lifetime` in `stack`, whose calls run on `runtime`.
    #[must_use]
    pub fn new(inner: Arc<dyn Embedder>, stack: Arc<Stack>, lifetime: Duration, runtime: Handle) -> Self {
        Self { inner, stack, lifetime, runtime, texts_max: usize::MAX, tokens_max: usize::MAX, turns: Turns::default() }
    }

    /// Asks for up to so many texts and tokens at a time, as many as the embedder sends in one request, and keeps what
    /// it has before it asks for more. A text alone may have more tokens.
    #[must_use]
    pub fn in_pieces(self, texts_max: usize, tokens_max: Option<usize>) -> Self {
        Self { texts_max: texts_max.max(1), tokens_max: tokens_max.unwrap_or(usize::MAX), ..self }
    }

    fn keys(&self, texts: &[&str], purpose: Purpose) -> Vec<Key> {
        let EmbeddingModel { name, revision, dimension, precision, max_tokens, languages: _ } = self.inner.model();
        let of = |value: &dyn std::fmt::Debug| format!("{value:?}");
        let (dimension, precision, longest, purpose) = (of(dimension), of(precision), of(max_tokens), of(&purpose));
        let parameters: [(&str, &str); 5] =
            [("revision", revision), ("dimension", &dimension), ("precision", &precision), ("max_tokens", &longest), ("purpose", &purpose)];
        let conditions = Conditions { scope: Scope::Server, access: &Principals::All, model: name, prompt: "", parameters: &parameters };
        let partition = Partition::of(&conditions);
        texts.iter().map(|text| partition.key(KIND, &[text.as_bytes()])).collect()
    }

    fn look_up(&self, keys: &[Key]) -> Known {
        let found = self.runtime.block_on(self.stack.get_many(keys));
        let dimension = self.inner.model().dimension;
        keys.iter().zip(found).filter_map(|(key, entry)| Some((key.digest(), decode(&entry?.payload, dimension)?))).collect()
    }

    fn keep(&self, made: &[(Key, Embedded)]) {
        let puts = made.iter().map(|(key, embedded)| self.stack.put(key, encode(embedded), self.lifetime));
        self.runtime.block_on(futures::future::join_all(puts));
    }

    /// The texts in parts that are asked for at a time.
    fn pieces<'w, 't>(&self, wanted: &'w [Wanted<'t>]) -> Vec<&'w [Wanted<'t>]> {
        let (mut pieces, mut rest, mut tokens, mut count) = (Vec::new(), wanted, 0_usize, 0_usize);
        for (_, text) in wanted {
            let more = if self.tokens_max == usize::MAX { 0 } else { self.inner.count_tokens(text) };
            tokens = tokens.saturating_add(more);
            if count > 0 && (count >= self.texts_max || tokens > self.tokens_max) {
                let (piece, behind) = rest.split_at_checked(count).unwrap_or((rest, &[]));
                pieces.push(piece);
                (rest, count, tokens) = (behind, 0, more);
            }
            count += 1;
        }
        pieces.push(rest);
        pieces
    }

    /// Embeds the texts, keeps them, and adds them to `known`.
    fn make(&self, wanted: &[&Wanted<'_>], known: &mut Known, ask: &Ask<'_>) -> Result<(), EmbedError> {
        let texts: Vec<&str> = wanted.iter().map(|(_, text)| *text).collect();
        let made: Vec<(Key, Embedded)> = wanted.iter().map(|(key, _)| key.clone()).zip(ask(&texts)?).collect();
        self.keep(&made);
        known.extend(made.into_iter().map(|(key, embedded)| (key.digest(), embedded)));
        Ok(())
    }

    /// Embeds those of the texts that nobody else embeds just now, and waits for the others.
    fn make_or_wait(&self, wanted: &[Wanted<'_>], known: &mut Known, ask: &Ask<'_>) -> Result<(), EmbedError> {
        let mut elsewhere = Vec::new();
        for piece in self.pieces(wanted) {
            let turn = self.turns.take(piece.iter().map(|(key, _)| key.digest()));
            let (mine, others): (Vec<_>, Vec<_>) = piece.iter().partition(|(key, _)| turn.has(&key.digest()));
            elsewhere.extend(others);
            // Also without new texts: it is an error to ask an embedder that was closed.
            if !mine.is_empty() || wanted.is_empty() {
                self.make(&mine, known, ask)?;
            }
        }
        if elsewhere.is_empty() {
            return Ok(());
        }
        let keys: Vec<Key> = elsewhere.iter().map(|(key, _)| key.clone()).collect();
        self.turns.wait(&keys.iter().map(Key::digest).collect::<Vec<_>>());
        known.extend(self.look_up(&keys));
        // What the others failed at; nobody waits for two failures.
        elsewhere.retain(|(key, _)| !known.contains_key(&key.digest()));
        if elsewhere.is_empty() { Ok(()) } else { self.make(&elsewhere, known, ask) }
    }
}

/// A text and its key.
type Wanted<'t> = (Key, &'t str);
/// Asks the embedder inside.
type Ask<'a> = dyn Fn(&[&str]) -> Result<Vec<Embedded>, EmbedError> + 'a;

impl Embedder for CachedEmbedder {
    fn model(&self) -> &EmbeddingModel {
        self.inner.model()
    }

    fn count_tokens(&self, text: &str) -> usize {
        self.inner.count_tokens(text)
    }

    fn token_starts(&self, text: &str) -> Vec<usize> {
        self.inner.token_starts(text)
    }

    fn embed(&self, texts: &[&str], purpose: Purpose, errand: &Errand) -> Result<Vec<Embedded>, EmbedError> {
        let keys = self.keys(texts, purpose);
        // Each text once, whether or not it is known.
        let mut wanted: Vec<Wanted<'_>> = keys.iter().cloned().zip(texts.iter().copied()).collect();
        wanted.sort_by_key(|(key, _)| key.digest());
        wanted.dedup_by_key(|(key, _)| key.digest());
        let mut known = self.look_up(&wanted.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
        wanted.retain(|(key, _)| !known.contains_key(&key.digest()));
        self.make_or_wait(&wanted, &mut known, &|texts| self.inner.embed(texts, purpose, errand))?;
        let all: Option<Vec<Embedded>> = keys.iter().map(|key| known.get(&key.digest()).cloned()).collect();
        all.ok_or_else(|| EmbedError::Failed("fewer vectors than texts came back".to_owned()))
    }
}

fn encode(embedded: &Embedded) -> Vec<u8> {
    let Embedded { embedding, tokens, truncated } = embedded;
    let mut out = Vec::with_capacity(HEAD_BYTES + size_of_val::<[f32]>(embedding));
    out.extend([VERSION, u8::from(*truncated)]);
    out.extend(u32::try_from(*tokens).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(embedding.iter().flat_map(|component| component.to_le_bytes()));
    out
}

/// `None` for what is not a vector of this dimension: then it is made anew.
fn decode(bytes: &[u8], dimension: usize) -> Option<Embedded> {
    let (&[version, truncated], rest) = bytes.split_first_chunk::<2>()?;
    let (tokens, components) = rest.split_first_chunk::<4>()?;
    let (components, []) = components.as_chunks::<4>() else { return None };
    let vector = components.iter().map(|component| f32::from_le_bytes(*component)).collect();
    let embedding = Embedding::from_unit(vector, dimension).ok().filter(|_| version == VERSION)?;
    Some(Embedded { embedding, tokens: u32::from_le_bytes(*tokens) as usize, truncated: truncated != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, MapShelf, Shelf, StackOptions};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    /// Remembers what it was asked.
    struct Told {
        model: EmbeddingModel,
        asked: Mutex<Vec<Vec<String>>>,
        is_closed: AtomicBool,
    }

    impl Embedder for Told {
        fn model(&self) -> &EmbeddingModel {
            &self.model
        }
        fn count_tokens(&self, text: &str) -> usize {
            text.len()
        }
        fn embed(&self, texts: &[&str], purpose: Purpose, _: &Errand) -> Result<Vec<Embedded>, EmbedError> {
            if self.is_closed.load(Relaxed) {
                return Err(EmbedError::Closed);
            }
            self.asked.lock().unwrap().push(texts.iter().map(|text| (*text).to_owned()).collect());
            let made = |text: &&str| Embedded {
                embedding: Embedding::normalised(vec![text.len() as f32, if purpose == Purpose::Query { 0.3 } else { 0.7 }], 2).unwrap(),
                tokens: text.len(),
                truncated: text.len() > 6,
            };
            Ok(texts.iter().map(made).collect())
        }
    }

    fn told(revision: &str) -> Arc<Told> {
        let model = EmbeddingModel {
            name: "m".into(),
            revision: revision.into(),
            dimension: 2,
            max_tokens: 6,
            languages: Vec::new(),
            precision: corpus::Precision::F32,
        };
        Arc::new(Told { model, asked: Mutex::default(), is_closed: AtomicBool::new(false) })
    }

    fn around(inner: &Arc<Told>, shelf: &Arc<MapShelf>, runtime: &Handle) -> CachedEmbedder {
        let shelf: Arc<dyn Shelf> = Arc::clone(shelf) as _;
        let stack = runtime.block_on(Stack::open(StackOptions::default(), Clock::system(), Some(shelf), None)).unwrap();
        CachedEmbedder::new(Arc::clone(inner) as _, Arc::new(stack), Duration::from_secs(60), runtime.clone())
    }

    #[test]
    fn only_what_is_missing_is_embedded_and_all_vectors_are_as_without_it() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (inner, plain, shelf) = (told("1"), told("1"), Arc::new(MapShelf::new()));
        let cached = around(&inner, &shelf, runtime.handle());
        let asked = || std::mem::take(&mut *inner.asked.lock().unwrap());
        for (texts, new) in [(vec!["granite", "slate", "granite"], 2), (vec!["slate", "basalt", ""], 2), (vec!["basalt"], 0), (vec![], 0)] {
            assert_eq!(
                cached.embed(&texts, Purpose::Document, &Errand::default()).unwrap(),
                plain.embed(&texts, Purpose::Document, &Errand::default()).unwrap()
            );
            assert_eq!(asked().concat().len(), new, "{texts:?}");
        }
        assert_eq!(
            cached.embed(&["slate"], Purpose::Query, &Errand::default()).unwrap(),
            plain.embed(&["slate"], Purpose::Query, &Errand::default()).unwrap()
        );
        assert_eq!(asked().concat(), ["slate"], "a question's vector is not a chunk's");
        around(&inner, &shelf, runtime.handle()).embed(&["granite", "basalt"], Purpose::Document, &Errand::default()).unwrap();
        assert_eq!(asked().concat().len(), 0, "after a restart the shelf has them");
        let other = told("2");
        around(&other, &shelf, runtime.handle()).embed(&["granite"], Purpose::Document, &Errand::default()).unwrap();
        assert_eq!(other.asked.lock().unwrap().concat(), ["granite"], "another revision is another model");
    }

    #[test]
    fn a_closed_embedder_says_so_also_for_what_is_known() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (inner, shelf) = (told("1"), Arc::new(MapShelf::new()));
        let cached = around(&inner, &shelf, runtime.handle());
        cached.embed(&["granite"], Purpose::Document, &Errand::default()).unwrap();
        inner.is_closed.store(true, Relaxed);
        for text in ["granite", "slate"] {
            assert!(matches!(cached.embed(&[text], Purpose::Document, &Errand::default()), Err(EmbedError::Closed)));
        }
        inner.is_closed.store(false, Relaxed);
        cached.embed(&["slate"], Purpose::Document, &Errand::default()).unwrap();
        assert_eq!(inner.asked.lock().unwrap().last().unwrap().len(), 1, "nothing was kept of the call that failed");
    }

    /// Embeds as `Told`, when it is let, and fails at texts that are called so.
    struct Slow {
        told: Arc<Told>,
        gate: Mutex<()>,
        fails: AtomicBool,
    }

    impl Embedder for Slow {
        fn model(&self) -> &EmbeddingModel {
            self.told.model()
        }
        fn count_tokens(&self, text: &str) -> usize {
            self.told.count_tokens(text)
        }
        fn embed(&self, texts: &[&str], purpose: Purpose, errand: &Errand) -> Result<Vec<Embedded>, EmbedError> {
            let fails = self.fails.load(Relaxed) && texts.contains(&"fails");
            let made = self.told.embed(texts, purpose, errand);
            let _passed = self.gate.lock().unwrap();
            if fails { Err(EmbedError::Failed("as told".to_owned())) } else { made }
        }
    }

    fn around_slow(runtime: &Handle) -> (CachedEmbedder, Arc<Slow>) {
        let slow = Arc::new(Slow { told: told("1"), gate: Mutex::default(), fails: AtomicBool::new(true) });
        let stack = runtime.block_on(Stack::open(StackOptions::default(), Clock::system(), None, None)).unwrap();
        (CachedEmbedder::new(slow.clone(), Arc::new(stack), Duration::from_secs(60), runtime.clone()), slow)
    }

    /// What two calls get, of which the second begins while the first is under way.
    fn at_once(texts: [&[&str]; 2]) -> (Vec<bool>, Vec<Vec<String>>) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (cached, slow) = around_slow(runtime.handle());
        let held = slow.gate.lock().unwrap();
        let asked = || slow.told.asked.lock().unwrap().clone();
        let outcomes = std::thread::scope(|scope| {
            let first = scope.spawn(|| cached.embed(texts[0], Purpose::Document, &Errand::default()).is_ok());
            while asked().is_empty() {
                std::thread::yield_now();
            }
            let second = scope.spawn(|| cached.embed(texts[1], Purpose::Document, &Errand::default()).is_ok());
            // Time enough to ask for what it should wait for.
            std::thread::sleep(Duration::from_millis(100));
            slow.fails.store(false, Relaxed);
            drop(held);
            vec![first.join().unwrap(), second.join().unwrap()]
        });
        (outcomes, asked())
    }

    #[test]
    fn of_equal_texts_asked_for_at_once_one_is_embedded() {
        let (outcomes, asked) = at_once([&["granite", "slate"], &["slate", "basalt", "granite"]]);
        assert_eq!((outcomes.as_slice(), asked.concat().len()), ([true, true].as_slice(), 3), "{asked:?}");
        assert_eq!(asked[1], ["basalt"]);
    }

    #[test]
    fn who_waits_for_one_that_fails_asks_for_itself() {
        let (outcomes, asked) = at_once([&["fails"], &["fails", "granite"]]);
        assert_eq!(outcomes, [false, true], "{asked:?}");
        assert_eq!(asked.last().unwrap(), &["fails"]);
    }

    #[test]
    fn what_was_embedded_before_a_failure_is_not_paid_for_again() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        for (texts_max, tokens_max) in [(2, None), (9, Some(12))] {
            let (cached, slow) = around_slow(runtime.handle());
            let cached = cached.in_pieces(texts_max, tokens_max);
            let asked = || std::mem::take(&mut *slow.told.asked.lock().unwrap());
            let texts = ["stone1", "stone2", "stone3", "fails", "stone4"];
            assert!(cached.embed(&texts, Purpose::Document, &Errand::default()).is_err());
            let paid: Vec<String> = asked().into_iter().filter(|texts| !texts.contains(&"fails".to_owned())).flatten().collect();
            assert!(!paid.is_empty());
            slow.fails.store(false, Relaxed);
            assert_eq!(cached.embed(&texts, Purpose::Document, &Errand::default()).unwrap().len(), 5);
            let again = asked();
            assert!(again.iter().all(|texts| texts.len() <= 2), "{again:?}");
            assert_eq!(again.concat().len(), 5 - paid.len(), "{paid:?}, then {again:?}");
            assert!(again.concat().iter().all(|text| !paid.contains(text)), "{paid:?}, then {again:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_vector_are_not_taken_for_one() {
        let one = Embedded { embedding: Embedding::normalised(vec![3.0, 4.0], 2).unwrap(), tokens: 9, truncated: true };
        let bytes = encode(&one);
        assert_eq!(decode(&bytes, 2), Some(one));
        assert_eq!(decode(&bytes, 3), None);
        assert_eq!(decode(&bytes[..bytes.len() - 1], 2), None);
        assert_eq!(decode(&[&[9], &bytes[1..]].concat(), 2), None);
        assert_eq!(decode(b"", 2), None);
    }
}
