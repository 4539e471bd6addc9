//! Cached values, and how they lie in the store and in Redis.
//!
//! ```text
//! magic "RSCE" ‖ version (1 byte) ‖ length of kind (1) ‖ kind ‖ created (8, ms since 1970) ‖ lifetime (8, ms)
//! ‖ crc32c (4) ‖ payload                                                          all numbers little endian
//! ```
//! The checksum covers the path under which the entry lies, its length first, then all before the checksum, then
//! the payload: a value that ends up under another key is found out as well as a flipped bit.

use crate::key::Place;
use bytes::Bytes;
use std::time::Duration;

const MAGIC: &[u8; 4] = b"RSCE";
/// The version written.
const VERSION: u8 = 1;
/// The longest that header can be.
pub(crate) const HEADER_BYTES_MAX: usize = MAGIC.len() + 2 + u8::MAX as usize + 8 + 8 + 4;

/// A value and its age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value itself; its form is the business of its kind.
    pub payload: Bytes,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// How long from then on it may be served.
    pub lifetime_ms: u64,
}

/// Why stored bytes are not the entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("{0} bytes are too short for an entry")]
    Short(usize),
    #[error("the value is no cache entry")]
    Foreign,
    #[error("version {0} of entries is unknown")]
    Version(u8),
    #[error("the entry is of kind {found:?}, not {expected:?}")]
    Kind { found: String, expected: String },
    #[error("the checksum is {found:08x}, not {expected:08x}")]
    Checksum { expected: u32, found: u32 },
}

/// What the header says, without a look at the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: String,
    pub(crate) created_ms: u64,
    pub(crate) lifetime_ms: u64,
    checksum: u32,
    bytes: usize,
}

impl Entry {
    /// A value made now.
    pub(crate) fn new(payload: Bytes, now_ms: u64, lifetime: Duration) -> Self {
        Self { payload, created_ms: now_ms, lifetime_ms: u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX) }
    }

    /// What is left of its lifetime; `None` if nothing is.
    pub(crate) fn left(&self, now_ms: u64) -> Option<Duration> {
        let end_ms = self.created_ms.saturating_add(self.lifetime_ms);
        end_ms.checked_sub(now_ms).filter(|left| *left > 0).map(Duration::from_millis)
    }

    /// The bytes of the entry under this path.
    pub(crate) fn encode(&self, path: &str) -> Vec<u8> {
        let kind = Place::of(path).map_or("", |place| place.kind);
        let kind = kind.as_bytes().get(..kind.len().min(u8::MAX.into())).unwrap_or_default();
        let mut out = Vec::with_capacity(HEADER_BYTES_MAX + self.payload.len());
        out.extend(MAGIC);
        out.extend([VERSION, u8::try_from(kind.len()).unwrap_or(u8::MAX)]);
        out.extend(kind);
        out.extend(self.created_ms.to_le_bytes());
        out.extend(self.lifetime_ms.to_le_bytes());
        out.extend(checksum(path, &out, &self.payload).to_le_bytes());
        out.extend(&self.payload);
        out
    }

    /// # Errors
    /// Any [`EntryError`]: the bytes are not what was written under this path.
    pub(crate) fn decode(path: &str, bytes: &[u8]) -> Result<Self, EntryError> {
        let header = Header::read(bytes)?;
        let (head, payload) = bytes.split_at_checked(header.bytes).ok_or(EntryError::Short(bytes.len()))?;
        let covered = head.get(..header.bytes - size_of::<u32>()).unwrap_or_default();
        let found = checksum(path, covered, payload);
        if found != header.checksum {
            return Err(EntryError::Checksum { expected: header.checksum, found });
        }
        let expected = Place::of(path).map_or("", |place| place.kind);
        if !expected.starts_with(&header.kind) {
            return Err(EntryError::Kind { found: header.kind, expected: expected.to_owned() });
        }
        Ok(Self { payload: Bytes::copy_from_slice(payload), created_ms: header.created_ms, lifetime_ms: header.lifetime_ms })
    }
}

impl Header {
    /// Reads the header at the front; the checksum is not looked at.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, EntryError> {
        let short = || EntryError::Short(bytes.len());
        let (magic, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
        if magic != MAGIC {
            return Err(EntryError::Foreign);
        }
        let ([version, kind_bytes], rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        if *version != VERSION {
            return Err(EntryError::Version(*version));
        }
        let (kind, rest) = rest.split_at_checked((*kind_bytes).into()).ok_or_else(short)?;
        let (created, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (lifetime, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (checksum, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        Ok(Self {
            kind: String::from_utf8_lossy(kind).into_owned(),
            created_ms: u64::from_le_bytes(*created),
            lifetime_ms: u64::from_le_bytes(*lifetime),
            checksum: u32::from_le_bytes(*checksum),
            bytes: bytes.len() - rest.len(),
        })
    }
}

fn checksum(path: &str, head: &[u8], payload: &[u8]) -> u32 {
    let length = crc32c::crc32c(&(path.len() as u64).to_le_bytes());
    [path.as_bytes(), head, payload].iter().fold(length, |sum, bytes| crc32c::crc32c_append(sum, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_keys::key;
    use proptest::prelude::*;

    fn entry(payload: &[u8]) -> Entry {
        Entry::new(Bytes::copy_from_slice(payload), 1_700_000_000_000, Duration::from_secs(60))
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let entry = entry(&payload);
            prop_assert_eq!(Entry::decode(key("a").path(), &entry.encode(key("a").path())), Ok(entry));
        }

        #[test]
        fn any_flipped_bit_is_found(payload in proptest::collection::vec(any::<u8>(), 0..40), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let mut bytes = entry(&payload).encode(key("a").path());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Entry::decode(key("a").path(), &bytes).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let with_magic = [MAGIC.as_slice(), &[VERSION], &bytes].concat();
            prop_assert!(Entry::decode(key("a").path(), &bytes).is_err());
            prop_assert!(Entry::decode(key("a").path(), &with_magic).is_err());
        }
    }

    #[test]
    fn an_entry_of_another_key_or_version_is_refused() {
        let mut bytes = entry(b"x").encode(key("a").path());
        assert!(matches!(Entry::decode(key("b").path(), &bytes), Err(EntryError::Checksum { .. })));
        bytes[4] = 9;
        assert_eq!(Entry::decode(key("a").path(), &bytes), Err(EntryError::Version(9)));
        assert_eq!(Entry::decode(key("a").path(), b"RSC"), Err(EntryError::Short(3)));
        assert_eq!(Entry::decode(key("a").path(), b"not ours"), Err(EntryError::Foreign));
    }

    #[test]
    fn a_lifetime_ends() {
        let entry = entry(b"x");
        assert_eq!(entry.left(entry.created_ms), Some(Duration::from_secs(60)));
        assert_eq!(entry.left(entry.created_ms + 59_999), Some(Duration::from_millis(1)));
        assert_eq!(entry.left(entry.created_ms + 60_000), None);
    }
}
