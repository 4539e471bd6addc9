//! Brings the views of a collection up to the store when it is opened: attributes and vectors are
//! read, the text index replays the changes behind its checkpoint or is rebuilt.

use super::CollectionError;
use super::attributes::AttributeView;
use crate::keys;
use crate::records::{Change, ChunkRecord, CollectionRecord, CollectionState, DocumentRecord};
use crate::store::Store;
use crate::text::{TextChange, TextError, TextIndex};
use crate::vector::{Home, VectorIndex, VectorParams};
use corpus::{Embedding, Row};
use roaring::RoaringBitmap;
use std::path::Path;

/// Folders of the views.
const TEXT: &str = "text";
const VECTORS: &str = "vectors";
/// Records read from the store at a time.
const PAGE: usize = 1024;

pub(super) struct Opened {
    pub(super) attributes: AttributeView,
    pub(super) vectors: Box<dyn VectorIndex>,
    pub(super) text: TextIndex,
    pub(super) seq: u64,
}

pub(super) fn open(
    store: &dyn Store,
    record: &CollectionRecord,
    directory: &Path,
    params: &VectorParams,
) -> Result<Opened, CollectionError> {
    let state = read_state(store, record)?;
    let attributes = read_attributes(store, record)?;
    let vectors = open_vectors(store, record, &attributes, directory, state.seq, params)?;
    let text = open_text(store, record, &attributes, &directory.join(TEXT), state.seq)?;
    Ok(Opened { attributes, vectors, text, seq: state.seq })
}

fn read_state(store: &dyn Store, record: &CollectionRecord) -> Result<CollectionState, CollectionError> {
    let value = store.get(&keys::state(&record.tenant, &record.id))?;
    Ok(value.map(|value| serde_json::from_slice(&value)).transpose()?.unwrap_or_default())
}

fn read_attributes(store: &dyn Store, record: &CollectionRecord) -> Result<AttributeView, CollectionError> {
    let mut attributes = AttributeView::default();
    each(store, &keys::documents(&record.tenant, &record.id), |_, value| {
        attributes.put(&serde_json::from_slice::<DocumentRecord>(&value)?);
        Ok(())
    })?;
    Ok(attributes)
}

fn open_vectors(
    store: &dyn Store,
    record: &CollectionRecord,
    attributes: &AttributeView,
    directory: &Path,
    seq: u64,
    params: &VectorParams,
) -> Result<Box<dyn VectorIndex>, CollectionError> {
    let live = attributes.live();
    let vectors = crate::vector::open(record.model.dimension, params, Some(vector_home(record, directory, seq)), &live)?;
    load_vectors(store, record, &(&*live - vectors.rows()), vectors.as_ref())?;
    Ok(vectors)
}

/// Where the vector index of a collection leaves its files, below the folder of the collection's views.
pub(crate) fn vector_home(record: &CollectionRecord, directory: &Path, seq: u64) -> Home {
    let CollectionRecord { tenant, id, model, .. } = record;
    Home { directory: directory.join(VECTORS), collection: format!("{tenant}/{id} {} {}", model.name, model.revision), seq }
}

/// Inserts these rows from the store.
fn load_vectors(
    store: &dyn Store,
    record: &CollectionRecord,
    rows: &RoaringBitmap,
    vectors: &dyn VectorIndex,
) -> Result<(), CollectionError> {
    let mut page = Vec::with_capacity(PAGE);
    let mut rest = rows.iter();
    loop {
        let some: Vec<Row> = rest.by_ref().take(PAGE).collect();
        if some.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = some.iter().map(|row| keys::vector(&record.tenant, &record.id, *row)).collect();
        for (row, value) in some.iter().zip(store.multi_get(&keys)?) {
            if let Some(value) = value {
                page.push((*row, decode(*row, &value, record)?));
            }
        }
        vectors.insert(std::mem::take(&mut page))?;
    }
}

fn open_text(
    store: &dyn Store,
    record: &CollectionRecord,
    attributes: &AttributeView,
    directory: &Path,
    seq: u64,
) -> Result<TextIndex, CollectionError> {
    let text = TextIndex::open(Some(directory))?;
    let is_level = match changes_after(store, record, text.checkpoint(), seq)? {
        None => false,
        Some(_) if text.checkpoint() == seq => true,
        Some(changes) => match replay_text(store, record, &text, &changes, seq) {
            // A kill in the middle of a commit leaves files that the same commit then finds in its way.
            Err(CollectionError::Text(error)) if !error.is_disk_full() => {
                tracing::warn!(collection = %record.id, %error, "the text index can't replay");
                false
            }
            replayed => replayed.map(|()| true)?,
        },
    };
    // The list of segments has no checksum. Rows of later changes may be among the live ones.
    if is_level && (text.rows() == attributes.live().len() || read_state(store, record)?.seq != seq) {
        return Ok(text);
    }
    tracing::warn!(collection = %record.id, checkpoint = text.checkpoint(), seq, "the text index is rebuilt from the store");
    drop(text);
    rebuild_text(store, record, attributes, directory, seq)
}

