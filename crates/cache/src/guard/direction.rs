//! Words that point somewhere, and the words that point the other way: more, less; before, after; 增加, 减少.
//!
//! Comparatives must stand in both questions. Of verbs and roles there are too many words for the same thing, so
//! there it is only refused that one question points one way and the other the other way.

use super::Difference;
use super::text::Text;
use antonyms::{ENGLISH, HAN, HAN_NEUTRAL};
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

mod antonyms;

/// Which ways a question points: for each pair of opposites the words found for either side.
#[derive(Debug)]
pub(super) struct Directions(BTreeMap<usize, [Option<String>; 2]>);

/// A pair of opposites and a side of it.
type Place = (usize, usize);

/// English words in all their forms.
static WORDS: LazyLock<HashMap<String, Vec<Place>>> = LazyLock::new(|| {
    let mut words: HashMap<String, Vec<Place>> = HashMap::new();
    for (pair, sides) in ENGLISH.iter().enumerate() {
        for (side, forms) in sides.iter().enumerate() {
            for form in forms.split_whitespace().flat_map(forms_of) {
                let places = words.entry(form).or_default();
                if !places.contains(&(pair, side)) {
                    places.push((pair, side));
                }
            }
        }
    }
    words
});

/// Chinese words, the longest first, so that 最后 is found before 后; those of no pair are found to be passed over.
static RUNS: LazyLock<Vec<(&str, Option<Place>)>> = LazyLock::new(|| {
    let pairs = HAN.iter().zip(ENGLISH.len()..);
    let placed = pairs.flat_map(|(sides, pair)| {
        sides.iter().enumerate().flat_map(move |(side, words)| words.split_whitespace().map(move |word| (word, Some((pair, side)))))
    });
    let neutral = HAN_NEUTRAL.split_whitespace().map(|word| (word, None));
    let mut runs: Vec<_> = placed.chain(neutral).collect();
    runs.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
    runs
});

impl Directions {
    pub(super) fn of(text: &Text) -> Self {
        let mut found = Self(BTreeMap::new());
        let words: Vec<&str> = text.words().collect();
        for word in &words {
            for place in WORDS.get(*word).into_iter().flatten() {
                found.note(*place, word);
            }
        }
        found.note_switches(&words);
        for run in text.runs() {
            found.note_run(run);
        }
        found
    }

    /// "turn … on" and "turn … off": too common words to mean anything alone.
    fn note_switches(&mut self, words: &[&str]) {
        let is_switched = words.iter().any(|word| matches!(*word, "turn" | "turned" | "turning" | "switch" | "switched" | "switching"));
        let place = WORDS.get("enable").and_then(|places| places.first()).filter(|_| is_switched);
        for (side, word) in [(0, "on"), (1, "off")] {
            if let Some((pair, _)) = place.filter(|_| words.contains(&word)) {
                self.note((*pair, side), word);
            }
        }
    }

    fn note_run(&mut self, run: &str) {
        let mut rest = run;
        while let Some(c) = rest.chars().next() {
            let word = RUNS.iter().find(|(word, _)| rest.starts_with(word));
            if let Some((word, Some(place))) = word {
                self.note(*place, word);
            }
            rest = rest.get(word.map_or(c.len_utf8(), |(word, _)| word.len())..).unwrap_or_default();
        }
    }

    fn note(&mut self, (pair, side): Place, word: &str) {
        if let Some(found) = self.0.entry(pair).or_default().get_mut(side) {
            *found = Some(word.to_owned());
        }
    }

    /// Whether a word points the same way as a word of this question.
    pub(super) fn share(&self, word: &str) -> bool {
        WORDS.get(word).into_iter().flatten().any(|place| self.has(*place))
    }

    /// The length of the word at the beginning of a Chinese text that points the same way as a word of this question.
    pub(super) fn shared_prefix(&self, text: &str) -> Option<usize> {
        let (word, place) = RUNS.iter().find(|(word, _)| text.starts_with(word))?;
        place.filter(|place| self.has(*place)).map(|_| word.len())
    }

    fn has(&self, (pair, side): Place) -> bool {
        self.0.get(&pair).and_then(|sides| sides.get(side)).is_some_and(Option::is_some)
    }

    /// Whether no pair of opposites has one side here and the other there.
    pub(super) fn agree(&self, other: &Self) -> Result<(), Difference> {
        for (pair, ours) in &self.0 {
            let theirs = other.0.get(pair).cloned().unwrap_or_default();
            if let ([Some(one), None], [None, Some(two)]) | ([None, Some(one)], [Some(two), None]) = (ours, &theirs) {
                return Err(Difference::Direction(format!("{one}, {two}")));
            }
        }
        let must = |pair: &usize| antonyms::MUST_BE_IN_BOTH.contains(pair);
        let sides = |of: &Self, pair: &usize| of.0.get(pair).map(|sides| sides.each_ref().map(Option::is_some));
        let pairs = self.0.keys().chain(other.0.keys()).filter(|pair| must(pair));
        let alone = pairs.into_iter().find(|pair| sides(self, pair) != sides(other, pair));
        alone.map_or(Ok(()), |pair| Err(Difference::Direction(self.words_of(*pair).or(other.words_of(*pair)).unwrap_or_default())))
    }

    fn words_of(&self, pair: usize) -> Option<String> {
        self.0.get(&pair).map(|sides| sides.iter().flatten().cloned().collect::<Vec<_>>().join(", "))
    }
}

/// A word and what it may become: adds, added, adding; stopped, stopping; applied, applies. Some forms are no
/// words; they do no harm.
fn forms_of(word: &str) -> Vec<String> {
    let mut forms = vec![word.to_owned()];
    forms.extend(["s", "es", "d", "ed", "ing"].iter().map(|ending| format!("{word}{ending}")));
    if let Some(stem) = word.strip_suffix('e') {
        forms.push(format!("{stem}ing"));
    }
    if let Some(stem) = word.strip_suffix('y') {
        forms.extend(["ies", "ied"].iter().map(|ending| format!("{stem}{ending}")));
    }
    if let Some(last) = word.chars().last() {
        forms.extend(["ed", "ing"].iter().map(|ending| format!("{word}{last}{ending}")));
    }
    forms
}
