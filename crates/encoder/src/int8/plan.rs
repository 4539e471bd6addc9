//! Who does which part of a pass.

use crate::tokenizer::Tokens;

/// Part of a text: all of it, or what one thread does of it.
pub(super) struct Piece<'a> {
    /// Which text of the pass.
    pub(super) text: usize,
    pub(super) ids: &'a [u32],
    /// Which token of the text the first one is.
    pub(super) first: usize,
    /// Which token of the text is the first of segment 1.
    pub(super) second: usize,
}

/// The pieces of each thread.
pub(super) struct Plan<'a> {
    pub(super) hands: Vec<Vec<Piece<'a>>>,
    /// Whether every text is divided among all; each hand then has a piece of each, in the same order.
    pub(super) is_shared: bool,
}

/// Tokens below which one thread is faster than two that wait for each other.
const SHARED_MIN: usize = 8;

impl<'a> Plan<'a> {
    /// Whole texts for each thread, or if one would have over a tenth more to do than the average, a part of each.
    pub(super) fn new(texts: &[&'a Tokens], threads: usize) -> Self {
        let lengths: Vec<usize> = texts.iter().map(|text| text.ids.len()).collect();
        let tokens: usize = lengths.iter().sum();
        let hands = deal(&lengths, threads);
        let load = |hand: &Vec<usize>| hand.iter().filter_map(|text| lengths.get(*text)).sum::<usize>();
        let most = hands.iter().map(load).max().unwrap_or_default();
        let is_shared = threads > 1 && tokens >= SHARED_MIN && most * threads * 10 > tokens * 11;
        if is_shared {
            return Self { hands: (0..threads).map(|nth| divide(texts, nth, threads)).collect(), is_shared };
        }
        let whole = |text: usize| texts.get(text).map(|tokens| Piece { text, ids: &tokens.ids, first: 0, second: tokens.second });
        Self { hands: hands.into_iter().map(|hand| hand.into_iter().filter_map(whole).collect()).collect(), is_shared }
    }
}

/// The `nth` of `threads` parts of each text.
fn divide<'a>(texts: &[&'a Tokens], nth: usize, threads: usize) -> Vec<Piece<'a>> {
    let part = |(text, tokens): (usize, &&'a Tokens)| {
        let Tokens { ids, second, .. } = *tokens;
        let (first, end) = (nth * ids.len() / threads, (nth + 1) * ids.len() / threads);
        Piece { text, ids: ids.get(first..end).unwrap_or_default(), first, second: *second }
    };
    texts.iter().enumerate().map(part).collect()
}

/// Places of texts of these `lengths` in at most `parts` hands of about the same number of tokens: longest first,
/// always to the lightest hand.
pub(crate) fn deal(lengths: &[usize], parts: usize) -> Vec<Vec<usize>> {
    let mut places: Vec<usize> = (0..lengths.len()).collect();
    let tokens = |place: usize| lengths.get(place).copied().unwrap_or_default();
    places.sort_by_key(|place| std::cmp::Reverse(tokens(*place)));
    let mut hands: Vec<(usize, Vec<usize>)> = vec![(0, Vec::new()); parts];
    for place in places {
        if let Some((sum, hand)) = hands.iter_mut().min_by_key(|(sum, _)| *sum) {
            *sum += tokens(place);
            hand.push(place);
        }
    }
    hands.into_iter().map(|(_, hand)| hand).filter(|hand| !hand.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_dealt_out_evenly() {
        assert_eq!(deal(&[90, 10, 50, 40], 2), [vec![0, 1], vec![2, 3]]);
        assert_eq!(deal(&[90], 4), [[0]]);
        assert!(deal(&[], 2).is_empty());
    }
}
