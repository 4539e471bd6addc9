//! How a group of commits is written down before it is applied.
//!
//! Format, little endian: per change `key length (u32) ‖ 1 or 0 ‖ [value length (u32)] ‖ key ‖ value`.
//! The group is cut into parts of [`PART_BYTES`], each its own entry in the store; a header entry
//! written after the parts carries the group's last number, its length and its crc32c.
//!
//! Why: the store's log is recovered as a prefix. If the header is there, so are all parts, and a
//! half-applied group can be applied again in full. The store's own batches do the same, but hold
//! back one log buffer until the batch ends, and reading back a page that was evicted from the
//! cache meanwhile waits for that buffer for ever.

use super::{Batch, Seq};

/// Bytes of a part.
pub(crate) const PART_BYTES: usize = 32 * 1024;

/// The header entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Number of the group's last commit.
    pub(crate) seq: Seq,
    /// Bytes of the group.
    pub(crate) bytes: u64,
    checksum: u32,
}

impl Header {
    pub(crate) fn of(seq: Seq, group: &[u8]) -> Self {
        Self { seq, bytes: group.len() as u64, checksum: crc32c::crc32c(group) }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.seq.to_le_bytes()[..], &self.bytes.to_le_bytes(), &self.checksum.to_le_bytes()].concat()
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let header = Self { seq: take_u64(&mut bytes)?, bytes: take_u64(&mut bytes)?, checksum: take_u32(&mut bytes)? };
        bytes.is_empty().then_some(header)
    }

    /// Parts that hold the group.
    pub(crate) fn parts(&self) -> u64 {
        self.bytes.div_ceil(PART_BYTES as u64)
    }

    /// Whether this is the group the header was written for.
    pub(crate) fn fits(&self, group: &[u8]) -> bool {
        self.bytes == group.len() as u64 && self.checksum == crc32c::crc32c(group)
    }
}

/// Adds a batch to a group.
pub(crate) fn append(group: &mut Vec<u8>, batch: &Batch) {
    for (key, value) in batch.changes() {
        append_length(group, key);
        group.push(u8::from(value.is_some()));
        if let Some(value) = value {
            append_length(group, value);
        }
        group.extend(key);
        group.extend(value.unwrap_or_default());
    }
}

#[expect(clippy::cast_possible_truncation, reason = "keys and values are far below 4 GiB: Batch::check")]
fn append_length(group: &mut Vec<u8>, bytes: &[u8]) {
    group.extend((bytes.len() as u32).to_le_bytes());
}

/// One change: a key, and its value or nothing to delete it.
pub(crate) type Change<'g> = (&'g [u8], Option<&'g [u8]>);

/// The changes of a group in the order made. Nothing if the bytes are not a group.
pub(crate) fn read(mut group: &[u8]) -> Option<Vec<Change<'_>>> {
    let mut changes = Vec::new();
    while !group.is_empty() {
        let key_bytes = take_u32(&mut group)?;
        let value_bytes = match take(&mut group, 1)? {
            [0] => None,
            _ => Some(take_u32(&mut group)?),
        };
        let key = take(&mut group, key_bytes as usize)?;
        let value = match value_bytes {
            Some(bytes) => Some(take(&mut group, bytes as usize)?),
            None => None,
        };
        changes.push((key, value));
    }
    Some(changes)
}

fn take<'b>(bytes: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes, 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn take_u64(bytes: &mut &[u8]) -> Option<u64> {
    take(bytes, 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header_knows_its_group() {
        let header = Header::of(9, &vec![1; PART_BYTES + 1]);
        assert_eq!(Header::decode(&header.encode()), Some(header));
        assert_eq!((header.parts(), Header::of(9, b"").parts()), (2, 0));
        assert!(!header.fits(&vec![1; PART_BYTES]));
        assert_eq!(Header::decode(b"short"), None);
    }

    proptest! {
        #[test]
        fn a_group_reads_back_and_a_cut_one_is_refused(
            changes in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9), prop::option::of(prop::collection::vec(any::<u8>(), 0..9))), 1..9),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut batch = Batch::default();
            for (key, value) in changes {
                match value { Some(value) => batch.put(key, value), None => batch.delete(key) }
            }
            let mut group = Vec::new();
            append(&mut group, &batch);
            let read_back = read(&group).unwrap();
            prop_assert!(read_back.iter().copied().eq(batch.changes()));
            let cut = cut.index(group.len());
            prop_assert!(!Header::of(1, &group).fits(&group[..cut]));
            // A cut between two changes still reads; the header is what tells.
            let _ = read(&group[..cut]);
        }
    }
}
