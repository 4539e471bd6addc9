//! Digests over several parts.
//!
//! Invariant: two different rows of parts never give the same input to SHA-256, because each part is written as
//! its tag, its length and its bytes.

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Fingerprint = [u8; 32];

/// Takes parts one after the other.
pub(crate) struct Parts(Sha256);

impl Parts {
    /// `purpose` keeps digests over the same parts apart that mean different things.
    pub(crate) fn of(purpose: &str) -> Self {
        Self(Sha256::new()).with(b'>', purpose.as_bytes())
    }

    #[must_use]
    pub(crate) fn with(mut self, tag: u8, bytes: &[u8]) -> Self {
        self.0.update([tag]);
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    pub(crate) fn finish(self) -> Fingerprint {
        self.0.finalize().into()
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// The digest that 64 hexadecimal digits write.
pub(crate) fn unhex(text: &str) -> Option<Fingerprint> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let bytes: Option<Vec<u8>> =
        digits?.chunks(2).map(|pair| if let [high, low] = pair { u8::try_from(high * 16 + low).ok() } else { None }).collect();
    bytes?.try_into().ok()
}
