//! Contextual compression: the sources of a prompt cut to the sentences that matter for the question.
//!
//! Whole sentences in their own order, gaps marked; headings stay where something under them does; a sentence that
//! leans on the one before keeps it. Sources keep their numbers and each its best sentence. Only what a model is
//! shown shrinks: citations are looked for in the whole excerpt, so that their spans stay exact.
//! The share kept is of bytes, and counts the best sentences of all sources together.

use crate::evidence::{Unit, best_first, weigh};
use crate::extractive::{ExtractiveParams, antecedent};
use crate::pack::PackedSource;
use crate::retrieve::ChunkSource;
use crate::search::SearchError;
use std::collections::BTreeSet;
use std::ops::Range;

/// Stands where sentences were left out.
pub(crate) const GAP: &str = "[…]";

/// Sets [`PackedSource::kept`] so that about `share` of the context is shown, 0 to 1. A question without content terms
/// compresses nothing. Blocking.
///
/// # Errors
/// [`SearchError`] if the embedder or the collection fails.
pub fn compress(
    question: &str,
    sources: &mut [PackedSource],
    collection: &dyn ChunkSource,
    params: &ExtractiveParams,
    share: f32,
) -> Result<(), SearchError> {
    let weighed = weigh(question, sources, collection, &params.ranking())?;
    if weighed.units.is_empty() {
        return Ok(());
    }
    let kept = choose(&weighed.units, share);
    let mut ranges: Vec<Vec<Range<usize>>> = vec![Vec::new(); sources.len()];
    for unit in kept.into_iter().filter_map(|at| weighed.units.get(at)) {
        if let Some(ranges) = ranges.get_mut(unit.source) {
            ranges.push(unit.range.clone());
        }
    }
    for (source, ranges) in sources.iter_mut().zip(ranges) {
        source.kept = ranges;
    }
    Ok(())
}

/// The best sentence of every source, then the best of all until the share is reached, and what they lean on.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of some bytes")]
fn choose(units: &[Unit<'_>], share: f32) -> BTreeSet<usize> {
    let total: usize = units.iter().map(|unit| unit.range.len()).sum();
    let budget = (total as f32 * share.clamp(0.0, 1.0)) as usize;
    let answers: Vec<usize> = best_first(units).into_iter().filter(|at| units.get(*at).is_some_and(|unit| !unit.is_heading)).collect();
    let mut seen = BTreeSet::new();
    let (firsts, others): (Vec<usize>, Vec<usize>) =
        answers.into_iter().partition(|at| units.get(*at).is_some_and(|unit| seen.insert(unit.source)));
    let mut kept = BTreeSet::new();
    let mut bytes = 0;
    for (at, must_stay) in firsts.into_iter().map(|at| (at, true)).chain(others.into_iter().map(|at| (at, false))) {
        let group: BTreeSet<usize> = [Some(at), antecedent(units, at), heading(units, at)].into_iter().flatten().collect();
        let more: usize = group.difference(&kept).filter_map(|at| units.get(*at)).map(|unit| unit.range.len()).sum();
        if must_stay || bytes + more <= budget {
            bytes += more;
            kept.extend(group);
        }
    }
    kept
}

/// The heading that a sentence stands under in its source.
fn heading(units: &[Unit<'_>], at: usize) -> Option<usize> {
    let source = units.get(at)?.source;
    let mut before = units.iter().enumerate().take(at).rev().take_while(|(_, unit)| unit.source == source);
    before.find(|(_, unit)| unit.is_heading).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeSource;
    use crate::fuse::LegWeights;
    use crate::pack::pack;
    use crate::search::{SearchRequest, search};
    use corpus::Principals;

    const TEXT: &str = "# Bridges\nThe Garnet bridge stands in the north of the old town. Its paint is green and white. It was opened in \
        1931 by the mayor. Boats pass below at any hour of the day. Birds nest in the arches every spring. \
        In winter the road over it is salted.";

    fn shown(question: &str, share: f32) -> Vec<String> {
        let mut source = FakeSource::new(&["en"]);
        source.add("bridge.md", TEXT);
        source.add("bread.md", "Rye bread needs a sour dough. It keeps for a week; wheat bread does not. Some bake it in town.");
        let hits = search(&source, &SearchRequest::new(question), &Principals::All, LegWeights::default()).unwrap().hits;
        let mut packed = pack(hits, 1000, &|_, text| text.len());
        compress(question, &mut packed.sources, &source, &ExtractiveParams::default(), share).unwrap();
        packed.sources.iter().map(|source| source.shown().into_owned()).collect()
    }

    #[test]
    fn what_answers_stays_with_its_heading_and_what_it_leans_on() {
        let shown = shown("When was the Garnet bridge of the town opened?", 0.48);
        assert!(shown[0].starts_with("# Bridges\nThe Garnet bridge stands"), "{shown:?}");
        assert!(shown[0].contains("It was opened in 1931 by the mayor."), "{shown:?}");
        assert!(shown[0].contains("[…]") && !shown[0].contains("Birds nest"), "{shown:?}");
        assert_eq!(shown.len(), 2, "no source is lost: {shown:?}");
        assert!(!shown[1].is_empty());
    }

    #[test]
    fn a_whole_share_or_an_empty_question_leaves_everything() {
        assert!(!shown("When was the Garnet bridge of the town opened?", 1.0)[0].contains("[…]"));
        let mut source = FakeSource::new(&["en"]);
        source.add("bridge.md", TEXT);
        let hits = search(&source, &SearchRequest::new("bridge"), &Principals::All, LegWeights::default()).unwrap().hits;
        let mut sources = pack(hits, 1000, &|_, text| text.len()).sources;
        compress("What is it?", &mut sources, &source, &ExtractiveParams::default(), 0.1).unwrap();
        assert_eq!(sources[0].shown(), TEXT);
    }

    #[test]
    fn chinese_is_cut_by_words() {
        let mut source = FakeSource::new(&["en"]);
        source.add("缓存.md", "语义缓存的默认阈值是 0.92。它按租户分区。熔断器有三种状态：关闭、打开和半开。日志每天轮换一次。");
        let question = "熔断器有哪些状态？";
        let hits = search(&source, &SearchRequest::new(question), &Principals::All, LegWeights::default()).unwrap().hits;
        let mut sources = pack(hits, 1000, &|_, text| text.len()).sources;
        compress(question, &mut sources, &source, &ExtractiveParams::default(), 0.4).unwrap();
        assert_eq!(sources[0].shown(), "[…] 熔断器有三种状态：关闭、打开和半开。 […]");
    }
}
