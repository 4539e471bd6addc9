//! How often the guard is right on the labelled questions, apart for those that it was written with and those that
//! were held out. `cargo test -p ragstone-cache --test guard -- --nocapture` prints the table.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test ends at the first thing that is wrong, and prints its figures")]

use ragstone_cache::guard;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
struct Pair {
    a: String,
    b: String,
    same: bool,
    kind: String,
    lang: String,
    held_out: bool,
}

impl Pair {
    /// `None` if the guard lets the pair through, else what it found.
    fn refusal(&self) -> Option<&'static str> {
        guard(&self.a, &self.b).err().map(|difference| difference.kind())
    }
}

fn pairs() -> Vec<Pair> {
    include_str!("fixtures/paraphrases.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The share of pairs that are let through; with and without the check of the subject.
fn passed<'p>(pairs: impl Iterator<Item = &'p Pair>) -> (f64, f64) {
    let refusals: Vec<_> = pairs.map(Pair::refusal).collect();
    let share = |count: usize| count as f64 / refusals.len() as f64;
    let strictly = refusals.iter().filter(|refusal| refusal.is_none()).count();
    let subject = refusals.iter().filter(|refusal| **refusal == Some("subject")).count();
    (share(strictly), share(strictly + subject))
}

#[test]
fn the_labels_are_whole() {
    let pairs = pairs();
    let texts: BTreeSet<(&str, &str)> = pairs.iter().map(|pair| (pair.a.as_str(), pair.b.as_str())).collect();
    assert_eq!(texts.len(), pairs.len(), "a pair is there twice");
    let mut counts: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for pair in &pairs {
        assert_eq!(pair.same, pair.kind == "paraphrase", "{} / {}", pair.a, pair.b);
        let count = counts.entry((&pair.kind, &pair.lang)).or_default();
        count.0 += 1;
        count.1 += usize::from(pair.held_out);
    }
    assert!(counts.values().all(|(all, held_out)| held_out * 3 >= *all), "a third of each is held out: {counts:?}");
}

#[test]
fn near_misses_are_refused_and_paraphrases_mostly_pass() {
    let pairs = pairs();
    println!("{:9} {:10} {:4} {:>5} {:>8} {:>16}", "part", "kind", "lang", "pairs", "passed", "without subject");
    for held_out in [false, true] {
        let part = if held_out { "held out" } else { "tuned" };
        let groups: BTreeSet<(&str, &str)> = pairs.iter().map(|pair| (pair.kind.as_str(), pair.lang.as_str())).collect();
        for (kind, lang) in groups {
            let group = || pairs.iter().filter(|pair| (pair.held_out, pair.kind.as_str(), pair.lang.as_str()) == (held_out, kind, lang));
            let (strictly, loosely) = passed(group());
            println!("{part:9} {kind:10} {lang:4} {:5} {strictly:8.3} {loosely:16.3}", group().count());
        }
        let (same, _) = passed(pairs.iter().filter(|pair| pair.held_out == held_out && pair.same));
        let (different, _) = passed(pairs.iter().filter(|pair| pair.held_out == held_out && !pair.same));
        println!("{part:9} all: {same:.3} of the paraphrases pass, {different:.3} of the others");
        assert!(same > 0.68, "{part}: only {same} of the paraphrases pass");
        assert!(different < 0.05, "{part}: {different} of the near-misses pass");
    }
}

#[test]
fn what_the_guard_is_for_it_refuses_always() {
    let kinds = ["number", "negation"];
    let let_through = pairs().into_iter().filter(|pair| kinds.contains(&pair.kind.as_str()) && pair.refusal().is_none());
    let let_through: Vec<String> = let_through.map(|pair| format!("{} / {}", pair.a, pair.b)).collect();
    assert!(let_through.is_empty(), "{}", let_through.join("\n"));
}
