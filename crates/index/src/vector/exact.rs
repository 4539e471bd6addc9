//! All vectors in a matrix, and the engine that scans it.
//!
//! Invariants: the matrix is dense. A removed row's place is taken by the last one at once, so
//! there are no holes to skip, nothing to compact and no dead bytes. Vectors lie in blocks of
//! [`BLOCK_ROWS`], so that growing never copies what is there while readers wait.

use super::{VectorError, VectorIndex, VectorQuery, VectorStats, check, kernel::dot};
use crate::scored::{Scored, TopK};
use corpus::{Embedding, EmbeddingError, Row};
use roaring::RoaringBitmap;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Largest dimension of an embedding.
const DIMENSION_MAX: usize = 4096;

/// Vectors in one allocation. A power of two, so that doubling ends exactly at a full block.
const BLOCK_ROWS: usize = 1024;

/// Row-addressed vectors of one dimension.
pub(super) struct Matrix {
    dimension: usize,
    blocks: Vec<Vec<f32>>,
    /// The row in each place.
    rows: Vec<Row>,
    place_of: HashMap<Row, usize>,
    live: RoaringBitmap,
}

impl Matrix {
    /// # Errors
    /// [`VectorError::Parameter`] for a dimension that no embedding has.
    pub(super) fn new(dimension: usize) -> Result<Self, VectorError> {
        check("dimension", dimension, 1, DIMENSION_MAX)?;
        Ok(Self { dimension, blocks: Vec::new(), rows: Vec::new(), place_of: HashMap::new(), live: RoaringBitmap::new() })
    }

    pub(super) fn live(&self) -> &RoaringBitmap {
        &self.live
    }

    /// Checks a query and scales it to unit length.
    pub(super) fn check_query(&self, query: &[f32]) -> Result<Embedding, VectorError> {
        Ok(Embedding::normalised(query.to_vec(), self.dimension)?)
    }

    /// Adds all rows or, if one doesn't fit, none. A row that is there is left as it is.
    pub(super) fn insert(&mut self, rows: &[(Row, Embedding)]) -> Result<(), VectorError> {
        if let Some((_, other)) = rows.iter().find(|(_, vector)| vector.len() != self.dimension) {
            return Err(EmbeddingError::Dimension { expected: self.dimension, given: other.len() }.into());
        }
        for (row, vector) in rows {
            if self.live.insert(*row) {
                self.place_of.insert(*row, self.rows.len());
                self.rows.push(*row);
                self.append(vector);
            }
        }
        Ok(())
    }

    fn append(&mut self, vector: &[f32]) {
        let full = BLOCK_ROWS * self.dimension;
        match self.blocks.last_mut() {
            Some(block) if block.len() < full => block.extend_from_slice(vector),
            _ => self.blocks.push(vector.to_vec()),
        }
    }

    pub(super) fn remove(&mut self, rows: &RoaringBitmap) {
        for row in rows & &self.live {
            self.live.remove(row);
            if let Some(place) = self.place_of.remove(&row) {
                self.fill_from_last(place);
            }
        }
    }

    fn fill_from_last(&mut self, place: usize) {
        let Some(last_row) = self.rows.pop() else { return };
        let Some(block) = self.blocks.last_mut() else { return };
        let last = block.split_off(block.len() - self.dimension);
        if block.is_empty() {
            self.blocks.pop();
        }
        if place < self.rows.len() {
            if let Some(hole) = self.vector_mut(place) {
                hole.copy_from_slice(&last);
            }
            if let Some(row) = self.rows.get_mut(place) {
                *row = last_row;
            }
            self.place_of.insert(last_row, place);
        }
    }

    fn vector_mut(&mut self, place: usize) -> Option<&mut [f32]> {
        let start = place % BLOCK_ROWS * self.dimension;
        self.blocks.get_mut(place / BLOCK_ROWS)?.get_mut(start..start + self.dimension)
    }

    /// The vector of a live row.
    pub(super) fn vector(&self, row: Row) -> Option<&[f32]> {
        let place = *self.place_of.get(&row)?;
        let start = place % BLOCK_ROWS * self.dimension;
        self.blocks.get(place / BLOCK_ROWS)?.get(start..start + self.dimension)
    }

    /// Scores the `wanted` rows, which must be live ones, into `top`.
    pub(super) fn scan(&self, query: &[f32], wanted: &RoaringBitmap, top: &mut TopK) {
        let places = self.rows.len() as u64;
        if wanted.len() == places {
            self.each(|row, vector| top.push(row, dot(query, vector)));
        } else if wanted.len() * 2 > places {
            // Reading on in memory order and skipping is cheaper than looking up most places.
            self.each(|row, vector| {
                if wanted.contains(row) {
                    top.push(row, dot(query, vector));
                }
            });
        } else {
            for row in wanted {
                if let Some(vector) = self.vector(row) {
                    top.push(row, dot(query, vector));
                }
            }
        }
    }

    fn each(&self, mut visit: impl FnMut(Row, &[f32])) {
        let vectors = self.blocks.iter().flat_map(|block| block.chunks_exact(self.dimension));
        self.rows.iter().zip(vectors).for_each(|(row, vector)| visit(*row, vector));
    }

    /// Bytes allocated.
    pub(super) fn bytes(&self) -> usize {
        let vectors: usize = self.blocks.iter().map(|block| block.capacity() * size_of::<f32>()).sum();
        // A hash table keeps an entry and a control byte a bucket.
        vectors + self.rows.capacity() * size_of::<Row>() + self.place_of.capacity() * (size_of::<(Row, usize)>() + 1)
    }
}

/// A matrix that many read and few write. A panic elsewhere leaves it whole enough to serve:
/// poisoning is ignored.
pub(super) struct SharedMatrix(RwLock<Matrix>);

impl SharedMatrix {
    pub(super) fn new(dimension: usize) -> Result<Self, VectorError> {
        Ok(Self(RwLock::new(Matrix::new(dimension)?)))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Matrix> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Matrix> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine that scans: recall 1, time linear in the allowed rows.
pub struct ExactIndex {
    matrix: SharedMatrix,
}

impl ExactIndex {
    /// An empty index.
    ///
    /// # Errors
    /// [`VectorError::Parameter`] for a dimension of 0 or above 4,096.
    pub fn new(dimension: usize) -> Result<Self, VectorError> {
        Ok(Self { matrix: SharedMatrix::new(dimension)? })
    }
}

impl VectorIndex for ExactIndex {
    fn insert(&self, rows: Vec<(Row, Embedding)>) -> Result<(), VectorError> {
        self.matrix.write().insert(&rows)
    }

    fn remove(&self, rows: &RoaringBitmap) {
        self.matrix.write().remove(rows);
    }

    fn search(&self, query: &[f32], ask: &VectorQuery<'_>) -> Result<Vec<Scored>, VectorError> {
        let matrix = self.matrix.read();
        let query = matrix.check_query(query)?;
        let mut top = TopK::new(ask.k);
        matrix.scan(&query, &(ask.allowed & matrix.live()), &mut top);
        Ok(top.into_sorted())
    }

    fn rows(&self) -> RoaringBitmap {
        self.matrix.read().live().clone()
    }

    fn stats(&self) -> VectorStats {
        let matrix = self.matrix.read();
        VectorStats {
            engine: "exact",
            rows: matrix.live().len(),
            rows_in_graph: 0,
            unreachable: 0,
            repaired: 0,
            building: false,
            bytes: matrix.bytes(),
        }
    }
}
