//! Which row lies at which place of a segment.

use corpus::Row;
use roaring::RoaringBitmap;

/// No row.
const NONE: u32 = u32::MAX;
/// A table is kept where it has at most so many entries a row; else places are searched for.
const TABLE_SHARE: usize = 4;

/// Rows in ascending order; a row's place is its rank.
#[derive(Debug)]
pub(super) struct Rows {
    rows: Vec<Row>,
    /// Place by row, from the first row on. Rows of a collection are numbered one after the other, so there are
    /// seldom large gaps.
    table: Vec<u32>,
}

impl Rows {
    /// `rows` must ascend.
    pub(super) fn new(rows: Vec<Row>) -> Self {
        let mut table = Vec::new();
        if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
            let span = (last - first) as usize + 1;
            if span <= rows.len().saturating_mul(TABLE_SHARE) {
                table = vec![NONE; span];
                for (place, row) in (0..).zip(&rows) {
                    if let Some(entry) = table.get_mut((row - first) as usize) {
                        *entry = place;
                    }
                }
            }
        }
        Self { rows, table }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn all(&self) -> &[Row] {
        &self.rows
    }

    #[inline]
    pub(super) fn at(&self, place: u32) -> Row {
        self.rows.get(place as usize).copied().unwrap_or(NONE)
    }

    pub(super) fn place_of(&self, row: Row) -> Option<u32> {
        let first = *self.rows.first()?;
        if self.table.is_empty() {
            return self.rows.binary_search(&row).ok().and_then(|place| u32::try_from(place).ok());
        }
        let place = *self.table.get(row.checked_sub(first)? as usize)?;
        (place != NONE).then_some(place)
    }

    /// How many of these rows are here at most: those between the first and the last.
    pub(super) fn estimate(&self, rows: &RoaringBitmap) -> u64 {
        self.rows.first().zip(self.rows.last()).map_or(0, |(first, last)| rows.range_cardinality(*first..=*last))
    }

    /// The places of these rows, ascending.
    pub(super) fn places_of<'a>(&'a self, rows: &'a RoaringBitmap) -> impl Iterator<Item = u32> + 'a {
        let range = self.rows.first().zip(self.rows.last()).map(|(first, last)| rows.range(*first..=*last));
        range.into_iter().flatten().filter_map(|row| self.place_of(row))
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> usize {
        (self.rows.capacity() + self.table.capacity()) * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ranks_with_and_without_gaps() {
        for rows in [vec![], vec![7], vec![3, 4, 5, 6], vec![3, 5, 9, 12], vec![0, 1_000_000, u32::MAX - 1]] {
            let held = Rows::new(rows.clone());
            assert_eq!((held.len(), held.all()), (rows.len(), &rows[..]));
            for (place, row) in (0..).zip(&rows) {
                assert_eq!((held.at(place), held.place_of(*row)), (*row, Some(place)));
            }
            for absent in [2, 8, 10, 999, u32::MAX] {
                assert_eq!(held.place_of(absent), None);
            }
            let some: RoaringBitmap = rows.iter().copied().skip(1).chain([2, 8, u32::MAX]).collect();
            assert!(held.estimate(&some) >= rows.len().saturating_sub(1) as u64);
            assert_eq!(held.places_of(&some).collect::<Vec<_>>(), (1..rows.len() as u32).collect::<Vec<_>>());
        }
    }
}