/// The changes `(checkpoint, seq]`, or `None` if some of them are no longer in the log.
fn changes_after(store: &dyn Store, record: &CollectionRecord, checkpoint: u64, seq: u64) -> Result<Option<Vec<Change>>, CollectionError> {
    if checkpoint > seq {
        return Ok(None);
    }
    let after = keys::change(&record.tenant, &record.id, checkpoint);
    let wanted = usize::try_from(seq - checkpoint).unwrap_or(usize::MAX);
    if wanted > 16 * PAGE {
        return Ok(None);
    }
    let found = store.scan(&keys::changes(&record.tenant, &record.id), Some(&after), wanted)?;
    if found.len() < wanted {
        return Ok(None);
    }
    Ok(Some(found.iter().map(|(_, value)| serde_json::from_slice(value)).collect::<Result<_, _>>()?))
}

fn replay_text(
    store: &dyn Store,
    record: &CollectionRecord,
    text: &TextIndex,
    changes: &[Change],
    seq: u64,
) -> Result<(), CollectionError> {
    tracing::info!(collection = %record.id, from = text.checkpoint(), to = seq, "the text index replays");
    let mut replayed = Vec::new();
    for change in changes {
        let added: Vec<Row> = change.added.iter().collect();
        replayed.extend(text_of(store, record, &added)?);
        replayed.extend(change.removed.iter().map(|row| TextChange::Remove { row }));
    }
    Ok(text.apply(replayed, seq)?)
}

fn rebuild_text(
    store: &dyn Store,
    record: &CollectionRecord,
    attributes: &AttributeView,
    directory: &Path,
    seq: u64,
) -> Result<TextIndex, CollectionError> {
    std::fs::remove_dir_all(directory).map_err(TextError::Directory)?;
    let text = TextIndex::open(Some(directory))?;
    let mut page = Vec::new();
    each(store, &keys::chunks(&record.tenant, &record.id), |key, value| {
        if let Some(row) = keys::row_of(&key).filter(|row| attributes.is_live(*row)) {
            page.push(text_change(row, serde_json::from_slice(&value)?));
        }
        if page.len() >= 16 * PAGE {
            text.apply(std::mem::take(&mut page), 0)?;
        }
        Ok(())
    })?;
    text.apply(page, seq)?;
    Ok(text)
}

/// Reads rows from the store and gives them to the vector index; returns what the text index needs.
/// A row that is gone was removed by a later change and is left out.
pub(super) fn insert_rows(
    store: &dyn Store,
    record: &CollectionRecord,
    rows: &[Row],
    vectors: &dyn VectorIndex,
) -> Result<Vec<TextChange>, CollectionError> {
    let mut changes = Vec::with_capacity(rows.len());
    for some in rows.chunks(PAGE) {
        let keys: Vec<_> = some.iter().map(|row| keys::vector(&record.tenant, &record.id, *row)).collect();
        let mut page = Vec::with_capacity(some.len());
        for (row, value) in some.iter().zip(store.multi_get(&keys)?) {
            if let Some(value) = value {
                page.push((*row, decode(*row, &value, record)?));
            }
        }
        vectors.insert(page)?;
        changes.extend(text_of(store, record, some)?);
    }
    Ok(changes)
}

/// What the text index needs of these rows; one that is gone is left out.
fn text_of(store: &dyn Store, record: &CollectionRecord, rows: &[Row]) -> Result<Vec<TextChange>, CollectionError> {
    let keys: Vec<_> = rows.iter().map(|row| keys::chunk(&record.tenant, &record.id, *row)).collect();
    let values = store.multi_get(&keys)?;
    let found = rows.iter().zip(values).filter_map(|(row, value)| Some((*row, value?)));
    found.map(|(row, value)| Ok(text_change(row, serde_json::from_slice(&value)?))).collect()
}

fn text_change(row: Row, chunk: ChunkRecord) -> TextChange {
    TextChange::Add { row, text: chunk.text, heading: chunk.heading_path.join(" ") }
}

/// The vector of a row, whether it is live or not.
pub(crate) fn vector(store: &dyn Store, record: &CollectionRecord, row: Row) -> Result<Option<Embedding>, CollectionError> {
    let value = store.get(&keys::vector(&record.tenant, &record.id, row))?;
    value.map(|value| decode(row, &value, record)).transpose()
}

fn decode(row: Row, value: &[u8], record: &CollectionRecord) -> Result<Embedding, CollectionError> {
    let (components, _) = value.as_chunks::<4>();
    let vector = components.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    Embedding::from_unit(vector, record.model.dimension).map_err(|source| CollectionError::DamagedVector { row, source })
}

/// Calls `visit` with every pair below `prefix`, page by page.
pub(super) fn each(
    store: &dyn Store,
    prefix: &[u8],
    mut visit: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), CollectionError>,
) -> Result<(), CollectionError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = store.scan(prefix, after.as_deref(), PAGE)?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.clone());
        for (key, value) in page {
            visit(key, value)?;
        }
        if is_last {
            return Ok(());
        }
    }
}
