//! A ranked row, and the bounded heap that keeps the best of them.
//!
//! Invariant: one total order (score descending, then row ascending) decides everywhere, also at
//! the cut of a top k, so that equal input gives equal output.

use corpus::Row;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and how well it matches; larger scores are better.
#[derive(Debug, Clone, Copy)]
pub struct Scored {
    /// The chunk's row.
    pub row: Row,
    /// Cosine similarity or BM25, by the index that gave it.
    pub score: f32,
}

/// Better sorts first: score descending, then row ascending.
impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scored {}

/// Keeps the best `k` of what is pushed.
pub(crate) struct TopK {
    k: usize,
    /// The worst kept is on top.
    heap: BinaryHeap<Scored>,
}

impl TopK {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::new() }
    }

    pub(crate) fn push(&mut self, row: Row, score: f32) {
        // `+ 0.0` turns -0.0 into 0.0, which the total order would tell apart.
        let candidate = Scored { row, score: score + 0.0 };
        if self.heap.len() < self.k {
            self.heap.push(candidate);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate < *worst
        {
            *worst = candidate;
        }
    }

    pub(crate) fn k(&self) -> usize {
        self.k
    }

    /// The least score that may still be kept.
    pub(crate) fn bar(&self) -> f32 {
        if self.heap.len() < self.k { f32::NEG_INFINITY } else { self.heap.peek().map_or(f32::INFINITY, |worst| worst.score) }
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Best first.
    pub(crate) fn into_sorted(self) -> Vec<Scored> {
        self.heap.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(top: TopK) -> Vec<Row> {
        top.into_sorted().into_iter().map(|hit| hit.row).collect()
    }

    #[test]
    fn the_lower_row_wins_a_tie_at_the_cut_whatever_came_first() {
        for order in [[5, 1, 9], [9, 5, 1], [1, 9, 5]] {
            let mut top = TopK::new(2);
            order.iter().for_each(|row| top.push(*row, 0.5));
            assert_eq!(rows(top), [1, 5]);
        }
    }

    #[test]
    fn the_bar_is_the_worst_of_those_kept_once_there_are_enough() {
        let mut top = TopK::new(2);
        top.push(1, 0.25);
        assert_eq!(top.bar(), f32::NEG_INFINITY);
        top.push(2, 0.5);
        assert_eq!(top.bar(), 0.25);
        top.push(3, 0.75);
        assert_eq!((top.bar(), TopK::new(0).bar()), (0.5, f32::INFINITY));
    }

    #[test]
    fn zero_has_one_sign_and_nothing_fits_in_nothing() {
        let mut top = TopK::new(2);
        top.push(7, 0.0);
        top.push(3, -0.0);
        assert_eq!(rows(top), [3, 7]);
        let mut none = TopK::new(0);
        none.push(1, 1.0);
        assert!(rows(none).is_empty());
    }
}
