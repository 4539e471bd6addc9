//! The collector: the rows that match, whatever they score.

use corpus::Row;
use roaring::RoaringBitmap;
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::Column;
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};

/// Collects the rows in a field.
pub(super) struct RowSet {
    pub(super) row_field: &'static str,
}

impl Collector for RowSet {
    type Fruit = RoaringBitmap;
    type Child = SegmentRows;

    fn for_segment(&self, _: SegmentOrdinal, segment: &SegmentReader) -> tantivy::Result<SegmentRows> {
        Ok(SegmentRows { rows: segment.fast_fields().u64(self.row_field)?, found: RoaringBitmap::new() })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(&self, segments: Vec<RoaringBitmap>) -> tantivy::Result<RoaringBitmap> {
        Ok(segments.into_iter().fold(RoaringBitmap::new(), |all, some| all | some))
    }
}

/// The rows of one segment.
pub(super) struct SegmentRows {
    rows: Column<u64>,
    found: RoaringBitmap,
}

impl SegmentCollector for SegmentRows {
    type Fruit = RoaringBitmap;

    fn collect(&mut self, document: DocId, _: Score) {
        self.found.extend(row_of(&self.rows, document));
    }

    fn harvest(self) -> RoaringBitmap {
        self.found
    }
}

/// The row that a document of a segment is.
pub(super) fn row_of(rows: &Column<u64>, document: DocId) -> Option<Row> {
    rows.first(document).and_then(|row| Row::try_from(row).ok())
}
