//! The best of many by score, gathered cheaply.

/// Keeps the best `most` of what is offered; what is not among them costs a comparison.
#[derive(Debug)]
pub(super) struct Best<T> {
    most: usize,
    found: Vec<(f32, T)>,
    /// What an offer must beat.
    bar: f32,
}

impl<T: Copy + Ord> Best<T> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, found: Vec::new(), bar: f32::NEG_INFINITY }
    }

    #[inline]
    pub(super) fn offer(&mut self, score: f32, item: T) {
        if score >= self.bar {
            self.found.push((score, item));
            if self.found.len() >= 2 * self.most.max(32) {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        if self.found.len() > self.most {
            self.found.select_nth_unstable_by(self.most, order);
            self.found.truncate(self.most);
            self.bar = self.found.iter().fold(f32::INFINITY, |least, (score, _)| least.min(*score));
        }
    }

    /// The best, in no order.
    pub(super) fn into_found(mut self) -> Vec<(f32, T)> {
        self.cut();
        self.found
    }
}

/// Best first; equal ones by item, so that the same offers in any order leave the same.
fn order<T: Ord>(a: &(f32, T), b: &(f32, T)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_whatever_the_order() {
        let offers: Vec<(f32, u32)> = (0..1000).map(|item: u32| ((item * 7919 % 100) as f32, item)).collect();
        let mut expected = offers.clone();
        expected.sort_by(order);
        for most in [0, 1, 10, 500, 2000] {
            for reversed in [false, true] {
                let mut best = Best::new(most);
                let offers: Vec<_> = if reversed { offers.iter().rev().copied().collect() } else { offers.clone() };
                offers.iter().for_each(|(score, item)| best.offer(*score, *item));
                let mut found = best.into_found();
                found.sort_by(order);
                assert_eq!(found, expected[..most.min(1000)], "{most}");
            }
        }
    }
}
