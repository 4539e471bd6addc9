//! How a value lies in the store: `version (1 byte) ‖ crc32c (4 bytes, little endian) ‖ payload`.
//!
//! The checksum covers the key (its length first) and the payload, so that a value that ends up
//! under another key is found out as well as a flipped bit.

/// The version written.
pub(crate) const VERSION: u8 = 1;
const HEADER_BYTES: usize = 5;

/// Why stored bytes are not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Shorter than the header.
    #[error("{0} bytes are too short for a value")]
    Short(usize),
    /// Written by an unknown version.
    #[error("value version {0} is unknown")]
    Version(u8),
    /// Key or payload are not what was written.
    #[error("the checksum is {found:08x}, not {expected:08x}")]
    Checksum {
        /// Stored with the value.
        expected: u32,
        /// Computed from it.
        found: u32,
    },
}

/// Wraps a payload for a key.
pub(crate) fn encode(key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_BYTES + payload.len());
    value.push(VERSION);
    value.extend(checksum(key, payload).to_le_bytes());
    value.extend(payload);
    value
}

/// The payload of a stored value.
pub(crate) fn decode<'v>(key: &[u8], value: &'v [u8]) -> Result<&'v [u8], EnvelopeError> {
    let [version, c0, c1, c2, c3, payload @ ..] = value else {
        return Err(EnvelopeError::Short(value.len()));
    };
    if *version != VERSION {
        return Err(EnvelopeError::Version(*version));
    }
    let expected = u32::from_le_bytes([*c0, *c1, *c2, *c3]);
    let found = checksum(key, payload);
    if expected == found { Ok(payload) } else { Err(EnvelopeError::Checksum { expected, found }) }
}

fn checksum(key: &[u8], payload: &[u8]) -> u32 {
    let length = crc32c::crc32c(&(key.len() as u64).to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(length, key), payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_format_does_not_drift() {
        // The checksum was computed apart, with the bitwise form of CRC-32C (RFC 3720, appendix B.4).
        assert_eq!(encode(b"key", b"payload"), b"\x01\xa5\x62\x52\x23payload");
        assert_eq!(decode(b"key", b"\x01\x07"), Err(EnvelopeError::Short(2)));
        assert_eq!(decode(b"key", b"\x02\xa5\x62\x52\x23payload"), Err(EnvelopeError::Version(2)));
    }

    proptest! {
        #[test]
        fn a_value_comes_back_only_whole_and_under_its_key(
            key in prop::collection::vec(any::<u8>(), 0..40),
            payload in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let mut value = encode(&key, &payload);
            prop_assert_eq!(decode(&key, &value), Ok(payload.as_slice()));
            let moved = [key.as_slice(), b"x"].concat();
            prop_assert!(decode(&moved, &value).is_err());
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
            prop_assert!(decode(&key, &value).is_err());
        }
    }
}
