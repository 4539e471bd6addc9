//! A key's plaintext and its hash.

use sha2::{Digest, Sha256};

/// What every key of ours starts with, so that a leaked one is recognised.
pub(crate) const PREFIX: &str = "rag_";
/// Random bytes in a key: 256 bits, so that its hash can't be searched.
const RANDOM_BYTES: usize = 32;

/// A fresh key. The plaintext is shown once and kept nowhere.
pub(crate) struct Secret {
    pub(crate) plaintext: String,
    pub(crate) sha256: String,
}

impl Secret {
    /// From the operating system's random numbers.
    pub(crate) fn generate() -> Result<Self, getrandom::Error> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random)?;
        let plaintext = format!("{PREFIX}{}", to_hex(&random));
        let sha256 = to_hex(&hash(&plaintext));
        Ok(Self { plaintext, sha256 })
    }
}

pub(super) fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// In the same time wherever they differ.
pub(super) fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// 64 hexadecimal digits.
pub(super) fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let bytes: Vec<u8> = digits?.chunks_exact(2).filter_map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect();
    (text.len() == 64).then(|| bytes.try_into().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_different_and_known_by_their_hash() {
        let (one, two) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_ne!(one.plaintext, two.plaintext);
        assert_eq!(one.plaintext.len(), PREFIX.len() + 64);
        assert_eq!(parse_hash(&one.sha256), Some(hash(&one.plaintext)));
        assert!(!is_same(&hash(&one.plaintext), &hash(&two.plaintext)));
    }

    #[test]
    fn only_64_hexadecimal_digits_are_a_hash() {
        assert_eq!(parse_hash(&"0f".repeat(32)), Some([15; 32]));
        for bad in ["", "zz", &"0f".repeat(31), &"0f".repeat(33), &"zz".repeat(32)] {
            assert_eq!(parse_hash(bad), None, "{bad}");
        }
    }
}
