//! The collector: the best k allowed rows, ties by row.
//!
//! tantivy's own breaks ties by where a document happens to lie, which merges change.

use crate::scored::{Scored, TopK};
use corpus::Row;
use roaring::RoaringBitmap;
use std::sync::Arc;
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::Column;
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};

/// What to collect.
pub(super) struct BestRows {
    pub(super) k: usize,
    pub(super) row_field: &'static str,
    pub(super) allowed: Arc<RoaringBitmap>,
}

impl Collector for BestRows {
    type Fruit = Vec<Scored>;
    type Child = SegmentRows;

    fn for_segment(&self, _: SegmentOrdinal, segment: &SegmentReader) -> tantivy::Result<SegmentRows> {
        let rows = segment.fast_fields().u64(self.row_field)?;
        Ok(SegmentRows { rows, allowed: Arc::clone(&self.allowed), top: TopK::new(self.k) })
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(&self, segments: Vec<Vec<Scored>>) -> tantivy::Result<Vec<Scored>> {
        let mut top = TopK::new(self.k);
        segments.into_iter().flatten().for_each(|hit| top.push(hit.row, hit.score));
        Ok(top.into_sorted())
    }
}

/// The best rows of one segment.
pub(super) struct SegmentRows {
    rows: Column<u64>,
    allowed: Arc<RoaringBitmap>,
    top: TopK,
}

impl SegmentCollector for SegmentRows {
    type Fruit = Vec<Scored>;

    fn collect(&mut self, document: DocId, score: Score) {
        if let Some(row) = self.rows.first(document).and_then(|row| Row::try_from(row).ok())
            && self.allowed.contains(row)
        {
            self.top.push(row, score);
        }
    }

    fn harvest(self) -> Vec<Scored> {
        self.top.into_sorted()
    }
}
