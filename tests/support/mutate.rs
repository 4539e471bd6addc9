//! Random changes of bytes, for the programs that feed damaged input to what must not fall over.
//! Included by path: the crates of the workspace have nothing else in common that is only for tests.
#![allow(unreachable_pub, reason = "included by path")]

/// Changes made to one input.
const CHANGES_MAX: usize = 6;

/// Random numbers: SplitMix64 (Steele, Lea, Flood 2014).
pub struct Chance(pub u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or_default()
    }

    pub fn one<'o, T>(&mut self, of: &'o [T]) -> Option<&'o T> {
        of.get(self.below(of.len()))
    }

    /// Up to six changes: cuts, repetitions, flipped bits, noise, words of `dictionary`, parts of `other`.
    pub fn change_some(&mut self, bytes: &mut Vec<u8>, other: &[u8], dictionary: &[&[u8]]) {
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change(bytes, other, dictionary);
        }
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8], dictionary: &[&[u8]]) {
        let at = self.below(bytes.len() + 1);
        let end = (at + self.below(64)).min(bytes.len());
        match self.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => self.flip(bytes),
            3 => drop(bytes.splice(at..at, self.one(dictionary).copied().unwrap_or_default().iter().copied())),
            4 => {
                let from = self.below(other.len());
                let part: Vec<u8> = other.iter().skip(from).take(self.below(4096)).copied().collect();
                bytes.splice(at..end, part);
            }
            5 => {
                let part: Vec<u8> = bytes.get(at..end).unwrap_or_default().repeat(self.below(200));
                bytes.splice(at..at, part);
            }
            _ => {
                let noise: Vec<u8> = (0..self.below(32)).map(|_| self.next().to_le_bytes()[0]).collect();
                bytes.splice(at..end, noise);
            }
        }
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        for _ in 0..=self.below(8) {
            let (at, bit) = (self.below(bytes.len()), self.below(8));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
    }
}
