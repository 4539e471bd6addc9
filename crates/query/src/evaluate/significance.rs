//! Whether two systems differ by more than chance: the paired randomisation test (Smucker, Allan and
//! Carterette, "A Comparison of Statistical Significance Tests for Information Retrieval Evaluation",
//! CIKM 2007).
//!
//! If the systems were the same, each query's difference could as well have the other sign. The p-value
//! is the share of sign patterns whose mean difference is at least as large, in either direction, as
//! what was seen. Few differences are enumerated, and that p-value is exact; of many, a seeded sample is
//! drawn, in which what was seen counts as one (so a p-value is never 0).

/// Sign patterns drawn where there are too many to try all.
pub const PERMUTATIONS: u32 = 10_000;
/// Sums of the same differences in another order may be off by this share.
const ROUNDING: f64 = 1e-9;
const SEED: u64 = 0x5261_6773_746f_6e65;

/// The two-sided p-value of these differences, one for each query; 1 where nothing differs.
#[must_use]
pub fn randomisation_test(differences: &[f64]) -> f64 {
    // What is equal is equal under either sign.
    let differing: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0 && difference.is_finite()).collect();
    if differing.is_empty() {
        return 1.0;
    }
    let least = differing.iter().sum::<f64>().abs() * (1.0 - ROUNDING);
    let patterns = u32::try_from(differing.len()).ok().and_then(|count| 1_u32.checked_shl(count)).filter(|all| *all <= PERMUTATIONS);
    match patterns {
        Some(all) => f64::from(as_large((0..all).map(u64::from), &differing, least)) / f64::from(all),
        None => {
            let mut random = SplitMix(SEED);
            let drawn = (0..PERMUTATIONS).filter(|_| random.sum_with_signs(&differing).abs() >= least).count();
            f64::from(u32::try_from(drawn).unwrap_or(PERMUTATIONS) + 1) / f64::from(PERMUTATIONS + 1)
        }
    }
}

/// How many of these patterns, a bit for each sign, give a sum at least that large.
fn as_large(patterns: impl Iterator<Item = u64>, differing: &[f64], least: f64) -> u32 {
    let sum = |pattern: u64| differing.iter().enumerate().map(|(at, one)| if pattern >> at & 1 == 0 { *one } else { -one }).sum::<f64>();
    patterns.map(|pattern| u32::from(sum(pattern).abs() >= least)).sum()
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn sum_with_signs(&mut self, differing: &[f64]) -> f64 {
        let mut sum = 0.0;
        for some in differing.chunks(64) {
            let bits = self.next();
            sum += some.iter().enumerate().map(|(at, one)| if bits >> at & 1 == 0 { *one } else { -one }).sum::<f64>();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_differences_are_enumerated() {
        assert!((randomisation_test(&[0.2; 5]) - 2.0 / 32.0).abs() < 1e-12, "all or none of five signs");
        // 3 - 1 = 2: of the sums 4, 2, -2, -4 all are as large.
        assert!((randomisation_test(&[3.0, -1.0]) - 1.0).abs() < 1e-12);
        // 1 + 2 + 3 = 6: only all and none.
        assert!((randomisation_test(&[1.0, 2.0, 3.0, 0.0]) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn nothing_differs() {
        assert!((randomisation_test(&[0.0; 40]) - 1.0).abs() < 1e-12);
        assert!((randomisation_test(&[]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn many_differences_are_sampled_near_the_exact_value() {
        // 20 signs, 15 of one kind: the sign test says 2 * P(X >= 15) = 0.04139.
        let mut differences = vec![1.0; 15];
        differences.extend([-1.0; 5]);
        let p = randomisation_test(&differences);
        assert!((p - 0.041_39).abs() < 0.006, "{p}");
        assert!((p - randomisation_test(&differences)).abs() < 1e-15, "the same each time");
        let p = randomisation_test(&[0.1; 200]);
        assert!((p - 1.0 / 10_001.0).abs() < 1e-12, "never 0: {p}");
    }
}
