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
    lookup: Lookup,
}

/// How the place of a row is found.
#[derive(Debug)]
enum Lookup {
    /// There are no gaps: by what the row is beyond the first.
    Run,
    /// Place by row, from the first row on. Rows of a collection are numbered one after the other, so there are
    /// seldom large gaps.
    Table(Vec<u32>),
    Search,
}

impl Lookup {
    fn of(rows: &[Row]) -> Self {
        let Some((first, last)) = rows.first().zip(rows.last()) else { return Self::Search };
        let span = (last - first) as usize + 1;
        if span == rows.len() {
            return Self::Run;
        }
        if span > rows.len().saturating_mul(TABLE_SHARE) {
            return Self::Search;
        }
        let mut table = vec![NONE; span];
        for (place, row) in (0..).zip(rows) {
            if let Some(entry) = table.get_mut((row - first) as usize) {
                *entry = place;
            }
        }
        Self::Table(table)
    }
}

impl Rows {
    /// `rows` must ascend.
    pub(super) fn new(rows: Vec<Row>) -> Self {
        Self { lookup: Lookup::of(&rows), rows }
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

    #[inline]
    pub(super) fn place_of(&self, row: Row) -> Option<u32> {
        let beyond = row.checked_sub(*self.rows.first()?)?;
        match &self.lookup {
            Lookup::Run => Some(beyond).filter(|place| (*place as usize) < self.rows.len()),
            Lookup::Table(table) => table.get(beyond as usize).copied().filter(|place| *place != NONE),
            Lookup::Search => self.rows.binary_search(&row).ok().and_then(|place| u32::try_from(place).ok()),
        }
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
        let table = if let Lookup::Table(table) = &self.lookup { table.capacity() } else { 0 };
        (self.rows.capacity() + table) * size_of::<u32>()
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
